"""The grammar of host rules: what is taken, what is refused, and that each mistake says what is wrong."""

import string
import time
from contextlib import suppress
from datetime import UTC, timedelta, timezone
from ipaddress import ip_network

import pytest
from harness.growth import assert_linear
from hypothesis import given
from hypothesis import strategies as st

from ogw.policy.rules import Kind, Rule, parse_rule, parse_rules


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
        'a.example, b.example\r\n\n ,,\tc.example note="one, two,three" ,d.example\n', "OGW_ALLOWED_HOST"
    )
    assert mistakes == []
    assert [rule.name for rule in rules] == ["a.example", "b.example", "c.example", "d.example"]
    assert rules[2].note == "one, two,three"


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
        ("stra\u00dfe.example", "xn--strae-oqa.example"),
        ("FA\u00df.example", "xn--fa-hia.example"),
        ("\u03c2.example", "xn--3xa.example"),
        ("a.stra\u00dfe\u3002example", "a.xn--strae-oqa.example"),
        ("stra\u1e9ee.example", "(xn--...)"),
        ("a\u200db.example", "(xn--...)"),
        ("\u00df\u2028.example", "(xn--...)"),
        ("\u212a.example.org", "A-label"),
        ("*.\u212aube.example", "A-label"),
        (".\u212aube.example", "A-label"),
        ("\u212a*.example.org", "one star"),
        ("AGENT*.b\u00fccher.example", "xn--bcher-kva.example"),
        ("a\ud800.example", "not ASCII"),
        ("*.a\ud800.example", "not ASCII"),
        ("\udcff", "not ASCII"),
        ("10.0.0", "four decimal parts"),
        ("0x7f.1", "four decimal parts"),
        ("10.0.0.1/8", "10.0.0.0/8 is the network"),
        ("10.0.0.0/33", "0 to 32"),
        ("10.0.0.0/255.0.0.0", "0 to 32"),
        ("10.0.0.0/08", "0 to 32"),
        ("[::1", "[2001:db8::1]:8443"),
        ("[::1]8443", "[2001:db8::1]:8443"),
        ("[2001:db8::2]:0", "as in [2001:db8::2]:8443"),
        ("[ogw]", "an IPv6 address with a port is written"),
        ("[*.a.example]:8443", "an IPv6 address with a port is written"),
        ("[10.1.2.3]", "an IPv6 address with a port is written"),
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
        ("a.example until=2027-02-29T18:00:00Z", "a time that exists"),
        ("a.example until=2027-01-31T24:00:01Z", "a time that exists"),
        ("a.example until=2027-01-31T18:00:00+24:00", "a time that exists"),
        ("a.example until=2016-12-31T23:59:60Z", "a time that exists"),
        ("a.example until=9999-12-31T23:59:59-00:01", "from the year 1 to 9999"),
        ("a.example until=9999-12-31T23:59:59-01:00", "from the year 1 to 9999"),
        ("a.example until=9999-12-31T23:59:59.999999Z", "from the year 1 to 9999"),
        ("a.example until=0001-01-01T00:00:00+00:01", "from the year 1 to 9999"),
        ("a.example until=0001-01-01T00:00:00+23:59", "from the year 1 to 9999"),
        ("a.example until=0000-01-01T00:00:00Z", "a time that exists"),
        ("a.example until=2027-01-31T18:00:00Z until=2027-01-31T18:00:00Z", "twice"),
        ("a.example from=cn:", "cn:till-17"),
        ('a.example from="san:"', "cn:till-17"),
        ("a.example from=CN:till-17", "from=cn:NAME"),
        ("a.example from=cn=till-17", "from=cn:NAME"),
        ("a.example from=dns:till-17", "from=cn:NAME"),
        ("a.example to=cn:till-17", "not an IP address"),
        ("a.example from=cn:Till 17", "a value with a space in it stands in quotes, as in from="),
        ("a.example note=old till", "a value with a space in it stands in quotes, as in from="),
        ("a.example from=san:DNS:till-17.example", "without DNS: before it"),
        ('a.example from="cn:CN = till-17"', "without CN =  before it"),
        ("a.example from=cn:till-*", "a * in it stands for nothing else"),
        (f"a.example from=cn:{'x' * 254}", "at most 256 characters"),
        ('a.example from="cn:a\tb"', "U+0009"),
        ("a.example from=cn:a\u202eb", "U+202E"),
        ("a.example stage", "stage=canary"),
        ("a.example stage=", "stage=canary"),
        ("a.example stage=Canary", "1 to 32 of a-z"),
        ("a.example stage=a_b", "1 to 32 of a-z"),
        ('a.example stage="canary"', "1 to 32 of a-z"),
        (f"a.example stage={'a' * 33}", "1 to 32 of a-z"),
        ("a.example stage=a stage=b", "twice"),
        ("a.example note=", 'note="why"'),
        ('a.example note=""', 'note="why"'),
        ('a.example note="open', "not closed"),
        *((f'a.example note="a{chr(code)}b"', f"U+{code:04X}") for code in (*range(32), 0x7F, 0x80, 0x85, 0x9B, 0xAD)),
        *(
            (f'a.example note="a{chr(code)}b"', f"U+{code:04X}")
            for code in (0x200B, 0x200E, 0x2028, 0x2029, 0x202E, 0x2066, 0xD800, 0xDFFF, 0xE000, 0xFEFF, 0x10FFFF)
        ),
    ],
)
def test_each_mistake_says_where_and_what(text, says):
    rules, mistakes = parse_rules(text, "/etc/ogw/ogw.ini:12")
    assert rules == []
    assert len(mistakes) == 1
    assert mistakes[0].startswith("/etc/ogw/ogw.ini:12: host rule ")
    assert says in mistakes[0]


