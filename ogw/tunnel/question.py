"""Step 3 of the path, its very first part: what addresses a name has, asked of one DNS server after the other.

A question goes from server to server until one knows; whoever is slow may still answer an earlier asking.
"""

import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Optional

from gevent.hub import get_hub

from ogw.policy.decision import Reason
from ogw.tunnel.descriptors import NO_DESCRIPTORS
from ogw.tunnel.lookup import Found
from ogw.tunnel.name_files import ResolvConf
from ogw.tunnel.nameserver import Port, Server, Stream
from ogw.wire.dns import (
    CODES,
    NOERROR,
    NXDOMAIN,
    Answer,
    BadAnswer,
    NotTheAnswer,
    OtherCase,
    question_section,
    read_answer,
)

ROUNDS = 3  # each server is asked so often
SHORTEST_WAIT = 0.1  # seconds that a server has for an answer, before the next is asked as well
ASIDE = 30.0  # seconds for which a server that said nothing is asked last


class Servers:
    """The DNS servers to ask, in order of preference, and for how many seconds in all."""

    def __init__(self, conf: ResolvConf, timeout: float) -> None:
        self._servers = [Server(*place) for place in conf.servers]
        self._rotate = conf.rotate
        self.only_tcp = conf.only_tcp
        self.count = len(self._servers)
        self.timeout = timeout
        self._one_in_turn = self._rounds(self._servers[:1])
        self._asked = 0

    def ask(self, name: str, kind: int, done: Callable[[Found], None]) -> None:
        """Ask for the addresses of a canonical name; `done` is called once, from the hub or before this returns."""
        self._asked += 1
        _Question(self, name, kind, done).start()

    @property
    def keep_case(self) -> bool:
        return all(server.keeps_case for server in self._servers)

    def rest(self) -> None:
        """Nobody is likely to ask them any more, though somebody may."""
        for server in self._servers:
            server.rest()

    def in_turn(self) -> list[tuple[Server, float]]:
        """Whom to ask, and after how many seconds without an answer the next, too: all within half of the timeout."""
        servers = self._servers
        if len(servers) == 1:
            return self._one_in_turn
        first = self._asked % len(servers) if self._rotate else 0
        now = time.monotonic()
        return self._rounds(sorted(servers[first:] + servers[:first], key=lambda one: one.asked_last_until > now))

    def _rounds(self, servers: list[Server]) -> list[tuple[Server, float]]:
        wait = max(self.timeout / max(ROUNDS + 1, 2 * len(servers)), SHORTEST_WAIT)
        return [(server, wait * 2**turn) for turn in range(ROUNDS) for server in servers]


