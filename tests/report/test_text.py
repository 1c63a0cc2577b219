"""Text that cannot be encoded, or does something to a terminal; values that are no text; lines that are too long."""

import enum
import io
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogw.report.events import Event
from ogw.report.lines import LONGEST, PIPE_ATOMIC
from ogw.report.log import Account, Log, one_line
from ogw.report.printable import MOST_DETAIL, cut, cut_front, detail_of, plain, printable, readable
from ogw.report.standard import say

EVIL = {
    "escape": "\x1b[2J",
    "bell": "\a",
    "new line": "one\ntwo",
    "carriage return": "one\rtwo",
    "delete": "\x7f",
    "c1": "\x9b31m\x85",
    "line separators": "\u2028\u2029",
    "direction": "\u202eevil\u2066\u200f",
    "lone surrogates": "\ud800 \udfff",
    "a byte of a file's name": "\udcff.txt",
    "no character": "\uffff\U0010ffff",
    "null": "\0",
}


class Lines:
    """A writer that keeps what it is given."""

    lost = 0
    failing = False

    def __init__(self, longest=0):
        self.longest = longest
        self.lines = []

    def put(self, line):
        self.lines.append(line)
        return True


class Broken:
    def __str__(self):
        raise RuntimeError("it has no text")

    __repr__ = __str__


class Loud(str):
    def __str__(self):
        raise RuntimeError("not this one")


class Colour(enum.Enum):
    RED = "red\n"


def logged(message, text=False, longest=0, event=Event.ERROR, reason="", **fields):
    writer = Lines(longest)
    Log(writer, text).event(event, message, reason, **fields)
    (line,) = writer.lines
    return line


@pytest.mark.parametrize("evil", EVIL.values(), ids=EVIL.keys())
@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("field", ["message", "target", "detail", "traceback", "changed", "by"])
def test_a_line_is_one_line_of_what_is_fit_to_be_read(evil, text, field):
    value = [evil, f" {evil}"] if field == "changed" else f"a{evil}b"
    fields = {"message": "", field: value}
    line = logged(fields.pop("message"), text, **fields)
    assert line.isprintable() and line.encode()
    if not text:
        found = json.loads(line)[field]
        for one in found if field == "changed" else [found]:
            assert one.isprintable() or (field == "traceback" and one.replace("\n", "").isprintable())
            assert one.encode()


def test_what_is_fit_to_be_read_stays_in_whatever_language():
    good = "Grüße, 日本語 \U0001f600 עברית"
    assert json.loads(logged(good, target=good))["message"] == good
    assert f": {good}" in logged(good, text=True)


def test_a_byte_of_a_name_that_is_no_utf_8_is_written_as_one():
    name = os.fsdecode(b"\xff\xc3.txt")
    assert json.loads(logged(name))["message"] == "\\xff\\xc3.txt"
    assert ": \\xff\\xc3.txt" in logged(name, text=True)
    assert "file=\\xff\\xc3.txt" in logged("", text=True, file=name)


def test_the_lines_of_a_traceback_stay_lines_in_json():
    assert json.loads(logged("", traceback="one\n\ttwo\x1b"))["traceback"] == "one\n\ttwo\\x1b"


LOOP = []
LOOP.append(LOOP)
NUMBERS = [float("nan"), float("inf"), -float("inf"), 10**5000, -(10**30), True, Event.ERROR]
CONTAINERS = [{1, "a"}, {"a": {"b": {"c": {"d": {"e": "f"}}}}}, LOOP, {Broken(): 1}, [Broken()], range(3)]
LARGE = ["x" * 10**6, ["x" * 100] * 10**4, {"a": 1} | dict.fromkeys(range(10**5))]
OTHERS = [Broken(), Loud("loud"), Colour.RED, b"\xff\n", memoryview(b"x"), object(), ValueError("no\nno")]
VALUES = [*NUMBERS, *CONTAINERS, *LARGE, *OTHERS, {b"\xff": float("nan")}]


def no_constant(name):
    raise AssertionError(f"JSON has no {name}")


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("field", ["message", "detail", "count", "traceback"])
@pytest.mark.parametrize("longest", [0, PIPE_ATOMIC - 1])
def test_logging_never_raises_whatever_the_value(value, text, field, longest):
    fields = {"message": "", field: value}
    line = logged(fields.pop("message"), text, longest, **fields)
    assert line.isprintable() and len(line.encode()) <= (longest or LONGEST)
    if not text:
        entry = json.loads(line, parse_constant=no_constant)
        assert entry["event"] == 400 and entry["sequence"] == 1
        assert all(type(one) is not int or abs(one) < 1 << 64 for one in entry.values())


