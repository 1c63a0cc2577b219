"""Questions about the tunnels: the admin process asks the supervisor, which asks all workers and gathers answers."""

import itertools
import time
from collections.abc import Callable, Iterable
from typing import Any, Optional

from ogw.service.children import Child
from ogw.service.messages import Message

ANSWER_SECONDS = 3.0  # what workers have for an answer; then those that came must do


class _Asked:
    def __init__(self, workers: set[Child], reply: Callable[[list[Any], int], None]) -> None:
        self.workers = workers
        self.reply = reply
        self.answers: list[Any] = []
        self.failed = 0
        self.until = time.monotonic() + ANSWER_SECONDS


class Questions:
    """Those that are not answered yet.

    tell  sends a message to a worker
    """

    def __init__(self, tell: Callable[[Child, Message], None]) -> None:
        self._tell = tell
        self._numbers = itertools.count(1)
        self._asked: dict[int, _Asked] = {}

    def ask(self, what: str, about: Message, workers: Iterable[Child], reply: Callable[[list[Any], int], None]) -> None:
        """Ask them; `reply` gets the answers, and how many are missing. Raises TooLarge."""
        number = next(self._numbers)
        asked = _Asked(set(workers), reply)
        for worker in tuple(asked.workers):
            self._tell(worker, {**about, "order": "answer", "number": number, "what": what})
        self._asked[number] = asked
        self._reply_where_complete()

    def answered(self, worker: Child, message: Message) -> None:
        """A worker's answer is here, or that it has none."""
        asked = self._asked.get(message["number"])
        if asked is not None and worker in asked.workers:
            asked.workers.discard(worker)
            if "answer" in message:
                asked.answers.append(message["answer"])
            else:
                asked.failed += 1
        self._reply_where_complete()

    def forget(self, worker: Child) -> None:
        """It is dead: no answer comes from it any more."""
        for asked in self._asked.values():
            asked.workers.discard(worker)
        self._reply_where_complete()

    def next_deadline(self) -> Optional[float]:
        return min((asked.until for asked in self._asked.values()), default=None)

    def give_up_late_ones(self, now: float) -> None:
        """Reply with what came where the time is over."""
        self._reply_where_complete(now)

    def _reply_where_complete(self, now: float = 0.0) -> None:
        for number, asked in tuple(self._asked.items()):
            if not asked.workers or now >= asked.until:
                del self._asked[number]
                asked.reply(asked.answers, len(asked.workers) + asked.failed)
