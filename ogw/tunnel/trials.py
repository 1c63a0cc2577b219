"""Step 3 of the path, beside it: relay proxies that rest are tried in the background; no client waits for that."""

import time
from typing import Any, Optional

import gevent
from gevent.hub import get_hub

from ogw.tunnel.relay import Relay
from ogw.tunnel.relays import Relays
from ogw.tunnel.turns import Turns

LOOK_SECONDS = 1.0  # how often it is looked whether one is to be tried, while any rests


class Trials:
    """Of one worker, as long as it serves. A trial lasts no longer than a tunnel would wait."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._relays: Optional[Relays] = None
        self._timer: Any = None
        self._going_on: dict[Relay, gevent.Greenlet] = {}
        self._is_over = False

    def follow(self, relays: Optional[Relays]) -> None:
        """These are in force from now on. A trial of those before them ends."""
        self._stop()
        self._relays = relays
        if relays is not None and any(relay.rests for relay in relays.relays):
            self.begin()

    def begin(self) -> None:
        """One rests from now on."""
        if self._timer is None and not self._is_over:
            self._timer = get_hub().loop.timer(LOOK_SECONDS, LOOK_SECONDS)
            self._timer.start(self._look)

    def end(self) -> None:
        """For good."""
        self._is_over = True
        self._stop()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None
        for trial in self._going_on.values():
            trial.kill(block=False)
        self._going_on.clear()

    def _look(self) -> None:
        relays, now = self._relays, time.monotonic()
        resting = [relay for relay in relays.relays if relay.rests] if relays is not None else []
        for relay in resting:
            if relay in self._going_on or now < relay.tried_from:
                continue
            if self._turns.others_know_better(relay.slot, relay.rests_since):
                assert relays is not None
                relays.forget(relay)
            elif self._turns.take(relay.slot, now):
                self._going_on[relay] = gevent.spawn(self._try, relay)
        if not resting:
            self._stop()

    def _try(self, relay: Relay) -> None:
        assert self._relays is not None
        try:
            self._relays.attempt(relay)
        finally:
            if self._going_on.get(relay) is gevent.getcurrent():
                del self._going_on[relay]
