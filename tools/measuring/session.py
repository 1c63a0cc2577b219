"""TLS over one non-blocking socket, in steps for a Loop."""

import ssl
from collections.abc import Generator
from socket import socket
from typing import Any, Optional

from measuring.loop import Steps

RECORDS = 4 * 16 * 1024  # bytes that are encrypted before they are sent: a slow peer must not cost memory

# What is received is used before anybody else runs: one buffer for all.
_buffer = memoryview(bytearray(1 << 20))
Bytes = Generator[None, None, memoryview]


def receive(sock: socket) -> Bytes:
    """What comes next, for use at once. Raises ConnectionError where nothing does."""
    while True:
        try:
            size = sock.recv_into(_buffer)
        except BlockingIOError:
            yield
            continue
        if not size:
            raise ConnectionError("closed")
        return _buffer[:size]


def send(sock: socket, data: Any) -> Steps:
    """Send all of it."""
    view = memoryview(data)
    while view:
        try:
            view = view[sock.send(view) :]
        except BlockingIOError:
            yield


class Session:
    """One TLS session. Errors are OSError, of which ssl.SSLError is one.

    Each is new: to resume one costs a load in Python more than it saves, since the ticket has to be read and kept.
    """

    def __init__(self, sock: socket, context: ssl.SSLContext, name: Optional[str] = None) -> None:
        self._sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = context.protocol is ssl.PROTOCOL_TLS_SERVER
        self.tls = context.wrap_bio(self._in, self._out, server, name)

    def handshake(self, rest: bytes = b"") -> Steps:
        """Up to where both may send; `rest` is what was received already."""
        self._in.write(rest)
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                yield from self._flush()
                self._in.write((yield from receive(self._sock)))
        yield from self._flush()

    def rest(self) -> bytes:
        """What came behind the handshake, for those who go on without TLS."""
        return self._in.read()

    def send(self, data: memoryview) -> Steps:
        """Send all of it."""
        while data:
            piece, data = data[:RECORDS], data[RECORDS:]
            while piece:
                piece = piece[self.tls.write(piece) :]
            yield from self._flush()

    def receive(self, into: bytearray) -> Generator[None, None, int]:
        """How many bytes came; they stand at the begin of `into`. 0: the peer has ended the session."""
        while True:
            try:
                return self.tls.read(len(into), into)  # type: ignore[return-value]
            except ssl.SSLWantReadError:
                self._in.write((yield from receive(self._sock)))
            except ssl.SSLZeroReturnError:
                return 0

    def end(self) -> Steps:
        """Say that no more comes."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        yield from self._flush()

    def _flush(self) -> Steps:
        if self._out.pending:
            yield from send(self._sock, self._out.read())
