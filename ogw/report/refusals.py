"""A denied client that retries for ever is one line, then a count a minute; and the latest refusals, for people.

Without it a till with a wrong target fills the disk, and the refusal that is new drowns. Nor may one client with
thousands of targets push out everybody else's: each has a share of the places. What goes beyond it still has its line
when it comes first, and is in one count with all others after that.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Optional

PERIOD = 60.0  # seconds between two lines of the same refusal
MOST = 2000  # different refusals that are remembered; of more clients than that, further ones have a line each time
SHARES = 20  # a client has a part of so many, and when the places are all taken no more than any other
MOST_MARKS = 20_000  # of refusals without a place of their own that had their line
LATEST_SHARES = 4  # and a part of so many of the latest ones, where others are there to be shown
GATHERED = "of this client (or its network) for many other targets"  # in the message of such a count

# Client, target, reason, enforced, and the subject of its certificate; without a target those gathered.
_Key = tuple[str, Optional[str], str, bool, str]


@dataclass
class Refusal:
    """One client's refusals of one kind.

    written  when its last line was written, in seconds of a monotonic clock
    untold   how many came since
    count    how many came at all, since it is remembered
    first    Unix seconds of the first one
    last     and of the last
    seen     when the last came, in seconds of a monotonic clock
    enforced False where it passed all the same: it was only reported
    who      whose share it is of: the client, or the network that it may use any address of; by its subject, if it has
             one
    gathered it stands for several targets (and addresses of the client) that have no place of their own
    latest   the target of the last one
    addresses  of it, which may not be dialed (IP text); none where it was refused before that
    named    of the last one, what else is to be allowed by its name: the target of a client that is not allowed, where
             it said one; a certificate, as a pattern of allowed-client-certificate
    subject  of the certificate that the client has shown to the gateway; "" for none
    names    in that certificate
    """

    client: str
    target: str
    reason: str
    event: int
    detail: str
    written: float
    untold: int = 0
    count: int = 0
    first: float = 0.0
    last: float = 0.0
    seen: float = 0.0
    enforced: bool = True
    who: str = ""
    gathered: bool = False
    latest: str = ""
    addresses: tuple[str, ...] = ()
    named: str = ""
    subject: str = ""
    names: frozenset[str] = frozenset()


class Refusals:
    """Those of one process, by client (its address, and its subject), target and reason; the latest at the end."""

    def __init__(self, period: float = PERIOD, most: int = MOST) -> None:
        self._period = period
        self._most = most
        self._share = max(1, most // SHARES)
        self._known: OrderedDict[_Key, Refusal] = OrderedDict()
        self._of: dict[str, OrderedDict[_Key, Refusal]] = {}  # each client's, the latest at the end, too
        self._gathered = 0
        self._marks: set[int] = set()

    @property
    def is_full(self) -> bool:
        """Not all are remembered one by one: older ones may be forgotten, new ones only be counted."""
        return len(self._known) >= self._most or self._gathered > 0

    def remember(
        self,
        client: str,
        target: str,
        reason: str,
        event: int,
        detail: str,
        now: float,
        wall: float,
        every: bool,
        enforced: bool = True,
        addresses: tuple[str, ...] = (),
        named: str = "",
        subject: str = "",
        names: frozenset[str] = frozenset(),
    ) -> bool:
        """Remember one; whether it has a line of its own. `every`: all have one."""
        key: Optional[_Key] = (client, target, reason, enforced, subject)
        if key not in self._known:
            key = self._place(client, target, reason, enforced, subject, now)
            if key is None:
                return True
        assert key is not None
        known = self._known.get(key)
        if known is None:
            long_ago = now - self._period
            known = Refusal(client, key[1] or "", reason, event, detail, long_ago, first=wall, enforced=enforced)
            known.who, known.gathered = subject or _who(client), key[1] is None
            known.subject, known.names = subject, names
            self._add(key, known)
        self._known.move_to_end(key)
        self._of[known.who].move_to_end(key)
        known.count += 1
        known.client, known.latest, known.detail, known.addresses = client, target, detail, addresses
        known.last, known.seen, known.named = wall, now, named
        is_due = now - known.written >= self._period
        if every or (self._mark(known.who, target, reason, enforced) if known.gathered else is_due):
            known.written = now if is_due else known.written
            return True
        known.untold += 1
        return False

    def take_due(self, now: float, at_once: bool = False) -> list[Refusal]:
        """Those whose count is to be told now; the caller tells it and sets `untold` to 0."""
        due = [one for one in self._known.values() if one.untold and (at_once or now - one.written >= self._period)]
        for one in due:
            one.written = now
        return due

    def latest(self, most: int) -> list[Refusal]:
        """The latest first; one client's only fill what others leave free."""
        share = max(1, most // LATEST_SHARES)
        chosen: list[tuple[int, Refusal]] = []
        others: list[tuple[int, Refusal]] = []
        counts: dict[str, int] = {}
        for place in enumerate(reversed(self._known.values())):
            if len(chosen) == most:
                break
            who = place[1].who
            counts[who] = counts.get(who, 0) + 1
            (chosen if counts[who] <= share else others).append(place)
        return [one for _place, one in sorted([*chosen, *others[: most - len(chosen)]], key=lambda place: place[0])]

    # Places.

    def _place(self, client: str, target: str, reason: str, enforced: bool, subject: str, now: float) -> Optional[_Key]:
        """Where a refusal that is not known is counted: at a place of its own, or gathered; None for nowhere."""
        key: _Key = (client, target, reason, enforced, subject)
        who = subject or _who(client)
        if len(self._of.get(who, ())) >= self._share_now(who) and not self._forget_a_quiet_one(self._of[who], now):
            key = (who, None, reason, enforced, subject)
            if key in self._known:
                return key
        has_room = (
            len(self._known) < self._most or self._forget_a_quiet_one(self._known, now) or self._gather_of_the_largest()
        )
        return key if has_room else None

    def _share_now(self, who: str) -> int:
        if len(self._known) < self._most:
            return self._share
        return min(self._share, max(1, self._most // (len(self._of) + (who not in self._of))))

    def _forget_a_quiet_one(self, of: OrderedDict[_Key, Refusal], now: float) -> bool:
        key, oldest = next(iter(of.items()))
        if oldest.untold or now - oldest.written < self._period:
            return False
        self._remove(key)
        return True

    def _gather_of_the_largest(self) -> bool:
        """Make room: of the client that has most places, its oldest refusals become one count. No count is lost."""
        largest = max(self._of.values(), key=len)
        kinds = Counter((one.reason, one.enforced) for one in largest.values())
        for key, one in tuple(largest.items()):
            if one.gathered or kinds[one.reason, one.enforced] < 2:
                continue
            self._mark(one.who, one.target, one.reason, one.enforced)  # it had its line
            self._remove(key)
            gathered: _Key = (one.who, None, one.reason, one.enforced, one.subject)
            to = self._known.get(gathered)
            if to is not None:
                to.untold += one.untold
                to.count += one.count
                to.first = min(to.first, one.first)
                to.last, to.seen = max((to.last, to.seen), (one.last, one.seen), key=lambda last: last[1])
                return True
            one.target, one.gathered = "", True
            self._add(gathered, one)
        return False

    def _mark(self, who: str, target: str, reason: str, enforced: bool) -> bool:
        """Whether one without a place of its own has not had its line yet, as far as is known; from now on it has."""
        mark = hash((who, target, reason, enforced))
        if mark in self._marks:
            return False
        if len(self._marks) >= MOST_MARKS:
            self._marks.clear()
        self._marks.add(mark)
        return True

    def _add(self, key: _Key, one: Refusal) -> None:
        self._known[key] = one
        self._of.setdefault(one.who, OrderedDict())[key] = one
        self._gathered += one.gathered

    def _remove(self, key: _Key) -> None:
        one = self._known.pop(key)
        self._gathered -= one.gathered
        mine = self._of[one.who]
        del mine[key]
        if not mine:
            del self._of[one.who]


def _who(client: str) -> str:
    """Whose share a client's are of: one machine may use any address of its /64."""
    if ":" not in client:
        return client
    try:
        address = IPv6Address(client)
    except ValueError:
        return client
    if address.is_link_local:
        return client  # of one network, all of them
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"
