"""Step 3 of the path, for a target with several addresses: connection attempts that race each other (RFC 8305)."""

import _socket
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Optional

from ogw.policy.decision import Decision, Reason
from ogw.tunnel.attempt import AttemptFailed, begin, settle
from ogw.tunnel.lookup import FAMILIES, Lookup
from ogw.tunnel.loop import WRITE
from ogw.tunnel.mailbox import Mailbox
from ogw.tunnel.upstream import DialError, Upstream, reached, too_slow
from ogw.wire.connect import Target

STAGGER = 0.25  # RFC 8305, section 8: Connection Attempt Delay
MOST_TRIED = 16  # of the allowed addresses of a family: a zone may have thousands
MOST_TOLD = 5  # of the addresses that did not do

# Of several failures the one that says most about the target is told.
_TELLING = (
    Reason.NO_DESCRIPTORS,
    Reason.CONNECTION_REFUSED,
    Reason.CONNECTION_RESET,
    Reason.CONNECTION_TIMEOUT,
    Reason.UNREACHABLE,
    Reason.ADDRESS_NOT_ALLOWED,
    Reason.RELAY_LOOP,
)


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
        ports: Optional[bytes],
    ) -> None:
        self._port = port
        self._judge = judge
        self._mailbox = mailbox
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
        self._not_allowed: list[str] = []  # the first
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

    def allowed(self, most: int) -> list[str]:
        """The first that may be tried, in the order in which they would be, for somebody else to do so."""
        return list(islice(iter(self._next_address, ""), most))

    def _start_next(self) -> None:
        """Start one attempt, if there is an address left to try."""
        while address := self._next_address():
            try:
                sock = begin(address, self._port, self._ports)
            except AttemptFailed as failed:
                self._failed(address, failed.reason, failed.detail)
                if failed.reason is Reason.NO_DESCRIPTORS:
                    return
                continue
            watcher = self._loop.io(sock.fileno(), WRITE)
            self._attempts[sock] = address, watcher
            watcher.start(self._mailbox.tell, sock)
            return

    def _settle(self, sock: _socket.socket) -> Optional[Upstream]:
        address, watcher = self._attempts.pop(sock)
        watcher.stop()
        watcher.close()
        try:
            settle(sock)
        except AttemptFailed as failed:
            self._failed(address, failed.reason, failed.detail)
            self._start_next()
            return None
        return reached(sock, address, self._port)

    def _failed(self, address: str, reason: Reason, detail: str) -> None:
        self._reasons.add(reason)
        if len(self._failures) < MOST_TOLD:
            self._failures.append((address, detail))
        if reason is Reason.ADDRESS_NOT_ALLOWED and len(self._not_allowed) < MOST_TOLD:
            self._not_allowed.append(address)

    def lost(self, target: Target, seconds: Optional[float], may_try: bool) -> Optional[DialError]:
        """How it ends where no address may be tried; None where one may.

        seconds  the deadline at which it ends because more addresses may still come; None: all are here
        """
        if may_try:
            return None
        return self._all_failed() if seconds is None else self.too_slow(target, seconds)

    def too_slow(self, target: Target, seconds: float) -> DialError:
        """How it ends at its deadline."""
        return too_slow(target, seconds, self.story())

    def story(self) -> str:
        """What became of the first addresses, and how many there are besides, for the log."""
        first = "".join(f"; {address}: {detail}" for address, detail in self._failures)
        more = self._all - len(self._failures)
        return f"{first}; and {more} more" if first and more else first

    def _all_failed(self) -> DialError:
        reason = next(one for one in _TELLING if one in self._reasons)
        addresses = tuple(self._not_allowed) if reason is Reason.ADDRESS_NOT_ALLOWED else ()
        return DialError(reason, self.story().removeprefix("; "), addresses=addresses)

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
