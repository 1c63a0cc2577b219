"""Heads that drip: what a byte costs does not grow with what came before it."""

import os
import pathlib

import pytest
from harness.gateway import Gateway, read_head
from harness.relays import PORT, playing
from harness.upstreams import Server
from harness.waiting import until

NAME = "www.bench.example"
CLIENTS, BYTES = 20, 100
START = f"CONNECT {NAME}:443 HTTP/1.1\r\n".encode()
SHAPES = {
    "a long line": b"X: " + b"x" * 900_000,
    "many lines": b"".join(b"X: " + b"x" * 9_000 + b"\r\n" for _turn in range(95)) + b"Y: ",
}


def cpu(gateway):
    """Seconds that the worker has computed for."""
    fields = pathlib.Path(f"/proc/{gateway.workers[0]}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cost_of_dripping(gateway, start):
    """Seconds of CPU for so many bytes, one at a time, behind this beginning."""
    socks = [gateway.connect() for _turn in range(CLIENTS)]
    try:
        for sock in socks:
            sock.sendall(START + start)
        until(gateway.has_taken)
        before = cpu(gateway)
        for _turn in range(BYTES):
            for sock in socks:
                sock.sendall(b"y")
            until(gateway.has_taken)  # or it would read several at once
        return cpu(gateway) - before
    finally:
        for sock in socks:
            sock.close()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_bytes_of_a_client_that_drips_cost_what_they_cost_at_first(shape):
    with Gateway("--head-timeout", "60s", "--head-max-size", "1MiB") as gateway:
        short = cost_of_dripping(gateway, b"X: x")
        long = cost_of_dripping(gateway, SHAPES[shape])
        assert long < 3 * short + 0.3


def test_a_head_of_too_many_lines_is_too_large_at_once():
    with Gateway() as gateway, gateway.connect() as sock:
        sock.sendall(START + b"a:b\r\n" * 101)  # and no blank line
        assert read_head(sock).startswith(b"HTTP/1.1 431 ")
        assert "more than 100 header lines" in gateway.wait_for(reason="head-too-large")["message"]


def test_a_relay_that_drips_is_heard_and_one_of_too_many_bytes_is_not():
    good = b"HTTP/1.1 200 OK\r\n" + b"a:b\r\n" * 99 + b"\r\nfirst"

    def drip(connection):
        for byte in good:
            connection.sendall(bytes([byte]))

    with Server(playing(drip), port=PORT) as slow:
        with Gateway("--allowed-host", NAME, "--relay-proxy", f"http://{slow.host}:{PORT}") as gateway:
            with gateway.tunnel(f"{NAME}:443") as sock:
                assert sock.recv(1) == b"f"
    flood = playing(b"HTTP/1.1 200 OK\r\n" + b"a:b\r\n" * 14_000, lambda connection: connection.recv(1))
    with Server(flood, port=PORT) as wordy:
        with Gateway("--allowed-host", NAME, "--relay-proxy", f"http://{wordy.host}:{PORT}") as gateway:
            sock, head = gateway.ask(f"{NAME}:443")
            sock.close()
            assert b": relay-head-too-large\r\n" in head
