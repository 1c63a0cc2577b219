"""What a supervisor does beside being one once its successor serves: it drains, answers the successor, and obeys it."""

import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Optional

from ogw import __version__
from ogw.report.events import Event
from ogw.report.log import Log
from ogw.report.table import Table
from ogw.service.admin.sockets import Sockets
from ogw.service.children import Children
from ogw.service.control import MessageTooLarge
from ogw.service.ending import Ending
from ogw.service.handover.messages import (
    PROTOCOL,
    Asked,
    Ended,
    EndNow,
    Message,
    Offer,
    Reloaded,
    ReloadToo,
    Stop,
    Told,
    Yours,
)
from ogw.service.handover.program import keep_silent
from ogw.service.handover.successor import Successor
from ogw.service.messages import End, Leave, Retire, question_of
from ogw.service.notify import notify
from ogw.service.questions import EARLIER_SECONDS, Questions, Replies
from ogw.service.wishes import Wish, Wishes

MAINPID_SECONDS = 2.0  # that the one line is tried to be told which the service cannot do without
HANDED_ON_SECONDS = 60.0  # that a reload is awaited of the successor: no longer than whoever asked for it waits here
UPGRADED = "the gateway was upgraded meanwhile; ask again"


class Retirement:
    """
    successor  that serves; None before that
    """

    def __init__(
        self,
        log: Log,
        table: Table,
        children: Children,
        questions: Questions,
        wishes: Wishes,
        ending: Ending,
        admin_sockets: Sockets,
    ) -> None:
        self._log = log
        self._table = table
        self._children = children
        self._questions = questions
        self._wishes = wishes
        self._ending = ending
        self._admin_sockets = admin_sockets
        self._handed_on: list[Replies] = []  # to the successor: whom its answer is for
        self._until = math.inf
        self.successor: Optional[Successor] = None

    @property
    def waits(self) -> bool:
        """For what comes of a reload that was handed on."""
        return bool(self._handed_on)

    def next_time(self) -> float:
        return self._until

    def work(self, now: float) -> None:
        if self._handed_on and not (self.is_told and now < self._until):
            self._answer_handed_on({"mistakes": [UPGRADED], "changed": [], "policy": self._log.policy})

    @property
    def is_told(self) -> bool:
        """What concerns us we hear from the successor."""
        return self.successor is not None and self.successor.link is not None and self.successor.link.is_open

    def offer(self) -> Offer:
        """What a successor is given. Its workers share the sockets of ours, where they are fewer."""
        workers = self._children.workers
        most = max(len(worker.sockets) for worker in workers)
        doors = [
            worker.sockets[place].fileno() for place in range(most) for worker in workers if place < len(worker.sockets)
        ]
        named = {name: sock.fileno() for name, sock in self._admin_sockets.named.items()}
        path, tables = self._admin_sockets.path, self._table.descriptors
        return Offer(PROTOCOL, __version__, os.getpid(), doors, named, path, tables)

    def begin(self, successor: Successor, seconds: float, answer: Callable[[int], None]) -> None:
        """The successor serves: it is the gateway from now on, and here is only what is open.

        seconds  that tunnels have
        answer   tells whoever asked for the upgrade, given how many there are
        """
        self.successor = successor
        count = self._table.tunnels
        notify(f"MAINPID={successor.pid}", seconds=MAINPID_SECONDS)
        keep_silent(os.environ)  # whatever is still to be said the successor says
        self._say(Yours(seconds))
        self._log.event(
            Event.HANDED_OVER,
            f"process {successor.pid} (ogw {successor.version}) serves; {count} tunnels stay with its predecessor, "
            f"process {os.getpid()}, for at most {seconds:g} s (upgrade-drain-timeout)",
            count=count,
            version=successor.version,
        )
        answer(count)
        self._admin_sockets.is_ours = False
        self._children.replaces = False
        self._hand_on_wishes()
        self._ending.within(seconds)
        self._ending.stay_a_moment()
        self._children.tell_workers(Retire(seconds))
        self._children.tell(self._children.admin, Leave())

    def heard(self, message: Message) -> None:
        """From the successor."""
        match message:
            case Asked(number, question):
                self._answer(number, question)
            case Stop(seconds):
                self.stop(float(seconds))
            case EndNow():
                self._ending.within(0.0)
                self._children.tell_workers(End())
            case ReloadToo():
                self._wishes.add(Wish())
            case Reloaded():
                self._answer_handed_on(message._asdict())

    def stop(self, seconds: float) -> None:
        """Tunnels have only so long from now on."""
        self._ending.within(seconds)
        self._children.tell_workers(Retire(seconds))

    def reloaded(self, mistakes: Sequence[str]) -> None:
        """Our tunnels are judged by the new configuration, too; or, with mistakes, by the one before."""
        if mistakes:
            told = (
                f"the predecessor (process {os.getpid()}) cannot read the new configuration: {mistakes[0]}; its tunnels"
            )
            self._log.event(Event.WRONG_CONFIGURATION, f"{told} stay under the one before")
        else:
            message = f"the predecessor (process {os.getpid()}) has taken the new configuration, too"
            self._log.event(Event.INFORMATION, message)

    def end(self, cut: int) -> None:
        """All is over; so many tunnels had to be cut."""
        message = f"the predecessor (process {os.getpid()}) has drained; {cut} tunnels were cut"
        self._log.event(Event.INFORMATION, message, count=cut)
        self._say(Ended(cut))
        if self.successor is not None and self.successor.link is not None and self.is_told:
            self.successor.link.finish()

    def _hand_on_wishes(self) -> None:
        """Reloads that waited for the end of the handover: the successor has read the configuration, perhaps before."""
        waiting = self._wishes.take_back()
        self._handed_on = [wish.reply for wish in waiting if wish.reply is not None]
        self._until = time.monotonic() + HANDED_ON_SECONDS if self._handed_on else math.inf
        if waiting:
            self._say(ReloadToo())

    def _answer_handed_on(self, answer: dict[str, Any]) -> None:
        for reply in self._handed_on:
            reply(answer)
        self._handed_on, self._until = [], math.inf

    def _answer(self, number: int, question: dict[str, Any]) -> None:
        try:
            self._questions.ask_for(
                question_of(question), lambda answer: self._say(Told(number, answer)), EARLIER_SECONDS
            )
        except (ValueError, MessageTooLarge):  # of a version that has other questions
            self._say(Told(number, {"answers": [], "missing": len(self._children.workers)}))

    def _say(self, message: Message) -> None:
        if self.successor is not None and self.successor.link is not None:
            self.successor.link.say(message)
