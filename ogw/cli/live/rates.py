"""Rates from two answers of a gateway to GET /status: what happened a second between them."""

from dataclasses import dataclass
from typing import Any

COUNTED = ("allowed", "refused", "tls_rejections", "errors", "bytes_up", "bytes_down")


@dataclass(frozen=True)
class Sample:
    """One answer, and when it came, in seconds of a monotonic clock."""

    state: dict[str, Any]
    at: float


def was_restarted(before: Sample, now: Sample) -> bool:
    """Whether another gateway gave the second answer: what is counted began anew."""
    old, new = before.state, now.state
    if new["uptime"] < old["uptime"]:  # the clock may be set, so `started` does not tell
        return True
    workers, others = ({worker["pid"] for worker in state["workers"]} - {0} for state in (old, new))
    if workers and others and not workers & others and old["worker_deaths"] == new["worker_deaths"]:
        return True
    return any(now.state["counters"][name] < before.state["counters"][name] for name in COUNTED)


def rates(before: Sample, now: Sample) -> dict[str, float]:
    """By the counter's name; all 0 across a restart."""
    seconds = now.at - before.at
    if seconds <= 0 or was_restarted(before, now):
        return dict.fromkeys(COUNTED, 0.0)
    old, new = before.state["counters"], now.state["counters"]
    return {name: (new[name] - old[name]) / seconds for name in COUNTED}