@pytest.mark.parametrize(
    "text", ["a.example until={}", "a.example until={}h", "a.example from={}", "a.example {}", "{}:x", "*.{}/", "{}"]
)
def test_a_mistake_does_not_grow_with_what_is_wrong(text):
    for letter in ("9", "a", "\u00fc", "\x00"):
        (mistake,) = parse_rules(text.format(letter * 1_000_000), "x")[1]
        assert len(mistake) < 2000 and mistake.isprintable()


@pytest.mark.parametrize("end", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.9999+00:00"])
def test_the_first_and_the_last_time_are_taken(end):
    rule = one(f"a.example until={end}")
    assert one(str(rule)) == rule and str(one(str(rule))) == str(rule)


@pytest.mark.parametrize(
    "note", ["b\u00fccher", "\u79d8\u5bc6", "a, b # c", "1 < 2 & '3'", "\\", "e\u0301", "\U0001f511"]
)
def test_a_note_in_any_language_is_taken(note):
    assert one(f'a.example note="{note}"').note == note


def test_spaces_of_other_widths_are_spaces_in_a_note():
    assert one('a.example note="a\u00a0b\u3000c"').note == "a b c"


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("from=10.1.0.0/16,203.0.113.0/24", "from=10.1.0.0/16 from=203.0.113.0/24"),
        ("from=10.1.0.0/16,203.0.113.7 no-server-name", "from=10.1.0.0/16 from=203.0.113.7"),
        ("from=10.1.0.0/16, 203.0.113.0/24", "from=10.1.0.0/16 from=203.0.113.0/24"),
        ("from=10.1.0.0/16 ,\t203.0.113.0/24\t", "from=10.1.0.0/16 from=203.0.113.0/24"),
        ("from=10.1.0.0/16,10.2.0.0/16,10.3.0.0/16", "from=10.1.0.0/16 from=10.2.0.0/16"),
        ("from=10.1.0.0/16,from=10.2.0.0/16", "from=10.1.0.0/16 from=10.2.0.0/16"),
        ("from=10.1.0.0/16,10.2.0.0/16 from=10.3.0.0/16,10.4.0.0/16", "from=10.1.0.0/16 from=10.2.0.0/16"),
        ('from="10.1.0.0/16,10.2.0.0/16"', "from=10.1.0.0/16 from=10.2.0.0/16"),
        ("from=fd00::/8,[fd01::1]", "from=fd00::/8 from=[fd01::1]"),
        ("from=10.1.0.0/16,::1", "from=10.1.0.0/16 from=::1"),
        ("to=10.9.0.0/24,10.8.0.0/24 no-server-name", "to=10.9.0.0/24 to=10.8.0.0/24"),
        ("from=10.1.0.0/16 to=10.9.0.0/24,10.8.0.0/24", "to=10.9.0.0/24 to=10.8.0.0/24"),
        ("from=10.1.0.0/16,cn:till-1", "from=10.1.0.0/16 from=cn:till-1"),
        ("from=cn:till-1,10.1.0.0/16", "from=cn:till-1 from=10.1.0.0/16"),
        ("from=cn:till-1,till-2", "from=cn:till-1 from=cn:till-2"),
        ("from=san:a.example,san:b.example", "from=san:a.example from=san:b.example"),
        ("from=san:a.example,b.example", "from=san:a.example from=san:b.example"),
        ('from="cn:Till 1","cn:Till 2"', 'from="cn:Till 1" from="cn:Till 2"'),
    ],
)
@pytest.mark.parametrize("before", ["", "b.example, ", 'b.example note=", from=x"\n'])
def test_a_comma_between_clients_or_networks_makes_no_target_of_the_second(text, right, before):
    rules, mistakes = parse_rules(f"{before}a.example {text}", "x")
    assert [rule.name for rule in rules] == ["b.example"] * bool(before)
    (mistake,) = mistakes
    assert "a comma separates rules, not clients or networks; right is " in mistake and f" {right}; where" in mistake
    assert one(f"a.example {right}")


