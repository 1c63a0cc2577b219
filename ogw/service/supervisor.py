"""The process that owns the listening sockets, starts and replaces the workers, and passes orders on to them.

It imports all that a worker needs before it forks, and makes neither a hub nor a thread: a replacement is ready at
once, and has the same version of everything even if the package was upgraded underneath.
"""

import gc
import os
import secrets
import selectors
import signal
import socket
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Optional

from ogw import __version__
from ogw.policy.decision import Reason
from ogw.report.events import Event
from ogw.report.log import Log, one_line
from ogw.report.sinks import open_sink
from ogw.report.table import Table
from ogw.report.writers import Direct, Writer
from ogw.service.control import Channel, Message, packed, pair
from ogw.service.limits import StartError, limits_of, workers_of
from ogw.service.listener import ListenError, listen_everywhere
from ogw.service.notify import notify, reloading, watchdog_seconds
from ogw.service.worker import END_SECONDS, IGNORED, Worker
from ogw.settings.loader import ConfigError
from ogw.settings.policy import policy_of
from ogw.settings.settings import SETTINGS, Config

ANSWER_SECONDS = 10.0  # what a worker has for an answer; a hung one is replaced
FEW_DEATHS, DEATHS_SECONDS = 3, 10.0  # the back-off begins with so many deaths of a slot in so many seconds
FIRST_DELAY, LONGEST_DELAY = 0.5, 10.0  # seconds
MOST_EARLY_DEATHS = 5  # of workers that never were ready, one after another: then it makes no sense
STRAGGLER_SECONDS = 5.0  # what a worker has to leave, once its own time for the drain is over
NEEDS_RESTART = ("listen-address", "listen-port", "workers", "tcp-keepalive", "log-format", "log-file", "syslog")

Again = Callable[[], Config]


def run(config: Config, again: Again) -> int:
    """Serve until a signal says to stop; the exit code. Everything that can be wrong at start is one line.

    again  reads the configuration anew, for a reload
    """
    try:
        log = open_log(config, Direct)
    except OSError as error:
        return _cannot_start(f"the log cannot be written: {error.filename or config.syslog}: {error.strerror}")
    try:
        supervisor = Supervisor(config, again, log)
    except (StartError, ListenError) as error:
        log.event(Event.WRONG_CONFIGURATION, str(error))
        if not sys.stdout.isatty() or config.log_file or config.syslog:
            print(f"ogw: OGW-401 {error}", file=sys.stderr)
        return 2
    try:
        return supervisor.serve()
    except Exception as error:
        # The workers notice the end of their channel, close the door and leave.
        told = "".join(traceback.format_exception(error))
        log.event(Event.ERROR, f"{type(error).__name__}: {error}; this is an error of the gateway", traceback=told)
        print(f"ogw: OGW-400 {type(error).__name__}: {error}; please report it with the log", file=sys.stderr)
        return 70


def _cannot_start(message: str) -> int:
    print(f"ogw: OGW-401 {message}", file=sys.stderr)
    if not sys.stdout.isatty():
        print(one_line(Event.WRONG_CONFIGURATION, message), flush=True)
    return 2


def open_log(config: Config, writer: Callable[[Any], Any]) -> Log:
    """The log that the settings ask for. Raises OSError."""
    on_terminal = sys.stdout.isatty() and not config.log_file and not config.syslog
    text = config.log_format == "text" or (config.log_format == "auto" and on_terminal)
    return Log(writer(open_sink(config.log_file, config.syslog)), text, config.log_level)


@dataclass
class Slot:
    """A place for one worker: its listening sockets outlive it, and its row of the table."""

    number: int
    sockets: list[socket.socket]
    pid: int = 0
    channel: Optional[Channel] = None
    ready: bool = False
    deaths: "deque[float]" = field(default_factory=lambda: deque(maxlen=FEW_DEATHS))
    delay: float = 0.0
    start_at: float = 0.0
    pinged: float = 0.0  # when it was asked for a sign of life that has not come yet

    @property
    def alive(self) -> bool:
        return self.pid != 0


