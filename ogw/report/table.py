"""What all processes count together: one shared table made before the fork, a row per worker and three more.

An increment costs nanoseconds and no lock, since only its own process writes a row; sums are made when asked.

At an upgrade the successor makes a table of its own and goes on to read the predecessor's, whose memory it is handed:
limits and counters cover both. It may be of another version, so the memory begins with a description of itself. Cells
are found by their names there; what the other does not count is 0. Only of another FORM is nothing shared.
"""

import functools
import hashlib
import json
import math
import mmap
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ogw.report.metrics import CELLS, CONTINUED, GAUGES, NAMES, TUNNELS
from ogw.report.slots import Slots

FORM = 1  # of what all versions must agree on: the description, TUNNELS as the first cell, how clients are counted
DESCRIPTION = 1 << 16  # bytes that it has, the slots at its end among them
_SLOTS = slice(DESCRIPTION - Slots.BYTES, DESCRIPTION)
DEPTH, WIDTH = 4, 1 << 16  # of a row's sketch of clients: so many counters each is hashed to, and of so many
LAST = WIDTH - 1
COUNTERS = (DEPTH + 1) * WIDTH  # the last line is that of the addresses
MOST_BITS = 1 << 13  # clients whose hash is kept, by each process

Bits = Callable[[str], int]


class OtherForm(Exception):
    """The memory is not described as this version does it."""


class Row:
    """What one process counted.

    cells    64-bit numbers, in the places that report/metrics.py gives them
    clients  open tunnels by client, as a count-min sketch: never too few, rarely too many; behind it a line of open
             tunnels by address, which tells how many addresses there are. 32 bits: they cannot run full.
    """

    def __init__(self, view: Any, bits: Bits, cells: int = CELLS) -> None:
        self.cells = view[: cells * 8].cast("q")
        self.clients = view[cells * 8 :].cast("I")
        self._bits = bits

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

    def ended(self) -> None:
        """It is no open tunnel any more, while its client still counts."""
        self.cells[TUNNELS] -= 1

    def left(self, client: str, address: str = "") -> None:
        """Its client does not count any more."""
        self._count(client, address or client, -1)

    def _count(self, client: str, address: str, change: int) -> None:
        # `places` written out: called from here it takes twice as long, 1 % of a tunnel's set-up.
        counters, bits = self.clients, self._bits(client)
        counters[bits & LAST] += change
        counters[WIDTH + (bits >> 16 & LAST)] += change
        counters[2 * WIDTH + (bits >> 32 & LAST)] += change
        counters[3 * WIDTH + (bits >> 48 & LAST)] += change
        if address != client:
            bits = self._bits(address)
        counters[DEPTH * WIDTH + (bits & LAST)] += change

    def clear(self, gauges: Sequence[int] = GAUGES) -> None:
        """Its worker is dead, and its tunnels with it. What it counted stays."""
        for cell in gauges:
            self.cells[cell] = 0
        self.clients[:] = memoryview(bytes(COUNTERS * 4)).cast("I")


class Earlier:
    """The table of a predecessor, or of its predecessor, as this process reads it. Raises OtherForm.

    key   of its clients' hash, by which the successor counts on
    rows  of its workers
    """

    def __init__(self, descriptor: int, names: Mapping[str, int] = NAMES) -> None:
        self.descriptor = descriptor
        try:
            self._memory = mmap.mmap(descriptor, 0)
            told = json.loads(self._memory[:DESCRIPTION].split(b"\n", 1)[0])
            if told["form"] != FORM:
                raise OtherForm(f"form {told['form']}, and this version has form {FORM}")
            if len(self._memory) != size_of(told["rows"], told["cells"]):
                raise ValueError("it is cut")
            self.key = bytes.fromhex(told["key"])
            theirs = told["names"]
            rows = _rows(memoryview(self._memory), told["rows"], told["cells"], bits_of(self.key))
            self.slots = Slots(memoryview(self._memory)[_SLOTS])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OtherForm(f"it cannot be read: {type(error).__name__}: {error}") from None
        self._cells = {cell: theirs[name] for name, cell in names.items() if name in theirs}  # theirs, by ours
        self._carried, self._gateway, self._admin = rows.pop(), rows.pop(), rows.pop()
        self.rows = rows

    @property
    def tunnels(self) -> int:
        return sum(row.tunnels for row in self.rows)

    def each(self, cell: int) -> list[int]:
        """What stands there for each of its processes; nothing where it does not count that."""
        theirs = self._cells.get(cell)
        return [row.cells[theirs] for row in (*self.rows, self._gateway, self._admin)] if theirs is not None else []

    def carried(self, cell: int) -> int:
        """What all before it had counted there."""
        return int(self._carried.cells[self._cells[cell]]) if cell in self._cells else 0

    def state(self, cell: int) -> int:
        """What its supervisor says there."""
        return int(self._gateway.cells[self._cells[cell]]) if cell in self._cells else 0

    def clear(self) -> None:
        """All its processes are gone, and their tunnels with them."""
        for row in self.rows:
            row.clear([self._cells[cell] for cell in GAUGES if cell in self._cells])


