"""What the workers answered, as one: each knows only its own clients, relay proxies and refusals."""

import math
import time
from collections import Counter
from typing import Any

from ogw.policy.advice import command_for
from ogw.report.log import timestamp
from ogw.report.metrics import RelayState
from ogw.report.status import LatestRefusal, RelayProxyState, RelayProxyStatus, WorkersPart
from ogw.service.admin.shapes import Remembered, RememberedRefusal

TOP = 10
LATEST_REFUSALS = 20
STATES: dict[RelayState, RelayProxyState] = {
    RelayState.NEVER_TRIED: "never tried",
    RelayState.UP: "up",
    RelayState.REFUSES_US: "refuses us",
    RelayState.RESTING: "resting",
}
STALE_SECONDS = 60.0  # what a worker saw of a relay proxy so long before another opened a tunnel is of the past

_Refusal = dict[str, Any]  # as a worker tells of it: `seen` is by the one monotonic clock that a machine has


def overview(asked: dict[str, Any]) -> WorkersPart:
    """The part of /status that they know."""
    clients: Counter[str] = Counter()
    hosts: Counter[str] = Counter()
    relays: dict[str, list[dict[str, Any]]] = {}
    refusals: dict[tuple[Any, ...], _Refusal] = {}
    for answer in asked["answers"]:
        clients.update(dict(answer["clients"]))
        hosts.update(dict(answer["hosts"]))
        for relay in answer["relay_proxies"]:
            relays.setdefault(relay["proxy"], []).append(relay)
        for one in answer["refusals"]:
            _add(refusals, one)
    return {
        "top_clients": [{"client": client, "tunnels": count} for client, count in clients.most_common(TOP)],
        "top_hosts": [{"host": host, "tunnels": count} for host, count in hosts.most_common(TOP)],
        "relay_proxies": [relay_proxy(known) for known in relays.values()],
        "refusals": [_latest(one, age) for one, age in _with_age(refusals)[:LATEST_REFUSALS]],
        "workers_missing": asked["missing"],
    }


def remembered(asked: dict[str, Any]) -> Remembered:
    """All the refusals that they know."""
    refusals: dict[tuple[Any, ...], _Refusal] = {}
    for answer in asked["answers"]:
        for client, target, reason, event, detail, count, first, last, enforced, seen in answer["refusals"]:
            _add(refusals, {
                "client": client, "target": target, "reason": reason, "event": event, "detail": detail,
                "count": count, "first": first, "last": last, "seen": seen, "enforced": enforced,
            })  # fmt: skip
    return {
        "refusals": [_remembered(one, age) for one, age in _with_age(refusals)],
        "complete": all(answer["complete"] for answer in asked["answers"]) and not asked["missing"],
        "workers_missing": asked["missing"],
    }


def _add(refusals: dict[tuple[Any, ...], _Refusal], one: _Refusal) -> None:
    """Two workers' refusals of the same are one: the later one's words, and both counts."""
    key = one["client"], one["target"], one["reason"], one["enforced"]
    known = refusals.get(key)
    if known is None:
        refusals[key] = one
        return
    latest = one if one["seen"] > known["seen"] else known
    first = {"first": min(known["first"], one["first"])} if "first" in one else {}
    refusals[key] = {**latest, **first, "count": known["count"] + one["count"]}


def _with_age(refusals: dict[tuple[Any, ...], _Refusal]) -> list[tuple[_Refusal, float]]:
    """The latest first, and how many seconds ago each was."""
    now = time.monotonic()
    latest_first = sorted(refusals.values(), key=lambda one: -one["seen"])
    return [(one, round(now - one["seen"], 1)) for one in latest_first]


def _latest(one: _Refusal, age: float) -> LatestRefusal:
    return {
        "client": one["client"],
        "target": one["target"],
        "reason": one["reason"],
        "event": one["event"],
        "detail": one["detail"],
        "count": one["count"],
        "last": timestamp(one["last"]),
        "age": age,
        "enforced": one["enforced"],
        "command": command_for(one["reason"], one["client"], one["target"]),
    }


def _remembered(one: _Refusal, age: float) -> RememberedRefusal:
    return {
        "client": one["client"],
        "target": one["target"],
        "reason": one["reason"],
        "event": one["event"],
        "detail": one["detail"],
        "count": one["count"],
        "first": timestamp(one["first"]),
        "last": timestamp(one["last"]),
        "age": age,
        "enforced": one["enforced"],
    }


def relay_proxy(known: list[dict[str, Any]]) -> RelayProxyStatus:
    """One of them: the worst that a worker knows of it, but nothing that another has long known better."""
    opened = min((one["age"] for one in known if one["state"] == RelayState.UP), default=math.inf)
    heard = [one for one in known if one["state"] <= RelayState.UP or one["age"] < opened + STALE_SECONDS]
    worst = max(heard, key=lambda one: (one["state"], -(one["age"] or 0)))
    return {
        "proxy": worst["proxy"],
        "up": worst["state"] == RelayState.UP,
        "state": STATES[worst["state"]],
        "why": worst["why"],
        "age": worst["age"],
        "opened": sum(one["opened"] for one in known),
        "failed": sum(one["failed"] for one in known),
    }
