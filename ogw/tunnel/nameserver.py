"""Step 3 of the path: one DNS server, and the sockets that it is asked from, over UDP and, where need be, TCP.

Against forged answers each question has a random number, random small and capital letters, and a socket that is
connected to the server from a random port, which is not kept for long.
"""

import _socket
import errno
import os
import struct
import time
from typing import Any, Optional, Protocol

from gevent.hub import get_hub

from ogw.tunnel.descriptors import NO_DESCRIPTORS
from ogw.tunnel.loop import READ, WRITE
from ogw.wire.dns import HEAD, query
from ogw.wire.place import place

LONGEST_DATAGRAM = 4096
AT_ONCE = 64  # datagrams that are read from one socket before others have their turn
QUESTIONS_PER_PORT = 64  # go out from one UDP socket, ...
PORT_SECONDS = 1.0  # ... within so many seconds; then there is another, from another random port, ...
MOST_PORTS = 16  # ... except when there are so many to one server
MOST_STREAMS = 128  # TCP connections at a time


class Asker(Protocol):
    """Who waits for an answer to a question."""

    def heard(self, server: "Server", section: bytes, data: bytes, stream: Optional["Stream"] = None) -> bool:
        """Whether that was the answer to an asking of his, so that no other will come."""

    def failed(self, server: "Server", error: OSError, stream: Optional["Stream"] = None) -> None:
        """A socket to it does not work."""


class Server:
    """One DNS server, and the sockets that it was asked from and may answer to."""

    def __init__(self, address: str, port: int) -> None:
        self.place = place(address, port)
        self.family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
        self.socket_address = (address, port)
        self.asked_last_until = 0.0
        self.keeps_case = True  # until it is seen to change letters; one forged answer does not get further than that
        self._port: Optional[Port] = None
        self._ports = 0

    def ask(self, asker: Asker, section: bytes, edns: bool) -> tuple["Port", int]:
        """Send a question; the port and number that it waits under. Raises OSError."""
        # A port that is replaced lives on while somebody waits at it, since his answer comes to its number and to no
        # other; it closes behind the last one. Until then it counts: at a server that does not answer, the current port
        # is used beyond its time rather than that there be ever more sockets.
        port, now = self._port, time.monotonic()
        if port is None or ((port.asked >= QUESTIONS_PER_PORT or now >= port.good_until) and self._ports < MOST_PORTS):
            try:
                fresh = Port(self, now + PORT_SECONDS)
            except OSError as error:
                if port is None or error.errno not in NO_DESCRIPTORS:
                    raise
                # Better an old port, which is easier to guess, than no answer.
            else:
                self._ports += 1
                self._port, previous, port = fresh, port, fresh
                if previous is not None:
                    previous.close_if_idle()
        return port, port.send(asker, section, edns)

    def is_current(self, port: "Port") -> bool:
        return self._port is port

    def closed(self) -> None:
        """For its ports to say: one of them is."""
        self._ports -= 1

    def rest(self) -> None:
        """Keep no socket that nobody waits at. Whoever asks all the same gets a new one, which is current again."""
        port, self._port = self._port, None
        if port is not None:
            port.close_if_idle()


