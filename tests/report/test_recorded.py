"""Refusals read back from logs: the lines of a real log, however they are wrapped, and hostile ones."""

import bz2
import gzip
import io
import json
import lzma
from itertools import zip_longest

import pytest
from harness.growth import assert_linear
from hypothesis import given
from hypothesis import strategies as st

from ogw.report.events import Event
from ogw.report.log import Log
from ogw.report.recorded import FORMS, LONGEST_LINE, NotRead, Recorded, Recording
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
        line(text, client="2001:db8::1", via="10.0.0.9:40001", target="[2001:db8::7]:443", enforced=False),
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


PACKED = {
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "bzip2": bz2.compress,
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "UTF-32": lambda data: data.decode().encode("utf-32"),
    "gzip twice": lambda data: gzip.compress(gzip.compress(data)),
}
BARE = {name: lambda data, name=name: data.decode().encode(name) for name in ("utf-16-le", "utf-16-be")}


@pytest.mark.parametrize("pack", [*PACKED.values(), *BARE.values()], ids=[*PACKED, *BARE])
def test_another_form_is_named_also_inside_of_gzip(pack):
    data = pack(f"{line()}\n".encode())
    for packed in (data, gzip.compress(data)):
        with pytest.raises(NotRead) as caught:
            list(Recording().read(opened(packed)))
        assert caught.value.form.name in (*PACKED, "UTF-16")
    assert all(form.command for form in FORMS)


def test_zeros_that_a_rotation_left_in_front_are_no_other_form():
    data = b"\0" * 5000 + f"{line()}\n{line()}\n".encode()
    assert len(list(Recording().read(opened(data)))) == 2


def cut(text, size, stream="stdout", tags=""):
    """As CRI writes a long line."""
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    kinds = ["P"] * (len(pieces) - 1) + ["F"]
    return [f"2026-11-24T10:00:00.00000000{number % 10}Z {stream} {kind}{tags} {piece}"
            for number, (kind, piece) in enumerate(zip(kinds, pieces, strict=True))]  # fmt: skip


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("tags", ["", ":x:y"])
@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_pieces_of_a_line_are_joined(text, tags, size):
    other = cut("one that another stream has", 5, "stderr")
    whole = line(text)
    pieces = cut(whole, size, tags=tags)
    mixed = [one for pair in zip_longest(pieces, other) for one in pair if one is not None]
    found, recording = read(*mixed, *pieces, "bare", whole)
    assert [one.target for one in found] == [FIELDS["target"]] * 3
    assert recording.unreadable == 0 and found[0] == found[1] == found[2]


def test_pieces_without_an_end_are_a_torn_line_and_far_too_many_are_one():
    pieces = cut(line(), 100)
    assert read(*pieces[:-1])[1].unreadable == 1
    found, recording = read(*["2026-11-24T10:00:00.000000000Z stdout P " + "x" * 9999] * 300, *cut("y", 9), line())
    assert (len(found), recording.lines, recording.unreadable) == (1, 2, 1)


def test_what_docker_cut_is_joined():
    whole = line(padding='a "quoted" one ' * 3000)
    pieces = [whole[at : at + 16384] for at in range(0, len(whole), 16384)]
    pieces[-1] += "\n"
    told = [json.dumps({"log": one, "stream": "stdout", "time": "t"}, separators=(",", ":")) for one in pieces]
    found, recording = read(*told, json.dumps({"log": line() + "\n", "stream": "stdout"}, separators=(",", ":")))
    assert [one.target for one in found] == [FIELDS["target"]] * 2
    assert (recording.lines, recording.unreadable) == (2, 0)


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


@pytest.mark.parametrize("time", ["yesterday", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00", 17, None, "",
                                  "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])  # fmt: skip
def test_a_time_that_is_none_is_left_out(time):
    (one,), _recording = read(json.dumps({"event": 105, "reason": "r", "client": "c", "time": time}))
    assert (one.first, one.last) == (None, None)


@pytest.mark.parametrize("piece", [" status=a", " tunnel=", " client=1", " x", ' target="', "\\\\", " ", '"', ": "])
def test_the_time_for_a_line_grows_with_its_length(piece):
    def work(count):
        list(read(f"OGW-105 x (r){piece * count} x client=1 target=b")[0])

    assert_linear(work, 1000)


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
    assert_read_or_torn(bent)


def assert_read_or_torn(data):
    """Its lines are read; what begins as a packed log does (1f 8b), or in another form, may be an error of its own."""
    recording = Recording()
    try:
        found = list(recording.read(opened(data)))
    except (OSError, EOFError):
        assert data[:2] == b"\x1f\x8b"
        return
    except NotRead as error:
        assert data.startswith(error.form.begins)
        return
    assert recording.lines >= 1 and len(found) == recording.refusals <= recording.lines


@pytest.mark.parametrize(
    "data", [b"\x1f\x8b", b"\x1f\x8b\n", b"\x1f\x8b\x08" + line().encode(), b"\x1f" + line().encode()]
)
def test_a_line_that_begins_as_a_packed_log_does_is_an_error_of_its_own_or_a_line(data):
    assert_read_or_torn(data)


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("subject", ["CN=till-17,O=Shop", 'CN=Till 17\\, left,O="x" client=9.9.9.9 target=e.example:1'])
def test_the_subject_of_a_client_is_read(text, subject):
    fields = {"status": 403, "tunnel": "3fa1c2-7", "client": PAIR[0], "client_subject": subject, "target": PAIR[1]}
    writer = Lines()
    Log(writer, text).event(Event.TARGET_NOT_ALLOWED, DETAIL, "host-not-allowed", **fields)
    (one,), _recording = read(*writer.lines)
    assert (one.client, one.subject, one.target) == (PAIR[0], subject, PAIR[1])


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize(
    ("wrap", "gateway"),
    [
        (WRAPPED["bare"], ""),
        (WRAPPED["syslog"], "gw"),
        (WRAPPED["journald"], "gw"),
        (WRAPPED["kubernetes"], ""),
        (WRAPPED["docker"], ""),
        (WRAPPED["docker compose"], ""),
        (lambda line: f"2026-11-24T10:00:00+00:00 gw-7.shop.example ogw[17]: {line}", "gw-7.shop.example"),
        (lambda line: json.dumps({"_HOSTNAME": "gw-8", "MESSAGE": line}), "gw-8"),
        (lambda line: json.dumps({"host": "gw-9", "message": json.dumps({"log": line})}), "gw-9"),
        (lambda line: json.dumps({"_HOSTNAME": 7, "MESSAGE": line}), ""),
    ],
)
def test_the_gateway_is_the_machine_that_whoever_wrapped_the_line_names(wrap, gateway, text):
    (one,), _recording = read(wrap(line(text)))
    assert one.gateway == gateway
