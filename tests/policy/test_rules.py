"""The grammar of host rules: what is taken, what is refused, and that each mistake says what is wrong."""

import string
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogw.policy.rules import Kind, Rule, parse_rules


def one(text, denied=False):
    rules, mistakes = parse_rules(text, "--allowed-host", denied)
    assert mistakes == []
    assert len(rules) == 1
    return rules[0]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("www.example.com", Rule(Kind.NAME, "www.example.com")),
        ("WWW.Example.COM.", Rule(Kind.NAME, "www.example.com")),
        ("localhost:8443", Rule(Kind.NAME, "localhost", port=8443)),
        ("*.example.com", Rule(Kind.BELOW, "example.com")),
        (".example.com:8084", Rule(Kind.BOTH, "example.com", port=8084)),
        ("azgn*.servicebus.windows.net", Rule(Kind.STARRED, "servicebus.windows.net", ("azgn", ""))),
        ("*-a.example.com", Rule(Kind.STARRED, "example.com", ("", "-a"))),
        ("192.0.2.1", Rule(Kind.NETWORK, network=ip_network("192.0.2.1"))),
        ("192.0.2.0/24:8443", Rule(Kind.NETWORK, network=ip_network("192.0.2.0/24"), port=8443)),
        ("2001:DB8::1", Rule(Kind.NETWORK, network=ip_network("2001:db8::1"))),
        ("[2001:db8::1]", Rule(Kind.NETWORK, network=ip_network("2001:db8::1"))),
        ("[2001:db8::1]:8443", Rule(Kind.NETWORK, network=ip_network("2001:db8::1"), port=8443)),
        ("[2001:db8::/32]:8443", Rule(Kind.NETWORK, network=ip_network("2001:db8::/32"), port=8443)),
        ("2001:db8::/32", Rule(Kind.NETWORK, network=ip_network("2001:db8::/32"))),
    ],
)
def test_a_pattern_is_read(text, rule):
    assert one(text) == rule


def test_all_attributes_are_read():
    rule = one(
        "a.example from=10.1.0.0/16 from=10.2.0.0/16 to=10.9.0.0/16 until=2027-01-31T19:00:00+01:00 "
        'no-server-name note="x, y"'
    )
    assert rule.clients == (ip_network("10.1.0.0/16"), ip_network("10.2.0.0/16"))
    assert rule.to == (ip_network("10.9.0.0/16"),)
    assert rule.until == 1801418400.0
    assert rule.no_server_name
    assert rule.note == "x, y"


