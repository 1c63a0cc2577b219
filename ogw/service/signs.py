"""Signs of life: every child is asked for one now and then, and one that hangs is given up.

A hung worker keeps its share of the clients waiting. Only asks count that were sent while the supervisor itself was on
time: where the whole machine stood still (a suspend, a stopped container), nobody could answer.
"""

import time
from collections.abc import Iterable

from ogw.service.child import Child
from ogw.service.children import Children
from ogw.service.messages import Ping

MOST_UNANSWERED = 3  # asks; within the time that a child is given, however badly they lie to the moment when it hung
STARTING = 10  # times as many while it starts: it does nothing else then, such as build a long list of rules
STACKS_SECONDS = 1.0  # what a hung child has at most to tell what it does, or to answer after all


class Signs:
    """Call `work` at the time that `next_time` says, and `came` when a child gave a sign.

    seconds  that a child may be silent
    """

    def __init__(self, children: Children, seconds: float) -> None:
        self._children = children
        self._given_up: dict[Child, float] = {}  # until when their stacks are waited for
        self._seconds = seconds
        self._next = 0.0

    def set_seconds(self, seconds: float) -> None:
        """From now on."""
        if seconds != self._seconds:
            self._seconds = seconds
            self._next = min(self._next, time.monotonic() + self._period)

    @property
    def seconds(self) -> float:
        return self._seconds

    @property
    def _period(self) -> float:
        return (self._seconds - self._for_stacks) / (MOST_UNANSWERED + 1)

    @property
    def _for_stacks(self) -> float:
        return min(STACKS_SECONDS, self._seconds / 10)

    def next_time(self) -> float:
        return min([self._next, *self._given_up.values()])

    def came(self, child: Child) -> None:
        """It lives."""
        child.unanswered = 0
        self._given_up.pop(child, None)

    def forget(self, child: Child) -> None:
        """It is dead."""
        self._given_up.pop(child, None)

    def work(self, now: float) -> None:
        """Ask, and give up whom it is time for. Call it when all that came was heard."""
        for child in [child for child, until in self._given_up.items() if now >= until]:
            del self._given_up[child]
            child.hung = child.read_stacks()
            self._children.end(child)
        if now < self._next:
            return
        is_late = now - self._next >= self._period
        self._next = now + self._period
        for child in self._children.all:
            if child.alive and child.hung is None and child not in self._given_up:
                self._ask(child, now, is_late)

    def _ask(self, child: Child, now: float, is_late: bool) -> None:
        if is_late:
            child.unanswered = 0
        if child.unanswered >= MOST_UNANSWERED * (1 if child.ready else STARTING):
            self._given_up[child] = now + self._for_stacks
            child.ask_for_stacks()
            return
        child.unanswered += 1
        self._children.tell(child, Ping())


def silent(children: Iterable[Child]) -> int:
    """How many do not answer, or are dead and not replaced at once: their share of the clients waits."""
    return sum(child.waits or (child.ready and not child.answers) for child in children)
