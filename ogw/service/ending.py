"""When the supervisor ends: its workers have a time for their tunnels, and are killed where they stay on."""

import time

from ogw.service.children import Children
from ogw.service.messages import Leave
from ogw.service.worker import END_SECONDS

ANSWER_SECONDS = 1.0  # what the admin process has for those who have asked, or are just asking
LEAVE_SECONDS = 2.0  # what the last processes have to be gone once they were killed
STRAGGLER_SECONDS = 5.0  # what a worker has to leave, once its own time for the drain is over
LEAST_SECONDS = 1.0  # that a predecessor stays: whoever manages this service is to have read its last words


class Ending:
    """Call `work` at the times of `next_times`.

    by  when stragglers are killed; 0.0 while nothing is to end
    """

    def __init__(self, children: Children) -> None:
        self._children = children
        self._not_before = 0.0
        self.by = 0.0

    @property
    def is_near(self) -> bool:
        return self.by != 0.0

    def within(self, seconds: float) -> None:
        """The workers were told to end what is open within so many; it may come again, with fewer."""
        by = time.monotonic() + seconds + END_SECONDS + STRAGGLER_SECONDS
        self.by = min(self.by or by, by)

    def stay_a_moment(self) -> None:
        """Even where no tunnel is open."""
        self._not_before = time.monotonic() + LEAST_SECONDS

    def next_times(self, now: float) -> list[float]:
        late = self.by if now < self.by else self.by + LEAVE_SECONDS
        return [late, *([self._not_before] if now < self._not_before else [])] if self.is_near else []

    def work(self, now: float) -> None:
        if self.is_near and now >= self.by:
            self.kill_workers()

    def kill_workers(self) -> None:
        for worker in self._children.workers:
            self._children.end(worker)

    def see_all_leave(self) -> None:
        """The admin process, which may hold the answer to who asked for this end, and whoever was killed."""
        self._children.tell(self._children.admin, Leave())
        self._children.wait_for_end(ANSWER_SECONDS)
        self._children.end(self._children.admin)
        self._children.wait_for_end(LEAVE_SECONDS)

    def is_over(self, others: bool) -> bool:
        """
        others  other processes are still waited for
        """
        now = time.monotonic()
        if not self.is_near or now < self._not_before:
            return False
        late = now >= self.by + LEAVE_SECONDS  # killed, and still there: it waits for a disk
        return late or not (others or any(worker.alive for worker in self._children.workers))
