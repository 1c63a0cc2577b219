"""Whether the gateway lives, and whether clients should be sent to it: /healthz, /readyz, `ogw ready` and `ogw_ready`.

Read from cells of the supervisor's row of the table; nobody is asked.
"""

import time
from typing import Any

from ogw.report import metrics
from ogw.report.status import State

MOST_SILENCE = 60.0  # seconds that the supervisor may be busy, such as with a long list of rules
UNANSWERED = "a worker does not answer, and its share of the clients waits"
TAKEN_OUT = "taken out by ogw ready --off"
STATES: dict[str, State] = {"": "serving", "starting": "starting", "draining": "draining", UNANSWERED: "partly"}


def not_alive(cells: Any) -> str:
    """What only a restart mends: the supervisor hangs, so that nobody sees to the workers. "" for nothing."""
    silence = time.monotonic() - cells[metrics.ALIVE]
    return f"the supervisor has given no sign of life for {silence:.0f} s" if silence > MOST_SILENCE else ""


def not_ready(cells: Any) -> str:
    """Why no client should be sent here; "" where one may be."""
    if cells[metrics.TAKEN_OUT.cell] and not cells[metrics.DRAINING]:
        return TAKEN_OUT
    return _not_serving(cells)


def state_of(cells: Any) -> State:
    """How it fares, whether clients should be sent here or not: those that come are served while it is taken out."""
    return STATES[_not_serving(cells)]


def serves_on(cells: Any) -> float:
    """Seconds for which whoever comes is served although it drains (drain-delay); 0 where it takes nobody any more."""
    until = cells[metrics.SERVES_UNTIL] if cells[metrics.DRAINING] else 0
    return max(0.0, round(until / 1000 - time.monotonic(), 1)) if until else 0.0


def _not_serving(cells: Any) -> str:
    """Why not all clients are served; "" where they are."""
    if cells[metrics.DRAINING]:
        return "draining"
    if cells[metrics.SILENT_WORKERS] and cells[metrics.STARTED.cell]:
        return UNANSWERED
    return "" if cells[metrics.READY_WORKERS] else "starting"
