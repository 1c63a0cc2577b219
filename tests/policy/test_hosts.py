"""Which client may go where: the index against a naive reading of the rules, and each refusal's words."""

import gc
import sys
from datetime import datetime
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogw.policy.decision import Reason
from ogw.policy.hosts import Policy
from ogw.policy.rules import Kind, parse_rules
from ogw.policy.tls_rules import Mode, TlsRules
from ogw.wire.connect import parse_target


def rules(text, denied=False):
    read, mistakes = parse_rules(text, "ogw.ini:3", denied)
    assert mistakes == []
    return read


def judge(allowed, target, client="198.51.100.9", denied="", now=0.0, ports=(443,)):
    policy = Policy(rules(allowed), rules(denied, denied=True), ports)
    return policy.judge_target(parse_target(target.encode()), client, now)


def test_an_empty_list_denies_everything():
    decision = judge("", "a.example:443")
    assert (decision.allowed, decision.reason) == (False, Reason.HOST_NOT_ALLOWED)
    assert "allowed-host = a.example would allow it" in decision.detail


@pytest.mark.parametrize(
    ("rule", "yes", "no"),
    [
        ("a.example.com", ["a.example.com", "A.EXAMPLE.COM."], ["example.com", "b.a.example.com", "xa.example.com"]),
        (
            "*.example.com",
            ["a.example.com", "a.b.example.com"],
            ["example.com", "aexample.com", "a.example.com.evil.org"],
        ),
        (".example.com", ["example.com", "a.example.com", "a.b.example.com"], ["aexample.com", "com"]),
        (
            "az*.example.com",
            ["az.example.com", "az1-2.example.com"],
            ["a.example.com", "az.b.example.com", "xaz.example.com"],
        ),
        ("*-x.example.com", ["-x.example.com".replace("-x", "a-x")], ["a-y.example.com", "b.a-x.example.com"]),
        ("ab*ba.example.com", ["abba.example.com", "ab1ba.example.com"], ["aba.example.com", "ab.example.com"]),
        ("192.0.2.0/24", ["192.0.2.255"], ["192.0.3.1", "[::192.0.2.1]", "[64:ff9b::192.0.2.1]"]),
        ("[2001:db8::/32]", ["[2001:db8:1::]"], ["[2001:db9::]"]),
    ],
)
def test_a_pattern_covers_what_it_says_and_nothing_else(rule, yes, no):
    for host in yes:
        assert judge(rule, f"{host}:443").allowed, host
    for host in no:
        assert judge(rule, f"{host}:443").reason is Reason.HOST_NOT_ALLOWED, host


def test_a_star_rule_that_misses_the_name_itself_is_pointed_out():
    assert (
        "*.example.com (ogw.ini:3) covers only names below it; .example.com"
        in judge("*.example.com", "example.com:443").detail
    )


def test_443_is_the_only_port_unless_a_rule_names_another():
    assert judge("a.example", "a.example:443").allowed
    decision = judge("a.example", "a.example:8443")
    assert decision.reason is Reason.PORT_NOT_ALLOWED
    assert "only 443; allowed-host = a.example:8443 would allow it" in decision.detail
    assert judge("a.example, a.example:8443", "a.example:8443").allowed
    assert judge("a.example:8443", "a.example:443").reason is Reason.PORT_NOT_ALLOWED
    assert judge("a.example", "a.example:444", ports=(443, 444)).allowed
    assert "allowed-host = [2001:db8::1]:444 to=2001:db8::1 no-" in judge("2001:db8::1", "[2001:db8::1]:444").detail


@pytest.mark.parametrize(
    ("tls", "more"),
    [
        (TlsRules(), " no-server-name"),
        (TlsRules(mode=Mode.REPORT), ""),
        (TlsRules(mode=Mode.OFF), ""),
        (TlsRules(any_allowed_host=True), ""),
    ],
)
def test_the_rule_that_a_refusal_names_for_an_address_is_one_that_sessions_can_pass(tls, more):
    policy = Policy(rules("a.example, 8.8.8.8:8443"), tls=tls)
    for target, pattern in (("8.8.4.4:443", "8.8.4.4"), ("8.8.8.8:443", "8.8.8.8:443")):
        detail = policy.judge_target(parse_target(target.encode()), "127.0.0.1").detail
        assert f"allowed-host = {pattern}{more} would allow it" in detail