def test_rules_stand_one_per_line_or_between_commas_and_quotes_hold_together():
    rules, mistakes = parse_rules(
        'a.example, b.example\r\n\n ,,\tc.example note="one, two\nthree" ,d.example\n', "OGW_ALLOWED_HOST"
    )
    assert mistakes == []
    assert [rule.name for rule in rules] == ["a.example", "b.example", "c.example", "d.example"]
    assert rules[2].note == "one, two\nthree"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("*", "does not allow everything"),
        ("*.com", "too wide"),
        (".com", "too wide"),
        ("a*.com", "too wide"),
        ("a.*.example.com", "one star"),
        ("**.example.com", "one star"),
        ("a*b*.example.com", "one star"),
        ("*.*.example.com", "one star"),
        ("*.10.0.0.1", "no subdomains"),
        ("*.1", "not an IPv4"),
        ("https://a.example/x", "not a URL"),
        ("a.example/x", "without a path"),
        ("a.example:0", "1 to 65535"),
        ("a.example:", "1 to 65535"),
        ("a.example:65536", "1 to 65535"),
        ("a.example:0443", "1 to 65535"),
        ("a.example:*", "1 to 65535"),
        ("a..example", "not a valid host name"),
        ("-a.example", "not a valid host name"),
        ("a_b .example", "not an attribute"),
        ("user@a.example", "not a valid host name"),
        ("b\u00fccher.example", "xn--bcher-kva.example"),
        ("\u212a.example.org", "A-label"),
        ("10.0.0", "four decimal parts"),
        ("0x7f.1", "four decimal parts"),
        ("10.0.0.1/8", "10.0.0.0/8 is the network"),
        ("10.0.0.0/33", "0 to 32"),
        ("10.0.0.0/255.0.0.0", "0 to 32"),
        ("10.0.0.0/08", "0 to 32"),
        ("[::1", "[2001:db8::1]:8443"),
        ("[::1]8443", "[2001:db8::1]:8443"),
        ("fe80::1%eth0", "zone"),
        ("a.example from", "from=10.1.0.0/16"),
        ("a.example from=", "from=10.1.0.0/16"),
        ("a.example from=b.example", "not an IP address"),
        ("a.example to=10.0.0.1/8", "10.0.0.0/8 is the network"),
        ("a.example port=443", "not an attribute"),
        ("a.example b.example", "not an attribute"),
        ("a.example no-server-name=yes", "is written no-server-name"),
        ("a.example until=2h", "begin anew"),
        ("a.example until=tomorrow", "RFC 3339"),
        ("a.example until=2027-01-31", "RFC 3339"),
        ("a.example until=2027-01-31T18:00:00", "RFC 3339"),
        ("a.example until=2027-13-31T18:00:00Z", "RFC 3339"),
        ("a.example until=2027-01-31T18:00:00Z until=2027-01-31T18:00:00Z", "twice"),
        ("a.example note=", 'note="why"'),
        ('a.example note=""', 'note="why"'),
        ('a.example note="open', "not closed"),
    ],
)
def test_each_mistake_says_where_and_what(text, says):
    rules, mistakes = parse_rules(text, "/etc/ogw/ogw.ini:12")
    assert rules == []
    assert len(mistakes) == 1
    assert mistakes[0].startswith("/etc/ogw/ogw.ini:12: host rule ")
    assert says in mistakes[0]


def test_a_wrong_rule_does_not_hide_the_others():
    rules, mistakes = parse_rules("a.example, *, b.example:x\nc.example", "OGW_ALLOWED_HOST")
    assert [rule.name for rule in rules] == ["a.example", "c.example"]
    assert len(mistakes) == 2


@pytest.mark.parametrize("attribute", ["to=10.0.0.0/8", "no-server-name"])
def test_a_rule_that_allows_nothing_takes_no_attribute_that_allows(attribute):
    assert (
        "says what is allowed; a rule of this list can have"
        in parse_rules(f"a.example {attribute}", "x", denied=True)[1][0]
    )
    assert one('a.example from=10.0.0.0/8 until=2027-01-31T18:00:00Z note="x"', denied=True).clients


LABEL = st.text(string.ascii_lowercase + string.digits + "-_", min_size=1, max_size=8).map(lambda text: f"x{text}x")
NAME = st.lists(LABEL, min_size=2, max_size=4).map(".".join)
NETWORK = st.sampled_from(["10.0.0.0/8", "192.0.2.1", "fd00::/8", "::1"])
PATTERN = st.one_of(
    NAME, NAME.map("*.{}".format), NAME.map(".{}".format), NAME.map("a*b.{}".format), st.just("192.0.2.0/24")
)
ATTRIBUTES = st.lists(
    st.one_of(
        NETWORK.map("from={}".format),
        NETWORK.map("to={}".format),
        st.just("no-server-name"),
        st.just("until=2027-01-31T18:00:00Z"),
        st.just('note="a, b"'),
    ),
    max_size=4,
    unique_by=lambda text: text.partition("=")[0],
)


@given(PATTERN, st.none() | st.integers(1, 65535), ATTRIBUTES)
def test_a_rule_reads_the_same_from_its_own_text(pattern, port, attributes):
    text = " ".join([pattern if port is None else f"{pattern}:{port}", *attributes])
    rule = one(text)
    again = one(str(rule))
    assert again == rule
    assert (again.note, str(again)) == (rule.note, str(rule))


@given(st.text(max_size=80))
def test_any_text_gives_rules_and_mistakes_but_no_other_error(text):
    rules, mistakes = parse_rules(text, "x")
    for rule in rules:
        assert one(str(rule)) == rule
    assert all("\n" not in mistake for mistake in mistakes)
