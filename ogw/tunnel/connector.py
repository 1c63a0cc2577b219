"""Step 3 of the path: a name and a port to a connected socket. All addresses are tried, each judged before it is."""

import _socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Optional

from gevent.hub import get_hub

from ogw.policy.decision import Decision, Reason
from ogw.report.metrics import DNS
from ogw.tunnel.attempt import UNDER_WAY, AttemptFailed, connect, failure, keep_alive, open_socket, settle
from ogw.tunnel.burst import Burst
from ogw.tunnel.lookup import Lookup
from ogw.tunnel.loop import WRITE, Deadline, Expired, Limit
from ogw.tunnel.mailbox import Mailbox
from ogw.tunnel.ports import local_port_range
from ogw.tunnel.race import MOST_TOLD, Race
from ogw.tunnel.resolve import Resolver
from ogw.tunnel.upstream import DialError, UnknownName, Upstream, reached, too_slow
from ogw.wire.connect import Target

RESOLUTION_DELAY = 0.05  # RFC 8305, section 8: how long A waits for AAAA


class Survey(NamedTuple):
    """What a dial would have to choose from.

    addresses  (IP text, what the guard says of it), in the order in which they would be tried: those that would, and
               some of those that would not
    failure    how the dial would fail without trying any of them; None where it would try one
    more       how many addresses there are beyond these
    """

    addresses: list[tuple[str, Decision]]
    failure: Optional[DialError] = None
    more: int = 0


class Connector:
    """Looks a name up and connects to one of its addresses, within limits in seconds.

    keepalive  seconds; given by `keep_alive` to a connection that lasts
    cells      where the times of look-ups are counted
    burst      what goes out at the end of the turn
    """

    def __init__(
        self,
        resolver: Resolver,
        dial_timeout: float,
        dns_timeout: float,
        keepalive: float,
        cells: Any,
        burst: Optional[Burst] = None,
    ) -> None:
        self._resolver = resolver
        self._dial_timeout = dial_timeout
        self._dial_limit = Limit(dial_timeout)
        self._dns_timeout = dns_timeout
        self._keepalive = keepalive
        self._ports = local_port_range()
        self._cells = cells
        self._burst = burst or Burst()

    def close(self) -> None:
        """It is replaced by another; tunnels that have it still may go on with it."""
        self._resolver.close()

    def connect(self, target: Target, judge: Callable[[str], Decision], mailbox: Mailbox) -> Upstream:
        """Connect to `target`, but only to addresses that `judge` allows. Raises DialError or ClientGone."""
        lookup = self._look_up(target, mailbox)
        if lookup.done and len(lookup.addresses) == 1:
            return self._connect_to_one(lookup.addresses[0], target, judge, mailbox)
        race = Race(target.port, judge, mailbox, self._ports)
        tell_growth = None if lookup.done else _growth_teller(mailbox)
        if tell_growth is not None:
            lookup.watch(tell_growth)
        try:
            with Deadline(self._dial_timeout):
                while True:
                    race.enter(lookup)
                    winner = race.go_on(more_to_come=not lookup.done)
                    if winner is not None:
                        return winner
        except Expired:
            raise race.too_slow(target, self._dial_timeout) from None
        finally:
            race.close()
            if tell_growth is not None:
                lookup.unwatch(tell_growth)

    def _connect_to_one(
        self, address: str, target: Target, judge: Callable[[str], Decision], mailbox: Mailbox
    ) -> Upstream:
        """The short way, which most go: a race of one needs no race."""
        decision = judge(address)
        if not decision.allowed:
            raise DialError(decision.reason, f"{address}: {decision.detail}", addresses=(address,))
        try:
            sock = open_socket(address, self._ports)
            try:
                with self._dial_limit:
                    _Connecting(sock, (address, target.port), mailbox).go_with(self._burst)
            except BaseException:
                sock.close()
                raise
            settle(sock)
        except AttemptFailed as failed:
            raise DialError(failed.reason, f"{address}: {failed.detail}") from None
        except Expired:
            raise too_slow(target, self._dial_timeout) from None
        return reached(sock, address, target.port)

    def choose(self, target: Target, judge: Callable[[str], Decision], mailbox: Mailbox, most: int) -> list[str]:
        """The first addresses that `connect` would try, for a relay proxy to try them. Raises as it does.

        Those that are known by the time that it would begin: one family is not waited for where the other has some.
        """
        lookup = self._look_up(target, mailbox)
        race = Race(target.port, judge, mailbox, self._ports)
        race.enter(lookup)
        found = race.allowed(most)
        in_time = bool(found) or lookup.done or _await_all_answers(lookup, mailbox, self._dial_timeout)
        if not found:
            race.enter(lookup)
            found = race.allowed(most)
        failure = race.lost(target, None if in_time else self._dial_timeout, may_try=bool(found))
        if failure is not None:
            raise failure
        return found

    def keep_alive(self, upstream: _socket.socket) -> None:
        """Give a socket that `connect` made its TCP keepalive: four calls that a short tunnel does without."""
        keep_alive(upstream, self._keepalive)

    def survey(self, target: Target, judge: Callable[[str], Decision], mailbox: Mailbox) -> Survey:
        """What `connect` would find. Dials nothing."""
        # Whoever asks may have been away from the loop, whose timers count from when it last looked at the clock.
        get_hub().loop.update_now()
        try:
            lookup = self._look_up(target, mailbox)
        except DialError as error:
            return Survey([], error)
        in_time = lookup.done or _await_all_answers(lookup, mailbox, self._dial_timeout)
        race = Race(target.port, judge, mailbox, self._ports)
        race.enter(lookup)
        judged = list(race.judge_all())
        shown = [one for one in judged if one[1].allowed]
        refused = [one for one in judged if not one[1].allowed]
        shown += refused[:MOST_TOLD]
        order = {address: number for number, address in enumerate(lookup.addresses)}
        shown.sort(key=lambda one: order[one[0]])
        failure = race.lost(target, None if in_time else self._dial_timeout, may_try=len(refused) < len(judged))
        return Survey(shown, failure, len(order) - len(shown))

    def _look_up(self, target: Target, mailbox: Mailbox) -> Lookup:
        """The first addresses to try; more may come while they are tried."""
        if target.address is not None:
            return Lookup(target.host, [target.host])
        lookup = self._resolver.look_up(target.host)
        if not lookup.done:
            began = time.monotonic()
            try:
                _await_first_answer(lookup, mailbox, self._dns_timeout)
            finally:
                DNS.observe(self._cells, time.monotonic() - began)
        if not lookup.addresses:
            detail = lookup.detail or f"{target.host} has no address"
            if lookup.failure is not Reason.NO_DESCRIPTORS:
                detail += "; check the name and the DNS server (dns-server)"
            if lookup.unknown:
                raise UnknownName(lookup.failure, f"{detail}; names are absolute: no search domain is added")
            raise DialError(lookup.failure, detail)
        return lookup


