"""One process that serves: the door, its tunnels, their limits, the sweep of the idle ones, and the drain."""

import _socket
import resource
import secrets
import signal
import socket
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Collection
from typing import Any, Optional

import gevent
from gevent.event import Event as Flag
from gevent.hub import get_hub

from ogw import __version__
from ogw.policy.decision import Reason
from ogw.policy.index import HostIndex
from ogw.report.events import Event
from ogw.report.log import File, Log, Sink, Stream, Syslog, Writer, one_line
from ogw.service.listener import NO_SUCH_FAMILY, Listener, ListenError, listen
from ogw.settings.policy import policy_of
from ogw.settings.settings import Config
from ogw.tunnel.connector import Connector
from ogw.tunnel.crew import Crew
from ogw.tunnel.dial import Dialer
from ogw.tunnel.duplex import Pipes
from ogw.tunnel.encrypted import relay_context
from ogw.tunnel.password import PasswordSource, read_password
from ogw.tunnel.relay import Relays
from ogw.tunnel.resolve import Resolver
from ogw.tunnel.tunnel import Refused, Shared, Tunnel
from ogw.wire.relay_proxy import credentials

SPARE_DESCRIPTORS = 64  # listeners, log, DNS, and clients that are being refused
MOST_PIPES = 200
END_SECONDS = 3.0  # what tunnels that are told to end at a drain have for it
REPEAT_SECONDS = 60.0  # a limit that stays reached is one line and a count


class StartError(Exception):
    """The gateway cannot start; the sentence says why and what to do."""


def run(config: Config) -> int:
    """Serve until a signal says to stop; the exit code. Everything that can be wrong at start is one line."""
    try:
        log = open_log(config)
    except OSError as error:
        return _cannot_start(f"the log cannot be written: {error.filename or config.syslog}: {error.strerror}")
    try:
        worker = Worker(config, log)
    except (StartError, ListenError) as error:
        log.event(Event.WRONG_CONFIGURATION, str(error))
        log.close()
        if not sys.stdout.isatty() or config.log_file or config.syslog:
            print(f"ogw: OGW-401 {error}", file=sys.stderr)
        return 2
    return worker.serve()


def _cannot_start(message: str) -> int:
    print(f"ogw: OGW-401 {message}", file=sys.stderr)
    if not sys.stdout.isatty():
        print(one_line(Event.WRONG_CONFIGURATION, message), flush=True)
    return 2


def open_log(config: Config) -> Log:
    """The log that the settings ask for. Raises OSError."""
    sink: Sink
    if config.log_file:
        sink = File(config.log_file)
    elif config.syslog:
        sink = Syslog(config.syslog)
    else:
        sink = Stream(sys.stdout.fileno())
    on_terminal = sys.stdout.isatty() and not config.log_file and not config.syslog
    text = config.log_format == "text" or (config.log_format == "auto" and on_terminal)
    return Log(Writer(sink), text, config.log_level)


def relays_of(config: Config, connector: Connector, log: Log, via: bytes, own_ports: Collection[int]) -> Relays:
    """The relay proxies that the settings ask for."""
    user, password = config.relay_proxy_username.reveal(), config.relay_proxy_password.reveal()
    file = config.relay_proxy_password_file
    encrypted = any(proxy.encrypted for proxy in config.relay_proxy)
    try:
        given = credentials(user, read_password(file) if file else password) if user else None
        context = relay_context(config.relay_proxy_ca_file) if encrypted else None
    except (OSError, ValueError) as error:
        raise StartError(f"relay proxy: {error}") from None
    source = PasswordSource(given, file)
    return Relays(config.relay_proxy, connector, log, via, source, context, own_ports, config.dial_timeout)


