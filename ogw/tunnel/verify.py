"""Steps 4 and 5 of the path: the 200, then the handshake goes by, and each piece of it is judged before it passes.

One greenlet owns both sockets meanwhile; the duplex starts when there is nothing to judge any more. What passes is sent
with the burst at the end of the turn; where a peer does not take all of it at once, the greenlet sends the rest as the
peer takes it, and reads nothing meanwhile.
"""

from collections.abc import Callable
from itertools import count
from typing import Any, Optional

from gevent.hub import get_hub
from greenlet import getcurrent

from ogw.policy.handshake import Handshake
from ogw.tunnel.budget import Budget
from ogw.tunnel.burst import Burst
from ogw.tunnel.duplex import Duplex
from ogw.tunnel.half import Half
from ogw.tunnel.loop import WRITE, Expired, Limit
from ogw.wire.answer import ESTABLISHED

RECEIVE_SIZE = 16 * 1024
_numbers = count()  # of handshakes: an older one has a lesser number


class GaveWay(BaseException):
    """It is to end, for others. Not an Exception: nothing on the way may swallow it."""


def verify(
    handshake: Handshake,
    duplex: Duplex,
    limit: Limit,
    budget: Budget,
    burst: Burst,
    client: str,
) -> None:
    """Say 200 and pass the handshake on as far as it may go, until it is settled.

    The rests of the duplex are first what came behind the heads, and in the end what passes and is not sent.

    limit   of all of it; then the handshake is rejected
    budget  what all handshakes of the worker may hold
    burst   what goes out at the end of the turn
    client  for whom
    """
    verification = _Verification(handshake, duplex, budget, burst, client)
    try:
        with limit:
            verification.run()
    except Expired:
        if not handshake.settled:
            handshake.timed_out(limit.seconds)
    except GaveWay:
        if not handshake.settled:
            handshake.gave_way(budget.most)
    finally:
        verification.let_go()


class _Verification:
    __slots__ = (
        "_budget",
        "_burst",
        "_down",
        "_greenlet",
        "_handshake",
        "_held",
        "_in_burst",
        "_switch",
        "_up",
        "_wait",
        "began",
        "client",
        "gives_way",
    )

    def __init__(self, handshake: Handshake, duplex: Duplex, budget: Budget, burst: Burst, client: str) -> None:
        self._handshake = handshake
        self._up, self._down = duplex.up, duplex.down
        self._wait = get_hub().switch
        self._greenlet: Any = getcurrent()
        self._switch = self._greenlet.switch
        self._budget = budget
        self._held = 0  # bytes that the budget knows of
        self._burst = burst
        self._in_burst = False  # its acts wait for the end of the turn
        self.client = client
        self.began = next(_numbers)
        self.gives_way = False

    def run(self) -> None:
        handshake, up, down = self._handshake, self._up, self._down
        rest_up, rest_down, up.rest = up.rest, down.rest, b""
        down.rest, down.copied = ESTABLISHED, -len(ESTABLISHED)  # it goes the way of all that goes down, uncounted
        if rest_up:
            handshake.client_said(rest_up)
        if rest_down:
            handshake.server_said(rest_down)
        self._watch_both()
        self._pass_on(None)
        while not handshake.settled:
            if handshake.held != self._held:
                self._tell_the_budget()
            self._hear(self._wait())

    def _hear(self, word: Any) -> None:
        """What woke the greenlet: a half whose source is readable, the burst, or None: another policy judges it."""
        if word is self._burst:
            self._send_slowly()
            word = None  # another policy may have judged it meanwhile
        if word is not None:
            handshake, is_up = self._handshake, word is self._up
            try:
                data = word.source.recv(RECEIVE_SIZE)
            except BlockingIOError:
                return
            except OSError:
                handshake.left(client=is_up, reset=True)
                return
            if not data:
                handshake.left(client=is_up, reset=False)
                return
            if is_up:
                handshake.client_said(data)
            else:
                handshake.server_said(data)
        self._pass_on(word)

    def _watch_both(self) -> None:
        # The duplex's own watchers: at the hand-over it takes them as they are.
        self._up.readable.start(self._switch, self._up)
        self._down.readable.start(self._switch, self._down)

    def _pass_on(self, said: Optional[Half]) -> None:
        """Let the burst send what may pass; what settles the handshake goes with the duplex' first burst.

        said  the half that something came of, which lets nothing of the other one pass before it settles all; None: any
        """
        handshake, up, down = self._handshake, self._up, self._down
        if said is not down or handshake.settled:
            up.rest += handshake.take_up()
        if said is not up or handshake.settled:
            down.rest += handshake.take_down()
        if (up.rest or down.rest) and not self._in_burst and not handshake.settled:
            self._in_burst = True
            self._burst.add(self._act)

    def _act(self) -> Optional[Callable[[], None]]:
        """What the burst calls: send. The greenlet hears of it where something is left, or a peer is gone."""
        self._in_burst = False
        self._send_both()
        return self._tell if self._up.rest or self._down.rest or self._handshake.settled else None

    def _tell(self) -> None:
        if self._greenlet is not None:  # else it was ended by what another one was told
            self._switch(self._burst)

    def _send_both(self) -> None:
        if self._up.rest:
            self._send(self._up)
        if self._down.rest:
            self._send(self._down)

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

    def _send_slowly(self) -> None:
        """A peer did not take all: send it the rest as it takes it. Nothing is read meanwhile."""
        up, down = self._up, self._down
        while (up.rest or down.rest) and not self._handshake.settled:
            self._tell_the_budget()
            self._await_sink(up if up.rest else down)
            self._send_both()

    def _await_sink(self, half: Half) -> None:
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
        """It is over: nothing waits for the burst, the budget forgets it, and nobody throws into it any more."""
        if self._in_burst:
            self._burst.remove(self._act)
        if self._down.copied < 0 or not self._handshake.passes:
            self._send_both()  # the 200, and what was allowed before the rest was not
        self._down.copied = max(0, self._down.copied)
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
