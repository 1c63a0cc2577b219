"""A supervisor's predecessor and successor: what all the rest of it needs to know of either."""

import os
import selectors
from collections.abc import Callable, Sequence
from typing import NamedTuple, Optional

from ogw.report.log import Log
from ogw.report.table import Table
from ogw.service.admin.sockets import Sockets
from ogw.service.births import Births
from ogw.service.children import Children
from ogw.service.deaths import Deaths
from ogw.service.ending import Ending
from ogw.service.handover.handover import Handover, why_never
from ogw.service.handover.predecessor import Predecessor
from ogw.service.handover.program import Program
from ogw.service.handover.retirement import Retirement
from ogw.service.handover.succession import Succession
from ogw.service.handover.successor import Successor
from ogw.service.questions import Questions
from ogw.service.wishes import Wishes

DRAINS = "the gateway is draining"
STARTS = "the gateway is starting; ask again once it serves"


class Parts(NamedTuple):
    """Of a supervisor: those that a handover concerns, too."""

    selector: selectors.BaseSelector
    log: Log
    table: Table
    children: Children
    births: Births
    deaths: Deaths
    questions: Questions
    wishes: Wishes
    ending: Ending
    admin_sockets: Sockets


class Generations:
    """Call `work` at the times of `next_times`, and when something happened.

    retires  called when a successor serves; gives the seconds that open tunnels have
    speaks   called when systemd hears this process, which it did not before
    """

    def __init__(
        self,
        parts: Parts,
        program: Program,
        predecessor: Optional[Predecessor],
        retires: Callable[[], float],
        speaks: Callable[[], None],
    ) -> None:
        self._wishes = parts.wishes
        self._ending = parts.ending
        self._deaths = parts.deaths
        self._retires = retires
        self._why_never = why_never(os.environ)
        self._flags = parts.births.flags
        self._retirement = Retirement(
            parts.log,
            parts.table,
            parts.children,
            parts.questions,
            parts.wishes,
            parts.ending,
            parts.admin_sockets,
        )
        self._handover = Handover(
            parts.selector, parts.log, program, self._retirement.offer, self._retire, parts.questions.reply,
            self._retirement.heard, self._flags,
        )  # fmt: skip
        self._succession: Optional[Succession] = None
        if predecessor is not None:
            self._succession = Succession(
                predecessor,
                parts.selector,
                parts.log,
                parts.table,
                parts.children,
                parts.births,
                parts.deaths,
                parts.questions,
                parts.admin_sockets,
                parts.wishes.add,
                speaks,
            )

    @property
    def on_trial(self) -> bool:
        """This is a successor that may not serve yet."""
        return self._succession is not None and self._succession.on_trial

    @property
    def is_retired(self) -> bool:
        """There is a successor that serves."""
        return self._retirement.successor is not None

    @property
    def is_told(self) -> bool:
        """And it says what concerns us."""
        return self._retirement.is_told

    @property
    def has_predecessor(self) -> bool:
        """It drains still."""
        return self._succession is not None and not self.on_trial and self._succession.is_shared

    @property
    def waits(self) -> bool:
        """There is somebody without whose word this process does not end, unless its time is over."""
        return self.has_predecessor or self._retirement.waits

    @property
    def may_reload(self) -> bool:
        """No other process is just reading the configuration as it will be."""
        return not (self.on_trial or self._handover.is_running)

    @property
    def hands_over(self) -> bool:
        """The successor has what there was to take over: it would not know of anything that is ordered here now."""
        return self._handover.successor is not None and self._handover.successor.goes

    @property
    def share_queues(self) -> bool:
        """The other generation's workers may have opened one this moment: it is not ours alone to close."""
        return self.on_trial or self.hands_over

    @property
    def failed(self) -> str:
        """Why there is nothing to take over any more; "" for nothing."""
        return self._succession.failed if self._succession is not None else ""

    def next_times(self) -> list[float]:
        before = [self._succession.next_time()] if self._succession is not None else []
        return [*before, *self._handover.next_time(), self._retirement.next_time()]

    def work(self, now: float) -> None:
        if self._succession is not None:
            self._succession.work(now)
        self._handover.work(now, self._wishes.running is None and not self.has_predecessor)
        self._retirement.work(now)

    def upgrade(self, has_begun: bool, question: Optional[int] = None, ends_predecessor: bool = False) -> None:
        """Somebody wants a successor; the question of this number is answered once there is one, or none.

        has_begun         the gateway serves
        ends_predecessor  what the upgrade before has left open goes first
        """
        why = self._why_not(has_begun, ends_predecessor)
        if not why and self._succession is not None and ends_predecessor:
            self._succession.end_now()
        self._handover.wish(why, question)

    def _why_not(self, has_begun: bool, ends_predecessor: bool) -> str:
        """ "" for no reason."""
        if self._why_never:
            return self._why_never
        if self._ending.is_near:
            return DRAINS
        if not has_begun:
            return STARTS
        if self._succession is not None and self.has_predecessor and not ends_predecessor:
            return (
                f"the predecessor (process {self._succession.pid}) still drains, and there may be one at a time; `ogw "
                f"tunnels{self._flags}` lists what is open, `ogw upgrade --now{self._flags}` ends what it has first"
            )
        return ""

    def stop(self, seconds: float) -> None:
        """The gateway stops: so do both of them, if they are there; open tunnels have so many seconds."""
        self._handover.give_up("the gateway was told to stop")
        if self._succession is not None:
            self._succession.stop(float(seconds))

    def stop_alone(self, seconds: float) -> None:
        """The successor is gone, and we were told directly."""
        self._retirement.stop(float(seconds))

    def end_now(self) -> None:
        if self._succession is not None:
            self._succession.end_now()

    def reload(self) -> None:
        """Another configuration is in force."""
        if self._succession is not None:
            self._succession.reload()

    def reloaded(self, mistakes: Sequence[str]) -> None:
        """What the successor wished for is done, or cannot be."""
        self._retirement.reloaded(mistakes)

    def leave(self, why: str) -> None:
        """This supervisor ends.

        why  it cannot go on; "" where it was to end
        """
        self._handover.give_up("the gateway ends")
        if self.on_trial and self._succession is not None:
            self._succession.refuse(why or "it was told to stop")
        elif self._succession is not None and not why:
            self._succession.outlive()
        if self.is_retired:
            self._retirement.end(self._deaths.cut)

    def leave_behind(self) -> None:
        """In a child."""
        self._handover.leave_behind()
        if self._succession is not None:
            self._succession.leave_behind()

    def _retire(self, successor: Successor) -> None:
        self._retirement.begin(successor, self._retires(), self._handover.answer)
