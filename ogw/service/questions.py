"""Questions about the tunnels: the admin process asks the supervisor, which asks all workers and gathers answers."""

import itertools
import time
from collections.abc import Callable, Iterable
from typing import Any, Optional, Union

from ogw.service.children import Child
from ogw.service.messages import Answer, AskWorker, ForWorkers, NoAnswer, Order

ANSWER_SECONDS = 3.0  # what workers have for an answer; then those that came must do


class _Round:
    def __init__(self, workers: set[Child], reply: Callable[[list[Any], int], None]) -> None:
        self.workers = workers
        self.reply = reply
        self.answers: list[Any] = []
        self.failed = 0
        self.until = time.monotonic() + ANSWER_SECONDS


class Questions:
    """Those that are not answered yet.

    tell  gives a worker an order
    """

    def __init__(self, tell: Callable[[Child, Order], None]) -> None:
        self._tell = tell
        self._numbers = itertools.count(1)
        self._rounds: dict[int, _Round] = {}

    def ask(self, question: ForWorkers, workers: Iterable[Child], reply: Callable[[list[Any], int], None]) -> None:
        """Ask them; `reply` gets the answers, and how many are missing. Raises TooLarge."""
        number = next(self._numbers)
        one = _Round(set(workers), reply)
        for worker in tuple(one.workers):
            self._tell(worker, AskWorker(number, question))
        self._rounds[number] = one
        self._reply_where_complete()

    def answered(self, worker: Child, answer: Union[Answer, NoAnswer]) -> None:
        """A worker's answer is here, or that it has none."""
        one = self._rounds.get(answer.number)
        if one is not None and worker in one.workers:
            one.workers.discard(worker)
            if isinstance(answer, Answer):
                one.answers.append(answer.answer)
            else:
                one.failed += 1
        self._reply_where_complete()

    def forget(self, worker: Child) -> None:
        """It is dead: no answer comes from it any more."""
        for one in self._rounds.values():
            one.workers.discard(worker)
        self._reply_where_complete()

    def next_deadline(self) -> Optional[float]:
        return min((one.until for one in self._rounds.values()), default=None)

    def give_up_late_ones(self, now: float) -> None:
        """Reply with what came where the time is over."""
        self._reply_where_complete(now)

    def _reply_where_complete(self, now: float = 0.0) -> None:
        for number, one in tuple(self._rounds.items()):
            if not one.workers or now >= one.until:
                del self._rounds[number]
                one.reply(one.answers, len(one.workers) + one.failed)
