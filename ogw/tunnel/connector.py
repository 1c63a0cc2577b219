"""Step 3 of the path: a name and a port to a connected socket. All addresses are tried, each judged before it is."""

import _socket
import errno
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Optional

from gevent.hub import get_hub

from ogw.policy.decision import Decision, Reason
from ogw.report.metrics import DNS
from ogw.tunnel.deadline import Deadline, Expired
from ogw.tunnel.descriptors import NO_DESCRIPTORS
from ogw.tunnel.mailbox import Mailbox
from ogw.tunnel.ports import IP_LOCAL_PORT_RANGE, local_port_range
from ogw.tunnel.resolve import FAMILIES, Lookup, Resolver
from ogw.wire.connect import Target

WRITE = 2  # libev's event bit
STAGGER = 0.25  # RFC 8305, section 8: Connection Attempt Delay
RESOLUTION_DELAY = 0.05  # the same: how long A waits for AAAA
KEEPALIVE_PROBES = 4
NO_PORTS = "every local port is in use for this address; widen net.ipv4.ip_local_port_range (sysctl)"
MOST_TRIED = 16  # of the allowed addresses of a family: a zone may have thousands
MOST_TOLD = 5  # of the addresses that did not do

# Of several failures the one that says most about the target is told.
_REASONS = {
    errno.ECONNREFUSED: Reason.CONNECTION_REFUSED,
    errno.ECONNRESET: Reason.CONNECTION_RESET,
    errno.ETIMEDOUT: Reason.CONNECTION_TIMEOUT,
    **dict.fromkeys(NO_DESCRIPTORS, Reason.NO_DESCRIPTORS),
}
_TELLING = (
    Reason.NO_DESCRIPTORS,
    Reason.CONNECTION_REFUSED,
    Reason.CONNECTION_RESET,
    Reason.CONNECTION_TIMEOUT,
    Reason.UNREACHABLE,
    Reason.ADDRESS_NOT_ALLOWED,
    Reason.RELAY_LOOP,
)


