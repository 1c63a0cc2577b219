"""Refusals read back from logs: the lines of a real log, however they are wrapped, and hostile ones."""

import contextlib
import gzip
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogw.report.events import Event
from ogw.report.log import Log
from ogw.report.recorded import LONGEST_LINE, Recorded, Recording
from ogw.report.refusals import GATHERED

FIELDS = {"status": 403, "tunnel": "3fa1c2-7", "client": "10.1.2.3:51000", "target": "www.example.org:443"}
PAIR = FIELDS["client"], FIELDS["target"]
DETAIL = 'www.example.org is not in the allowed hosts; a rule has note="x target=evil.example:1 client=9.9.9.9"'


class Lines:
    """A writer that keeps what it is given."""

    longest = 0
    lost = 0

    def __init__(self):
        self.lines = []

    def put(self, line):
        self.lines.append(line)


def line(text=False, event=Event.TARGET_NOT_ALLOWED, reason="host-not-allowed", **fields):
    """As the gateway writes it."""
    writer = Lines()
    Log(writer, text).event(event, DETAIL, reason, **{**FIELDS, **fields})
    return writer.lines[0]


def opened(data):
    return io.BufferedReader(io.BytesIO(data))


def read(*lines, pack=False):
    data = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")
    recording = Recording()
    return list(recording.read(opened(gzip.compress(data) if pack else data))), recording


WRAPPED = {
    "bare": lambda line: line,
    "syslog": lambda line: f"Nov 24 10:00:00 gw ogw: {line}",
    "journald": lambda line: f"Nov 24 10:00:00 gw ogw[17]: {line}",
    "journald as JSON": lambda line: json.dumps({"__REALTIME_TIMESTAMP": "1", "MESSAGE": line, "_PID": "17"}),
    "journald, unprintable": lambda line: json.dumps({"MESSAGE": list(line.encode())}),
    "docker": lambda line: json.dumps({"log": f"{line}\n", "stream": "stdout", "time": "2026-11-24T10:00:00Z"}),
    "docker compose": lambda line: f"ogw-1  | {line}",
    "kubernetes": lambda line: f"2026-11-24T10:00:00.000000000Z stdout F {line}",
    "twice": lambda line: json.dumps({"MESSAGE": json.dumps({"log": line})}),
    "carriage return": lambda line: f"{line}\r",
}


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED.keys())
def test_a_line_is_read_however_it_is_wrapped(wrap, text):
    (one,), recording = read(wrap(line(text)), "", "something else", wrap(line(text, event=107)))
    assert (one.event, one.reason, one.client, one.target) == (
        105,
        "host-not-allowed",
        "10.1.2.3:51000",
        FIELDS["target"],
    )
    assert one.detail.startswith("www.example.org is not in the allowed hosts")
    assert one.count == 1 and one.first == one.last is not None
    assert (recording.lines, recording.refusals, recording.unreadable) == (4, 1, 0)


@pytest.mark.parametrize("text", [False, True])
def test_the_count_of_repeated_refusals_and_refused_clients_are_read(text):
    lines = [
        line(text, client="10.1.2.3", count=17, status=None, tunnel=None),
        line(text, event=Event.CLIENT_REFUSED, reason="client-not-allowed", target=None),
        line(text, client="2001:db8::1", target="[2001:db8::7]:443", enforced=False),
    ]
    found, _recording = read(*lines)
    assert [(one.event, one.client, one.target, one.count) for one in found] == [
        (105, "10.1.2.3", FIELDS["target"], 17),
        (112, FIELDS["client"], "", 1),
        (105, "2001:db8::1", "[2001:db8::7]:443", 1),
    ]


def test_the_count_of_many_targets_is_not_that_of_the_last_one():
    message = f"400 more {GATHERED}; the last: no"
    told = json.dumps({"event": 105, "reason": "r", "client": "c", "target": "t:443", "message": message, "count": 400})
    (one,), _recording = read(told)
    assert one.count == 1


def test_a_packed_log_is_unpacked_and_one_that_ends_in_the_middle_says_so():
    same = line()
    assert read(same, pack=True)[0] == read(same)[0] != []
    packed = gzip.compress(b"".join(f"{line()}\n".encode() for _turn in range(100)))
    with pytest.raises(EOFError):
        list(Recording().read(opened(packed[:-20])))
    assert len(list(Recording().read(opened(packed)))) == 100


def test_what_cannot_be_read_is_counted_and_the_rest_goes_on():
    torn = line()[:-30]
    strange = [
        torn,
        json.dumps({"event": 105, "reason": "host-not-allowed", "target": "a.example:443"}),
        json.dumps({"event": 105, "reason": ["x"], "client": "10.1.2.3", "target": "a.example:443"}),
        '{"event": ' + "[" * 100_000,
        '{"event": 105, "padding": "' + "x" * LONGEST_LINE * 3 + '"}',
    ]
    found, recording = read(*strange, line())
    assert len(found) == 1
    assert (recording.lines, recording.unreadable) == (6, 5)


@pytest.mark.parametrize("count", [0, -5, 10**13, True, "7", 1.5, None, [], {}])
def test_a_count_that_is_none_is_one(count):
    (one,), _recording = read(json.dumps({"event": 105, "reason": "r", "client": "c", "count": count}))
    assert one.count == 1


@pytest.mark.parametrize("time", ["yesterday", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00", 17, None, ""])
def test_a_time_that_is_none_is_left_out(time):
    (one,), _recording = read(json.dumps({"event": 105, "reason": "r", "client": "c", "time": time}))
    assert (one.first, one.last) == (None, None)


NAMES = ["event", "log", "MESSAGE", "client", "x"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inside: st.lists(inside) | st.dictionaries(st.sampled_from(NAMES), inside),
)


@given(
    st.dictionaries(
        st.sampled_from(["event", "reason", "client", "target", "message", "count", "time", "log", "MESSAGE"]),
        JSON | st.just(105) | st.just("host-not-allowed") | st.just("10.0.0.1"),
    )
)
def test_any_json_gives_texts_and_numbers_or_nothing(value):
    found, _recording = read(json.dumps(value))
    for one in found:
        assert isinstance(one, Recorded) and one.count >= 1
        assert all(isinstance(text, str) for text in (one.reason, one.client, one.target, one.detail))


@given(
    st.binary(max_size=300) | st.text(max_size=300).map(lambda text: f"OGW-105 x (y): {text}".encode("utf-8", "ignore"))
)
def test_any_bytes_give_no_error(data):
    recording = Recording()
    list(recording.read(opened(b"x" + data)))
    assert recording.lines >= 1


@given(st.data())
def test_a_line_that_was_cut_or_bent_anywhere_gives_no_error(data):
    whole = data.draw(st.sampled_from([line(), line(True), WRAPPED["docker"](line())])).encode()
    at = data.draw(st.integers(0, len(whole)))
    bent = whole[:at] + data.draw(st.binary(max_size=4)) + whole[at + data.draw(st.integers(0, 9)) :]
    with contextlib.suppress(OSError, EOFError):  # it may begin as a packed one does
        list(Recording().read(opened(bent)))
