"""Gateways that name each other as relay proxy: each sees itself in the request, and it ends."""

import contextlib
import json
import socket
import time

import pytest
from harness.gateway import Gateway, address, read_all, read_head
from harness.relays import PORT, Squid, playing
from harness.upstreams import Server, echo
from harness.waiting import until

NAME = "www.bench.example"
TARGET = f"{NAME}:443"
OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"
HANDFUL = 5  # tunnels that a request may become at one gateway


def gateway_at(place, *relays, flags=(), **more):
    host, port = place.split(":")
    named = [word for relay in relays for word in ("--relay-proxy", f"http://{relay}")]
    return Gateway("--listen-port", port, "--allowed-host", NAME, *named, *flags, listen=host, **more)


def asked(place, headers=b""):
    """The whole answer to a CONNECT."""
    host, port = place.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as sock:
        sock.sendall(f"CONNECT {TARGET} HTTP/1.1\r\n".encode() + headers + b"\r\n")
        return read_all(sock).decode()


def tunnels(gateway):
    return {line["tunnel"] for line in gateway.lines if "tunnel" in line}


@pytest.mark.parametrize("number", [2, 3, 5])
def test_a_ring_of_gateways_ends_where_it_began(number):
    places = [f"{address()}:{18000 + place}" for place in range(number)]
    with contextlib.ExitStack() as stack:
        ring = [stack.enter_context(gateway_at(place, places[(at + 1) % number])) for at, place in enumerate(places)]
        head = asked(places[0])
        assert head.startswith("HTTP/1.1 502 ") and "relay-" in head
        assert "leads back to this gateway" in ring[0].wait_for(reason="relay-loop")["message"]
        until(lambda: len(tunnels(ring[0])) == 2)
        assert all(len(tunnels(gateway)) <= 1 for gateway in ring[1:])


def test_gateways_that_all_name_all_the_others_end_too():
    places = [f"{address()}:{18000 + place}" for place in range(3)]
    with contextlib.ExitStack() as stack:
        all_of_them = [
            stack.enter_context(gateway_at(place, *(other for other in places if other != place))) for place in places
        ]
        assert asked(places[0]).startswith("HTTP/1.1 502 ")
        assert max(len(tunnels(gateway)) for gateway in all_of_them) <= HANDFUL


class Parent(Squid):
    """A squid that goes out through another proxy."""

    def __init__(self, parent, *lines):
        super().__init__({})
        host, port = parent.split(":")
        with (self.folder / "squid.conf").open("a") as conf:
            conf.write(f"cache_peer {host} parent {port} 0 no-query no-digest default\nnever_direct allow all\n")
            conf.writelines(f"{line}\n" for line in lines)


@pytest.mark.parametrize("lines", [(), ("via off",)])
def test_a_ring_with_a_squid_in_it_ends(lines):
    first, second = (f"{address()}:{port}" for port in (18000, 18001))
    with gateway_at(second, first) as other, Parent(second, *lines) as squid, gateway_at(first, squid.place) as one:
        until = time.monotonic() + 30
        while not tunnels(other):  # squid takes a moment to find out that its parent is there
            assert time.monotonic() < until
            assert asked(first).startswith("HTTP/1.1 502 ")
            one.wait_for(event=404)
        before = len(tunnels(one)), len(tunnels(other))
        assert asked(first).startswith("HTTP/1.1 502 ")
        one.wait_for(reason="relay-loop")
        assert len(tunnels(one)) - before[0] <= HANDFUL and len(tunnels(other)) - before[1] <= HANDFUL


def test_what_the_client_says_of_its_proxies_goes_on_and_nothing_else():
    heads = []
    with Server(playing(OPEN, echo, heads=heads), port=PORT) as relay:
        with gateway_at(f"{address()}:18000", f"{relay.host}:{PORT}") as gateway:
            with socket.create_connection((gateway.address, 18000), timeout=20) as sock:
                own = b"Via: 1.1 a\r\nX-Secret: x\r\nvia: 1.0 b (c, d)\r\nCookie: y\r\n"
                sock.sendall(f"CONNECT {TARGET} HTTP/1.1\r\n".encode() + own + b"\r\n")
                assert read_head(sock) == OPEN
    lines = heads[0].split(b"\r\n")
    vias = [line for line in lines if line.startswith(b"Via: ")]
    assert vias[:2] == [b"Via: 1.1 a", b"Via: 1.0 b (c, d)"] and vias[2].startswith(b"Via: 1.1 ogw-")
    assert len(vias) == 3 and b"X-Secret" not in heads[0] and b"Cookie" not in heads[0]


@pytest.mark.parametrize(
    "value", [b"1.1 hostile, " * 50, b"1.1 " + b"hostile" * 1000, b"," * 5000, b"\xff\xfehostile," * 30]
)
def test_a_hostile_via_is_bounded_and_in_no_line(value):
    heads = []
    with Server(playing(OPEN, echo, heads=heads), port=PORT) as relay:
        place = f"{address()}:18000"
        with gateway_at(place, f"{relay.host}:{PORT}") as gateway:
            head = asked(place, b"Via: " + value + b"\r\n")
            assert head.startswith("HTTP/1.1 502 Bad Gateway: relay-loop\r\n")
            gateway.wait_for(reason="relay-loop")
            assert "hostile" not in json.dumps(gateway.lines)
    assert heads == []


def test_a_gateway_without_relay_proxies_does_not_care():
    with Server(echo, port=443) as upstream, Gateway("--allowed-host", f"{upstream.host} to=127.0.0.0/8") as gateway:
        with gateway.connect() as sock:
            sock.sendall(f"CONNECT {upstream.host}:443 HTTP/1.1\r\nVia: {'1.1 a,' * 100}\r\n\r\n".encode())
            assert read_head(sock).startswith(b"HTTP/1.1 200 ")
