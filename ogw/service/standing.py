"""How the gateway stands, for the line "Status" of `systemctl status`: tunnels, and the last mistake."""

from collections.abc import Sequence
from typing import Any

from ogw.report.metrics import DRAINING, SILENT_WORKERS
from ogw.report.table import Table
from ogw.service.notify import in_a_line, notify

SECONDS = 4.0  # between two that only tell of other numbers; less than between the supervisor's own signs of life


class Standing:
    """Tells systemd when it changed: `tell` at once, `work` now and then."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._state: Any = table.gateway.cells
        self._told = ""
        self._next = 0.0

    def work(self, now: float, mistakes: Sequence[str]) -> None:
        """
        now       by the monotonic clock
        mistakes  why the last reload was refused
        """
        if now >= self._next:
            self._next = now + SECONDS
            self.tell(mistakes)

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
        if silent:
            parts.append(f"{silent} of {len(self._table.rows)} workers do not answer")
        if mistakes:
            parts.append(f"the last reload was refused: {in_a_line(mistakes)}")
        return "; ".join(parts)
