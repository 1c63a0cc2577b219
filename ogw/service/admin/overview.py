"""What the workers answered, as one: each knows only its own clients, relay proxies and refusals."""

import itertools
import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from ogw.report.log import timestamp
from ogw.report.metrics import RelayState
from ogw.report.status import LATEST_REFUSALS, CountedRefusal, RelayProxyState, RelayProxyStatus, WorkersPart
from ogw.service.admin.shapes import Remembered
from ogw.service.answers import KnownOverview, KnownRefusal, KnownRefusals, KnownRelay

TOP = 10
STATES: dict[RelayState, RelayProxyState] = {
    RelayState.NEVER_TRIED: "never tried",
    RelayState.UP: "up",
    RelayState.REFUSES_US: "refuses us",
    RelayState.RESTING: "resting",
}
STALE_SECONDS = 60.0  # what a worker saw of a relay proxy so long before another opened a tunnel is of the past

# By client, its subject, target, reason, and whether it was enforced.
_Refusals = dict[tuple[str, str, str, str, bool], KnownRefusal]


def overview(answers: Sequence[KnownOverview], missing: int) -> WorkersPart:
    """The part of /status that they know. `missing`: so many workers did not answer."""
    clients: Counter[str] = Counter()
    hosts: Counter[str] = Counter()
    relays: dict[str, list[KnownRelay]] = {}
    refusals: _Refusals = {}
    for answer in answers:
        clients.update(dict(answer["clients"]))
        hosts.update(dict(answer["hosts"]))
        for relay in answer["relay_proxies"]:
            relays.setdefault(relay["proxy"], []).append(relay)
        _add(refusals, answer["refusals"])
    return {
        "top_clients": [{"client": client, "tunnels": count} for client, count in clients.most_common(TOP)],
        "top_hosts": [{"host": host, "tunnels": count} for host, count in hosts.most_common(TOP)],
        "relay_proxies": [relay_proxy(known) for known in relays.values()],
        "refusals": [
            {**_counted(one, age), "command": one.command} for one, age in _with_age(refusals)[:LATEST_REFUSALS]
        ],
        "workers_missing": missing,
    }


def remembered(answers: Sequence[KnownRefusals], missing: int) -> Remembered:
    """All the refusals that they know."""
    refusals: _Refusals = {}
    for answer in answers:
        _add(refusals, answer["refusals"])
    return {
        "refusals": [{**_counted(one, age), "first": timestamp(one.first)} for one, age in _with_age(refusals)],
        "complete": all(answer["complete"] for answer in answers) and not missing,
        "workers_missing": missing,
    }


def _add(refusals: _Refusals, rows: Iterable[Sequence[Any]]) -> None:
    """Two workers' refusals of the same are one: the later one's words, and both counts."""
    for one in itertools.starmap(KnownRefusal, rows):
        key = one.client, one.subject, one.target, one.reason, one.enforced
        known = refusals.get(key)
        if known is not None:
            latest = max(known, one, key=lambda either: either.seen)
            one = latest._replace(times=known.times + one.times, first=min(known.first, one.first))
        refusals[key] = one


def _with_age(refusals: _Refusals) -> list[tuple[KnownRefusal, float]]:
    """The latest first, and how many seconds ago each was."""
    now = time.monotonic()
    return [(one, round(now - one.seen, 1)) for one in sorted(refusals.values(), key=lambda one: -one.seen)]


def _counted(one: KnownRefusal, age: float) -> CountedRefusal:
    counted: CountedRefusal = {
        "client": one.client,
        "target": one.target,
        "reason": one.reason,
        "event": one.event,
        "detail": one.detail,
        "count": one.times,
        "last": timestamp(one.last),
        "age": age,
        "enforced": one.enforced,
    }
    if one.subject:
        counted["client_subject"] = one.subject
    return counted


def relay_proxy(known: Sequence[KnownRelay]) -> RelayProxyStatus:
    """One of them, as all workers know it together."""
    worst = worst_of(known)
    return {
        "proxy": worst["proxy"],
        "up": worst["state"] == RelayState.UP,
        "state": STATES[RelayState(worst["state"])],
        "why": worst["why"],
        "age": worst["age"],
        "opened": sum(one["opened"] for one in known),
        "failed": sum(one["failed"] for one in known),
        "scheme": next((one["scheme"] for one in sorted(known, key=_age) if one["scheme"]), ""),
        "tunnels": sum(one["tunnels"] for one in known),
        "named_for": worst["named_for"],
    }


def _age(one: KnownRelay) -> float:
    """Of what a worker saw, and how long ago."""
    return math.inf if one["age"] is None else one["age"]


def worst_of(known: Sequence[KnownRelay]) -> KnownRelay:
    """The worst that a worker knows of a relay proxy, but nothing that another has long known better."""
    opened = min((one["age"] or 0.0 for one in known if one["state"] == RelayState.UP), default=math.inf)
    heard = [one for one in known if one["state"] <= RelayState.UP or (one["age"] or 0.0) < opened + STALE_SECONDS]
    return max(heard, key=lambda one: (one["state"], -(one["age"] or 0.0)))
