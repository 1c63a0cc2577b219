"""Step 3 of the path, its other way: reach the target through a relay proxy, or through the next one."""

import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Optional

from ogw.policy.ways import Way
from ogw.report.events import Event
from ogw.report.log import Log
from ogw.report.metrics import (
    MOST_REASONS,
    RELAY_ANSWERED,
    RELAY_CONNECT,
    RELAY_FAILED,
    RELAY_OPENED,
    RELAY_REASONS,
    RELAY_RESTS,
    RELAY_SINCE,
    RELAY_STATE,
    RELAY_TUNNELS,
)
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

Failure = tuple[Relay, NotOpened]


class Relays:
    """The relay proxies, in order of preference.

    via      how this gateway names itself to them, so that a loop is seen
    context  what an encrypted one is verified with
    authentication  how the gateway authenticates itself over HTTP

    spreads  of those that would be asked alike, the one with fewest tunnels of this worker is asked first
    rests    called when one begins to rest
    choose   the addresses of a name, for a trial of one that is given addresses; raises DialError
    """

    def __init__(
        self,
        relays: Iterable[Relay],
        connector: Connector,
        log: Log,
        via: bytes,
        shared: PasswordSource,
        context: Optional[ssl.SSLContext],
        own: OwnPlaces,
        timeout: float,
        authentication: Authentication,
        spreads: bool = False,
        rests: Callable[[], object] = int,
        choose: Callable[[Target, Mailbox], Sequence[str]] = lambda _target, _mailbox: (),
    ) -> None:
        self.relays = list(relays)
        self._spreads = spreads
        self._rests = rests
        self._choose = choose
        self._opener = Opener(connector, via, shared, context, own, timeout, authentication)
        self._log = log
        self._cells = log.cells

    def dial(
        self,
        target: Target,
        mailbox: Mailbox,
        via: Sequence[bytes] = (),
        way: Optional[Way] = None,
        addresses: Sequence[str] = (),
    ) -> Upstream:
        """A tunnel to the target through the first relay proxy that opens one. Raises DialError or ClientGone.

        via        what the request says of the proxies that it came through
        way        through which of them, at least one; None: all
        addresses  those of the target's name that are allowed (IP text), where it was looked up here
        """
        failures: list[NotOpened] = []
        ill: list[Failure] = []
        for relay in self._in_turn(way):
            try:
                upstream = self._open(relay, target, mailbox, via, addresses)
            except NotOpened as failed:
                failures.append(failed)
                if relay.in_force:
                    self._cells[RELAY_FAILED + relay.number] += 1
                self._cells[RELAY_REASONS + MOST_REASONS * relay.slot + failed.error.reason.index] += 1
                self._judge_failure(relay, failed, target, ill)
                if not failed.go_on:
                    break
            else:
                if relay.in_force:
                    self._cells[RELAY_OPENED + relay.number] += 1
                self._note_opened(relay, target)
                self._doubt(ill, target, others_open_it=True)
                return upstream
        self._doubt(ill, target)
        raise _summed_up(failures)

    def _open(
        self, relay: Relay, target: Target, mailbox: Mailbox, via: Sequence[bytes], addresses: Sequence[str]
    ) -> Upstream:
        began = time.monotonic()
        relay.tunnels += 1
        try:
            upstream = self._opener.open(relay, target, mailbox, via, addresses)
        except BaseException:
            relay.tunnels -= 1
            raise
        RELAY_CONNECT[relay.slot].observe(self._cells, time.monotonic() - began)
        self._cells[RELAY_TUNNELS + relay.slot] += 1
        return upstream._replace(closed=partial(self._is_over, relay, upstream.closed))

    def _is_over(self, relay: Relay, closed: Optional[Callable[[], None]]) -> None:
        relay.tunnels -= 1
        self._cells[RELAY_TUNNELS + relay.slot] -= 1
        if closed is not None:
            closed()

    def _note_opened(self, relay: Relay, target: Target) -> None:
        now = time.monotonic()
        self._cells[RELAY_ANSWERED + relay.slot] = int(now * 1000)
        self._wake(relay)
        relay.note_opened(now, target)
        self._count_state(relay)

    def attempt(self, relay: Relay) -> None:
        """For nobody: see whether one that rests opens a tunnel, which is closed at once."""
        target = relay.wanted or relay.asked
        if target is None:
            return
        ill: list[Failure] = []
        mailbox = Mailbox()
        looks_up = relay.proxy.resolves_here and target.address is None
        try:
            addresses = self._choose(target, mailbox) if looks_up else ()
            upstream = self._opener.open(relay, target, mailbox, (), addresses)
        except NotOpened as failed:
            self._judge_failure(relay, failed, target, ill)
            self._doubt(ill, target)
        except DialError:
            return  # there are no descriptors, or no addresses to ask it for, and nothing is known of it
        else:
            upstream.socket.close()
            if upstream.closed is not None:
                upstream.closed()
            self._note_opened(relay, target)

    def _judge_failure(self, relay: Relay, failed: NotOpened, target: Target, ill: list[Failure]) -> None:
        # Who is at fault? What cannot be reached, or does not speak as a proxy does, is the relay proxy itself: the
        # opener says so. 4xx is what one in good health says of a target, or of us. 5xx may be either; only one that
        # says it whatever it is asked for is as good as down, and rests like one.
        status = failed.like
        if failed.at_fault or (status is not None and status >= 500 and relay.is_given_up):
            self._rest(relay, failed, target)
        elif status is not None:
            self._wake(relay)
            if status >= 500:
                # Whose fault that is, the others may tell: where one of them opens this very target, the target is
                # well, and it counts however often the same one was refused.
                ill.append((relay, failed))
            else:
                self._note_refusal(relay, failed, status, target)
        elif failed.is_about_credentials:
            self._note_refusal(relay, failed, 407, target)

    def _doubt(self, ill: list[Failure], target: Target, others_open_it: bool = False) -> None:
        """These answered 5xx."""
        for relay, failed in ill:
            self._note_refusal(relay, failed, failed.like or 0, target, others_open_it)
            if relay.is_given_up:
                self._rest(relay, failed, target)

    def _note_refusal(
        self, relay: Relay, failed: NotOpened, status: int, target: Target, others_open_it: bool = False
    ) -> None:
        relay.note_refused(time.monotonic(), failed.why, status, target, others_open_it)
        self._count_state(relay)

    def _count_state(self, relay: Relay) -> None:
        if not relay.in_force:
            return  # its place is another's
        self._cells[RELAY_STATE + relay.number] = relay.state
        self._cells[RELAY_SINCE + relay.number] = int(relay.since)
        self._cells[RELAY_RESTS + relay.slot] = sum(one.rests for one in self.relays if one.slot == relay.slot)

    def _in_turn(self, way: Optional[Way]) -> list[Relay]:
        """Those of the way that do not rest; if all do, all of them: a tunnel that may fail is better than one that
        must, and going straight instead is for nobody to decide but the operator."""
        relays = self.relays
        classes = [relays] if way is None else [[relays[place] for place in places] for places in way]
        due = [relay for alike in classes for relay in self._in_order([one for one in alike if not one.rests])]
        return due or [relay for alike in classes for relay in alike]

    def _in_order(self, alike: list[Relay]) -> list[Relay]:
        return sorted(alike, key=lambda relay: relay.tunnels) if self._spreads else alike

    def _rest(self, relay: Relay, failed: NotOpened, target: Target) -> None:
        begins = relay.rest(time.monotonic(), failed.why, target)
        self._count_state(relay)
        if begins and relay.in_force:
            self._rests()
            error, detail = failed.error, failed.error.detail
            if failed.like is not None:
                detail = f"relay proxy {relay.proxy}: {failed.why}, whatever it is asked for"
            message = f"{detail}; it rests until a trial in the background finds that it answers"
            self._log.event(Event.NETWORK_ERROR, message, error.reason.token, count=1)

    def _wake(self, relay: Relay) -> None:
        if relay.wake():
            self._cells[RELAY_ANSWERED + relay.slot] = int(time.monotonic() * 1000)
            self._log.event(Event.INFORMATION, f"relay proxy {relay.proxy} answers again")

    def forget(self, relay: Relay) -> None:
        """Another worker knows better than this one."""
        relay.forget()
        self._count_state(relay)
        self._log.event(Event.INFORMATION, f"relay proxy {relay.proxy} answers again")

    def retire(self) -> None:
        """Others are in force, or none; those that are there again are remembered. Dials over these go on."""
        for relay in self.relays:
            relay.in_force = False

    def remember(self, before: "Relays") -> None:
        """How those fare that were set before, too; one that rests is tried soon, since that may have been mended."""
        # For tunnels that are dialing with what is no longer right.
        before._opener.passwords.given = self._opener.passwords.given
        known = {relay.proxy: relay for relay in before.relays}
        for place, relay in enumerate(self.relays):
            old = known.pop(relay.proxy, None)
            if old is not None:
                old.place_as(relay.number, relay.slot, relay.wanted, relay.named_for)
                old.tried_from, old.in_force = 0.0, True
                self.relays[place] = old
        for relay in self.relays:
            self._count_state(relay)


def _summed_up(failures: list[NotOpened]) -> DialError:
    """Of several failures an answer says more than none; the log gets them all."""
    first = next((failed for failed in failures if failed.like is not None), failures[0]).error
    others = [failed.error.detail for failed in failures if failed.error is not first]
    return DialError(first.reason, "; ".join([first.detail, *others]), first.status, offered=first.offered)