def open_listeners(config: Config) -> list[socket.socket]:
    """The listening sockets. A family that the kernel has switched off is an error only where it was asked for."""
    sockets: list[socket.socket] = []
    missing: Optional[ListenError] = None
    for host, port in config.listen:
        try:
            sockets.append(listen(host, port, config.tcp_keepalive))
        except ListenError as error:
            cause = error.__cause__
            if not (config.listen_is_default and isinstance(cause, OSError) and cause.errno in NO_SUCH_FAMILY):
                for sock in sockets:
                    sock.close()
                raise
            missing = error
    if not sockets and missing is not None:
        raise missing
    return sockets


class Worker:
    """Owns the listeners and the set of tunnels."""

    def __init__(self, config: Config, log: Log) -> None:
        self._config = config
        self._log = log
        descriptors = raise_descriptor_limit()
        pipes = Pipes(min(MOST_PIPES, descriptors // 16))
        self.max_tunnels = config.max_tunnels or (descriptors - 2 * pipes.limit - SPARE_DESCRIPTORS) // 2
        if self.max_tunnels < 1:
            raise StartError(
                f"{descriptors} open files are too few for a tunnel; raise the limit (ulimit -n, LimitNOFILE=)"
            )
        self._descriptors = descriptors
        policy = policy_of(config)
        log.policy = policy.hash
        sockets = open_listeners(config)
        addresses = [sock.getsockname() for sock in sockets]
        connector = Connector(
            Resolver(config.dns_servers, config.dns_timeout),
            config.dial_timeout,
            config.dns_timeout,
            config.tcp_keepalive,
        )
        own_ports = {address[1] for address in addresses}
        via = f"ogw-{secrets.token_hex(6)}".encode() if config.relay_proxy else b""
        relays = relays_of(config, connector, log, via, own_ports) if config.relay_proxy else None
        bypass = HostIndex(config.relay_proxy_bypass) if config.relay_proxy_bypass else None
        dialer = Dialer(connector, policy.guard, own_ports, relays, bypass)
        self._crew = Crew()
        self._shared = Shared(
            policy,
            dialer,
            pipes,
            self._crew,
            log,
            config.head_timeout,
            config.head_max_size,
            config.handshake_timeout,
            via,
        )
        self._listeners = [Listener(sock, self._take, self._out_of_descriptors) for sock in sockets]
        self.listen = [f"[{a[0]}]:{a[1]}" if ":" in a[0] else f"{a[0]}:{a[1]}" for a in addresses]
        self._hub = get_hub()
        self.tunnels: set[Tunnel] = set()
        self._by_client: Counter[str] = Counter()
        self._made = 0
        self._stop = Flag()
        self._stop_now = Flag()
        self._empty = Flag()
        self._repeats: dict[Reason, tuple[float, int]] = {}

    def serve(self) -> int:
        """Accept until SIGTERM or SIGINT, then drain; a second signal ends at once. The exit code."""
        report_uncaught_errors(self._log)
        watchers = [gevent.signal_handler(number, self._signalled) for number in (signal.SIGTERM, signal.SIGINT)]
        sweep = self._hub.loop.timer(self._sweep_period(), self._sweep_period())
        sweep.start(self._sweep)
        for listener in self._listeners:
            listener.start()
        self._log.event(
            Event.SERVICE_STARTED,
            f"ogw {__version__} listens on {', '.join(self.listen)}",
            listen=self.listen,
            version=__version__,
            max_tunnels=self.max_tunnels,
            descriptors=self._descriptors,
        )
        for warning in self._config.warnings:
            self._log.event(Event.INFORMATION, warning, level=30)
        self._stop.wait()
        cut = self._drain()
        sweep.stop()
        for watcher in watchers:
            watcher.cancel()
        self._log.event(Event.SERVICE_STOPPED, f"ogw stopped; {cut} tunnels were cut", count=cut)
        self._log.close()
        return 0

    # Accepting.

    def _take(self, client: _socket.socket, address: tuple[Any, ...], first: bytes) -> None:
        """A client is here: start its greenlet, which runs until it first waits. Called in the hub."""
        self._made += 1
        tunnel = Tunnel(client, address, f"{self._log.process}-{self._made}", self._shared)
        refused = self._limit_reached(address[0])
        self.tunnels.add(tunnel)
        self._by_client[address[0]] += 1
        self._crew.run(self._run, tunnel, first, refused)

    def _run(self, tunnel: Tunnel, first: bytes, refused: Optional[Refused]) -> None:
        try:
            tunnel.run(first, refused)
        finally:
            self.tunnels.discard(tunnel)
            left = self._by_client[tunnel.client_ip] - 1
            if left:
                self._by_client[tunnel.client_ip] = left
            else:
                del self._by_client[tunnel.client_ip]
            if not self.tunnels:
                self._empty.set()

    def _limit_reached(self, client_ip: str) -> Optional[Refused]:
        if len(self.tunnels) >= self.max_tunnels:
            return Refused(Reason.TOO_MANY_TUNNELS, f"{self.max_tunnels} tunnels are open (max-tunnels)")
        most = self._config.max_tunnels_per_client
        if most and self._by_client[client_ip] >= most:
            return Refused(
                Reason.TOO_MANY_TUNNELS_FOR_CLIENT, f"{client_ip} has {most} tunnels open (max-tunnels-per-client)"
            )
        return None

    def _out_of_descriptors(self, error: OSError) -> None:
        """Accepting rests for a moment. It may go on for hours: one line, then a count a minute."""
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
        shortest = min(self._config.idle_timeout, self._config.half_closed_timeout)
        return float(min(10.0, max(0.05, shortest / 4)))

    def _sweep(self) -> None:
        now = time.monotonic()
        idle, half_closed = self._config.idle_timeout, self._config.half_closed_timeout
        for tunnel in self.tunnels:
            tunnel.sweep(now, idle, half_closed)

    # The end.

    def _signalled(self) -> None:
        if self._stop.is_set():
            self._stop_now.set()
            self._empty.set()
        self._stop.set()

    def _drain(self) -> int:
        """Serve on for drain-delay, close the door, give open tunnels drain-timeout; how many had to be cut."""
        config = self._config
        self._log.event(
            Event.DRAINING,
            f"{len(self.tunnels)} tunnels are open; they have {config.drain_timeout:g} s (drain-timeout)",
            Reason.DRAINING.token,
            count=len(self.tunnels),
        )
        self._stop_now.wait(config.drain_delay)
        for listener in self._listeners:
            listener.accept_what_is_queued()
            listener.close()
        self._shared.draining = True
        self._empty.clear()
        if self.tunnels and not self._stop_now.is_set():
            self._empty.wait(config.drain_timeout)
        cut = len(self.tunnels)
        for tunnel in tuple(self.tunnels):
            tunnel.end(Reason.DRAINED)
        self._empty.clear()
        if self.tunnels:
            self._empty.wait(END_SECONDS)
        return cut


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard one; the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            return soft
    return hard if hard != resource.RLIM_INFINITY else 1 << 20


def report_uncaught_errors(log: Log) -> None:
    """An error that nobody caught is event 400 with its traceback in a field, never a bare traceback."""

    def report(kind: type[BaseException], error: Optional[BaseException], trace: Any, where: str) -> None:
        try:
            told = "".join(traceback.format_exception(kind, error, trace))
            log.event(
                Event.ERROR,
                f"uncaught error in {where}: {kind.__name__}: {error}; please report it",
                Reason.INTERNAL_ERROR.token,
                traceback=told,
            )
        except Exception:
            pass  # the report of an error must not raise another in the loop

    hub = get_hub()
    hub.print_exception = lambda context, kind, error, trace: report(kind, error, trace, f"{context!r}"[:200])
    sys.excepthook = lambda kind, error, trace: report(kind, error, trace, "the process")
    threading.excepthook = lambda args: report(args.exc_type, args.exc_value, args.exc_traceback, f"{args.thread}")
    sys.unraisablehook = lambda args: report(
        args.exc_type, args.exc_value, args.exc_traceback, f"{args.object!r}"[:200]
    )
