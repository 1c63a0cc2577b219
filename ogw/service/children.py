"""The processes that the supervisor starts, and starts again when they die: the workers and the admin process."""

import faulthandler
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import NoReturn, Optional

from setproctitle import setproctitle

from ogw.report.metrics import PROCESS
from ogw.service.child import TELL_STACKS, Aside, Child, send_signal
from ogw.service.control import Channel, pair
from ogw.service.messages import Order, Saying, packed, saying_of

LONGEST_WAIT = 3600.0  # seconds of one wait: epoll takes no more than 2^31 ms; whoever wants to wait longer asks again


class Children:
    """Starts them, hears and tells them, and notices their deaths.

    selector      watches their channels; its data are functions that are called with what happened (`wait`)
    leave_behind  what a child does first: it closes what is the supervisor's
    heard         a child said something
    died          a child died: (child, its process id, whether it ever was ready)
    tried         a child's start failed, or, None, did not any more: (child, error)
    failed        in a child, which is called so, and ends by this error
    """

    def __init__(
        self,
        workers: Sequence[Child],
        admin: Child,
        selector: selectors.BaseSelector,
        leave_behind: Callable[[], None],
        heard: Callable[[Child, Saying], None],
        died: Callable[[Child, int, bool], None],
        tried: Callable[[Child, Optional[BaseException]], None],
        failed: Callable[[str, BaseException], None],
    ) -> None:
        self.workers = list(workers)
        self.admin = admin
        self.all = [*workers, admin]
        self._selector = selector
        self._leave_behind = leave_behind
        self._heard = heard
        self._tell_died = died
        self._tell_tried = tried
        self._failed = failed
        self._asides: dict[int, Aside] = {}  # that are not over, by process id
        self._open: list[Aside] = []
        self.replaces = True  # those that die

    def start_due(self, now: float) -> None:
        for child in self.all:
            if self.replaces and child.is_due(now):
                self._start(child)

    def next_start(self) -> list[float]:
        return [child.start_at for child in self.all if self.replaces and not child.alive]

    def wait(self, seconds: float) -> None:
        """Until something happens on a watched socket, and what it says is done; or the time is over, or an hour is."""
        for key, mask in self._selector.select(min(seconds, LONGEST_WAIT)):
            key.data(mask)

    def reap(self) -> None:
        """All that ended, strangers among them: process 1 of a container inherits every orphan of it."""
        try:
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                self._ended(pid)
        except ChildProcessError:
            for pid in [child.pid for child in self.all if child.alive] + list(self._asides):
                self._ended(pid)  # there are none any more, whoever was told of their end

    def end(self, child: Child) -> None:
        """Kill it. Its death is noticed by `reap`: it may take its time, where it waits for a disk.

        SIGKILL, since a child ignores the signals that ask (they reach the whole group), and one that hangs hears none.
        """
        if child.alive:
            send_signal(child.pid, signal.SIGKILL)

    def wait_for_end(self, seconds: float) -> None:
        """Until all are dead, but only so long."""
        until = time.monotonic() + seconds
        while any(child.alive for child in self.all) and (left := until - time.monotonic()) > 0:
            self.wait(left)
            self.reap()

    def tell(self, child: Child, order: Order) -> None:
        """Give it an order; one that is dead is noticed. Raises MessageTooLarge."""
        if child.channel is None:
            return
        try:
            child.channel.send(packed(order))
            self._watch(child, child.channel)
        except OSError:
            self._lose(child)

    def tell_workers(self, order: Order) -> None:
        for worker in self.workers:
            self.tell(worker, order)

    def start_aside(self, name: str, body: Callable[[int], None]) -> Aside:
        """A child that does one thing and ends, and is nobody's place. Raises OSError where there can be none.

        body  is called with the writing end of the pipe
        """
        reading, writing = os.pipe()

        def run() -> int:
            self._close_what_is_not_of(None)
            os.close(reading)
            body(writing)
            return 0

        try:
            pid = os.fork()
        except BaseException:
            os.close(reading)
            raise
        else:
            if not pid:
                _live(name, run, self._failed)
        finally:
            os.close(writing)
        aside = self._asides[pid] = Aside(pid, reading)
        self._open = [one for one in (*self._open, aside) if one.is_open]
        return aside

    def _start(self, child: Child) -> None:
        try:
            self._fork(child)
        except (OSError, MemoryError) as error:
            child.not_started()
            self._tell_tried(child, error)
            return
        if child.tries:
            self._tell_tried(child, None)
            child.tries = 0

    def _fork(self, child: Child) -> None:
        """Raises OSError or MemoryError; then there is no child, and nothing is left of the try."""
        with ExitStack() as undo:
            ours, theirs = pair()
            undo.callback(ours.close)
            undo.callback(theirs.close)
            reading, writing = os.pipe()
            undo.callback(os.close, reading)
            undo.callback(os.close, writing)
            self._selector.register(ours.sock, selectors.EVENT_READ, partial(self._happened, child))
            undo.callback(self._selector.unregister, ours.sock)

            def run() -> int:
                self._close_what_is_not_of(child)
                ours.close()
                os.close(reading)
                os.set_blocking(writing, False)  # nobody reads it before the end
                faulthandler.register(TELL_STACKS, writing)
                return child.body(child, theirs)

            pid = os.fork()
            if not pid:
                _live(child.name, run, self._failed)
            undo.pop_all()
        theirs.close()
        os.close(writing)
        os.set_blocking(reading, False)
        child.started(pid, ours, reading)
        if child.row is not None:
            child.row.cells[PROCESS] = pid

    def _close_what_is_not_of(self, own: Optional[Child]) -> None:
        """In the child. Clients would hang in a queue that a process holds open and nobody serves."""
        self._selector.close()
        for child in self.all:
            if child is not own:
                for sock in child.sockets:
                    sock.close()
            if child.channel is not None:
                child.channel.close()
            child.close_stacks()
        for aside in self._open:
            aside.close()
        self._leave_behind()

    def _happened(self, child: Child, mask: int) -> None:
        if mask & selectors.EVENT_WRITE and child.channel is not None:
            try:
                child.channel.flush()
                self._watch(child, child.channel)
            except OSError:
                self._lose(child)
        if mask & selectors.EVENT_READ:
            self._hear(child)

    def _hear(self, child: Child) -> None:
        if child.channel is None:
            return
        try:
            for fields in child.channel.receive():
                self._heard(child, saying_of(fields))
        except (EOFError, OSError, ValueError, MemoryError):
            self._lose(child)

    def _lose(self, child: Child) -> None:
        """Its channel ended. It is dead, or as good as: the child that is gone is reaped, one that lives on is not."""
        self._hang_up(child)
        # Killed, although it may live: it takes us for dead and is about to close its door, and while it lives nobody
        # else is started in its place. To ask it to leave there is no channel any more. In a drain nobody is to follow:
        # it may finish.
        if self.replaces:
            self.end(child)

    def _hang_up(self, child: Child) -> None:
        if child.channel is not None:
            with suppress(KeyError, ValueError):  # a change of what is watched that failed leaves it unwatched
                self._selector.unregister(child.channel.sock)
            child.channel.close()
            child.channel = None

    def _watch(self, child: Child, channel: Channel) -> None:
        """Raises OSError."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if channel.wants_write else 0)
        if self._selector.get_key(channel.sock).events != events:
            self._selector.modify(channel.sock, events, partial(self._happened, child))

    def _ended(self, pid: int) -> None:
        if pid in self._asides:
            self._asides.pop(pid).is_over = True
        for child in self.all:
            if child.pid == pid:
                self._died(child)

    def _died(self, child: Child) -> None:
        pid, was_ready = child.pid, child.ready
        child.died()
        # Once more, to the end of its channel: what a process said outlives it, and its end may be seen before its last
        # words are read. They say how many tunnels it cut; or, of one that died at once, that it was ready.
        self._hear(child)
        child.ready = False
        self._hang_up(child)
        child.close_stacks()
        self._tell_died(child, pid, was_ready)


def _live(name: str, run: Callable[[], int], failed: Callable[[str, BaseException], None]) -> NoReturn:
    """The whole life of a child: it never returns into what the supervisor was doing."""
    code = 70
    try:
        try:
            setproctitle(f"ogw: {name}")
            code = run()
        except SystemExit as leave:
            code = leave.code if isinstance(leave.code, int) else code
        except BaseException as error:
            failed(name, error)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
    finally:
        os._exit(code)