@pytest.mark.parametrize("denied", ["a.example.com", "*.example.com", ".example.com:443", "a*.example.com"])
def test_deny_beats_allow(denied):
    decision = judge("a.example.com", "a.example.com:443", denied=denied)
    assert decision.reason is Reason.HOST_NOT_ALLOWED
    assert f"is denied by {denied} (ogw.ini:3)" in decision.detail


def test_a_denied_port_denies_that_port_only():
    assert judge("a.example", "a.example:443", denied="a.example:8443").allowed


@pytest.mark.parametrize("form", ["[::ffff:192.0.2.1]", "[::192.0.2.1]", "[64:ff9b::192.0.2.1]", "[2002:c000:201::]"])
def test_a_denied_address_is_denied_in_every_form(form):
    assert judge("::/0", f"{form}:443", denied="192.0.2.1").reason is Reason.HOST_NOT_ALLOWED
    assert judge("::/0", f"{form}:443", denied="192.0.2.2").allowed


def test_from_limits_a_rule_to_clients_of_a_network():
    rule = "a.example from=10.1.0.0/16 from=fd00::/8"
    assert judge(rule, "a.example:443", "10.1.2.3").allowed
    assert judge(rule, "a.example:443", "::ffff:10.1.2.3").allowed
    assert judge(rule, "a.example:443", "fd00::1%eth0").allowed
    decision = judge(rule, "a.example:443", "10.2.0.1")
    assert decision.reason is Reason.HOST_NOT_ALLOWED
    assert "is for other clients than 10.2.0.1" in decision.detail


def test_until_ends_a_rule_at_its_second():
    rule = "a.example until=2027-01-31T18:00:00Z"
    assert judge(rule, "a.example:443", now=1801418399.9).allowed
    decision = judge(rule, "a.example:443", now=1801418400.0)
    assert "ended at 2027-01-31T18:00:00Z" in decision.detail
    assert judge("a.example", "a.example:443", denied=rule, now=1801418400.0).allowed


def test_of_several_rules_that_ended_the_last_one_is_told():
    ends = [f"a.example until=2027-01-31T18:00:{second:02}Z" for second in (29, 54, 40)]
    end = datetime.fromisoformat("2027-01-31T18:00:54+00:00").timestamp()
    others = "a.example from=10.9.0.0/16 until=2027-02-01T00:00:00Z, a.example:8443 until=2027-01-31T18:01:00Z"
    told = judge(f"{others}, {', '.join(ends)}", "a.example:443", now=end + 60)
    assert "ended at 2027-01-31T18:00:54Z" in told.detail


def test_the_clock_of_the_machine_ends_a_rule():
    target = parse_target(b"a.example:443")
    assert not Policy(rules("a.example until=2020-01-01T00:00:00Z")).judge_target(target, "10.0.0.1").allowed
    assert Policy(rules("a.example until=2999-01-01T00:00:00Z")).judge_target(target, "10.0.0.1").allowed


def test_rules_that_match_and_hold_unite():
    text = (
        "a.example to=10.1.0.0/16\n.a.example to=10.2.0.0/16 no-server-name\na.example to=10.3.0.0/16 from=192.0.2.0/24"
    )
    decision = judge(text, "a.example:443")
    assert decision.allowed and decision.no_server_name
    assert set(map(str, decision.to)) == {"10.1.0.0/16", "10.2.0.0/16"}


def test_clients_outside_allowed_client_are_refused():
    policy = Policy([], clients=[ip_network("10.1.0.0/16"), ip_network("::1")])
    assert policy.judge_client("10.1.255.255").allowed
    assert policy.judge_client("::1").allowed
    assert policy.judge_client("10.2.0.1").reason is Reason.CLIENT_NOT_ALLOWED
    assert Policy([]).judge_client("10.2.0.1").allowed


def test_the_hash_names_what_is_allowed_not_how_it_is_written():
    one = Policy(rules("a.example, b.example"), rules("c.example", True))
    assert one.hash == Policy(rules('b.example note="x"\nA.example.'), rules("c.example", True)).hash
    others = [
        Policy(rules("a.example"), rules("c.example", True)),
        Policy(rules("a.example, b.example")),
        Policy(rules("a.example, b.example:443"), rules("c.example", True)),
        Policy(rules("a.example, b.example"), rules("c.example", True), ports=(443, 8443)),
        Policy(rules("a.example, b.example"), rules("c.example", True), clients=[ip_network("10.0.0.0/8")]),
        Policy(rules("a.example, b.example"), rules("c.example", True), target_networks=[ip_network("10.0.0.0/8")]),
    ]
    assert len({one.hash, *(other.hash for other in others)}) == 7
    assert len(one.hash) == 8


