"""How an entry of relay-proxy is written: what is taken, what is refused and says what to do, and what never shows."""

from contextlib import suppress

import pytest
from harness.growth import assert_linear
from hypothesis import given
from hypothesis import strategies as st

from ogw.policy.relay_entry import parse_relay_entry, shown_relay_entry, split_relay_entries
from ogw.policy.rules import parse_rules


def rules(*texts):
    found, mistakes = parse_rules("\n".join(texts), "", denied=True)
    assert not mistakes
    return tuple(found)


@pytest.mark.parametrize(
    ("text", "shown", "named"),
    [
        ("proxy.example", "http://proxy.example:80", ()),
        ("p:3128 for=a.example", "http://p:3128 for=a.example", ["a.example"]),
        (
            "http://p:3128  for=*.Ods.example,.b.example:8443\tfor=192.0.2.0/24",
            "http://p:3128 for=*.ods.example,.b.example:8443,192.0.2.0/24",
            ["*.ods.example", ".b.example:8443", "192.0.2.0/24"],
        ),
        ("https://p for=[2001:db8::1]:8443", "https://p:443 for=[2001:db8::1]:8443", ["[2001:db8::1]:8443"]),
        (
            "http://u:pass word@p:3128 for=a.example,b.example from=10.1.0.0/16 from=10.3.0.0/16 stage=canary",
            "http://p:3128 for=a.example,b.example from=10.1.0.0/16 from=10.3.0.0/16 stage=canary",
            [f"{name}.example from=10.1.0.0/16 from=10.3.0.0/16 stage=canary" for name in "ab"],
        ),
        (
            'http://p:1 until=2027-01-31T18:00:00Z for=a.example note="till, then"',
            'http://p:1 for=a.example until=2027-01-31T18:00:00Z note="till, then"',
            ["a.example until=2027-01-31T18:00:00Z"],
        ),
        ("http://p:1 stage=canary", "http://p:1 stage=canary", ()),
        ('http://p:1 note="the old one"', 'http://p:1 note="the old one"', ()),
    ],
)
def test_every_form(text, shown, named):
    entry = parse_relay_entry(text)
    assert str(entry) == shown
    assert entry.rules == rules(*named)
    assert parse_relay_entry(shown).rules == entry.rules


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://p:1 for=", "empty for=; it is written for=*.ods.opinsights.azure.com"),
        ("http://p:1 for=*", "has a wrong host rule '*': a star needs two labels"),
        ("http://p:1 for=a.example,", "a comma in for= with no host rule on one side"),
        ("http://p:1 for=a.example,,b.example", "a comma in for= with no host rule on one side"),
        ("http://p:1 for=a.example, b.example", "has a blank behind a comma in for=, before 'b.example'"),
        ("http://p:1 for=a.example, q:3128", "a further relay proxy begins with its scheme, such as http://"),
        ("http://p:1 for=a.example q:3128", "has 'q:3128' behind its URL, which is none of for=, from="),
        ("http://p:1 for=a.example to=10.0.0.0/8", "which is none of for="),
        ("http://p:1 four=a.example", "has something behind its URL that is none of for=, from="),
        ("http://p:1 for=https://a.example/x", "a rule names a host, not a URL"),
        ("http://p:1 for=a.example:0", "the port is a number from 1 to 65535"),
        ("http://p:1 from=10.0.0.0/8", "has from=, which says more of the targets in for=; name those, too"),
        ("http://p:1 until=2027-01-31T18:00:00Z", "has until=, which says more"),
        ("http://p:1 for=a.example until=2h", "write the time itself"),
        ("http://p:1 for=a.example from=cn:till", "a rule of this list has networks only"),
        ("http://p:1 for=a.example from=x", "not an IP address"),
        ("http://p:1 stage=Canary", "is no name of a stage"),
        ("http://p:1 for=a.example stage=a stage=b", "stage is given twice"),
        ('http://p:1 note="a', "a quote that is not closed"),
        ("http://p:1 for=a.example,u:s3cret@q:3128", "has an @ behind its URL"),
        ("http://u:s3cret for=x@p:1", "has an @ behind its URL: a password's blank is written %20"),
        ("for=a.example", "has no URL in front of it; in a shell, the whole entry stands in quotes"),
        ("ftp://p for=a.example", "is none of http"),
        ("http://p:0 for=a.example", "no port from 1"),
    ],
)
def test_wrong_forms(text, words):
    with pytest.raises(ValueError) as raised:
        parse_relay_entry(text)
    assert words in str(raised.value)
    assert "s3cret" not in str(raised.value) + shown_relay_entry(text)


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("a:1, b:2\nhttp://c", ["a:1", "b:2", "http://c"]),
        ("http://a:1 for=x.example,y.example", ["http://a:1 for=x.example,y.example"]),
        # What follows is a host rule: no relay proxy behind a for= goes without its scheme.
        ("http://a:1 for=x.example,b:2", ["http://a:1 for=x.example,b:2"]),
        ("http://a:1 for=x.example,http://b:2", ["http://a:1 for=x.example", "http://b:2"]),
        (
            "http://a:1 for=x.example , https://b:2 for=y.example",
            ["http://a:1 for=x.example", "https://b:2 for=y.example"],
        ),
        ("http://b:2,socks5://a:1 for=x.example,y.example", ["http://b:2", "socks5://a:1 for=x.example,y.example"]),
        (
            'http://a:1 for=x.example note="b, http://c",http://d',
            ['http://a:1 for=x.example note="b, http://c"', "http://d"],
        ),
        ("http://a:1 for=x.example,y.example\nb:2,c:3", ["http://a:1 for=x.example,y.example", "b:2", "c:3"]),
        ("http://u:p,q@a, https://v:w@b", ["http://u:p,q@a", "https://v:w@b"]),
        (
            "http://u:p,q@a for=x.example,y.example, https://v:w@b",
            ["http://u:p,q@a for=x.example,y.example", "https://v:w@b"],
        ),
        ('http://a:1 for=x.example note="b, http://c', ['http://a:1 for=x.example note="b, http://c']),
        (" ", []),
    ],
)
def test_several_in_one_text(text, entries):
    assert split_relay_entries(text) == entries


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://p:3128 for=a.example,b.example", "http://p:3128 for=a.example,b.example"),
        ("http://u:s3cret@p:3128 for=a.example", "http://(hidden)@p:3128 for=a.example"),
        ("http://u:s3 for=cret@p:3128", "http://(hidden)@p:3128"),
        ("http://till:s3cret for=a.example", "http://till:(hidden) for=a.example"),
    ],
)
def test_what_shows_of_it(text, shown):
    assert shown_relay_entry(text) == shown


@given(st.text(max_size=60), st.sampled_from(["", " for=", " from=", " note=", " stage="]), st.text(max_size=20))
def test_any_text_is_an_entry_or_says_what_is_wrong(front, word, behind):
    for text in (front + word + behind, f"http://p:1 for=a.example{word}{behind}"):
        for one in split_relay_entries(text):
            try:
                entry = parse_relay_entry(one)
            except ValueError as error:
                assert str(error)
            else:
                again = parse_relay_entry(str(entry))
                assert (again.rules, again.stage, str(again)) == (entry.rules, entry.stage, str(entry))


@pytest.mark.parametrize("piece", [" ", "\t", " for=a.example", ",a.example", ' note="x"', ", http://b"])
def test_the_time_for_an_entry_grows_with_its_length(piece):
    def work(count):
        for one in split_relay_entries(f"http://a{piece * count}x"):
            with suppress(ValueError):
                parse_relay_entry(one)

    assert_linear(work, 2000)
