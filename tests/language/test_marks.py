"""What people read is marked for translators, and whole: no literal is left out, no sentence made of halves."""

import ast
import pathlib
import re

import pytest

import ogw

HOUSE = pathlib.Path(ogw.__file__).parent
FILES = sorted(HOUSE.rglob("*.py"))
LOOKED_UP, MARKS = {"_", "ngettext", "pgettext"}, {"_", "ngettext", "pgettext", "N_"}
SENTENCE = re.compile(r"[A-Za-z]{2,} [a-z]{2,}")
COMMAND = re.compile(r"\bogw [a-z]|^[a-z-]+ (?:show|get|set|unset|add|remove|list|path|clear|kill|rollback|status) ?$")
JOINT = re.compile(r"^[\s,;:.)]|[\s(,;]$")
ARGPARSE = HOUSE / "cli" / "argparse_texts.py"  # which are its own
# Neither said to people nor ours: what is compared with, fields of JSON, what goes into files that ogw writes, the log.
NOT_SAID = {
    *("never tried", "relay proxy", "refuses us", "raw names", "open files"),
    *(" cannot be reached: ", "the configuration was changed", "only on the socket in run-dir"),
    *(" [env var: ", "[env var: ", "pip install '", "bad.example.com --note 'asked for by nobody'"),
    " reads differently from its own text",
    *("# For ports below 1024.\n[Service]\n", "its rules are others after they were handed on"),
}
APART = {
    *(HOUSE / "cli" / "completion.py", HOUSE / "cli" / "fish.py"),  # scripts of shells, in which nothing is said
    HOUSE / "cli" / "ask" / "inspect.py",  # its labels are names of the protocol, as in its JSON
}

FOR_PEOPLE = [path for path in FILES if path.relative_to(HOUSE).parts[0] in ("cli", "settings") and path not in APART]


def name_of(path):
    return str(path.relative_to(HOUSE))


def parsed(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            child.parent = node
    return tree


def calls(tree, names):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            yield node


def above(node):
    while (node := getattr(node, "parent", None)) is not None:
        yield node


def is_looked_up(node):
    """A message, or one that is filled in."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        node = node.func.value
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in LOOKED_UP


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_message_is_a_literal(path):
    for call in calls(parsed(path), MARKS):
        texts = call.args[: {"ngettext": 2, "pgettext": 2}.get(call.func.id, 1)]
        # A message that was marked elsewhere is looked up by its name.
        marked_elsewhere = call.func.id == "_" and not any(isinstance(one, ast.JoinedStr) for one in ast.walk(call))
        for text in texts:
            assert isinstance(text, ast.Constant) or marked_elsewhere, f"line {call.lineno}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_message_is_looked_up_when_it_is_shown_and_not_when_its_file_is_imported(path):
    for call in calls(parsed(path), LOOKED_UP):
        inside = [node for node in above(call) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))]
        assert inside, f"line {call.lineno}: mark it with N_, and look it up where it is shown"


@pytest.mark.parametrize("path", [path for path in FILES if path != ARGPARSE], ids=name_of)
def test_a_message_is_a_whole(path):
    tree = parsed(path)
    for call in calls(tree, MARKS):
        for text in (one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str)):
            assert not JOINT.search(text.rstrip("\n")), f"line {call.lineno}: {text!r} is to be joined to something"
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mod)):
            assert not (is_looked_up(node.left) and is_looked_up(node.right)), f"line {node.lineno}: two halves"
        if isinstance(node, ast.JoinedStr):
            parts = [one for one in node.values if isinstance(one, ast.FormattedValue) and is_looked_up(one.value)]
            words = [one for one in node.values if isinstance(one, ast.Constant) and re.search("[A-Za-z]", one.value)]
            assert not (parts and words) and len(parts) < 2, f"line {node.lineno}: put together of parts"


@pytest.mark.parametrize("path", FOR_PEOPLE, ids=name_of)
def test_what_is_said_to_people_is_marked(path):
    tree = parsed(path)
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str) and SENTENCE.search(node.value)):
            continue
        if isinstance(node.parent, ast.Expr) or COMMAND.search(node.value) or node.value in NOT_SAID:
            continue  # a docstring, or what is typed
        marks = [one for one in above(node) if isinstance(one, ast.Call) and isinstance(one.func, ast.Name)]
        assert any(one.func.id in MARKS for one in marks), f"line {node.lineno}: {node.value!r}"
