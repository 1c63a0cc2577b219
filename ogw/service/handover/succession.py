"""What a successor does beside being a supervisor: its trial, its beginning, and its predecessor's last hours.

On trial its workers are there and accept nobody, until the predecessor lets them. Both have the doors for a moment;
then the predecessor closes its own and drains, and is asked and told what concerns the whole gateway.
"""

import logging
import math
import os
import selectors
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from ogw import __version__
from ogw.policy.decision import Reason
from ogw.report.events import Event
from ogw.report.log import Log
from ogw.report.metrics import (
    MOST_REASONS,
    MOST_RELAYS,
    NAMES,
    OF_REASONS,
    PREDECESSOR,
    PREDECESSOR_UNTIL,
    RELAY_REASONS,
)
from ogw.report.table import Table
from ogw.service import messages
from ogw.service.admin.sockets import Sockets
from ogw.service.births import Births
from ogw.service.child import send_signal
from ogw.service.children import Children
from ogw.service.control import MessageTooLarge
from ogw.service.deaths import Deaths
from ogw.service.handover.messages import (
    Asked,
    Called,
    Ended,
    EndNow,
    Go,
    Message,
    Ready,
    Reloaded,
    ReloadToo,
    Serving,
    Stop,
    Told,
    Yours,
)
from ogw.service.handover.predecessor import ORPHANS_SECONDS, Predecessor
from ogw.service.handover.program import speak
from ogw.service.messages import ForWorkers, Open
from ogw.service.notify import notify
from ogw.service.questions import PREDECESSOR as ASKED
from ogw.service.questions import Questions
from ogw.service.wishes import Wish

# Every cell's name, for a predecessor or a successor of another version.
CELLS = {
    **NAMES,
    **{f"{what} {reason.token}": first + reason.index for what, first in OF_REASONS.items() for reason in Reason},
    **{
        f"r{slot} {reason.token.removeprefix('relay-')}": RELAY_REASONS + MOST_REASONS * slot + reason.index
        for slot in range(MOST_RELAYS)
        for reason in Reason
        if "relay-" in reason.token
    },
}


END_NOW_SECONDS = 15.0  # what the predecessor has to end at once: more than its own stragglers have