class _Question:
    """What addresses of one kind a name has, until somebody says it or the time is over."""

    def __init__(self, servers: Servers, name: str, kind: int, done: Callable[[Found], None]) -> None:
        self._servers = servers
        self._name = name
        self._kind = kind
        self._done: Optional[Callable[[Found], None]] = done
        self._left = deque(servers.in_turn())
        self._ends = time.monotonic() + servers.timeout
        self._asked: list[tuple[Port, int]] = []
        self._streams: list[Stream] = []
        self._current: Optional[Server] = None
        self._cut: Optional[Answer] = None  # what of an answer came over UDP, until the whole of it is here
        self._detail, self._heard = "", False
        self._timer: Any = None

    def start(self) -> None:
        self._next()

    # What the sockets say.

    def heard(self, server: Server, section: bytes, data: bytes, stream: Optional[Stream] = None) -> bool:
        """Whether that was the answer to an asking of ours, so that no other will come."""
        if self._done is None:
            return True  # too late: the port forgets us
        try:
            answer = read_answer(data, section)
        except OtherCase:
            # It, or something on the way, changes letters; or somebody guesses: he has to do it once more.
            server.keeps_case = False
            self._left.appendleft((server, self._servers.timeout / (ROUNDS + 1)))
            self._next()
            return True
        except NotTheAnswer:
            return False
        except BadAnswer as error:
            self._note(server, f"answers what cannot be read: {error}")
            self._next()
            return True
        self._heard, server.asked_last_until = True, 0.0
        if answer.truncated and stream is None:
            self._cut = answer
            self._ask_by_stream(server, section)
        elif answer.code == NXDOMAIN:
            self._end(Found([], answer.seconds, detail="there is no such name"))
        elif answer.code == NOERROR:
            self._end(Found(answer.addresses, answer.seconds, detail="it has no address"))
        else:
            self._note(server, f"answers {CODES.get(answer.code, answer.code)}")
            self._next()
        return True

    def failed(self, server: Server, error: OSError, stream: Optional[Stream] = None) -> None:
        """A socket to it does not work."""
        if self._done is None or (stream is not None and stream not in self._streams):
            return
        self._note(server, error.strerror or str(error))
        if server is self._current:
            self._next()

    # Whom to ask.

    def _next(self) -> None:
        """Ask the next server, if there is one left; what was asked of others may still be answered."""
        self._stop_timer()
        while self._done is not None:
            left = self._ends - time.monotonic()
            if not self._left or left <= 0 or (self._cut is not None and self._cut.addresses):
                self._give_up()
                return
            server, seconds = self._left.popleft()
            try:
                self._ask(server)
            except OSError as error:
                if error.errno in NO_DESCRIPTORS:
                    self._lack_descriptors(error)
                    return
                self._note(server, error.strerror or str(error))
                continue
            self._current = server
            self._wait(seconds if self._left else left)
            return

    def _ask(self, server: Server) -> None:
        """Raises OSError. The last round has no random letters: there may be servers that drop such a question."""
        mixed = server.keeps_case and len(self._left) >= self._servers.count
        section = question_section(self._name, self._kind, os.urandom(len(self._name) + 1) if mixed else b"")
        if self._servers.only_tcp:
            self._streams.append(Stream(server, self, section))
        else:
            # The whole of a long answer comes over TCP. Where that does not work, more may fit into a datagram.
            self._asked.append(server.ask(self, section, edns=self._cut is not None))

    def _ask_by_stream(self, server: Server, section: bytes) -> None:
        self._stop_timer()
        try:
            self._streams.append(Stream(server, self, section))
        except OSError as error:
            if error.errno in NO_DESCRIPTORS and not (self._cut and self._cut.addresses):
                self._lack_descriptors(error)
                return
            self._note(server, f"over TCP: {error.strerror}")
            self._next()
            return
        self._current = server
        self._wait(self._servers.timeout / (ROUNDS + 1))

    def _wait(self, seconds: float) -> None:
        self._timer = get_hub().loop.timer(max(0.0, min(seconds, self._ends - time.monotonic())))
        self._timer.start(self._late, update=True)  # from now, not from when the loop last looked at the clock

    def _late(self) -> None:
        assert self._current is not None
        self._current.asked_last_until = time.monotonic() + ASIDE
        self._note(self._current, "does not answer")
        self._next()

    def _note(self, server: Server, what: str) -> None:
        """Of several failures the last words of a server are told; its silence only where none said anything."""
        if not self._detail or what != "does not answer":
            self._detail = f"DNS server {server.place} {what}"

    # Its end.

    def _give_up(self) -> None:
        if self._cut is not None and self._cut.addresses:
            self._end(Found(self._cut.addresses))  # some of its addresses are better than none
            return
        silent = self._detail.endswith("does not answer")
        reason = Reason.DNS_TIMEOUT if silent else Reason.DNS_ERROR
        self._end(Found([], None, reason, self._detail, self._heard))

    def _lack_descriptors(self, error: OSError) -> None:
        detail = f"{error.strerror}: raise the limit of open files"
        self._end(Found([], None, Reason.NO_DESCRIPTORS, detail, self._heard))

    def _end(self, found: Found) -> None:
        # First of all, what still comes is for nobody; then the earlier askings are given up, for which ports may have
        # been waiting and for nothing else; `done` comes last, so that whoever hears it finds nothing of this any more.
        self._stop_timer()
        done, self._done = self._done, None
        for port, number in self._asked:
            port.forget(number, self)
        for stream in self._streams:
            stream.close()
        if done is not None:
            done(found)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None
