"""Listen addresses that the machine does not have: of a pair, only one machine has the one that keepalived moves.

Clients come to such a place once the machine has its address; nothing needs to be opened for that. Where
listen-freebind says that it may be so, an absent address is no mistake and no reason not to be ready: it would never
come to a machine whose gateway is not ready because it is not there.
"""

import logging
import math
from typing import Any

from ogw.report.events import Event
from ogw.report.log import Log
from ogw.report.metrics import ABSENT
from ogw.settings.listening import EVERYWHERE
from ogw.settings.settings import Config
from ogw.tunnel.local import is_local
from ogw.wire.place import place

SECONDS = 2.0  # between two looks


def absent_places(config: Config) -> list[str]:
    """host:port of each listen address that the machine does not have just now."""
    return [place(host, port) for host, port in config.listen if not is_local(host)]


class Absence:
    """Tells the log, and a cell for the metrics, which come and go. Call `work` at the time of `next_time`.

    config  of the start: another listen-address needs a restart
    places  those that were absent at the last look
    """

    def __init__(self, log: Log, state: Any, config: Config) -> None:
        self._log = log
        self._state = state
        self._config = config
        self._may_be = config.listen_freebind == "yes"
        self._next = 0.0 if {host for host, _port in config.listen} - EVERYWHERE else math.inf
        self.places: list[str] = []

    def next_time(self) -> float:
        return self._next

    def stop(self) -> None:
        """A successor looks from now on."""
        self._next = math.inf

    def work(self, now: float) -> None:
        if now < self._next:
            return
        self._next = now + SECONDS
        before, self.places = self.places, absent_places(self._config)
        self._state[ABSENT] = len(self.places)
        for gone in (one for one in self.places if one not in before):
            told = "clients come once it has it" if self._may_be else "no client reaches it"
            level = logging.INFO if self._may_be else logging.WARNING
            message = f"{gone}: this machine does not have that address now; {told}"
            self._log.event(Event.INFORMATION, message, level=level)
        for came in (one for one in before if one not in self.places):
            self._log.event(Event.INFORMATION, f"{came}: this machine has that address now")
