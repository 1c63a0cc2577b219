"""The last quarter of an hour of a few counters, so that the page has its plots from the first moment on."""

import time
from collections import deque
from typing import NamedTuple

from ogw.policy.decision import Reason
from ogw.report import metrics
from ogw.report.table import Table

PERIOD = 10.0  # seconds between two points; workers count the bytes of open tunnels as often
SPAN = 900.0  # seconds that are remembered


class Point(NamedTuple):
    """A moment, as page.js reads it, too: by its place.

    uptime      seconds since the start
    tunnels     open ones
    opened      and since the start: tunnels that were opened
    refused     refusals and rejections
    bytes_up    copied
    bytes_down
    """

    uptime: float
    tunnels: int
    opened: int
    refused: int
    bytes_up: int
    bytes_down: int


AT_START = Point(0.0, 0, 0, 0, 0, 0)


class History:
    """Of the whole gateway, read from the shared table: it costs no worker anything."""

    def __init__(self, table: Table, period: float = PERIOD, span: float = SPAN) -> None:
        self._table = table
        self._period = period
        self._points: deque[Point] = deque(maxlen=int(span / period) + 1)

    def run(self) -> None:
        """Take a point every period, for ever: the body of a thread."""
        while True:
            if self._table.gateway.cells[metrics.STARTED.cell]:
                point = self.now()
                if not self._points and point.uptime <= 2 * self._period:
                    self._points.append(AT_START)
                self._points.append(point)
            time.sleep(self._period)

    def now(self) -> Point:
        """The point of this moment."""
        table = self._table
        return Point(
            round(metrics.STARTED.seconds_ago(table.gateway.cells), 1),
            table.tunnels,
            table.sum(metrics.ALLOWED),
            sum(table.sum(metrics.REFUSED + reason.index) + table.sum(metrics.REJECTED + reason.index)
                for reason in Reason),
            table.sum(metrics.BYTES_UP),
            table.sum(metrics.BYTES_DOWN),
        )  # fmt: skip

    def points(self) -> list[Point]:
        """The oldest first."""
        return list(self._points)
