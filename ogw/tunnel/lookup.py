"""What is known of one name's addresses: complete at once, or growing while DNS servers answer."""

import _socket
from collections.abc import Callable, Sequence
from typing import NamedTuple, Optional

from ogw.policy.decision import Reason

FAMILIES = (_socket.AF_INET6, _socket.AF_INET)


class Found(NamedTuple):
    """What came of a question.

    addresses  IP texts; none where there are none, or it failed
    seconds    for how long that may be kept; None where nothing says it
    failure    the reason where it failed, which is no more than "for now"; None where a server knew
    detail     a sentence without the name, where there are no addresses
    heard      some server said something
    """

    addresses: list[str]
    seconds: Optional[int] = None
    failure: Optional[Reason] = None
    detail: str = ""
    heard: bool = True


class Lookup:
    """What is known so far of one name's addresses; it grows until `done`.

    addresses  IPv6 and IPv4 texts in turn, IPv6 first (RFC 8305, section 4)
    failure    once done without any address: the reason, DNS_ERROR, DNS_TIMEOUT or NO_DESCRIPTORS, and a sentence in
               `detail`
    unheard    no server said anything, not even that there is no such name
    unknown    a server said that there is no such name, or no address of it, and none that it cannot answer
    """

    def __init__(self, name: str, known: Optional[Sequence[str]] = None) -> None:
        self.name = name
        self.by_family: dict[int, list[str]] = {}
        self.addresses: list[str] = []
        self.done = known is not None
        self.detail = ""
        self.failure = Reason.DNS_ERROR
        self.unheard = False
        self.unknown = False
        self._told: Optional[Found] = None  # of the families that have no address, the one that the sentence is of
        self._watchers: list[Callable[[], object]] = []
        if known is not None:
            six, four = [a for a in known if ":" in a], [a for a in known if ":" not in a]
            self.by_family = {_socket.AF_INET6: six, _socket.AF_INET: four}
            self.addresses = _in_turn(six, four)

    def watch(self, changed: Callable[[], object]) -> None:
        """Call `changed` from the hub whenever more is known."""
        self._watchers.append(changed)

    def unwatch(self, changed: Callable[[], object]) -> None:
        if changed in self._watchers:
            self._watchers.remove(changed)

    def answered(self, family: int, found: Found) -> None:
        """One family's answer is here: those who watch are called, in the hub."""
        self.by_family[family] = found.addresses
        self.addresses = _in_turn(*(self.by_family.get(one, []) for one in FAMILIES))
        if not found.addresses and (self._told is None or _weight(found) > _weight(self._told)):
            self._told = found
            self.unheard = not found.heard
            self.unknown = found.failure is None
            self.failure = found.failure or Reason.DNS_ERROR
            self.detail = f"{self.name}: {found.detail}"
        self.done = len(self.by_family) == len(FAMILIES)
        watchers = tuple(self._watchers)
        if self.done:
            self._watchers.clear()  # it may be kept for long, and they are not to be
        for changed in watchers:
            changed()


def _weight(found: Found) -> int:
    """Of two families that fail differently the heavier is told of: rather what a server said than that none did, and
    rather that it cannot answer than that it has nothing."""
    if found.failure is Reason.NO_DESCRIPTORS:
        return 3
    if not found.heard:
        return 0
    return 1 if found.failure is None else 2


def _in_turn(six: list[str], four: list[str]) -> list[str]:
    if not six or not four:
        return six or four
    both = [address for pair in zip(six, four, strict=False) for address in pair]
    shorter = min(len(six), len(four))
    return both + six[shorter:] + four[shorter:]