def test_the_hash_does_not_count_what_is_given_twice_or_within_another():
    def hash_of(clients, ports):
        networks = [ip_network(text) for text in clients]
        return Policy(rules("a.example"), ports=ports, clients=networks, target_networks=networks).hash

    assert hash_of(["10.0.0.0/8", "fd00::/8"], [443]) == hash_of(
        ["fd00::/8", "10.1.0.0/16", "10.0.0.0/8", "10.0.0.0/8", "fd00::7/128"], [443, 443]
    )
    assert hash_of(["10.0.0.0/8"], [443]) != hash_of(["10.0.0.0/9"], [443])


# A naive reading of the rules, straight from their definition.


def covers(rule, target):
    if rule.network is not None:
        return target.address is not None and target.address in rule.network
    if target.address is not None:
        return False
    labels, name = target.host.split("."), rule.name.split(".")
    if rule.kind is Kind.NAME:
        return labels == name
    if rule.kind is Kind.STARRED:
        prefix, postfix = rule.affixes
        first = labels[0]
        fits = first.startswith(prefix) and first.endswith(postfix) and len(first) >= len(prefix + postfix)
        return labels[1:] == name and fits
    below = len(labels) > len(name) and labels[-len(name) :] == name
    return below or (rule.kind is Kind.BOTH and labels == name)


def naive(allowed, denied, target, client, now):
    def holds(rule):
        alive = rule.until is None or now < rule.until
        return alive and (not rule.clients or any(ip_address(client) in network for network in rule.clients))

    if any(covers(rule, target) and holds(rule) and rule.port in (None, target.port) for rule in denied):
        return False
    return any(covers(rule, target) and holds(rule) and (rule.port or 443) == target.port for rule in allowed)


HOSTS = st.lists(st.sampled_from(["a", "ab", "aba", "b", "c"]), min_size=2, max_size=4).map(".".join)
PATTERNS = st.one_of(
    HOSTS, HOSTS.map("*.{}".format), HOSTS.map(".{}".format), HOSTS.map("a*.{}".format), HOSTS.map("a*a.{}".format),
    st.sampled_from(["192.0.2.0/24", "192.0.2.128/25", "192.0.2.200", "2001:db8::/32"]),
)  # fmt: skip
RULES = st.builds(
    lambda pattern, port, more: f"{pattern if not port or '::' in pattern else f'{pattern}:{port}'}{more}",
    PATTERNS,
    st.sampled_from([None, 443, 8443]),
    st.sampled_from(["", " from=10.0.0.0/8", " until=2000-01-01T00:00:00Z"]),
)
TARGETS = st.tuples(
    HOSTS | st.sampled_from(["192.0.2.1", "192.0.2.200", "[2001:db8::1]"]), st.sampled_from([443, 8443])
).map(lambda pair: f"{pair[0]}:{pair[1]}")


@given(
    st.lists(RULES, max_size=6),
    st.lists(RULES, max_size=2),
    TARGETS,
    st.sampled_from(["10.0.0.1", "11.0.0.1"]),
    st.sampled_from([0.0, 2e9]),
)
def test_the_index_decides_as_a_naive_reading_of_the_rules(allowed, denied, target, client, now):
    parsed = parse_target(target.encode())
    allowed, denied = rules("\n".join(allowed)), rules("\n".join(denied), True)
    decision = Policy(allowed, denied).judge_target(parsed, client, now)
    assert decision.allowed is naive(allowed, denied, parsed, client, now)
    assert decision.allowed or decision.detail


def calls_to_judge(policy, target):
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    gc.collect()
    gc.disable()  # what a collection finalises would be counted
    sys.setprofile(profile)
    try:
        policy.judge_target(target, "10.0.0.1")
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


@pytest.mark.parametrize(
    "pattern", ["h{}.example.com", "*.h{}.example.com", "a{}*.example.com", "*a{}.example.com", "192.0.{}.{}"]
)
@pytest.mark.parametrize("host", ["h5.example.com", "a.h7.example.com", "a5b.example.com", "nowhere.org", "192.0.0.7"])
def test_ten_thousand_rules_cost_as_many_calls_as_ten(pattern, host):
    def policy(size):
        # Numbers of one width: what counts is how many rules there are, not how many lengths.
        return Policy(
            rules(
                "\n".join(pattern.format(*(divmod(i, 250) if "192" in pattern else [i + 10000])) for i in range(size))
            )
        )

    target = parse_target(f"{host}:443".encode())
    assert calls_to_judge(policy(10_000), target) == calls_to_judge(policy(10), target)
