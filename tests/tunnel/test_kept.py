"""Names to addresses: what a resolver keeps, how long, and how much of it."""

import gc
import sys
import weakref

import gevent
import pytest
from gevent.hub import get_hub
from harness.dns import Dns

from ogw.policy.decision import Reason
from ogw.tunnel.lookup import Found, Lookup
from ogw.tunnel.resolve import Kept, Resolver, kept_for


@pytest.fixture
def errors(monkeypatch):
    """What nobody caught, in the loop or while objects died."""
    gc.collect()  # what other tests left is theirs
    found = []
    monkeypatch.setattr(sys, "unraisablehook", lambda error: found.append(repr(error)))
    monkeypatch.setattr(get_hub(), "print_exception", lambda *error: found.append(repr(error)))
    return found


def until_done(lookup):
    with gevent.Timeout(20):
        while not lookup.done:
            gevent.sleep(0.01)


def place(dns):
    return dns.host, dns.port


def found(*addresses, seconds=60, failure=None):
    return Found(list(addresses), seconds, failure)


@pytest.mark.parametrize(
    ("six", "four", "seconds"),
    [
        (found("::1", seconds=30), found("1.1.1.1", seconds=60), 30),
        (found("::1", seconds=0), found("1.1.1.1", seconds=60), 0),
        (found(seconds=20), found("1.1.1.1", seconds=60), 20),
        (found(seconds=90000), found("1.1.1.1", seconds=90000), 300),
        (found("::1", seconds=90000), found("1.1.1.1", seconds=90000), 3600),
        (found(seconds=None), found("1.1.1.1", seconds=60), 5),
        (found(seconds=None, failure=Reason.DNS_TIMEOUT), found("1.1.1.1", seconds=2), 2),
        (found(seconds=None, failure=Reason.DNS_TIMEOUT), found("1.1.1.1", seconds=60), 5),
        (found(seconds=None), found("1.1.1.1", seconds=None), 5),
        (found(seconds=40), found(seconds=50), 40),
        (found(seconds=90000), found(seconds=90000), 300),
        (found(seconds=40), found(seconds=None), 0),
        (found(seconds=40), found(seconds=None, failure=Reason.DNS_TIMEOUT), 0),
        (found(seconds=None, failure=Reason.NO_DESCRIPTORS), found(seconds=None, failure=Reason.DNS_ERROR), 0),
    ],
)
def test_what_was_found_is_kept_as_long_as_all_of_it_holds(six, four, seconds):
    assert kept_for([six, four]) == kept_for([four, six]) == seconds


def done(name, number=1):
    return Lookup(name, [f"192.0.2.{one}" for one in range(number)])


def test_the_name_used_longest_ago_is_forgotten_where_there_are_too_many():
    kept = Kept(3, 10**6)
    for name in "abc":
        kept.keep(done(name), 60)
    assert kept.find("a")
    kept.keep(done("d"), 60)
    assert [name for name in "abcd" if kept.find(name)] == ["a", "c", "d"] and len(kept) == 3


def test_names_with_many_addresses_take_the_place_of_many():
    kept = Kept(1000, 100_000)
    for number in range(30):
        kept.keep(done(f"n{number}"), 60)
    assert len(kept) == 30
    kept.keep(done("large", 700), 60)
    assert kept.find("large") and len(kept) < 20
    kept.keep(done("too large", 2000), 60)
    assert len(kept) == 0
    for number in range(30):  # nothing of them is left in the sum
        kept.keep(done(f"n{number}"), 60)
    assert len(kept) == 30


def test_what_does_not_hold_is_not_kept_and_not_found_when_its_time_is_over():
    kept = Kept(10, 10**6)
    kept.keep(done("a"), 0)
    kept.keep(done("b"), 0.05)
    kept.keep(done("b"), 0.05)
    assert kept.find("a") is None and len(kept) == 1
    with gevent.Timeout(20):
        while kept.find("b"):
            gevent.sleep(0.01)
    assert len(kept) == 0


def test_random_names_fill_no_more_than_the_bound(errors):
    names = {f"n{number}.example": ["192.0.2.1"] for number in range(300)}
    with Dns(names, ttl=600, nothing=(600, 600)) as dns:
        resolver = Resolver([place(dns)], 5, most=(100, 10**6))
        for name in names:
            until_done(resolver.look_up(name))
        assert len(resolver.kept) == 100
        asked = len(dns.asked)
        assert resolver.look_up("n299.example").done and len(dns.asked) == asked
        resolver.close()
        assert len(resolver.kept) == 0
    assert errors == []


def test_who_waited_for_a_look_up_is_not_kept_with_it(errors):
    class Waiter:
        def changed(self):
            pass

    with Dns({"a.example": ["192.0.2.1"]}, ttl=600, nothing=(600, 600)) as dns:
        resolver = Resolver([place(dns)], 5)
        waiter = Waiter()
        gone = weakref.ref(waiter)
        lookup = resolver.look_up("a.example")
        lookup.watch(waiter.changed)
        until_done(lookup)
        lookup.unwatch(waiter.changed)  # it may be too late for that
        del waiter
        gc.collect()
        assert gone() is None and resolver.look_up("a.example") is lookup
        resolver.close()
    assert errors == []
