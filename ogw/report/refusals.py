"""A denied client that retries for ever is one line, then a count a minute; and the latest refusals, for people.

Without it a till with a wrong target fills the disk, and the refusal that is new drowns.
"""

from collections import OrderedDict
from dataclasses import dataclass

PERIOD = 60.0  # seconds between two lines of the same refusal
MOST = 2000  # different refusals that are remembered; further ones have a line each time


@dataclass
class Refusal:
    """One client's refusals of one kind.

    told     when its last line was written, in seconds of a monotonic clock
    untold   how many came since
    count    how many came at all, since it is remembered
    first    Unix seconds of the first one
    last     and of the last
    seen     when the last came, in seconds of a monotonic clock
    enforced False where it passed all the same: it was only reported
    """

    client: str
    target: str
    reason: str
    event: int
    detail: str
    told: float
    untold: int = 0
    count: int = 0
    first: float = 0.0
    last: float = 0.0
    seen: float = 0.0
    enforced: bool = True


class Refusals:
    """Those of one process, by client address, target and reason; the latest at the end."""

    def __init__(self, period: float = PERIOD, most: int = MOST) -> None:
        self._period = period
        self._most = most
        self._known: OrderedDict[tuple[str, str, str, bool], Refusal] = OrderedDict()

    @property
    def is_full(self) -> bool:
        """No more are remembered than there are: older ones may be forgotten, new ones not remembered."""
        return len(self._known) >= self._most

    def is_news(
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
    ) -> bool:
        """Remember one; whether it has a line of its own. `every`: all have one."""
        key = client, target, reason, enforced
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= self._most and not self._make_room(now):
                return True
            told = now - self._period
            known = Refusal(client, target, reason, event, detail, told, first=wall, enforced=enforced)
            self._known[key] = known
        else:
            self._known.move_to_end(key)
        known.count += 1
        known.last, known.seen = wall, now
        known.detail = detail
        if every or now - known.told >= self._period:
            known.told = now
            return True
        known.untold += 1
        return False

    def due(self, now: float, at_once: bool = False) -> list[Refusal]:
        """Those whose count is to be told now; the caller tells it and sets `untold` to 0."""
        due = [one for one in self._known.values() if one.untold and (at_once or now - one.told >= self._period)]
        for one in due:
            one.told = now
        return due

    def latest(self, most: int) -> list[Refusal]:
        """The latest first."""
        found: list[Refusal] = []
        for one in reversed(self._known.values()):
            if len(found) == most:
                break
            found.append(one)
        return found

    def _make_room(self, now: float) -> bool:
        key, oldest = next(iter(self._known.items()))
        if oldest.untold or now - oldest.told < self._period:
            return False
        del self._known[key]
        return True
