"""Step 3 of the path, its other way: Kerberos tickets, obtained and renewed by a few threads of their own.

Whoever asks a KDC may wait for half a minute, so it is not done by the loop, nor by the threads of the hub, which
prepare reloads. One thread obtains the gateway's ticket, one each that for a relay proxy; the others make tokens of
them, which asks nobody. Where a KDC is silent that is all that hangs, until the library gives it up.
"""

import itertools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Optional

from gevent import Greenlet, sleep, spawn
from gevent.threadpool import ThreadPool

from ogw.machine.files import read_file
from ogw.policy.decision import Reason
from ogw.tunnel.kerberos import Kerberos, KerberosFailed, Ticket, wrong_key
from ogw.tunnel.loop import Deadline, Expired
from ogw.tunnel.tried import Tried, Turn, WasRefused
from ogw.wire.keytab import LARGEST

MOST_THREADS = 8
LOOK_AGAIN = 0.05  # seconds between two looks at whether another worker has its ticket
AGAIN_SECONDS = 10.0  # from a failure to the next time that the KDC is asked
LOCKED_SECONDS = 60.0  # the same, where it said that it does not let us in
NEW_SECONDS = 60.0  # a ticket that is no older, and was not accepted there before, is not to blame for a refusal

_numbers = itertools.count()
Signature = Optional[tuple[int, int, int]]


@dataclass(eq=False)
class Held:
    """The ticket that tokens are made of. Times are of the monotonic clock.

    good      by host of a relay proxy: until when tokens for it need no KDC
    accepted  hosts of relay proxies that took a token of it
    """

    ticket: Ticket
    made: float
    signature: Signature
    good: dict[str, float] = field(default_factory=dict)
    accepted: set[str] = field(default_factory=set)

    @property
    def renew_at(self) -> float:
        return self.made + self.ticket.seconds / 2

    @property
    def ends(self) -> float:
        """A little before: it is on its way for a moment."""
        return self.made + self.ticket.seconds - min(30.0, self.ticket.seconds / 10)


@dataclass
class Failure:
    """It failed, and is not tried again before that time, unless what it was tried with has changed by then."""

    error: KerberosFailed
    until: float
    signature: Signature


