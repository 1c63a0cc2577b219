"""policy-mode = report: what no rule allows passes until its end; what is denied, and all other rules, stay."""

from ipaddress import ip_network

import pytest
from harness.hellos import hello

from ogw.policy.decision import ALLOW, Reason
from ogw.policy.handshake import Handshake
from ogw.policy.hosts import Policy
from ogw.policy.rules import parse_rules, parse_time
from ogw.policy.tls_rules import TlsRules
from ogw.wire.connect import parse_target

UNTIL = parse_time("2026-11-30T18:00:00Z")


def rules(text, denied=False):
    read, mistakes = parse_rules(text, "ogw.ini:3", denied)
    assert mistakes == []
    return read


def policy(allowed="", denied="", until=UNTIL, **more):
    return Policy(rules(allowed), rules(denied, denied=True), report_until=until, **more)


def judge(judged, target, now=UNTIL - 1, client="10.1.2.3"):
    return judged.judge_target(parse_target(target.encode()), client, now)


@pytest.mark.parametrize(
    ("allowed", "target", "reason"),
    [
        ("", "a.example:443", Reason.HOST_NOT_ALLOWED),
        ("b.example", "a.example:443", Reason.HOST_NOT_ALLOWED),
        ("*.a.example", "a.example:443", Reason.HOST_NOT_ALLOWED),
        ("a.example from=10.9.0.0/16", "a.example:443", Reason.HOST_NOT_ALLOWED),
        ("a.example until=2026-11-30T17:00:00Z", "a.example:443", Reason.HOST_NOT_ALLOWED),
        ("a.example", "a.example:8443", Reason.PORT_NOT_ALLOWED),
        ("", "192.0.2.7:443", Reason.HOST_NOT_ALLOWED),
        ("", "[2001:db8::7]:443", Reason.HOST_NOT_ALLOWED),
    ],
)
def test_what_no_rule_allows_passes_and_says_what_it_would_have_said(allowed, target, reason):
    enforced = judge(policy(allowed, until=None), target)
    assert (enforced.allowed, enforced.reason, enforced.reported) == (False, reason, None)
    decision = judge(policy(allowed), target)
    assert (decision.allowed, decision.reason, decision.reported) == (True, Reason.ALLOWED, enforced)
    assert (decision.to, decision.no_server_name) == ((), False)


def test_what_a_rule_allows_is_the_same_in_both_modes():
    for until in (UNTIL, None):
        assert judge(policy("a.example", until=until), "a.example:443") is ALLOW


@pytest.mark.parametrize("denied", ["a.example", "*.b.example, a.example", "a.example:443 from=10.1.0.0/16"])
def test_denied_hosts_stay_denied(denied):
    decision = judge(policy("a.example", denied), "a.example:443")
    assert (decision.allowed, decision.reason) == (False, Reason.HOST_NOT_ALLOWED)
    assert "denied by" in decision.detail


def test_allowed_clients_and_the_address_guard_stay():
    judged = policy(clients=[ip_network("10.1.0.0/16")])
    assert judged.judge_client("10.1.2.3").allowed
    assert judged.judge_client("10.2.2.3").reason is Reason.CLIENT_NOT_ALLOWED
    decision = judge(judged, "a.example:443")
    assert judged.guard.judge("10.9.9.9", decision.to).reason is Reason.ADDRESS_NOT_ALLOWED


def test_it_ends_at_the_decision_at_its_very_second():
    judged = policy()
    assert judge(judged, "a.example:443", now=UNTIL - 0.001).allowed
    assert judge(judged, "a.example:443", now=UNTIL).reason is Reason.HOST_NOT_ALLOWED
    assert judge(judged, "a.example:443", now=UNTIL + 86400).reason is Reason.HOST_NOT_ALLOWED


def test_without_now_it_is_the_clock_on_the_wall_that_counts():
    target = parse_target(b"a.example:443")
    assert policy(until=parse_time("2999-01-01T00:00:00Z")).judge_target(target, "10.1.2.3").allowed
    assert not policy(until=parse_time("2020-01-01T00:00:00Z")).judge_target(target, "10.1.2.3").allowed


def test_the_hash_names_the_mode_and_its_end():
    hashes = {policy("a.example", until=until).hash for until in (None, UNTIL, UNTIL + 60)}
    assert len(hashes) == 3
    assert policy("a.example", until=None).hash == Policy(rules("a.example")).hash


def test_a_server_name_of_allowed_hosts_must_be_allowed_by_a_rule():
    judged = policy("b.example", until=parse_time("2999-01-01T00:00:00Z"), tls=TlsRules(any_allowed_host=True))
    for name, passes in (("b.example", True), ("c.example", False)):
        handshake = Handshake(judged, parse_target(b"a.example:443"), "10.1.2.3", False)
        handshake.client_said(hello(name.encode()))
        assert (handshake.rejection is None) == passes, name
        if not passes:
            assert handshake.rejection.reason is Reason.SERVER_NAME_MISMATCH
