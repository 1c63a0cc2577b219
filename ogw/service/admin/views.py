"""What the admin process shows, as plain values: the state of the gateway, its tunnels, its configuration."""

import math
import threading
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from ogw import __version__
from ogw.policy.advice import command_for
from ogw.policy.decision import Reason
from ogw.report import metrics
from ogw.report.events import Event
from ogw.report.log import timestamp
from ogw.report.metrics import RelayState
from ogw.report.table import Table
from ogw.service.admin.app import Asker
from ogw.service.admin.attention import attention
from ogw.service.admin.exposition import Exposition, descriptors_of, four_counters, passed, reports_until
from ogw.service.admin.history import History, Point
from ogw.service.admin.sockets import Door
from ogw.service.messages import ListRefusals, ListTunnels, Overview, ShowConfig
from ogw.settings.settings import Config

MOST_TUNNELS = 1000  # of a listing
TOP = 10
LATEST_REFUSALS = 20
MOST_SILENCE = 60.0  # seconds that the supervisor may be busy, such as with a long list of rules
UNANSWERED = "a worker does not answer, and its share of the clients waits"
STATES = {"": "serving", UNANSWERED: "partly"}
STALE_SECONDS = 60.0  # what a worker saw of a relay proxy so long before another opened a tunnel is of the past
FRESH_SECONDS = 1.0  # several people who look at the page cost the workers one question


class Views:
    """Asked by the threads of the admin process."""

    def __init__(self, table: Table, supervisor: Asker, config: Config, door: Door) -> None:
        self._table = table
        self._supervisor = supervisor
        self._door = door
        self._listen = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in config.listen]
        self._registry = CollectorRegistry()
        self._registry.register(Exposition(table))
        self._history = History(table)
        threading.Thread(target=self._history.run, name="history", daemon=True).start()
        self._lock = threading.Lock()
        self._overview: tuple[float, dict[str, Any]] = (float("-inf"), {})

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All metrics, in the format that a scraper accepts: the text, its media type."""
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type

    def not_ready(self) -> str:
        """Why no client should be sent here; "" where one may be."""
        cells = self._table.gateway.cells
        if cells[metrics.DRAINING]:
            return "draining"
        if cells[metrics.SILENT_WORKERS] and cells[metrics.STARTED.cell]:
            return UNANSWERED
        return "" if cells[metrics.READY_WORKERS] else "starting"

    @property
    def policy(self) -> str:
        """The hash of the one in force."""
        return f"{self._table.gateway.cells[metrics.POLICY]:08x}"

    def not_alive(self) -> str:
        """What only a restart mends: the supervisor hangs, so that nobody sees to the workers. "" for nothing."""
        silence = time.monotonic() - self._table.gateway.cells[metrics.ALIVE]
        return f"the supervisor has given no sign of life for {silence:.0f} s" if silence > MOST_SILENCE else ""

    def status(self) -> dict[str, Any]:
        """One screen of what matters. Counts are since the start; workers that do not answer in time are left out."""
        table, cells = self._table, self._table.gateway.cells
        asked = self._asked()  # first: the workers then count what open tunnels copied
        started = metrics.STARTED.unix(cells)
        status = {
            "version": __version__,
            "state": STATES.get(self.not_ready(), "") or self.not_ready(),
            "started": timestamp(started) if started else None,
            "uptime": round(metrics.STARTED.seconds_ago(cells), 1),
            "policy": self.policy,
            "policy_mode": self._policy_mode(),
            "listen": self._listen,
            "admin": self._door.place or None,
            "health": self._door.health_place or None,
            "workers": [
                {
                    "number": number,
                    "pid": row.cells[metrics.PROCESS],
                    "tunnels": row.tunnels,
                    "descriptors": descriptors_of(row.cells[metrics.PROCESS]),
                }
                for number, row in enumerate(table.rows)
            ],
            "worker_deaths": cells[metrics.DEATHS],
            "max_tunnels": cells[metrics.MOST_TUNNELS],
            "max_descriptors": cells[metrics.MOST_DESCRIPTORS],
            "counters": {
                **four_counters(table),
                "allowed": table.sum(metrics.ALLOWED),
                "refused": sum(table.sum(metrics.REFUSED + reason.index) for reason in Reason),
                "reported": passed(table),
                "verified": sum(table.sum(cell) for cell in metrics.VERIFIED.values()),
                "closed": sum(table.sum(metrics.CLOSED + reason.index) for reason in Reason),
                "bytes_up": table.sum(metrics.BYTES_UP),
                "bytes_down": table.sum(metrics.BYTES_DOWN),
                "log_lines": table.sum(metrics.LINES),
                "log_lines_lost": table.sum(metrics.LINES_LOST),
                "reloads": cells[metrics.RELOADS_TAKEN],
                "reloads_refused": cells[metrics.RELOADS_REFUSED],
            },
            "reasons": self._reasons(),
            **asked,
        }
        return {**status, "attention": attention(status)}

    def points(self) -> list[Point]:
        """What the page's plots begin with: service/admin/history.py."""
        return self._history.points()

    def _policy_mode(self) -> dict[str, Any]:
        until = reports_until(self._table)
        return {"mode": "report" if until else "enforce", "until": timestamp(until) if until else None}

    def _reasons(self) -> dict[str, int]:
        """Refusals and rejections by reason; those that never happened are left out."""
        counted = {
            reason.token: self._table.sum(metrics.REFUSED + reason.index)
            + self._table.sum(metrics.REJECTED + reason.index)
            for reason in Reason
        }
        return {token: count for token, count in counted.items() if count}

    def _asked(self) -> dict[str, Any]:
        """What only the workers know; asked for at most once in FRESH_SECONDS."""
        with self._lock:
            at, overview = self._overview
            if time.monotonic() - at >= FRESH_SECONDS:
                overview = _merged(self._ask_for_overview())
                self._overview = time.monotonic(), overview
            return overview

    def _ask_for_overview(self) -> dict[str, Any]:
        try:
            return self._supervisor.ask(Overview())
        except TimeoutError:  # a reload that takes its time: what is counted is shown all the same
            return {"answers": [], "missing": len(self._table.rows)}

    def tunnels(self, client: str = "", target: str = "", most: int = MOST_TUNNELS) -> dict[str, Any]:
        """The open tunnels, the longest open first: at most so many, and of how many."""
        most = max(0, min(most, MOST_TUNNELS))
        asked = self._supervisor.ask(ListTunnels(client, target, most))
        rows = [tunnel for answer in asked["answers"] for tunnel in answer["tunnels"]]
        rows.sort(key=lambda tunnel: -tunnel["duration"])
        total = sum(answer["total"] for answer in asked["answers"])
        return {"tunnels": rows[:most], "total": total, "workers_missing": asked["missing"]}

    def refusals(self) -> dict[str, Any]:
        """Targets and clients that were not allowed: all that the workers remember, the latest first.

        complete  false where a worker remembers as many as it can, so that others may be forgotten
        """
        asked = self._supervisor.ask(ListRefusals([Event.TARGET_NOT_ALLOWED, Event.CLIENT_REFUSED]))
        merged: dict[tuple[Any, ...], dict[str, Any]] = {}
        for answer in asked["answers"]:
            for client, target, reason, event, detail, count, first, last, enforced, seen in answer["refusals"]:
                key = client, target, reason, enforced
                known = merged.get(key)
                if known is None:
                    merged[key] = {
                        "client": client, "target": target, "reason": reason, "event": event, "detail": detail,
                        "count": count, "first": first, "last": last, "seen": seen, "enforced": enforced,
                    }  # fmt: skip
                    continue
                known["count"] += count
                known["first"] = min(known["first"], first)
                if seen > known["seen"]:
                    known["seen"], known["last"], known["detail"] = seen, last, detail
        return {
            "refusals": [{**one, "first": timestamp(one["first"])} for one in _latest_first(merged.values())],
            "complete": all(answer["complete"] for answer in asked["answers"]) and not asked["missing"],
            "workers_missing": asked["missing"],
        }

    def config(self) -> dict[str, Any]:
        """Every setting: its values and who gave them, secrets hidden."""
        asked = self._supervisor.ask(ShowConfig())
        shown = {
            name: [{"value": value, "source": source} for source, value in rows]
            for name, rows in asked["settings"].items()
        }
        return {"settings": shown, "warnings": asked["warnings"]}


