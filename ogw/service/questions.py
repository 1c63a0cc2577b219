"""What the admin process asks the supervisor: the replies, and the rounds among the workers that some need.

A predecessor that drains is asked as if it were one more worker, and asks its own; a successor asks for its admin
process. So tunnels are found wherever they are.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Optional, Union

from ogw.service.child import Child
from ogw.service.children import Children
from ogw.service.control import MessageTooLarge
from ogw.service.messages import Answered, AskWorker, ForWorkers, NoReply, NotAnswered, Reply

ANSWER_SECONDS = 3.0  # what workers have for an answer; then those that came must do
EARLIER_SECONDS = 2.0  # those of a predecessor, whose answer is to come in time

Replies = Callable[[dict[str, Any]], None]
AskPredecessor = Callable[[int, ForWorkers], None]


class _Round:
    """One question among the workers.

    reply   what becomes of the answers
    asked   who has not answered yet: workers, and PREDECESSOR
    failed  so many answered that they have no answer
    """

    def __init__(self, reply: Replies, asked: Iterable[object], seconds: float) -> None:
        self.reply = reply
        self.asked = set(asked)
        self.answers: list[Any] = []
        self.failed = 0
        self.until = time.monotonic() + seconds


PREDECESSOR = object()  # among those that are asked


class Questions:
    """Those that are not answered yet.

    predecessor  asks it: (number of the round, question); None for none
    """

    def __init__(self, children: Children) -> None:
        self._children = children
        self._numbers = itertools.count(1)
        self._rounds: dict[int, _Round] = {}
        self.predecessor: Optional[AskPredecessor] = None

    def reply(self, number: int, answer: dict[str, Any]) -> None:
        """To the admin process' question of this number. An answer that is too large is told, not waited for."""
        admin = self._children.admin
        try:
            self._children.tell(admin, Reply(number, answer))
        except MessageTooLarge as error:
            self._children.tell(admin, NoReply(number, f"the answer is too large: {error}"))

    def ask_workers(self, number: int, question: ForWorkers) -> None:
        """For the admin process: the reply is what they answer, and how many are missing."""
        try:
            self.ask_for(question, partial(self.reply, number))
        except MessageTooLarge as error:
            self._children.tell(self._children.admin, NoReply(number, f"the question is too large: {error}"))

    def ask_for(self, question: ForWorkers, reply: Replies, seconds: float = ANSWER_SECONDS) -> None:
        """The same for anybody. Raises MessageTooLarge."""
        workers = [worker for worker in self._children.workers if worker.alive and worker.ready]
        others = [PREDECESSOR] if self.predecessor is not None else []
        pending = _Round(reply, [*workers, *others], seconds)
        own_number = next(self._numbers)
        for worker in workers:
            self._children.tell(worker, AskWorker(own_number, question))
        if self.predecessor is not None:
            self.predecessor(own_number, question)
        self._rounds[own_number] = pending
        self._reply_where_complete()

    def answered(self, worker: Child, answer: Union[Answered, NotAnswered]) -> None:
        """A worker's answer is here, or that it has none."""
        given = [answer.answer] if isinstance(answer, Answered) else []
        self._came(worker, answer.number, given, 0 if given else 1)

    def predecessor_answered(self, number: int, answer: Mapping[str, Any]) -> None:
        """Those of its workers are here; hostile they are not, but perhaps of another version."""
        answers, missing = answer.get("answers"), answer.get("missing")
        is_one = isinstance(answers, list) and isinstance(missing, int)
        self._came(PREDECESSOR, number, answers if is_one else [], missing if is_one else 1)

    def _came(self, asked: object, number: int, answers: Any, missing: Any) -> None:
        pending = self._rounds.get(number)
        if pending is not None and asked in pending.asked:
            pending.asked.discard(asked)
            pending.answers += answers
            pending.failed += missing
        self._reply_where_complete()

    def forget(self, asked: object) -> None:
        """It is dead: no answer comes from it any more."""
        for pending in self._rounds.values():
            pending.asked.discard(asked)
        self._reply_where_complete()

    def next_deadline(self) -> Optional[float]:
        return min((pending.until for pending in self._rounds.values()), default=None)

    def give_up_late_ones(self, now: float) -> None:
        """Reply with what came where the time is over."""
        self._reply_where_complete(now)

    def _reply_where_complete(self, now: float = 0.0) -> None:
        for own_number, pending in tuple(self._rounds.items()):
            if not pending.asked or now >= pending.until:
                del self._rounds[own_number]
                pending.reply({"answers": pending.answers, "missing": len(pending.asked) + pending.failed})
