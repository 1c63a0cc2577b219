"""One process of agents: each uploads something every period, on a new tunnel."""

import collections
import errno
import os
import socket
import ssl
import time
from typing import NamedTuple, Optional

from measuring.loop import NO_DESCRIPTORS, Loop, Steps, TooSlow
from measuring.session import Session
from measuring.tunnel import Refused, Way, connect, new_socket, open_tunnel

_plain = bytearray(16 * 1024)


class Work(NamedTuple):
    """What all agents do.

    name       server name of the sessions; None: there is none
    period     seconds from one upload of an agent to its next
    size       bytes of an upload
    patience   seconds that an upload may take
    own_place  each agent has a loopback address of its own
    """

    way: Way
    name: Optional[str]
    period: float
    size: int
    patience: float
    own_place: bool


class Seen(NamedTuple):
    """What a fleet did since it told the last time.

    setups    seconds from the connect to the end of the TLS handshake, of each
    uploads   seconds from the connect to the answer, of each
    lags      seconds that each began later than it was due
    errors    how often, by sentence
    open      tunnels just now
    """

    setups: list[float]
    uploads: list[float]
    lags: list[float]
    errors: collections.Counter[str]
    open: int


def place_of(number: int) -> str:
    """A loopback address for an agent: a gateway counts and bounds clients by their address."""
    return f"127.{64 + number // 62_500 % 64}.{number // 250 % 250}.{number % 250 + 1}"


def why(error: BaseException) -> str:
    """What ended an upload, as a sentence that is the same for all that ended so."""
    number = getattr(error, "errno", None)
    if isinstance(error, Refused):
        return str(error)
    if isinstance(error, TooSlow):
        return f"there was {error}"
    if isinstance(error, ssl.SSLError):
        is_alert = str(error.reason).startswith(("TLSV1", "SSLV3"))
        return f"the TLS handshake {'was rejected' if is_alert else 'failed'}: {error.reason or error}"
    if number in NO_DESCRIPTORS:
        return "the load has no descriptor left"
    if number == errno.EADDRNOTAVAIL:
        return "no local port is left to connect from"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens at the gateway's place any more"
    if number is None:
        return "the connection was closed before its end"
    return f"the connection failed: {os.strerror(number).lower()}"


class Fleet:
    """Agents first, first + step, first + 2 * step ... of `count`; the uploads of all are spread over the period."""

    def __init__(self, loop: Loop, work: Work, count: int, first: int, step: int) -> None:
        self._loop, self._work = loop, work
        self._count, self._next, self._step = count, first, step
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # Who the server is does not matter here: the load goes where it was told to.
        self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE
        lengths = f"Content-Length: {work.size}\r\nConnection: close\r\n\r\n"
        head = f"POST /upload HTTP/1.1\r\nHost: {work.way.target}\r\n{lengths}"
        self._upload = memoryview(head.encode() + os.urandom(min(work.size, 1 << 20)) * (work.size // (1 << 20) + 1))
        self._upload = self._upload[: len(head) + work.size]
        self._busy: set[int] = set()
        self._began = 0.0
        self._seen = self._nothing()

    def begin(self, moment: float) -> None:
        """The first upload of agent 0 is due then."""
        self._began = moment

    def begin_all_due(self) -> float:
        """Begin the uploads that are due; how many seconds there are until the next one."""
        now = time.monotonic()
        while (left := self._due() - now) <= 0:
            self._seen.lags.append(-left)
            self._begin(self._next % self._count)
            self._next += self._step
        return left

    def tell(self) -> Seen:
        """What was seen since the last time."""
        seen, self._seen = self._seen._replace(open=len(self._loop)), self._nothing()
        return seen

    def _due(self) -> float:
        return self._began + self._next * self._work.period / self._count

    @staticmethod
    def _nothing() -> Seen:
        return Seen([], [], [], collections.Counter(), 0)

    def _begin(self, agent: int) -> None:
        if agent in self._busy:
            self._seen.errors["an agent was still busy when its next upload was due"] += 1
            return
        try:
            sock = new_socket(self._work.way)
        except OSError as error:
            self._seen.errors[why(error)] += 1
            return
        self._busy.add(agent)
        self._loop.run(sock, self._run(sock, agent))

    def _run(self, sock: socket.socket, agent: int) -> Steps:
        try:
            with sock:
                yield from self._deliver(sock, agent)
        except (OSError, Refused) as error:
            self._seen.errors[why(error)] += 1
        finally:
            self._busy.discard(agent)

    def _deliver(self, sock: socket.socket, agent: int) -> Steps:
        work, began = self._work, time.monotonic()
        connect(sock, work.way, place_of(agent) if work.own_place else "")
        rest = yield from open_tunnel(sock, work.way)
        session = Session(sock, self._context, work.name)
        yield from session.handshake(rest)
        self._seen.setups.append(time.monotonic() - began)
        yield from session.send(self._upload)
        if not (yield from session.receive(_plain)):
            raise ConnectionError
        self._seen.uploads.append(time.monotonic() - began)