def _latest_first(refusals: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """As they are shown: with their age, by the one clock that all processes of a machine have."""
    now = time.monotonic()
    return [
        {**{name: value for name, value in one.items() if name != "seen"},
         "last": timestamp(one["last"]), "age": round(now - one["seen"], 1)}
        for one in sorted(refusals, key=lambda one: -one["seen"])
    ]  # fmt: skip


def _merged(asked: dict[str, Any]) -> dict[str, Any]:
    """The answers of all workers as one."""
    answers = asked["answers"]
    clients: Counter[str] = Counter()
    hosts: Counter[str] = Counter()
    relays: dict[str, list[dict[str, Any]]] = {}
    refusals: dict[tuple[str, str, str, bool], dict[str, Any]] = {}
    for answer in answers:
        clients.update(dict(answer["clients"]))
        hosts.update(dict(answer["hosts"]))
        for relay in answer["relay_proxies"]:
            relays.setdefault(relay["proxy"], []).append(relay)
        for one in answer["refusals"]:
            key = one["client"], one["target"], one["reason"], one["enforced"]
            before = refusals.get(key, one)
            count = one["count"] + (before["count"] if before is not one else 0)
            latest = one if one["seen"] > before["seen"] else before
            refusals[key] = {**latest, "count": count}
    latest_first = _latest_first(refusals.values())[:LATEST_REFUSALS]
    return {
        "top_clients": [{"client": client, "tunnels": count} for client, count in clients.most_common(TOP)],
        "top_hosts": [{"host": host, "tunnels": count} for host, count in hosts.most_common(TOP)],
        "relay_proxies": [_relay_proxy(known) for known in relays.values()],
        "refusals": [
            {**one, "command": command_for(one["reason"], one["client"], one["target"])} for one in latest_first
        ],
        "workers_missing": asked["missing"],
    }


def _relay_proxy(known: list[dict[str, Any]]) -> dict[str, Any]:
    """What the workers know of one relay proxy: the worst of it, but nothing that another has long known better.

    age  seconds since it last opened a tunnel, or did not; None where no worker has tried it
    """
    opened = min((one["age"] for one in known if one["state"] == RelayState.UP), default=math.inf)
    heard = [one for one in known if one["state"] <= RelayState.UP or one["age"] < opened + STALE_SECONDS]
    worst = max(heard, key=lambda one: (one["state"], -(one["age"] or 0)))
    return {
        "proxy": worst["proxy"],
        "up": worst["state"] == RelayState.UP,
        "state": RelayState(worst["state"]).words,
        "why": worst["why"],
        "age": worst["age"],
        "opened": sum(one["opened"] for one in known),
        "failed": sum(one["failed"] for one in known),
    }