class Port:
    """A UDP socket connected to a server: the current one, or one where somebody waits for an answer.

    asked       how many questions went out from it
    good_until  when it is old
    """

    def __init__(self, server: Server, good_until: float) -> None:
        self.server = server
        self.asked = 0
        self.good_until = good_until
        self.waiting: dict[int, tuple[Asker, bytes]] = {}
        self._sock = _connected(server, _socket.SOCK_DGRAM)
        self._watcher: Any = get_hub().loop.io(self._sock.fileno(), READ)
        self._watcher.start(self._readable)

    def send(self, asker: Asker, section: bytes, edns: bool) -> int:
        number = int.from_bytes(os.urandom(2))
        while number in self.waiting:
            number = (number + 1) & 0xFFFF
        self.waiting[number] = asker, section
        self.asked += 1
        try:
            self._sock.send(query(number, section, edns))
        except BlockingIOError:
            pass  # as good as lost on the way
        except OSError as error:
            self.forget(number, asker)
            self._broken(error)
            raise
        return number

    def forget(self, number: int, asker: Asker) -> None:
        """He does not wait under that number any more, which may be another's by now."""
        if self.waiting.get(number, (None,))[0] is asker:
            del self.waiting[number]
        self.close_if_idle()

    def close_if_idle(self) -> None:
        """Unless it is the current one."""
        if not self.waiting and self._watcher is not None and not self.server.is_current(self):
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None
            self._sock.close()
            self.server.closed()

    def _readable(self) -> None:
        for _turn in range(AT_ONCE):
            if self._watcher is None:
                return  # the answer before was the last that somebody waited for here
            try:
                data = self._sock.recv(LONGEST_DATAGRAM)
            except BlockingIOError:
                return
            except OSError as error:
                self._broken(error)
                return
            number = int.from_bytes(data[:2])
            waits = self.waiting.get(number)
            if waits is not None and len(data) >= HEAD:
                asker, section = waits
                if asker.heard(self.server, section, data):
                    self.forget(number, asker)

    def _broken(self, error: OSError) -> None:
        """Such as: nobody listens there. The kernel says it once, to whoever uses the socket next; it holds for all."""
        # Those alone who waited until now: who is told asks anew, perhaps here, and that may fail and call this, too.
        waiting, self.waiting = self.waiting, {}
        for asker, _section in waiting.values():
            asker.failed(self.server, error)
        self.close_if_idle()


class Stream:
    """A question over TCP: what was too long for UDP."""

    open = 0

    def __init__(self, server: Server, asker: Asker, section: bytes) -> None:
        if Stream.open >= MOST_STREAMS:
            raise OSError(0, f"{MOST_STREAMS} connections to DNS servers are open already")
        self._server, self._asker, self._section = server, asker, section
        message = query(int.from_bytes(os.urandom(2)), section)
        self._message = struct.pack("!H", len(message)) + message
        self._got = b""
        self._sock = _connected(server, _socket.SOCK_STREAM)
        self._watcher: Any = get_hub().loop.io(self._sock.fileno(), WRITE)
        self._watcher.start(self._writable)
        Stream.open += 1

    def close(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None
            self._sock.close()
            Stream.open -= 1

    def _writable(self) -> None:
        try:
            self._sock.send(self._message)  # on a fresh connection: it fits into its buffer
        except OSError as error:
            self._fail(error)
            return
        self._watcher.stop()
        self._watcher.close()
        self._watcher = get_hub().loop.io(self._sock.fileno(), READ)
        self._watcher.start(self._readable)

    def _readable(self) -> None:
        try:
            data = self._sock.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(error)
            return
        if not data:
            self._fail(ConnectionResetError(errno.ECONNRESET, "it ends without a whole answer"))
            return
        self._got += data
        if len(self._got) < 2 or len(self._got) < 2 + int.from_bytes(self._got[:2]):
            return
        answer = self._got[2 : 2 + int.from_bytes(self._got[:2])]
        self.close()
        if answer[:2] != self._message[2:4] or not self._asker.heard(self._server, self._section, answer, self):
            self._asker.failed(self._server, OSError(0, "it answers something else over TCP"), self)

    def _fail(self, error: OSError) -> None:
        self.close()
        self._asker.failed(self._server, error, self)


def _connected(server: Server, kind: int) -> _socket.socket:
    """A non-blocking socket that is, or is being, connected to it. Raises OSError."""
    sock = _socket.socket(server.family, kind | _socket.SOCK_NONBLOCK)
    try:
        sock.connect(server.socket_address)
    except BlockingIOError:
        pass
    except BaseException:
        sock.close()
        raise
    return sock
