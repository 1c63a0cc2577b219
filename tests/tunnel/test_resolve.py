"""Names to addresses: what becomes of a resolver that is replaced at a reload."""

import gc
import sys

import gevent
import pytest
from gevent.hub import get_hub
from harness.dns import Dns

from ogw.tunnel.resolve import Resolver


@pytest.fixture
def errors(monkeypatch):
    """What nobody caught, in the loop or while objects died."""
    found = []
    monkeypatch.setattr(sys, "unraisablehook", lambda error: found.append(repr(error)))
    monkeypatch.setattr(get_hub(), "print_exception", lambda *error: found.append(repr(error)))
    return found


def until_done(lookup):
    with gevent.Timeout(20):
        while not lookup.done:
            gevent.sleep(0.01)


def test_a_resolver_that_is_closed_and_dropped_answers_what_it_was_asked(errors):
    with Dns({"a.example": ["192.0.2.1"]}) as dns:
        for _turn in range(20):
            resolver = Resolver([(dns.host, dns.port)], 5)
            lookup = resolver.look_up("a.example")
            resolver.close()
            del resolver
            gc.collect()
            until_done(lookup)
            assert lookup.addresses == ["192.0.2.1"]
            gevent.sleep(0)  # its channel ends in the loop
            gc.collect()
    assert errors == []


def test_a_closed_resolver_still_looks_up_for_those_who_have_it(errors):
    with Dns({"a.example": ["192.0.2.1"]}) as dns:
        resolver = Resolver([(dns.host, dns.port)], 5)
        until_done(resolver.look_up("a.example"))
        resolver.close()
        gevent.sleep(0.01)  # its channel ends in the loop
        for _turn in range(3):
            lookup = resolver.look_up("a.example")
            until_done(lookup)
            assert lookup.addresses == ["192.0.2.1"]
        del resolver
        gevent.sleep(0)
        gc.collect()
    assert errors == []
