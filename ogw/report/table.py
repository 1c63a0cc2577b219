"""What all processes count together: one shared table made before the fork, a row per worker and two more.

An increment costs nanoseconds and no lock, since only its own process writes a row; sums are made when asked.
"""

import math
import mmap
from typing import Any

from ogw.report.metrics import CELLS, GAUGES, TUNNELS

DEPTH, WIDTH = 4, 1 << 16  # of a row's sketch of clients: so many counters each is hashed to, and of so many
LAST = WIDTH - 1
COUNTERS = (DEPTH + 1) * WIDTH  # the last line is that of the addresses
ROW_SIZE = CELLS * 8 + COUNTERS * 4


class Row:
    """What one process counted.

    cells    64-bit numbers, in the places that report/metrics.py gives them
    clients  open tunnels by client, as a count-min sketch: never too few, rarely too many; behind it a line of open
             tunnels by address, which tells how many addresses there are. 32 bits: they cannot run full.
    """

    def __init__(self, view: Any) -> None:
        self.cells = view[: CELLS * 8].cast("q")
        self.clients = view[CELLS * 8 :].cast("I")

    @property
    def tunnels(self) -> int:
        return int(self.cells[TUNNELS])

    def opened(self, client: str, address: str = "") -> None:
        """A tunnel begins: of this client, as the limits count it, from this IP address, if that is another text."""
        self.cells[TUNNELS] += 1
        self._count(client, address or client, 1)

    def closed(self, client: str, address: str = "") -> None:
        """It ends; both are what `opened` was told."""
        self.cells[TUNNELS] -= 1
        self._count(client, address or client, -1)

    def _count(self, client: str, address: str, change: int) -> None:
        # `places` written out: called, it makes this take twice as long, 1 % of a tunnel's set-up.
        counters, bits = self.clients, hash(client)
        counters[bits & LAST] += change
        counters[WIDTH + (bits >> 16 & LAST)] += change
        counters[2 * WIDTH + (bits >> 32 & LAST)] += change
        counters[3 * WIDTH + (bits >> 48 & LAST)] += change
        counters[DEPTH * WIDTH + (hash(address) & LAST)] += change

    def clear(self) -> None:
        """Its worker is dead, and its tunnels with it. What it counted stays."""
        for cell in GAUGES:
            self.cells[cell] = 0
        self.clients[:] = memoryview(bytes(COUNTERS * 4)).cast("I")


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
        return int(sum(self.each(cell)))

    def each(self, cell: int) -> list[int]:
        """What stands there for each worker, the supervisor and the admin process."""
        return [row.cells[cell] for row in (*self.rows, self.gateway, self.admin)]

    def clients(self) -> int:
        """Distinct addresses with an open tunnel: exact for few, within a percent or so for thousands.

        Linear counting (Whang et al. 1990) over the line of the addresses.
        """
        used = 0
        for row in self.rows:
            used |= int.from_bytes(row.clients[DEPTH * WIDTH :].tobytes(), "little")
        empty = memoryview(used.to_bytes(WIDTH * 4, "little")).cast("I").tolist().count(0)
        return round(-WIDTH * math.log(max(empty, 1) / WIDTH))


def places(client: str) -> tuple[int, int, int, int]:
    """Where a client is counted: 16 bits of its hash for each line.

    Python's hash of a text has a secret that a fork inherits, so nobody can aim at another.
    """
    bits = hash(client)
    return (bits & LAST, WIDTH + (bits >> 16 & LAST), 2 * WIDTH + (bits >> 32 & LAST), 3 * WIDTH + (bits >> 48 & LAST))
