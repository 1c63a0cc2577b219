"""A child of the supervisor: a place for one process with what outlives it; and one that does one thing and ends."""

import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Optional

from ogw.report.table import Row
from ogw.service.control import Channel

FEW_DEATHS, DEATHS_SECONDS = 3, 10.0  # the back-off begins with so many deaths in so many seconds
FIRST_DELAY, LONGEST_DELAY = 0.5, 10.0  # seconds
FORSAKEN_SECONDS = 2.0  # what a dead process' clients wait in its queue for the next one
TELL_STACKS = signal.SIGRTMIN  # which nobody sends to a whole group, as SIGUSR2 for an upgrade
MOST_STACKS = 1 << 16  # bytes; a pipe holds as many

Body = Callable[["Child", Channel], int]  # what a child does, given its end of the control channel; its exit code


class Child:
    """A place for one process: its listening sockets outlive it, and so does its row of the table.

    row         None for the admin process, which counts nothing
    unanswered  asks for a sign of life since the last one that it gave; those that count (service/signs.py)
    hung        it was given up, and what it did then, as far as it told: a traceback of each thread; None: it was not
    tries       starts in a row that failed
    """

    def __init__(self, name: str, body: Body, sockets: Sequence[socket.socket], row: Optional[Row] = None) -> None:
        self.name = name
        self.body = body
        self.sockets = list(sockets)
        self.row = row
        self.pid = 0
        self.channel: Optional[Channel] = None
        self.ready = False
        self.unanswered = 0
        self.hung: Optional[str] = None
        self.start_at = 0.0
        self.delay = 0.0
        self.tries = 0
        self.has_died = False
        self._served = 0.0  # until then, by the monotonic clock
        self._deaths: deque[float] = deque(maxlen=FEW_DEATHS)
        self._stacks = -1  # the pipe that it writes them to

    @property
    def alive(self) -> bool:
        return self.pid != 0

    @property
    def waits(self) -> bool:
        """It died, and its replacement does not serve at once."""
        late = time.monotonic() >= self._served + FORSAKEN_SECONDS
        return self.has_died and not self.ready and (self.delay > 0 or self.tries > 0 or late)

    @property
    def answers(self) -> bool:
        return self.ready and self.unanswered <= 1

    def is_forsaken(self, now: float) -> bool:
        """Nobody serves its clients, and nobody will in a moment."""
        return not self.alive and self.has_died and (self.tries > 0 or now >= self._served + FORSAKEN_SECONDS)

    def close_queue(self) -> None:
        """Who waits in it is reset and comes again, new ones come to the others; the next process opens it anew."""
        for sock in self.sockets:
            # Not twice: the second time would mark all that are accepted later as shut down, too.
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                sock.shutdown(socket.SHUT_RDWR)

    def is_due(self, now: float) -> bool:
        """It is to be started."""
        return not self.alive and now >= self.start_at

    def started(self, pid: int, channel: Channel, stacks: int) -> None:
        self.pid, self.channel, self._stacks = pid, channel, stacks
        self.ready, self.unanswered, self.hung = False, 0, None

    def not_started(self) -> None:
        self.tries += 1
        self.start_at = time.monotonic() + min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(self.tries - 1, 10))

    def died(self) -> None:
        """Its process is gone; when the next one is to be started. The number may be somebody else's from now on."""
        now = time.monotonic()
        if self.ready:
            self._served = now
        self.pid = 0
        self.ready = False
        self.has_died = True
        self._deaths.append(now)
        often = len(self._deaths) == FEW_DEATHS and now - self._deaths[0] < DEATHS_SECONDS
        self.delay = min(LONGEST_DELAY, self.delay * 2 or FIRST_DELAY) if often else 0.0
        self.start_at = now + self.delay

    def ask_for_stacks(self) -> None:
        """One that is stopped does not hear it, one that is busy does."""
        send_signal(self.pid, TELL_STACKS)

    def read_stacks(self) -> str:
        """What it told, "" for nothing."""
        with suppress(OSError):
            return os.read(self._stacks, MOST_STACKS).decode(errors="replace")
        return ""

    def close_stacks(self) -> None:
        if self._stacks >= 0:
            os.close(self._stacks)
            self._stacks = -1


class Aside:
    """A child that does one thing, says its result through a pipe, and ends.

    is_over  it has ended
    """

    def __init__(self, pid: int, pipe: int) -> None:
        self._pid = pid
        self._pipe = pipe
        self.is_over = False

    @property
    def is_open(self) -> bool:
        return self._pipe >= 0

    def read_result(self, most: int) -> bytes:
        """What it said, at most so many bytes, once it is over."""
        with open(self._pipe, "rb") as pipe:
            self._pipe = -1
            return pipe.read(most)

    def kill(self) -> None:
        """What it would have said does not matter any more. It may take its time, where it waits for a disk."""
        if not self.is_over:
            send_signal(self._pid, signal.SIGKILL)
        self.close()

    def close(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1


def send_signal(pid: int, number: int) -> None:
    """To a process that may be gone; then to nobody."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
