"""One process that serves: the door, its tunnels (service/tunnels.py), and the drain.

It does what the supervisor says over the control channel. Where that ends, the supervisor is dead: it finishes quickly.
"""

import math
import socket
import sys
import time
from collections.abc import Sequence, Set
from typing import Any, Optional

import gevent
from gevent.event import Event as Flag
from gevent.hub import get_hub

from ogw.policy.decision import Reason
from ogw.policy.hosts import Policy
from ogw.report.events import Event
from ogw.report.log import Log
from ogw.report.repeated import Repeated
from ogw.report.uncaught import report_uncaught_errors
from ogw.service.control import Channel, MessageTooLarge
from ogw.service.handshakes import Handshakes, Terms, terms_of
from ogw.service.introductions import Introductions
from ogw.service.listener import Listener
from ogw.service.messages import (
    Answered,
    AskWorker,
    Closing,
    DoorClosed,
    Drain,
    Drained,
    End,
    Forget,
    ForWorkers,
    NotAnswered,
    Open,
    Order,
    Ping,
    Pong,
    Prepare,
    Prepared,
    Ready,
    Reopen,
    Retire,
    Saying,
    Take,
    Taken,
    config_of,
    order_of,
    packed,
)
from ogw.service.tunnels import Tunnels
from ogw.settings.settings import Config
from ogw.tunnel.loop import READ, WRITE
from ogw.tunnel.shared import Shared

END_SECONDS = 3.0  # what tunnels that are told to end at a drain have for it
ORPHAN_SECONDS = 5.0  # what they have to finish when the supervisor is dead
CLOSED_SECONDS = 1.0  # what the supervisor has to close its copies of the listening sockets
LONGEST_MISTAKE = 1000  # characters


