"""The bytes of unfinished handshakes that a worker holds, over all its tunnels; who gives way when they are too many.

A tunnel tells of what it holds when it begins to wait; one whose hello came at once holds nothing, and never does.
"""

from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heapreplace
from operator import attrgetter
from typing import Protocol


class Holder(Protocol):
    """What holds bytes for a client, and can be told to give them up.

    client  whose bytes they are, as clients are counted: an address, or a network of IPv6
    began   a number: that of an older one is less
    """

    client: str
    began: int

    def give_way(self) -> None:
        """End soon; its bytes are not counted any more. It is called from anywhere, and comes back at once."""


class Budget:
    """What a worker may hold.

    most  bytes; over it, the client that holds most gives way, its oldest first
    held  bytes
    """

    def __init__(self, most: int = 64 << 20) -> None:
        self.most = most
        self.held = 0
        self._clients: dict[str, dict[Holder, int]] = {}

    def hold(self, holder: Holder, size: int) -> None:
        """It holds so many bytes from now on. Whoever gives way for it is told before this comes back."""
        own = self._clients.setdefault(holder.client, {})
        self.held += size - own.get(holder, 0)
        own[holder] = size
        if self.held > self.most:
            self._make_room()

    def forget(self, holder: Holder) -> None:
        """It holds nothing any more."""
        own = self._clients.get(holder.client, {})
        self.held -= own.pop(holder, 0)
        if not own:
            self._clients.pop(holder.client, None)

    def _make_room(self) -> None:
        """Down to a sixteenth below: to look at all clients is worth its while, however many there are."""
        enough = self.most - self.most // 16
        clients = [(-sum(own.values()), _first(own), client) for client, own in self._clients.items()]
        heapify(clients)
        oldest: dict[str, Iterator[Holder]] = {}
        while self.held > enough:
            size, _began, client = clients[0]
            own = self._clients[client]
            if client not in oldest:
                oldest[client] = iter(sorted(own, key=attrgetter("began")))
            holder = next(oldest[client])
            size += own[holder]
            self.forget(holder)
            holder.give_way()
            if own:
                heapreplace(clients, (size, _first(own), client))
            else:
                heappop(clients)


def _first(holders: Iterable[Holder]) -> int:
    """Of clients that hold as much as each other, the one that began first gives way."""
    return min(holder.began for holder in holders)
