"""Rates from two answers of a gateway to GET /status: what happened a second between them."""

from dataclasses import dataclass
from typing import Literal, get_args

from ogw.report.status import Status

Counter = Literal["allowed", "refused", "tls_rejections", "errors", "bytes_up", "bytes_down"]
Rates = dict[Counter, float]  # a second
ANSWER_SECONDS = 5.0  # within which one comes, mostly
COUNTERS: tuple[Counter, ...] = get_args(Counter)


@dataclass(frozen=True)
class Sample:
    """One answer, and when it came, in seconds of a monotonic clock."""

    status: Status
    at: float


def was_restarted(before: Sample, now: Sample) -> bool:
    """Whether another gateway gave the second answer: what is counted began anew."""
    old, new = before.status, now.status
    if new["uptime"] < old["uptime"]:  # the clock may be set, so `started` does not tell
        return True
    workers, others = ({worker["pid"] for worker in status["workers"]} - {0} for status in (old, new))
    if workers and others and not workers & others and old["worker_deaths"] == new["worker_deaths"]:
        # An upgrade has others, too; there the time goes on, but for how long answers take.
        missing = old["uptime"] + now.at - before.at - new["uptime"]
        if missing > min(ANSWER_SECONDS, old["uptime"]):
            return True
    return any(new["counters"][name] < old["counters"][name] for name in COUNTERS)


def rates(before: Sample, now: Sample) -> Rates:
    """By the counter's name; all 0 across a restart."""
    seconds = now.at - before.at
    if seconds <= 0 or was_restarted(before, now):
        return dict.fromkeys(COUNTERS, 0.0)
    old, new = before.status["counters"], now.status["counters"]
    return {name: (new[name] - old[name]) / seconds for name in COUNTERS}
