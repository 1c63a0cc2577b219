"""The server that a load goes to: real TLS, several processes, one port for each service."""

import contextlib
import datetime
import pathlib
import re
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from measuring.loop import NO_DESCRIPTORS, Loop, Steps
from measuring.session import Session, receive, send

NAME = "agents.ogw.example"
BACKLOG = 4096
A, RESPONSE, TTL = 1, 0x8580, 3600  # of DNS
ANSWER = memoryview(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_plain = bytearray(16 * 1024)  # of a record; used before anybody else runs
PORTION = bytes(1 << 20)


def take_uploads(sock: socket.socket, context: ssl.SSLContext) -> Steps:
    """A request with a body, an answer, an end: as agents upload."""
    session = Session(sock, context)
    yield from session.handshake()
    head = b""
    while b"\r\n\r\n" not in head:
        size = yield from session.receive(_plain)
        if not size:
            return
        head += _plain[:size]
    head, _, body = head.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    left = (int(length[1]) if length else 0) - len(body)
    while left > 0:
        size = yield from session.receive(_plain)
        if not size:
            return
        left -= size
    yield from session.send(ANSWER)
    yield from session.end()


def echo(sock: socket.socket, context: ssl.SSLContext) -> Steps:
    """A handshake, then every byte back as it came. What a gateway copies is not TLS any more, and it cannot tell."""
    session = Session(sock, context)
    yield from session.handshake()
    yield from send(sock, session.rest())
    while True:
        yield from send(sock, bytes((yield from receive(sock))))


def swallow(sock: socket.socket, context: ssl.SSLContext) -> Steps:
    """A handshake, then a byte for each PORTION that came."""
    session = Session(sock, context)
    yield from session.handshake()
    size = len(session.rest())
    while True:
        size += len((yield from receive(sock)))
        yield from send(sock, b"1" * (size // len(PORTION)))
        size %= len(PORTION)


def pour(sock: socket.socket, context: ssl.SSLContext) -> Steps:
    """A handshake, then a PORTION for each byte. A flood without bounds would measure how the kernel prunes queues."""
    session = Session(sock, context)
    yield from session.handshake()
    wanted = len(session.rest())
    while True:
        for _turn in range(wanted):
            yield from send(sock, PORTION)
        wanted = len((yield from receive(sock)))


SERVICES: dict[str, Callable[[socket.socket, ssl.SSLContext], Steps]] = {
    "uploads": take_uploads,
    "echo": echo,
    "sink": swallow,
    "source": pour,
}


def make_certificate(path: pathlib.Path) -> None:
    """A key and a certificate of its own (P-256, as most services have today), as one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=7))
    alone = x509.SubjectAlternativeName([x509.DNSName(NAME)])
    path.write_bytes(
        made.add_extension(alone, False).sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def family(host: str) -> socket.AddressFamily:
    """Of an IP address."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def listener(place: tuple[str, int]) -> socket.socket:
    """One of several on the same port, among which the kernel spreads what comes. Raises OSError."""
    sock = socket.create_server(place, family=family(place[0]), backlog=BACKLOG, reuse_port=True)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what it accepts inherits it
    sock.setblocking(False)
    return sock


class Origin:
    """One process of it: listeners by the name of their service."""

    def __init__(self, loop: Loop, certificate: pathlib.Path, listeners: dict[str, socket.socket]) -> None:
        self._loop = loop
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._context.num_tickets = 0  # nobody resumes, and what follows a handshake is the service's own
        for service, door in listeners.items():
            loop.call_when_readable(door.fileno(), self._accepting(door, SERVICES[service]))

    def _accepting(self, door: socket.socket, serve: Any) -> Callable[[], None]:
        def accept() -> None:
            for _turn in range(64):
                try:
                    sock, _peer = door.accept()
                except BlockingIOError:
                    return
                except OSError as error:
                    if error.errno in NO_DESCRIPTORS:
                        return
                    continue
                sock.setblocking(False)
                self._loop.run(sock, self._serve(sock, serve))

        return accept

    def _serve(self, sock: socket.socket, serve: Any) -> Steps:
        with sock, contextlib.suppress(OSError):
            yield from serve(sock, self._context)


class Dns:
    """Says that the origin's name has this IPv4 address, and no other (RFC 1035)."""

    def __init__(self, loop: Loop, sock: socket.socket, address: str) -> None:
        self._sock, self._address = sock, socket.inet_aton(address)
        loop.call_when_readable(sock.fileno(), self._answer)

    def _answer(self) -> None:
        query, asker = self._sock.recvfrom(512)
        end = query.find(b"\0", 12) + 5  # behind the name, its type and class
        if len(query) < end or end < 17:
            return
        found = query[end - 4 : end - 2] == struct.pack("!H", A)
        head = query[:2] + struct.pack("!HHHHH", RESPONSE, 1, found, 0, 0)
        record = b"\xc0\x0c" + struct.pack("!HHIH", A, 1, TTL, 4) + self._address if found else b""
        self._sock.sendto(head + query[12:end] + record, asker)
