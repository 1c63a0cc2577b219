"""Names to addresses: whom a resolver asks, and what becomes of one that is replaced at a reload."""

import contextlib
import gc
import os
import socket
import struct
import sys
import threading

import gevent
import pytest
from gevent.hub import get_hub
from harness.dns import LAME, SERVFAIL, SILENT, A, Dns
from harness.waiting import PATIENCE

from ogw.policy.decision import Reason
from ogw.tunnel import nameserver
from ogw.tunnel.name_files import Hosts
from ogw.tunnel.resolve import Resolver


@pytest.fixture
def errors(monkeypatch):
    """What nobody caught, in the loop or while objects died."""
    found = []
    gc.collect()  # what other tests have left behind
    monkeypatch.setattr(sys, "unraisablehook", lambda error: found.append(repr(error)))
    monkeypatch.setattr(get_hub(), "print_exception", lambda *error: found.append(repr(error)))
    return found


def until_done(lookup):
    with gevent.Timeout(20 * PATIENCE):
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
            gevent.sleep(0)  # what is left of it ends in the loop
            gc.collect()
    assert errors == []


def test_a_closed_resolver_still_looks_up_for_those_who_have_it(errors):
    with Dns({"a.example": ["192.0.2.1"]}) as dns:
        resolver = Resolver([(dns.host, dns.port)], 5)
        until_done(resolver.look_up("a.example"))
        resolver.close()
        gevent.sleep(0.01)  # what is left of it ends in the loop
        for _turn in range(3):
            lookup = resolver.look_up("a.example")
            until_done(lookup)
            assert lookup.addresses == ["192.0.2.1"]
        del resolver
        gevent.sleep(0)
        gc.collect()
    assert errors == []


# Whom it asks.


def place(dns):
    return dns.host, dns.port


@pytest.mark.parametrize(
    ("answer", "asked"),
    [(SERVFAIL, 4), (LAME, 4), (SILENT, 2), (lambda kind, number: SERVFAIL if number < 9 else [], 4)],
)
def test_the_next_server_is_asked_where_one_fails_and_a_silent_one_is_not_asked_first_again(answer, asked, errors):
    names = ("a.example", "b.example")
    with (
        Dns(dict.fromkeys(names, answer)) as first,
        Dns({name: ["192.0.2.1"] for name in names}) as second,
    ):
        resolver = Resolver([place(first), place(second)], 2)
        for name in names:
            lookup = resolver.look_up(name)
            until_done(lookup)
            assert lookup.addresses == ["192.0.2.1"]
        assert len(first.asked) == asked
        resolver.close()
    assert errors == []


def test_a_server_where_nobody_listens_costs_no_time(errors):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused, Dns({"a.example": ["192.0.2.1"]}) as dns:
        unused.bind(("127.0.0.1", 0))
        nobody = unused.getsockname()
        unused.close()
        resolver = Resolver([nobody, place(dns)], 60)
        lookup = resolver.look_up("a.example")
        until_done(lookup)
        assert lookup.addresses == ["192.0.2.1"]
        alone = Resolver([nobody], 60)
        lookup = alone.look_up("a.example")
        until_done(lookup)
        assert lookup.failure is Reason.DNS_ERROR and lookup.unheard and "Connection refused" in lookup.detail
        resolver.close()
        alone.close()
    assert errors == []


def test_a_server_that_answers_late_is_heard_although_it_was_asked_again(errors):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        resolver = Resolver([server.getsockname()], 2)
        lookup = resolver.look_up("a.example")
        queries = []
        with gevent.Timeout(20 * PATIENCE):
            while len(queries) < 4:  # each family twice
                with contextlib.suppress(BlockingIOError):
                    queries.append(server.recvfrom(4096))
                gevent.sleep(0.01)
        for query, client in queries[:2]:
            head = query[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0)
            size = 4 if query[-3] == A else 16
            address = b"\xc0\x0c" + query[-4:] + struct.pack("!IH", 60, size) + bytes(size)
            server.sendto(head + query[12:] + address, client)
        until_done(lookup)
        assert lookup.addresses == ["::", "0.0.0.0"]
        resolver.close()
    assert errors == []


