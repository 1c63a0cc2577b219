"""What the admin process shows, as plain values: the state of the gateway, its tunnels, its configuration.

Their shapes are in report/status.py and service/admin/shapes.py.
"""

import os
import socket
import threading
import time
from typing import Any, Optional, Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from ogw import __version__
from ogw.policy.decision import Reason
from ogw.report import metrics
from ogw.report.events import Event
from ogw.report.log import timestamp
from ogw.report.losses import told_of_trouble, why_all
from ogw.report.status import (
    Counters,
    ListenTls,
    LogStatus,
    PolicyMode,
    PredecessorStatus,
    RefusedReload,
    SourceStatus,
    Status,
    WorkersPart,
    WorkerStatus,
)
from ogw.report.table import Table
from ogw.service.absence import absent_places
from ogw.service.admin import readyz
from ogw.service.admin.attention import attention
from ogw.service.admin.exposition import Exposition, descriptors_of, four_counters, passed, reports_until
from ogw.service.admin.guard import Guard
from ogw.service.admin.history import History, Point
from ogw.service.admin.overview import overview, remembered
from ogw.service.admin.page import NONE_OPEN
from ogw.service.admin.shapes import Configuration, FoundTunnel, Remembered, Sources, Tunnels
from ogw.service.admin.sockets import Sockets
from ogw.service.answers import MOST_TUNNELS
from ogw.service.log import search_command
from ogw.service.messages import (
    FindTunnel,
    ListRefusals,
    ListTunnels,
    Overview,
    Question,
    ShowConfig,
    ShowReload,
    ShowSources,
)
from ogw.settings.elsewhere.source import is_url
from ogw.settings.named import flags_of, folder_of
from ogw.settings.settings import Config
from ogw.settings.usual import DEFAULT_FILE
from ogw.wire.place import place

MOST_OPEN = 20  # tunnels of the page, which asks again and again
NO_RELOAD: dict[str, Any] = {"mistakes": [], "count": 0, "restart": []}
MISTAKES_SECONDS = 1.0  # a command that asks for the status waits for the workers' part, too
FRESH_SECONDS = 1.0  # several people who look at the page cost the workers one question


class Asker(Protocol):
    """Who knows what this process does not: the supervisor."""

    def ask(self, question: Question, seconds: float = ...) -> dict[str, Any]:
        """Its answer, as the question describes it. Raises TimeoutError, or OSError where it is gone, or has none."""


