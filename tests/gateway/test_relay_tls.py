"""A relay proxy that is spoken to in TLS: how it ends, and how the gateway does."""

import ssl
import threading

import pytest
from harness.admin import asked
from harness.gateway import Gateway, read_all, read_exactly, read_head
from harness.relays import PORT
from harness.upstreams import Server, echo, reset, server_context
from harness.waiting import PATIENCE, until

NAME = "www.bench.example"
TARGET = f"{NAME}:443"
OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"
CLOSE_NOTIFY = b"\x15\x03\x03\x00\x02\x01\x00"


class Relay(Server):
    """Opens tunnels, in TLS, and calls `play(connection)` with each.

    spoiling  what the next connections get instead of a handshake, in turn: functions to call with them
    """

    def __init__(self, authority, play=echo, spoiling=()):
        super().__init__(self._serve_one, port=PORT)
        self._context, self._play, self.spoiling = server_context(authority, self.host), play, list(spoiling)

    def _serve_one(self, connection):
        if self.spoiling:
            self.spoiling.pop(0)(connection)
            return
        with self._context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False) as secure:
            read_head(secure)
            secure.sendall(OPEN)
            self._play(secure)


def through(relay, authority_file):
    url = f"https://{relay.host}:{PORT}"
    return Gateway("--allowed-host", NAME, "--relay-proxy", url, "--relay-proxy-ca-file", authority_file)


def opens(gateway):
    with gateway.tunnel(TARGET) as sock:
        sock.sendall(b"x")
        assert read_exactly(sock, 1) == b"x"


ENDS = {
    "FIN": lambda connection: None,
    "close_notify": lambda connection: connection.sendall(CLOSE_NOTIFY),
    "RST": reset,
}


@pytest.mark.parametrize("end", ENDS)
def test_one_that_ends_a_handshake_while_it_opens_other_tunnels_is_not_at_fault(authority, authority_file, end):
    came, go_on = threading.Event(), threading.Event()

    def spoil(connection):
        connection.recv(1 << 16)
        came.set()
        go_on.wait(60 * PATIENCE)
        ENDS[end](connection)

    with Relay(authority, spoiling=[spoil]) as relay, through(relay, authority_file) as gateway:
        with gateway.connect() as sock:
            sock.sendall(f"CONNECT {TARGET} HTTP/1.1\r\n\r\n".encode())
            assert came.wait(60 * PATIENCE)
            opens(gateway)
            go_on.set()
            assert b": relay-closed\r\n" in read_all(sock)
        assert "closed in its TLS handshake" in gateway.wait_for(event=403, reason="relay-closed")["message"]
        (one,) = until(lambda: [one for one in asked(gateway, "/status")["relay_proxies"] if one["failed"]])
        assert one["state"] == "up"


@pytest.mark.parametrize("end", ENDS)
def test_one_that_ends_a_handshake_before_it_answered_anybody_rests(authority, authority_file, end):
    def spoil(connection):
        connection.recv(1 << 16)
        ENDS[end](connection)

    with Relay(authority, spoiling=[spoil]) as relay, through(relay, authority_file) as gateway:
        sock, head = gateway.ask(TARGET)
        sock.close()
        assert b": relay-closed\r\n" in head
        assert "it rests" in gateway.wait_for(event=403, reason="relay-closed")["message"]
        gateway.wait_for(event=100, message=f"relay proxy https://{relay.host}:{PORT} answers again")


def test_a_reset_of_a_client_is_no_orderly_end_for_the_relay(authority, authority_file):
    """It would take an upload that was cut for a whole one."""
    said, ended = b"u" * 1000, []

    def play(secure):
        secure.sendall(read_exactly(secure, len(said))[:1])
        try:
            ended.append(secure.recv(1))
        except (ssl.SSLEOFError, ConnectionResetError):
            ended.append("torn")

    with Relay(authority, play) as relay, through(relay, authority_file) as gateway:
        sock = gateway.tunnel(TARGET)
        sock.sendall(said)
        assert read_exactly(sock, 1) == said[:1]
        reset(sock)
        assert gateway.closed()["reason"] == "client-reset"
        until(lambda: ended)
        assert ended == ["torn"]


def test_an_end_of_a_client_is_an_orderly_one_for_the_relay(authority, authority_file):
    ended = []
    with Relay(authority, lambda secure: ended.append(secure.recv(1))) as relay:
        with through(relay, authority_file) as gateway:
            gateway.tunnel(TARGET).close()
            until(lambda: ended)
    assert ended == [b""]
