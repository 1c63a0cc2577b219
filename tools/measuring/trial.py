"""So many agents for some seconds, and what is told of them meanwhile."""

import shutil
import sys
import time
from multiprocessing.connection import Connection, wait
from typing import Optional

from measuring.crew import Crew
from measuring.program import Failed
from measuring.scene import Scene
from measuring.tally import Outcome, Tally, percentile
from measuring.verdict import AGENTS, GATEWAY, load_of

WARM_UP = 1.0  # seconds that are not counted
EVERY = 5.0  # seconds between two lines of progress where they are not on a terminal


class Progress:
    """One line that changes on a terminal; elsewhere a line now and then. Both on standard error."""

    def __init__(self) -> None:
        self._told = time.monotonic()
        self._terminal = sys.stderr.isatty()

    @property
    def due(self) -> bool:
        return self._terminal or time.monotonic() > self._told + EVERY

    def tell(self, line: str) -> None:
        self._told = time.monotonic()
        if self._terminal:
            line = f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}"
        print(line, end="" if self._terminal else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        """What is printed next stands on a line of its own."""
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


class Trial:
    """So many agents, for some seconds. `interrupted`: it was Ctrl-C that ended it."""

    def __init__(self, on: Scene, agents: int, processes: int) -> None:
        self._scene, self._agents, self._processes = on, agents, processes
        self._tally: Optional[Tally] = None
        self.interrupted = False

    def run(self, seconds: float, progress: Progress) -> Optional[Outcome]:
        """What was seen; nothing where it was interrupted before anything was."""
        with Crew() as crew:
            kinds = {**self._scene.kinds, AGENTS: lambda: crew.pids}
            pipes = crew.start_fleets(self._processes, self._scene.work, self._agents)
            try:
                self._listen(pipes, WARM_UP, [])
                self._tally, recent = Tally(kinds), Tally(kinds)
                while (left := seconds - self._tally.seconds) > 0:
                    self._listen(pipes, min(left, 0.5), [self._tally, recent])
                    if progress.due:
                        progress.tell(self._line(seconds, recent.outcome(memory=False)))
                        recent = Tally(kinds)
            except KeyboardInterrupt:
                self.interrupted = True
            progress.end()
            return None if self._tally is None else self._tally.outcome()

    def _listen(self, pipes: list[Connection], seconds: float, tallies: list[Tally]) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            ready = wait(pipes, left)
            for fleet, pipe in enumerate(pipes):
                if pipe not in ready:
                    continue
                try:
                    seen = pipe.recv()
                except EOFError:
                    raise Failed("a process of the load ended by itself; is this machine out of memory?") from None
                for tally in tallies:
                    tally.add(fleet, seen)

    def _line(self, seconds: float, recent: Outcome) -> str:
        assert self._tally is not None
        return (
            f"{self._agents:,} agents, {self._tally.seconds:.0f} of {seconds:.0f} s: "
            f"{len(recent.uploads) / recent.seconds:,.0f} uploads/s, {recent.open:,} open, "
            f"p99 {milliseconds(percentile(recent.uploads, 0.99))}, {sum(recent.errors.values()):,} errors, "
            f"cores: gateway {recent.costs[GATEWAY].sum:.2f}, load {load_of(recent):.2f}"
        )


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms" if seconds < 0.01 else f"{seconds * 1000:,.0f} ms"
