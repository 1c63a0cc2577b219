"""One direction of the duplex: the pump in the hub, and a greenlet for what is more than to pass a message on.

The callback of the standing `io` watcher is the pump, so a message costs two system calls, none of which fails, and no
switch: receive into the buffer that all tunnels of the process share, send. (Counted for a message there and back:
17,800 -> 10,600 instructions.) It asks for a greenlet when the sink did not take all of it, and when a read filled the
buffer: that goes over to splice(2) through a pooled pipe until the flow runs dry. The laws of it stand in duplex.py.
"""

import _socket
import enum
import os
from collections.abc import Callable
from functools import partial
from typing import Any, Optional, Union

from gevent.hub import get_hub
from greenlet import getcurrent

from ogw.tunnel.loop import READ, WRITE
from ogw.tunnel.pipes import PIPE_SIZE, Pipes

BUFFER_SIZE = 64 * 1024
SPLICES_PER_TURN = 16  # 4 MiB at the most, about a millisecond, then the other tunnels have their turn
SPLICE_WORTH = 16 * 1024  # a smaller piece says that the flow ran dry: back to the pump
SPLICE_FLAGS = getattr(os, "SPLICE_F_NONBLOCK", 0) | getattr(os, "SPLICE_F_MOVE", 0)

# What is read here is sent or copied before anyone else runs, so one buffer serves every tunnel of the process.
# (read(2) and write(2) on numbers take 900 instructions less a message, and as much time: the kernel's way is longer.)
_buffer = bytearray(BUFFER_SIZE)
_view = memoryview(_buffer)


class HalfEnd(enum.Enum):
    """How one half ended."""

    CLOSED = enum.auto()  # its source said that no more comes
    SOURCE_FAILED = enum.auto()
    SINK_FAILED = enum.auto()
    STOPPED = enum.auto()  # asked to end by `Duplex.end`


class Flow(enum.Enum):
    """How strongly a source flows: what copies it next."""

    WEAK = enum.auto()  # the pump, with recv and send
    STRONG = enum.auto()  # a greenlet, with splice


class HalfEnded(BaseException):
    """Raised in the greenlet of a half, or thrown into it. Not an Exception: nothing on the way may swallow it."""

    def __init__(self, end: HalfEnd) -> None:
        self.end = end


