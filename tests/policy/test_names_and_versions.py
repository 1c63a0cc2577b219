"""Which server names and which versions of TLS satisfy the rules: those that exist, and the rules of both names."""

import time

import pytest
from harness.hellos import (
    GREASE,
    HOST,
    client_hello,
    extension,
    hello,
    records,
    server_hello,
    server_names,
    vector,
)

from ogw.policy.decision import Reason
from ogw.policy.handshake import Handshake
from ogw.policy.hosts import Policy
from ogw.policy.index import HostIndex
from ogw.policy.rules import parse_rules
from ogw.policy.subjects import Subjects, parse_pattern
from ogw.policy.tls_rules import TlsRules
from ogw.wire.connect import parse_target
from ogw.wire.tls import alert

CLIENT = "198.51.100.9"


def rules(text, denied=False):
    read, mistakes = parse_rules(text, "x", denied)
    assert not mistakes
    return read


def watch(target=f"{HOST}:443", allowed=".bench.example", denied="", no_server_name=False, **settings):
    policy = Policy(rules(allowed), rules(denied, True), tls=TlsRules(**settings))
    return Handshake(policy, parse_target(target.encode()), CLIENT, no_server_name)


def verdict(handshake, *said):
    """The reason of the rejection, or None where all of it passed."""
    sent, passed = {"up": b"", "down": b""}, {"up": b"", "down": b""}
    for direction, data in said:
        sent[direction] += data
        {"up": handshake.client_said, "down": handshake.server_said}[direction](data)
        passed["up"] += handshake.take_up()
        passed["down"] += handshake.take_down()
    if handshake.rejection is None:
        assert passed == sent
        return None
    return handshake.rejection.reason


# Versions. What is offered ...

OFFERS = {
    "draft 28 alone": (hello(versions=(0x7F1C,)), 0),
    "drafts and grease": (hello(versions=(GREASE, 0x7F1C, 0x7E02)), 0),
    "1.4 alone": (hello(versions=(0x0305,)), 0),
    "the next major": (hello(versions=(0x0401, 0xFFFF)), 0),
    "DTLS 1.2": (hello(versions=(0xFEFD,)), 0),
    "grease alone": (hello(versions=(GREASE,)), 0),
    "SSL 3.0 listed": (hello(versions=(0x0300,)), 0x0300),
    "SSL 2.0 listed": (hello(versions=(0x0002, 0x0200)), 0),
    "legacy 3.41": (records(client_hello(server_names(HOST.encode()), legacy=0x0329)), 0),
    "legacy draft": (records(client_hello(server_names(HOST.encode()), legacy=0x7F1C)), 0),
    "legacy DTLS": (records(client_hello(server_names(HOST.encode()), legacy=0xFEFD)), 0),
    "legacy grease": (records(client_hello(server_names(HOST.encode()), legacy=GREASE)), 0),
    "legacy 1.3": (records(client_hello(server_names(HOST.encode()), legacy=0x0304)), 0x0303),
    "legacy 1.2": (records(client_hello(server_names(HOST.encode()), legacy=0x0303)), 0x0303),
    "1.4 and 1.3": (hello(versions=(0x0305, 0x0304)), 0x0304),
    "draft 28 and 1.2": (hello(versions=(0x7F1C, 0x0303)), 0x0303),
    "1.3 above a legacy version of none": (hello(versions=(0x0304,), legacy=0x0329), 0x0304),
    "1.4 above a legacy version of 1.2": (hello(versions=(0x0305,), legacy=0x0303), 0),
}


@pytest.mark.parametrize("least", [0x0301, 0x0302, 0x0303, 0x0304])
@pytest.mark.parametrize("case", OFFERS)
def test_only_versions_that_exist_are_an_offer(case, least):
    data, best = OFFERS[case]
    handshake = watch(min_version=least)
    assert verdict(handshake, ("up", data)) is (None if best >= least else Reason.TLS_VERSION)
    if not best:
        assert "no version of TLS that there is" in handshake.rejection.detail


@pytest.mark.parametrize("case", OFFERS)
def test_they_are_no_offer_in_the_second_hello_either(case):
    data, best = OFFERS[case]
    said = ("up", hello()), ("down", records(server_hello(retry=True))), ("up", data)
    assert verdict(watch(min_version=0x0304), *said) is (None if best == 0x0304 else Reason.TLS_VERSION)


# ... and what is chosen.


