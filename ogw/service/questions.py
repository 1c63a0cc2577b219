"""What the admin process asks the supervisor: the replies, and the rounds among the workers that some need."""

import itertools
import time
from collections.abc import Iterable
from typing import Any, Optional, Union

from ogw.service.child import Child
from ogw.service.children import Children
from ogw.service.control import MessageTooLarge
from ogw.service.messages import Answered, AskWorker, ForWorkers, NoReply, NotAnswered, Reply

ANSWER_SECONDS = 3.0  # what workers have for an answer; then those that came must do


class _Round:
    """One question among the workers.

    number   of the admin process' question
    workers  that have not answered yet
    failed   answered that they have no answer
    """

    def __init__(self, number: int, workers: Iterable[Child]) -> None:
        self.number = number
        self.workers = set(workers)
        self.answers: list[Any] = []
        self.failed = 0
        self.until = time.monotonic() + ANSWER_SECONDS


class Questions:
    """Those that are not answered yet."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._numbers = itertools.count(1)
        self._rounds: dict[int, _Round] = {}

    def reply(self, number: int, answer: dict[str, Any]) -> None:
        """To the admin process' question of this number. An answer that is too large is told, not waited for."""
        admin = self._children.admin
        try:
            self._children.tell(admin, Reply(number, answer))
        except MessageTooLarge as error:
            self._children.tell(admin, NoReply(number, f"the answer is too large: {error}"))

    def ask_workers(self, number: int, question: ForWorkers) -> None:
        """The reply is what they answer, and how many are missing."""
        pending = _Round(number, [worker for worker in self._children.workers if worker.alive and worker.ready])
        own_number = next(self._numbers)
        try:
            for worker in tuple(pending.workers):
                self._children.tell(worker, AskWorker(own_number, question))
        except MessageTooLarge as error:
            self._children.tell(self._children.admin, NoReply(number, f"the question is too large: {error}"))
            return
        self._rounds[own_number] = pending
        self._reply_where_complete()

    def answered(self, worker: Child, answer: Union[Answered, NotAnswered]) -> None:
        """A worker's answer is here, or that it has none."""
        pending = self._rounds.get(answer.number)
        if pending is not None and worker in pending.workers:
            pending.workers.discard(worker)
            if isinstance(answer, Answered):
                pending.answers.append(answer.answer)
            else:
                pending.failed += 1
        self._reply_where_complete()

    def forget(self, worker: Child) -> None:
        """It is dead: no answer comes from it any more."""
        for pending in self._rounds.values():
            pending.workers.discard(worker)
        self._reply_where_complete()

    def next_deadline(self) -> Optional[float]:
        return min((pending.until for pending in self._rounds.values()), default=None)

    def give_up_late_ones(self, now: float) -> None:
        """Reply with what came where the time is over."""
        self._reply_where_complete(now)

    def _reply_where_complete(self, now: float = 0.0) -> None:
        for own_number, pending in tuple(self._rounds.items()):
            if not pending.workers or now >= pending.until:
                del self._rounds[own_number]
                missing = len(pending.workers) + pending.failed
                self.reply(pending.number, {"answers": pending.answers, "missing": missing})
