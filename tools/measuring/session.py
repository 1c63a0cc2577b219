"""TLS over one non-blocking socket, in steps for a Loop."""

import ssl
from collections.abc import Generator
from typing import Any, Optional

from measuring.loop import Steps

RECORDS = 4 * 16 * 1024  # bytes that are encrypted before they are sent: a slow peer must not cost memory

# What is received is used before anybody else runs: one buffer for all.
_buffer = memoryview(bytearray(1 << 20))
Bytes = Generator[None, None, memoryview]


def receive(sock: Any) -> Bytes:
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


def send(sock: Any, data: Any) -> Steps:
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

    def __init__(self, sock: Any, context: ssl.SSLContext, name: Optional[str] = None) -> None:
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


class Leg(Session):
    """The TLS between client and gateway, once its handshake is done: what goes on inside takes it for a socket."""

    def recv_into(self, buffer: memoryview) -> int:
        """Raises BlockingIOError, or another OSError."""
        self._try_to_flush()
        while True:
            try:
                return self.tls.read(len(buffer), buffer)  # type: ignore[return-value]
            except ssl.SSLWantReadError:
                data = self._sock.recv(RECORDS)
                if not data:
                    return 0
                self._in.write(data)
            except ssl.SSLZeroReturnError:
                return 0

    def send(self, data: memoryview) -> int:  # type: ignore[override]
        """Raises BlockingIOError where what was taken before is not sent yet, or another OSError."""
        if self._pending:
            self._flush_now()
        size = self.tls.write(data[:RECORDS])
        self._try_to_flush()
        return size

    _pending = memoryview(b"")

    def _try_to_flush(self) -> None:
        try:
            self._flush_now()
        except BlockingIOError:
            pass

    def _flush_now(self) -> None:
        while self._pending or self._out.pending:
            self._pending = self._pending or memoryview(self._out.read())
            self._pending = self._pending[self._sock.send(self._pending) :]