@pytest.mark.parametrize(
    "text",
    [
        "a.example from=10.0.0.0/8,b.example",
        "a.example from=10.0.0.0/8, b.example",
        "a.example from=10.0.0.0/8,*.b.example from=10.0.0.0/8",
        "a.example from=10.0.0.0/8,192.0.2.7:443",
        "a.example from=10.0.0.0/8,[fd00::1]:443",
        "192.0.2.7 to=192.0.2.0/24, 192.0.2.8 to=192.0.2.0/24 no-server-name",
        "192.0.2.7 from=10.0.0.0/8\n192.0.2.8",
        "a.example from=cn:x, b.example",
        "a.example from=cn:x,cn:443",
        'a.example from=10.0.0.0/8 note="x",192.0.2.8',
        "a.example no-server-name,192.0.2.8",
        'a.example note=" from=1",192.0.2.8',
        "192.0.2.8,a.example from=10.0.0.0/8",
    ],
)
def test_any_other_comma_separates_rules(text):
    rules, mistakes = parse_rules(text, "x")
    assert (len(rules), mistakes) == (2, [])


def test_a_line_of_many_commas_is_read_in_time_that_grows_with_it():
    for part in ("10.0.0.0/8,", " from=1,", "a from=10.0.0.0/8, b,", "from=cn:a,b,"):
        began = time.process_time()
        parse_rules("a.example from=" + part * 20_000, "x")
        assert time.process_time() - began < 10


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


def test_names_of_certificates_stand_beside_networks_and_in_quotes_where_they_need_them():
    rule = one('a.example from=san:till-17.shop.example from=10.1.0.0/16 from="cn:Till 17, left" from=cn:10.1.2.3')
    assert rule.clients == (ip_network("10.1.0.0/16"),)
    assert rule.names == ("cn:10.1.2.3", "cn:Till 17, left", "san:till-17.shop.example")
    assert str(rule) == (
        'a.example from=10.1.0.0/16 from=cn:10.1.2.3 from="cn:Till 17, left" from=san:till-17.shop.example'
    )
    for text in ('from=cn:"Till 17"', 'from="cn:Till 17"', 'from=cn:Till" "17'):
        assert one(f"a.example {text}").names == ("cn:Till 17",)


def test_nobody_escapes_a_denial_by_showing_no_certificate():
    (mistake,) = parse_rules("a.example from=cn:till-17", "x", denied=True)[1]
    assert "from=cn:till-17: a rule of this list has networks only, as in from=10.1.0.0/16" in mistake
    assert mistake.endswith("; whoever shows no certificate would escape it")


