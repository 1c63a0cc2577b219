"""What a worker answers when the admin process asks about its tunnels; in the worker's loop, so it must be quick."""

import heapq
import time
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

from ogw.policy.decision import Reason
from ogw.report.metrics import RELAY_FAILED, RELAY_OPENED
from ogw.report.refusals import MOST as MOST_REMEMBERED
from ogw.report.refusals import Refusals
from ogw.service.messages import KillTunnel, ListRefusals, ListTunnels
from ogw.tunnel.relay import Relay
from ogw.tunnel.tunnel import Tunnel

MOST_NAMES = 100  # of clients and hosts, each, that a worker tells of
MOST_REFUSALS = 20
MOST_TUNNELS = 1000
LONGEST_DETAIL = 1000  # characters; a certificate's subject may have thousands


def overview(tunnels: Collection[Tunnel], relays: Iterable[Relay], cells: Any, refusals: Refusals) -> dict[str, Any]:
    """Who has most tunnels, where to, how the relay proxies fare, and what was refused lately.

    cells  the worker's row of the table
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
             "opened": cells[RELAY_OPENED + relay.number], "failed": cells[RELAY_FAILED + relay.number]}
            for relay in relays
        ],
        "refusals": [
            {"client": one.client, "target": one.target, "reason": one.reason, "event": one.event,
             "detail": one.detail[:LONGEST_DETAIL], "count": one.count, "last": one.last, "seen": one.seen,
             "enforced": one.enforced}
            for one in refusals.latest(MOST_REFUSALS)
        ],
    }  # fmt: skip


def listed(tunnels: Collection[Tunnel], question: ListTunnels) -> dict[str, Any]:
    """Those of a client address and of a target host or host:port, where one is named; the longest open first."""
    client, target, most = question
    matching = [
        tunnel
        for tunnel in tunnels
        if (not client or tunnel.client_ip == client)
        and (not target or tunnel.target == target or tunnel.target.rpartition(":")[0] == target)
    ]
    now = time.monotonic()
    return {
        "total": len(matching),
        "tunnels": [
            {
                "tunnel": tunnel.id,
                "client": tunnel.client_name,
                "target": tunnel.target,
                "upstream": tunnel.upstream,
                "state": tunnel.state,
                "duration": round(now - tunnel.accepted, 1),
                "bytes_up": tunnel.duplex.up.copied if tunnel.duplex is not None else 0,
                "bytes_down": tunnel.duplex.down.copied if tunnel.duplex is not None else 0,
            }
            for tunnel in heapq.nsmallest(min(most, MOST_TUNNELS), matching, key=lambda tunnel: tunnel.accepted)
        ],
    }


def remembered(refusals: Refusals, question: ListRefusals) -> dict[str, Any]:
    """All that it remembers of some events, the latest first."""
    return {
        "complete": not refusals.is_full,
        "refusals": [
            [
                one.client,
                one.target,
                one.reason,
                one.event,
                one.detail[:LONGEST_DETAIL],
                one.count,
                one.first,
                one.last,
                one.enforced,
                one.seen,
            ]
            for one in refusals.latest(MOST_REMEMBERED)
            if one.event in question.events
        ],
    }  # fmt: skip


def kill(tunnels: Collection[Tunnel], question: KillTunnel) -> dict[str, Any]:
    """End the tunnel with this id."""
    for tunnel in tunnels:
        if tunnel.id == question.tunnel:
            tunnel.end(Reason.KILLED)
            return {"killed": True}
    return {"killed": False}
