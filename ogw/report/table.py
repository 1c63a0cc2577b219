"""What all processes count together: one shared table made before the fork, a row per worker and two more.

An increment costs nanoseconds and no lock, since only its own process writes a row; sums are made when asked.
"""

import math
import mmap
from typing import Any

from ogw.report.metrics import CELLS, GAUGES, TUNNELS

DEPTH, WIDTH = 4, 1 << 16  # of a row's sketch of clients: so many counters each is hashed to, and of so many
ROW_SIZE = CELLS * 8 + DEPTH * WIDTH * 2


class Row:
    """What one process counted.

    cells    64-bit numbers, in the places that report/metrics.py gives them
    clients  open tunnels by client, as a count-min sketch: never too few, rarely too many
    """

    def __init__(self, view: Any) -> None:
        self.cells = view[: CELLS * 8].cast("q")
        self.clients = view[CELLS * 8 :].cast("H")

    @property
    def tunnels(self) -> int:
        return int(self.cells[TUNNELS])

    def opened(self, client: str) -> None:
        """A tunnel of this client (its IP address) begins."""
        self.cells[TUNNELS] += 1
        counters = self.clients
        for place in places(client):
            if counters[place] < 0xFFFF:
                counters[place] += 1

    def closed(self, client: str) -> None:
        self.cells[TUNNELS] -= 1
        counters = self.clients
        for place in places(client):
            if counters[place]:
                counters[place] -= 1

    def clear(self) -> None:
        """Its worker is dead, and its tunnels with it. What it counted stays."""
        for cell in GAUGES:
            self.cells[cell] = 0
        self.clients[:] = memoryview(bytes(DEPTH * WIDTH * 2)).cast("H")


class Table:
    """The rows. Made by the supervisor; after a fork all processes see the same memory."""

    def __init__(self, workers: int) -> None:
        self._memory = mmap.mmap(-1, (workers + 2) * ROW_SIZE)
        view = memoryview(self._memory)
        self.rows = [Row(view[number * ROW_SIZE : (number + 1) * ROW_SIZE]) for number in range(workers + 2)]
        self.gateway = self.rows.pop()  # the supervisor's
        self.admin = self.rows.pop()  # the admin process'

    @property
    def tunnels(self) -> int:
        """Open tunnels of the whole gateway."""
        return sum(row.tunnels for row in self.rows)

    def tunnels_of(self, client: str) -> int:
        """Open tunnels of one client."""
        return int(min(sum(row.clients[place] for row in self.rows) for place in places(client)))

    def sum(self, cell: int) -> int:
        """Of all workers, the supervisor and the admin process."""
        return int(sum(row.cells[cell] for row in (*self.rows, self.gateway, self.admin)))

    def clients(self) -> int:
        """Distinct clients with an open tunnel: exact for few, within a percent or so for thousands.

        Linear counting (Whang et al. 1990) over the first line of the sketches.
        """
        used = 0
        for row in self.rows:
            used |= int.from_bytes(row.clients[:WIDTH].tobytes(), "little")
        empty = memoryview(used.to_bytes(WIDTH * 2, "little")).cast("H").tolist().count(0)
        return round(-WIDTH * math.log(max(empty, 1) / WIDTH))


def places(client: str) -> list[int]:
    """Where a client is counted. Python's hash has a secret that a fork inherits, so nobody can aim at another."""
    return [number * WIDTH + (hash((client, number)) & (WIDTH - 1)) for number in range(DEPTH)]
