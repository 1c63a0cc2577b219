"""Who wishes for an upgrade, what refuses it, and what came of it.

A wish begins a successor (successor.py), one at a time. While one is on its way nothing else changes: reloads wait.
"""

import os
import selectors
from collections.abc import Callable, Mapping
from typing import Any, Optional

from ogw.report.events import Event
from ogw.report.log import Log
from ogw.service.handover.messages import Message, Offer
from ogw.service.handover.program import Program
from ogw.service.handover.successor import Successor

INSTEAD = "start a container of the new version beside it, and let this one drain (docs/upgrade.md)"
PROCESS_1 = f"it is process 1 of a container, which ends with it; {INSTEAD}"
OF_INIT = f"{{}}, process 1 of this container, ends it with the process that it started; {INSTEAD}"
INITS = ("tini", "docker-init", "podman-init", "catatonit", "dumb-init")  # they end with what they started
NO_NOTIFY = (
    "systemd would take the end of this process for that of the service: its unit needs Type=notify, as in "
    "conf/ogw.service; restart the service instead"
)
UNDER_WAY = "an upgrade is under way already"
CHANGED = "nothing was upgraded, the running gateway goes on as before"


class Handover:
    """Call `work` at the time that `next_time` says, and when something happened.

    offer      what a successor is given
    served     called with the successor that serves
    reply      answers the question of this number
    heard      called with what the successor says from then on
    flags      by which commands mean this gateway
    successor  that is on its way, or serves; None for none
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        log: Log,
        program: Program,
        offer: Callable[[], Offer],
        served: Callable[[Successor], None],
        reply: Callable[[int, dict[str, Any]], None],
        heard: Callable[[Message], None],
        flags: str,
    ) -> None:
        self._selector = selector
        self._log = log
        self._program = program
        self._offer = offer
        self._served = served
        self._reply = reply
        self._heard = heard
        self._flags = flags
        self._wished = False
        self._asked: list[int] = []  # the questions that wait for it
        self.successor: Optional[Successor] = None

    @property
    def is_running(self) -> bool:
        """A successor is on its way."""
        return self.successor is not None and not self.successor.serves

    def wish(self, why_not: str, question: Optional[int] = None) -> None:
        """Somebody wants a successor; the question of this number is answered once it serves, or there is none.

        why_not  why there can be none; "" for no reason
        """
        why = UNDER_WAY if self.is_running or self._wished else why_not
        if why:
            self._log.event(Event.UPGRADE_FAILED, f"no upgrade: {why}")
            if question is not None:
                self._reply(question, _answer(why))
            return
        self._wished = True
        self._asked += [question] if question is not None else []

    def next_time(self) -> list[float]:
        return [self.successor.next_time()] if self.successor is not None and self.is_running else []

    def work(self, now: float, may_begin: bool) -> None:
        """
        may_begin  nothing runs that is to come to its end first
        """
        if self._wished and may_begin:
            self._wished = False
            self._begin()
        if self.successor is not None:
            self.successor.work(now)

    def give_up(self, why: str) -> None:
        """The one that is on its way, and the wish for one."""
        if self._wished:
            self._wished = False
            self._failed(why)
        elif self.successor is not None and self.is_running:
            self.successor.fail(why)

    def leave_behind(self) -> None:
        """In a child."""
        if self.successor is not None:
            self.successor.leave_behind()

    def _begin(self) -> None:
        successor = Successor(self._selector, self._served, self._failed, self._heard, self._lost)
        try:
            successor.start(self._program, self._offer())
        except (OSError, MemoryError) as error:
            self._failed(f"it cannot be started: {getattr(error, 'strerror', '') or 'there is no memory'}")
            return
        if successor.is_over:
            return  # that was told
        self.successor = successor
        self._log.event(Event.INFORMATION, f"an upgrade begins: process {successor.pid} is started as the successor")

    def answer(self, tunnels: int) -> None:
        """Whoever asked for it: the successor serves, and so many tunnels stay here to their end."""
        assert self.successor is not None
        answer = _answer("", self.successor.pid, self.successor.version, tunnels)
        if self.successor.flags not in (None, self._flags):
            answer["flags"] = self.successor.flags
        for question in self._asked:
            self._reply(question, answer)
        self._asked.clear()

    def _failed(self, why: str) -> None:
        self.successor = None
        self._log.event(Event.UPGRADE_FAILED, f"the successor failed: {why}; {CHANGED}")
        for question in self._asked:
            self._reply(question, _answer(why))
        self._asked.clear()

    def _lost(self) -> None:
        assert self.successor is not None
        message = f"the successor (process {self.successor.pid}) has ended; tunnels that are open here have their time"
        self._log.event(Event.INFORMATION, message)


def _answer(why: str, pid: int = 0, version: str = "", tunnels: int = 0) -> dict[str, Any]:
    return {"why": why, "pid": pid, "version": version, "tunnels": tunnels}


def why_never(environment: Mapping[str, str]) -> str:
    """What about this process makes an upgrade impossible as long as it lives; "" for nothing."""
    if os.getpid() == 1:
        return PROCESS_1
    if os.getppid() == 1 and (init := _name_of_process_1()) in INITS:
        return OF_INIT.format(init)
    if environment.get("SYSTEMD_EXEC_PID") == str(os.getpid()) and not environment.get("NOTIFY_SOCKET"):
        return NO_NOTIFY
    return ""


def _name_of_process_1() -> str:
    try:
        with open("/proc/1/comm") as file:
            return file.read().strip()
    except OSError:
        return ""
