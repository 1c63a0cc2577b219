"""Step 3 of the path: a name and a port to a connected socket. All addresses are tried, each judged before it is."""

import _socket
import errno
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Optional

from gevent.hub import get_hub
from greenlet import getcurrent

from ogw.policy.decision import Decision, Reason
from ogw.report.metrics import DNS
from ogw.tunnel.deadline import Deadline, Expired
from ogw.tunnel.ports import IP_LOCAL_PORT_RANGE, local_port_range
from ogw.tunnel.resolve import Lookup, Resolver
from ogw.wire.connect import Target

READ, WRITE = 1, 2  # libev's event bits
STAGGER = 0.25  # RFC 8305, section 8: Connection Attempt Delay
RESOLUTION_DELAY = 0.05  # the same: how long A waits for AAAA
KEEPALIVE_PROBES = 4
NO_PORTS = "every local port is in use for this address; widen net.ipv4.ip_local_port_range (sysctl)"
NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

# Of several failures the one that says most about the target is told.
_REASONS = {
    errno.ECONNREFUSED: Reason.CONNECTION_REFUSED,
    errno.ECONNRESET: Reason.CONNECTION_RESET,
    errno.ETIMEDOUT: Reason.CONNECTION_TIMEOUT,
}
_TELLING = (
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


class ClientGone(Exception):
    """The client reset its connection while we were dialing for it."""


class Upstream(NamedTuple):
    """An open upstream: a connected, non-blocking socket, the caller's from now on.

    address  "address:port" of the other end
    rest     what came behind the relay proxy's answer: the tunnel's first bytes down
    closed   to be called after the socket was closed, where somebody wants to know
    judged   the target's own address, which the guard has judged; "" where a relay proxy resolved its name
    """

    socket: _socket.socket
    address: str
    rest: bytes = b""
    closed: Optional[Callable[[], None]] = None
    judged: str = ""


class Survey(NamedTuple):
    """What a dial would have to choose from.

    addresses  (IP text, what the guard says of it), in the order in which they would be tried
    failure    how the dial would fail without trying any of them; None where it would try one
    """

    addresses: list[tuple[str, Decision]]
    failure: Optional[DialError] = None


class Mailbox:
    """What happens while the greenlet of a tunnel dials, in order; told from the hub, awaited by the greenlet."""

    def __init__(self) -> None:
        self._hub = get_hub()
        self._greenlet = getcurrent()
        self._mail: deque[Any] = deque()
        self._waits = False
        self.before_wait: Optional[Callable[[], None]] = None

    def tell(self, what: Any) -> None:
        self._mail.append(what)
        if self._waits:
            self._greenlet.switch()

    def tell_soon(self, what: Any) -> None:
        """For those who are not to be left by a switch to a greenlet, like the callbacks of c-ares."""
        self._hub.loop.run_callback(self.tell, what)

    def wait(self) -> Any:
        """The next thing that happened; raises ClientGone when it was that."""
        if self.before_wait is not None:
            self.before_wait()
            self.before_wait = None
        while not self._mail:
            self._waits = True
            try:
                self._hub.switch()
            finally:
                self._waits = False
        what = self._mail.popleft()
        if what is ClientGone:
            raise ClientGone
        return what


class ClientWatch:
    """Sees a client that resets while we dial. Early bytes and a half-close are no reason to stop: they stay unread."""

    def __init__(self, client: _socket.socket, mailbox: Mailbox) -> None:
        self._client = client
        self._mailbox = mailbox
        self._watcher: Any = None
        mailbox.before_wait = self._start

    def _start(self) -> None:
        self._watcher = get_hub().loop.io(self._client.fileno(), READ)
        self._watcher.start(self._readable)

    def _readable(self) -> None:
        try:
            self._client.recv(1, _socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            self._watcher.stop()
            self._mailbox.tell(ClientGone)
            return
        self._watcher.stop()

    def close(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()


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
        race = Race(target.port, mailbox, self._keepalive, self._ports)
        tell_growth = _growth_teller(mailbox)
        if not lookup.done:
            lookup.watch(tell_growth)
        known: set[str] = set()
        try:
            with Deadline(self._dial_timeout):
                while True:
                    for address in lookup.addresses:
                        if address not in known:
                            known.add(address)
                            race.enter(address, judge(address))
                    winner = race.go_on(more_to_come=not lookup.done)
                    if winner is not None:
                        return winner
        except Expired:
            raise race.too_slow(target, self._dial_timeout) from None
        finally:
            race.close()
            if not lookup.done:
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
        judged = [(address, judge(address)) for address in lookup.addresses]
        race = Race(target.port, mailbox, self._keepalive, self._ports)
        for address, decision in judged:
            race.enter(address, decision)
        failure = race.lost(target, None if in_time else self._dial_timeout)
        return Survey(judged, failure)

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
            raise DialError(lookup.failure, f"{detail}; check the name and the DNS server (dns-server)")
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
    """Connection attempts to the addresses of one target, each a stagger after the one before (RFC 8305, section 5)."""

    def __init__(self, port: int, mailbox: Mailbox, keepalive: float, ports: Optional[bytes]) -> None:
        self._addresses: deque[str] = deque()  # judged, not tried yet
        self._ports = ports
        self._port = port
        self._mailbox = mailbox
        self._keepalive = keepalive
        self._loop = get_hub().loop
        self._attempts: dict[_socket.socket, tuple[str, Any]] = {}
        self._failures: list[tuple[str, Reason, str]] = []
        self._stagger: Any = None

    def go_on(self, more_to_come: bool) -> Optional[Upstream]:
        """Start what is due and wait for one thing to happen; the winner, or None. Raises DialError when all failed."""
        if not self._attempts:
            self._start_next()
        if not self._attempts:
            if not self._addresses and not more_to_come:
                raise self._all_failed()
            if self._addresses:
                return None
        elif self._stagger is None and (self._addresses or more_to_come):
            self._stagger = self._loop.timer(STAGGER, STAGGER)
            self._stagger.start(self._mailbox.tell, STAGGER)
        what = self._mailbox.wait()
        if what is STAGGER:
            self._start_next()
        elif what in self._attempts:
            return self._settle(what)
        return None

    def _start_next(self) -> None:
        if not self._addresses:
            return
        address = self._addresses.popleft()
        family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
        try:
            sock = _socket.socket(family, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK)
        except OSError as error:
            if error.errno in NO_DESCRIPTORS:
                raise DialError(Reason.NO_DESCRIPTORS, f"{error.strerror}: raise the limit of open files") from None
            self._failed(address, Reason.UNREACHABLE, f"{error.strerror}")
            return
        set_up(sock, self._keepalive)
        if self._ports is not None:
            sock.setsockopt(_socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, self._ports)
        code = sock.connect_ex((address, self._port))
        if code not in (0, errno.EINPROGRESS):
            sock.close()
            told = NO_PORTS if code == errno.EADDRNOTAVAIL else os.strerror(code)
            self._failed(address, _REASONS.get(code, Reason.UNREACHABLE), told)
            return
        watcher = self._loop.io(sock.fileno(), WRITE)
        self._attempts[sock] = address, watcher
        watcher.start(self._mailbox.tell, sock)

    def _settle(self, sock: _socket.socket) -> Optional[Upstream]:
        address, watcher = self._attempts.pop(sock)
        watcher.stop()
        watcher.close()
        code = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        if code == 0:
            named = f"[{address}]:{self._port}" if ":" in address else f"{address}:{self._port}"
            return Upstream(sock, named, judged=address)
        sock.close()
        self._failed(address, _REASONS.get(code, Reason.UNREACHABLE), os.strerror(code))
        self._start_next()
        return None

    def enter(self, address: str, decision: Decision) -> None:
        """An address to try, if it may be."""
        if decision.allowed:
            self._addresses.append(address)
        else:
            self._failed(address, decision.reason, decision.detail)

    def _failed(self, address: str, reason: Reason, detail: str) -> None:
        self._failures.append((address, reason, detail))

    def lost(self, target: Target, seconds: Optional[float]) -> Optional[DialError]:
        """How it ends where no address may be tried; None where one may.

        seconds  the deadline at which it ends because more addresses may still come; None: all are here
        """
        if self._addresses:
            return None
        return self._all_failed() if seconds is None else self.too_slow(target, seconds)

    def too_slow(self, target: Target, seconds: float) -> DialError:
        """How it ends at its deadline."""
        told = f"{target} did not answer within {seconds:g} s (dial-timeout){self.story()}"
        return DialError(Reason.CONNECTION_TIMEOUT, told)

    def story(self) -> str:
        """What became of each address, for the log."""
        return "".join(f"; {address}: {detail}" for address, _, detail in self._failures)

    def _all_failed(self) -> DialError:
        reasons = {reason for _, reason, _ in self._failures}
        told = next(reason for reason in _TELLING if reason in reasons)
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
