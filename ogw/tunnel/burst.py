"""What the tunnels of one turn of the loop tell their peers: it goes out at the end of the turn, back to back.

A peer that has nothing to do falls asleep, and whoever sends to it then pays for waking it, which costs more than the
send. Between two sends of one turn a gateway judges and looks things up for longer than its peers stay awake; so they
are put off until all of that is done, and the first one wakes the peers for the others.
"""

from collections.abc import Callable
from typing import Any, Optional

from gevent.hub import get_hub

# System calls that neither wait nor raise. What an act returns is called, in the hub, when all have acted.
Act = Callable[[], Optional[Callable[[], Any]]]


class Burst:
    """The acts that wait for the end of the turn. Whoever adds one takes it out before it closes what that acts on."""

    def __init__(self) -> None:
        self._acts: list[Act] = []

    def add(self, act: Act) -> None:
        """It acts once, at the end of this turn."""
        if not self._acts:
            get_hub().loop.run_callback(self._run)
        self._acts.append(act)

    def remove(self, act: Act) -> None:
        """It does not act any more; nothing is changed where it has acted."""
        if act in self._acts:
            self._acts.remove(act)

    def _run(self) -> None:
        acts, self._acts = self._acts, []
        told = []
        for act in acts:
            tell = act()
            if tell is not None:
                told.append(tell)
        for tell in told:
            tell()
