"""Step 6 of the path: both directions copied, until both have ended.

A message is passed on in the hub, by the pump of its half (half.py). A greenlet wakes where there is more to do: the
tunnel's own for the `up` half, one borrowed for the while for the `down` half.

The laws of this file and of half.py. Breaking one kills the process or mixes tunnels up; tests/tunnel/test_duplex.py
holds each:

1. A watcher is stopped and closed before its descriptor, by the tunnel that owns both.
2. While its standing watcher runs, a half's greenlet waits nowhere else; a dead greenlet leaves no started watcher
   behind.
3. The tunnel waits for both halves before it closes a socket; everybody else only asks, with `Duplex.end`.
4. A pipe goes back to the pool only when it is empty.
5. An error from splice(2) is final: after ECONNRESET the next call returns 0, which would look like an orderly end.
6. The pump never raises and never waits, and runs only while its half needs no greenlet: what the sink did not take
   becomes the half's rest, and stops the standing watcher, before a greenlet is woken for it.
"""

import _socket
import errno
from typing import Any, Optional, Union

from gevent.hub import get_hub
from greenlet import getcurrent

from ogw.policy.decision import Reason
from ogw.tunnel.burst import Burst
from ogw.tunnel.greenlets import Greenlets
from ogw.tunnel.half import Flow, Half, HalfEnd, HalfEnded
from ogw.tunnel.pipes import Pipes

# Reasons that a stronger one replaces: what cut the other direction says more than who closed first.
ENDED_IN_ORDER = (None, Reason.CLIENT_CLOSED, Reason.UPSTREAM_CLOSED)


class Duplex:
    """Copies between two connected, non-blocking sockets until both directions ended or one failed.

    It owns its watchers (the one of the client, `readable`, it may be given) and what it borrowed, a greenlet and
    pipes; the sockets are the caller's, who closes them after `run` came back. Then `reason` says who ended it and why,
    `error` is the OSError behind a reset.
    """

    __slots__ = ("_burst", "_greenlets", "_loop", "_main", "down", "error", "reason", "up")

    def __init__(
        self,
        client: _socket.socket,
        upstream: _socket.socket,
        pipes: Pipes,
        greenlets: Greenlets,
        burst: Burst,
        readable: Any = None,
    ) -> None:
        self._burst = burst
        self._greenlets = greenlets
        self._loop = get_hub().loop
        self._main: Any = None
        more = self._more
        self.up = Half(client, upstream, pipes, more, readable)
        self.down = Half(upstream, client, pipes, more)
        self.reason: Optional[Reason] = None
        self.error: Optional[OSError] = None

    @property
    def half_closed(self) -> bool:
        """One direction ended, the other still runs."""
        return (self.up.ended is None) is not (self.down.ended is None)

    def run(self) -> None:
        """Copy until both directions have ended. The calling greenlet is the one of the `up` half."""
        up, down = self.up, self.down
        wait = get_hub().switch
        self._main = getcurrent()
        try:
            if down.rest:
                down.readable.stop()
                self._burst.add(down.begin)
            else:
                down.readable.start(down.pump)
            self._copy(up, Flow.WEAK)
            while not self._both_ended():
                flow = wait()
                if flow:  # else both have ended
                    self._copy(up, flow)
        finally:
            self.close()

    def end(self, reason: Reason) -> None:
        """Ask both halves to end: for the sweep, the drain and the administrator. It returns at once.

        What has ended in both directions keeps its reason.
        """
        if self._both_ended():
            return
        if self.reason in ENDED_IN_ORDER:
            self.reason = reason
        self._loop.run_callback(self._stop_halves)

    def _both_ended(self) -> bool:
        return self.up.ended is not None and self.down.ended is not None

    def _more(self, half: Half, came: Union[Flow, HalfEnd]) -> None:
        # Runs in the hub: the pump came upon more than a message, or the sink did not take all of the first rest.
        if half.ended is not None or self._main is None:
            return  # it was asked to end before its rest was sent
        if isinstance(came, HalfEnd):
            self._finish(half, came)
            self._wake_main()
        elif half is self.up:
            self._main.switch(came)
        else:
            self._greenlets.run(self._copy_down, came)

    def _copy_down(self, flow: Flow) -> None:
        try:
            self._copy(self.down, flow)
        finally:
            self._loop.run_callback(self._wake_main)

    def _copy(self, half: Half, flow: Flow) -> None:
        end: Optional[HalfEnd] = HalfEnd.STOPPED  # where an exception of ours comes out of it
        try:
            end = half.copy(flow)
        finally:
            if end is not None:
                self._finish(half, end)

    def _wake_main(self) -> None:
        # `run` may have come back meanwhile: its greenlet then waits for something else.
        if self._main is not None and self._both_ended():
            self._main.switch()

    def _stop_halves(self) -> None:
        # Runs in the hub, where no half is in the middle of anything. Each throw is back here when its greenlet waits
        # again or has ended.
        for half in (self.down, self.up):
            if self._main is None:
                return  # `run` came back meanwhile
            if half.ended is not None:
                continue
            if half.greenlet is not None:
                half.greenlet.throw(HalfEnded(HalfEnd.STOPPED))
            else:
                self._finish(half, HalfEnd.STOPPED)
        self._wake_main()

    def _finish(self, half: Half, end: HalfEnd) -> None:
        """One half ended, in its greenlet or the hub: tell the far side, or end the other half."""
        half.readable.stop()
        if self.error is None:
            self.error = half.error
        is_up = half is self.up
        if end is HalfEnd.CLOSED:
            other = self.down if is_up else self.up
            if other.ended is HalfEnd.SINK_FAILED:
                # Our send to this peer failed and took the socket's error with it: this end of file is its reset.
                end = HalfEnd.SOURCE_FAILED
            else:
                if other.ended is not HalfEnd.CLOSED:  # else both ended, and the close that follows says it
                    self._burst.add(half.half_close)
                if self.reason is None:
                    self.reason = Reason.CLIENT_CLOSED if is_up else Reason.UPSTREAM_CLOSED
        half.ended = end
        if end is HalfEnd.STOPPED and self.reason is None:
            self.end(Reason.INTERNAL_ERROR)  # nobody asked: an exception of ours, on its way to the log
        elif end is HalfEnd.SOURCE_FAILED:
            self._was_reset(client=is_up)
            self._loop.run_callback(self._stop_halves)  # what the other half would deliver has nobody to take it
        elif end is HalfEnd.SINK_FAILED:
            # The other half goes on: what was read from the peer before its reset is still delivered.
            self._was_reset(client=not is_up)

    def _was_reset(self, client: bool) -> None:
        if self.reason in ENDED_IN_ORDER:
            self.reason = Reason.CLIENT_RESET if client else Reason.UPSTREAM_RESET

    def close(self) -> None:
        """Give up the watchers, before their sockets are closed. `run` does it; who never runs it does it instead."""
        self._main = None
        self.up.close()
        self.down.close()


def is_timeout(error: Optional[OSError]) -> bool:
    """The kernel gave the peer up: keepalive or retransmission had no answer."""
    return error is not None and error.errno == errno.ETIMEDOUT
