"""Whether log lines are what conf/log.schema.json says; cheap enough to ask for every line of every test."""

import json
import pathlib

import jsonschema

SCHEMA = json.loads((pathlib.Path(__file__).parent.parent.parent / "conf" / "log.schema.json").read_text("utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
TOKENS = ("event", "level", "name", "reason")  # whose values come from short lists
_good = set()


def mistakes(line):
    """What is wrong with a line, as texts; every line is looked at."""
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(line)]


def assert_valid(lines):
    """Fail where one is not; of lines that differ only in free values the first is looked at."""
    for line in lines:
        shape = *(line.get(name) for name in TOKENS), *((name, type(value)) for name, value in line.items())
        if shape not in _good:
            found = mistakes(line)
            assert not found, f"a log line is not what conf/log.schema.json says: {found}: {line}"
            _good.add(shape)
