"""Step 5 of the path: the handshake goes by, and each piece of it is judged before it is passed on.

One greenlet owns both sockets meanwhile; the pair of the duplex starts when there is nothing to judge any more.
"""

from itertools import count
from typing import Any

from gevent.hub import get_hub
from greenlet import getcurrent

from ogw.policy.handshake import Handshake
from ogw.tunnel.budget import Budget
from ogw.tunnel.duplex import Duplex
from ogw.tunnel.half import Half
from ogw.tunnel.loop import WRITE, Deadline, Expired

RECEIVE_SIZE = 16 * 1024
_numbers = count()  # of handshakes: an older one has a lesser number


class GaveWay(BaseException):
    """It is to end, for others. Not an Exception: nothing on the way may swallow it."""


def verify(
    handshake: Handshake,
    duplex: Duplex,
    rest_up: bytes,
    rest_down: bytes,
    seconds: float,
    budget: Budget,
    client: str,
) -> None:
    """Pass the handshake on as far as it may go, until it is settled. What passes and is not sent is the duplex's rest.

    rest_up    what the client sent behind its head
    rest_down  what came behind the relay proxy's
    seconds    the limit of all of it; then the handshake is rejected
    budget     what all handshakes of the worker may hold
    client     for whom
    """
    verification = _Verification(handshake, duplex, budget, client)
    try:
        with Deadline(seconds):
            verification.run(rest_up, rest_down)
    except Expired:
        handshake.timed_out(seconds)
    except GaveWay:
        handshake.gave_way(budget.most)
    finally:
        verification.let_go()


class _Verification:
    __slots__ = (
        "_budget",
        "_down",
        "_greenlet",
        "_handshake",
        "_held",
        "_switch",
        "_up",
        "_wait",
        "began",
        "client",
        "gives_way",
    )

    def __init__(self, handshake: Handshake, duplex: Duplex, budget: Budget, client: str) -> None:
        self._handshake = handshake
        self._up, self._down = duplex.up, duplex.down
        self._wait = get_hub().switch
        self._greenlet: Any = getcurrent()
        self._switch = self._greenlet.switch
        self._budget = budget
        self._held = 0  # bytes that the budget knows of
        self.client = client
        self.began = next(_numbers)
        self.gives_way = False

    def run(self, rest_up: bytes, rest_down: bytes) -> None:
        handshake, up = self._handshake, self._up
        if rest_up:
            handshake.client_said(rest_up)
            self._pass_on()
        if rest_down:
            handshake.server_said(rest_down)
            self._pass_on()
        self._watch_both()
        while not handshake.settled:
            if handshake.held != self._held:
                self._tell_the_budget()
            half = self._wait()
            if half is None:  # another policy judges it, and may let more of it pass
                self._pass_on()
                continue
            try:
                data = half.source.recv(RECEIVE_SIZE)
            except BlockingIOError:
                continue
            except OSError:
                handshake.left(client=half is up, reset=True)
                return
            if not data:
                handshake.left(client=half is up, reset=False)
                return
            if half is up:
                handshake.client_said(data)
            else:
                handshake.server_said(data)
            self._pass_on()

    def _watch_both(self) -> None:
        # The duplex's own watchers: at the hand-over it takes them as they are.
        self._up.readable.start(self._switch, self._up)
        self._down.readable.start(self._switch, self._down)

    def _pass_on(self) -> None:
        up, down = self._up, self._down
        up.rest, down.rest = self._handshake.take_up(), self._handshake.take_down()
        while True:
            if up.rest:
                self._send(up)
            if down.rest:
                self._send(down)
            if not (up.rest or down.rest) or self._handshake.settled:
                return
            self._tell_the_budget()
            self._await_sink(up if up.rest else down)

    def _send(self, half: Half) -> None:
        try:
            sent = half.sink.send(half.rest)
        except BlockingIOError:
            return
        except OSError:
            self._handshake.left(client=half is self._down, reset=True)
            return
        half.copied += sent
        half.rest = half.rest[sent:]

    def _await_sink(self, half: Half) -> None:
        """Wait until a slow peer takes more; nothing is read meanwhile."""
        self._up.readable.stop()
        self._down.readable.stop()
        writable: Any = get_hub().loop.io(half.sink.fileno(), WRITE)
        writable.start(self._switch)
        try:
            self._wait()
        finally:
            writable.stop()
            writable.close()
        self._watch_both()

    # What is held: bytes that may not pass yet, and those that a slow peer has not taken yet.

    def _tell_the_budget(self) -> None:
        held = self._handshake.held + len(self._up.rest) + len(self._down.rest)
        if not self.gives_way and held != self._held:
            self._held = held
            if held:
                self._budget.hold(self, held)
            else:
                self._budget.forget(self)
        if self.gives_way:
            raise GaveWay

    def let_go(self) -> None:
        """It is over: the budget forgets it, and nobody throws into it any more."""
        if self._held and not self.gives_way:
            self._budget.forget(self)
        self._greenlet = None

    def give_way(self) -> None:
        """Called by the budget, in another tunnel's greenlet or in this one, which looks before it waits."""
        self.gives_way = True
        get_hub().loop.run_callback(self._end_it)

    def _end_it(self) -> None:
        # Runs in the hub. It may be over since it was told to.
        if self._greenlet is not None:
            self._greenlet.throw(GaveWay)