class _Connecting:
    """A socket that connects with the burst."""

    __slots__ = ("_code", "_mailbox", "_place", "_sock", "_watcher")

    def __init__(self, sock: _socket.socket, place: tuple[str, int], mailbox: Mailbox) -> None:
        self._sock = sock
        self._place = place
        self._mailbox = mailbox
        self._watcher: Any = mailbox.loop.io(sock.fileno(), WRITE)
        self._code: Optional[int] = None  # what connect(2) said

    def go_with(self, burst: Burst) -> None:
        """Come back when it is writable. Raises AttemptFailed, and what the mailbox does."""
        burst.add(self._act)
        try:
            while self._mailbox.wait() is not self:
                pass  # the look-up's last word may come late
        finally:
            if self._code is None:
                burst.remove(self._act)
            self._watcher.stop()
            self._watcher.close()
        if self._code not in UNDER_WAY:
            assert self._code is not None
            raise failure(self._code)

    def _act(self) -> Optional[Callable[[], None]]:
        self._code = connect(self._sock, *self._place)
        if self._code not in UNDER_WAY:
            return partial(self._mailbox.tell, self)
        # Not before it connects: a socket that is not connected is ready for everything.
        self._watcher.start(self._mailbox.tell, self)
        return None


def _growth_teller(mailbox: Mailbox) -> Callable[[], None]:
    return lambda: mailbox.tell_soon(Lookup)


def _await_first_answer(lookup: Lookup, mailbox: Mailbox, seconds: float) -> None:
    """Wait until there is an address to try: at once for IPv6, a moment longer for IPv4 (RFC 8305, section 3)."""
    changed = _growth_teller(mailbox)
    lookup.watch(changed)
    try:
        with Deadline(seconds):
            while not lookup.done and not lookup.addresses:
                mailbox.wait()
        if not lookup.done and not lookup.by_family.get(_socket.AF_INET6):
            with Deadline(RESOLUTION_DELAY):
                mailbox.wait()
    except Expired:
        if not lookup.addresses:
            raise DialError(
                Reason.DNS_TIMEOUT, f"no answer for {lookup.name} within {seconds:g} s (dns-timeout, dns-server)"
            ) from None
    finally:
        lookup.unwatch(changed)


def _await_all_answers(lookup: Lookup, mailbox: Mailbox, seconds: float) -> bool:
    """Whether all of them came in time."""
    changed = _growth_teller(mailbox)
    lookup.watch(changed)
    try:
        with Deadline(seconds):
            while not lookup.done:
                mailbox.wait()
    except Expired:
        return False
    finally:
        lookup.unwatch(changed)
    return True
