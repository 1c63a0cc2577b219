"""Until when the certificate of tls:// addresses, and the revocation lists of clients' certificates, can be used.

Whoever renews them may have forgotten this gateway: it says so in time, once a day.
"""

import logging
import time
from collections.abc import Iterator

from ogw.report.events import Event
from ogw.report.log import Log, timestamp
from ogw.settings.listen_tls import Lasts
from ogw.settings.renewal import soon_over

SECONDS = 86400.0  # between two lines


class Lasting:
    """Call `work` at the time of `next_time`, and `take` with what is in force."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._lasts = Lasts()
        self._next = float("inf")

    def take(self, lasts: Lasts) -> None:
        if lasts != self._lasts:
            self._lasts = lasts
            self._next = time.monotonic()

    def next_time(self) -> float:
        return self._next

    def stop(self) -> None:
        """The successor does that."""
        self._next = float("inf")

    def work(self, now: float) -> None:
        if now < self._next:
            return
        for sentence in self._sentences():
            self._log.event(Event.INFORMATION, sentence, level=logging.WARNING)
        wall = time.time()
        ends = [until - wall for until in self._lasts if until > wall]
        self._next = now + min([SECONDS, *ends]) if any(self._lasts) else float("inf")

    def _sentences(self) -> Iterator[str]:
        for (name, what, do), until in zip(TOLD, self._lasts, strict=True):
            if soon_over(name, until):
                told = "is over since" if until <= time.time() else "ends at"
                yield f"{name}: the time of {what} {told} {timestamp(until)}; {do}"


TOLD = (
    (
        "listen-tls-certificate",
        "the gateway's certificate",
        "put a new one in its place, which is taken without a stop",
    ),
    ("listen-client-crl", "the first revocation list", "put the current one in its place, or no client of it gets in"),
)
