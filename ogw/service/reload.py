"""A reload: all workers build the new configuration before any takes it; and what is said of the one in force."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Union

from ogw.report.events import Event
from ogw.report.log import Log
from ogw.report.metrics import (
    LISTEN_CERTIFICATE,
    LISTEN_CRL,
    MOST_DESCRIPTORS,
    MOST_TUNNELS,
    POLICY,
    RELAYS,
    RELOAD_REFUSED,
    RELOADED,
    RELOADS_REFUSED,
    RELOADS_TAKEN,
    REPORT_UNTIL,
)
from ogw.report.table import Table
from ogw.service.child import Child
from ogw.service.children import Children
from ogw.service.limits import Limits
from ogw.service.messages import Forget, Order, Prepare, Prepared, Take, Taken, config_text
from ogw.settings.settings import SETTINGS, Config
from ogw.tunnel.tried import Tried

MOST_MISTAKES, LONGEST_MISTAKE = 20, 1000  # of a refused reload that are shown; characters of each
LONGEST = 600.0  # seconds for each half of a reload; slow is not dead, but what never ends would let all others wait


def changes(before: Config, config: Config) -> list[str]:
    """The names of the settings that differ, or that now give other hosts than before."""
    return [name for name in SETTINGS if before.given_by(name) != config.given_by(name)]


class InForce:
    """The configuration in force, of which the log and the table tell.

    config    whoever is started begins with it
    first     the one of the start: what needs a restart stays as it is here
    mistakes  why the last reload was refused; none where it was taken
    tried     what became of credentials for relay proxies
    """

    def __init__(self, config: Config, log: Log, table: Table, limits: Limits) -> None:
        self._log = log
        self._state = table.gateway.cells
        self._slots = table.slots
        self._slots.claim(map(str, config.ways.proxies))
        self._limits = limits
        self.config = self.first = self._before = config
        self._by_hand = False
        self.mistakes: Sequence[str] = ()
        self.tried = Tried()
        self._publish()

    def shown_reload(self) -> dict[str, Any]:
        """The first of them, how many there are, and what awaits a restart, for the admin process."""
        first = [mistake[:LONGEST_MISTAKE] for mistake in self.mistakes[:MOST_MISTAKES]]
        return {"mistakes": first, "count": len(self.mistakes), "restart": self.awaits_restart}

    def shown_settings(self) -> dict[str, Any]:
        """Where each setting has its values from, for the same."""
        shown = {name: [list(given) for given in rows] for name, rows in self.config.origins.items()}
        return {"settings": shown, "warnings": self.config.warnings}

    @property
    def awaits_restart(self) -> list[str]:
        """The names of the settings that have other values than at the start, which a restart takes alone."""
        return [name for name in changes(self.first, self.config) if SETTINGS[name].restart]

    def read(self, again: Callable[[Config], Config]) -> Config:
        """The configuration, read anew, for workers to build. They count its relay proxies in slots that are theirs."""
        config = again(self.config)
        self._slots.claim(map(str, config.ways.proxies))
        return config

    def take(self, config: Config, by_hand: bool) -> None:
        """All workers have built it. `by_hand`: somebody wants it, who may have mended what credentials lacked."""
        self._before, self.config, self._by_hand = self.config, config, by_hand

    def announce(self, to_all: bool = True) -> list[str]:
        """All workers have taken it: say so. The names of the settings that changed.

        to_all  False where a successor says it
        """
        if self._by_hand:
            self.tried.forget_refusals()  # not before: somebody would send once more what another one replaces
        old, changed = self._log.policy, changes(self._before, self.config)
        self._publish()
        self._log.set_level(self.config.log_level)
        if to_all:
            self._tell_of(old, changed)
        self._state[RELOADS_TAKEN] += 1
        RELOADED.mark(self._state)
        self.mistakes = ()
        RELOAD_REFUSED.clear(self._state)
        return changed

    def _tell_of(self, old: str, changed: Sequence[str]) -> None:
        self._log.event(
            Event.CONFIGURATION_RELOADED,
            f"changed: {', '.join(changed)}" if changed else "nothing changed",
            old_policy=old,
            changed=changed,
        )
        for name in self.awaits_restart:
            message = f"{name} changed; that needs a restart of the gateway"
            self._log.event(Event.INFORMATION, message, level=logging.WARNING)
        for warning in self.config.warnings:
            self._log.event(Event.INFORMATION, warning, level=logging.WARNING)

    def tell_of_mistakes(self, mistakes: Sequence[str]) -> None:
        """It stays, nothing was reloaded: say why."""
        self.mistakes = mistakes
        RELOAD_REFUSED.mark(self._state)
        self._state[RELOADS_REFUSED] += 1
        for mistake in mistakes:
            message = f"{mistake}; nothing was reloaded, the running configuration stays"
            self._log.event(Event.WRONG_CONFIGURATION, message)

    def _publish(self) -> None:
        config, state = self.config, self._state
        self._log.policy = config.policy.hash
        state[POLICY] = int(self._log.policy, 16)
        state[MOST_TUNNELS] = config.max_tunnels or self._limits.tunnels
        state[MOST_DESCRIPTORS] = self._limits.descriptors
        state[RELAYS] = len(config.ways.proxies)
        state[LISTEN_CERTIFICATE], state[LISTEN_CRL] = map(int, config.listen_lasts)
        state[REPORT_UNTIL] = math.ceil(config.reports_until or 0)


class Reload:
    """One, after the configuration was read and checked. It goes on a step at a time, so that everybody is heard.

    A worker that hangs meanwhile is given up by whoever asks for signs of life, and is not waited for any more.

    number     of this reload; what workers say of another is not heard
    in_force   called when all have built it: whoever is started from then on begins with it
    mistakes   what workers could not build; then nobody takes it
    """

    def __init__(self, number: int, config: Config, children: Children, in_force: Callable[[], None]) -> None:
        self._number = number
        self._config = config
        self._children = children
        self._in_force = in_force
        self._ordered: set[int] = set()  # process ids
        self._answers: dict[int, Union[Prepared, Taken]] = {}
        self._until = 0.0
        self._steps = self._run()
        self.is_in_force = False
        self.mistakes: list[str] = []

    def heard(self, child: Child, answer: Union[Prepared, Taken]) -> None:
        """A worker has built it, or taken it."""
        if answer.number == self._number:
            self._answers[child.pid] = answer

    def go_on(self) -> bool:
        """Whether it is over. Raises MessageTooLarge or MemoryError; then it is given up."""
        return next(self._steps, True)

    def next_time(self) -> float:
        """When it is to go on although nothing happened."""
        return self._until

    def give_up(self) -> None:
        """Nobody is to take it, unless they have."""
        self._steps = iter(())
        if not self.is_in_force:
            self._children.tell_workers(Forget())

    def _run(self) -> Iterator[bool]:
        yield from self._order(Prepare(self._number, config_text(self._config)), self._workers)
        built = self._answers.values()
        mistakes = {answer.mistake for answer in built if isinstance(answer, Prepared) and answer.mistake}
        late = self._missing(self._workers())
        mistakes |= {f"{worker.name} did not build it within {LONGEST:g} s" for worker in late}
        self.mistakes = sorted(mistakes)
        if mistakes:
            self.give_up()
            return
        self._in_force()
        self.is_in_force = True
        # Who reads that it was reloaded must not meet a worker that has not heard of it yet.
        prepared = set(self._answers)
        take = Take(self._number, self._config.reload_rechecks_tunnels == "yes")
        yield from self._order(take, lambda: [worker for worker in self._workers() if worker.pid in prepared])
        for worker in self._missing([worker for worker in self._workers() if worker.pid in prepared]):
            self._children.end(worker)  # its replacement begins with the new configuration

    def _order(self, order: Order, workers: Callable[[], list[Child]]) -> Iterator[bool]:
        """Until each that lives has answered: one started meanwhile is ordered, too, one that died is not missed."""
        self._answers.clear()
        self._ordered.clear()
        self._until = time.monotonic() + LONGEST
        while True:
            for worker in workers():
                if worker.pid not in self._ordered:
                    self._ordered.add(worker.pid)
                    self._children.tell(worker, order)
            if not self._missing(workers()) or time.monotonic() >= self._until:
                return
            yield False

    def _workers(self) -> list[Child]:
        return [worker for worker in self._children.workers if worker.alive and worker.hung is None]

    def _missing(self, workers: list[Child]) -> list[Child]:
        return [worker for worker in workers if worker.pid not in self._answers]
