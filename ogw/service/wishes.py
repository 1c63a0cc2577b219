"""Who wishes for a reload: all wishes that came before it begins are one, and what comes meanwhile is the next.

It may have come after a further change, which the running one has not read.
"""

import itertools
import traceback
from collections.abc import Callable
from typing import NamedTuple, Optional, Union

from ogw.policy.decision import Reason
from ogw.report.events import Event
from ogw.report.log import Log
from ogw.service.child import Child
from ogw.service.children import Children
from ogw.service.control import MessageTooLarge
from ogw.service.messages import Prepared, Taken
from ogw.service.questions import Replies
from ogw.service.reload import Reload
from ogw.settings.loader import ConfigError
from ogw.settings.settings import Config

NO_MEMORY = "there is no memory"


class Wish(NamedTuple):
    """
    by_hand  somebody wants everything fresh, lists from elsewhere, too
    reply    called with what came of it, as ReloadNow is answered; None where nobody asked
    """

    by_hand: bool = False
    reply: Optional[Replies] = None


class Wishes:
    """Those for a reload, and the one that is running.

    again     reads the configuration anew
    begins    a reload begins
    in_force  called with a configuration that holds from now on, and whether somebody wants everything fresh
    ended     what came of it: why nothing was reloaded, if so, and the wishes that it answers
    """

    def __init__(
        self,
        children: Children,
        log: Log,
        again: Callable[[], Config],
        begins: Callable[[], None],
        in_force: Callable[[Config, bool], None],
        ended: Callable[[list[str], list[Wish]], None],
    ) -> None:
        self._children = children
        self._log = log
        self._again = again
        self._begins = begins
        self._in_force = in_force
        self._ended = ended
        self._numbers = itertools.count(1)
        self._waiting: list[Wish] = []
        self._granted: list[Wish] = []
        self._reload: Optional[Reload] = None

    def add(self, wish: Wish) -> None:
        if wish not in self._waiting:
            self._waiting.append(wish)

    @property
    def waiting(self) -> bool:
        """A reload can begin."""
        return bool(self._waiting) and self._reload is None

    @property
    def running(self) -> Optional[Reload]:
        return self._reload

    def heard(self, child: Child, answer: Union[Prepared, Taken]) -> None:
        """A worker has built the configuration, or taken it."""
        if self._reload is not None:
            self._reload.heard(child, answer)

    def go_on(self) -> None:
        """A step of what is running, or of what is wished for."""
        if self.waiting:
            self._begin()
        if self._reload is None:
            return
        try:
            if self._reload.go_on():
                self._end(self._reload.mistakes)
        except (MessageTooLarge, OSError, MemoryError) as error:
            self.refuse(f"the workers cannot be told of it: {str(error) or NO_MEMORY}")

    def refuse(self, why: str) -> None:
        """The running one, unless it is in force, and all that wait."""
        self._granted, self._waiting = self._granted + self._waiting, []
        if self._reload is not None:
            self._reload.give_up()
            self._end([] if self._reload.is_in_force else [why])
        elif self._granted:
            self._end([why])

    def take_back(self) -> list[Wish]:
        """Those that wait: somebody else is to grant them."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def _begin(self) -> None:
        self._granted, self._waiting = self._waiting, []
        self._begins()
        try:
            config = self._again()
        except ConfigError as error:
            self._end(list(error.mistakes))
        except (OSError, MemoryError) as error:
            self._end([f"the configuration cannot be read: {str(error) or NO_MEMORY}"])
        except Exception as error:
            message = f"{type(error).__name__}: {error} at a reload; this is an error of the gateway"
            trace = "".join(traceback.format_exception(error))
            self._log.event(Event.ERROR, message, Reason.INTERNAL_ERROR.token, traceback=trace)
            self._end([message])
        else:
            by_hand = any(wish.by_hand for wish in self._granted)
            self._reload = Reload(next(self._numbers), config, self._children, lambda: self._in_force(config, by_hand))

    def _end(self, mistakes: list[str]) -> None:
        self._reload = None
        granted, self._granted = self._granted, []
        self._ended(mistakes, granted)
