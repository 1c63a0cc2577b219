"""The shared table as Prometheus reads it: names, labels and help texts of every metric. Nothing here asks a worker."""

import os
import platform
import time
from collections.abc import Iterator
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from ogw import __version__
from ogw.policy.decision import Reason
from ogw.report import metrics
from ogw.report.events import Event
from ogw.report.metrics import RelayState
from ogw.report.slots import OTHERS
from ogw.report.status import FourCounters
from ogw.report.table import Table
from ogw.service.admin.overview import worst_of
from ogw.service.admin.readyz import not_alive, not_ready
from ogw.service.answers import KnownRelay

ERRORS = [number for number in metrics.EVENTS if number >= Event.ERROR]
RELAY_REASONS = [reason for reason in Reason if "relay-" in reason.token]
NOTHING_KNOWN: KnownRelay = {
    "proxy": "", "state": 0, "why": "", "age": None, "opened": 0, "failed": 0, "scheme": "", "tunnels": 0,
    "named_for": [],
}  # fmt: skip
OTHERS_URL = "others"  # relay proxies beyond those that are counted apart
REPORTED = (Reason.HOST_NOT_ALLOWED, Reason.PORT_NOT_ALLOWED)  # instead of refused, with policy-mode = report


def reports_until(table: Table) -> int:
    """Unix seconds until when the policy only reports; 0 while it is enforced."""
    until = int(table.gateway.cells[metrics.REPORT_UNTIL])
    return until if until > time.time() else 0


def passed(table: Table) -> int:
    """Requests that passed only because the policy reported."""
    return sum(table.sum(metrics.PASSED + reason.index) for reason in REPORTED)


def four_counters(table: Table) -> FourCounters:
    """The original's: active client connections, connected clients, errors, rejections by the TLS rules."""
    return {
        "tunnels": table.tunnels,
        "clients": table.clients(),
        "errors": sum(table.sum(metrics.EVENTS[number]) for number in ERRORS),
        "tls_rejections": sum(table.sum(metrics.REJECTED + reason.index) for reason in Reason),
    }


def descriptors_of(pid: int) -> int:
    """Open files of a process; 0 where it is gone. Since Linux 6.2 the folder's size tells, before that its entries."""
    folder = f"/proc/{pid}/fd"
    try:
        return os.stat(folder).st_size or len(os.listdir(folder))
    except OSError:
        return 0


