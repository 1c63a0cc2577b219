"""What happens again and again, and is nobody's fault outside: one line, then one with a count a minute."""

import time
from collections.abc import Hashable

REPEAT_SECONDS = 60.0  # between two lines of the same
MOST = 100  # different ones that are told apart; all others are one


class Repeated:
    def __init__(self, seconds: float = REPEAT_SECONDS) -> None:
        self._seconds = seconds
        self._next: dict[Hashable, float] = {}  # when it is told again, by the monotonic clock
        self._untold: dict[Hashable, int] = {}

    def times(self, what: Hashable) -> int:
        """It happened. How often that is to be told of now, this time included; 0 where it is not to be told."""
        if what not in self._next and len(self._next) >= MOST:
            what = None
        self._untold[what] = self._untold.get(what, 0) + 1
        if time.monotonic() < self._next.get(what, 0.0):
            return 0
        self._next[what] = time.monotonic() + self._seconds
        return self._untold.pop(what)
