"""What a worker answers when the admin process asks about its tunnels; in the worker's loop, so it must be quick."""

import heapq
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple, Optional, TypedDict

from ogw.policy.decision import Reason
from ogw.report.log import timestamp
from ogw.report.metrics import RELAY_FAILED, RELAY_OPENED
from ogw.report.recent import Told
from ogw.report.refusals import MOST as MOST_REMEMBERED
from ogw.report.refusals import Refusal, Refusals
from ogw.service.admin.shapes import Killed, OpenTunnel, ToldRefusal
from ogw.service.messages import FindTunnel, KillTunnel, ListRefusals, ListTunnels
from ogw.tunnel.relay import Relay
from ogw.tunnel.tunnel import Tunnel

MOST_NAMES = 100  # of clients and hosts, each, that a worker tells of
MOST_REFUSALS = 20
MOST_TUNNELS = 1000  # of a listing
LONGEST_DETAIL = 1000  # characters; a certificate's subject may have thousands


class KnownRelay(TypedDict):
    """A relay proxy as one worker knows it: as in report/status.py, but `state` is a RelayState."""

    proxy: str
    state: int
    why: str
    age: Optional[float]
    opened: int
    failed: int
    scheme: str
    tunnels: int
    named_for: list[str]


class KnownRefusal(NamedTuple):
    """A refusal that a worker remembers: as in report/status.py, but on the way it is a list, so that many are short.

    times        its count there
    command      what would allow it; None where nothing does, or nobody wanted to know
    first, last  Unix seconds
    seen         when the last came, in seconds of the monotonic clock, which all processes of a machine share
    subject      its client_subject
    """

    client: str
    target: str
    reason: str
    event: int
    detail: str
    times: int
    first: float
    last: float
    enforced: bool
    seen: float
    command: Optional[str] = None
    subject: str = ""


class KnownOverview(TypedDict):
    """To Overview; names with how many tunnels each has."""

    clients: list[tuple[str, int]]
    hosts: list[tuple[str, int]]
    relay_proxies: list[KnownRelay]
    refusals: list[KnownRefusal]


class KnownTunnels(TypedDict):
    """To ListTunnels; `total` is how many match."""

    total: int
    tunnels: list[OpenTunnel]


class KnownRefusals(TypedDict):
    """To ListRefusals; `complete`: none had to be forgotten."""

    complete: bool
    refusals: list[KnownRefusal]


class KnownTunnel(TypedDict):
    """To FindTunnel; `open` is empty where it is not."""

    open: list[OpenTunnel]
    refusals: list[ToldRefusal]


def overview(
    tunnels: Collection[Tunnel],
    relays: Iterable[Relay],
    cells: Any,
    refusals: Refusals,
    command_for: Callable[[Refusal], Optional[str]],
) -> KnownOverview:
    """Who has most tunnels, where to, how the relay proxies fare, and what was refused lately.

    cells        the worker's row of the table
    command_for  what would allow it
    """
    clients = Counter(tunnel.client_ip for tunnel in tunnels if not tunnel.is_over)
    hosts = Counter(tunnel.target for tunnel in tunnels if tunnel.target and not tunnel.is_over)
    for tunnel in tunnels:
        tunnel.count_bytes()
    now = time.monotonic()
    return {
        "clients": clients.most_common(MOST_NAMES),
        "hosts": hosts.most_common(MOST_NAMES),
        "relay_proxies": [
            {"proxy": str(relay.proxy), "state": int(relay.state), "why": relay.why,
             "age": round(now - relay.since, 1) if relay.state else None,
             "opened": cells[RELAY_OPENED + relay.number], "failed": cells[RELAY_FAILED + relay.number],
             "scheme": relay.scheme,
             "tunnels": relay.tunnels, "named_for": list(relay.named_for)}
            for relay in relays
        ],
        "refusals": [_known(one)._replace(command=command_for(one)) for one in refusals.latest(MOST_REFUSALS)],
    }  # fmt: skip


def listed(tunnels: Collection[Tunnel], question: ListTunnels) -> KnownTunnels:
    """Those of a client address, of a target host or host:port, with a text, where one is named; the oldest first."""
    client, target, most, text = question
    matching = [
        tunnel
        for tunnel in tunnels
        if (not client or tunnel.client_ip == client)
        and (not target or tunnel.target == target or tunnel.target.rpartition(":")[0] == target)
        and (not text or any(text in name for name in _names(tunnel)))
    ]
    now = time.monotonic()
    return {
        "total": len(matching),
        "tunnels": [
            _open(tunnel, now)
            for tunnel in heapq.nsmallest(min(most, MOST_TUNNELS), matching, key=lambda tunnel: tunnel.accepted)
        ],
    }


def _names(tunnel: Tunnel) -> tuple[str, ...]:
    return tunnel.client_name, tunnel.subject.lower(), tunnel.via, tunnel.target, tunnel.upstream, tunnel.id


def _open(tunnel: Tunnel, now: float) -> OpenTunnel:
    one: OpenTunnel = {
        "tunnel": tunnel.id,
        "client": tunnel.client_name,
        "via": tunnel.via,
        "target": tunnel.target,
        "upstream": tunnel.upstream,
        "state": tunnel.state,
        "duration": round(now - tunnel.accepted, 1),
        "bytes_up": tunnel.duplex.up.copied if tunnel.duplex is not None else 0,
        "bytes_down": tunnel.duplex.down.copied if tunnel.duplex is not None else 0,
    }
    if tunnel.subject:
        one["client_subject"] = tunnel.subject[:LONGEST_DETAIL]
    return one


def found(tunnels: Collection[Tunnel], refusals_of: Callable[[str], list[Told]], question: FindTunnel) -> KnownTunnel:
    """What is known of one tunnel. One that was refused, and only waits for its client to read that, is not open."""
    now, wanted = time.monotonic(), question.tunnel
    refusals = [_told(one) for one in refusals_of(wanted)[-MOST_REFUSALS:]]
    is_over = any(one["enforced"] for one in refusals)
    return {
        "open": [_open(tunnel, now) for tunnel in tunnels if tunnel.id == wanted and not is_over],
        "refusals": refusals,
    }


def _told(one: Told) -> ToldRefusal:
    told: ToldRefusal = {
        "time": timestamp(one.time),
        "client": one.client,
        "via": one.via,
        "target": one.target,
        "reason": one.reason,
        "event": one.event,
        "detail": one.detail,
        "enforced": one.enforced,
        "folded": one.folded,
    }
    if one.subject:
        told["client_subject"] = one.subject[:LONGEST_DETAIL]
    return told


def remembered(refusals: Refusals, question: ListRefusals) -> KnownRefusals:
    """All that it remembers of some events, the latest first."""
    return {
        "complete": not refusals.is_full,
        "refusals": [_known(one) for one in refusals.latest(MOST_REMEMBERED) if one.event in question.events],
    }


def _known(one: Refusal) -> KnownRefusal:
    detail = one.detail[:LONGEST_DETAIL]
    counts = one.count, one.first, one.last
    known = KnownRefusal(one.client, one.target, one.reason, one.event, detail, *counts, one.enforced, one.seen)
    return known._replace(subject=one.subject[:LONGEST_DETAIL]) if one.subject else known


def kill(tunnels: Collection[Tunnel], question: KillTunnel) -> Killed:
    """End the tunnel with this id."""
    for tunnel in tunnels:
        if tunnel.id == question.tunnel:
            tunnel.end(Reason.KILLED)
            return {"killed": True}
    return {"killed": False}
