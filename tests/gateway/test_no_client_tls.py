"""What comes to a tls:// address instead of a TLS handshake: named alike whole and cut, and waited for no longer."""

import socket

import pytest
from harness.secure import Secure
from harness.waiting import until


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """One that waits for longer than a test does."""
    with Secure(tmp_path_factory.mktemp("files"), "--head-timeout", "300s", required=False) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def hasty(tmp_path_factory):
    with Secure(tmp_path_factory.mktemp("files"), "--head-timeout", "1s", required=False) as gateway:
        yield gateway


@pytest.mark.parametrize(
    ("said", "rest", "reason", "words"),
    [
        (b"P", b"ROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n", "proxy-header-not-allowed", "a PROXY header"),
        (b"\r\n\r", b"\n\0\r\nQUIT\n\x21\x11\0\0", "proxy-header-not-allowed", "a PROXY header"),
        (b"PR", b"I * HTTP/2.0\r\n\r\n", "client-tls-malformed", "the preface of HTTP/2 instead of a TLS handshake"),
        (b"S", b"SH-2.0-x\r\n", "client-tls-malformed", "an SSH client instead of a TLS handshake"),
        (b"CONN", b"ECT x:443 HTTP/1.1\r\n\r\n", "client-tls-plain-http", "plain HTTP at a tls:// address"),
        (b"S", b"", "client-tls-plain-http", "plain HTTP at a tls:// address"),
        (b"\x80", b"\x2e\x01\x00\x02", "client-tls-malformed", "an SSL 2.0 handshake instead of a TLS handshake"),
    ],
)
def test_what_is_no_handshake_is_told_of_as_the_same_however_it_is_cut(gateway, said, rest, reason, words):
    with gateway.raw() as sock:
        name = "{}:{}".format(*sock.getsockname())
        sock.sendall(said)
        until(lambda: gateway.has_taken(gateway.port))
        sock.sendall(rest)
        sock.shutdown(socket.SHUT_WR)
        line = gateway.wait_for(client=name)
    assert line["reason"] == reason and words in line["message"]
    assert "http://, not https://" not in line["message"]


@pytest.mark.parametrize("said", [b"\x05\x01\x00", b"\x15\x03\x03\x00\x02\x02\x28", b"x" * 64, b"AMQP\0"])
def test_what_can_be_nothing_else_is_not_waited_for(gateway, said):
    with gateway.raw() as sock:
        name = "{}:{}".format(*sock.getsockname())
        sock.sendall(said)
        assert sock.recv(1) == b""
        assert gateway.wait_for(event=114, client=name)["reason"] == "client-tls-malformed"


def test_what_begins_as_no_handshake_and_stalls_is_none(hasty):
    with hasty.raw() as sock:
        name = "{}:{}".format(*sock.getsockname())
        sock.sendall(b"SSH-")
        assert hasty.wait_for(event=114, client=name)["reason"] == "client-tls-malformed"
