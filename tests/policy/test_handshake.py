"""The TLS rules on recorded and hand-made handshakes: what may pass, when, and why not."""

import pytest
from harness.certificates import with_common_names
from harness.hellos import (
    GREASE,
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

from ogw.policy.decision import Reason
from ogw.policy.handshake import Handshake
from ogw.policy.hosts import Policy
from ogw.policy.index import HostIndex
from ogw.policy.rejection import ALERTS
from ogw.policy.rules import parse_rules
from ogw.policy.subjects import Subjects, parse_pattern
from ogw.policy.tls_rules import Mode, TlsRules
from ogw.wire.connect import parse_target
from ogw.wire.tls import alert

CLIENT = "198.51.100.9"
REQUEST, DONE = message(13, b"\1\1\0\0\0\0"), message(14, b"")
CHANGE, TICKET = records(b"\1", kind=20), message(4, b"ticket")


def rules(text):
    read, mistakes = parse_rules(text, "x")
    assert not mistakes
    return read


def subjects(*patterns):
    return Subjects([parse_pattern(pattern) for pattern in patterns])


def watch(target=HOST, no_server_name=False, allowed=".bench.example", **settings):
    settings.setdefault("min_version", 0x0301)
    policy = Policy(rules(allowed), tls=TlsRules(**settings))
    place = f"[{target}]:443" if ":" in target else f"{target}:443"
    return Handshake(policy, parse_target(place.encode()), CLIENT, no_server_name)


def say(handshake, *said, piece=1 << 20):
    """Feed ("up" or "down", bytes) in turn; what passed on, (up, down), up to where it was settled."""
    passed = {"up": b"", "down": b""}
    for direction, data in said:
        for at in range(0, len(data), piece):
            if handshake.settled:
                break
            {"up": handshake.client_said, "down": handshake.server_said}[direction](data[at : at + piece])
            passed["up"] += handshake.take_up()
            passed["down"] += handshake.take_down()
    return passed["up"], passed["down"]


def replay(handshake, up, down, piece=1 << 20):
    """Feed a recording in the order in which it went; what passed on, (up, down), up to where it was settled."""
    left, passed = {"up": up, "down": down}, {"up": b"", "down": b""}
    while not handshake.settled:
        turn = "up" if handshake.awaits_client else "down"
        if not left[turn]:
            break
        # Record by record at the most: what belongs to the next turn is not said before it.
        size = min(piece, 5 + int.from_bytes(left[turn][3:5], "big") if piece > 1 else 1)
        {"up": handshake.client_said, "down": handshake.server_said}[turn](left[turn][:size])
        left[turn] = left[turn][size:]
        passed["up"] += handshake.take_up()
        passed["down"] += handshake.take_down()
    return passed["up"], passed["down"]


def reason(handshake):
    return handshake.rejection and handshake.rejection.reason


def rejected(because, data, words="", **settings):
    """The ClientHello is rejected, nothing of it passes on, and byte by byte it is the same."""
    handshake = watch(**settings)
    assert say(handshake, ("up", data)) == (b"", b"")
    assert reason(handshake) is because and words in handshake.rejection.detail
    again = watch(**settings)
    assert say(again, ("up", data), piece=1) == (b"", b"") and again.rejection == handshake.rejection
    return handshake


# Recorded sessions.


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_a_recorded_session_is_verified_and_nothing_is_lost(name, piece):
    up, down = recorded(name)
    handshake = watch()
    passed = replay(handshake, up, down, piece)
    assert handshake.verified and handshake.server_name == HOST
    assert passed[0] and up.startswith(passed[0]) and passed[1] and down.startswith(passed[1])
    assert (handshake.take_up(), handshake.take_down()) == (b"", b"")


@pytest.mark.parametrize("name", RECORDED)
def test_every_prefix_of_a_session_is_need_more_or_verified(name):
    up, down = recorded(name)
    for size in range(len(up)):
        handshake = watch()
        replay(handshake, up[:size], down, 1)
        assert handshake.rejection is None and handshake.ended is None
        if handshake.verified:
            break
    for size in range(len(down)):
        handshake = watch()
        replay(handshake, up, down[:size], 1)
        assert handshake.rejection is None and handshake.ended is None
        if handshake.verified:
            break


@pytest.mark.parametrize("size", [1, 2, 50, 1000])
def test_a_hello_over_many_records_passes_as_it_came(size):
    data = records(client_hello(server_names(HOST.encode()), supported_versions(0x0304)), size)
    handshake = watch()
    assert say(handshake, ("up", data[:-1])) == (b"", b"")
    handshake.client_said(data[-1:])
    assert handshake.take_up() == data


# Is it TLS?


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n", b"\0\0\0\0", b"\x17\x03\x03\0\1x"])
def test_what_is_not_tls_is_rejected_with_its_first_byte(data):
    rejected(Reason.NOT_TLS, data)


def test_a_server_that_speaks_first_does_not_speak_tls():
    handshake = watch()
    assert say(handshake, ("down", b"SSH-2.0-OpenSSH\r\n")) == (b"", b"")
    assert reason(handshake) is Reason.NOT_TLS


def test_ssl_2_is_named_and_ssl_3_is_too_old():
    rejected(Reason.TLS_VERSION, b"\x80\x2e\x01\x00\x02", "SSL 2.0")
    rejected(Reason.TLS_VERSION, records(client_hello(legacy=0x0300), version=0x0300), "SSL 3.0", no_server_name=True)


def test_another_message_where_the_hello_belongs():
    rejected(Reason.MALFORMED_HANDSHAKE, records(server_hello()), "server hello")
    rejected(Reason.MALFORMED_HANDSHAKE, alert(0), "an alert")


def test_a_message_over_the_limit_is_rejected_when_its_length_is_read():
    data = b"\x16\x03\x01\x40\0\x01\x01\0\0"  # 65536 bytes: the most that is allowed
    handshake = watch()
    say(handshake, ("up", data))
    assert not handshake.settled
    rejected(Reason.HELLO_TOO_LARGE, b"\x16\x03\x01\x40\0\x01\x01\0\x01", "65537")
    rejected(Reason.HELLO_TOO_LARGE, hello(HOST.encode(), extension(51, bytes(2000))), "more than 1024", max_size=1024)


def test_what_is_held_stays_bounded():
    waiting = watch(subjects=subjects("till-7"))
    say(waiting, ("up", hello()))
    while not waiting.settled:
        waiting.client_said(records(bytes(1000), kind=23))
    assert reason(waiting) is Reason.HELLO_TOO_LARGE
    small = watch(max_size=2000)
    say(small, ("up", hello()))
    for _turn in range(100):
        small.server_said(bytes.fromhex("15030300020100"))
        if small.settled:
            break
    assert not small.settled  # 700 bytes
    while not small.settled:
        small.server_said(bytes.fromhex("15030300020100"))
    assert reason(small) is Reason.HELLO_TOO_LARGE


# The server name.


@pytest.mark.parametrize("name", [HOST, HOST.upper(), f"{HOST}."])
def test_the_name_of_the_target_passes_in_any_case_and_with_a_final_dot(name):
    handshake = watch()
    data = hello(name.encode())
    assert say(handshake, ("up", data)) == (data, b"") and handshake.server_name == HOST


def test_no_server_name_passes_only_where_the_rule_says_so():
    handshake = rejected(Reason.SERVER_NAME_MISSING, hello(None), "no-server-name")
    assert ALERTS[handshake.rejection.reason] == 112
    handshake = watch(no_server_name=True)
    data = hello(None)
    assert say(handshake, ("up", data)) == (data, b"")


@pytest.mark.parametrize(
    "name",
    [b"agent.bench.example\0", b"agent.bench .example", b"a" * 64 + b".example", b".", b"agent..example",
     b"\xff.example", b"192.0.2.1", b"[::1]", b"::1", b"0x7f.1", "b\u00fccher.example".encode()],
)  # fmt: skip
def test_a_server_name_that_is_no_host_name_is_invalid(name):
    rejected(Reason.SERVER_NAME_INVALID, hello(name))


def test_an_address_is_no_server_name_even_where_it_is_the_target():
    rejected(Reason.SERVER_NAME_INVALID, hello(b"192.0.2.1"), target="192.0.2.1", allowed="192.0.2.1")


def test_two_server_names_are_invalid():
    data = records(client_hello(server_names(HOST.encode(), HOST.encode())))
    rejected(Reason.SERVER_NAME_INVALID, data, "2 server names")


def test_another_server_name_is_a_mismatch_even_if_it_is_allowed():
    rejected(Reason.SERVER_NAME_MISMATCH, hello(b"echo.bench.example"), "echo.bench.example")


def test_another_allowed_host_passes_where_the_setting_says_so():
    handshake = watch(any_allowed_host=True)
    data = hello(b"Echo.bench.example.")
    assert say(handshake, ("up", data)) == (data, b"") and handshake.server_name == "echo.bench.example"
    rejected(Reason.SERVER_NAME_MISMATCH, hello(b"www.example.org"), any_allowed_host=True)


@pytest.mark.parametrize(
    ("retry", "because"),
    [
        (HOST.encode(), None),
        (b"echo.bench.example", Reason.SERVER_NAME_MISMATCH),
        (None, Reason.SERVER_NAME_MISMATCH),
    ],
)
def test_the_second_hello_must_name_the_same_server(retry, because):
    handshake = watch(any_allowed_host=True)
    first, again, second = hello(), records(server_hello(retry=True)), hello(retry)
    passed = say(handshake, ("up", first), ("down", again), ("up", second))
    assert reason(handshake) is because
    assert passed == (first + (b"" if because else second), again)
    if not because:
        down = records(server_hello())
        assert say(handshake, ("down", down)) == (b"", down) and handshake.verified


def test_a_second_retry_is_malformed():
    handshake = watch()
    again = records(server_hello(retry=True))
    say(handshake, ("up", hello()), ("down", again), ("up", hello()), ("down", again))
    assert reason(handshake) is Reason.MALFORMED_HANDSHAKE


# Versions.


@pytest.mark.parametrize("least", [0x0301, 0x0302, 0x0303, 0x0304])
@pytest.mark.parametrize("best", [0x0301, 0x0302, 0x0303, 0x0304])
def test_the_best_version_offered_counts(least, best):
    data = hello(versions=(GREASE, best, 0x0301))
    if best < least:
        handshake = rejected(Reason.TLS_VERSION, data, "tls-min-version", min_version=least)
        assert ALERTS[handshake.rejection.reason] == 70
    else:
        assert say(watch(min_version=least), ("up", data)) == (data, b"")


def test_the_version_chosen_counts_and_its_hello_never_reaches_the_client():
    handshake = watch(min_version=0x0303)
    assert say(handshake, ("up", hello()), ("down", records(server_hello(0x0302))))[1] == b""
    assert reason(handshake) is Reason.TLS_VERSION and "the server chose TLS 1.1" in handshake.rejection.detail


def test_the_answer_is_held_until_it_is_judged():
    down = records(server_hello(0x0303) + certificates(b"x"))
    for size in range(1, len(down)):
        handshake = watch()
        assert say(handshake, ("up", hello()), ("down", down[:size]))[1] in (b"", down[:size])
        assert handshake.verified or size < len(down)


# Encrypted ClientHello.


@pytest.mark.parametrize("ech", ["allow", "report", "deny"])
def test_an_encrypted_hello_goes_by_its_setting(ech):
    data = hello(HOST.encode(), extension(0xFE0D, b"\0" * 200))
    if ech == "deny":
        rejected(Reason.ECH_NOT_ALLOWED, data, "encrypted-client-hello", ech=ech)
    else:
        handshake = watch(ech=ech)
        assert say(handshake, ("up", data)) == (data, b"")
        assert handshake.ech_to_report is (ech == "report")


# Client certificates.

TILL = with_common_names("till-7")
AGENT = with_common_names("workspace-id", "machine-name")
ASKS = records(server_hello(0x0303) + certificates(b"server") + REQUEST + DONE)


def session(*client, server=ASKS, patterns=("till-7",), session_id=b"", **settings):
    handshake = watch(subjects=subjects(*patterns), **settings)
    up = hello(versions=(0x0304, 0x0303), session_id=session_id)
    passed = say(handshake, ("up", up), ("down", server), *(("up", data) for data in client))
    return handshake, passed[0][len(up) :], passed[1]


@pytest.mark.parametrize("size", [1, 100, 16384])
def test_an_allowed_client_certificate_passes(size):
    said = records(certificates(TILL, AGENT) + message(16, b"key"), size)
    handshake, up, down = session(said)
    assert handshake.verified and handshake.subject == "CN=till-7"
    assert (up, down) == (said, ASKS)


def test_any_common_name_of_a_certificate_counts():
    assert session(records(certificates(AGENT)), patterns=("machine-name",))[0].verified
    assert session(records(certificates(AGENT)), patterns=("Workspace-ID",))[0].verified


@pytest.mark.parametrize("size", [1, 100, 16384])
def test_another_client_certificate_never_reaches_the_server(size):
    handshake, up, _down = session(records(certificates(AGENT), size))
    assert reason(handshake) is Reason.CLIENT_CERTIFICATE_NOT_ALLOWED and up == b""
    assert "CN=machine-name" in handshake.rejection.detail and handshake.subject


def test_the_second_certificate_of_a_chain_does_not_count():
    assert reason(session(records(certificates(AGENT, TILL)))[0]) is Reason.CLIENT_CERTIFICATE_NOT_ALLOWED


def test_asked_for_and_not_sent_is_rejected():
    assert reason(session(records(certificates()))[0]) is Reason.CLIENT_CERTIFICATE_NOT_SENT


@pytest.mark.parametrize("said", [records(message(16, b"key")), CHANGE])
def test_asked_for_and_passed_over_is_malformed(said):
    handshake, up, _down = session(said)
    assert reason(handshake) is Reason.MALFORMED_HANDSHAKE and up == b""


def test_not_asked_for_passes():
    handshake, _up, down = session(server=records(server_hello(0x0303) + certificates(b"server") + DONE))
    assert handshake.verified and down


def test_a_certificate_that_cannot_be_read_is_malformed():
    assert reason(session(records(certificates(b"no DER")))[0]) is Reason.MALFORMED_HANDSHAKE


RESUMED = {
    "1.3": (records(server_hello(0x0304)), b""),
    "id": (records(server_hello(0x0303, b"s" * 32)), b"s" * 32),
    "ticket without an id": (records(server_hello(0x0303)) + CHANGE, b""),
    "new ticket": (records(server_hello(0x0303) + TICKET), b""),
}


@pytest.mark.parametrize("case", RESUMED)
def test_an_unseen_certificate_goes_by_its_setting(case):
    server, session_id = RESUMED[case]
    handshake, _up, down = session(server=server, session_id=session_id)
    assert reason(handshake) is Reason.CLIENT_CERTIFICATE_UNSEEN and down == b""
    assert "unseen-client-certificate" in handshake.rejection.detail
    handshake, _up, down = session(server=server, session_id=session_id, allow_unseen=True)
    assert handshake.verified and down == server


def test_a_target_outside_the_certificate_hosts_is_untouched():
    others = HostIndex(rules("echo.bench.example"))
    handshake, _up, _down = session(server=records(server_hello(0x0304)), certificate_hosts=others)
    assert handshake.verified
    same = HostIndex(rules(HOST))
    assert session(server=records(server_hello(0x0304)), certificate_hosts=same)[0].rejection


@pytest.mark.parametrize("name", ["python-1.0-certificate", "python-1.2-certificate", "python-1.2-none-sent"])
@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_recorded_client_certificates(name, piece):
    up, down = recorded(name)
    handshake = watch(subjects=subjects("O=Example,CN=till-7"))
    replay(handshake, up, down, piece)
    if name.endswith("none-sent"):
        assert reason(handshake) is Reason.CLIENT_CERTIFICATE_NOT_SENT
    else:
        # trustme writes more attributes than were asked for; what is compared is the whole subject
        assert reason(handshake) is Reason.CLIENT_CERTIFICATE_NOT_ALLOWED and "CN=till-7" in handshake.subject
        allowed = watch(subjects=subjects(handshake.subject))
        replay(allowed, up, down, piece)
        assert allowed.verified


@pytest.mark.parametrize("name", ["python-1.2-ticket", "openssl-1.2-id", "python-1.3-ticket", "python-1.3-certificate"])
def test_recorded_sessions_with_an_unseen_certificate(name):
    up, down = recorded(name)
    handshake = watch(subjects=subjects("till-7"))
    assert replay(handshake, up, down)[1] == b""
    assert reason(handshake) is Reason.CLIENT_CERTIFICATE_UNSEEN


# How it ends otherwise.


@pytest.mark.parametrize(("who", "because"), [("up", Reason.CLIENT_CLOSED), ("down", Reason.UPSTREAM_CLOSED)])
def test_a_fatal_alert_passes_and_ends_the_handshake(who, because):
    handshake = watch()
    data = hello()
    up, down = say(handshake, ("up", data), (who, alert(40)))
    assert handshake.ended.reason is because and "alert 40 (handshake_failure)" in handshake.ended.detail
    assert (up, down) == ((data + alert(40), b"") if who == "up" else (data, alert(40)))


@pytest.mark.parametrize("reset", [False, True])
def test_a_peer_that_leaves_ends_the_handshake(reset):
    handshake = watch()
    handshake.left(client=False, reset=reset)
    assert handshake.ended.reason is (Reason.UPSTREAM_RESET if reset else Reason.UPSTREAM_CLOSED)
    assert "the server" in handshake.ended.detail


def test_a_timeout_says_what_was_awaited():
    handshake = watch()
    handshake.timed_out(10)
    assert reason(handshake) is Reason.HANDSHAKE_TIMEOUT and "no complete ClientHello after 10 s" in str(
        handshake.rejection
    )
    handshake = watch()
    say(handshake, ("up", hello()))
    handshake.timed_out(2.5)
    assert "no ServerHello after 2.5 s" in handshake.rejection.detail


# Where the rules only report.


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", hello(b"www.example.org"), b"\x16", hello()])
def test_all_passes_at_once_where_the_rules_only_report(data):
    handshake = watch(mode=Mode.REPORT)
    assert say(handshake, ("up", data)) == (data, b"")
    assert handshake.passes


# Whatever comes: bounded, settled once, and nothing of a rejected hello passes.


@given(st.data())
def test_cuts_and_records_never_change_a_verdict(data):
    name = data.draw(st.sampled_from([HOST.encode(), b"other.example", None, b"a b", b"192.0.2.1"]))
    versions = data.draw(st.lists(st.sampled_from([GREASE, 0x0301, 0x0303, 0x0304]), min_size=1, max_size=3))
    made = records(
        client_hello(*(() if name is None else (server_names(name),)), supported_versions(*versions)),
        data.draw(st.integers(1, 300)),
    )
    whole = watch(min_version=0x0303)
    say(whole, ("up", made))
    other = watch(min_version=0x0303)
    passed = say(other, ("up", made), piece=data.draw(st.integers(1, len(made))))
    assert other.rejection == whole.rejection
    assert passed[0] == (b"" if whole.rejection else made)


def changed(recording, draw):
    """A recording with a few wrong bytes, most of them where the lengths and the kinds of its first message stand."""
    data = bytearray(recording)
    for _change in range(draw(st.integers(0, 3))):
        at = draw(st.one_of(st.integers(0, 10), st.integers(0, len(data) - 1)))
        data[at] = (draw(st.one_of(st.just(0), st.just(data[at]))) + draw(st.integers(-3, 255))) % 256
    return bytes(data)


@given(st.data(), st.sampled_from(RECORDED))
def test_a_record_that_comes_whole_is_judged_as_one_that_comes_byte_by_byte(data, name):
    """The first is read in a shorter way."""
    mode, max_size = data.draw(st.sampled_from([Mode.ENFORCE, Mode.REPORT])), data.draw(st.sampled_from([300, 65536]))
    up, down = (changed(recording, data.draw) for recording in recorded(name))
    whole, slow = (watch(mode=mode, max_size=max_size) for _way in range(2))
    passed = [replay(whole, up, down), replay(slow, up, down, piece=1)]
    seen = [(each.rejection, each.ended, each.verified, each.session, each.awaits_client) for each in (whole, slow)]
    assert seen[0] == seen[1]
    assert passed[0] == passed[1] or mode is Mode.REPORT  # there, what is not judged yet passes in pieces


@given(st.lists(st.tuples(st.sampled_from(["up", "down"]), st.binary(max_size=60)), max_size=6), st.booleans())
def test_anything_at_all_is_settled_once_or_waits(said, listed):
    handshake = watch(subjects=subjects("till-7") if listed else None)
    say(handshake, ("up", hello()), *said)
    assert (handshake.verified, handshake.rejection is not None, handshake.ended is not None).count(True) <= 1


@given(st.data())
def test_a_changed_server_flight_is_settled_without_another_error(data):
    flight = bytearray(ASKS + records(certificates(TILL)))
    for _change in range(data.draw(st.integers(1, 3))):
        flight[data.draw(st.integers(0, 120))] = data.draw(st.integers(0, 255))
    handshake = watch(subjects=subjects("till-7"))
    say(handshake, ("up", hello()), ("down", bytes(flight)), ("up", records(certificates(TILL))))
    if handshake.rejection:
        assert handshake.rejection.reason in ALERTS and handshake.rejection.detail
