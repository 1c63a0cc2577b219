"""Step 3 of the path, its very first part: DNS servers are asked for addresses, over UDP and, where need be, TCP.

A question goes from server to server until one knows; whoever is slow may still answer an earlier asking. Against
forged answers each has a random number, random small and capital letters, and a socket that is connected to the server
from a random port, which is not kept for long.
"""

import _socket
import errno
import os
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Optional

from gevent.hub import get_hub

from ogw.policy.decision import Reason
from ogw.tunnel.descriptors import NO_DESCRIPTORS
from ogw.tunnel.name_files import ResolvConf
from ogw.wire.dns import (
    CODES,
    HEAD,
    NOERROR,
    NXDOMAIN,
    Answer,
    BadAnswer,
    NotTheAnswer,
    OtherCase,
    query,
    question_section,
    read_answer,
)

READ, WRITE = 1, 2  # libev's event bits
ROUNDS = 3  # each server is asked so often
SHORTEST_WAIT = 0.1  # seconds that a server has for an answer, before the next is asked as well
LONGEST_DATAGRAM = 4096
AT_ONCE = 64  # datagrams that are read from one socket before others have their turn
QUESTIONS_PER_PORT = 64  # go out from one UDP socket, ...
PORT_SECONDS = 1.0  # ... within so many seconds; then there is another, from another random port, ...
MOST_PORTS = 64  # ... except when there are so many to one server
MOST_STREAMS = 256  # TCP connections at a time
ASIDE = 30.0  # seconds for which a server that said nothing is asked last


class Found(NamedTuple):
    """What came of a question.

    addresses  IP texts; none where there are none, or it failed
    seconds    for how long that may be kept; None where nothing says it
    failure    the reason where it failed, which is no more than "for now"; None where a server knew
    detail     a sentence without the name, where there are no addresses
    heard      some server said something
    """

    addresses: list[str]
    seconds: Optional[int] = None
    failure: Optional[Reason] = None
    detail: str = ""
    heard: bool = True


class Server:
    """One DNS server, and the sockets that it was asked from and may answer to."""

    def __init__(self, address: str, port: int) -> None:
        self.place = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        self.family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
        self.socket_address = (address, port)
        self.asked_last_until = 0.0
        self.keeps_case = True  # until it is seen to change letters; one forged answer does not get further than that
        self._port: Optional[_Port] = None
        self._ports = 0

    def ask(self, asker: "_Question", section: bytes) -> tuple["_Port", int]:
        """Send a question; the port and number that it waits under. Raises OSError."""
        port, now = self._port, time.monotonic()
        if port is None or ((port.asked >= QUESTIONS_PER_PORT or now >= port.good_until) and self._ports < MOST_PORTS):
            try:
                fresh = _Port(self, now + PORT_SECONDS)
            except OSError as error:
                if port is None or error.errno not in NO_DESCRIPTORS:
                    raise
            else:
                self._ports += 1
                self._port, previous, port = fresh, port, fresh
                if previous is not None:
                    previous.close_if_idle()
        return port, port.send(asker, section)

    def is_current(self, port: "_Port") -> bool:
        return self._port is port

    def closed(self) -> None:
        """One of its ports is."""
        self._ports -= 1

    def rest(self) -> None:
        """Keep no socket that nobody waits at."""
        port, self._port = self._port, None
        if port is not None:
            port.close_if_idle()


class _Port:
    """A UDP socket connected to a server: the current one, or one where somebody waits for an answer.

    asked       how many questions went out from it
    good_until  when it is old
    """

    def __init__(self, server: Server, good_until: float) -> None:
        self.server = server
        self.asked = 0
        self.good_until = good_until
        self.waiting: dict[int, tuple[_Question, bytes]] = {}
        self._sock = _connected(server, _socket.SOCK_DGRAM)
        self._watcher: Any = get_hub().loop.io(self._sock.fileno(), READ)
        self._watcher.start(self._readable)

    def send(self, asker: "_Question", section: bytes) -> int:
        number = int.from_bytes(os.urandom(2))
        while number in self.waiting:
            number = (number + 1) & 0xFFFF
        self.waiting[number] = asker, section
        self.asked += 1
        try:
            self._sock.send(query(number, section))
        except BlockingIOError:
            pass  # as good as lost on the way
        except OSError as error:
            self.forget(number, asker)
            self._broken(error)
            raise
        return number

    def forget(self, number: int, asker: "_Question") -> None:
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
                return
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
        """Such as: nobody listens there."""
        for number, (asker, _section) in tuple(self.waiting.items()):
            self.forget(number, asker)
            asker.failed(self.server, error)


