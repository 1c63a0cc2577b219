"""Children that died: what was lost with them, and when there were too many."""

from typing import Any

from ogw.policy.decision import Reason
from ogw.report.events import Event
from ogw.report.log import Log
from ogw.report.metrics import CLOSED, DEATHS
from ogw.report.table import Table
from ogw.service.child import Child
from ogw.service.children import Children

MOST_EARLY_DEATHS = 5  # of workers that never were ready, one after another: then it makes no sense


class Deaths:
    """
    cut     tunnels that did not end by themselves, once nobody is replaced any more
    failed  why the gateway cannot go on; "" while it can
    """

    def __init__(self, log: Log, table: Table, children: Children) -> None:
        self._log = log
        self._table = table
        self._state: Any = table.gateway.cells
        self._children = children
        self._early = 0
        self._drained: set[Child] = set()
        self.cut = 0
        self.failed = ""

    def became_ready(self, worker: Child) -> None:
        """Workers can serve on this machine."""
        self._early = 0

    def drained(self, worker: Child, cut: int) -> None:
        """It is about to end, and says itself how many tunnels it cut: what is open then was told already."""
        self.cut += cut
        self._drained.add(worker)

    def predecessor_cut(self, cut: int) -> None:
        """It is gone, and has cut so many of its tunnels: they are told at our end if that is near, and not later."""
        self.cut += 0 if self._children.replaces else cut

    def mourn(self, child: Child, pid: int, was_ready: bool, given_up_after: float) -> None:
        """
        given_up_after  seconds of silence, where it hung and was killed
        """
        what, lost = f"{child.name} (process {pid}) died", 0
        if child.hung is not None:
            what = f"{child.name} (process {pid}) gave no sign of life for {given_up_after:g} s and was killed"
        if child.row is not None:
            lost = child.row.tunnels
            self._state[CLOSED + Reason.WORKER_DIED.index] += lost
            what += f", and {lost} tunnels with it"
            self._early = 0 if was_ready else self._early + 1
        self._log.take_over((self._table.admin if child.row is None else child.row).cells)
        if child.row is not None:
            child.row.clear()
        if not self._children.replaces:
            self.cut += 0 if child in self._drained else lost
            for sock in child.sockets:
                sock.close()  # who waits in its queue is not to wait for nobody
            return
        self._state[DEATHS] += 1
        when = f"in {child.delay:g} s" if child.delay else "at once"
        self._log.event(Event.WORKER_DIED, f"{what}; it is replaced {when}", count=lost, traceback=child.hung or None)
        if self._early >= MOST_EARLY_DEATHS and not any(worker.ready for worker in self._children.workers):
            self.failed = (
                f"workers died {self._early} times before they were ready; see the lines above, and whether "
                "memory or another limit of the system is too small"
            )
