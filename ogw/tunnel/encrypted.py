"""A TLS leg, to a relay proxy or of a client: two greenlets between its TLS socket and one end of a socket pair.

Whoever uses the other end, the dial, the handshake watched inside the tunnel, the duplex, sees a plain socket.
"""

import _socket
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any, Optional

import gevent

from ogw.tunnel.linger import DELIVER_SECONDS, break_off, unsent
from ogw.tunnel.loop import READ, WRITE, Readiness

PIECE = 64 * 1024
MOST_UNSAID = 16 * 1024  # bytes that TLS itself wants to answer, while nothing is encrypted that they could go with
LINGER_SECONDS = 10.0  # what is still to be sent has so long, once the tunnel has closed its end
TCP_CLOSE = 7  # the state of a socket without a connection (linux/tcp.h), the first byte of TCP_INFO
LOOK_AGAIN = 0.02  # seconds between two looks at whether it was taken


class Leg:
    """Encrypts what is written to `socket`, which is non-blocking and the caller's, and decrypts what comes back.

    It owns the TLS socket. An orderly end (close_notify, or that of the connection) passes as a half-close in both
    directions; the plain end cannot tell of a reset, so that is an end there, too, and `lost` is called.

    host    of the server that is spoken to; "" where we are the server
    heard   the first bytes that the peer said, where somebody has received them
    lost    told when the peer is gone without an end, and all that it said before was taken, or is not for long
    closed  those who are told when nothing is open any more
    """

    def __init__(self, tls_socket: _socket.socket, context: ssl.SSLContext, host: str = "", heard: bytes = b"") -> None:
        self._sock = _socket.socket(fileno=tls_socket.detach())
        self._sock.setblocking(False)
        self._readable = Readiness(self._sock, READ)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=not host, server_hostname=host or None)
        self.heard = heard[:5]
        self._incoming.write(heard)
        self.lost: Optional[Callable[[], object]] = None
        self.closed: list[Callable[[], object]] = []
        self.is_closed = False
        self.breaks_off = False  # where the tunnel ends, it does so without an orderly end
        self._is_lost = False
        self._ours: Any = None
        self._ours_readable: Any = None
        self._pumps: list[Any] = []
        self._closing: Any = None
        self._is_dry = False  # all that came is decrypted and delivered
        self._says_end = False  # nothing more is to be encrypted

    def handshake(self) -> None:
        """Raises ssl.SSLError, of which SSLCertVerificationError says that it is not to be trusted, or OSError."""
        with self._readable:
            while True:
                try:
                    self._tls.do_handshake()
                except ssl.SSLWantReadError:
                    self._flush()
                    self._receive()
                except ssl.SSLError:
                    self._flush()  # the alert that says why
                    raise
                else:
                    self._flush()
                    return

    def give_back(self) -> _socket.socket:
        """The TLS socket, for whoever lets the peer finish after a handshake that failed. Instead of `close`."""
        self._readable.close()
        sock = _socket.socket(fileno=self._sock.detach())
        self.close()
        return sock

    @property
    def version(self) -> str:
        """Of the session, once the handshake is done: TLSv1.3"""
        return self._tls.version() or ""

    @property
    def certificate(self) -> bytes:
        """The peer's, as DER, once the handshake is done."""
        return self._tls.getpeercert(binary_form=True) or b""

    @property
    def is_resumed(self) -> bool:
        """Its session is one of before, once the handshake is done: nothing was verified in it."""
        return bool(self._tls.session_reused)

    @property
    def chain(self) -> tuple[bytes, ...]:
        """The peer's certificates that were verified, as DER, its own first, the trusted one last."""
        tls: Any = self._tls
        if hasattr(tls, "get_verified_chain"):  # from Python 3.13 on
            return tuple(tls.get_verified_chain())
        return tuple(ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in tls._sslobj.get_verified_chain() or ())

    # It is spoken through with these, by the greenlet that made the handshake, or with what `start` gives.

    def read(self, size: int) -> bytes:
        """At most so many bytes; none at the end, which may be an orderly one or not. Raises OSError."""
        with self._readable:
            while True:
                try:
                    return bytes(self._tls.read(size))
                except ssl.SSLWantReadError:
                    self._flush()
                    self._receive()
                except ssl.SSLEOFError:
                    return b""

    def write(self, data: bytes) -> None:
        """Raises OSError."""
        self._tls.write(data)
        self._flush()

    def start(self) -> _socket.socket:
        """The plain end, once the handshake is done."""
        ours, theirs = _socket.socketpair()
        theirs.setblocking(False)
        ours.setblocking(False)
        self._ours, self._ours_readable = ours, Readiness(ours, READ)
        self._pumps = [gevent.spawn(self._quietly, self._decrypt), gevent.spawn(self._quietly, self._encrypt)]
        for pump in self._pumps:
            pump.link(self._ended)
        return theirs

    def end(self) -> None:
        """The plain end was closed: send what is still there, and close. Returns at once."""
        if self._closing is None:
            self._closing = gevent.spawn(self._finish)

    def close(self) -> None:
        """Close what it owns, where no pump runs (any more)."""
        self._readable.close()
        self._sock.close()
        if self._ours is not None:
            self._ours_readable.close()
            self._ours.close()
        self.is_closed = True
        closed, self.lost, self.closed = self.closed, None, []
        for tell in closed:
            tell()

    def _finish(self) -> None:
        until = time.monotonic() + LINGER_SECONDS
        decrypts, encrypts = self._pumps
        encrypts.join(LINGER_SECONDS)
        decrypts.kill(timeout=LINGER_SECONDS)  # nobody takes what comes; it says the end, if that is not said yet
        # A close with something unread, or before something comes, resets: what the peer has not taken would be lost.
        if not self.breaks_off:
            self._half_close(self._sock)
        while unsent(self._sock) and not self._is_gone() and time.monotonic() < until:
            gevent.sleep(LOOK_AGAIN)
        encrypts.kill()
        if self.breaks_off:
            break_off(self._sock)
        self.close()

    def _is_gone(self) -> bool:
        """The connection was reset: what was unsent then will be for ever."""
        return bool(self._sock.getsockopt(_socket.IPPROTO_TCP, _socket.TCP_INFO, 1)[0] == TCP_CLOSE)

    def _ended(self, _pump: Any) -> None:
        if self._is_lost and self.lost is not None:
            gevent.spawn(self._tell_of_loss)
        if all(pump.ready() for pump in self._pumps):
            self.end()

    def _tell_of_loss(self) -> None:
        until = time.monotonic() + DELIVER_SECONDS
        while self._closing is None and unsent(self._ours) and time.monotonic() < until:
            gevent.sleep(LOOK_AGAIN)
        lost, self.lost = self.lost, None
        if lost is not None:
            lost()

    @staticmethod
    def _quietly(pump: Callable[[], None]) -> None:
        try:
            pump()
        except OSError:  # ssl.SSLError is one, too
            pass

    def _decrypt(self) -> None:
        gathered: list[bytes] = []  # of the records that came together: a send for each would cost as much as TLS does
        readable = self._readable
        try:
            while True:
                data = self._decrypted()
                if data:
                    gathered.append(data)
                    continue
                if gathered:
                    _send(self._ours, b"".join(gathered), readable)
                    gathered.clear()
                if data is not None:
                    return
                if self._outgoing.pending > MOST_UNSAID:
                    self._is_lost = True  # hundreds of times it asked for new keys, and nobody does so
                    return
                self._is_dry = True
                if self._says_end:
                    self._say_end()
                self._receive()
                self._is_dry = False
        finally:
            readable.rest()
            self._is_dry = True
            if self._says_end:
                self._say_end()
            self._half_close(self._ours)

    def _decrypted(self) -> Optional[bytes]:
        """A record of what came; b"" at the end, None where that is to be waited for."""
        try:
            return self._tls.read(PIECE)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLEOFError:
            return b""
        except ssl.SSLError:
            self._is_lost = True  # nobody speaks so: what it means by it is nobody's guess
            return b""

    def _encrypt(self) -> None:
        # The only one that writes to the TLS socket meanwhile: what OpenSSL wants to say goes with it.
        with self._ours_readable as readable:
            while data := readable.receive(PIECE):
                self._tls.write(data)
                self._flush(readable)
        self._says_end = not self.breaks_off
        if self._says_end and self._is_dry:
            self._say_end()

    def _say_end(self) -> None:
        """Send close_notify, once all that came is decrypted: `unwrap` reads on and would throw data away."""
        self._says_end = False
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # it is written; the peer's own comes in its time
        self._flush()

    def _receive(self) -> None:
        try:
            data = self._readable.receive(PIECE)
        except OSError:
            self._is_lost = True
            raise
        if data:
            self.heard = self.heard or data[:5]
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _flush(self, reads: Optional[Readiness] = None) -> None:
        """Send what TLS says. `reads`: what the caller waits for else; the socket's own readiness if not given."""
        data = self._outgoing.read()
        try:
            if data:
                _send(self._sock, data, reads or self._readable)
        except OSError:
            self._is_lost = True
            raise

    @staticmethod
    def _half_close(sock: Any) -> None:
        try:
            sock.shutdown(_socket.SHUT_WR)
        except OSError:
            pass


def await_all(legs: Iterable[Optional[Leg]], tell: Callable[[], object]) -> bool:
    """Whether any of them is open still; `tell` is called when the last one closes."""
    open_ones = [leg for leg in legs if leg is not None and not leg.is_closed]

    def one_is_closed() -> None:
        if all(leg.is_closed for leg in open_ones):
            tell()

    for leg in open_ones:
        leg.closed.append(one_is_closed)
    return bool(open_ones)


def _send(sock: _socket.socket, data: bytes, reads: Readiness) -> None:
    """All of it, as the socket takes it. Raises OSError.

    reads  what the caller waits for between two of these; it rests meanwhile
    """
    rest = memoryview(data)
    try:
        sent = sock.send(rest)
    except BlockingIOError:
        sent = 0
    if sent == len(rest):
        return
    reads.rest()
    writable = Readiness(sock, WRITE)
    try:
        while rest := rest[sent:]:
            writable.wait()
            try:
                sent = sock.send(rest)
            except BlockingIOError:
                sent = 0
    finally:
        writable.close()
