"""Step 6 of the path: the greenlet pair that copies both ways.

One standing `io` watcher per direction has its greenlet's own `switch` as callback, so a message costs two system calls
and none of them fails: be woken, receive into the buffer that all tunnels of the process share, send. A read that fills
the buffer goes over to splice(2) through a pooled pipe until the flow runs dry.

The laws of this file. Breaking one kills the process or mixes tunnels up; tests/tunnel/test_duplex.py holds each:

1. A watcher is stopped and closed before its descriptor, by the tunnel that owns both.
2. While its standing watcher runs, a greenlet waits nowhere else; a dead greenlet leaves no started watcher behind.
3. The tunnel waits for both halves before it closes a socket; everybody else only asks, with `Duplex.end`.
4. A pipe goes back to the pool only when it is empty.
5. An error from splice(2) is final: after ECONNRESET the next call returns 0, which would look like an orderly end.
"""

import _socket
import enum
import errno
import os
from typing import Any, Optional

from gevent.hub import get_hub
from greenlet import getcurrent, greenlet

from ogw.policy.decision import Reason
from ogw.tunnel.greenlets import Greenlets
from ogw.tunnel.loop import READ, WRITE
from ogw.tunnel.pipes import PIPE_SIZE, Pipes

BUFFER_SIZE = 64 * 1024
SPLICES_PER_TURN = 16  # 4 MiB at the most, about a millisecond, then the other tunnels have their turn
SPLICE_WORTH = 16 * 1024  # a smaller piece says that the flow ran dry: back to recv and send
SPLICE_FLAGS = getattr(os, "SPLICE_F_NONBLOCK", 0) | getattr(os, "SPLICE_F_MOVE", 0)
# Reasons that a stronger one replaces: what cut the other direction says more than who closed first.
ENDED_IN_ORDER = (None, Reason.CLIENT_CLOSED, Reason.UPSTREAM_CLOSED)

# What is read here is sent or copied before anyone else runs, so one buffer serves every tunnel of the process.
_buffer = bytearray(BUFFER_SIZE)
_view = memoryview(_buffer)
_switch_to = greenlet.switch


class HalfEnd(enum.Enum):
    """How one half ended."""

    CLOSED = enum.auto()  # its source said that no more comes
    SOURCE_FAILED = enum.auto()
    SINK_FAILED = enum.auto()
    STOPPED = enum.auto()  # asked to end by `Duplex.end`


class Flow(enum.Enum):
    """How strongly a source flows: what the next turn copies with, or that there is none."""

    WEAK = enum.auto()  # recv and send
    STRONG = enum.auto()  # splice
    ENDED = enum.auto()


class Stopped(BaseException):
    """Thrown into a half that was asked to end. Not an Exception: nothing on the way may swallow it."""


class _Failed(Exception):
    """A system call on one of the two sockets failed for good."""

    def __init__(self, end: HalfEnd, error: OSError) -> None:
        self.end = end
        self.error = error


class Half:
    """One direction: what `source` says is told to `sink`, behind `rest`: what was received before the copying."""

    __slots__ = ("copied", "ended", "greenlet", "readable", "rest", "sink", "source")

    def __init__(self, source: _socket.socket, sink: _socket.socket, readable: Any) -> None:
        self.source = source
        self.sink = sink
        self.rest = b""
        self.copied = 0  # bytes handed to the sink's kernel buffer
        self.readable = readable  # the standing watcher
        self.greenlet: Any = None
        self.ended: Optional[HalfEnd] = None