@given(st.recursive(
    st.text(st.characters(exclude_categories=())) | st.binary() | st.floats() | st.integers() | st.none(),
    lambda inside: st.lists(inside) | st.dictionaries(st.text() | st.integers(), inside),
), st.booleans(), st.sampled_from([0, 500, PIPE_ATOMIC - 1]))  # fmt: skip
def test_any_value_gives_a_line_that_is_valid(value, text, longest):
    line = logged(value, text, longest, detail=value, target="a.example:443")
    assert line.isprintable() and "\n" not in line
    assert len(line.encode()) <= (longest or LONGEST)
    if not text:
        json.loads(line, parse_constant=no_constant)


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("field", ["message", "traceback", "target", "added"])
@pytest.mark.parametrize("letter", ["x", "\u00fc", '"', "\\", "\x00", "\U0001f600", "\udcff"])
def test_a_line_is_bounded_wherever_it_goes_and_what_was_cut_is_said(text, field, letter):
    value = [letter * 500] * 400 if field == "added" else letter * 200_000
    for longest, most in ((PIPE_ATOMIC - 1, PIPE_ATOMIC - 1), (0, LONGEST)):
        fields = {"message": "", field: value}
        line = logged(fields.pop("message"), text, longest, **fields)
        assert most / 8 < len(line.encode()) <= most
        assert "more characters" in line or "characters and ..." in line
        if not text:
            json.loads(line)


def test_many_long_fields_are_all_cut():
    fields = dict.fromkeys(("target", "client", "subject", "detail", "file", "source", "by"), "x" * 5000)
    entry = json.loads(logged("y" * 5000, longest=PIPE_ATOMIC - 1, **fields))
    assert set(fields) < set(entry) and all(len(entry[name]) > 100 for name in fields)


@pytest.mark.parametrize(("shorten", "told"), [(cut, "abc ... and 7 more characters"),
                                               (cut_front, "7 characters and ... hij")])  # fmt: skip
def test_what_is_cut_says_how_much(shorten, told):
    assert shorten("abcdefghij", 3) == told
    assert shorten("abc", 3) == "abc"


def test_the_detail_of_a_refusal_is_bounded_and_fit_to_be_read():
    detail = detail_of("192.0.2.1\n" * 4000)
    assert detail.isprintable() and MOST_DETAIL <= len(detail) <= MOST_DETAIL + 40
    assert detail_of("short") == "short"


@given(st.text(st.characters(exclude_categories=())))
def test_what_was_made_printable_stays_as_it_is(value):
    once = printable(value)
    assert once.isprintable() and printable(once) == once and plain(value) == once


def test_a_client_at_an_interface_with_an_odd_name_has_a_valid_line():
    writer = Lines()
    log = Log(writer)
    account = Account("ab-1", '[fe80::1%a"b\\]:5', "a.example:443", "192.0.2.1:443", 1, 2, 0.1, 1.5)
    log.tunnel_closed("idle", "", account)
    log.tls_verified("ab-1", '[fe80::1%a"b\\]:5', "a.example:443", "a.example", "TLS 1.3", 0.1)
    assert [json.loads(line)["client"] for line in writer.lines] == ['[fe80::1%a"b\\]:5'] * 2


def test_one_line_is_whole_whatever_it_is_of():
    line = one_line(Event.WRONG_CONFIGURATION, "x\udcff\n" * 5000, detail=float("nan"))
    assert len(line) < PIPE_ATOMIC and json.loads(line)["event"] == 401


@pytest.mark.parametrize("encoding", ["ascii", "latin-1:strict", "utf-8"])
def test_what_is_said_on_standard_error_is_one_line_of_what_is_fit_to_be_read(encoding):
    script = "import sys; from ogw.report.standard import say; say('no \\udcff \\x1b[2J \\n \\xfc', sys.stderr)"
    environment = {"PYTHONIOENCODING": encoding, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, timeout=30)
    assert (done.returncode, done.stderr.decode()) == (0, "no \\xff \\x1b[2J \\n ü\n")


def test_nothing_is_said_where_there_is_no_stream_or_a_closed_one_and_nothing_raised():
    say("x", None)
    kept = io.StringIO()
    say("x\n", kept)
    assert kept.getvalue() == "x\\n\n"
    kept.close()
    say("nobody hears it", kept)


def test_blanks_of_languages_stay_in_messages_for_people_and_are_written_out_elsewhere():
    text = "configuration incorrecte\u00a0: 1\u202f234\u3000\x1b[31m\u202e"
    assert readable(text) == "configuration incorrecte\u00a0: 1\u202f234\u3000\\x1b[31m\\u202e"
    assert printable(text) == "configuration incorrecte\\xa0: 1\\u202f234\\u3000\\x1b[31m\\u202e"
