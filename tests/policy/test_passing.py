"""What of a handshake passes on, and when: whole records up to the last message accepted, and nothing behind."""

import pathlib
import random
import tracemalloc

import pytest
from harness.certificates import with_common_names
from harness.hellos import (
    HOST,
    RECORDED,
    certificates,
    client_hello,
    extension,
    hello,
    message,
    recorded,
    records,
    server_hello,
    server_names,
    supported_versions,
)
from hypothesis import given
from hypothesis import strategies as st

import ogw
from ogw.policy.decision import Reason
from ogw.policy.handshake import Handshake
from ogw.policy.hosts import Policy
from ogw.policy.rules import parse_rules
from ogw.policy.subjects import Subjects, parse_pattern
from ogw.policy.tls_rules import Mode, TlsRules
from ogw.wire.connect import parse_target
from ogw.wire.tls import alert

OGW = pathlib.Path(ogw.__file__).parent
CHANGE = records(b"\1", kind=20)
FINISHED = records(message(20, b"f" * 12))
RETRY = records(server_hello(retry=True))
TILL = with_common_names("till-7")
ALLOWED = parse_rules(".bench.example", "x")[0]


def watch(*patterns, **settings):
    settings.setdefault("min_version", 0x0301)
    subjects = Subjects([parse_pattern(pattern) for pattern in patterns]) if patterns else None
    policy = Policy(ALLOWED, tls=TlsRules(subjects=subjects, **settings))
    return Handshake(policy, parse_target(f"{HOST}:443".encode()), "198.51.100.9", False)


def say(handshake, *said):
    """Feed ("up" or "down", bytes) in turn; all that passed on, (up, down)."""
    passed = {"up": b"", "down": b""}
    for direction, data in said:
        if handshake.settled:
            break
        {"up": handshake.client_said, "down": handshake.server_said}[direction](data)
        passed["up"] += handshake.take_up()
        passed["down"] += handshake.take_down()
    return passed["up"], passed["down"]


def by_bytes(direction, data):
    return [(direction, data[at : at + 1]) for at in range(len(data))]


# Behind an accepted ClientHello.

FORBIDDEN = {
    "a second hello": hello(),
    "another name": hello(b"secret.bench.example"),
    "a finished": FINISHED,
    "a key exchange": records(message(16, b"key")),
    "a heartbeat": records(b"\1\0\3abc", kind=24),
    "no record": b"\x99" * 40,
    "another protocol": b"\x16\x04\x01\0\4abcd",
    "an empty record": b"\x16\x03\x03\0\0",
    "too large a record": b"\x17\x03\x03\xff\xff" + bytes(100),
    "a long change of the cipher": records(b"\1" * 100, kind=20),
    "a change of the cipher to 2": records(b"\2", kind=20),
    "a long alert": records(b"\1\0secret", kind=21),
    "too large a message": records(b"\x10\xff\xff\xff"),
}


@pytest.mark.parametrize("first", [b"", CHANGE, records(b"early", kind=23), alert(0)[:5] + b"\1\0"])
@pytest.mark.parametrize("case", FORBIDDEN)
def test_what_is_forbidden_behind_a_hello_never_passes(case, first):
    up, wrong = hello() + first, FORBIDDEN[case]
    at_once = watch()
    assert say(at_once, ("up", up + wrong)) == (b"", b"")
    assert at_once.rejection.reason in (Reason.MALFORMED_HANDSHAKE, Reason.HELLO_TOO_LARGE)
    for said in ([("up", up), ("up", wrong)], [("up", up), *by_bytes("up", wrong)], by_bytes("up", up + wrong)):
        handshake = watch()
        assert say(handshake, *said) == (up, b"") and handshake.rejection == at_once.rejection
        assert handshake.take_up() == b"" and handshake.take_down() == b""
        handshake.client_said(b"more")
        assert handshake.take_up() == b""
    for size in range(1, len(up + wrong), 3):
        cut = watch()
        assert say(cut, ("up", (up + wrong)[:size]), ("up", (up + wrong)[size:]))[0] in (b"", hello(), up)
        assert cut.rejection == at_once.rejection


@pytest.mark.parametrize("tail", [b"\x10", b"\x10\0\0\3k", message(16, b"key"), b"\x01\0\1\0"])
def test_nothing_may_stand_behind_a_hello_in_its_own_record(tail):
    for data in (records(client_hello(server_names(HOST.encode())) + tail), records(hello()[5:] + tail, 100)):
        handshake = watch()
        assert say(handshake, *by_bytes("up", data))[0] == b""
        assert handshake.rejection.reason is Reason.MALFORMED_HANDSHAKE


