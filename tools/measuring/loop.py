"""One thread, many sockets: a generator for each connection, which yields where it has to wait for its socket."""

import errno
import select
import time
from collections.abc import Callable, Generator
from socket import socket

Steps = Generator[None, None, None]

# One registration for both directions: a connection costs one call of epoll_ctl, and a step that was woken for nothing
# yields again.
EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


class TooSlow(OSError):
    """Thrown into steps that have not ended in time."""


class Loop:
    """Runs steps until they end. Errors are theirs to catch, and sockets theirs to close."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._running: dict[int, tuple[Steps, float]] = {}  # by descriptor: the steps, and since when
        self._doors: dict[int, Callable[[], None]] = {}

    def __len__(self) -> int:
        return len(self._running)

    def call_when_readable(self, descriptor: int, call: Callable[[], None]) -> None:
        """For listeners and pipes; it is called again for as long as there is more to read."""
        self._poll.register(descriptor, select.EPOLLIN)
        self._doors[descriptor] = call

    def run(self, sock: socket, steps: Steps) -> None:
        """Run the steps of this socket, up to where they wait; the rest comes in turns."""
        number = sock.fileno()
        self._poll.register(number, EVENTS)
        self._running[number] = steps, time.monotonic()
        self._step(number, steps)

    def turn(self, seconds: float) -> None:
        """Wait so long at the most, and let all that have news go on."""
        for number, _events in self._poll.poll(max(seconds, 0.0)):
            if number in self._running:
                self._step(number, self._running[number][0])
            elif number in self._doors:
                self._doors[number]()

    def end_older(self, seconds: float) -> None:
        """Throw TooSlow into all steps that run for longer."""
        before = time.monotonic() - seconds
        for number in [number for number, (_steps, since) in self._running.items() if since < before]:
            self._throw(number, TooSlow(f"no end after {seconds:g} s"))

    def close(self) -> None:
        """End all steps where they are."""
        for steps, _since in self._running.values():
            steps.close()
        self._running.clear()
        self._poll.close()

    def _step(self, number: int, steps: Steps) -> None:
        try:
            next(steps)
        except StopIteration:
            # Its socket is closed; the next one may have the same number, but only after this line.
            del self._running[number]

    def _throw(self, number: int, error: OSError) -> None:
        try:
            self._running[number][0].throw(error)
        except StopIteration:
            del self._running[number]
