"""One process that serves: the door, its tunnels, their limits, the sweep of the idle ones, and the drain.

It does what the supervisor says over the control channel. Where that ends, the supervisor is dead: it finishes quickly.
"""

import _socket
import gc
import logging
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any, Optional

import gevent
from gevent.event import Event as Flag
from gevent.hub import get_hub
from greenlet import greenlet

from ogw.policy.decision import Reason
from ogw.policy.hosts import Policy
from ogw.policy.index import client_network
from ogw.report.events import Event
from ogw.report.log import Log
from ogw.report.metrics import MOST_RELAYS, RELAY_STATE
from ogw.report.refusals import Refusals
from ogw.report.table import Row, Table
from ogw.report.uncaught import report_uncaught_errors
from ogw.service.answers import answer
from ogw.service.control import Channel, TooLarge
from ogw.service.dialer import dialer_of
from ogw.service.limits import SPARE_DESCRIPTORS, Limits
from ogw.service.listener import Listener
from ogw.service.messages import (
    Answer,
    AskWorker,
    Closing,
    DoorClosed,
    Drain,
    Drained,
    End,
    Forget,
    ForWorkers,
    NoAnswer,
    Order,
    Ping,
    Pong,
    Prepare,
    Prepared,
    Ready,
    Reopen,
    Saying,
    Take,
    Taken,
    config_of,
    order_of,
    packed,
)
from ogw.settings.policy import policy_of
from ogw.settings.settings import Config
from ogw.tunnel.budget import Budget
from ogw.tunnel.greenlets import Greenlets
from ogw.tunnel.ledger import Ledger
from ogw.tunnel.loop import READ, WRITE
from ogw.tunnel.pipes import Pipes
from ogw.tunnel.refusal import Refused
from ogw.tunnel.relay import Relays
from ogw.tunnel.shared import Draining, Shared
from ogw.tunnel.tunnel import Tunnel

END_SECONDS = 3.0  # what tunnels that are told to end at a drain have for it
ORPHAN_SECONDS = 5.0  # what they have to finish when the supervisor is dead
CLOSED_SECONDS = 1.0  # what the supervisor has to close its copies of the listening sockets
MOST_LINGERING = 1000  # clients that were refused and have not closed yet
LONGEST_MISTAKE = 1000  # characters
REPEAT_SECONDS = 60.0  # a limit that stays reached is one line and a count
IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)  # they reach the whole group