class Table:
    """The rows. Made by the supervisor; after a fork all processes see the same memory.

    names       every cell's, for other versions
    before      the tables of the predecessor and of the one before that, which is over; those that there are
    descriptor   of the memory, for a successor; -1 where the system gives none that can be handed on
    descriptors  all that a successor needs, as `before`
    predecessor  that this one goes on with, which may be over by now; None for none
    slots        of relay proxies' URLs
    """

    def __init__(self, workers: int, names: Mapping[str, int] = NAMES, before: Sequence[Earlier] = ()) -> None:
        key = before[0].key if before else secrets.token_bytes(16)
        self._bits = bits_of(key)
        count = workers + 3
        size = size_of(count, CELLS)
        self.descriptor = _memory_of(size)
        self._memory = mmap.mmap(self.descriptor, size)
        told = {"form": FORM, "key": key.hex(), "cells": CELLS, "rows": count, "names": names}
        text = json.dumps(told, separators=(",", ":")).encode() + b"\n"
        assert len(text) <= _SLOTS.start, "the description has no room for more names"
        self._memory[: len(text)] = text
        self.slots = Slots(memoryview(self._memory)[_SLOTS])
        self.slots.claim(name for one in before[:1] for name in one.slots.names())
        self.rows = _rows(memoryview(self._memory), count, CELLS, self._bits)
        self._carried = self.rows.pop()  # what all before the predecessor have counted
        self.gateway = self.rows.pop()  # the supervisor's
        self.admin = self.rows.pop()  # the admin process'
        self.predecessor = before[0] if before else None
        self.descriptors = [one for one in (self.descriptor, *(one.descriptor for one in before[:1])) if one >= 0]
        self._both = [*self.rows, *(self.predecessor.rows if self.predecessor is not None else ())]
        self._carry(before)
        for one in before[1:]:
            os.close(one.descriptor)  # what it had counted is added up

    def _carry(self, before: Sequence[Earlier]) -> None:
        """What counts no more is added up once; the predecessor's own is read as long as this one lives."""
        for cell in range(CELLS if before else 0):
            self._carried.cells[cell] = before[0].carried(cell) + sum(sum(one.each(cell)) for one in before[1:])

    def go_on(self) -> None:
        """The gateway is this one from now on: since when it runs, and how often it was reloaded, go on."""
        if self.predecessor is not None:
            for cell in CONTINUED:
                self.gateway.cells[cell] = self.predecessor.state(cell)

    @property
    def tunnels(self) -> int:
        """Open tunnels of the whole gateway."""
        return sum(row.tunnels for row in self._both)

    def tunnels_of(self, client: str) -> int:
        """Open tunnels of one client."""
        return int(min(sum(row.clients[place] for row in self._both) for place in self._places(client)))

    def _places(self, client: str) -> tuple[int, int, int, int]:
        """Where a client is counted: 16 bits of its hash for each line."""
        bits = self._bits(client)
        second, third, fourth = bits >> 16 & LAST, bits >> 32 & LAST, bits >> 48 & LAST
        return bits & LAST, WIDTH + second, 2 * WIDTH + third, 3 * WIDTH + fourth

    def sum(self, cell: int) -> int:
        """Of all workers, the supervisor and the admin process, and of those before them."""
        return int(sum(self.each(cell))) + int(self._carried.cells[cell])

    def each(self, cell: int) -> list[int]:
        """What stands there for each worker, the supervisor and the admin process; and for the predecessor's."""
        own = [row.cells[cell] for row in (*self.rows, self.gateway, self.admin)]
        return own if self.predecessor is None else own + self.predecessor.each(cell)

    def clients(self) -> int:
        """Distinct addresses with an open tunnel: exact for few, within a percent or so for thousands.

        Linear counting (Whang et al. 1990) over the line of the addresses.
        """
        used = 0
        for row in self._both:
            used |= int.from_bytes(row.clients[DEPTH * WIDTH :].tobytes(), "little")
        empty = memoryview(used.to_bytes(WIDTH * 4, "little")).cast("I").tolist().count(0)
        return round(-WIDTH * math.log(max(empty, 1) / WIDTH))


def bits_of(key: bytes) -> Bits:
    """64 bits of a client's hash, which is keyed, so that nobody can aim at another's counters.

    Python's own hash of a text is another in every program, and predecessor and successor must count alike. Kept for
    those that come again it costs as much.
    """

    @functools.lru_cache(maxsize=MOST_BITS)
    def bits(client: str) -> int:
        return int.from_bytes(hashlib.blake2b(client.encode(), key=key, digest_size=8).digest(), "little")

    return bits


def size_of(rows: int, cells: int) -> int:
    """Of the memory, in bytes."""
    return DESCRIPTION + rows * (cells * 8 + COUNTERS * 4)


def _rows(view: Any, count: int, cells: int, bits: Bits) -> list[Row]:
    size = cells * 8 + COUNTERS * 4
    places = range(DESCRIPTION, DESCRIPTION + count * size, size)
    return [Row(view[place : place + size], bits, cells) for place in places]


def _memory_of(size: int) -> int:
    """A descriptor of fresh memory, or -1, by which mmap gives one that has none."""
    with suppress(OSError):
        descriptor = os.memfd_create("ogw table")
        os.ftruncate(descriptor, size)
        return descriptor
    return -1