class Tickets:
    """The tickets of a process, for all relay proxies.

    tried  which keys the KDC refused, as all workers know it together
    tell   is told the reason and a sentence when a ticket could not be renewed; the one of before goes on
    limit  seconds that a tunnel waits for the KDC
    """

    def __init__(self, kerberos: Kerberos, tried: Tried, tell: Callable[[Reason, str], object], limit: float) -> None:
        self.kerberos = kerberos
        self._tried = tried
        self._tell = tell
        self._limit = limit
        self._held: Optional[Held] = None
        # By host, "" for the gateway's own; and since when.
        self._flights: dict[str, tuple[Greenlet[..., None], float]] = {}
        self._failures: dict[str, Failure] = {}
        self._places = self._new_places()
        self._asked_again = 0.0  # when a renewal was last tried
        self._given_up: dict[str, float] = {}  # by host: when a ticket last was, since it was refused there

    def token(self, host: str) -> tuple[bytes, Held]:
        """A token for the relay proxy on that host, and what it was made of. Raises KerberosFailed."""
        held = self._current()
        if time.monotonic() >= held.good.get(host, 0.0):
            self._fly(host, self._fetch, held, host)
        try:
            with Deadline(self._limit):
                return self._run(self.kerberos.token, held.ticket, host), held
        except Expired:
            raise _silent() from None

    def renewed(self, refused: Held, host: str) -> bool:
        """The relay proxy on that host refused this one: whether there is a newer one by now. Raises KerberosFailed.

        Its service may have another key since. Or it is several, of which one takes no ticket at all, while others
        accept each: the KDC is not asked anew for every tunnel.
        """
        if self._held is refused:
            now = time.monotonic()
            if now < self._given_up.get(host, now - AGAIN_SECONDS) + AGAIN_SECONDS:
                return False
            if host not in refused.accepted and now < refused.made + NEW_SECONDS:
                return False
            self._given_up[host] = now
            self._places = self._new_places()  # what is in those of before would be found again
            self._held = None
            self._current()
        return True

    def go_on_with(self, tell: Callable[[Reason, str], object], limit: float) -> None:
        """After a reload, by which the operator also says to try once more what failed."""
        self._tell, self._limit = tell, limit
        self._failures.clear()

    def _new_places(self) -> "itertools.cycle[str]":
        # Two in turn: what is in one is not touched while it is used, and has ended when it is that one's turn.
        number = next(_numbers)
        return itertools.cycle([f"ogw-{number}-{which}" for which in "ab"])

    def _current(self) -> Held:
        now, held = time.monotonic(), self._held
        if held is None or now >= held.ends:
            self._fly("", self._obtain, None)
            held = self._held
            assert held is not None  # or it would have raised
        elif "" not in self._flights and self._may_be_renewed(held, now):
            self._flights[""] = spawn(self._obtain, held), now
        return held

    def _may_be_renewed(self, held: Held, now: float) -> bool:
        if held.signature != self._signature():
            return True
        if now < held.renew_at or now < self._asked_again + AGAIN_SECONDS:
            return False
        self._asked_again = now
        return True

    # Flights: greenlets that wait for a thread, so that many tunnels wait for one answer.

    def _fly(self, name: str, work: Callable[..., None], *words: Any) -> None:
        """Wait for what is under way, or begin it. Raises KerberosFailed."""
        now = time.monotonic()
        failure = self._failures.get(name)
        if failure is not None and now < failure.until and failure.signature == _signature_of(self._path):
            raise failure.error.again()
        if name not in self._flights:
            self._failures.pop(name, None)
            self._flights[name] = spawn(work, *words), now
        flight, began = self._flights[name]
        flight.join(timeout=max(0.0, began + self._limit - now))
        if not flight.ready():
            raise _silent()
        if name in self._failures:
            raise self._failures[name].error.again()

    def _obtain(self, before: Optional[Held]) -> None:
        """`before`: is renewed, and goes on where that fails."""
        # Before it is read: who writes it now will have changed it then.
        began, signature, path = time.monotonic(), self._signature(), _signature_of(self._path)
        try:
            held = Held(self._ask(), began, signature)
            for host in before.good if before is not None else ():
                self._note(held, host, self._run(self.kerberos.fetch, held.ticket, host))
            if before is None or self._held is None or before.signature != signature or held.ends > before.ends:
                self._held = held
        except KerberosFailed as error:
            # Who waits for it has nothing else where that of before has ended, or was refused, meanwhile.
            if before is None or self._held is None or time.monotonic() >= before.ends:
                self._fail("", error, path)
            else:
                before.signature = signature
                told = f"the Kerberos ticket could not be renewed: {error.why}; that of before goes on"
                self._tell(error.reason, told)
        finally:
            del self._flights[""]

    def _ask(self) -> Ticket:
        """In turn with the other workers: a key that is wrong counts against the account."""
        turn = self._turn()
        try:
            ticket: Ticket = self._run(self.kerberos.obtain, next(self._places))
            turn.worked()
            return ticket
        except KerberosFailed as error:
            if error.lasts:
                turn.refused()
            raise
        finally:
            turn.end()

    def _turn(self) -> Turn:
        try:
            key = read_file(self.kerberos.keytab, LARGEST) if self.kerberos.keytab else b""
        except OSError:
            key = b""  # then there is nothing to refuse
        try:
            while (turn := self._tried.begin(key)) is None or not (turn.is_alone or not key):
                if turn is None:
                    sleep(LOOK_AGAIN)
                else:
                    turn.doubted()  # that it worked an hour ago says little
            return turn
        except WasRefused:
            raise wrong_key() from None

    def _fetch(self, held: Held, host: str) -> None:
        path = _signature_of(self._path)
        try:
            self._note(held, host, self._run(self.kerberos.fetch, held.ticket, host))
        except KerberosFailed as error:
            self._fail(host, error, path)
        finally:
            del self._flights[host]

    def _note(self, held: Held, host: str, seconds: float) -> None:
        held.good[host] = min(held.ends, time.monotonic() + seconds)

    def _fail(self, name: str, error: KerberosFailed, signature: Signature) -> None:
        seconds = AGAIN_SECONDS if error.reason is Reason.RELAY_KDC_SILENT else LOCKED_SECONDS
        until = float("inf") if error.lasts else time.monotonic() + seconds
        self._failures[name] = Failure(error, until, signature)

    def _run(self, function: Callable[..., Any], *words: Any) -> Any:
        made = _threads().apply(_caught, (function, *words))
        if isinstance(made, KerberosFailed):
            raise made
        return made

    # The file that all comes from, where it is one.

    @property
    def _path(self) -> str:
        kerberos = self.kerberos
        name = kerberos.keytab or kerberos.cache or os.environ.get("KRB5CCNAME", "")
        return name.removeprefix("FILE:")

    def _signature(self) -> Signature:
        """Of what a ticket was copied from: another is to be taken. One of a keytab is good even if that changes."""
        return None if self.kerberos.keytab else _signature_of(self._path)


@lru_cache
def _threads() -> ThreadPool:
    """Those of this process, made with the first job: none has a thread before the fork.

    They are never given back: each reload that changes who the gateway is would leave some behind.
    """
    return ThreadPool(MOST_THREADS)


def _caught(function: Callable[..., Any], *words: Any) -> Any:
    """What it gives, or raises: gevent writes a traceback of what a thread raises."""
    try:
        return function(*words)
    except KerberosFailed as error:
        return error


def _signature_of(path: str) -> Signature:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _silent() -> KerberosFailed:
    why = "no KDC of the realm answered in time; see krb5.conf, and ports 88 of TCP and UDP on the way"
    return KerberosFailed(Reason.RELAY_KDC_SILENT, why)
