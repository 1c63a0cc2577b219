"""Step 3 of the path, its other way: one relay proxy, and how it fares.

One that cannot be reached, stalls, closes, talks garbage or answers 5xx whatever it is asked for rests for a growing
while. Once that is over, real traffic tries it again, one tunnel at a time.
"""

from ogw.report.metrics import RelayState
from ogw.wire.connect import Target
from ogw.wire.relay_proxy import RelayProxy

FIRST_REST, LONGEST_REST = 1.0, 60.0  # seconds
MOST_DOUBTS = 5  # refusals in a row that tell of the relay proxy, not of a target
SEVERAL = 3  # of so many targets it is not one of them that is the matter


class Relay:
    """One relay proxy, and how it fares. `number`: its place in the list, by which it is counted."""

    def __init__(self, proxy: RelayProxy, number: int = 0) -> None:
        self.proxy = proxy
        self.number = number
        self.rest_seconds = 0.0  # 0 while it works
        self.rests_until = 0.0
        self.tried = False  # a tunnel is trying it, now that its rest is over
        self.answered = 0.0  # when it last answered anything readable
        self.state = RelayState.NEVER_TRIED
        self.since = 0.0  # when it last did what its state says
        self.why = ""  # it is not up
        self._is_ill = False  # its refusals in a row are 5xx
        self._doubts = 0
        self._doubted: set[Target] = set()

    def is_due(self, now: float) -> bool:
        return not self.rest_seconds or (now >= self.rests_until and not self.tried)

    def rest(self, now: float, why: str = "") -> bool:
        """It failed: let it rest, for longer than the last time; False if it rests already."""
        self._set(RelayState.RESTING, now, why)
        if self.rest_seconds and now < self.rests_until:
            # Many tunnels were trying it when it failed, and each comes here; together they are one failure.
            return False
        self.rest_seconds = min(LONGEST_REST, self.rest_seconds * 2 or FIRST_REST)
        self.rests_until = now + self.rest_seconds
        return True

    def wake(self) -> bool:
        """It answered, so it rests no more; False if it did not rest."""
        rested, self.rest_seconds = bool(self.rest_seconds), 0.0
        return rested

    def note_opened(self, now: float) -> None:
        """It opened a tunnel: whatever it refused before was about the targets."""
        self._set(RelayState.UP, now, "")
        self._doubts = 0
        self._doubted.clear()

    def note_refused(self, now: float, why: str, status: int, target: Target, others_open_it: bool = False) -> None:
        """It answered with something else than 2xx. One target's own trouble changes nothing about one that is up.

        others_open_it  another relay proxy opened a tunnel to the same target
        """
        is_ill = status >= 500
        if is_ill is not self._is_ill:
            self._is_ill = is_ill
            self._doubts = 0
            self._doubted.clear()
        # A 502 is also what a healthy proxy says of a dead target, and one client may ask for that target all day. So
        # a target casts one doubt, unless others open it or several targets have trouble: then it is not they.
        tells = others_open_it or target not in self._doubted or len(self._doubted) >= SEVERAL
        if tells and self._doubts < MOST_DOUBTS:
            self._doubts += 1
            self._doubted.add(target)
        if status == 407 or self._doubts >= MOST_DOUBTS or self.state is not RelayState.UP:
            self._set(RelayState.REFUSES_US, now, why)

    @property
    def is_given_up(self) -> bool:
        """It answers 5xx whatever it is asked for."""
        return self._is_ill and self._doubts >= MOST_DOUBTS

    def _set(self, state: RelayState, now: float, why: str) -> None:
        self.state, self.since, self.why = state, now, why
