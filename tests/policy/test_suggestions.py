"""Suggested rules: they let pass exactly what was refused, and nothing else."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogw.policy.hosts import Policy
from ogw.policy.rules import parse_rules
from ogw.policy.suggestions import Learner
from ogw.policy.tls_rules import Mode, TlsRules
from ogw.wire.address import unmapped
from ogw.wire.connect import parse_target


def rules(text, denied=False):
    read, mistakes = parse_rules(text, "ogw.ini:3", denied)
    assert mistakes == []
    return read


def learner(allowed="", denied="", ports=(443,), **more):
    denying = rules(denied, denied=True)
    return Learner(Policy(rules(allowed), denying, ports, **more), denying, ports)


def suggested(asked, per_client=False, **more):
    """Texts of the rules for (target, client) pairs."""
    learning = learner(**more)
    for target, client in asked:
        assert learning.add("host-not-allowed", client, target)
    return [str(one.rule) for one in learning.suggestions(per_client).rules]


@pytest.mark.parametrize(
    ("target", "rule"),
    [
        ("www.example.org:443", "www.example.org"),
        ("WWW.Example.org.:443", "www.example.org"),
        ("www.example.org:8443", "www.example.org:8443"),
        ("localhost:443", "localhost"),
        ("[::ffff:8.8.8.8]:443", "8.8.8.8 no-server-name"),
        ("8.8.8.8:443", "8.8.8.8 no-server-name"),
        ("8.8.8.8:53", "8.8.8.8:53 no-server-name"),
        ("[2606:4700::1111]:443", "2606:4700::1111 no-server-name"),
        ("[2606:4700::1111]:8443", "[2606:4700::1111]:8443 no-server-name"),
    ],
)
def test_a_rule_names_the_host_and_a_port_that_is_not_the_usual_one(target, rule):
    assert suggested([(target, "10.1.2.3:5100")]) == [rule]


@pytest.mark.parametrize(
    ("tls", "allowed", "rule"),
    [
        (TlsRules(mode=Mode.REPORT), "", "8.8.8.8"),
        (TlsRules(mode=Mode.OFF), "", "8.8.8.8"),
        (TlsRules(any_allowed_host=True), "*.a.example", "8.8.8.8"),
        (TlsRules(any_allowed_host=True), "8.8.4.4", "8.8.8.8 no-server-name"),
    ],
)
def test_a_rule_of_an_address_lets_sessions_without_a_server_name_pass_only_where_none_else_can(tls, allowed, rule):
    assert suggested([("8.8.8.8:443", "10.1.2.3")], allowed=allowed, tls=tls) == [rule]


def test_an_address_is_allowed_by_now_once_a_session_can_pass():
    for rule, allowed in (("8.8.8.8", 0), ("8.8.8.0/24", 0), ("8.8.8.8 no-server-name", 1)):
        learning = learner(rule)
        learning.add("host-not-allowed", "10.1.2.3", "8.8.8.8:443")
        found = learning.suggestions()
        assert found.allowed == allowed
        assert [str(one.rule) for one in found.rules] == ([] if allowed else ["8.8.8.8 no-server-name"])
    learning = learner("8.8.8.8", tls=TlsRules(mode=Mode.REPORT))
    learning.add("host-not-allowed", "10.1.2.3", "8.8.8.8:443")
    assert learning.suggestions().allowed == 1


def test_per_client_an_address_gets_a_rule_that_sessions_can_pass_too():
    assert suggested([("8.8.8.8:443", "10.1.2.3")], per_client=True) == ["8.8.8.8 from=10.1.2.3/32 no-server-name"]


def test_a_rule_names_its_port_where_the_one_without_would_allow_more():
    asked = [("a.example:443", "10.1.2.3"), ("b.example:443", "10.1.2.3"), ("b.example:8443", "10.1.2.3")]
    assert sorted(suggested(asked, ports=(443, 8443))) == ["a.example:443", "b.example"]


def test_counts_clients_and_times_add_up_and_what_is_asked_for_most_stands_first():
    learning = learner()
    learning.add("host-not-allowed", "10.1.2.3:5100", "a.example:443", 1, 100.0, 100.0)
    learning.add("host-not-allowed", "10.1.2.3", "b.example:443", 17, 200.0, 300.0)
    learning.add("host-not-allowed", "[2001:db8::1]:5100", "b.example:443", 1, None, None)
    learning.add("port-not-allowed", "::ffff:10.1.2.4", "b.example:443", 2, 50.0, 60.0)
    first, second = learning.suggestions().rules
    assert (str(first.rule), first.refused.count, first.refused.first, first.refused.last) == ("b.example", 20, 50, 300)
    assert first.refused.clients == {"10.1.2.3": 17, "2001:db8::1": 1, "10.1.2.4": 2}
    assert (str(second.rule), second.refused.count) == ("a.example", 1)


def test_what_is_allowed_by_now_is_left_out_for_the_clients_that_may():
    learning = learner("a.example, b.example from=10.1.0.0/16", report_until=9e9)
    for client in ("10.1.2.3", "10.2.2.3"):
        for host in ("a", "b", "c"):
            learning.add("host-not-allowed", client, f"{host}.example:443")
    found = learning.suggestions()
    assert found.allowed == 3
    assert {str(one.rule): set(one.refused.clients) for one in found.rules} == {
        "b.example": {"10.2.2.3"},
        "c.example": {"10.1.2.3", "10.2.2.3"},
    }


def test_what_is_denied_is_not_suggested():
    learning = learner(denied="*.evil.example, b.example from=10.1.0.0/16")
    for host in ("x.evil.example", "a.example", "b.example"):
        for client in ("10.1.2.3", "10.2.2.3"):
            learning.add("host-not-allowed", client, f"{host}:443")
    found = learning.suggestions()
    assert {str(one.rule): set(one.refused.clients) for one in found.rules} == {
        "a.example": {"10.1.2.3", "10.2.2.3"},
        "b.example": {"10.2.2.3"},
    }
    assert {target: set(refused.clients) for target, refused in found.denied.items()} == {
        "x.evil.example:443": {"10.1.2.3", "10.2.2.3"},
        "b.example:443": {"10.1.2.3"},
    }


def test_per_client_a_rule_holds_the_clients_that_asked_and_nobody_else():
    asked = [("a.example:443", f"10.1.2.{number}") for number in (2, 3, 8)] + [("a.example:443", "2001:db8::1")]
    (rule,) = suggested(asked, per_client=True)
    assert set(rule.split()[1:]) == {"from=10.1.2.2/31", "from=10.1.2.8/32", "from=2001:db8::1/128"}
    asked = [("a.example:443", "10.1.2.3"), ("a.example:8443", "10.1.2.4")]
    assert sorted(suggested(asked, per_client=True, ports=(443, 8443))) == [
        "a.example:443 from=10.1.2.3/32",
        "a.example:8443 from=10.1.2.4/32",
    ]


def test_a_network_that_the_guard_refuses_is_for_the_operator_to_decide():
    learning = learner()
    learning.add("address-not-allowed", "10.1.2.3", "db.example:443", detail="10.9.9.9 is in 10.0.0.0/8 (private)")
    learning.add("host-not-allowed", "10.1.2.3", "169.254.169.254:443")
    found = learning.suggestions()
    assert found.rules == []
    assert "10.0.0.0/8" in found.addresses["db.example:443"].detail
    assert "169.254.0.0/16" in found.addresses["169.254.169.254:443"].detail


def test_clients_that_may_not_ask_are_told_until_they_may():
    learning = learner(clients=[ip_network("10.1.0.0/16")])
    for client in ("10.1.2.3:5100", "10.2.2.3:5100"):
        learning.add("client-not-allowed", client, "")
    assert list(learning.suggestions().clients) == ["10.2.2.3"]


def test_a_star_rule_is_a_remark_never_a_suggestion():
    hosts = [f"h{number}.a.example" for number in range(5)] + [f"h{number}.b.example" for number in range(4)]
    learning = learner()
    for host in (*hosts, *(f"tld{number}" for number in range(9)), *(f"d{number}.com" for number in range(9))):
        learning.add("host-not-allowed", "10.1.2.3", f"{host}:443")
        learning.add("host-not-allowed", "10.1.2.3", f"{host}:8443")
    found = learning.suggestions()
    assert found.families() == {"a.example": 5}
    assert not any("*" in str(one.rule) for one in found.rules)


@pytest.mark.parametrize("reason", ["client-certificate-unseen", "dns-error", "", "allowed"])
def test_what_no_host_rule_would_cure_is_not_taken(reason):
    assert not learner().add(reason, "10.1.2.3", "a.example:443")


@pytest.mark.parametrize(
    ("client", "target"),
    [
        ("10.1.2.3", "*.com:443"),
        ("10.1.2.3", "*:443"),
        ("10.1.2.3", ".example.org:443"),
        ("10.1.2.3", "10.0.0.0/8:443"),
        ("10.1.2.3", "a.example"),
        ("10.1.2.3", "a.example:0"),
        ("10.1.2.3", "a.example to=10.0.0.0/8:443"),
        ("10.1.2.3", "a.example\nb.example:443"),
        ("10.1.2.3", "a.example,b.example:443"),
        ("10.1.2.3", "\ud800:443"),
        ("10.1.2.3", ""),
        ("somebody", "a.example:443"),
        ("", "a.example:443"),
        ("10.0.0.0/8", "a.example:443"),
    ],
)
def test_what_no_gateway_would_have_logged_is_counted_and_left_out(client, target):
    learning = learner()
    assert learning.add("host-not-allowed", client, target, 3)
    assert learning.strange == 3
    assert learning.suggestions().rules == []


# Whatever was asked for.

LABEL = st.text("ab-_*0", min_size=1, max_size=3)
HOSTS = st.one_of(
    st.lists(LABEL, min_size=1, max_size=4).map(".".join),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
    st.sampled_from(["a.b", "b.a.b", "a.a.b", "b", "*.b", ".b", "[::ffff:8.8.8.8]", "8.8.8.8", "8.8.8.0/24"]),
    st.text(max_size=12),
)
PORTS = st.sampled_from(["443", "8443", "80", "0", "65536", "+443", ""])
TARGETS = st.builds("{}:{}".format, HOSTS, PORTS)
CLIENTS = st.sampled_from(["10.1.2.2", "10.1.2.3", "10.1.2.4:80", "2001:db8::1", "[2001:db8::1]:80", "nobody"])
PAIRS = st.lists(st.tuples(TARGETS, CLIENTS), max_size=12)


@given(
    PAIRS,
    PAIRS,
    st.sampled_from([(443,), (443, 8443), (), (80, 443, 8443)]),
    st.booleans(),
    st.sampled_from(["", "a.b", "*.a.b, 8.8.8.8"]),
    st.sampled_from(["", "b.a.b", ".a.b from=10.1.2.2/31"]),
)
def test_suggested_rules_allow_exactly_what_was_refused(refused, others, ports, per_client, allowed, denied):
    learning = learner(allowed, denied, ports)
    before = Policy(rules(allowed), rules(denied, denied=True), ports)
    asked, judged = {}, []
    for target, client in refused + others:
        try:
            parsed = parse_target(target.encode())
            if parsed.address is not None:  # of which IPv4 inside IPv6 is the same
                address = unmapped(parsed.address)
                parsed = parsed._replace(host=str(address), address=address)
            judged.append((parsed, str(ip_address(client.partition("]")[0].strip("[").removesuffix(":80")))))
        except Exception:
            judged.append(None)
    for (target, client), pair in zip(refused, judged, strict=False):
        learning.add("host-not-allowed", client, target)
        if pair is not None:
            asked.setdefault(pair[0], set()).add(pair[1])
    found = [str(one.rule) for one in learning.suggestions(per_client).rules]
    assert len(found) == len(set(found))
    after = Policy(rules(f"{allowed}\n" + "\n".join(found)), rules(denied, denied=True), ports)
    denies = Policy(rules("\n".join(map(_rule, asked))), rules(denied, denied=True), ports)
    for target, client in filter(None, judged):
        was = before.judge_target(target, client).allowed
        guarded = target.address is not None and not before.guard.judge(target.host).allowed
        wanted = client in asked.get(target, ()) or (
            not per_client
            and any(
                not before.judge_target(target, one).allowed and denies.judge_target(target, one).allowed
                for one in asked.get(target, ())
            )
        )
        helps = wanted and denies.judge_target(target, client).allowed and not guarded
        assert after.judge_target(target, client).allowed == (was or helps), (target, client, found)


def _rule(target):
    return str(target)


TILL, OTHER = "CN=till-17,O=Shop", "O=Shop,CN=Till 18"


def test_clients_with_a_certificate_are_named_by_it_wherever_they_come_from():
    learning = learner()
    for client, subject in (("10.0.0.1:1", TILL), ("10.0.0.2:1", TILL), ("10.0.0.1:2", OTHER), ("10.0.0.1:3", "")):
        assert learning.add("host-not-allowed", client, "a.example:443", subject=subject)
    (rule,) = learning.suggestions(per_client=True).rules
    assert str(rule.rule) == 'a.example from=10.0.0.1/32 from="cn:Till 18" from=cn:till-17'
    assert rule.refused.clients == {"cn:till-17": 2, "cn:Till 18": 1, "10.0.0.1": 1}
    (rule,) = learning.suggestions().rules
    assert str(rule.rule) == "a.example"


@pytest.mark.parametrize(
    "subject",
    ["O=Shop", 'CN=a\\"b', f"CN={'x' * 300}", "CN=till-17,O=Sh...", "what", "CN=a\\00b", "san:till-17"],
)
def test_who_has_no_name_that_a_rule_can_have_is_known_by_its_address(subject):
    learning = learner()
    learning.add("host-not-allowed", "10.0.0.1:1", "a.example:443", subject=subject)
    (rule,) = learning.suggestions(per_client=True).rules
    assert str(rule.rule) == "a.example from=10.0.0.1/32"


def test_what_is_allowed_for_a_name_by_now_is_left_out():
    learning = learner("a.example from=cn:till-17, b.example from=10.0.0.1")
    for target in ("a.example:443", "b.example:443"):
        for subject in (TILL, OTHER):
            learning.add("host-not-allowed", "10.0.0.1:1", target, subject=subject)
    found = learning.suggestions(per_client=True)
    assert [str(one.rule) for one in found.rules] == ['a.example from="cn:Till 18"'] and found.allowed == 3


def test_it_says_which_gateway_saw_what():
    learning = learner("b.example from=10.0.0.1")
    for target in ("a.example:443", "b.example:443"):
        for gateway, client in (("one", "10.0.0.1"), ("two", "10.0.0.2")):
            learning.add("host-not-allowed", client, target, 3, gateway=gateway)
    found = learning.suggestions()
    assert found.several
    assert {str(one.rule): one.refused.gateways for one in found.rules} == {
        "a.example": {"one": 3, "two": 3},
        "b.example": {"two": 3},
    }
    alone = learner()
    alone.add("host-not-allowed", "10.0.0.1", "a.example:443", gateway="one")
    assert not alone.suggestions().several