class _Stream:
    """A question over TCP: what was too long for UDP."""

    open = 0

    def __init__(self, server: Server, asker: "_Question", section: bytes) -> None:
        if _Stream.open >= MOST_STREAMS:
            raise OSError(0, f"{MOST_STREAMS} connections to DNS servers are open already")
        self._server, self._asker, self._section = server, asker, section
        message = query(int.from_bytes(os.urandom(2)), section)
        self._message = struct.pack("!H", len(message)) + message
        self._got = b""
        self._sock = _connected(server, _socket.SOCK_STREAM)
        self._watcher: Any = get_hub().loop.io(self._sock.fileno(), WRITE)
        self._watcher.start(self._writable)
        _Stream.open += 1

    def close(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None
            self._sock.close()
            _Stream.open -= 1

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


class Servers:
    """The DNS servers to ask, in order of preference, and for how many seconds in all."""

    def __init__(self, conf: ResolvConf, timeout: float) -> None:
        self._servers = [Server(*place) for place in conf.servers]
        self._rotate = conf.rotate
        self.only_tcp = conf.only_tcp
        self.count = len(self._servers)
        self.timeout = timeout
        self._one_in_turn = self._rounds(self._servers[:1])
        self._asked = 0

    def ask(self, name: str, kind: int, done: Callable[[Found], None]) -> None:
        """Ask for the addresses of a canonical name; `done` is called once, from the hub or before this returns."""
        self._asked += 1
        _Question(self, name, kind, done).start()

    @property
    def keep_case(self) -> bool:
        return all(server.keeps_case for server in self._servers)

    def rest(self) -> None:
        """Nobody is likely to ask them any more, though somebody may."""
        for server in self._servers:
            server.rest()

    def in_turn(self) -> list[tuple[Server, float]]:
        """Whom to ask, and after how many seconds without an answer the next, too: all within half of the timeout."""
        servers = self._servers
        if len(servers) == 1:
            return self._one_in_turn
        first = self._asked % len(servers) if self._rotate else 0
        now = time.monotonic()
        return self._rounds(sorted(servers[first:] + servers[:first], key=lambda one: one.asked_last_until > now))

    def _rounds(self, servers: list[Server]) -> list[tuple[Server, float]]:
        wait = max(self.timeout / max(ROUNDS + 1, 2 * len(servers)), SHORTEST_WAIT)
        return [(server, wait * 2**turn) for turn in range(ROUNDS) for server in servers]


class _Question:
    """What addresses of one kind a name has, until somebody says it or the time is over."""

    def __init__(self, servers: Servers, name: str, kind: int, done: Callable[[Found], None]) -> None:
        self._servers = servers
        self._name = name
        self._kind = kind
        self._done: Optional[Callable[[Found], None]] = done
        self._left = deque(servers.in_turn())
        self._ends = time.monotonic() + servers.timeout
        self._asked: list[tuple[_Port, int]] = []
        self._streams: list[_Stream] = []
        self._current: Optional[Server] = None
        self._cut: Optional[Answer] = None  # what of an answer came over UDP, until the whole of it is here
        self._detail, self._heard = "", False
        self._timer: Any = None

    def start(self) -> None:
        self._next()

    # What the sockets say.

    def heard(self, server: Server, section: bytes, data: bytes, stream: Optional[_Stream] = None) -> bool:
        """Whether that was the answer to an asking of ours, so that no other will come."""
        if self._done is None:
            return True
        try:
            answer = read_answer(data, section)
        except OtherCase:
            # It, or something on the way, changes letters; or somebody guesses: he has to do it once more.
            server.keeps_case = False
            self._left.appendleft((server, self._servers.timeout / (ROUNDS + 1)))
            self._next()
            return True
        except NotTheAnswer:
            return False
        except BadAnswer as error:
            self._note(server, f"answers what cannot be read: {error}")
            self._next()
            return True
        self._heard, server.asked_last_until = True, 0.0
        if answer.truncated and stream is None:
            self._cut = answer
            self._ask_by_stream(server, section)
        elif answer.code == NXDOMAIN:
            self._end(Found([], answer.seconds, detail="there is no such name"))
        elif answer.code == NOERROR:
            self._end(Found(answer.addresses, answer.seconds, detail="it has no address"))
        else:
            self._note(server, f"answers {CODES.get(answer.code, answer.code)}")
            self._next()
        return True

    def failed(self, server: Server, error: OSError, stream: Optional[_Stream] = None) -> None:
        """A socket to it does not work."""
        if self._done is None or (stream is not None and stream not in self._streams):
            return
        self._note(server, error.strerror or str(error))
        if server is self._current:
            self._next()

    # Whom to ask.

    def _next(self) -> None:
        """Ask the next server, if there is one left; what was asked of others may still be answered."""
        self._stop_timer()
        while self._done is not None:
            left = self._ends - time.monotonic()
            if not self._left or left <= 0 or (self._cut is not None and self._cut.addresses):
                self._give_up()
                return
            server, seconds = self._left.popleft()
            try:
                self._ask(server)
            except OSError as error:
                if error.errno in NO_DESCRIPTORS:
                    self._lack_descriptors(error)
                    return
                self._note(server, error.strerror or str(error))
                continue
            self._current = server
            self._wait(seconds if self._left else left)
            return

    def _ask(self, server: Server) -> None:
        """Raises OSError. The last round has no random letters: there may be servers that drop such a question."""
        mixed = server.keeps_case and len(self._left) >= self._servers.count
        section = question_section(self._name, self._kind, os.urandom(len(self._name) + 1) if mixed else b"")
        if self._servers.only_tcp:
            self._streams.append(_Stream(server, self, section))
        else:
            self._asked.append(server.ask(self, section))

    def _ask_by_stream(self, server: Server, section: bytes) -> None:
        self._stop_timer()
        try:
            self._streams.append(_Stream(server, self, section))
        except OSError as error:
            if error.errno in NO_DESCRIPTORS and not (self._cut and self._cut.addresses):
                self._lack_descriptors(error)
                return
            self._note(server, f"over TCP: {error.strerror}")
            self._next()
            return
        self._current = server
        self._wait(self._servers.timeout / (ROUNDS + 1))

    def _wait(self, seconds: float) -> None:
        self._timer = get_hub().loop.timer(max(0.0, min(seconds, self._ends - time.monotonic())))
        self._timer.start(self._late, update=True)  # from now, not from when the loop last looked at the clock

    def _late(self) -> None:
        assert self._current is not None
        self._current.asked_last_until = time.monotonic() + ASIDE
        self._note(self._current, "does not answer")
        self._next()

    def _note(self, server: Server, what: str) -> None:
        """Of several failures the last words of a server are told; its silence only where none said anything."""
        if not self._detail or what != "does not answer":
            self._detail = f"DNS server {server.place} {what}"

    # Its end.

    def _give_up(self) -> None:
        if self._cut is not None and self._cut.addresses:
            self._end(Found(self._cut.addresses))  # some of its addresses are better than none
            return
        silent = self._detail.endswith("does not answer")
        reason = Reason.DNS_TIMEOUT if silent else Reason.DNS_ERROR
        self._end(Found([], None, reason, self._detail, self._heard))

    def _lack_descriptors(self, error: OSError) -> None:
        detail = f"{error.strerror}: raise the limit of open files"
        self._end(Found([], None, Reason.NO_DESCRIPTORS, detail, self._heard))

    def _end(self, found: Found) -> None:
        self._stop_timer()
        done, self._done = self._done, None
        for port, number in self._asked:
            port.forget(number, self)
        for stream in self._streams:
            stream.close()
        if done is not None:
            done(found)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None