class Succession:
    """Of a supervisor that has a predecessor.

    on_trial  the predecessor has not heard that it serves, and would go on without it
    failed    why there is nothing to take over any more; "" while there is
    wished    called with a reload that somebody wished for meanwhile
    speaks    called when systemd hears this process
    """

    def __init__(
        self,
        predecessor: Predecessor,
        selector: selectors.BaseSelector,
        log: Log,
        table: Table,
        children: Children,
        births: Births,
        deaths: Deaths,
        questions: Questions,
        admin_sockets: Sockets,
        wished: Callable[[Wish], None],
        speaks: Callable[[], None],
    ) -> None:
        self._predecessor = predecessor
        self._log = log
        self._table = table
        self._state: Any = table.gateway.cells
        self._children = children
        self._births = births
        self._deaths = deaths
        self._questions = questions
        self._admin_sockets = admin_sockets
        self._wished = wished
        self._speaks = speaks
        self._said_ready = False
        self._opens = False
        self._said_farewell = False
        self._has_spoken = False
        self._kill_at = math.inf
        self._clear_at = math.inf  # what a predecessor that was killed has left in the table
        self.on_trial = True
        self.failed = ""
        births.opens = False
        admin_sockets.is_ours = False
        children.admin.start_at = math.inf
        predecessor.watch(selector, self._heard, self._lost)

    @property
    def is_shared(self) -> bool:
        """A predecessor is there, or what it left is not cleared yet."""
        return self._predecessor.is_there or self._clear_at < math.inf

    @property
    def pid(self) -> int:
        """Of the predecessor."""
        return self._predecessor.offer.pid

    def next_time(self) -> float:
        return min(self._clear_at, self._kill_at)

    def work(self, now: float) -> None:
        if self.on_trial and all(worker.ready for worker in self._children.workers):
            if self._opens:
                self._begin()
            elif not self._said_ready:
                self._said_ready = True
                self._predecessor.say(Ready(__version__, os.getpid()))
        if now >= self._kill_at and self._predecessor.is_there:
            self._kill_at = math.inf
            send_signal(self.pid, signal.SIGKILL)
        if now >= self._clear_at:
            self._clear()

    def _clear(self) -> None:
        self._clear_at = math.inf
        if self._table.predecessor is not None:
            self._table.predecessor.clear()

    def refuse(self, why: str) -> None:
        """We end on trial."""
        self._predecessor.refuse(why)

    def stop(self, seconds: float) -> None:
        """The gateway stops; tunnels of the predecessor have as long as ours."""
        self._predecessor.say(Stop(seconds))

    def end_now(self) -> None:
        """Its tunnels go; one that hangs is killed."""
        self._predecessor.say(EndNow())
        self._kill_at = min(self._kill_at, time.monotonic() + END_NOW_SECONDS)

    def outlive(self) -> None:
        """We end, the gateway with us, and the predecessor had its time: one that is there yet hangs, and is killed."""
        if self._predecessor.is_there:
            message = f"the predecessor (process {self.pid}) does not end, and is killed"
            self._log.event(Event.INFORMATION, message, level=logging.WARNING)
            self._deaths.predecessor_cut(self._table.predecessor.tunnels if self._table.predecessor is not None else 0)
            send_signal(self.pid, signal.SIGKILL)

    def reload(self) -> None:
        """The configuration that is in force is another one."""
        self._predecessor.say(ReloadToo())

    def leave_behind(self) -> None:
        """In a child."""
        self._predecessor.leave_behind()

    def _heard(self, message: Message) -> None:
        match message:
            case Go() if self.on_trial:
                self._open()
            case Yours(seconds):
                self._state[PREDECESSOR_UNTIL] = int(time.monotonic() + seconds)
                self._speak()
            case ReloadToo():
                self._wished(Wish(by_hand=True, reply=self._tell_of_reload))
            case Told(number, answer):
                self._questions.predecessor_answered(number, answer)
            case Ended(cut):
                self._said_farewell = True
                self._deaths.predecessor_cut(cut)

    def _open(self) -> None:
        self._opens = self._births.opens = True
        for worker in self._children.workers:
            worker.ready = False  # it says so again once it accepts
        self._children.tell_workers(Open())

    def _begin(self) -> None:
        """All workers accept: so far the predecessor's do, too."""
        self.on_trial = False
        self._table.go_on()
        self._children.admin.start_at = 0.0
        self._predecessor.say(Called(self._births.flags))
        self._predecessor.say(Serving())
        self._state[PREDECESSOR] = self.pid
        self._questions.predecessor = self._ask
        path = self._predecessor.offer.path
        self._admin_sockets.is_ours = True
        if path and path != self._admin_sockets.path:
            with suppress(OSError):
                os.unlink(path)  # run-dir is another one now

    def _ask(self, number: int, question: ForWorkers) -> None:
        self._predecessor.say(Asked(number, messages.packed(question)))

    def _tell_of_reload(self, answer: Mapping[str, Any]) -> None:
        with suppress(MessageTooLarge):  # whoever asked is told that it goes on, and that the log has the rest
            self._predecessor.say(Reloaded(*(answer[name] for name in Reloaded._fields)))

    def _speak(self) -> None:
        """Systemd knows us by now."""
        if not self._has_spoken:
            self._has_spoken = True
            speak(os.environ)
            notify("READY=1", f"MAINPID={os.getpid()}")
            self._speaks()

    def _lost(self) -> None:
        if self.on_trial:
            self.failed = "the gateway that started this one as its successor has ended, or given it up"
            return
        self._speak()
        self._kill_at = math.inf
        self._questions.predecessor = None
        self._questions.forget(ASKED)
        self._state[PREDECESSOR] = 0
        if self._said_farewell:
            self._clear()
        else:
            self._clear_at = time.monotonic() + ORPHANS_SECONDS
        how = "has ended" if self._said_farewell else "was killed, and its tunnels end"
        self._log.event(Event.INFORMATION, f"the predecessor (process {self.pid}) {how}")
