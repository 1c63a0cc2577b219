"""Whether the gateway is ready and alive, in cells that health and readiness are read from; and systemd's watchdog."""

import time
from collections.abc import Callable
from typing import Any

from ogw.report.metrics import ALIVE, READY_WORKERS, SILENT_WORKERS, STARTED
from ogw.service.children import Children
from ogw.service.notify import notify, watchdog_seconds
from ogw.service.signs import silent

ALIVE_SECONDS = 5.0  # between the supervisor's own signs of life, for whoever asks about health


class Readiness:
    """Call `work` at the times of `next_times`.

    state       cells of the whole gateway
    say_started called when all are there for the first time
    has_begun   they were
    """

    def __init__(self, children: Children, state: Any, say_started: Callable[[], None]) -> None:
        self._children = children
        self._state = state
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
