"""The open tunnels of a worker, from accept to close.

What they share, the limits of how many there may be, the sweep of the idle ones, the recheck after a reload, and what
the worker answers when it is asked about them.
"""

import _socket
import gc
import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Optional

from gevent.event import Event as Flag
from gevent.hub import get_hub
from greenlet import greenlet

from ogw.policy.decision import Reason
from ogw.policy.hosts import Policy
from ogw.policy.index import client_network
from ogw.policy.remedy import Asked, command_for
from ogw.report.events import Event
from ogw.report.log import Log
from ogw.report.metrics import MOST_RELAYS, RELAY_RESTS, RELAY_STATE
from ogw.report.refusals import Refusal
from ogw.report.table import Row, Table
from ogw.service import answers
from ogw.service.dialer import dialer_of
from ogw.service.limits import SPARE_DESCRIPTORS, Limits
from ogw.service.messages import FindTunnel, ForWorkers, KillTunnel, ListRefusals, ListTunnels, Overview
from ogw.settings.settings import Config
from ogw.tunnel.budget import Budget
from ogw.tunnel.burst import Burst
from ogw.tunnel.greenlets import Greenlets
from ogw.tunnel.ledger import Ledger
from ogw.tunnel.pipes import Pipes
from ogw.tunnel.refusal import Refused
from ogw.tunnel.relays import Relays
from ogw.tunnel.shared import Draining, Shared
from ogw.tunnel.trials import Trials
from ogw.tunnel.tried import Tried
from ogw.tunnel.tunnel import Tunnel
from ogw.tunnel.turns import Turns

MOST_LINGERING = 1000  # clients that were refused and have not closed yet


