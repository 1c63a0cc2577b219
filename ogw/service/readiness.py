"""Whether the gateway is ready and alive, in cells that health and readiness are read from; and systemd's watchdog."""

import time
from collections.abc import Callable
from typing import Any, Union

from ogw.report.events import Event
from ogw.report.log import Log
from ogw.report.metrics import (
    ALIVE,
    DRAINING,
    READY_WORKERS,
    SERVES_UNTIL,
    SILENT_WORKERS,
    STARTED,
    TAKEN_OUT,
    TOLD_READY,
)
from ogw.report.table import Table
from ogw.service.admin import readyz
from ogw.service.children import Children
from ogw.service.handover.generations import DRAINS
from ogw.service.handover.retirement import UPGRADED
from ogw.service.messages import TakeBack, TakeOut
from ogw.service.notify import notify, watchdog_seconds
from ogw.service.signs import silent
from ogw.settings.settings import Config

OUT = "taken out by ogw ready --off: readiness says no, and clients that come are served as before"
BACK = "taken back by ogw ready --on: clients may be sent here"
# drain-delay = auto. In Kubernetes a stop without it refused 8 of 566 clients, with 5 s none; balancers that ask every
# second or two move away within them; and with drain-timeout they are below the 30 s after which Kubernetes kills.
ASKED_SECONDS = 30.0  # whoever asks whether the gateway is ready asks again within that
SEEN_SECONDS = 5.0  # that it takes until he has seen that it is not, and sends nobody any more
ALIVE_SECONDS = 5.0  # between the supervisor's own signs of life, for whoever asks about health


class Readiness:
    """Call `work` at the times of `next_times`.

    table       its cells of the whole gateway are written here
    log         told of who took it out, and back
    say_started called when all are there for the first time
    has_begun   they were
    """

    def __init__(self, children: Children, table: Table, log: Log, say_started: Callable[[], None]) -> None:
        self._children = children
        self._table = table
        self._state = state = table.gateway.cells
        self._log = log
        self._say_started = say_started
        self._watchdog = watchdog_seconds()
        self._next_sign = 0.0
        self.has_begun = False
        state[ALIVE] = int(time.monotonic())

    def next_times(self, now: float) -> list[float]:
        return [now + ALIVE_SECONDS, *([self._next_sign] if self._watchdog else [])]

    def work(self, now: float, closes_queues: bool) -> None:
        """
        closes_queues  of workers that are gone for long, where others serve
        """
        self._see_who_is_ready()
        if closes_queues and self._state[READY_WORKERS]:
            for worker in self._children.workers:
                if worker.is_forsaken(now):
                    worker.close_queue()
        self._give_signs_of_life(now)

    def take(self, order: Union[TakeOut, TakeBack], hands_over: bool, drains: bool) -> dict[str, Any]:
        """Out, so that it is not ready whatever else is true, or back; the answer to that.

        It ends with the gateway: a successor goes on with it, a start does not. What a start does follows from the
        configuration alone, where one looks for the reason.
        """
        is_out = isinstance(order, TakeOut)
        why = UPGRADED if hands_over else DRAINS if drains else ""
        since = TAKEN_OUT.unix(self._state)
        if not why and bool(since) != is_out:
            if is_out:
                TAKEN_OUT.mark(self._state)
            else:
                TAKEN_OUT.clear(self._state)
            self._log.event(Event.INFORMATION, OUT if is_out else BACK, by=order.by or None)
        return {"why": why, "since": since}

    def delay(self, config: Config) -> float:
        """Seconds at the beginning of a drain in which it serves as usual, and only readiness says no (drain-delay).

        With auto they are for whoever was told not long ago that it is ready. It may be nobody: then no stop takes
        longer.
        """
        if config.drain_delay is not None:
            return config.drain_delay
        told = max(self._table.each(TOLD_READY))
        if not told or time.monotonic() - told > ASKED_SECONDS:
            return 0.0
        return max(0.0, SEEN_SECONDS - TAKEN_OUT.seconds_ago(self._state))

    def begin_drain(self, delay: float) -> None:
        """It is not ready any more, for whoever asks; who comes within the delay (seconds) is served all the same."""
        self._state[SERVES_UNTIL] = int((time.monotonic() + delay) * 1000) if delay else 0
        self._state[DRAINING] = 1

    def end_delay(self) -> None:
        """Nobody who comes is served any more."""
        self._state[SERVES_UNTIL] = 0

    @property
    def serves_on(self) -> float:
        """Seconds that are left of the delay; 0 where it does not drain."""
        return readyz.serves_on(self._state)

    def _see_who_is_ready(self) -> None:
        workers, admin_process = self._children.workers, self._children.admin
        self._state[READY_WORKERS] = sum(worker.answers for worker in workers)
        self._state[SILENT_WORKERS] = silent(workers)
        admin_had_its_time = admin_process.ready or admin_process.has_died or admin_process.tries
        if not self.has_begun and self._state[READY_WORKERS] == len(workers) and admin_had_its_time:
            self.has_begun = True
            if not self._state[STARTED.cell]:  # a successor's gateway has been running for long
                STARTED.mark(self._state)
            self._say_started()

    def _give_signs_of_life(self, now: float) -> None:
        """The supervisor's own: for whoever asks about health, and for systemd's watchdog."""
        self._state[ALIVE] = int(now)
        if self._watchdog and now >= self._next_sign:
            self._next_sign = now + self._watchdog
            notify("WATCHDOG=1")