class Worker:
    """Owns its listeners and the set of its tunnels.

    row  its own of the table
    via  how the gateway names itself to relay proxies
    own  where the whole gateway listens: (IP text, port)
    """

    def __init__(
        self,
        config: Config,
        log: Log,
        sockets: Sequence[socket.socket],
        channel: Channel,
        table: Table,
        row: Row,
        limits: Limits,
        via: bytes,
        own: Sequence[tuple[str, int]],
    ) -> None:
        self._config = config
        self._log = log
        self._channel = channel
        self._table = table
        self._row = row
        self._limits = limits
        self._via = via
        self._own = own
        self._pipes = Pipes(limits.pipes)
        self._greenlets = Greenlets()
        self._ledger = Ledger(log, row.cells, config.log_every_refusal == "yes")
        self._draining = Draining()
        self._budget = Budget(config.handshake_memory)
        self._shared = self._build(config, policy_of(config))
        self._next: Optional[tuple[Config, Shared]] = None
        self._building = 0  # the number of the reload that is being built
        log.policy = self._shared.policy.hash
        self._listeners = [Listener(sock, self._take, self._out_of_descriptors) for sock in sockets]
        self._hub = get_hub()
        self.tunnels: set[Tunnel] = set()
        self._lingering: dict[Tunnel, None] = {}  # those of them that were refused, the oldest first
        self._made = 0
        self._stop = Flag()
        self._stop_now = Flag()
        self._delay_over = Flag()
        self._empty = Flag()
        self._door_closed = Flag()  # the supervisor's copies of the listening sockets are
        self._is_closed = Flag()  # and so are ours
        self._orphaned = False
        self._repeats: dict[Reason, tuple[float, int]] = {}
        self._sweeper: Any = None
        self._room: Any = None
        self._control: Any = None

    @property
    def refusals(self) -> Refusals:
        return self._ledger.refusals

    @property
    def cells(self) -> Any:
        """What it counted: its row of the table."""
        return self._row.cells

    @property
    def relays(self) -> Optional[Relays]:
        return self._shared.dialer.relays

    def _build(self, config: Config, policy: Policy) -> Shared:
        """What tunnels share under a configuration. Raises OSError or ValueError where a file cannot be read."""
        dialer = dialer_of(config, policy, self._log, self._via, self._own)
        return Shared(
            policy,
            dialer,
            self._pipes,
            self._greenlets,
            self._ledger,
            config.head_timeout,
            config.head_max_size,
            config.handshake_timeout,
            self._draining,
            self._lingers,
            self._via if dialer.relays is not None else b"",
            self._budget,
        )

    def serve(self) -> int:
        """Accept until the supervisor says to stop, then drain; the exit code."""
        report = report_uncaught_errors(self._log)
        self._hub.print_exception = lambda context, kind, error, trace: report(kind, error, trace, context)
        self._control = self._hub.loop.io(self._channel.fileno(), READ)
        self._control.start(self._hear)
        self._room = self._hub.loop.io(self._channel.fileno(), WRITE)
        self._sweep_anew()
        for listener in self._listeners:
            listener.open_queue()
            listener.start()
        self._say(Ready())
        self._stop.wait()
        cut = self._drain()
        self._ledger.tell_of_repeats(time.monotonic(), at_once=True)
        self._say(Drained(cut))
        self._control.stop()
        self._room.stop()
        try:
            self._channel.finish()
        except OSError:
            pass  # the supervisor is dead
        self._log.close()
        return 0

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
                self._report_census()
            case Prepare(number, text):
                self._building, self._next = number, None
                gevent.spawn(self._prepare, number, text)
            case Take(number, recheck):
                if number == self._building:
                    self._take_over(recheck)
            case Forget():
                self._building, self._next = 0, None
            case Drain():
                self._stop.set()
            case DoorClosed():
                self._door_closed.set()
            case End():
                self._stop.set()
                self._stop_now.set()
                self._delay_over.set()
                self._empty.set()

    def _answer(self, number: int, question: ForWorkers) -> None:
        """A question that cannot be answered is answered so, or it would be waited for."""
        try:
            self._say(Answer(number, answer(self, question)))
        except TooLarge as error:
            self._say(NoAnswer(number, str(error)))
        except Exception as error:
            self._say(NoAnswer(number, type(error).__name__))
            self._hub.handle_error(self, *sys.exc_info())

    def _report_census(self) -> None:
        """For who looks for a leak. It looks at every object of the process, so it is made only where it is read."""
        if not self._log.debug:
            return
        objects = gc.get_objects()
        greenlets = sum(1 for one in objects if issubclass(type(one), greenlet) and not one.dead)
        self._log.event(
            Event.INFORMATION,
            f"{greenlets} greenlets ({self._greenlets.idle} idle), {len(self.tunnels)} tunnels, "
            f"{self._pipes.open} pipes, {len(objects)} objects",
            level=logging.DEBUG,
        )

    def _say(self, saying: Saying) -> None:
        """Raises TooLarge."""
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
        gevent.spawn_later(ORPHAN_SECONDS, self._empty.set)

    # A new configuration: built by all workers before any takes it.

    def _prepare(self, number: int, text: str) -> None:
        mistake = ""
        try:
            # In a thread: ten thousand rules take a while, and the tunnels go on meanwhile.
            config, policy = self._hub.threadpool.apply(_read, (text,))
            built = config, self._build(config, policy)
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
        before = self.relays
        (self._config, shared), self._next = self._next, None
        self._shared.dialer.go_on_under(shared.policy)
        self._shared.dialer.close()
        self._shared.become(shared)
        self._log.policy = self._shared.policy.hash
        self._log.set_level(self._config.log_level)
        self._ledger.every_refusal = self._config.log_every_refusal == "yes"
        for number in range(MOST_RELAYS):
            self._row.cells[RELAY_STATE + number] = 0
        if self.relays is not None and before is not None:
            self.relays.remember(before)
        self._budget.most = self._config.handshake_memory
        self._sweep_anew()
        gc.collect()
        for tunnel in tuple(self.tunnels):
            tunnel.policy_changed(recheck)
        self._say(Taken(self._building))

    # Accepting.

    def _take(self, client: _socket.socket, address: tuple[Any, ...], first: bytes) -> None:
        """A client is here: start its greenlet, which runs until it first waits. Called in the hub."""
        self._made += 1
        network = client_network(address[0], self._config.client_ipv6_prefix)
        tunnel = Tunnel(client, address, f"{self._log.process}-{self._made}", self._shared, network)
        refused = self._limit_reached(network)
        if self._lingering and len(self._lingering) >= self._most_lingering():
            next(iter(self._lingering)).end_now(Reason.NO_DESCRIPTORS)
        self.tunnels.add(tunnel)
        self._row.opened(network, tunnel.client_ip)
        self._greenlets.run(self._run, tunnel, first, refused)

    def _run(self, tunnel: Tunnel, first: bytes, refused: Optional[Refused]) -> None:
        try:
            tunnel.run(first, refused)
        finally:
            self.tunnels.discard(tunnel)
            if self._lingering.pop(tunnel, tunnel) is tunnel:  # else the limits do not count it any more
                self._row.closed(tunnel.network, tunnel.client_ip)
            if not self.tunnels:
                self._empty.set()

    def _lingers(self, tunnel: Tunnel) -> None:
        """It was refused, and holds its socket only for its client to read the answer: no limit counts it any more."""
        self._lingering[tunnel] = None
        self._row.closed(tunnel.network, tunnel.client_ip)

    def _most_lingering(self) -> int:
        """How many sockets may be held so: those that no tunnel can need, up to a limit."""
        return min(MOST_LINGERING, 2 * (self._limits.own_tunnels - self._row.tunnels) + SPARE_DESCRIPTORS // 2)

    def _limit_reached(self, network: str) -> Optional[Refused]:
        most = self._config.max_tunnels
        is_full = self._table.tunnels >= most if most else self._row.tunnels >= self._limits.own_tunnels
        if is_full:
            return Refused(Reason.TOO_MANY_TUNNELS, f"{self._table.tunnels} tunnels are open (max-tunnels)")
        most = self._config.max_tunnels_per_client
        if most and self._table.tunnels_of(network) >= most:
            return Refused(
                Reason.TOO_MANY_TUNNELS_FOR_CLIENT, f"{network} has {most} tunnels open (max-tunnels-per-client)"
            )
        return None

    def _out_of_descriptors(self, error: OSError) -> None:
        """Accepting rests for a moment. It may go on for hours: one line, then a count a minute."""
        for tunnel in tuple(self._lingering):
            tunnel.end_now(Reason.NO_DESCRIPTORS)
        now = time.monotonic()
        since, count = self._repeats.get(Reason.NO_DESCRIPTORS, (-REPEAT_SECONDS, 0))
        if now - since < REPEAT_SECONDS:
            self._repeats[Reason.NO_DESCRIPTORS] = since, count + 1
            return
        self._repeats[Reason.NO_DESCRIPTORS] = now, 0
        self._log.event(
            Event.LIMIT_REACHED,
            f"{error.strerror}: clients wait in the queue; raise the limit of open files (LimitNOFILE=), "
            "or lower max-tunnels",
            Reason.NO_DESCRIPTORS.token,
            count=count + 1,
        )

    # Idle tunnels.

    def _sweep_period(self) -> float:
        config = self._config
        shortest = min(config.idle_timeout, config.half_closed_timeout, config.log_interval)
        return float(min(10.0, max(0.05, shortest / 4)))

    def _sweep_anew(self) -> None:
        if self._sweeper is not None:
            self._sweeper.stop()
            self._sweeper.close()
        self._sweeper = self._hub.loop.timer(self._sweep_period(), self._sweep_period())
        self._sweeper.start(self._sweep)

    def _sweep(self) -> None:
        self._log.report_lost()
        now, wall = time.monotonic(), time.time()
        idle, half_closed = self._config.idle_timeout, self._config.half_closed_timeout
        for tunnel in tuple(self.tunnels):
            tunnel.sweep(now, wall, idle, half_closed)
        self._ledger.tell_of_repeats(now)
        self._report_long_tunnels(now)

    def _report_long_tunnels(self, now: float) -> None:
        """Those that have been open for log-interval have a line, and again after each further one."""
        interval = self._config.log_interval
        for tunnel in self.tunnels:
            if now - tunnel.reported >= interval:
                tunnel.report(now)

    # The end.

    def _drain(self) -> int:
        """Serve on for drain-delay, close the door, give open tunnels drain-timeout; how many had to be cut."""
        config = self._config
        if not self._orphaned:
            self._delay_over.wait(config.drain_delay)
        if not self._orphaned:
            self._say(Closing())
            self._door_closed.wait(CLOSED_SECONDS)
        self._hub.loop.run_callback(self._close_door)
        self._is_closed.wait()
        self._draining.now = True
        self._empty.clear()
        if self.tunnels and not self._stop_now.is_set():
            self._empty.wait(min(ORPHAN_SECONDS, config.drain_timeout) if self._orphaned else config.drain_timeout)
        cut = len(self.tunnels) - len(self._lingering)
        for tunnel in tuple(self.tunnels):
            tunnel.end(Reason.DRAINED)
        self._empty.clear()
        if self.tunnels:
            self._empty.wait(END_SECONDS)
        return cut

    def _close_door(self) -> None:
        # In the hub, from where tunnels are started: whoever else starts one waits for it and is never woken.
        for listener in self._listeners:
            if not self._orphaned:
                listener.accept_what_is_queued()
            listener.close()
        self._is_closed.set()


def _read(text: str) -> tuple[Config, Policy]:
    config = config_of(text)
    return config, policy_of(config)
