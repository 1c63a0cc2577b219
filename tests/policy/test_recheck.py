"""What is kept of a tunnel, judged by another policy."""

import math
from ipaddress import ip_network

import pytest
from harness.certificates import with_common_names

from ogw.policy.decision import Reason
from ogw.policy.hosts import Policy
from ogw.policy.index import HostIndex, client_network
from ogw.policy.recheck import UNWATCHED, Session, recheck
from ogw.policy.rules import parse_rules
from ogw.policy.subjects import Subjects, parse_pattern
from ogw.policy.tls_rules import Mode, TlsRules
from ogw.wire.connect import parse_target

CLIENT, TARGET = "192.0.2.7", parse_target(b"www.example.com:443")
TLS_1_2, TLS_1_3 = 0x0303, 0x0304
SEEN = with_common_names("agent-1")
NAMED = Session("www.example.com", TLS_1_2)
SESSIONS = (None, UNWATCHED, NAMED)


def rules(text, denied=False):
    found, mistakes = parse_rules(text, "here", denied)
    assert not mistakes
    return found


def policy(allowed="www.example.com", denied="", clients=(), tls=None, **more):
    networks = [ip_network(one) for one in clients]
    return Policy(rules(allowed), rules(denied, True), clients=networks, tls=tls or TlsRules(), **more)


def subjects(*names):
    return Subjects([parse_pattern(name) for name in names])


def reason(judged, address="203.0.114.1", session=NAMED, target=TARGET, now=None):
    return recheck(judged, CLIENT, target, address, session, now).reason


def test_what_it_rests_on_still_holds():
    assert reason(policy()) is Reason.ALLOWED


@pytest.mark.parametrize("session", SESSIONS)
@pytest.mark.parametrize("address", ["", "203.0.114.1"])
def test_client_and_host_are_judged_at_every_stage(address, session):
    assert reason(policy(clients=["198.51.100.0/24"]), address, session) is Reason.CLIENT_NOT_ALLOWED
    assert reason(policy("other.example.com"), address, session) is Reason.HOST_NOT_ALLOWED
    assert reason(policy(denied="www.example.com"), address, session) is Reason.HOST_NOT_ALLOWED
    assert reason(policy("www.example.com:8443"), address, session) is Reason.PORT_NOT_ALLOWED
    assert reason(policy("www.example.com from=198.51.100.0/24"), address, session) is Reason.HOST_NOT_ALLOWED


def test_the_dialed_address_is_judged_where_it_is_known():
    assert reason(policy(), "10.1.2.3") is Reason.ADDRESS_NOT_ALLOWED
    assert reason(policy("www.example.com to=10.1.0.0/16"), "10.1.2.3") is Reason.ALLOWED
    assert reason(policy(target_networks=[ip_network("10.0.0.0/8")]), "10.1.2.3") is Reason.ALLOWED
    assert reason(policy(), "") is Reason.ALLOWED


def test_a_target_that_is_an_address_is_judged_behind_a_relay_proxy_too():
    target, unnamed = parse_target(b"10.1.2.3:443"), Session("", TLS_1_2)
    assert reason(policy("10.1.2.3 no-server-name"), "", unnamed, target) is Reason.ADDRESS_NOT_ALLOWED
    assert reason(policy("10.1.2.3 to=10.0.0.0/8 no-server-name"), "", unnamed, target) is Reason.ALLOWED


@pytest.mark.parametrize(
    ("tls", "session", "expected"),
    [
        (TlsRules(min_version=TLS_1_3), NAMED, Reason.TLS_VERSION),
        (TlsRules(min_version=TLS_1_3), Session("www.example.com", TLS_1_3), Reason.ALLOWED),
        (TlsRules(), Session("other.example.com", TLS_1_2), Reason.SERVER_NAME_MISMATCH),
        (TlsRules(any_allowed_host=True), Session("other.example.com", TLS_1_2), Reason.SERVER_NAME_MISMATCH),
        (TlsRules(), Session("", TLS_1_2), Reason.SERVER_NAME_MISSING),
        (TlsRules(ech="deny"), Session("www.example.com", TLS_1_3, True), Reason.ECH_NOT_ALLOWED),
        (TlsRules(ech="report"), Session("www.example.com", TLS_1_3, True), Reason.ALLOWED),
        (TlsRules(), UNWATCHED, Reason.SERVER_NAME_MISSING),
        (TlsRules(), NAMED._replace(reported=Reason.NOT_TLS), Reason.NOT_TLS),
    ],
)
def test_what_was_seen_of_its_session_is_judged(tls, session, expected):
    assert reason(policy(tls=tls), session=session) is expected
    for mode in (Mode.REPORT, Mode.OFF):
        loose = TlsRules(mode=mode, min_version=TLS_1_3, ech="deny")
        assert reason(policy(tls=loose), session=session) is Reason.ALLOWED