def chosen(version, retry=False, listed=True):
    """A ServerHello, or a HelloRetryRequest, that chooses any number: in supported_versions, or in the old place."""
    made = server_hello(0x0304, b"", retry)[4:]
    if listed:
        body = made.replace(extension(43, b"\x03\x04"), extension(43, version.to_bytes(2, "big")))
    else:
        body = version.to_bytes(2, "big") + made.replace(vector(2, extension(43, b"\x03\x04")), b"")[2:]
    return records(b"\2" + vector(3, body))


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("retry", [True, False])
@pytest.mark.parametrize("version", [0x0305, 0x7F1C, 0x7E02, 0x0329, 0xFEFD, GREASE, 0xFFFF, 0x0002, 0x0200, 0x0300, 0])
def test_a_version_that_does_not_exist_is_no_choice(version, retry, listed):
    handshake = watch(min_version=0x0301)
    assert verdict(handshake, ("up", hello()), ("down", chosen(version, retry, listed))) is Reason.TLS_VERSION
    assert "the server chose" in handshake.rejection.detail and handshake.take_down() == b""
    said = alert(handshake.rejection.alert, handshake.version)
    assert said[:2] == b"\x15\x03" and said[2] <= 3  # of a version that a client can read


def test_tls_1_3_is_chosen_in_supported_versions_alone():
    assert verdict(watch(min_version=0x0304), ("up", hello()), ("down", chosen(0x0304))) is None
    handshake = watch(min_version=0x0304)
    assert verdict(handshake, ("up", hello()), ("down", chosen(0x0304, listed=False))) is Reason.MALFORMED_HANDSHAKE


def test_a_retry_of_an_old_version_is_judged_as_the_choice_it_is():
    said = ("up", hello()), ("down", chosen(0x0303, retry=True, listed=False))
    assert verdict(watch(min_version=0x0304), *said) is Reason.TLS_VERSION


# Versions of records are passed over.


@pytest.mark.parametrize("minor", [0, 1, 2, 3, 4, 5, 9, 0x29, 0xFF])
def test_any_version_3_of_a_record_passes(minor):
    up = records(hello()[5:], 100, version=0x0300 | minor)
    down = records(server_hello(), version=0x0300 | minor)
    handshake = watch()
    assert verdict(handshake, ("up", up), ("down", down)) is None and handshake.verified
    handshake = watch()
    assert verdict(handshake, *(("up", up[at : at + 1]) for at in range(len(up)))) is None


@pytest.mark.parametrize(("major", "because"), [(2, Reason.NOT_TLS), (4, Reason.NOT_TLS), (0xFE, Reason.NOT_TLS)])
def test_another_major_version_of_a_record_is_not_tls(major, because):
    assert verdict(watch(), ("up", bytes((0x16, major)) + hello()[2:])) is because
    assert verdict(watch(), ("up", hello()[:60]), ("up", bytes((0x16, major)) + hello()[2:])) is not None


# The target's own address as a server name.

OWN = {
    "192.0.2.7:443": [b"192.0.2.7"],
    "[2001:db8::7]:443": [b"2001:db8::7", b"[2001:db8::7]", b"2001:DB8:0::7", b"2001:db8:0:0:0:0:0:7"],
}


@pytest.mark.parametrize("target", OWN)
def test_the_targets_own_address_is_no_server_name_where_none_is_needed(target):
    allowed = "192.0.2.7,2001:db8::7"
    for name in OWN[target]:
        assert verdict(watch(target, allowed, no_server_name=True), ("up", hello(name))) is None
        assert verdict(watch(target, allowed), ("up", hello(name))) is Reason.SERVER_NAME_INVALID
    for name in (b"192.0.2.8", b"2001:db8::8", b"[2001:db8::8]", b"::", b"192.0.2.7:443", b"2001:db8::7%1", b"[::7",
                 b"0xc0.0.2.7", b"192.0.2.07", b"3221225991"):  # fmt: skip
        handshake = watch(target, allowed, no_server_name=True)
        assert verdict(handshake, ("up", hello(name))) is Reason.SERVER_NAME_INVALID
    other = watch(target, allowed, no_server_name=True)
    assert verdict(other, ("up", hello(b"www.bench.example"))) is Reason.SERVER_NAME_MISMATCH