class Exposition:
    """A collector for prometheus_client."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def describe(self) -> list[Metric]:
        """prometheus_client asks for it at registration, instead of collecting."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self._state()
        yield from self._traffic()
        yield from self._histograms()
        yield from self._relay_proxies()
        yield from self._sources()
        yield from self._admin()
        yield from self._processes()

    def _state(self) -> Iterator[Metric]:
        cells = self._table.gateway.cells
        counted = four_counters(self._table)
        yield _info("ogw_build", "What runs.", {"version": __version__, "python": platform.python_version()})
        yield _info(
            "ogw_policy", "The policy in force, as in every log line.", {"policy": f"{cells[metrics.POLICY]:08x}"}
        )
        yield _gauge("ogw_start_time_seconds", "When the gateway was first ready.", metrics.STARTED.unix(cells))
        ready = not (not_alive(cells) or not_ready(cells))
        yield _gauge("ogw_ready", "1 while clients should be sent here, as /readyz says.", ready)
        yield _gauge(
            "ogw_taken_out_time_seconds",
            "When it was taken out by ogw ready --off; 0 where it is not.",
            metrics.TAKEN_OUT.unix(cells),
        )
        yield _gauge(
            "ogw_draining",
            "1 once the gateway was told to stop, drain-delay included.",
            cells[metrics.DRAINING],
        )
        yield _gauge("ogw_tunnels_active", "Open client connections.", counted["tunnels"])
        yield _gauge("ogw_tunnels_max", "How many there may be.", cells[metrics.MOST_TUNNELS])
        yield _gauge("ogw_clients_connected", "Distinct client addresses with a tunnel.", counted["clients"])
        yield _gauge(
            "ogw_listen_addresses_absent", "Listen addresses that the machine does not have.", cells[metrics.ABSENT]
        )
        yield _gauge(
            "ogw_listen_certificate_expiry_time_seconds",
            "Until when the certificate of tls:// addresses is valid; 0 for none.",
            cells[metrics.LISTEN_CERTIFICATE],
        )
        yield _gauge(
            "ogw_listen_crl_expiry_time_seconds",
            "When the first revocation list of clients' certificates is to be replaced; 0 for none.",
            cells[metrics.LISTEN_CRL],
        )
        before = self._table.predecessor
        yield _gauge(
            "ogw_predecessor_tunnels",
            "Those of them that the process before the last upgrade still has; ogw_worker_tunnels is without them.",
            before.tunnels if before is not None and cells[metrics.PREDECESSOR] else 0,
        )
        yield _counter("ogw_errors", "Events from 400 on.", counted["errors"])
        yield _counter("ogw_reloads", "Reloads that were asked for.", {
            ("taken",): cells[metrics.RELOADS_TAKEN], ("refused",): cells[metrics.RELOADS_REFUSED],
        }, ["result"])  # fmt: skip
        yield _gauge(
            "ogw_reload_time_seconds", "When the last reload was taken; 0 for none.", metrics.RELOADED.unix(cells)
        )
        yield _gauge(
            "ogw_reload_refused_time_seconds",
            "When the last reload was refused; 0 where none was, or one was taken since.",
            metrics.RELOAD_REFUSED.unix(cells),
        )
        yield _gauge(
            "ogw_policy_report_until_seconds",
            "Until when the policy only reports what no rule allows, and lets it pass; 0 while it is enforced.",
            reports_until(self._table),
        )

    def _traffic(self) -> Iterator[Metric]:
        total = self._table.sum
        requests = {("allowed", "allowed"): total(metrics.ALLOWED)}
        closed: dict[tuple[str, ...], int] = {}
        rejections: dict[tuple[str, ...], int] = {}
        for reason in Reason:
            if reason.refuses:
                requests["refused", reason.token] = total(metrics.REFUSED + reason.index)
                if reason in REPORTED:
                    requests["reported", reason.token] = total(metrics.PASSED + reason.index)
            elif reason.event in (Event.TUNNEL_CLOSED, Event.WORKER_DIED):
                closed[(reason.token,)] = total(metrics.CLOSED + reason.index)
            elif reason is not Reason.ALLOWED:
                rejections[reason.token, "true"] = total(metrics.REJECTED + reason.index)
                rejections[reason.token, "false"] = total(metrics.REPORTED + reason.index)
                closed[(reason.token,)] = total(metrics.CLOSED + reason.index)
        closed[(Reason.INTERNAL_ERROR.token,)] = total(metrics.CLOSED + Reason.INTERNAL_ERROR.index)
        yield _counter(
            "ogw_requests",
            "Requests by decision and reason; one that policy-mode = report let pass is reported, and then allowed, or "
            "refused for another reason.",
            requests,
            ["decision", "reason"],
        )
        yield _counter("ogw_tunnels_closed", "Tunnels that ended, by reason.", closed, ["reason"])
        yield _counter(
            "ogw_tls_rejections", "Sessions that the TLS rules rejected, or only report.", rejections,
            ["reason", "enforced"],
        )  # fmt: skip
        yield _counter("ogw_tls_sessions", "Sessions that passed the TLS rules, by version.", {
            (name,): total(metrics.VERIFIED[version]) for version, name in metrics.TLS_VERSIONS.items()
        }, ["version"])  # fmt: skip
        yield _counter("ogw_client_tls_sessions", "TLS sessions of clients with the gateway itself, by version.", {
            (version.removeprefix("TLSv"),): total(metrics.CLIENT_TLS + number)
            for number, version in enumerate(metrics.CLIENT_TLS_VERSIONS)
        }, ["version"])  # fmt: skip
        yield _counter("ogw_bytes", "Bytes copied: up is from the client, down to it.", {
            ("up",): total(metrics.BYTES_UP), ("down",): total(metrics.BYTES_DOWN),
        }, ["direction"])  # fmt: skip
        yield _counter("ogw_events", "Events by number, those that were only counted too.", {
            (str(int(number)),): total(cell) for number, cell in metrics.EVENTS.items()
        }, ["event"])  # fmt: skip
        yield _counter("ogw_log_lines", "Log lines written.", total(metrics.LINES))
        yield _gauge(
            "ogw_log_failing",
            "1 while the log cannot be written, or not where it should be.",
            any(self._table.each(metrics.LOG_TROUBLE)),
        )
        yield _counter("ogw_log_lines_lost", "Log lines that nobody took.", total(metrics.LINES_LOST))

    def _histograms(self) -> Iterator[Metric]:
        for name, help, histogram in (
            ("ogw_dns_seconds", "Look-ups of names.", metrics.DNS),
            ("ogw_dial_seconds", "From the decision to the open upstream.", metrics.DIAL),
            ("ogw_handshake_seconds", "From the 200 to the verified TLS session.", metrics.HANDSHAKE),
            ("ogw_tunnel_seconds", "From accept to close.", metrics.DURATION),
        ):
            yield HistogramMetricFamily(name, help, **self._observed(histogram))

    def _observed(self, histogram: metrics.Histogram) -> dict[str, Any]:
        buckets, count = [], 0
        for number, edge in enumerate((*histogram.edges, "+Inf")):
            count += self._table.sum(histogram.first + number)
            buckets.append((str(edge), float(count)))
        return {"buckets": buckets, "sum_value": self._table.sum(histogram.sum) / 1e6}

    def _relay_proxies(self) -> Iterator[Metric]:
        relays = min(self._table.gateway.cells[metrics.RELAYS], metrics.MOST_RELAYS)
        if not relays:
            return
        up, states, tries = {}, {}, {}
        for number in range(relays):
            label = str(number + 1)
            state = self._relay_state(number)
            up[(label,)] = int(state <= RelayState.UP)
            states[(label,)] = int(state)
            tries[label, "opened"] = self._table.sum(metrics.RELAY_OPENED + number)
            tries[label, "failed"] = self._table.sum(metrics.RELAY_FAILED + number)
        told = "0 while it rests, or refuses us; 1 before it was tried, too. By its place in the list."
        yield _gauge("ogw_relay_proxy_up", told, up, ["proxy"])
        told = "How it fares, as ogw status says: 0 never tried, 1 up, 2 refuses us, 3 rests."
        yield _gauge("ogw_relay_proxy_state", told, states, ["proxy"])
        yield _counter("ogw_relay_proxy_tries", "Tunnels tried through it.", tries, ["proxy", "result"])
        told = (
            "How the gateway authenticated itself to relay proxies; withheld: not sent, since they were refused before."
        )
        counts = {key: self._table.sum(cell) for key, cell in metrics.RELAY_AUTH.items()}
        yield _counter("ogw_relay_auth", told, counts, ["scheme", "result"])
        yield from self._by_url()

    def _by_url(self) -> Iterator[Metric]:
        """What a reload leaves as it is: of each URL that there was since the start; the last ones together."""
        total, tunnels, failures = self._table.sum, {}, {}
        connect = HistogramMetricFamily(
            "ogw_relay_proxy_connect_seconds", "Until a relay proxy opened a tunnel, by its URL.", labels=["url"]
        )
        for slot, url in enumerate([*self._table.slots.names(), OTHERS_URL]):
            slot = OTHERS if url == OTHERS_URL else slot
            tunnels[(url,)] = total(metrics.RELAY_TUNNELS + slot)
            for reason in RELAY_REASONS:
                cell = metrics.RELAY_REASONS + metrics.MOST_REASONS * slot + reason.index
                failures[url, reason.token] = total(cell)
            connect.add_metric([url], **self._observed(metrics.RELAY_CONNECT[slot]))
        yield _gauge("ogw_relay_proxy_tunnels", "Open tunnels over a relay proxy, by its URL.", tunnels, ["url"])
        told = "Tunnels that a relay proxy did not open, by its URL and the reason."
        yield _counter("ogw_relay_proxy_failures", told, failures, ["url", "reason"])
        yield connect

    def _sources(self) -> Iterator[Metric]:
        cells = self._table.gateway.cells
        count = min(cells[metrics.SOURCES], metrics.MOST_SOURCES)
        for name, help, first in (
            ("ogw_source_fetched_time_seconds", "When the server of a list last had the one in force; 0 for none.",
             metrics.SOURCE_FETCHED),
            ("ogw_source_serial", "The serial of its signature.", metrics.SOURCE_SERIAL),
            ("ogw_source_expiry_time_seconds", "When its signature expires; 0 for none.", metrics.SOURCE_EXPIRES),
            ("ogw_source_failing", "1 where its last download was not taken.", metrics.SOURCE_FAILING),
            ("ogw_source_rolled_back", "1 where it is rolled back.", metrics.SOURCE_HELD),
        ):  # fmt: skip
            told = f"{help} By the list's place among the URLs in allowed-host-source."
            yield _gauge(name, told, {(str(one + 1),): cells[first + one] for one in range(count)}, ["source"])

    def _relay_state(self, number: int) -> RelayState:
        """As /status has it, without asking the workers."""
        now = int(time.monotonic())
        known: list[KnownRelay] = []
        for cells in (row.cells for row in self._table.rows):
            state, age = cells[metrics.RELAY_STATE + number], now - cells[metrics.RELAY_SINCE + number]
            known.append({**NOTHING_KNOWN, "state": state, "age": age})
        return RelayState(worst_of(known)["state"])

    def _admin(self) -> Iterator[Metric]:
        """The address that this is asked at, from afar."""
        yield _gauge(
            "ogw_admin_certificate_expiry_time_seconds",
            "Until when the certificate of admin-address is valid; 0 for none.",
            self._table.admin.cells[metrics.ADMIN_CERTIFICATE],
        )
        yield _counter("ogw_admin_refused", "Who was refused on admin-address, by cause.", {
            (cause,): self._table.sum(cell) for cause, cell in metrics.ADMIN_REFUSED.items()
        }, ["cause"])  # fmt: skip

    def _processes(self) -> Iterator[Metric]:
        cells = self._table.gateway.cells
        pids = [row.cells[metrics.PROCESS] for row in self._table.rows]
        yield _gauge("ogw_workers", "Workers that there are to be.", len(pids))
        yield _gauge("ogw_workers_ready", "Workers that serve.", cells[metrics.READY_WORKERS])
        yield _counter("ogw_worker_deaths", "Processes that died and were replaced.", cells[metrics.DEATHS])
        yield _gauge("ogw_worker_tunnels", "Open client connections, by worker.", {
            (str(number),): row.tunnels for number, row in enumerate(self._table.rows)
        }, ["worker"])  # fmt: skip
        yield _gauge("ogw_open_descriptors", "Open files, by worker.", {
            (str(number),): descriptors_of(pid) for number, pid in enumerate(pids)
        }, ["worker"])  # fmt: skip
        yield _gauge("ogw_max_descriptors", "How many each worker may have.", cells[metrics.MOST_DESCRIPTORS])


def _values(family: Any, value: Any) -> Any:
    if isinstance(value, dict):
        for labels, number in value.items():
            family.add_metric(labels, number)
    else:
        family.add_metric([], value)
    return family


def _counter(name: str, help: str, value: Any, labels: Any = ()) -> Metric:
    return _values(CounterMetricFamily(name, help, labels=labels), value)  # type: ignore[no-any-return]


def _gauge(name: str, help: str, value: Any, labels: Any = ()) -> Metric:
    return _values(GaugeMetricFamily(name, help, labels=labels), value)  # type: ignore[no-any-return]


def _info(name: str, help: str, value: dict[str, str]) -> Metric:
    return InfoMetricFamily(name, help, value=value)