def test_a_tunnel_that_nobody_looked_at_does_not_stand_before_tls_rules_even_without_a_server_name():
    assert reason(policy("www.example.com no-server-name"), session=UNWATCHED) is Reason.TLS_VERSION


@pytest.mark.parametrize(
    ("certificate", "names", "allow_unseen", "expected"),
    [
        (SEEN, ["agent-1"], False, Reason.ALLOWED),
        (SEEN, ["agent-2"], True, Reason.CLIENT_CERTIFICATE_NOT_ALLOWED),
        (b"", ["agent-2"], False, Reason.ALLOWED),
        (None, ["agent-1"], False, Reason.CLIENT_CERTIFICATE_UNSEEN),
        (None, ["agent-1"], True, Reason.ALLOWED),
    ],
)
def test_the_client_certificate_is_judged_as_it_was_seen(certificate, names, allow_unseen, expected):
    session = NAMED._replace(certificate=certificate)
    for hosts in (None, HostIndex(rules("www.example.com", True))):
        tls = TlsRules(subjects=subjects(*names), allow_unseen=allow_unseen, certificate_hosts=hosts)
        assert reason(policy(tls=tls), session=session) is expected
    elsewhere = TlsRules(subjects=subjects(*names), certificate_hosts=HostIndex(rules("other.example.com", True)))
    assert reason(policy(tls=elsewhere), session=session) is Reason.ALLOWED


def test_the_rules_for_certificates_of_both_names_hold():
    tls = TlsRules(
        any_allowed_host=True,
        subjects=subjects("agent-2"),
        certificate_hosts=HostIndex(rules("other.example.com", True)),
    )
    session = Session("other.example.com", TLS_1_2, certificate=SEEN)
    both = policy("www.example.com, other.example.com", tls=tls)
    assert reason(both, session=session) is Reason.CLIENT_CERTIFICATE_NOT_ALLOWED


UNTIL = 4070908800.0  # 2099-01-01T00:00:00Z
BEFORE, LATER = UNTIL - 1, "2099-06-01T00:00:00Z"


@pytest.mark.parametrize(
    ("allowed", "until"),
    [
        ("www.example.com", math.inf),
        ("www.example.com until=2099-01-01T00:00:00Z", UNTIL),
        (f"www.example.com until={LATER}, *.example.com until=2099-01-01T00:00:00Z", UNTIL),
        ("www.example.com, *.example.com to=10.0.0.0/8 until=2099-01-01T00:00:00Z", UNTIL),
        ("www.example.com, other.example.com until=2099-01-01T00:00:00Z", math.inf),
        ("www.example.com, *.example.com from=10.0.0.0/8 until=2099-01-01T00:00:00Z", math.inf),
        ("www.example.com, *.example.com until=2001-01-01T00:00:00Z", math.inf),
    ],
)
def test_it_is_to_be_asked_again_at_the_first_end_of_what_it_rests_on(allowed, until):
    assert policy(allowed).judge_target(TARGET, CLIENT, BEFORE).until == until
    assert recheck(policy(allowed), CLIENT, TARGET, "", NAMED, BEFORE).until == until


def test_what_is_only_reported_is_to_be_asked_again_at_the_end_of_that():
    reports = policy("other.example.com", report_until=UNTIL)
    assert recheck(reports, CLIENT, TARGET, now=BEFORE).until == UNTIL
    assert not recheck(reports, CLIENT, TARGET, now=UNTIL).allowed


def test_a_server_name_that_another_rule_allows_rests_on_that_one_too():
    allowed = "www.example.com, other.example.com until=2099-01-01T00:00:00Z"
    both = policy(allowed, tls=TlsRules(any_allowed_host=True))
    session = Session("other.example.com", TLS_1_2)
    assert recheck(both, CLIENT, TARGET, "", session, BEFORE).until == UNTIL
    assert recheck(both, CLIENT, TARGET, "", session, UNTIL).reason is Reason.SERVER_NAME_MISMATCH


@pytest.mark.parametrize(
    ("client", "prefix", "network"),
    [
        ("192.0.2.1", 64, "192.0.2.1"),
        ("192.0.2.1", 1, "192.0.2.1"),
        ("::ffff:192.0.2.1", 64, "192.0.2.1"),
        ("2001:db8:0:1:2::3", 64, "2001:db8:0:1::/64"),
        ("2001:db8:0:1:2::3", 48, "2001:db8::/48"),
        ("2001:db8:0:1:2::3", 128, "2001:db8:0:1:2::3"),
        ("2001:db8:0:1:2::3%eth0", 64, "2001:db8:0:1::/64"),
        ("fe80::1%eth0", 64, "fe80::1%eth0"),
        ("fe80::2%eth0", 64, "fe80::2%eth0"),
        ("::1", 64, "::/64"),
    ],
)
def test_as_what_a_client_is_counted(client, prefix, network):
    assert client_network(client, prefix) == network
