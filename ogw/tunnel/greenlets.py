"""Greenlets that run one job after another.

A new greenlet costs the kernel two calls and some page faults for its stack of frames; for a short tunnel, which needs
two, that is a tenth of all its CPU.
"""

from collections.abc import Callable
from typing import Any

from gevent.hub import get_hub
from greenlet import getcurrent, greenlet

MOST_IDLE = 256


class Greenlets:
    """Hands jobs to idle greenlets, or to new ones where none is idle. It lives as long as its process."""

    def __init__(self, most_idle: int = MOST_IDLE) -> None:
        self._hub = get_hub()
        self._most_idle = most_idle
        self._idle: list[Any] = []

    @property
    def idle(self) -> int:
        return len(self._idle)

    def run(self, job: Callable[[Any], None], about: Any) -> None:
        """Start `job(about)` in a greenlet of its own; come back when it first waits. Call it in the hub only.

        An exception of the job ends its greenlet and is reported by the hub.
        """
        if self._idle:
            one = self._idle.pop()
        else:
            one = greenlet(self._work, self._hub)
            one.switch()  # what a greenlet is first switched to with, it holds on to until it is dead
        one.switch(job, about)

    def _work(self) -> None:
        me = getcurrent()
        while True:
            job, about = self._hub.switch()
            # Not `job(*all)`, which the interpreter calls by way of C: a greenlet that waits holds on to a copy of its
            # C stack, half a KiB more for each idle tunnel.
            job(about)
            if len(self._idle) >= self._most_idle:
                return
            job = about = None  # what is idle holds on to nothing
            self._idle.append(me)
