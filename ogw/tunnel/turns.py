"""Whose turn it is to try a relay proxy that rests: that of one worker for all, since each would ask it anew.

No lock is needed. Of the workers for which it rests the first in the table tries it, and it says so there before it
does; who comes to be the first later rests for a while before it tries, and has seen that by then.
"""

from ogw.report.metrics import RELAY_ANSWERED, RELAY_RESTS, RELAY_TRIED
from ogw.report.slots import OTHERS
from ogw.report.table import Row, Table

TRIAL_SECONDS = 10.0  # a relay proxy is not tried again within them, by any worker


class Turns:
    """Of one worker. Times are seconds of the monotonic clock, which all processes share.

    row  the worker's own of the table
    """

    def __init__(self, table: Table, row: Row) -> None:
        self._table = table
        self._row = row

    def take(self, slot: int, now: float) -> bool:
        """Whether this worker is to try it now; then it counts as tried."""
        first = next((row for row in self._table.rows if row.cells[RELAY_RESTS + slot]), None)
        if first is not self._row or now - max(self._table.each(RELAY_TRIED + slot)) / 1000 < TRIAL_SECONDS:
            return False
        self._row.cells[RELAY_TRIED + slot] = int(now * 1000)
        return True

    def others_know_better(self, slot: int, since: float) -> bool:
        """Another worker had an answer of it since then. Of those that share the last slot nobody can say."""
        others = (row for row in self._table.rows if row is not self._row)
        return slot != OTHERS and any(row.cells[RELAY_ANSWERED + slot] > since * 1000 for row in others)