class Supervisor:
    """Owns the slots and the control channels to their workers."""

    def __init__(self, config: Config, again: Again, log: Log) -> None:
        self._config = config
        self._again = again
        self._log = log
        count = workers_of(config)
        self._limits = limits_of(config, count)
        sockets = listen_everywhere(config, count)
        self._slots = [Slot(number, own) for number, own in enumerate(sockets)]
        self._table = Table(count)
        self._via = f"ogw-{secrets.token_hex(6)}".encode()
        log.policy = policy_of(config).hash
        self._selector = selectors.DefaultSelector()
        self._signals: list[int] = []
        self._started = False
        self._early_deaths = 0
        self._cut = 0
        self._stop_by = 0.0  # while it drains: when the stragglers are killed
        self._answers: dict[int, Message] = {}
        self._failed = ""
        self._watchdog = watchdog_seconds()
        self._next_sign = 0.0

    @property
    def _draining(self) -> bool:
        return self._stop_by != 0.0

    def serve(self) -> int:
        """Keep the workers running until a signal says to stop; the exit code."""
        bell, self._wakeup = socket.socketpair()
        for sock in (bell, self._wakeup):
            sock.setblocking(False)
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        for number in (*IGNORED, signal.SIGCHLD):
            signal.signal(number, lambda *_arguments: None)
        self._bell = bell
        self._selector.register(bell, selectors.EVENT_READ, None)
        gc.collect()
        gc.freeze()  # what is here is shared with the workers, and a collection would touch and so copy it
        while not self._is_over():
            now = time.monotonic()
            self._start_workers(now)
            self._give_signs_of_life(now)
            self._wait(self._until_next(now))
            self._reap()
            while self._signals:
                self._handle(self._signals.pop(0))
            if self._draining and time.monotonic() >= self._stop_by:
                self._kill_all()
        return self._leave()

    def _is_over(self) -> bool:
        return bool(self._failed) or (self._draining and not any(slot.alive for slot in self._slots))

    def _leave(self) -> int:
        if self._failed:
            self._kill_all()
            self._log.event(Event.WRONG_CONFIGURATION, self._failed)
            print(f"ogw: OGW-401 {self._failed}", file=sys.stderr)
        self._log.event(Event.SERVICE_STOPPED, f"ogw stopped; {self._cut} tunnels were cut", count=self._cut)
        self._log.close()
        signal.set_wakeup_fd(-1)
        self._selector.close()
        for sock in (self._bell, self._wakeup, *(sock for slot in self._slots for sock in slot.sockets)):
            sock.close()
        return 1 if self._failed else 0

    # Workers: their birth and their death.

    def _start_workers(self, now: float) -> None:
        for slot in self._slots:
            if not slot.alive and not self._draining and now >= slot.start_at:
                self._fork(slot)
        if not self._started and all(slot.ready for slot in self._slots):
            self._started = True
            self._say_started()

    def _fork(self, slot: Slot) -> None:
        ours, theirs = pair()
        pid = os.fork()
        if not pid:
            code = 70
            try:
                code = self._be_worker(slot, ours, theirs)
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        theirs.close()
        slot.pid, slot.channel, slot.ready, slot.pinged = pid, ours, False, 0.0
        self._selector.register(ours.sock, selectors.EVENT_READ, slot)

    def _be_worker(self, slot: Slot, ours: Channel, theirs: Channel) -> int:
        """In the child: close what is not its own, or clients would hang in queues that nobody serves."""
        signal.set_wakeup_fd(-1)
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        for other in self._slots:
            if other is not slot:
                for sock in other.sockets:
                    sock.close()
            if other.channel is not None:
                other.channel.close()
        for thing in (ours, self._bell, self._wakeup):
            thing.close()
        self._log.close()
        log = open_log(self._config, Writer)
        worker = Worker(self._config, log, slot.sockets, theirs, self._table, slot.number, self._limits, self._via)
        return worker.serve()

    def _reap(self) -> None:
        for slot in self._slots:
            if slot.alive and os.waitpid(slot.pid, os.WNOHANG)[0]:
                self._died(slot)

    def _died(self, slot: Slot) -> None:
        pid, slot.pid = slot.pid, 0  # the number may be somebody else's from now on
        self._hear(slot)  # what it said last
        self._hang_up(slot)
        was_ready, slot.ready = slot.ready, False
        lost = self._table.rows[slot.number].tunnels
        self._table.rows[slot.number].clear()
        if self._draining:
            return
        now = time.monotonic()
        slot.deaths.append(now)
        often = len(slot.deaths) == FEW_DEATHS and now - slot.deaths[0] < DEATHS_SECONDS
        slot.delay = min(LONGEST_DELAY, slot.delay * 2 or FIRST_DELAY) if often else 0.0
        slot.start_at = now + slot.delay
        self._early_deaths = 0 if was_ready else self._early_deaths + 1
        when = f"in {slot.delay:g} s" if slot.delay else "at once"
        self._log.event(
            Event.WORKER_DIED,
            f"worker {slot.number} (process {pid}) died, and {lost} tunnels with it; it is replaced {when}",
            count=lost,
        )
        if self._early_deaths >= MOST_EARLY_DEATHS:
            self._failed = (
                f"workers died {self._early_deaths} times before they were ready; see the lines above, and whether "
                "memory or another limit of the system is too small"
            )

    def _hang_up(self, slot: Slot) -> None:
        if slot.channel is not None:
            self._selector.unregister(slot.channel.sock)
            slot.channel.close()
            slot.channel = None

    def _kill(self, slot: Slot) -> None:
        if slot.alive:
            os.kill(slot.pid, signal.SIGKILL)
            os.waitpid(slot.pid, 0)
            self._died(slot)

    def _kill_all(self) -> None:
        for slot in self._slots:
            self._cut += self._table.rows[slot.number].tunnels
            self._kill(slot)

    def _say_started(self) -> None:
        places = [_place(sock) for sock in self._slots[0].sockets]
        self._log.event(
            Event.SERVICE_STARTED,
            f"ogw {__version__} listens on {', '.join(places)}",
            listen=places,
            version=__version__,
            workers=len(self._slots),
            max_tunnels=self._config.max_tunnels or self._limits.tunnels,
            descriptors=self._limits.descriptors,
        )
        for warning in self._config.warnings:
            self._log.event(Event.INFORMATION, warning, level=30)
        notify("READY=1", f"MAINPID={os.getpid()}")

    # Waiting, for what signals, workers and clocks say.

    def _until_next(self, now: float) -> Optional[float]:
        times = [slot.start_at for slot in self._slots if not slot.alive and not self._draining]
        if self._draining:
            times.append(self._stop_by)
        if self._watchdog:
            times.append(self._next_sign)
        return max(0.0, min(times) - now) if times else None

    def _wait(self, seconds: Optional[float]) -> None:
        for key, _mask in self._selector.select(seconds):
            if key.data is None:
                try:
                    self._signals += [number for number in self._bell.recv(4096) if number != signal.SIGCHLD]
                except BlockingIOError:
                    pass
            else:
                self._hear(key.data)

    def _hear(self, slot: Slot) -> None:
        if slot.channel is None:
            return
        try:
            while True:
                for message in slot.channel.receive():
                    self._heard(slot, message)
                if not self._has_more(slot.channel):
                    return
        except (EOFError, OSError, ValueError):
            # It is dead, or as good as: the child that is gone is reaped, one that lives on is not.
            self._hang_up(slot)
            if slot.alive and not self._draining:
                os.kill(slot.pid, signal.SIGKILL)

    @staticmethod
    def _has_more(channel: Channel) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(channel.sock, selectors.EVENT_READ)
            return bool(selector.select(0))

    def _heard(self, slot: Slot, message: Message) -> None:
        said = message["said"]
        if said == "ready":
            slot.ready = True
            self._early_deaths = 0
        elif said == "pong":
            slot.pinged = 0.0
        elif said in ("prepared", "taken"):
            self._answers[slot.number] = message
        elif said == "closing":
            for sock in slot.sockets:
                sock.close()
            self._tell(slot, {"order": "door closed"})
        elif said == "drained":
            self._cut += message["cut"]

    def _tell(self, slot: Slot, message: Message) -> None:
        if slot.channel is None:
            return
        try:
            slot.channel.send(message)
        except OSError:
            self._hang_up(slot)
            if slot.alive:
                os.kill(slot.pid, signal.SIGKILL)

    def _tell_all(self, message: Message) -> None:
        for slot in self._slots:
            self._tell(slot, message)

    def _give_signs_of_life(self, now: float) -> None:
        """systemd's watchdog is told only while every worker answers; one that is hung is replaced."""
        if not self._watchdog or now < self._next_sign:
            return
        self._next_sign = now + self._watchdog
        for slot in self._slots:
            if slot.pinged and now - slot.pinged > ANSWER_SECONDS:
                self._kill(slot)
            elif slot.alive and slot.ready and not slot.pinged:
                slot.pinged = now
                self._tell(slot, {"order": "ping"})
        notify("WATCHDOG=1")

    # Signals.

    def _handle(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop()
        elif number == signal.SIGHUP and not self._draining:
            self._reload()
        elif number == signal.SIGUSR1:
            self._log.reopen()
            self._tell_all({"order": "reopen"})

    def _stop(self) -> None:
        now, config = time.monotonic(), self._config
        if self._draining:
            self._stop_by = min(self._stop_by, now + END_SECONDS + STRAGGLER_SECONDS)
            self._tell_all({"order": "end"})
            return
        self._stop_by = now + config.drain_delay + config.drain_timeout + END_SECONDS + STRAGGLER_SECONDS
        notify("STOPPING=1")
        count = self._table.tunnels
        self._log.event(
            Event.DRAINING,
            f"{count} tunnels are open; they have {config.drain_timeout:g} s (drain-timeout)",
            Reason.DRAINING.token,
            count=count,
        )
        self._tell_all({"order": "drain"})

    # A reload: all or nothing.

    def _reload(self) -> None:
        reloading()
        try:
            config = self._again()
        except ConfigError as error:
            self._stays(error.mistakes)
        else:
            self._prepare(config)
        notify("READY=1")

    def _prepare(self, config: Config) -> None:
        self._ask_all({"order": "prepare", "config": packed(config)})
        mistakes = sorted({answer["mistake"] for answer in self._answers.values() if answer["mistake"]})
        if mistakes:
            self._tell_all({"order": "forget"})
            self._stays(mistakes)
            return
        before, self._config = self._config, config
        self._kill_unanswered()
        # Who reads that it was reloaded must not meet a worker that has not heard of it yet.
        self._ask_all({"order": "take", "recheck": config.reload_rechecks_tunnels == "yes"})
        self._kill_unanswered()
        self._tell_of_reload(before)

    def _ask_all(self, message: Message) -> None:
        """Tell all workers, and wait until each that lives has answered, or its time is over."""
        self._answers.clear()
        self._tell_all(message)
        until = time.monotonic() + ANSWER_SECONDS
        while self._unanswered() and time.monotonic() < until:
            self._wait(until - time.monotonic())
            self._reap()

    def _kill_unanswered(self) -> None:
        for slot in self._unanswered():
            self._kill(slot)  # it is hung; its replacement begins with the new configuration

    def _unanswered(self) -> list[Slot]:
        return [slot for slot in self._slots if slot.alive and slot.number not in self._answers]

    def _stays(self, mistakes: Any) -> None:
        for mistake in mistakes:
            self._log.event(
                Event.WRONG_CONFIGURATION, f"{mistake}; nothing was reloaded, the running configuration stays"
            )

    def _tell_of_reload(self, before: Config) -> None:
        config = self._config
        old, self._log.policy = self._log.policy, policy_of(config).hash
        self._log.set_level(config.log_level)
        changed = [
            name
            for name, setting in SETTINGS.items()
            if getattr(before, setting.attribute) != getattr(config, setting.attribute)
        ]
        self._log.event(
            Event.CONFIGURATION_RELOADED,
            f"changed: {', '.join(changed)}" if changed else "nothing changed",
            old_policy=old,
            changed=changed,
        )
        for name in changed:
            if name in NEEDS_RESTART:
                self._log.event(Event.INFORMATION, f"{name} changed; that needs a restart of the gateway", level=30)
        for warning in config.warnings:
            self._log.event(Event.INFORMATION, warning, level=30)


def _place(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
