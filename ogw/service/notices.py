"""Lines that the supervisor writes: by the clock, about itself, and about starts."""

import logging
import math
import os
import socket
import sys
import time
import traceback
from collections.abc import Iterable
from typing import Optional

from ogw import __version__
from ogw.policy.decision import Reason
from ogw.report.events import Event
from ogw.report.log import Log, timestamp
from ogw.report.losses import ASTRAY, told_of_trouble
from ogw.report.metrics import LINES_LOST, LOG_TROUBLE, MOST_DESCRIPTORS, MOST_TUNNELS
from ogw.report.repeated import Repeated
from ogw.report.standard import say
from ogw.report.table import Table
from ogw.service.admin.exposition import four_counters, passed
from ogw.service.admin.sockets import Sockets
from ogw.service.child import Child
from ogw.service.lasting import Lasting
from ogw.service.listener import place_of
from ogw.service.log import place_of_log
from ogw.settings.named import flags_of, folder_of
from ogw.settings.settings import Config

MODE_SECONDS = 3600.0  # between two lines that say that the policy only reports
LOG_SECONDS = 10.0  # between two lines on standard error about the log: a disk may be full every other moment
TELL_SECONDS = 1.0  # between two tries to tell of lost log lines, which may not be taken yet


class Notices:
    """Call `work` at the time that `next_time` says."""

    def __init__(self, log: Log, table: Table, config: Config) -> None:
        self._log = log
        self._table = table
        self._config = config
        self._log_place = place_of_log(config)  # another one needs a restart
        self._flags = flags_of(config, folder_of(config, os.environ))
        self._next_report = time.monotonic() + config.log_interval
        self._next_mode_report = math.inf  # while the policy only reports, in seconds of the monotonic clock
        self._log_trouble = ""  # that was told of on standard error
        self._log_told_at = -math.inf
        self._lasting = Lasting(log)
        self._trouble = Repeated()

    def say_started(self, sockets: Iterable[socket.socket], admin: Sockets) -> None:
        """All are ready.

        sockets  of one worker: they listen where those of all do
        """
        cells = self._table.gateway.cells
        places = list(dict.fromkeys(place_of(sock) for sock in sockets))
        self._log.event(
            Event.SERVICE_STARTED,
            f"ogw {__version__} listens on {', '.join(places)}",
            listen=places,
            version=__version__,
            workers=len(self._table.rows),
            admin=admin.place or None,
            max_tunnels=cells[MOST_TUNNELS],
            descriptors=cells[MOST_DESCRIPTORS],
        )
        for warning in (*self._config.warnings, *admin.warnings):
            self._log.event(Event.INFORMATION, warning, level=logging.WARNING)
        self.tell_of_mode()
        self._lasting.take(self._config.listen_lasts)

    def take(self, config: Config) -> None:
        """This one is in force now."""
        self._config = config
        self._next_report = time.monotonic() + config.log_interval
        self.tell_of_mode()
        self._lasting.take(config.listen_lasts)

    def stop_reporting(self) -> None:
        """The successor does that from now on, for both; what goes wrong here is still told here."""
        self._next_report = self._next_mode_report = math.inf
        self._lasting.stop()

    def next_time(self, now: float) -> float:
        lost = now + TELL_SECONDS if self._log.untold else math.inf
        return min(self._next_report, self._next_mode_report, self._lasting.next_time(), lost)

    def work(self, now: float) -> None:
        if now >= self._next_report:
            self._next_report = now + self._config.log_interval
            self._report()
        if now >= self._next_mode_report:
            self.tell_of_mode()
        self._lasting.work(now)
        self._log.report_lost()
        self._tell_of_log()

    def _tell_of_log(self) -> None:
        """That the log cannot be written is told where it can be read all the same; and that it can be again."""
        self._log.look()
        causes = self._table.each(LOG_TROUBLE)
        trouble = told_of_trouble(causes)
        if trouble == self._log_trouble or time.monotonic() < self._log_told_at + LOG_SECONDS:
            return
        self._log_trouble, self._log_told_at = trouble, time.monotonic()
        where = self._log_place
        if trouble:
            text = f"the log cannot be written: {where}: {trouble}"
            if any(cause >= ASTRAY for cause in causes):  # the line goes to where the others go
                self._log.event(Event.LIMIT_REACHED, text)
        else:
            text = f"the log is written again: {where}; lines lost so far: {self._table.sum(LINES_LOST)}"
        say(f"ogw: OGW-{Event.LIMIT_REACHED:d} {text}", sys.stderr)

    def _report(self) -> None:
        """The original's four counters, for those who collect only lines."""
        counted = four_counters(self._table)
        self._log.event(
            Event.INFORMATION,
            f"{counted['tunnels']} tunnels of {counted['clients']} clients are open; since the start "
            f"{counted['errors']} errors and {counted['tls_rejections']} rejections by the TLS rules",
            **counted,
        )

    def tell_of_mode(self) -> None:
        """While the policy only reports: at the start, at a reload and every hour, so that nobody forgets it."""
        until, count = self._config.reports_until or 0.0, passed(self._table)
        left = until - time.time()
        if left > 0:
            self._log.event(
                Event.INFORMATION,
                f"policy-mode = report until {timestamp(until)}: what no rule allows passes; would have been refused "
                f"so far: {count}; `ogw suggest{self._flags}` makes rules of them",
                level=logging.WARNING,
                until=timestamp(until),
                count=count,
            )
            self._next_mode_report = time.monotonic() + min(MODE_SECONDS, left)
        else:
            if self._next_mode_report < math.inf:
                message = f"policy-mode = report is over, the policy is enforced; would have been refused: {count}"
                self._log.event(Event.INFORMATION, message, level=logging.WARNING, count=count)
            self._next_mode_report = math.inf

    def tell_of_trouble(self, error: BaseException) -> None:
        """The system refused the supervisor something: one line, then a count a minute."""
        if count := self._trouble.times("trouble"):
            message = f"{type(error).__name__}: {error} in the supervisor, which goes on; {count} times"
            trace = "".join(traceback.format_exception(error))
            self._log.event(Event.ERROR, message, Reason.INTERNAL_ERROR.token, count=count, traceback=trace)

    def tell_of_start(self, child: Child, error: Optional[BaseException]) -> None:
        """A child could not be started, or, once that was told, it could."""
        if error is None:
            self._log.event(
                Event.INFORMATION, f"{child.name} was started, after {child.tries} tries that failed", count=child.tries
            )
        elif child.tries == 1:
            why = error.strerror if isinstance(error, OSError) else "there is no memory"
            self._log.event(
                Event.LIMIT_REACHED,
                f"{child.name} cannot be started: {why}; it is tried again and again, and what runs goes on; raise the "
                "limit of processes or open files (TasksMax=, LimitNPROC=, LimitNOFILE=, a container's pids limit)",
                level=logging.ERROR,
            )
