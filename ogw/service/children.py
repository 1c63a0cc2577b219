"""The processes that the supervisor starts, and starts again when they die: the workers and the admin process."""

import os
import selectors
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn, Optional

from setproctitle import setproctitle

from ogw.report.metrics import PROCESS
from ogw.report.table import Row
from ogw.service.control import Channel, Message, pair

FEW_DEATHS, DEATHS_SECONDS = 3, 10.0  # the back-off begins with so many deaths in so many seconds
FIRST_DELAY, LONGEST_DELAY = 0.5, 10.0  # seconds
LONGEST_WAIT = 3600.0  # seconds of one wait: epoll takes no more than 2^31 ms; whoever wants to wait longer asks again

Body = Callable[["Child", Channel], int]  # what a child does, given its end of the control channel; its exit code


class Child:
    """A place for one process: its listening sockets outlive it, and so does its row of the table.

    row   None for the admin process, which counts nothing
    """

    def __init__(self, name: str, body: Body, sockets: Sequence[socket.socket], row: Optional[Row] = None) -> None:
        self.name = name
        self.body = body
        self.sockets = list(sockets)
        self.row = row
        self.pid = 0
        self.channel: Optional[Channel] = None
        self.ready = False
        self.pinged = 0.0  # when it was asked for a sign of life that has not come yet
        self.start_at = 0.0
        self.delay = 0.0
        self.has_died = False
        self._deaths: deque[float] = deque(maxlen=FEW_DEATHS)

    @property
    def alive(self) -> bool:
        return self.pid != 0

    def is_due(self, now: float) -> bool:
        """It is to be started."""
        return not self.alive and now >= self.start_at

    def started(self, pid: int, channel: Channel) -> None:
        self.pid, self.channel, self.ready, self.pinged = pid, channel, False, 0.0

    def died(self) -> None:
        """Its process is gone; when the next one is to be started. The number may be somebody else's from now on."""
        self.pid = 0
        self.ready = False
        self.has_died = True
        now = time.monotonic()
        self._deaths.append(now)
        often = len(self._deaths) == FEW_DEATHS and now - self._deaths[0] < DEATHS_SECONDS
        self.delay = min(LONGEST_DELAY, self.delay * 2 or FIRST_DELAY) if often else 0.0
        self.start_at = now + self.delay

    def is_gone(self) -> bool:
        """Whether its process has ended."""
        return self.alive and bool(os.waitpid(self.pid, os.WNOHANG)[0])


class Children:
    """Starts them, hears and tells them, and notices their deaths.

    selector      watches their channels; its data are functions that are called with what happened (`wait`)
    leave_behind  what a child does first: it closes what is the supervisor's
    heard         a child said something
    died          a child died: (child, its process id, whether it ever was ready)
    """

    def __init__(
        self,
        workers: Sequence[Child],
        admin: Child,
        selector: selectors.BaseSelector,
        leave_behind: Callable[[], None],
        heard: Callable[[Child, Message], None],
        died: Callable[[Child, int, bool], None],
    ) -> None:
        self.workers = list(workers)
        self.admin = admin
        self.all = [*workers, admin]
        self._selector = selector
        self._leave_behind = leave_behind
        self._heard = heard
        self._told_died = died
        self.replaces = True  # those that die

    def start_due(self, now: float) -> None:
        for child in self.all:
            if self.replaces and child.is_due(now):
                self._fork(child)

    def next_start(self) -> list[float]:
        return [child.start_at for child in self.all if self.replaces and not child.alive]

    def wait(self, seconds: float) -> None:
        """Until something happens on a watched socket, and what it says is done; or the time is over, or an hour is."""
        for key, mask in self._selector.select(min(seconds, LONGEST_WAIT)):
            key.data(mask)

    def reap(self) -> None:
        for child in self.all:
            if child.is_gone():
                self._died(child)

    def kill(self, child: Child) -> None:
        if child.alive:
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
            self._died(child)

    def tell(self, child: Child, message: Message) -> None:
        """Send it a message; one that is dead is noticed."""
        if child.channel is None:
            return
        try:
            child.channel.send(message)
        except OSError:
            self._lose(child)
        else:
            self._watch(child)

    def tell_workers(self, message: Message) -> None:
        for worker in self.workers:
            self.tell(worker, message)

    def start_aside(self, name: str, body: Callable[[int], None]) -> tuple[int, int]:
        """A child that does one thing and ends, and is nobody's place: its process id, and the pipe that it writes to.

        body  is called with the writing end

        Raises OSError.
        """
        reading, writing = os.pipe()
        try:
            pid = os.fork()
        except OSError:
            os.close(reading)
            os.close(writing)
            raise
        if not pid:

            def run() -> int:
                self._close_what_is_not_of(None)
                os.close(reading)
                body(writing)
                return 0

            _live(name, run)
        os.close(writing)
        return pid, reading

    def _fork(self, child: Child) -> None:
        ours, theirs = pair()
        pid = os.fork()
        if not pid:

            def run() -> int:
                self._close_what_is_not_of(child)
                ours.close()
                return child.body(child, theirs)

            _live(child.name, run)
        theirs.close()
        child.started(pid, ours)
        if child.row is not None:
            child.row.cells[PROCESS] = pid
        self._selector.register(ours.sock, selectors.EVENT_READ, partial(self._happened, child))

    def _close_what_is_not_of(self, own: Optional[Child]) -> None:
        """In the child. Clients would hang in a queue that a process holds open and nobody serves."""
        self._selector.close()
        for child in self.all:
            if child is not own:
                for sock in child.sockets:
                    sock.close()
            if child.channel is not None:
                child.channel.close()
        self._leave_behind()

    def _happened(self, child: Child, mask: int) -> None:
        if mask & selectors.EVENT_WRITE and child.channel is not None:
            try:
                child.channel.flush()
            except OSError:
                self._lose(child)
            else:
                self._watch(child)
        if mask & selectors.EVENT_READ:
            self._hear(child)

    def _hear(self, child: Child) -> None:
        if child.channel is None:
            return
        try:
            for message in child.channel.receive():
                self._heard(child, message)
        except (EOFError, OSError, ValueError):
            self._lose(child)

    def _lose(self, child: Child) -> None:
        """Its channel ended. It is dead, or as good as: the child that is gone is reaped, one that lives on is not."""
        self._hang_up(child)
        if child.alive and self.replaces:
            os.kill(child.pid, signal.SIGKILL)

    def _hang_up(self, child: Child) -> None:
        if child.channel is not None:
            self._selector.unregister(child.channel.sock)
            child.channel.close()
            child.channel = None

    def _watch(self, child: Child) -> None:
        assert child.channel is not None
        more = selectors.EVENT_WRITE if child.channel.wants_write else 0
        self._selector.modify(child.channel.sock, selectors.EVENT_READ | more, partial(self._happened, child))

    def _died(self, child: Child) -> None:
        pid, was_ready = child.pid, child.ready
        child.died()
        self._hear(child)  # what it said last
        child.ready = False
        self._hang_up(child)
        self._told_died(child, pid, was_ready)


def _live(name: str, run: Callable[[], int]) -> NoReturn:
    """The whole life of a child: it never returns into what the supervisor was doing."""
    code = 70
    try:
        setproctitle(f"ogw: {name}")
        code = run()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