class DialError(Exception):
    """The target was not reached: the reason, and for the log a sentence in `detail`.

    status  that of the relay proxy's answer, if it was one that refused
    """

    def __init__(self, reason: Reason, detail: str, status: Optional[int] = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.status = status


class Upstream(NamedTuple):
    """An open upstream: a connected, non-blocking socket, the caller's from now on.

    address  "address:port" of the other end
    rest     what came behind the relay proxy's answer: the tunnel's first bytes down
    closed   to be called after the socket was closed, where somebody wants to know
    """

    socket: _socket.socket
    address: str
    rest: bytes = b""
    closed: Optional[Callable[[], None]] = None


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

    cells  where the times of look-ups are counted
    """

    def __init__(
        self, resolver: Resolver, dial_timeout: float, dns_timeout: float, keepalive: float, cells: Any
    ) -> None:
        self._resolver = resolver
        self._dial_timeout = dial_timeout
        self._dns_timeout = dns_timeout
        self._keepalive = keepalive
        self._ports = local_port_range()
        self._cells = cells

    def close(self) -> None:
        """It is replaced by another; tunnels that have it still may go on with it."""
        self._resolver.close()

    def connect(self, target: Target, judge: Callable[[str], Decision], mailbox: Mailbox) -> Upstream:
        """Connect to `target`, but only to addresses that `judge` allows. Raises DialError or ClientGone."""
        lookup = self._look_up(target, mailbox)
        race = Race(target.port, judge, mailbox, self._keepalive, self._ports)
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

    def survey(self, target: Target, judge: Callable[[str], Decision], mailbox: Mailbox) -> Survey:
        """What `connect` would find. Dials nothing."""
        # Whoever asks may have been away from the loop, whose timers count from when it last looked at the clock.
        get_hub().loop.update_now()
        try:
            lookup = self._look_up(target, mailbox)
        except DialError as error:
            return Survey([], error)
        in_time = lookup.done or _await_all_answers(lookup, mailbox, self._dial_timeout)
        race = Race(target.port, judge, mailbox, self._keepalive, self._ports)
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
            raise DialError(lookup.failure, detail)
        return lookup


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


class Race:
    """Connection attempts to the addresses of one target, each a stagger after the one before (RFC 8305, section 5).

    An address is judged when its turn comes, so that a name with thousands costs no more than what is tried; only the
    first MOST_TRIED that are allowed are, of each family, and IPv6 and IPv4 in turn.
    """

    def __init__(
        self,
        port: int,
        judge: Callable[[str], Decision],
        mailbox: Mailbox,
        keepalive: float,
        ports: Optional[bytes],
    ) -> None:
        self._port = port
        self._judge = judge
        self._mailbox = mailbox
        self._keepalive = keepalive
        self._ports = ports
        self._loop = mailbox.loop
        self._waiting: dict[int, Iterator[str]] = {}  # family -> addresses whose turn did not come yet
        self._turn = 0  # the place in FAMILIES of the one that is next
        self._tried = [0, 0]  # in the order of FAMILIES
        self._all = 0  # addresses
        self._left = 0  # of them, whose turn may still come
        self._attempts: dict[_socket.socket, tuple[str, Any]] = {}
        self._failures: list[tuple[str, str]] = []  # address and detail of the first
        self._reasons: set[Reason] = set()  # of all
        self._stagger: Any = None

    def enter(self, lookup: Lookup) -> None:
        """What is known of the target's addresses by now."""
        for family, addresses in lookup.by_family.items():
            if addresses and family not in self._waiting:
                self._waiting[family] = iter(addresses)
                self._all += len(addresses)
                self._left += len(addresses)

    def go_on(self, more_to_come: bool) -> Optional[Upstream]:
        """Start what is due and wait for one thing to happen; the winner, or None. Raises DialError when all failed."""
        if not self._attempts:
            self._start_next()
        if not self._attempts:
            if not more_to_come or Reason.NO_DESCRIPTORS in self._reasons:
                raise self._all_failed()
        elif self._stagger is None and (self._left or more_to_come):
            self._stagger = self._loop.timer(STAGGER, STAGGER)
            self._stagger.start(self._mailbox.tell, STAGGER)
        what = self._mailbox.wait()
        if what is STAGGER:
            self._start_next()
        elif what in self._attempts:
            return self._settle(what)
        return None

    def _next_address(self) -> str:
        """The next that may be tried; "" where there is none."""
        for turn in (self._turn, 1 - self._turn):
            if self._tried[turn] == MOST_TRIED:
                continue
            for address in self._waiting.get(FAMILIES[turn], ()):
                self._left -= 1
                decision = self._judge(address)
                if decision.allowed:
                    self._tried[turn] += 1
                    self._turn = 1 - turn
                    return address
                self._failed(address, decision.reason, decision.detail)
        self._left = 0
        return ""

    def judge_all(self) -> Iterator[tuple[str, Decision]]:
        """Every address up to the last one that would be tried, and what is said of it; none is dialed."""
        for addresses in self._waiting.values():
            allowed = 0
            for address in addresses:
                decision = self._judge(address)
                if decision.allowed:
                    allowed += 1
                else:
                    self._failed(address, decision.reason, decision.detail)
                yield address, decision
                if allowed == MOST_TRIED:
                    break

    def _start_next(self) -> None:
        """Start one attempt, if there is an address left to try."""
        while address := self._next_address():
            family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
            try:
                sock = _socket.socket(family, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK)
            except OSError as error:
                if error.errno in NO_DESCRIPTORS:
                    self._failed(address, Reason.NO_DESCRIPTORS, f"{error.strerror}: raise the limit of open files")
                    return
                self._failed(address, Reason.UNREACHABLE, f"{error.strerror}")
                continue
            set_up(sock, self._keepalive)
            if self._ports is not None:
                sock.setsockopt(_socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, self._ports)
            code = sock.connect_ex((address, self._port))
            if code in (0, errno.EINPROGRESS):
                watcher = self._loop.io(sock.fileno(), WRITE)
                self._attempts[sock] = address, watcher
                watcher.start(self._mailbox.tell, sock)
                return
            sock.close()
            told = NO_PORTS if code == errno.EADDRNOTAVAIL else os.strerror(code)
            self._failed(address, _REASONS.get(code, Reason.UNREACHABLE), told)

    def _settle(self, sock: _socket.socket) -> Optional[Upstream]:
        address, watcher = self._attempts.pop(sock)
        watcher.stop()
        watcher.close()
        code = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        if code == 0:
            return Upstream(sock, f"[{address}]:{self._port}" if ":" in address else f"{address}:{self._port}")
        sock.close()
        self._failed(address, _REASONS.get(code, Reason.UNREACHABLE), os.strerror(code))
        self._start_next()
        return None

    def _failed(self, address: str, reason: Reason, detail: str) -> None:
        self._reasons.add(reason)
        if len(self._failures) < MOST_TOLD:
            self._failures.append((address, detail))

    def lost(self, target: Target, seconds: Optional[float], may_try: bool) -> Optional[DialError]:
        """How it ends where no address may be tried; None where one may.

        seconds  the deadline at which it ends because more addresses may still come; None: all are here
        """
        if may_try:
            return None
        return self._all_failed() if seconds is None else self.too_slow(target, seconds)

    def too_slow(self, target: Target, seconds: float) -> DialError:
        """How it ends at its deadline."""
        told = f"{target} did not answer within {seconds:g} s (dial-timeout){self.story()}"
        return DialError(Reason.CONNECTION_TIMEOUT, told)

    def story(self) -> str:
        """What became of the first addresses, and how many there are besides, for the log."""
        told = "".join(f"; {address}: {detail}" for address, detail in self._failures)
        more = self._all - len(self._failures)
        return f"{told}; and {more} more" if told and more else told

    def _all_failed(self) -> DialError:
        told = next(reason for reason in _TELLING if reason in self._reasons)
        return DialError(told, self.story().removeprefix("; "))

    def close(self) -> None:
        """Drop the attempts that did not win."""
        if self._stagger is not None:
            self._stagger.stop()
            self._stagger.close()
        for sock, (_, watcher) in self._attempts.items():
            watcher.stop()
            watcher.close()
            sock.close()
        self._attempts.clear()


def set_up(sock: _socket.socket, keepalive: float) -> None:
    """What both sockets of a tunnel have: no Nagle, and TCP keepalive every `keepalive` seconds (0: none).

    On a listening socket it is inherited by what is accepted from it.
    """
    sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    if keepalive:
        seconds = max(1, round(keepalive))
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1)
        sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_KEEPIDLE, seconds)
        sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_KEEPINTVL, max(1, seconds // KEEPALIVE_PROBES))
        sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