def test_what_may_stand_behind_a_hello_passes_record_by_record():
    up = hello(HOST.encode(), extension(42, b""))
    early = records(b"e" * 5000, kind=23)
    handshake = watch()
    assert say(handshake, ("up", up + CHANGE + early[:-1])) == (up + CHANGE, b"")
    assert handshake.held == len(early) - 1
    assert say(handshake, ("up", early[-1:] + early)) == (early + early, b"") and handshake.held == 0
    down = RETRY + CHANGE
    assert say(handshake, ("down", down), ("up", early)) == (early, down)
    second = CHANGE + hello()
    assert say(handshake, ("up", second), ("down", records(server_hello()))) == (second, records(server_hello()))
    assert handshake.verified


def test_with_a_list_of_certificates_nothing_passes_behind_a_hello():
    handshake = watch("till-7")
    assert say(handshake, ("up", hello() + CHANGE)) == (hello(), b"") and handshake.held == len(CHANGE)
    assert say(handshake, ("up", records(b"early", kind=23))) == (b"", b"")


# Behind a fatal alert, and on the server's side.


def test_nothing_passes_behind_a_fatal_alert():
    handshake = watch()
    assert say(handshake, ("up", hello()), ("up", alert(40) + b"more")) == (hello() + alert(40), b"")
    handshake = watch()
    assert say(handshake, ("up", hello()), ("down", alert(40) + b"more")) == (hello(), alert(40))
    handshake.server_said(b"more")
    assert handshake.take_down() == b"" and handshake.ended


@pytest.mark.parametrize("behind", [b"", certificates(b"server"), b"\x0b\0\1"])
def test_nothing_of_a_rejected_server_hello_and_behind_it_passes(behind):
    down = records(server_hello(0x0302) + behind) + records(b"x" * 100)
    for said in ([("down", down)], by_bytes("down", down)):
        handshake = watch(min_version=0x0303)
        assert say(handshake, ("up", hello()), *said)[1] == b""
        assert handshake.rejection.reason is Reason.TLS_VERSION


@pytest.mark.parametrize("least", [0x0301, 0x0304])
def test_a_change_of_the_cipher_behind_a_retry_passes_at_once(least):
    for said in ([("down", RETRY + CHANGE)], [("down", RETRY), ("down", CHANGE)], by_bytes("down", RETRY + CHANGE)):
        handshake = watch(min_version=least)
        assert say(handshake, ("up", hello(versions=(0x0304,))), *said)[1] == RETRY + CHANGE
        assert handshake.awaits_client and handshake.held == 0


def test_a_change_of_the_cipher_behind_the_second_hello_passes_at_once():
    handshake = watch()
    assert say(handshake, ("up", hello()), ("down", RETRY), ("up", hello()), ("down", CHANGE))[1] == RETRY + CHANGE


def test_a_flight_passes_in_whole_records_and_what_ends_a_turn_ends_its_record():
    flight = server_hello(0x0303) + certificates(b"c" * 500) + message(13, b"\1\1\0\0\0\0") + message(14, b"")
    down = records(flight, 300)
    for said in ([("down", down)], by_bytes("down", down)):
        handshake = watch("till-7")
        assert say(handshake, ("up", hello()), *said)[1] == down and handshake.awaits_client
    for tail in (b"\x0e", b"\x0b\0\5ab"):
        handshake = watch("till-7")
        assert say(handshake, ("up", hello()), ("down", records(flight + tail)))[1] == b""
        assert handshake.rejection.reason is Reason.MALFORMED_HANDSHAKE
    handshake = watch()
    assert say(handshake, ("up", hello()), ("down", records(server_hello(retry=True) + b"\x0b")))[1] == b""
    assert handshake.rejection.reason is Reason.MALFORMED_HANDSHAKE


# Whatever is said, and however it is cut.

GARBAGE = st.one_of(
    st.sampled_from([*FORBIDDEN.values(), CHANGE, alert(40), records(b"x", kind=23), records(certificates(TILL))]),
    st.binary(min_size=1, max_size=40),
)
ENDS = {name: [recorded(name)[0][:3000], recorded(name)[1][:6000]] for name in RECORDED}


def whole_records(data):
    at = 0
    while at < len(data):
        at += 5 + int.from_bytes(data[at + 3 : at + 5], "big")
    return at == len(data)