class Worker:
    """Owns its listeners and its tunnels.

    sockets  that it listens on
    tunnels  its own, of which none is open yet
    opens    it accepts at once; else when the supervisor says so
    tls      where clients speak TLS: (IP text, port)
    terms    on which they come in there
    """

    def __init__(
        self,
        log: Log,
        sockets: Sequence[socket.socket],
        channel: Channel,
        tunnels: Tunnels,
        opens: bool = True,
        tls: Set[tuple[str, int]] = frozenset(),
        terms: Optional[Terms] = None,
    ) -> None:
        self._log = log
        self._channel = channel
        self._tunnels = tunnels
        self._next: Optional[tuple[Config, Shared, Optional[Terms]]] = None
        self._building = 0  # the number of the reload that is being built
        self._handshakes = handshakes = Handshakes(tunnels, log, terms)
        self._introductions = plain, encrypted = Introductions(tunnels), Introductions(tunnels, handshakes)
        self._listeners = [
            (Listener(sock, one.door, self._out_of_descriptors), one)
            for sock in sockets
            for one in (encrypted if sock.getsockname()[:2] in tls else plain,)
        ]
        self._hub = get_hub()
        self._stop = Flag()
        self._stop_now = Flag()
        self._delay = 0.0  # seconds of a drain in which it serves as usual
        self._delay_over = Flag()
        self._door_closed = Flag()  # the supervisor's copies of the listening sockets are
        self._is_closed = Flag()  # and so are ours
        self._orphaned = False
        self._opens = opens
        self._lasts: Optional[float] = None  # seconds that tunnels have, instead of drain-timeout: it has a successor
        self._until = math.inf  # by the monotonic clock, that they have in a drain
        self._shortages = Repeated()  # of descriptors
        self._room: Any = None
        self._control: Any = None

    def serve(self) -> int:
        """Accept until the supervisor says to stop, then drain; the exit code."""
        report = report_uncaught_errors(self._log)
        self._hub.print_exception = lambda context, kind, error, trace: report(kind, error, trace, context)
        self._control = self._hub.loop.io(self._channel.fileno(), READ)
        self._control.start(self._hear)
        self._room = self._hub.loop.io(self._channel.fileno(), WRITE)
        self._tunnels.begin_sweep()
        if self._opens:
            self._open_door()
        self._say(Ready())
        self._stop.wait()
        cut = self._drain()
        self._tunnels.tell_the_last()
        self._say(Drained(cut))
        self._control.stop()
        self._room.stop()
        try:
            self._channel.finish()
        except OSError:
            pass  # the supervisor is dead
        self._log.close()
        return 0

    def _open_door(self) -> None:
        for listener, _introductions in self._listeners:
            listener.open_queue()
            listener.start()

    # What the supervisor says.

    def _hear(self) -> None:
        try:
            for fields in self._channel.receive():
                self._obey(order_of(fields))
        except (EOFError, OSError, ValueError):
            self._control.stop()
            self._orphan()

    def _obey(self, order: Order) -> None:
        match order:
            case Ping():
                self._say(Pong())
            case AskWorker(number, question):
                self._answer(number, question)
            case Reopen():
                self._tunnels.report_census()
            case Prepare(number, text):
                self._building, self._next = number, None
                gevent.spawn(self._prepare, number, text)
            case Take(number, recheck):
                if number == self._building:
                    self._take_over(recheck)
            case Forget():
                self._building, self._next = 0, None
            case Open():
                if not self._opens:
                    self._opens = True
                    self._open_door()
                    self._say(Ready())
            case Drain(delay):
                self._delay = delay
                self._stop.set()
            case Retire(seconds):
                self._lasts = seconds
                self._stop.set()
                self._delay_over.set()
                self._end_within(seconds)
            case DoorClosed():
                self._door_closed.set()
            case End():
                self._stop.set()
                self._stop_now.set()
                self._delay_over.set()
                self._tunnels.empty.set()

    def _answer(self, number: int, question: ForWorkers) -> None:
        """A question that cannot be answered is answered so, or it would be waited for."""
        try:
            self._say(Answered(number, self._tunnels.answer(question)))
        except MessageTooLarge as error:
            self._say(NotAnswered(number, str(error)))
        except Exception as error:
            self._say(NotAnswered(number, type(error).__name__))
            self._hub.handle_error(self, *sys.exc_info())

    def _say(self, saying: Saying) -> None:
        """Raises MessageTooLarge."""
        try:
            self._channel.send(packed(saying))
        except OSError:
            return  # the end of the channel says it, too
        if self._channel.wants_write:
            self._room.start(self._say_more)

    def _say_more(self) -> None:
        try:
            self._channel.flush()
        except OSError:
            self._room.stop()
            return
        if not self._channel.wants_write:
            self._room.stop()

    def _orphan(self) -> None:
        """The supervisor is dead: nobody would replace us, so leave soon, and let nobody in."""
        self._orphaned = True
        self._door_closed.set()
        self._stop.set()
        # Where it drains already, it may have been given days for that.
        self._delay_over.set()
        self._end_within(ORPHAN_SECONDS)

    def _end_within(self, seconds: float) -> None:
        """What is open has no longer, whatever it had."""
        self._until = min(self._until, time.monotonic() + seconds)
        self._tunnels.empty.set()  # whoever waits looks at the clock anew

    # A new configuration: built by all workers before any takes it.

    def _prepare(self, number: int, text: str) -> None:
        mistake = ""
        try:
            # In a thread: ten thousand rules take a while, and the tunnels go on meanwhile.
            config, policy = self._hub.threadpool.apply(_read, (text,))
            built = config, self._tunnels.build(config, policy), terms_of(config)
        except Exception as error:
            mistake = f"{type(error).__name__}: {error}"[:LONGEST_MISTAKE]
        if number != self._building:
            return  # it was given up, or another is wanted by now
        if not mistake:
            self._next = built
        self._say(Prepared(number, mistake))

    def _take_over(self, recheck: bool) -> None:
        if self._next is None:
            return
        (config, shared, terms), self._next = self._next, None
        self._handshakes.go_on_under(config, terms)
        self._tunnels.take_over(config, shared, recheck)
        for introductions in self._introductions:
            introductions.go_on_under(config)
        for listener, introductions in self._listeners:
            listener.give_to(introductions.door)
        self._say(Taken(self._building))

    def _out_of_descriptors(self, error: OSError) -> None:
        """Accepting rests for a moment. It may go on for hours: one line, then a count a minute."""
        self._tunnels.end_lingering()
        for introductions in self._introductions:
            introductions.end(Reason.NO_DESCRIPTORS, f"{error.strerror}: no PROXY header is waited for")
        self._handshakes.end(Reason.CLIENT_TLS_TOO_MANY, f"{error.strerror}: no TLS handshake is waited for")
        if count := self._shortages.times(Reason.NO_DESCRIPTORS):
            self._log.event(
                Event.LIMIT_REACHED,
                f"{error.strerror}: clients wait in the queue; raise the limit of open files (LimitNOFILE=), "
                "or lower max-tunnels",
                Reason.NO_DESCRIPTORS.token,
                count=count,
            )

    # The end.

    def _drain(self) -> int:
        """Serve on for a while, close the door, give open tunnels drain-timeout; how many had to be cut."""
        config, tunnels = self._tunnels.config, self._tunnels
        # Readiness is off by now, but a load balancer asks for it only every few seconds and sends clients until then:
        # serve them as ever. An orphan does not wait here or for the supervisor: it is to let nobody in.
        if not self._orphaned:
            self._delay_over.wait(self._delay)
        tunnels.end_trials()
        # The supervisor closes its copies of our sockets first. A listening socket lives until its last copy is closed:
        # closed here alone, it would go on to take clients into a queue that nobody serves.
        if not self._orphaned:
            self._say(Closing())
            self._door_closed.wait(CLOSED_SECONDS)
        # Ours follow, in the hub, with what is queued accepted to the last: the kernel told those clients that they are
        # connected, and what is left in a queue is reset.
        self._hub.loop.run_callback(self._close_door)
        self._is_closed.wait()
        # Only now are new heads refused: whoever came through the door in time, and said its head, is served; and where
        # others serve on, whoever came through it at all.
        if self._lasts is None:
            tunnels.refuse_new_ones()
            self._end_within(config.drain_timeout)
        while self._has_clients and not self._stop_now.is_set() and (left := self._until - time.monotonic()) > 0:
            tunnels.empty.clear()  # it may be set since the last time that there was none
            tunnels.empty.wait(left)
        # They own their sockets and are only asked to end: an alert, their last bytes and their line take a moment.
        cut = tunnels.unfinished
        tunnels.end_all()
        self._hub.loop.run_callback(self._handshakes.end, Reason.CLIENT_TLS_DRAINING, "the gateway is draining")
        until = time.monotonic() + END_SECONDS
        while (tunnels.are_open or self._handshakes.are_open) and (left := until - time.monotonic()) > 0:
            tunnels.empty.clear()
            tunnels.empty.wait(left)
        return cut

    @property
    def _has_clients(self) -> bool:
        introduced = any(one.are_waiting for one in self._introductions)
        return self._tunnels.are_open or introduced or self._handshakes.are_open

    def _close_door(self) -> None:
        # In the hub, from where tunnels are started: whoever else starts one waits for it and is never woken.
        for listener, _introductions in self._listeners:
            if self._opens and not self._orphaned:
                listener.accept_what_is_queued()
            listener.close()
        if self._lasts is None:
            for introductions in self._introductions:
                introductions.end(Reason.DRAINING, "the gateway is draining")
            self._handshakes.end(Reason.CLIENT_TLS_DRAINING, "the gateway is draining")
        self._is_closed.set()


def _read(text: str) -> tuple[Config, Policy]:
    config = config_of(text)
    return config, config.policy
