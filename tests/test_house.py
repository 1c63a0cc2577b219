"""The house as ogw/__init__.py draws it: imports point down the list of rooms, and of corridors; none is a circle."""

import ast
import graphlib
import pathlib
import re

import pytest

import ogw
from ogw.cli.commands import CMDLET, COMMANDS

HOUSE = pathlib.Path(ogw.__file__).parent
ROOMS = re.findall(r"^    ([a-z]+)/ ", ogw.__doc__, re.MULTILINE)
CORRIDORS = [
    re.findall(r"cli/([a-z]+)/", line) for line in re.findall(r"^    cli/[a-z]+/.*$", ogw.__doc__, re.MULTILINE)
]
FILES = sorted(path for path in HOUSE.rglob("*.py") if path.parent != HOUSE)
COMMAND_FILES = {path for path in FILES if path.is_relative_to(HOUSE / "cli")}
CALLERS = {HOUSE / "cli" / "main.py", HOUSE / "cli" / "completion.py"}  # of commands, by their table


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield node.module


def files_of(names):
    return {path for path in FILES if ".".join(["ogw", *path.relative_to(HOUSE).with_suffix("").parts]) in names}


def files_imported(path):
    """Those of ours that it imports, wherever in it."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)]
    aliases = {f"{node.module}.{alias.name}" for node in nodes for alias in node.names}
    return files_of({*imported(path), *aliases}) - {path}


def files_called(path):
    """Those of commands that it imports by their table."""
    if path not in CALLERS:
        return set()
    return files_of({f"ogw.cli.{command.where.partition(':')[0]}" for command in (*COMMANDS, CMDLET)}) - {path}


def level(path):
    """Of a file in cli/: that of its corridor; the hall is below all of them."""
    name = path.relative_to(HOUSE / "cli").parts[0]
    return next((number for number, line in enumerate(CORRIDORS) if name in line), len(CORRIDORS))


def test_no_import_is_a_circle_neither_inside_a_function_nor_by_the_table_of_commands():
    graphlib.TopologicalSorter({path: files_imported(path) | files_called(path) for path in FILES}).prepare()


def test_only_who_calls_commands_imports_by_a_name():
    assert {path for path in FILES if "import_module" in path.read_text(encoding="utf-8")} == CALLERS


def test_every_corridor_of_the_commands_is_on_the_map():
    folders = {path.name for path in (HOUSE / "cli").iterdir() if (path / "__init__.py").exists()}
    assert sorted(folders) == sorted(name for line in CORRIDORS for name in line)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_imports_point_down_the_corridors(path):
    for other in files_imported(path):
        if other.parent != path.parent and {path, other} <= COMMAND_FILES:
            assert level(other) > level(path), other


def test_every_room_is_on_the_map():
    assert {path.relative_to(HOUSE).parts[0] for path in FILES} == set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_imports_point_down(path):
    room = ROOMS.index(path.relative_to(HOUSE).parts[0])
    for name in imported(path):
        top, _dot, rest = name.partition(".")
        if top == "ogw" and rest.partition(".")[0] in ROOMS:
            assert ROOMS.index(rest.partition(".")[0]) >= room, name


def test_settings_and_tunnels_do_not_know_each_other():
    """What a tunnel needs of the settings it is given, by service/, as values and objects."""
    for room, other in (("settings", "tunnel"), ("tunnel", "settings")):
        for path in (HOUSE / room).rglob("*.py"):
            assert not [name for name in imported(path) if name.startswith(f"ogw.{other}")], path


def test_gevent_lives_in_the_rooms_of_tunnels_and_processes_only():
    users = {path.relative_to(HOUSE).parts[0] for path in FILES if any(n.startswith("gevent") for n in imported(path))}
    assert users == {"tunnel", "service"}