@given(st.data())
def test_rejected_at_a_byte_means_that_nothing_from_there_on_passes(data):
    """Recorded sessions with garbage at any place, in any order, cut anywhere, against the same byte by byte."""
    streams = dict(zip(("up", "down"), ENDS[data.draw(st.sampled_from(RECORDED))], strict=True))
    for direction, said in streams.items():
        for _turn in range(data.draw(st.integers(0, 2))):
            ends = [0]
            while ends[-1] < len(said):
                ends.append(ends[-1] + 5 + int.from_bytes(said[ends[-1] + 3 : ends[-1] + 5], "big"))
            at = data.draw(st.one_of(st.sampled_from(ends), st.integers(0, min(len(said), 1500))))
            said = said[:at] + data.draw(GARBAGE) + said[at:]
        streams[direction] = said
    patterns = data.draw(st.sampled_from([(), ("till-7",)]))
    pieces, left = [], dict(streams)
    chance = random.Random(data.draw(st.integers(0, 1 << 32)))
    while any(left.values()):
        turn = chance.choice([name for name in left if left[name]])
        size = chance.choice([1, 5, 200, 517, 3000, 6000])
        pieces.append((turn, left[turn][:size]))
        left[turn] = left[turn][size:]
    slow, fast = watch(*patterns), watch(*patterns)
    said = {"up": 0, "down": 0}
    passed = {"up": b"", "down": b""}
    for turn, byte in [each for piece in pieces for each in by_bytes(*piece)]:
        up, down = say(slow, (turn, byte))
        passed = {"up": passed["up"] + up, "down": passed["down"] + down}
        if slow.settled:
            break
        said[turn] += 1
    for turn in ("up", "down"):
        assert streams[turn].startswith(passed[turn])
        if slow.rejection:
            assert len(passed[turn]) <= said[turn] and whole_records(passed[turn])
    quick = dict(zip(("up", "down"), say(fast, *pieces), strict=True))
    assert fast.rejection == slow.rejection and fast.verified == slow.verified
    for turn in ("up", "down"):
        if slow.rejection:
            assert passed[turn].startswith(quick[turn])
        elif slow.verified:
            assert streams[turn].startswith(quick[turn]) and quick[turn].startswith(passed[turn])
        else:
            assert quick[turn] == passed[turn]


@given(st.lists(st.tuples(st.sampled_from(["up", "down"]), GARBAGE), max_size=6), st.integers(1, 400))
def test_all_passes_at_once_where_the_rules_only_report(said, size):
    up = records(client_hello(server_names(HOST.encode()), supported_versions(0x0304)), size)
    said = [("up", up[:7]), *said, ("up", up[7:])]
    handshake, passed = watch(mode=Mode.REPORT), {"up": b"", "down": b""}
    for direction, data in said:
        {"up": handshake.client_said, "down": handshake.server_said}[direction](data)
        passed["up"] += handshake.take_up()
        passed["down"] += handshake.take_down()
        assert passed == {
            each: b"".join(data for to, data in said if to == each)[: len(passed[each])] for each in passed
        }
    assert passed == {each: b"".join(data for to, data in said if to == each) for each in passed}
    alone = watch()
    say(alone, *said)
    assert alone.rejection == handshake.rejection


# What is held.


@pytest.mark.parametrize("piece", [1, 100, 1400, 16384])
def test_the_bytes_of_an_unfinished_hello_are_held_once(piece):
    body = records(client_hello(server_names(HOST.encode()), extension(51, bytes(65000))))[:-1]
    pieces = [body[at : at + piece] for at in range(0, len(body), piece)]
    handshake = watch()
    tracemalloc.start()
    try:
        for each in pieces:
            handshake.client_said(each)
            assert handshake.take_up() == b""
        # Of the gateway's own code: a thread of another test may be about to receive something.
        own = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, f"{OGW}/*")])
        now = sum(each.size for each in own.traces)
    finally:
        tracemalloc.stop()
    assert handshake.held == len(body) and not handshake.settled
    assert len(body) <= now < 1.2 * len(body)


def test_the_same_where_the_rules_only_report_and_nothing_of_it_afterwards():
    body = records(client_hello(server_names(HOST.encode()), extension(51, bytes(60000))))
    handshake = watch(mode=Mode.REPORT)
    handshake.client_said(body[:-1])
    assert handshake.take_up() == body[:-1] and handshake.held == len(body) - 1
    handshake.client_said(body[-1:])
    assert handshake.take_up() == body[-1:] and handshake.held == 0
    assert say(handshake, ("down", records(server_hello()))) and handshake.verified and handshake.held == 0
