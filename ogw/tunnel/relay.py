"""Step 3 of the path, its other way: one relay proxy, and how it fares.

One that cannot be reached, stalls, closes, talks garbage or answers 5xx whatever it is asked for rests: tunnels pass it
by until a trial in the background (tunnel/trials.py), or a tunnel that has no other way, finds that it answers again.
"""

from collections.abc import Sequence
from typing import Optional

from ogw.report.metrics import RelayState
from ogw.wire.connect import Target
from ogw.wire.relay_proxy import RelayProxy

FIRST_TRIAL = 1.0  # seconds after its rest began: what ends at once is no reason to wait for longer
MOST_DOUBTS = 5  # refusals in a row that tell of the relay proxy, not of a target
SEVERAL = 3  # of so many targets it is not one of them that is the matter


class Relay:
    """One relay proxy, and how it fares.

    number   its place in the list, by which it is counted
    slot     that of its URL (report/slots.py)
    wanted   what trials ask it for; None: what it was asked for last
    named_for  host rules of the targets that it is for; none: for any
    tunnels  of this worker that are open over it, or being opened
    in_force  no reload has taken it out; tunnels that were dialing then may still fail over it
    """

    def __init__(
        self,
        proxy: RelayProxy,
        number: int = 0,
        slot: int = 0,
        wanted: Optional[Target] = None,
        named_for: Sequence[str] = (),
    ) -> None:
        self.proxy = proxy
        self.place_as(number, slot, wanted, named_for)
        self.asked: Optional[Target] = None  # last, and it opened a tunnel if it ever did
        self.tunnels = 0
        self.in_force = True
        self.rests = False
        self.rests_since = 0.0
        self.tried_from = 0.0  # no trial before that
        self.answered = 0.0  # when it last answered anything readable
        self.state = RelayState.NEVER_TRIED
        self.since = 0.0  # when it last did what its state says
        self.why = ""  # it is not up
        self._has_opened = False
        self.scheme = ""  # of authenticating that it took last
        self._is_ill = False  # its refusals in a row are 5xx
        self._doubts = 0
        self._doubted: set[Target] = set()

    def place_as(self, number: int, slot: int, wanted: Optional[Target], named_for: Sequence[str]) -> None:
        """What entries say of it, which is not what is known of it."""
        self.number, self.slot, self.wanted, self.named_for = number, slot, wanted, named_for

    def rest(self, now: float, why: str, target: Target) -> bool:
        """It failed for this target: let it rest; False if it rests already."""
        self._set(RelayState.RESTING, now, why)
        if not self._has_opened:
            self.asked = target
        if self.rests:
            return False
        self.rests, self.rests_since, self.tried_from = True, now, now + FIRST_TRIAL
        return True

    def wake(self) -> bool:
        """It answered, so it rests no more; False if it did not rest."""
        rested, self.rests = self.rests, False
        return rested

    def forget(self) -> None:
        """What this worker knew of it is of the past: another knows better."""
        self.rests, self.state, self.since, self.why = False, RelayState.NEVER_TRIED, 0.0, ""

    def note_opened(self, now: float, target: Target) -> None:
        """It opened a tunnel: whatever it refused before was about the targets."""
        self._set(RelayState.UP, now, "")
        self.asked, self._has_opened = target, True
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