def test_another_allowed_address_is_no_server_name_even_where_any_allowed_host_is_one():
    handshake = watch("192.0.2.7:443", "192.0.2.0/24", no_server_name=True, any_allowed_host=True)
    assert verdict(handshake, ("up", hello(b"192.0.2.8"))) is Reason.SERVER_NAME_INVALID


# Two allowed names: the rules of both hold.

SECRET, WWW = b"secret.bench.example", "www.bench.example:443"
TILLS = Subjects([parse_pattern("till-7")])


@pytest.mark.parametrize(
    ("hosts", "judged"),
    [("secret.bench.example", True), (WWW, True), (f"{WWW},secret.bench.example", True), (".bench.example", True),
     ("secret.bench.example:8443", False), ("echo.bench.example", False),
     ("secret.bench.example from=10.0.0.0/8", False),
     ("secret.bench.example from=198.51.100.0/24", True), ("secret.bench.example until=2020-01-01T00:00:00Z", False)],
)  # fmt: skip
def test_a_certificate_is_asked_for_where_either_name_asks_for_one(hosts, judged):
    def watched():
        return watch(WWW, any_allowed_host=True, subjects=TILLS, certificate_hosts=HostIndex(rules(hosts, True)))

    said = ("up", hello(SECRET)), ("down", records(server_hello(0x0304)))
    assert verdict(watched(), *said) is (Reason.CLIENT_CERTIFICATE_UNSEEN if judged else None)
    again = ("up", hello(SECRET)), ("down", records(server_hello(retry=True))), *said
    assert verdict(watched(), *again) is (Reason.CLIENT_CERTIFICATE_UNSEEN if judged else None)


@pytest.mark.parametrize(
    ("target", "name"),
    [("192.0.2.7:443", SECRET), ("[2001:db8::7]:443", SECRET), (WWW, SECRET.upper()), (WWW, SECRET + b".")],
)
def test_the_same_from_an_address_and_in_any_spelling(target, name):
    hosts = HostIndex(rules("secret.bench.example", True))
    allowed = ".bench.example,192.0.2.7,2001:db8::7"
    handshake = watch(target, allowed, any_allowed_host=True, subjects=TILLS, certificate_hosts=hosts)
    said = ("up", hello(name)), ("down", records(server_hello(0x0304)))
    assert verdict(handshake, *said) is Reason.CLIENT_CERTIFICATE_UNSEEN


def test_the_certificate_hosts_cover_an_address_in_any_form():
    hosts, allowed = HostIndex(rules("192.0.2.0/24", True)), "64:ff9b::/96,::ffff:0:0/96"
    for target in ("[64:ff9b::c000:207]:443", "[::ffff:192.0.2.7]:443"):
        handshake = watch(target, allowed, no_server_name=True, subjects=TILLS, certificate_hosts=hosts)
        said = ("up", hello(None)), ("down", records(server_hello(0x0304)))
        assert verdict(handshake, *said) is Reason.CLIENT_CERTIFICATE_UNSEEN


@pytest.mark.parametrize(
    ("allowed", "denied"),
    [
        ("www.bench.example,secret.bench.example from=10.0.0.0/8", ""),
        ("www.bench.example,secret.bench.example until=2020-01-01T00:00:00Z", ""),
        ("www.bench.example,secret.bench.example:8443", ""),
        ("www.bench.example,*.secret.bench.example", ""),
        (".bench.example", "secret.bench.example"),
        (".bench.example", "secret.bench.example:443 from=198.51.100.0/24"),
        ("www.bench.example", ""),
    ],
)
def test_the_other_name_must_be_allowed_to_this_client_now_and_on_this_port(allowed, denied):
    handshake = watch(WWW, allowed, denied, any_allowed_host=True)
    assert verdict(handshake, ("up", hello(SECRET))) is Reason.SERVER_NAME_MISMATCH
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 600))
    allowed = f"www.bench.example,secret.bench.example from=198.51.100.0/24 until={soon}"
    assert verdict(watch(WWW, allowed, any_allowed_host=True), ("up", hello(SECRET))) is None


def test_where_only_the_policys_report_lets_the_other_name_pass_it_does_not():
    policy = Policy(rules("www.bench.example"), report_until=time.time() + 600, tls=TlsRules(any_allowed_host=True))
    handshake = Handshake(policy, parse_target(WWW.encode()), CLIENT, False)
    assert verdict(handshake, ("up", hello(SECRET))) is Reason.SERVER_NAME_MISMATCH
