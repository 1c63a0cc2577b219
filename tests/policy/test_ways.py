"""Which way leads to a target: entries that name it before general ones, straight where there is none of either."""

import pytest

from ogw.policy.relay_entry import parse_relay_entry
from ogw.policy.rules import parse_rules
from ogw.policy.ways import STRAIGHT, Way, Ways
from ogw.wire.connect import parse_target

NEAR, FAR = "10.1.2.3", "192.0.2.9"


def target(text):
    return parse_target((text if ":" in text else f"{text}:443").encode())


def ways(*entries, bypass=""):
    rules, mistakes = parse_rules(bypass, "", denied=True)
    assert not mistakes
    return Ways([parse_relay_entry(entry) for entry in entries], rules)


A = "http://a:1 for=*.ods.example,.auto.example:8443"
B = "http://b:1 for=x.ods.example from=10.1.0.0/16"
G, H = "http://g:1", "http://h:1"


@pytest.mark.parametrize(
    ("entries", "asked", "client", "way"),
    [
        ([G, H], "any.example", FAR, Way((), (0, 1))),
        ([G, A], "y.ods.example", FAR, Way((1,), (0,))),
        ([G, A], "ods.example", FAR, Way((), (0,))),
        ([G, A], "auto.example", FAR, Way((), (0,))),
        ([G, A], "auto.example:8443", FAR, Way((1,), (0,))),
        ([A, B, G], "x.ods.example", NEAR, Way((0, 1), (2,))),
        ([A, B, G], "x.ods.example", FAR, Way((0,), (2,))),
        ([A, B], "any.example", NEAR, STRAIGHT),
        ([B], "x.ods.example", FAR, STRAIGHT),
        ([], "any.example", FAR, STRAIGHT),
        # One that is named and general is asked once, and first.
        ([G, A, "http://g:1 for=y.ods.example"], "y.ods.example", FAR, Way((1, 0), ())),
        (["http://p:1 for=192.0.2.0/24"], "192.0.2.7:443", FAR, Way((0,), ())),
        (["http://p:1 for=192.0.2.0/24"], "192.0.3.7:443", FAR, STRAIGHT),
    ],
)
def test_the_way(entries, asked, client, way):
    assert ways(*entries).of(target(asked), client) == way


@pytest.mark.parametrize(
    "form", ["[::ffff:192.0.2.7]:443", "[::192.0.2.7]:443", "[64:ff9b::c000:207]:443", "[2002:c000:207::]:443"]
)
def test_no_form_of_an_address_leads_past_the_relay_proxy_that_is_named_for_it(form):
    found = ways("http://p:1 for=192.0.2.0/24", bypass="192.0.2.0/24")
    assert found.of(target(form), FAR) == Way((0,), ())
    assert found.may_lead(0, target(form))
    assert [str(rule) for _entry, rule in found.naming(target(form), FAR)] == ["192.0.2.0/24"]


def test_a_bypass_beats_entries_that_name_it():
    found = ways(A, G, bypass="x.ods.example from=10.1.0.0/16")
    assert found.of(target("x.ods.example"), NEAR) == STRAIGHT
    assert found.of(target("x.ods.example"), FAR) == Way((0,), (1,))
    assert str(found.bypassing(target("x.ods.example"), NEAR)) == "x.ods.example from=10.1.0.0/16"
    assert found.bypassing(target("x.ods.example"), FAR) is None


def test_an_end_is_kept():
    found = ways("http://a:1 for=a.example until=2027-01-31T18:00:00Z", G)
    assert found.of(target("a.example"), FAR, lambda: 1801418399.0) == Way((0,), (1,))
    assert found.of(target("a.example"), FAR, lambda: 1801418400.0) == Way((), (1,))


def test_it_says_by_which_rule():
    (found,) = ways(A, B, G).naming(target("x.ods.example"), FAR)
    assert (str(found[0].proxy), str(found[1])) == ("http://a:1", "*.ods.example")


def test_what_a_trial_may_ask_for_goes_through_it_first():
    found = ways(A, B, G, bypass="straight.example, z.ods.example:443 from=10.1.0.0/16")
    asked = {"y.ods.example": [0], "x.ods.example": [0, 1], "any.example": [2], "straight.example": []}
    for name, places in {**asked, "z.ods.example": [], "z.ods.example:8443": [0]}.items():
        assert [place for place in range(3) if found.may_lead(place, target(name))] == places