class Half:
    """One direction: what `source` says is told to `sink`, behind `rest`: what was received and not sent yet.

    more      told, in the hub, what the pump came upon: a rest or a strong flow, for which `copy` is to run in a
              greenlet, or how the half ended
    readable  a watcher of the source, where there is one already
    """

    __slots__ = ("_more", "_pipes", "copied", "ended", "error", "greenlet", "readable", "rest", "sink", "source")

    def __init__(
        self,
        source: _socket.socket,
        sink: _socket.socket,
        pipes: Pipes,
        more: Callable[["Half", Union[Flow, HalfEnd]], None],
        readable: Any = None,
    ) -> None:
        self.source = source
        self.sink = sink
        self.rest = b""
        self.copied = 0  # bytes handed to the sink's kernel buffer
        # The standing watcher.
        self.readable: Any = get_hub().loop.io(source.fileno(), READ) if readable is None else readable
        self.greenlet: Any = None  # the one that is in `copy`; while there is none, the pump runs
        self.ended: Optional[HalfEnd] = None
        self.error: Optional[OSError] = None  # behind a failure
        self._pipes = pipes
        self._more: Any = more

    def begin(self) -> Optional[Callable[[], None]]:
        """An act of the burst: send the rest and start the pump. Where the sink does not take all, `copy` is to."""
        if self.ended is not None or self._more is None:
            return None  # it was asked to end before, or is closed
        try:
            sent = self.sink.send(self.rest)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            return partial(self._more, self, self._failed(HalfEnd.SINK_FAILED, error))
        self.copied += sent
        self.rest = self.rest[sent:]
        if self.rest:
            return partial(self._more, self, Flow.WEAK)
        self.readable.start(self.pump)
        return None

    def pump(self) -> None:
        """Pass one message on. Law 6: in the hub, where nothing may be raised or waited for."""
        try:
            size = self.source.recv_into(_buffer)
        except BlockingIOError:
            return
        except OSError as error:
            self._more(self, self._failed(HalfEnd.SOURCE_FAILED, error))
            return
        if not size:
            self._more(self, HalfEnd.CLOSED)
            return
        try:
            sent = self.sink.send(_view[:size])
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._more(self, self._failed(HalfEnd.SINK_FAILED, error))
            return
        self.copied += sent
        if sent == size != BUFFER_SIZE:
            return  # a plain message, and all of it is on its way
        if sent != size:
            self.readable.stop()
            self.rest = bytes(_view[sent:size])
        self._more(self, Flow.STRONG if size == BUFFER_SIZE else Flow.WEAK)

    def copy(self, flow: Flow) -> Optional[HalfEnd]:
        """Send the rest, copy a strong flow until it runs dry, and start the pump; or say how the half ended."""
        self.greenlet = getcurrent()
        try:
            if self.rest:
                self._send_rest()
            while flow is Flow.STRONG:
                flow = self._splice()
                if flow is Flow.STRONG:
                    self.readable.start(self.greenlet.switch)
                    get_hub().switch()
        except HalfEnded as ended:
            return ended.end
        finally:
            self.greenlet = None
        self.readable.start(self.pump)
        return None

    def _send_rest(self) -> None:
        """Send what the sink did not take, as it takes it. Until then nothing more is read from the source."""
        rest, self.rest = self.rest, b""
        wait = get_hub().switch
        writable = self._await_sink()
        try:
            while rest:
                wait()
                try:
                    sent = self.sink.send(rest)
                except BlockingIOError:
                    continue
                except OSError as error:
                    raise HalfEnded(self._failed(HalfEnd.SINK_FAILED, error)) from None
                self.copied += sent
                rest = rest[sent:]
        finally:
            writable.stop()
            writable.close()

    def _splice(self) -> Flow:
        """Move one turn of a strong flow inside the kernel. The pipe is borrowed for the turn, not while it waits."""
        pipe = self._pipes.take()
        if pipe is None:
            return Flow.WEAK
        held = 0
        source, (pipe_out, pipe_in) = self.source.fileno(), pipe
        try:
            for _ in range(SPLICES_PER_TURN):
                try:
                    size = held = os.splice(source, pipe_in, PIPE_SIZE, flags=SPLICE_FLAGS)
                except BlockingIOError:
                    return Flow.STRONG  # for now: how much comes next tells
                except OSError as error:
                    raise HalfEnded(self._failed(HalfEnd.SOURCE_FAILED, error)) from None
                if not size:
                    raise HalfEnded(HalfEnd.CLOSED)
                held = self._splice_out(pipe_out, held)
                if size < SPLICE_WORTH:
                    return Flow.WEAK
            return Flow.STRONG
        finally:
            self._pipes.give_back(pipe, held)

    def _splice_out(self, pipe_out: int, held: int) -> int:
        """Empty the pipe into the sink, waiting where it is slow; the bytes left, which are none, or an error."""
        sink = self.sink.fileno()
        writable = None
        try:
            while held:
                try:
                    sent = os.splice(pipe_out, sink, held, flags=SPLICE_FLAGS)
                except BlockingIOError:
                    if writable is None:
                        writable = self._await_sink()
                    get_hub().switch()
                    continue
                except OSError as error:
                    raise HalfEnded(self._failed(HalfEnd.SINK_FAILED, error)) from None
                self.copied += sent
                held -= sent
        finally:
            if writable is not None:
                writable.stop()
                writable.close()
        return held

    def _await_sink(self) -> Any:
        # Law 2: the standing watcher rests while the greenlet waits for the sink.
        self.readable.stop()
        writable: Any = get_hub().loop.io(self.sink.fileno(), WRITE)
        writable.start(self.greenlet.switch)
        return writable

    def _failed(self, end: HalfEnd, error: OSError) -> HalfEnd:
        self.error = error.with_traceback(None)  # which would hold on to this half
        return end

    def half_close(self) -> None:
        """An act of the burst: the sink hears that no more comes."""
        try:
            self.sink.shutdown(_socket.SHUT_WR)
        except OSError:
            pass  # the sink is gone already, and its own half says so; or it was closed meanwhile, which says it, too

    def close(self) -> None:
        """Give up the watcher, before its socket is closed."""
        self.readable.stop()
        self.readable.close()
        self._more = None  # the duplex, which holds on to this half
