"""Which URL of a relay proxy is counted in which cells of the shared table: named once, by the supervisor, for good.

A place in the list of relay-proxy means another one after a reload; a slot does not. The last slot is for all URLs that
found none of their own.
"""

from collections.abc import Iterable
from typing import Any

from ogw.report.metrics import MOST_RELAYS

SIZE = 512  # bytes of a name; the longest URL has less than 300
OTHERS = MOST_RELAYS - 1


class Slots:
    """Names in memory that all processes share.

    view  of so many bytes
    """

    BYTES = MOST_RELAYS * SIZE

    def __init__(self, view: Any) -> None:
        self._view = view

    def names(self) -> list[str]:
        """By slot; those that have none are not there."""
        names = (bytes(self._view[place : place + SIZE]).rstrip(b"\0") for place in range(0, OTHERS * SIZE, SIZE))
        return [name.decode("utf-8", "replace") for name in names if name]

    def of(self, name: str) -> int:
        names = self.names()
        return names.index(name) if name in names else OTHERS

    def claim(self, wanted: Iterable[str]) -> None:
        """Give each its slot, while there are any. Only the supervisor may."""
        names = self.names()
        for name in dict.fromkeys(wanted):
            data = name.encode()
            if name not in names and len(names) < OTHERS and len(data) <= SIZE:
                place = len(names) * SIZE
                self._view[place : place + len(data)] = data
                names.append(name)
