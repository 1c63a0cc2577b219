"""Step 7 of the path: account for it. Every tunnel is counted; it has at most two lines, refusals that repeat fewer."""

import time
from typing import Any, Optional

from ogw.policy.decision import Reason
from ogw.policy.handshake import Handshake
from ogw.policy.names import NOBODY, Names
from ogw.policy.rejection import Rejection
from ogw.report.events import Event
from ogw.report.log import Account, Log
from ogw.report.metrics import (
    ALLOWED,
    BYTES_DOWN,
    BYTES_UP,
    CLOSED,
    DIAL,
    DURATION,
    EVENTS,
    HANDSHAKE,
    PASSED,
    REFUSED,
    REJECTED,
    REPORTED,
    VERIFIED,
)
from ogw.report.printable import detail_of
from ogw.report.recent import Recent, Told
from ogw.report.refusals import GATHERED, Refusals
from ogw.wire.tls import version_name


class Ledger:
    """What the tunnels of a worker report to.

    cells          the worker's row of the shared table
    refusals       what it denied and rejected lately
    folded         the last of those without a line of their own, one by one
    written        and of those that had one; they must not push out the others, which stand nowhere else
    every_refusal  each one has a line (log-every-refusal)
    """

    def __init__(self, log: Log, cells: Any, every_refusal: bool = False) -> None:
        self.log = log
        self.cells = cells
        self.refusals = Refusals()
        self.folded = Recent()
        self.written = Recent()
        self.every_refusal = every_refusal

    def opened(self, dial_seconds: float) -> None:
        """Its target is reached, the 200 is on its way."""
        self.cells[ALLOWED] += 1
        DIAL.observe(self.cells, dial_seconds)

    def copied(self, up: int, down: int) -> None:
        """So many more bytes went through."""
        self.cells[BYTES_UP] += up
        self.cells[BYTES_DOWN] += down

    def refused(
        self,
        reason: Reason,
        detail: str,
        client: str,
        target: str,
        fields: dict[str, Any],
        addresses: tuple[str, ...] = (),
        named: str = "",
        names: Names = NOBODY,
    ) -> None:
        """Denied: it gets an answer and ends. `fields` are for its line; the rest is as in report/refusals.py."""
        self.cells[REFUSED + reason.index] += 1
        self._tell(reason, detail, client, target, fields, addresses, named, names)

    def passed(
        self, reason: Reason, detail: str, client: str, target: str, fields: dict[str, Any], names: Names = NOBODY
    ) -> None:
        """No rule allows it, and it passes because the policy only reports: what would have been said."""
        self.cells[PASSED + reason.index] += 1
        self._tell(reason, detail, client, target, {**fields, "enforced": False}, names=names)

    def rejected(
        self,
        handshake: Handshake,
        rejection: Rejection,
        client: str,
        target: str,
        fields: dict[str, Any],
        passes: bool,
        names: Names = NOBODY,
    ) -> None:
        """The TLS rules say no. `passes`: they only report."""
        self.cells[(REPORTED if passes else REJECTED) + rejection.reason.index] += 1
        more = {
            "server_name": handshake.server_name or None,
            "tls_version": version_name(handshake.version) if handshake.version else None,
            "subject": handshake.subject or None,
            "enforced": False if passes else None,
        }
        reason, detail, pattern = rejection.reason, rejection.detail, handshake.pattern
        self._tell(reason, detail, client, target, {**fields, **more}, named=pattern, names=names)

    def verified(
        self,
        handshake: Handshake,
        tunnel: str,
        client: str,
        target: str,
        seconds: float,
        via: str = "",
        client_subject: str = "",
    ) -> None:
        """Its TLS session passes the rules."""
        self.cells[VERIFIED.get(handshake.version, VERIFIED[0])] += 1
        HANDSHAKE.observe(self.cells, seconds)
        self.log.tls_verified(
            tunnel,
            client,
            target,
            handshake.server_name,
            version_name(handshake.version),
            seconds,
            handshake.subject,
            handshake.ech_to_report,
            via,
            client_subject,
        )

    def still_open(self, fields: dict[str, Any], upstream: str, bytes_up: int, bytes_down: int) -> None:
        """It has been open for another log-interval."""
        copied: dict[str, Any] = {"upstream": upstream, "bytes_up": bytes_up, "bytes_down": bytes_down}
        self.log.event(Event.INFORMATION, "the tunnel is open", **fields, **copied)

    def closed(self, reason: Reason, detail: str, account: Account) -> None:
        """An open tunnel ended."""
        self.cells[CLOSED + reason.index] += 1
        DURATION.observe(self.cells, account.duration)
        self.log.tunnel_closed(reason.token, detail and detail_of(detail), account)

    def left(self, reason: Optional[Reason], detail: str, fields: dict[str, Any]) -> None:
        """Its client went away before it was open; without a reason it never said a byte."""
        if reason is not None:
            self.cells[CLOSED + reason.index] += 1
            self.log.event(Event.TUNNEL_CLOSED, detail_of(detail), reason.token, **fields)
        elif self.log.debug:
            self.log.event(Event.CONNECT_RECEIVED, "the client connected and said nothing", **fields)

    def tell_of_repeats(self, now: float, at_once: bool = False) -> None:
        """The counts of refusals that repeated; to be called now and then, and at the end."""
        for one in self.refusals.take_due(now, at_once):
            self.log.event(
                one.event,
                f"{one.untold} more {GATHERED if one.gathered else 'like this'}; the last: {one.detail}",
                one.reason,
                counted=False,
                client=one.client,
                client_subject=one.subject or None,
                target=one.latest or None,
                count=one.untold,
                enforced=None if one.enforced else False,
            )
            one.untold = 0

    def _tell(
        self,
        reason: Reason,
        detail: str,
        client: str,
        target: str,
        fields: dict[str, Any],
        addresses: tuple[str, ...] = (),
        named: str = "",
        names: Names = NOBODY,
    ) -> None:
        self.cells[EVENTS[reason.event]] += 1
        now, wall = time.monotonic(), time.time()
        every = self.every_refusal or reason is Reason.INTERNAL_ERROR
        enforced = fields.get("enforced") is not False
        detail = detail_of(detail)
        token, event = reason.token, reason.event
        remember = self.refusals.remember
        subject = fields["client_subject"] or ""
        writes = remember(
            client, target, token, event, detail, now, wall, every, enforced, addresses, named, subject, names
        )
        asked_for, who, via = fields["target"] or "", fields["client"], fields["via"] or ""
        told = Told(fields["tunnel"], wall, who, asked_for, token, event, detail, enforced, not writes, via, subject)
        (self.written if writes else self.folded).add(told)
        if writes:
            self.log.event(event, detail, token, counted=False, **fields)

    def of_tunnel(self, tunnel: str) -> list[Told]:
        """The refusals of the tunnel with this id, as far as they are remembered."""
        return [*self.folded.find(tunnel), *self.written.find(tunnel)]