class Duplex:
    """Copies between two connected, non-blocking sockets until both directions ended or one failed.

    It owns its watchers, its second greenlet and what it borrowed from the pool; the sockets are the caller's, who
    closes them after `run` came back. Then `reason` says who ended it and why, `error` is the OSError behind a reset.
    """

    __slots__ = ("_greenlets", "_loop", "_main", "_pipes", "_wait", "_waits_for_other", "down", "error", "reason", "up")

    def __init__(self, client: _socket.socket, upstream: _socket.socket, pipes: Pipes, greenlets: Greenlets) -> None:
        hub = get_hub()
        self._greenlets = greenlets
        self._loop = hub.loop
        self._wait = _switch_to.__get__(hub)  # hub.switch without its check, which costs as much as the switch
        self._pipes = pipes
        self._main: Any = None
        self._waits_for_other = False
        self.up = Half(client, upstream, hub.loop.io(client.fileno(), READ))
        self.down = Half(upstream, client, hub.loop.io(upstream.fileno(), READ))
        self.reason: Optional[Reason] = None
        self.error: Optional[OSError] = None

    @property
    def half_closed(self) -> bool:
        """One direction ended, the other still runs."""
        return (self.up.ended is None) is not (self.down.ended is None)

    def run(self) -> None:
        """Copy until the end.

        The calling greenlet is the `up` half; the `down` half starts with its first byte.
        """
        up, down = self.up, self.down
        up.greenlet = self._main = getcurrent()
        try:
            if down.rest:
                down.readable.stop()
                self._loop.run_callback(self._greenlets.run, self._run_down)
            else:
                down.readable.start(self._greenlets.run, self._run_down)
            up.readable.start(up.greenlet.switch)
            self._copy_until_end(up)
            self._waits_for_other = True
            while down.ended is None:
                self._wait()
        finally:
            self.close()

    def end(self, reason: Reason) -> None:
        """Ask both halves to end: for the sweep, the drain and the administrator. It returns at once.

        What has ended in both directions keeps its reason.
        """
        if self.up.ended is not None and self.down.ended is not None:
            return
        if self.reason in ENDED_IN_ORDER:
            self.reason = reason
        self._loop.run_callback(self._stop_halves)

    def _run_down(self) -> None:
        down = self.down
        if down.ended is not None:
            return  # it was asked to end before it began
        down.greenlet = getcurrent()
        down.readable.callback = down.greenlet.switch
        down.readable.args = ()
        try:
            self._copy_until_end(down, readable=not down.rest)
        finally:
            if self._waits_for_other:
                self._loop.run_callback(self._wake_main)

    def _wake_main(self) -> None:
        # `run` may have come back meanwhile: its greenlet then waits for something else.
        if self._waits_for_other:
            self._main.switch()

    def _stop_halves(self) -> None:
        # Runs in the hub, where no half is in the middle of anything. Each throw is back here when the half waits again
        # or has ended.
        if self._main is None:
            return  # `run` came back meanwhile
        for half in (self.down, self.up):
            if half.ended is not None:
                continue
            if half.greenlet is not None:
                half.greenlet.throw(Stopped)
            else:  # it has not started: no byte came yet
                self._finish(half, HalfEnd.STOPPED)
        if self._waits_for_other and self.down.ended is not None:
            self._wake_main()

    def _copy_until_end(self, half: Half, readable: bool = False) -> None:
        end = HalfEnd.STOPPED
        try:
            if half.rest:
                rest, half.rest = half.rest, b""
                self._send_rest(half, rest)
            if not readable:
                self._wait()
            self._copy(half)
            end = HalfEnd.CLOSED
        except Stopped:
            pass
        except _Failed as failure:
            end = failure.end
            if self.error is None:
                self.error = failure.error
        finally:
            self._finish(half, end)

    def _copy(self, half: Half) -> None:
        """Entered when the source is readable; comes back at its end of file."""
        receive = half.source.recv_into
        send = half.sink.send
        wait = self._wait
        while True:
            try:
                size = receive(_buffer)
            except BlockingIOError:
                wait()
                continue
            except OSError as error:
                raise _Failed(HalfEnd.SOURCE_FAILED, error) from None
            if not size:
                return
            try:
                sent = send(_view[:size])
            except BlockingIOError:
                sent = 0
            except OSError as error:
                raise _Failed(HalfEnd.SINK_FAILED, error) from None
            half.copied += sent
            if sent != size:
                self._send_rest(half, bytes(_view[sent:size]))
            if size == BUFFER_SIZE:
                while (flow := self._splice(half)) is Flow.STRONG:
                    wait()
                if flow is Flow.ENDED:
                    return
            wait()

    def _send_rest(self, half: Half, rest: bytes) -> None:
        """Send what the sink did not take, as it takes it. Until then nothing more is read from the source."""
        writable = self._await_sink(half)
        try:
            while rest:
                self._wait()
                try:
                    sent = half.sink.send(rest)
                except BlockingIOError:
                    continue
                except OSError as error:
                    raise _Failed(HalfEnd.SINK_FAILED, error) from None
                half.copied += sent
                rest = rest[sent:]
        finally:
            self._sink_took_all(half, writable)

    def _splice(self, half: Half) -> Flow:
        """Move one turn of a strong flow inside the kernel. The pipe is borrowed for the turn, not while it waits."""
        pipe = self._pipes.take()
        if pipe is None:
            return Flow.WEAK
        held = 0
        source, (pipe_out, pipe_in) = half.source.fileno(), pipe
        try:
            for _ in range(SPLICES_PER_TURN):
                try:
                    size = held = os.splice(source, pipe_in, PIPE_SIZE, flags=SPLICE_FLAGS)
                except BlockingIOError:
                    return Flow.STRONG  # for now: how much comes next tells
                except OSError as error:
                    raise _Failed(HalfEnd.SOURCE_FAILED, error) from None
                if not size:
                    return Flow.ENDED
                held = self._splice_out(half, pipe_out, held)
                if size < SPLICE_WORTH:
                    return Flow.WEAK
            return Flow.STRONG
        finally:
            self._pipes.give_back(pipe, held)

    def _splice_out(self, half: Half, pipe_out: int, held: int) -> int:
        """Empty the pipe into the sink, waiting where it is slow; the bytes left, which are none, or an error."""
        sink = half.sink.fileno()
        writable = None
        try:
            while held:
                try:
                    sent = os.splice(pipe_out, sink, held, flags=SPLICE_FLAGS)
                except BlockingIOError:
                    if writable is None:
                        writable = self._await_sink(half)
                    self._wait()
                    continue
                except OSError as error:
                    raise _Failed(HalfEnd.SINK_FAILED, error) from None
                half.copied += sent
                held -= sent
        finally:
            if writable is not None:
                self._sink_took_all(half, writable)
        return held

    def _await_sink(self, half: Half) -> Any:
        # Law 2: the standing watcher rests while the greenlet waits for the sink.
        half.readable.stop()
        writable = self._loop.io(half.sink.fileno(), WRITE)
        writable.start(half.greenlet.switch)
        return writable

    def _sink_took_all(self, half: Half, writable: Any) -> None:
        writable.stop()
        writable.close()
        half.readable.start(half.greenlet.switch)

    def _finish(self, half: Half, end: HalfEnd) -> None:
        """One half ended, in its greenlet (or the hub, if it never ran): tell the far side, or end the other half."""
        half.readable.stop()
        is_up = half is self.up
        if end is HalfEnd.CLOSED:
            other = self.down if is_up else self.up
            if other.ended is HalfEnd.SINK_FAILED:
                # Our send to this peer failed and took the socket's error with it: this end of file is its reset.
                end = HalfEnd.SOURCE_FAILED
            else:
                if other.ended is not HalfEnd.CLOSED:  # else both ended, and the close that follows says it
                    self._half_close(half.sink)
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

    @staticmethod
    def _half_close(sink: _socket.socket) -> None:
        try:
            sink.shutdown(_socket.SHUT_WR)
        except OSError:
            pass  # the sink is gone already: its own half says so

    def _was_reset(self, client: bool) -> None:
        if self.reason in ENDED_IN_ORDER:
            self.reason = Reason.CLIENT_RESET if client else Reason.UPSTREAM_RESET

    def close(self) -> None:
        """Give up the watchers, before their sockets are closed. `run` does it; who never runs it does it instead."""
        self._waits_for_other = False
        for half in (self.up, self.down):
            half.readable.stop()
            half.readable.close()
            half.greenlet = None
        self._main = None


def is_timeout(error: Optional[OSError]) -> bool:
    """The kernel gave the peer up: keepalive or retransmission had no answer."""
    return error is not None and error.errno == errno.ETIMEDOUT