class Tunnels:
    """Those of one worker.

    table   what the whole gateway counts: the limits are for all workers together
    row     the worker's own of it
    via     how the gateway names itself to relay proxies
    own     where the whole gateway listens: (IP text, port)
    flags   by which commands mean this gateway
    tried   credentials for relay proxies that were refused, by all workers
    config  the one in force
    empty   set when the last tunnel is over, and by whoever ends the wait for that
    """

    def __init__(
        self,
        config: Config,
        log: Log,
        table: Table,
        row: Row,
        limits: Limits,
        via: bytes,
        own: Sequence[tuple[str, int]],
        flags: str,
        tried: Tried,
    ) -> None:
        self.config = config
        self.empty = Flag()
        self._log = log
        self._table = table
        self._row = row
        self._limits = limits
        self._via = via
        self._own = own
        self._flags = flags
        self._tried = tried
        self._pipes = Pipes(limits.pipes)
        self.greenlets = Greenlets()
        self._ledger = Ledger(log, row.cells, config.log_every_refusal == "yes")
        self._draining = Draining()
        self._budget = Budget(config.handshake_memory)
        self._burst = Burst()
        self._trials = Trials(Turns(table, row))
        self._shared = self.build(config, config.policy)
        self._trials.follow(self._relays)
        log.policy = self._shared.policy.hash
        self._open: set[Tunnel] = set()
        # Those of them that were refused, the oldest first; and whether limits still count it, as one that sends.
        self._lingering: dict[Tunnel, bool] = {}
        self._sending = 0  # of those that are over, whose legs in TLS are not closed yet
        self._made = 0
        self._sweeper: Any = None

    # What they share under a configuration.

    def build(self, config: Config, policy: Policy) -> Shared:
        """What they would share under this one. Raises OSError or ValueError where a file cannot be read."""
        slot_of, rests = self._table.slots.of, self._trials.begin
        dialer = dialer_of(
            config, policy, self._log, self._via, self._own, self._burst, self._tried, slot_of=slot_of, rests=rests
        )
        return Shared(
            policy,
            dialer,
            self._pipes,
            self.greenlets,
            self._ledger,
            config.head_timeout,
            config.head_max_size,
            config.handshake_timeout,
            self._draining,
            self._lingers,
            self._via if dialer.relays is not None else b"",
            self._budget,
            self._burst,
        )

    def take_over(self, config: Config, shared: Shared, recheck: bool) -> None:
        """What was built for this configuration is in force from now on; with `recheck`, for open tunnels, too."""
        before = self._relays
        self.config = config
        self._shared.dialer.go_on_under(shared.policy)
        self._shared.dialer.close()
        self._shared.become(shared)
        self._log.policy = self._shared.policy.hash
        self._log.set_level(config.log_level)
        self._ledger.every_refusal = config.log_every_refusal == "yes"
        for number in range(MOST_RELAYS):
            self._row.cells[RELAY_STATE + number] = self._row.cells[RELAY_RESTS + number] = 0
        if before is not None:
            before.retire()
            if self._relays is not None:
                self._relays.remember(before)
        self._trials.follow(self._relays)
        self._budget.most = config.handshake_memory
        self.begin_sweep()
        gc.collect()
        for tunnel in tuple(self._open):
            tunnel.policy_changed(recheck)

    @property
    def _relays(self) -> Optional[Relays]:
        return self._shared.dialer.relays

    # From accept to close, and what limits them.

    def take(
        self,
        client: _socket.socket,
        address: tuple[Any, ...],
        first: bytes,
        kind: Callable[..., Tunnel] = Tunnel,
        objection: Optional[Refused] = None,
    ) -> None:
        """A client is here: start its greenlet, which runs until it first waits. Called in the hub.

        kind       of tunnel that it gets; it may count its client as another than `network`, which is by the address
        objection  for which it is refused
        """
        self._made += 1
        network = client_network(address[0], self.config.client_ipv6_prefix)
        tunnel = kind(client, address, f"{self._log.process}-{self._made}", self._shared, network)
        tunnel.first = first
        tunnel.objection = objection or self._limit_reached(tunnel.network)
        if self._lingering and len(self._lingering) >= self.spare_sockets() // self._limits.of_refused:
            next(iter(self._lingering)).end_now(Reason.NO_DESCRIPTORS)
        self._open.add(tunnel)
        self._row.opened(tunnel.network, tunnel.client_ip)
        self.greenlets.run(self._run, tunnel)

    def _run(self, tunnel: Tunnel) -> None:
        try:
            tunnel.run()
        finally:
            self._open.discard(tunnel)
            counts = self._lingering.pop(tunnel, None)
            if counts is None and tunnel.still_sends(self._has_sent):
                self._sends(tunnel)
            elif counts is None:
                self._row.closed(tunnel.network, tunnel.client_ip)
            elif counts and not tunnel.still_sends(self._has_sent):
                self._has_sent(tunnel)
            if not self._open:
                self.empty.set()

    def _sends(self, tunnel: Tunnel) -> None:
        """It has its account; what holds descriptors still counts for the limits."""
        self._row.ended()
        self._sending += 1

    def _has_sent(self, tunnel: Tunnel) -> None:
        self._sending -= 1
        self._row.left(tunnel.network, tunnel.client_ip)

    def _lingers(self, tunnel: Tunnel) -> None:
        """It was refused, and holds its socket only for its client to read the answer: no limit counts it any more, but
        where it has been connected to a relay proxy in TLS."""
        self._lingering[tunnel] = counts = tunnel.relay_leg is not None
        if counts:
            self._sends(tunnel)
        else:
            self._row.closed(tunnel.network, tunnel.client_ip)

    def spare_sockets(self) -> int:
        """How many may be held for a while by who has no tunnel yet, or any more: that none can need, up to a limit."""
        free = self._limits.own_tunnels - self._row.tunnels - self._sending
        return min(MOST_LINGERING, 2 * free + SPARE_DESCRIPTORS // 2)

    def _limit_reached(self, network: str) -> Optional[Refused]:
        most = self.config.max_tunnels
        open_here = self._row.tunnels + self._sending
        is_full = self._table.tunnels + self._sending >= most if most else open_here >= self._limits.own_tunnels
        if is_full:
            return Refused(Reason.TOO_MANY_TUNNELS, f"{self._table.tunnels} tunnels are open (max-tunnels)")
        most = self.config.max_tunnels_per_client
        if most and self._table.tunnels_of(network) >= most:
            return Refused(
                Reason.TOO_MANY_TUNNELS_FOR_CLIENT, f"{network} has {most} tunnels open (max-tunnels-per-client)"
            )
        return None

    def end_lingering(self) -> None:
        """No descriptor is to be had: those go first that are held for nothing but an answer. Called in the hub."""
        for tunnel in tuple(self._lingering):
            tunnel.end_now(Reason.NO_DESCRIPTORS)

    # The sweep: idle tunnels, rules that end, lines about long ones.

    def begin_sweep(self) -> None:
        """As often as the configuration in force needs it."""
        if self._sweeper is not None:
            self._sweeper.stop()
            self._sweeper.close()
        self._sweeper = get_hub().loop.timer(self._sweep_period(), self._sweep_period())
        self._sweeper.start(self._sweep)

    def _sweep_period(self) -> float:
        config = self.config
        shortest = min(config.idle_timeout, config.half_closed_timeout, config.log_interval)
        return float(min(10.0, max(0.05, shortest / 4)))

    def _sweep(self) -> None:
        self._log.report_lost()
        now, wall = time.monotonic(), time.time()
        idle, half_closed = self.config.idle_timeout, self.config.half_closed_timeout
        for tunnel in tuple(self._open):
            tunnel.sweep(now, wall, idle, half_closed)
        self._ledger.tell_of_repeats(now)
        self._report_long_tunnels(now)

    def _report_long_tunnels(self, now: float) -> None:
        """Those that have been open for log-interval have a line, and again after each further one."""
        interval = self.config.log_interval
        for tunnel in self._open:
            if now - tunnel.reported >= interval:
                tunnel.report(now)

    # The drain.

    def end_trials(self) -> None:
        """Nobody needs to know any more whether relay proxies that rest answer again."""
        self._trials.end()

    def refuse_new_ones(self) -> None:
        """From now on, whoever completes a head is told that the gateway drains."""
        self._draining.now = True

    @property
    def are_open(self) -> bool:
        return bool(self._open)

    @property
    def unfinished(self) -> int:
        """Those that are open, and not only held for a refused client to read its answer."""
        return len(self._open) - len(self._lingering)

    def end_all(self) -> None:
        """Ask them to end; `empty` is set when they have."""
        for tunnel in tuple(self._open):
            tunnel.end(Reason.DRAINED)

    def tell_the_last(self) -> None:
        """Refusals that repeat and wait for their next line have it now."""
        self._ledger.tell_of_repeats(time.monotonic(), at_once=True)

    # Questions.

    def answer(self, question: ForWorkers) -> dict[str, Any]:
        """In the worker's loop, so it must be quick. Its shape is that of service/answers.py."""
        match question:
            case Overview():
                relays = self._relays.relays if self._relays is not None else ()
                cells, refusals = self._row.cells, self._ledger.refusals
                return dict(answers.overview(self._open, relays, cells, refusals, self._command_for))
            case ListTunnels():
                return dict(answers.listed(self._open, question))
            case ListRefusals():
                return dict(answers.remembered(self._ledger.refusals, question))
            case FindTunnel():
                return dict(answers.found(self._open, self._ledger.of_tunnel, question))
            case KillTunnel():
                return dict(answers.kill(self._open, question))

    def _command_for(self, refusal: Refusal) -> Optional[str]:
        """What would allow it, by the policy that is in force now."""
        if self.config.file == os.devnull:
            return None  # no command can write there
        shared = self._shared
        asked = Asked(refusal.reason, refusal.client, refusal.target, refusal.addresses, None, refusal.named)
        if refusal.names:
            asked = asked._replace(names=refusal.names, by_name=self.config.names_clients)
        return command_for(shared.policy, asked, self._flags, shared.dialer.is_own)

    def report_census(self) -> None:
        """For who looks for a leak. It looks at every object of the process, so it is made only where it is read."""
        if not self._log.debug:
            return
        objects = gc.get_objects()
        greenlets = sum(1 for one in objects if issubclass(type(one), greenlet) and not one.dead)
        self._log.event(
            Event.INFORMATION,
            f"{greenlets} greenlets ({self.greenlets.idle} idle), {len(self._open)} tunnels, "
            f"{self._pipes.open} pipes, {len(objects)} objects",
            level=logging.DEBUG,
        )
