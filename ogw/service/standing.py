"""How the gateway stands, for the line "Status" of `systemctl status`: tunnels, and the last mistake."""

from collections.abc import Sequence
from typing import Any

from ogw.report.log import Log
from ogw.report.metrics import DRAINING, SILENT_WORKERS, TAKEN_OUT
from ogw.report.table import Table
from ogw.service.absence import Absence
from ogw.service.admin import readyz
from ogw.service.notify import in_a_line, notify
from ogw.settings.settings import Config

SECONDS = 4.0  # between two that only tell of other numbers; less than between the supervisor's own signs of life


class Standing:
    """Tells systemd when it changed: `tell` at once, `work` now and then, which also looks for absent addresses."""

    def __init__(self, log: Log, table: Table, config: Config) -> None:
        self._table = table
        self._absence = Absence(log, table.gateway.cells, config)
        self._state: Any = table.gateway.cells
        self._told = ""
        self._next = 0.0

    def work(self, now: float, mistakes: Sequence[str]) -> None:
        """
        now       by the monotonic clock
        mistakes  why the last reload was refused
        """
        self._absence.work(now)
        if now >= self._next:
            self._next = now + SECONDS
            self.tell(mistakes)

    def next_look(self) -> float:
        """When it is to be called although nothing happened."""
        return self._absence.next_time()

    def stop_looking(self) -> None:
        """The successor does that."""
        self._absence.stop()

    def tell_anew(self, mistakes: Sequence[str]) -> None:
        """Whatever was told before nobody heard."""
        self._told = ""
        self.tell(mistakes)

    def tell(self, mistakes: Sequence[str]) -> None:
        text = self._text(mistakes)
        if text != self._told:
            self._told = text
            notify(f"STATUS={text}")

    def _text(self, mistakes: Sequence[str]) -> str:
        tunnels, silent = f"{self._table.tunnels} tunnels are open", self._state[SILENT_WORKERS]
        parts = [f"draining: {tunnels}" if self._state[DRAINING] else tunnels]
        if self._state[TAKEN_OUT.cell] and not self._state[DRAINING]:
            parts.insert(0, readyz.TAKEN_OUT)
        if silent:
            parts.append(f"{silent} of {len(self._table.rows)} workers do not answer")
        if self._absence.places:
            parts.append(f"this machine does not have {', '.join(self._absence.places)}")
        if mistakes:
            parts.append(f"the last reload was refused: {in_a_line(mistakes)}")
        return "; ".join(parts)
