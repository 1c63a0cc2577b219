"""Step 3 of the path, its other way: reach the target through a relay proxy, or through the next one."""

import ssl
import time
from collections.abc import Iterator, Sequence
from typing import Optional

from ogw.report.events import Event
from ogw.report.log import Log
from ogw.report.metrics import MOST_RELAYS, RELAY_FAILED, RELAY_OPENED, RELAY_SINCE, RELAY_STATE
from ogw.tunnel.authentication import Authentication
from ogw.tunnel.connector import Connector
from ogw.tunnel.local import OwnPlaces
from ogw.tunnel.mailbox import Mailbox
from ogw.tunnel.not_opened import NotOpened
from ogw.tunnel.opener import Opener
from ogw.tunnel.password import PasswordSource
from ogw.tunnel.relay import Relay
from ogw.tunnel.upstream import DialError, Upstream
from ogw.wire.connect import Target
from ogw.wire.relay_proxy import RelayProxy

Failure = tuple[Relay, NotOpened]


class Relays:
    """The relay proxies, in order of preference.

    via      how this gateway names itself to them, so that a loop is seen
    context  what an encrypted one is verified with
    authentication  how the gateway authenticates itself over HTTP
    """

    def __init__(
        self,
        proxies: Sequence[RelayProxy],
        connector: Connector,
        log: Log,
        via: bytes,
        shared: PasswordSource,
        context: Optional[ssl.SSLContext],
        own: OwnPlaces,
        timeout: float,
        authentication: Authentication,
    ) -> None:
        self.relays = [Relay(proxy, min(number, MOST_RELAYS - 1)) for number, proxy in enumerate(proxies)]
        self._opener = Opener(connector, via, shared, context, own, timeout, authentication)
        self._log = log
        self._cells = log.cells

    def dial(self, target: Target, mailbox: Mailbox, via: Sequence[bytes] = ()) -> Upstream:
        """A tunnel to the target through the first relay proxy that opens one. Raises DialError or ClientGone.

        via  what the request says of the proxies that it came through
        """
        failures: list[DialError] = []
        ill: list[Failure] = []
        for relay in self._in_turn():
            # Its rest is over, or all rest. Until this tunnel knows, others pass it by: one that is still down costs
            # one tunnel its time, not all of them.
            retry = bool(relay.rest_seconds)
            relay.tried = relay.tried or retry
            try:
                upstream = self._opener.open(relay, target, mailbox, via)
            except NotOpened as failed:
                failures.append(failed.error)
                self._cells[RELAY_FAILED + relay.number] += 1
                self._judge_failure(relay, failed, target, ill)
                if not failed.go_on:
                    break
            else:
                self._cells[RELAY_OPENED + relay.number] += 1
                self._wake(relay)
                relay.note_opened(time.monotonic())
                self._count_state(relay)
                self._doubt(ill, target, others_open_it=True)
                return upstream
            finally:
                if retry:
                    relay.tried = False
        self._doubt(ill, target)
        raise _summed_up(failures)

    def _judge_failure(self, relay: Relay, failed: NotOpened, target: Target, ill: list[Failure]) -> None:
        # Who is at fault? What cannot be reached, or does not speak as a proxy does, is the relay proxy itself: the
        # opener says so. 4xx is what one in good health says of a target, or of us. 5xx may be either; only one that
        # says it whatever it is asked for is as good as down, and rests like one.
        status = failed.error.status
        if failed.at_fault or (status is not None and status >= 500 and relay.is_given_up):
            self._rest(relay, failed)
        elif status is not None:
            self._wake(relay)
            if status >= 500:
                # Whose fault that is, the others may tell: where one of them opens this very target, the target is
                # well, and it counts however often the same one was refused.
                ill.append((relay, failed))
            else:
                self._note_refusal(relay, failed, status, target)

    def _doubt(self, ill: list[Failure], target: Target, others_open_it: bool = False) -> None:
        """These answered 5xx."""
        for relay, failed in ill:
            self._note_refusal(relay, failed, failed.error.status or 0, target, others_open_it)
            if relay.is_given_up:
                self._rest(relay, failed)

    def _note_refusal(
        self, relay: Relay, failed: NotOpened, status: int, target: Target, others_open_it: bool = False
    ) -> None:
        relay.note_refused(time.monotonic(), failed.why, status, target, others_open_it)
        self._count_state(relay)

    def _count_state(self, relay: Relay) -> None:
        self._cells[RELAY_STATE + relay.number] = relay.state
        self._cells[RELAY_SINCE + relay.number] = int(relay.since)

    def _in_turn(self) -> Iterator[Relay]:
        """Those that are due; if none is, all of them: a tunnel that may fail is better than one that must."""
        now = time.monotonic()
        yield from [relay for relay in self.relays if relay.is_due(now)] or self.relays

    def _rest(self, relay: Relay, failed: NotOpened) -> None:
        begins = relay.rest(time.monotonic(), failed.why)
        self._count_state(relay)
        if begins:
            error, detail = failed.error, failed.error.detail
            if error.status is not None:
                detail = f"relay proxy {relay.proxy}: {failed.why}, whatever it is asked for"
            message = f"{detail}; it rests for {relay.rest_seconds:g} s"
            self._log.event(Event.NETWORK_ERROR, message, error.reason.token, count=1)

    def _wake(self, relay: Relay) -> None:
        if relay.wake():
            self._log.event(Event.INFORMATION, f"relay proxy {relay.proxy} answers again")

    def remember(self, before: "Relays") -> None:
        """How those fare that were set before, too; their rest is over, since what was wrong may have been mended."""
        # For tunnels that are dialing with what is no longer right.
        before._opener.passwords.given = self._opener.passwords.given
        known = {relay.proxy: relay for relay in before.relays}
        for place, relay in enumerate(self.relays):
            old = known.pop(relay.proxy, None)
            if old is not None:
                old.number, old.rests_until = relay.number, 0.0
                self.relays[place] = old
                self._count_state(old)


def _summed_up(failures: list[DialError]) -> DialError:
    """Of several failures an answer says more than none; the log gets them all."""
    first = next((error for error in failures if error.status is not None), failures[0])
    others = [error.detail for error in failures if error is not first]
    return DialError(first.reason, "; ".join([first.detail, *others]), first.status)
