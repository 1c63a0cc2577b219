"""The latest refusals one by one, by the id of their tunnel: a client that asks for help has nothing else to tell.

Most of them have no line of their own in the log (refusals.py); here they are found all the same.
"""

import re
from collections import deque
from typing import NamedTuple

from ogw.report.printable import cut

TUNNEL_ID = re.compile(r"[0-9a-f]{6}-[0-9]{1,19}\Z")  # the process that took it (Log.process), and its number there
MOST = 1000
MOST_CHARACTERS = 500_000  # of all of them; of usual ones a thousand have less than half of it
MOST_DETAIL = 500  # characters of one


class Told(NamedTuple):
    """A refusal as its client was told of it.

    tunnel    its id
    time      Unix seconds
    client    address:port
    target    host:port; "" where it was refused before that was known
    reason    its token
    event     the number
    detail    for the log, never for the client
    enforced  False where it passed all the same: it was only reported
    folded    it has no line of its own, and is counted in another
    via       address:port of the load balancer that it came through; "" for none
    subject   of the certificate that the client showed to the gateway itself; "" for none
    """

    tunnel: str
    time: float
    client: str
    target: str
    reason: str
    event: int
    detail: str
    enforced: bool
    folded: bool
    via: str = ""
    subject: str = ""


class Recent:
    """Those of one process; what is too much goes, the oldest first."""

    def __init__(self, most: int = MOST, most_characters: int = MOST_CHARACTERS) -> None:
        self._most = most
        self._most_characters = most_characters
        self._known: deque[Told] = deque()
        self._characters = 0

    def add(self, one: Told) -> None:
        if len(one.detail) > MOST_DETAIL:
            one = one._replace(detail=cut(one.detail, MOST_DETAIL))
        self._known.append(one)
        self._characters += _characters(one)
        while len(self._known) > self._most or self._characters > self._most_characters:
            self._characters -= _characters(self._known.popleft())

    def find(self, tunnel: str) -> list[Told]:
        """All of the tunnel with this id, the oldest first: one that is only reported may be followed by another."""
        return [one for one in self._known if one.tunnel == tunnel]


def _characters(one: Told) -> int:
    return len(one.client) + len(one.target) + len(one.detail) + len(one.subject)
