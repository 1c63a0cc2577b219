"""The kinds of work that gateways are compared by, and what each costs a gateway."""

import ssl
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from measuring.fleet import why
from measuring.loop import Loop, Steps
from measuring.machine import cpu_of, memory_of
from measuring.origin import PORTION
from measuring.program import Failed
from measuring.session import Leg, Session, receive, send
from measuring.tally import Pids
from measuring.tunnel import Refused, Way, connect, new_socket, open_tunnel

AT_ONCE = 20  # set-ups
TALKING = 50  # tunnels of the round trips
MESSAGE = b"\x17\x03\x03\x01\xfb" + bytes(507)  # as long as a small answer
STREAMS = 4
IDLE = 2000
WARM_UP = 0.3  # seconds
SETTLE, CALM = 10.0, 0.3  # seconds: at the most, and those in which nothing happens
STALLED = 60.0  # seconds in which nothing is opened any more


class Subject(NamedTuple):
    """What is measured: the way to each service of the origin through it, and its processes."""

    ways: dict[str, Way]
    pids: Pids

    @property
    def cpu(self) -> float:
        return sum(cpu_of(self.pids()).values())

    @property
    def memory(self) -> int:
        return memory_of(self.pids())


class _Tunnels:
    """So many tunnels to a service, each doing the same, until it is closed; `count` is what they got done."""

    def __init__(self, way: Way, number: int) -> None:
        self._way, self._number = way, number
        self._loop = Loop()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE
        self.count = 0
        self.open = 0

    def turn(self, use: Callable[[Any], Steps], most: int = AT_ONCE) -> None:
        """Begin new ones, as long as fewer than `most` are being opened, and let all go on for a moment."""
        while len(self._loop) < self._number and len(self._loop) - self.open < most:
            sock = new_socket(self._way)
            self._loop.run(sock, self._steps(sock, use))
        self._loop.turn(0.05)

    def close(self) -> None:
        self._loop.close()

    def _steps(self, sock: Any, use: Callable[[Any], Steps]) -> Steps:
        with sock:
            connect(sock, self._way)
            leg: Any = sock
            if self._way.tls:
                leg = Leg(sock, self._context)
                yield from leg.handshake()
            rest = yield from open_tunnel(leg, self._way)
            yield from Session(leg, self._context).handshake(rest)
            self.open += 1
            try:
                yield from use(leg)
            finally:
                self.open -= 1

    # What they do when they are open.

    def end(self, sock: Any) -> Steps:
        self.count += 1
        return
        yield

    def talk(self, sock: Any) -> Steps:
        while True:
            yield from send(sock, MESSAGE)
            left = len(MESSAGE)
            while left:
                left -= len((yield from receive(sock)))
            self.count += 1

    def upload(self, sock: Any) -> Steps:
        while True:
            yield from send(sock, PORTION)
            yield from receive(sock)
            self.count += len(PORTION)

    def download(self, sock: Any) -> Steps:
        while True:
            yield from send(sock, b"1")
            left = len(PORTION)
            while left:
                size = len((yield from receive(sock)))
                left -= size
                self.count += size

    def rest(self, sock: Any) -> Steps:
        yield from receive(sock)
        raise ConnectionError


def _cost(subject: Subject, service: str, number: int, use: str, seconds: float) -> float:
    """Seconds of CPU for each thing done, once all tunnels are open."""
    tunnels = _Tunnels(subject.ways[service], number)
    steps = getattr(tunnels, use)
    try:
        _open_all(tunnels, steps, number if use != "end" else 0)
        _run(tunnels, steps, WARM_UP)
        before, count = subject.cpu, tunnels.count
        until = time.monotonic() + STALLED
        _run(tunnels, steps, seconds)
        while tunnels.count == count and time.monotonic() < until:  # a short time on a busy machine
            _run(tunnels, steps, seconds)
        if tunnels.count == count:
            raise Failed(f"nothing came through in {STALLED:g} s")
        return (subject.cpu - before) / (tunnels.count - count)
    except (OSError, Refused) as error:
        raise Failed(why(error)) from None
    finally:
        tunnels.close()


def _open_all(tunnels: _Tunnels, steps: Callable[[Any], Steps], number: int) -> None:
    until = time.monotonic() + STALLED
    while tunnels.open < number:
        tunnels.turn(steps)
        if time.monotonic() > until:
            raise Failed(f"only {tunnels.open:,} of {number:,} tunnels were open after {STALLED:g} s")


def _run(tunnels: _Tunnels, steps: Callable[[Any], Steps], seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        tunnels.turn(steps)


def settle(subject: Subject) -> None:
    """Wait until it does nothing any more: no work is to pay for what came before it."""
    until = time.monotonic() + SETTLE
    before = -1.0
    while before != (before := subject.cpu) and time.monotonic() < until:
        time.sleep(CALM)


def idle(subject: Subject, seconds: float) -> float:
    """KiB for each tunnel that is open and silent."""
    before = subject.memory
    tunnels = _Tunnels(subject.ways["echo"], IDLE)
    try:
        _open_all(tunnels, tunnels.rest, IDLE)
        _run(tunnels, tunnels.rest, WARM_UP)
        return (subject.memory - before) / IDLE / 1024
    except (OSError, Refused) as error:
        raise Failed(why(error)) from None
    finally:
        tunnels.close()


class Kind(NamedTuple):
    """A kind of work.

    name     of the figure
    unit     of it
    measure  (subject, seconds to measure for) to the figure
    """

    name: str
    unit: str
    measure: Callable[[Subject, float], float]


def _microseconds(service: str, number: int, use: str) -> Callable[[Subject, float], float]:
    return lambda subject, seconds: _cost(subject, service, number, use, seconds) * 1e6


def _per_gib(service: str, use: str) -> Callable[[Subject, float], float]:
    return lambda subject, seconds: _cost(subject, service, STREAMS, use, seconds) * (1 << 30)


# Memory comes first: later there is some that was used before.
KINDS = (
    Kind("memory of an idle tunnel", "KiB", idle),
    Kind("CPU of a set-up and its end", "µs", _microseconds("echo", AT_ONCE, "end")),
    Kind(f"CPU of {len(MESSAGE)} bytes there and back", "µs", _microseconds("echo", TALKING, "talk")),
    Kind("CPU of a GiB up", "s", _per_gib("sink", "upload")),
    Kind("CPU of a GiB down", "s", _per_gib("source", "download")),
)