@pytest.mark.parametrize(
    "junk", [b"", b"x", bytes(12), bytes(600), b"\xff" * 4096, b"\0\7\x81\x80\0\1\0\1\0\0\0\0\xc0\x0c"]
)
def test_junk_is_no_answer_and_does_no_harm(junk, errors):
    """It comes from the server's own address, with the number of the question."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)
        resolver = Resolver([server.getsockname()], 0.5)
        lookup = resolver.look_up("a.example")
        for _turn in range(2):
            query, client = server.recvfrom(4096)
            server.sendto(junk, client)
            server.sendto(query[:2] + junk[2:], client)
        until_done(lookup)
        assert not lookup.addresses and lookup.failure in (Reason.DNS_TIMEOUT, Reason.DNS_ERROR)
        resolver.close()
    assert errors == []


@pytest.mark.parametrize(
    "said", [b"", b"\0", b"\0\0", b"\0\5hello", b"\xff\xff" + bytes(100), b"\0\x0c" + bytes(12), None]
)
def test_a_stream_that_says_nothing_sensible_has_an_end(said, errors):
    """The answer over UDP is cut; over TCP comes this and the end, or, for None, nothing for good."""
    with Dns({"a.example": ["192.0.2.1"]}, over_tcp=False) as dns, socket.socket() as door:
        dns.names["a.example"] = [f"192.0.2.{number}" for number in range(1, 101)]
        dns._cut = lambda answer: answer[:2] + b"\x83\x80\0\1\0\0\0\0\0\0" + answer[12 : 12 + 15]
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((dns.host, dns.port))
        door.listen(50)
        door.settimeout(20)
        streams = []

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    stream, _client = door.accept()
                    streams.append(stream)
                    if said is not None:
                        stream.recv(100)
                        stream.sendall(said)
                        stream.close()

        threading.Thread(target=serve, daemon=True).start()
        resolver = Resolver([place(dns)], 1)
        lookup = resolver.look_up("a.example")
        until_done(lookup)
        assert lookup.addresses == [] and lookup.failure in (Reason.DNS_TIMEOUT, Reason.DNS_ERROR)
        door.shutdown(socket.SHUT_RDWR)
        resolver.close()
        for stream in streams:
            stream.close()
    assert errors == []
    assert nameserver.Stream.open == 0


@pytest.mark.parametrize("name", ["localhost", "a.localhost"])
def test_localhost_is_this_machine_and_nobody_is_asked(name):
    with Dns({name: ["192.0.2.1"]}) as dns:
        resolver = Resolver([place(dns)], 1, Hosts("/dev/null"))
        assert resolver.look_up(name).addresses == ["::1", "127.0.0.1"]
        assert dns.asked == []
        resolver.close()


def test_an_onion_name_is_not_asked_for():
    with Dns({"a.onion": ["192.0.2.1"]}) as dns:
        resolver = Resolver([place(dns)], 1)
        lookup = resolver.look_up("a.onion")
        assert lookup.done and lookup.failure is Reason.DNS_ERROR and dns.asked == []
        resolver.close()


def test_no_socket_is_left_of_many_names_at_a_time(errors):
    names = {f"n{number}.example": SILENT if number % 2 else ["192.0.2.1"] for number in range(1000)}
    with Dns(names) as dns:
        before = len(os.listdir("/proc/self/fd"))
        resolver = Resolver([place(dns)], 1)
        lookups = [resolver.look_up(name) for name in names]
        assert len(os.listdir("/proc/self/fd")) - before <= nameserver.MOST_PORTS
        for lookup in lookups:
            until_done(lookup)
        resolver.close()
        assert len(os.listdir("/proc/self/fd")) == before
    assert errors == []


def test_a_closed_resolver_leaves_no_socket_when_its_last_look_up_is_done(errors):
    with Dns({"a.example": lambda kind, number: SILENT if number == 1 else ["192.0.2.1"]}) as dns:
        before = len(os.listdir("/proc/self/fd"))
        resolver = Resolver([place(dns)], 1)
        lookup = resolver.look_up("a.example")
        resolver.close()
        until_done(lookup)
        assert lookup.addresses == ["192.0.2.1"] and len(os.listdir("/proc/self/fd")) == before
    assert errors == []


def test_all_who_wait_are_answered_where_the_port_of_their_server_closes(errors):
    """So many that its ports are used up, and hundreds wait at one of them: all hear of it, and none asks for ever."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        where = silent.getsockname()
        resolver = Resolver([where], 60)
        lookups = [resolver.look_up(f"n{number}.example") for number in range(1500)]
        gevent.sleep(0)
    refused = [until_done(lookup) or lookup.failure for lookup in lookups]
    assert set(refused) == {Reason.DNS_ERROR} and all("Connection refused" in lookup.detail for lookup in lookups)
    again = [resolver.look_up(f"n{number}.example") for number in range(1500)]
    assert set(again).isdisjoint(lookups)
    for lookup in again:
        until_done(lookup)
    resolver.close()
    assert errors == []
