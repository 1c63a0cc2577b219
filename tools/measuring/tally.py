"""What a load has done so far, and what it has cost."""

import collections
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from measuring.fleet import Seen
from measuring.machine import busy, cpu_of, memory_of

Pids = Callable[[], Iterable[int]]


class Cost(NamedTuple):
    """Cores that each process of a kind has used, on average, and the memory of them all in bytes."""

    cores: list[float]
    memory: int

    @property
    def sum(self) -> float:
        return sum(self.cores)

    @property
    def most(self) -> float:
        """That of the busiest."""
        return max(self.cores, default=0.0)


class Outcome(NamedTuple):
    """What agents saw over some seconds, and what it cost; `costs` by kind of process, `busy` are cores of all."""

    seconds: float
    setups: list[float]
    uploads: list[float]
    lags: list[float]
    errors: "collections.Counter[str]"
    open: int
    costs: dict[str, Cost]
    busy: float


class Tally:
    """Adds up from its making on.

    kinds  of processes: which they are is asked again and again, since a worker may be replaced
    """

    def __init__(self, kinds: dict[str, Pids]) -> None:
        self._kinds = kinds
        self._began = time.monotonic()
        self._used = {kind: cpu_of(pids()) for kind, pids in kinds.items()}
        self._busy = busy()
        self._setups: list[float] = []
        self._uploads: list[float] = []
        self._lags: list[float] = []
        self._errors: collections.Counter[str] = collections.Counter()
        self._open: dict[int, int] = {}

    def add(self, fleet: int, seen: Seen) -> None:
        """What a fleet tells."""
        self._setups += seen.setups
        self._uploads += seen.uploads
        self._lags += seen.lags
        self._errors.update(seen.errors)
        self._open[fleet] = seen.open

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def outcome(self, memory: bool = True) -> Outcome:
        """All of it until now; memory, which takes a while to ask for, only if wanted."""
        seconds = self.seconds
        return Outcome(
            seconds,
            sorted(self._setups),
            sorted(self._uploads),
            sorted(self._lags),
            self._errors.copy(),
            sum(self._open.values()),
            {kind: self._cost(kind, seconds, memory) for kind in self._kinds},
            (busy() - self._busy) / seconds,
        )

    def _cost(self, kind: str, seconds: float, memory: bool) -> Cost:
        pids = list(self._kinds[kind]())
        before = self._used[kind]
        used = [(now - before.get(pid, 0.0)) / seconds for pid, now in cpu_of(pids).items()]
        return Cost(used, memory_of(pids) if memory else 0)


def percentile(ordered: list[float], share: float) -> float:
    """The value that this share of them is not above; 0 where there is none."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0