def test_a_stage_is_read_in_every_list():
    assert one("a.example stage=canary-2").stage == one("a.example stage=canary-2", denied=True).stage == "canary-2"
    assert one("a.example stage=canary").text == "a.example"
    assert str(one('a.example note="x" stage=canary no-server-name')) == (
        'a.example no-server-name stage=canary note="x"'
    )


NOTED = st.characters(exclude_characters='"').filter(str.isprintable)
NAMED = st.characters(exclude_characters='"*:=').filter(str.isprintable)
LABEL = st.text(string.ascii_lowercase + string.digits + "-_", min_size=1, max_size=8).map(lambda text: f"x{text}x")
NAME = st.lists(LABEL, min_size=2, max_size=4).map(".".join)
NETWORK = st.sampled_from(["10.0.0.0/8", "192.0.2.1", "fd00::/8", "::1"])
PATTERN = st.one_of(
    NAME, NAME.map("*.{}".format), NAME.map(".{}".format), NAME.map("a*b.{}".format), st.just("192.0.2.0/24")
)
ATTRIBUTES = st.lists(
    st.one_of(
        NETWORK.map("from={}".format),
        st.text(NAMED, min_size=1, max_size=252).map('from="cn:{}"'.format),
        st.text(NAMED, min_size=1, max_size=252).map('from=san:"{}"'.format),
        st.from_regex("stage=[a-z0-9-]{1,32}", fullmatch=True),
        NETWORK.map("to={}".format),
        st.just("no-server-name"),
        st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=14)), timezone(-timedelta(hours=12))]))
        .filter(lambda time: 1 < time.year < 9999)
        .map(lambda time: f"until={time.isoformat()}"),
        st.text(NOTED, min_size=1).map('note="{}"'.format),
    ),
    max_size=4,
    unique_by=lambda text: text[:8] if text.startswith("from=") else text.partition("=")[0],
)


@given(PATTERN, st.none() | st.integers(1, 65535), ATTRIBUTES)
def test_a_rule_reads_the_same_from_its_own_text(pattern, port, attributes):
    text = " ".join([pattern if port is None else f"{pattern}:{port}", *attributes])
    rule = one(text)
    again = one(str(rule))
    assert again == rule
    assert (again.note, str(again)) == (rule.note, str(rule))


@pytest.mark.parametrize("wrong", [",", "0,", ",0", ",10.0.0.0/8", ",cn:till", '"",""'])
@pytest.mark.parametrize("name", ["from", "to"])
def test_a_comma_with_nothing_on_one_side_of_it_is_told(name, wrong):
    with pytest.raises(ValueError, match=f"{name}='.*': it is not an IP address or network"):
        parse_rule(f"a.example {name}={wrong}")
    if wrong[0] == ",":
        assert parse_rules(f"a.example {name}={wrong}", "x")[1]


PIECES = (
    *' ,\t"=.*:#;\\[]0',
    *("a.example", ":443", "from=", "to=", "cn:", "san:", "10.0.0.0/8", "fd00::/8", "until=", "2030-01-31T18:00Z"),
    *("note=", "stage=", "canary", "no-server-name"),
)


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map("".join))
def test_any_pieces_give_rules_and_mistakes_but_no_other_error(text):
    for denied in (False, True):
        rules, mistakes = parse_rules(text, "x", denied)
        assert all("\n" not in mistake for mistake in mistakes)
        for rule in rules:
            assert parse_rules(str(rule), "x", denied) == ([rule], [])
        with suppress(ValueError):
            parse_rule(text, denied)


@given(st.text(max_size=80))
def test_any_text_gives_rules_and_mistakes_but_no_other_error(text):
    rules, mistakes = parse_rules(text, "x")
    for rule in rules:
        assert one(str(rule)) == rule
    assert all("\n" not in mistake for mistake in mistakes)


@pytest.mark.parametrize("piece", [" from=::", " to=10.0.0.1", " from=cn:a", " from=,", " note=x", ","])
def test_the_time_for_a_rule_grows_with_its_length(piece):
    assert_linear(lambda count: parse_rules("a.example" + piece * count, "x"), 2000)
