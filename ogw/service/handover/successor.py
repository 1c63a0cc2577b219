"""The successor as the running supervisor sees it: started, waited for, told to go; or given up, as if never begun.

Until it says that it is ready it accepts nobody, and until it serves nothing is closed here: whatever it fails at,
hangs at or does not understand, the running gateway is as it was.
"""

import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Optional

from ogw.service.control import Channel, MessageTooLarge
from ogw.service.handover.link import Link
from ogw.service.handover.messages import Called, Go, Message, Offer, Ready, Serving, Unable
from ogw.service.handover.program import Program

READY_SECONDS = 90.0  # what the successor has until it is ready: to read long lists and start its workers
GO_SECONDS = 10.0  # and from there until it serves
LONGEST_WHY = 1000  # characters


class Successor:
    """One try. Call `work` at the time that `next_time` says, and when something happened.

    pid      its process id; 0 until it is started
    version  what it says that it is
    flags    by which commands mean it; None while it does not say
    goes     it was told to open the doors
    serves   it does, and this is the predecessor
    is_over  there will be none
    link     to it; the rest is said there once it serves
    served   called then
    failed   called with why there will be none
    heard    called with what it says once it serves
    lost     called where it ends after that
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        served: Callable[["Successor"], None],
        failed: Callable[[str], None],
        heard: Callable[[Message], None],
        lost: Callable[[], None],
    ) -> None:
        self._selector = selector
        self._served = served
        self._failed = failed
        self._heard_later = heard
        self._lost_later = lost
        self._until = 0.0
        self._process = -1  # a descriptor of it
        self.goes = False
        self.is_over = False
        self.link: Optional[Link] = None
        self.pid = 0
        self.version = ""
        self.flags: Optional[str] = None
        self.serves = False

    def start(self, program: Program, offer: Offer) -> None:
        """Raises OSError or MemoryError; then nothing was begun."""
        ours, theirs = socket.socketpair()
        try:
            inherited = [*offer.doors, *offer.admin.values(), *offer.tables]
            self.pid = program.start(theirs.fileno(), inherited)
            self._until = time.monotonic() + READY_SECONDS
            self.link = Link(Channel(ours), self._selector, self._heard, self._lost)
            with suppress(ProcessLookupError):  # it is gone; the end of the channel says so
                self._process = os.pidfd_open(self.pid)
                self._selector.register(self._process, selectors.EVENT_READ, self._died)
            self.link.say(offer)
        except (OSError, MemoryError, MessageTooLarge):
            self._end()
            ours.close()
            raise
        finally:
            theirs.close()

    def next_time(self) -> float:
        return self._until

    def work(self, now: float) -> None:
        if not self.serves and now >= self._until:
            seconds = GO_SECONDS if self.goes else READY_SECONDS
            self.fail(f"it did not {'serve' if self.goes else 'become ready'} within {seconds:g} s, and was ended")

    def fail(self, why: str) -> None:
        """End it. What it did accept by then is lost; that is nothing before it was told to go."""
        if not self.is_over:
            self._end()
            self._failed(why[:LONGEST_WHY])

    def leave_behind(self) -> None:
        """In a child."""
        if self.link is not None:
            self.link.close()
        if self._process >= 0:
            os.close(self._process)

    def _heard(self, message: Message) -> None:
        match message:
            case _ if self.serves:
                self._heard_later(message)
            case Ready(version, pid) if not self.goes:
                self.version, self.goes = version, True
                if pid != self.pid:
                    self.fail(f"it says that it is process {pid}, and process {self.pid} was started")
                    return
                self._until = time.monotonic() + GO_SECONDS
                self._say(Go())
            case Called(flags):
                self.flags = flags
            case Unable(why):
                self.fail(why)
            case Serving() if self.goes:
                self.serves = True
                self._stop_watching()
                self._served(self)

    def _lost(self) -> None:
        if self.serves:
            self._lost_later()
        else:
            self.fail("it ended before it served; its own lines in the log, or on standard error, say why")

    def _died(self, _mask: int) -> None:
        """Its last words may be unread; and the channel is open where a process that it started still holds it."""
        if self.link is not None:
            self.link.listen()
        self._lost()

    def _say(self, message: Message) -> None:
        assert self.link is not None
        self.link.say(message)

    def _end(self) -> None:
        self.is_over = True
        if self.link is not None:
            self.link.close()
        if self._process >= 0:
            with suppress(OSError):
                signal.pidfd_send_signal(self._process, signal.SIGKILL)
        self._stop_watching()

    def _stop_watching(self) -> None:
        if self._process >= 0:
            self._selector.unregister(self._process)
            os.close(self._process)
            self._process = -1