class Views:
    """Asked by the threads of the admin process.

    config  the one of the start, which says where the log is
    listen  host:port of each door of the gateway
    file    the path of the INI file that it reads at a start and a reload, absolute; it may not be there
    """

    def __init__(
        self, table: Table, supervisor: Asker, config: Config, sockets: Sockets, guard: Optional[Guard] = None
    ) -> None:
        self._table = table
        self._supervisor = supervisor
        self._sockets = sockets
        self._config = config
        self._guard = guard
        self._flags = flags_of(config, folder_of(config, os.environ))
        self.file = config.file or DEFAULT_FILE
        self.listen = [place(host, port) for host, port in config.listen]
        self._registry = CollectorRegistry()
        self._registry.register(Exposition(table))
        self._history = History(table)
        threading.Thread(target=self._history.run, name="history", daemon=True).start()
        self._lock = threading.Lock()
        self._overview: tuple[float, WorkersPart] = (float("-inf"), overview([], 0))
        self._reload: tuple[int, dict[str, Any]] = (0, NO_RELOAD)  # how which one went, by their count

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All metrics, in the format that a scraper accepts: the text, its media type."""
        try:
            encode, media_type = choose_encoder(accept)
        except (TypeError, ValueError):  # it compares parts of versions as they come: words, and numbers of any length
            encode, media_type = choose_encoder("")
        return encode(self._registry), media_type

    def not_ready(self) -> str:
        """Why no client should be sent here; "" where one may be."""
        return self.not_alive() or readyz.not_ready(self._table.gateway.cells)

    def tell_ready(self) -> None:
        """Somebody is told that clients may be sent here: at a drain he has the time to see that they may no more."""
        self._table.admin.cells[metrics.TOLD_READY] = int(time.monotonic())

    @property
    def policy(self) -> str:
        """The hash of the one in force."""
        return f"{self._table.gateway.cells[metrics.POLICY]:08x}"

    def not_alive(self) -> str:
        """What only a restart mends: the supervisor hangs, so that nobody sees to the workers. "" for nothing."""
        return readyz.not_alive(self._table.gateway.cells)

    def status(self) -> Status:
        """One screen of what matters. What workers know that do not answer in time is left out."""
        cells = self._table.gateway.cells
        asked = self._asked()  # first: the workers then count what open tunnels copied
        started, out = metrics.STARTED.unix(cells), metrics.TAKEN_OUT.unix(cells)
        reload = self._last_reload()
        status: Status = {
            "version": __version__,
            "machine": socket.gethostname(),
            "state": readyz.state_of(cells),
            "serves_on": readyz.serves_on(cells),
            "taken_out": timestamp(out) if out else None,
            "started": timestamp(started) if started else None,
            "uptime": round(metrics.STARTED.seconds_ago(cells), 1),
            "policy": self.policy,
            "policy_mode": self._policy_mode(),
            "reload_refused": self._reload_refused(reload),
            "awaits_restart": reload["restart"],
            "listen": self.listen,
            "listen_tls": self._listen_tls(),
            "listen_absent": self.absent(),
            "listen_freebind": self._config.listen_freebind == "yes",
            "admin": self._sockets.place or None,
            "health": self._sockets.health_place or None,
            "workers": self._workers(),
            "predecessor": self._predecessor(),
            "worker_deaths": cells[metrics.DEATHS],
            "max_tunnels": cells[metrics.MOST_TUNNELS],
            "max_descriptors": cells[metrics.MOST_DESCRIPTORS],
            "counters": self._counters(),
            "log": self._log(),
            "reasons": self._reasons(),
            "sources": self._sources() if cells[metrics.SOURCES] else [],
            "flags": self._flags,
            "admin_tls_until": self._admin_tls_until(),
            "admin_files_refused": self._guard.refused_files if self._guard is not None else [],
            "attention": [],  # made of all the rest
            **asked,
        }
        status["attention"] = attention(status)
        return status

    def _listen_tls(self) -> Optional[ListenTls]:
        cells, places = self._table.gateway.cells, self._config.listen_tls
        if not places:
            return None
        certificate, crl = cells[metrics.LISTEN_CERTIFICATE], cells[metrics.LISTEN_CRL]
        return {
            "listen": [place(*one) for one in self._config.listen if one in places],
            "certificate_until": timestamp(certificate) if certificate else None,
            "crl_until": timestamp(crl) if crl else None,
        }

    def absent(self) -> list[str]:
        """host:port of the doors whose address the machine does not have just now."""
        return absent_places(self._config)

    def points(self) -> list[Point]:
        """What the page's plots begin with: service/admin/history.py."""
        return self._history.points()

    def _workers(self) -> list[WorkerStatus]:
        return [
            {
                "number": number,
                "pid": row.cells[metrics.PROCESS],
                "tunnels": row.tunnels,
                "descriptors": descriptors_of(row.cells[metrics.PROCESS]),
            }
            for number, row in enumerate(self._table.rows)
        ]

    def _predecessor(self) -> Optional[PredecessorStatus]:
        cells, counted = self._table.gateway.cells, self._table.predecessor
        if not cells[metrics.PREDECESSOR]:
            return None
        return {
            "pid": cells[metrics.PREDECESSOR],
            "tunnels": counted.tunnels if counted is not None else None,
            "seconds": float(max(0, cells[metrics.PREDECESSOR_UNTIL] - int(time.monotonic()))),
        }

    def _counters(self) -> Counters:
        table, cells = self._table, self._table.gateway.cells
        return {
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
        }

    def _log(self) -> LogStatus:
        return {
            "trouble": told_of_trouble(self._table.each(metrics.LOG_TROUBLE)),
            "lost_why": why_all(self._table.each(metrics.LOST_WHY)),
        }

    def _admin_tls_until(self) -> Optional[str]:
        until = self._table.admin.cells[metrics.ADMIN_CERTIFICATE]
        return timestamp(until) if until else None

    def _policy_mode(self) -> PolicyMode:
        until = reports_until(self._table)
        return {"mode": "report" if until else "enforce", "until": timestamp(until) if until else None}

    def _reload_refused(self, told: dict[str, Any]) -> Optional[RefusedReload]:
        cells = self._table.gateway.cells
        refused = metrics.RELOAD_REFUSED.unix(cells)
        if not refused:
            return None
        age = metrics.RELOAD_REFUSED.seconds_ago(cells)
        return {"time": timestamp(refused), "age": round(age, 1), "mistakes": told["mistakes"], "count": told["count"]}

    def _last_reload(self) -> dict[str, Any]:
        """How it went, taken or refused, which is asked about once."""
        cells = self._table.gateway.cells
        number = cells[metrics.RELOADS_TAKEN] + cells[metrics.RELOADS_REFUSED]
        if self._reload[0] != number:
            try:
                self._reload = number, self._supervisor.ask(ShowReload(), MISTAKES_SECONDS)
            except OSError:  # the supervisor is busy with the next reload: who asks again may hear it
                return NO_RELOAD
        return self._reload[1]

    def _sources(self) -> list[SourceStatus]:
        """The lists of URLs."""
        try:
            asked = self._supervisor.ask(ShowSources(), MISTAKES_SECONDS)
        except OSError:
            return []
        return [one for one in asked["sources"] if is_url(one["source"])]

    def sources(self) -> Sources:
        """All lists from elsewhere that allowed-host-source names."""
        return {"sources": self._supervisor.ask(ShowSources())["sources"]}

    def _reasons(self) -> dict[str, int]:
        """Refusals and rejections by reason; those that never happened are left out."""
        counted = {
            reason.token: self._table.sum(metrics.REFUSED + reason.index)
            + self._table.sum(metrics.REJECTED + reason.index)
            for reason in Reason
        }
        return {token: count for token, count in counted.items() if count}

    def _asked(self) -> WorkersPart:
        """What only the workers know; asked for at most once in FRESH_SECONDS."""
        with self._lock:
            at, known = self._overview
            if time.monotonic() - at >= FRESH_SECONDS:
                known = self._ask_for_overview()
                self._overview = time.monotonic(), known
            return known

    def _ask_for_overview(self) -> WorkersPart:
        try:
            asked = self._supervisor.ask(Overview())
        except TimeoutError:  # a reload that takes its time: what is counted is shown all the same
            return overview([], len(self._table.rows))
        return overview(asked["answers"], asked["missing"])

    def tunnels(self, client: str = "", target: str = "", most: int = MOST_TUNNELS, text: str = "") -> Tunnels:
        """The open tunnels, the longest open first: at most so many, and of how many."""
        most = max(0, min(most, MOST_TUNNELS))
        asked = self._supervisor.ask(ListTunnels(client, target, most, text.lower()))
        rows = [tunnel for answer in asked["answers"] for tunnel in answer["tunnels"]]
        rows.sort(key=lambda tunnel: -tunnel["duration"])
        total = sum(answer["total"] for answer in asked["answers"])
        return {"tunnels": rows[:most], "total": total, "workers_missing": asked["missing"]}

    def longest_open(self) -> Tunnels:
        """What the page begins with; none where the supervisor is busy."""
        try:
            return self.tunnels(most=MOST_OPEN)
        except TimeoutError:
            return NONE_OPEN

    def refusals(self) -> Remembered:
        """Targets and clients that were not allowed: all that the workers remember, the latest first."""
        events: list[int] = [Event.TARGET_NOT_ALLOWED, Event.CLIENT_REFUSED]
        asked = self._supervisor.ask(ListRefusals(events))
        return remembered(asked["answers"], asked["missing"])

    def tunnel(self, tunnel: str) -> FoundTunnel:
        """What the workers know of the tunnel with this id: it is open, or was refused lately."""
        asked = self._supervisor.ask(FindTunnel(tunnel))
        answers = asked["answers"]
        return {
            "tunnel": tunnel,
            "open": next((one for answer in answers for one in answer["open"]), None),
            "refusals": [one for answer in answers for one in answer["refusals"]],
            "workers_missing": asked["missing"],
            "deaths": self._table.gateway.cells[metrics.DEATHS],
            "search": search_command(self._config, tunnel),
        }

    def config(self) -> Configuration:
        """Every setting: its values and who gave them, secrets hidden."""
        asked = self._supervisor.ask(ShowConfig())
        return {
            "settings": {
                name: [{"value": value, "source": source} for source, value in rows]
                for name, rows in asked["settings"].items()
            },
            "warnings": asked["warnings"],
        }
