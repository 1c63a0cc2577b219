"""The house as ogw/__init__.py draws it: imports point down the list of rooms, and gevent lives in two of them."""

import ast
import pathlib
import re

import pytest

import ogw

HOUSE = pathlib.Path(ogw.__file__).parent
ROOMS = re.findall(r"^    ([a-z]+)/ ", ogw.__doc__, re.MULTILINE)
FILES = sorted(path for path in HOUSE.rglob("*.py") if path.parent != HOUSE)


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield node.module


def test_every_room_is_on_the_map():
    assert {path.relative_to(HOUSE).parts[0] for path in FILES} == set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_imports_point_down(path):
    room = ROOMS.index(path.relative_to(HOUSE).parts[0])
    for name in imported(path):
        top, _dot, rest = name.partition(".")
        if top == "ogw" and rest.partition(".")[0] in ROOMS:
            assert ROOMS.index(rest.partition(".")[0]) >= room, name


def test_gevent_lives_in_the_rooms_of_tunnels_and_processes_only():
    users = {path.relative_to(HOUSE).parts[0] for path in FILES if any(n.startswith("gevent") for n in imported(path))}
    assert users == {"tunnel", "service"}
