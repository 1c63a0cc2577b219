"""What all workers count together: one shared table made before the fork, a row per worker.

An increment costs nanoseconds and no lock, since only its own worker writes a row; sums are made when asked.
"""

import mmap
from typing import Any

GAUGES = 8  # 64-bit numbers at the begin of a row
TUNNELS = 0
DEPTH, WIDTH = 4, 1 << 16  # of a row's sketch of clients: so many counters each is hashed to, and of so many
ROW_SIZE = GAUGES * 8 + DEPTH * WIDTH * 2


class Row:
    """The counters of one worker. Clients are counted in a count-min sketch: never too few, rarely too many."""

    def __init__(self, view: Any) -> None:
        self._gauges = view[: GAUGES * 8].cast("q")
        self._clients = view[GAUGES * 8 :].cast("H")

    @property
    def tunnels(self) -> int:
        return int(self._gauges[TUNNELS])

    def opened(self, client: str) -> None:
        """A tunnel of this client (its IP address) begins."""
        self._gauges[TUNNELS] += 1
        counters = self._clients
        for place in places(client):
            if counters[place] < 0xFFFF:
                counters[place] += 1

    def closed(self, client: str) -> None:
        self._gauges[TUNNELS] -= 1
        counters = self._clients
        for place in places(client):
            if counters[place]:
                counters[place] -= 1

    def tunnels_at(self, place: int) -> int:
        return int(self._clients[place])

    def clear(self) -> None:
        """Its worker is dead, and its tunnels with it."""
        self._gauges[TUNNELS] = 0
        self._clients[:] = memoryview(bytes(DEPTH * WIDTH * 2)).cast("H")


class Table:
    """The rows. Made by the supervisor; after a fork parent and child see the same memory."""

    def __init__(self, rows: int) -> None:
        self._memory = mmap.mmap(-1, rows * ROW_SIZE)
        view = memoryview(self._memory)
        self.rows = [Row(view[number * ROW_SIZE : (number + 1) * ROW_SIZE]) for number in range(rows)]

    @property
    def tunnels(self) -> int:
        """Open tunnels of the whole gateway."""
        return sum(row.tunnels for row in self.rows)

    def tunnels_of(self, client: str) -> int:
        """Open tunnels of one client."""
        return min(sum(row.tunnels_at(place) for row in self.rows) for place in places(client))


def places(client: str) -> list[int]:
    """Where a client is counted. Python's hash has a secret that a fork inherits, so nobody can aim at another."""
    return [number * WIDTH + (hash((client, number)) & (WIDTH - 1)) for number in range(DEPTH)]
