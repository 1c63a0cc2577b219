"""The process that owns the listening sockets, starts and replaces its children, and passes orders on to them.

Its children are the workers and the admin process. It imports all that they need before it forks, and makes neither a
hub nor a thread: a replacement is ready at once, and has the same version of everything even if the package was
upgraded underneath.
"""

import gc
import logging
import math
import os
import secrets
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, Optional

from ogw import __version__
from ogw.policy.decision import Reason
from ogw.report.events import Event
from ogw.report.log import Log, one_line, timestamp
from ogw.report.metrics import (
    ALIVE,
    CLOSED,
    DEATHS,
    DRAINING,
    MOST_DESCRIPTORS,
    MOST_TUNNELS,
    POLICY,
    READY_WORKERS,
    RELAYS,
    RELOADED,
    RELOADS_REFUSED,
    RELOADS_TAKEN,
    REPORT_UNTIL,
    SILENT_WORKERS,
    STARTED,
)
from ogw.report.sinks import open_sink
from ogw.report.standard import say
from ogw.report.table import Table
from ogw.report.uncaught import report_uncaught_errors
from ogw.report.writers import Direct
from ogw.service.admin import process as admin
from ogw.service.admin.exposition import four_counters, passed
from ogw.service.admin.questions import Questions
from ogw.service.admin.sockets import open_sockets
from ogw.service.children import Child, Children
from ogw.service.control import Channel, TooLarge
from ogw.service.limits import StartError, limits_of, workers_of
from ogw.service.listener import ListenError, listen_everywhere
from ogw.service.messages import (
    Answer,
    AskSupervisor,
    Closing,
    DoorClosed,
    Drain,
    Drained,
    DrainNow,
    End,
    ForWorkers,
    NoAnswer,
    NoReply,
    NoteChange,
    Pong,
    Prepared,
    Question,
    Ready,
    ReloadNow,
    Reopen,
    Reply,
    Saying,
    ShowConfig,
    Taken,
)
from ogw.service.notify import notify, reloading, watchdog_seconds
from ogw.service.refresh import Refresh
from ogw.service.reload import tell_of_change, tell_of_mistakes
from ogw.service.signals import SIGNALS
from ogw.service.signs import Signs, silent
from ogw.service.wishes import Outcome, Wish, Wishes
from ogw.service.worker import END_SECONDS, IGNORED, Worker
from ogw.settings.policy import policy_of
from ogw.settings.settings import Config

ANSWER_SECONDS = 30.0  # at a reload, for which somebody waits, a worker may be silent for no longer
ALIVE_SECONDS = 5.0  # between the supervisor's own signs of life, for whoever asks about health
REST_SECONDS = 0.5  # after an error of the system that nobody foresaw
REPEAT_SECONDS = 60.0  # what fails again and again is one line and a count
DRAINS = "the gateway is draining"
LEAVE_SECONDS = 2.0  # what the last processes have to be gone once they were killed
MOST_EARLY_DEATHS = 5  # of workers that never were ready, one after another: then it makes no sense
MODE_SECONDS = 3600.0  # between two lines that say that the policy only reports
TELL_SECONDS = 1.0  # between two tries to tell of lost log lines, which may not be taken yet
STRAGGLER_SECONDS = 5.0  # what a worker has to leave, once its own time for the drain is over

Again = Callable[[Config], Config]


def run(config: Config, again: Again) -> int:
    """Serve until a signal says to stop; the exit code. Everything that can be wrong at start is one line.

    again  reads the configuration anew, for a reload, given the one in force
    """
    try:
        log = open_log(config, Direct)
    except OSError as error:
        return _cannot_start(f"the log cannot be written: {error.filename or config.syslog}: {error.strerror}")
    try:
        supervisor = Supervisor(config, again, log)
    except (StartError, ListenError, OSError, MemoryError) as error:
        log.event(Event.WRONG_CONFIGURATION, str(error))
        if not sys.stdout.isatty() or config.log_file or config.syslog:
            say(f"ogw: OGW-401 {error}", sys.stderr)
        return 2
    try:
        return supervisor.serve()
    except Exception as error:
        # The workers notice the end of their channel, close the door and leave.
        told = "".join(traceback.format_exception(error))
        log.event(Event.ERROR, f"{type(error).__name__}: {error}; this is an error of the gateway", traceback=told)
        say(f"ogw: OGW-400 {type(error).__name__}: {error}; please report it with the log", sys.stderr)
        return 70


def _cannot_start(message: str) -> int:
    say(f"ogw: OGW-401 {message}", sys.stderr)
    if not sys.stdout.isatty():
        say(one_line(Event.WRONG_CONFIGURATION, message), sys.stdout)
    return 2


def open_log(config: Config, writer: Callable[[Any], Any]) -> Log:
    """The log that the settings ask for. Raises OSError."""
    on_terminal = sys.stdout.isatty() and not config.log_file and not config.syslog
    text = config.log_format == "text" or (config.log_format == "auto" and on_terminal)
    return Log(writer(open_sink(config.log_file, config.syslog)), text, config.log_level)


class Supervisor:
    """Owns its children and the control channels to them."""

    def __init__(self, config: Config, again: Again, log: Log) -> None:
        self._config = config
        self._log = log
        count = workers_of(config)
        self._limits = limits_of(config, count)
        sockets = listen_everywhere(config, count)
        self._admin_sockets = open_sockets(config)
        every = [*(sock for own in sockets for sock in own), *self._admin_sockets.all]
        self._own = sorted({sock.getsockname()[:2] for sock in every if sock.family != socket.AF_UNIX})
        self._table = Table(count)
        self._state = self._table.gateway.cells
        log.count_in(self._state)
        self._selector = selectors.DefaultSelector()
        workers = [
            Child(f"worker {number}", self._be_worker, own, self._table.rows[number])
            for number, own in enumerate(sockets)
        ]
        admin_process = Child("admin", self._be_admin, self._admin_sockets.all)
        self._children = Children(
            workers,
            admin_process,
            self._selector,
            self._leave_behind,
            self._heard,
            self._mourn,
            self._tell_of_start,
            self._fail,
        )
        self._signs = Signs(self._children, config.hung_timeout)
        self._questions = Questions(self._children.tell)
        self._refresh: Optional[Refresh] = None  # from the start on, until it drains
        self._via = f"ogw-{secrets.token_hex(6)}".encode()
        self._asked: list[AskSupervisor] = []  # by the admin process
        self._before = config  # the last reload
        self._wishes = Wishes(
            self._children,
            log,
            lambda: again(self._config),
            self._reload_begins,
            self._put_in_force,
            self._reload_ended,
        )
        self._trouble = 0  # errors that were not told yet
        self._trouble_told = -math.inf
        self._early_deaths = 0
        self._cut = 0
        self._drained: set[Child] = set()  # they said themselves what they cut
        self._stop_by = 0.0  # while it drains: when the stragglers are killed
        self._failed = ""
        self._watchdog = watchdog_seconds()
        self._next_sign = 0.0
        self._next_report = time.monotonic() + config.log_interval
        self._next_mode_report = math.inf  # while the policy only reports, in seconds of the monotonic clock
        SIGNALS.keep()
        self._selector.register(SIGNALS.listen(), selectors.EVENT_READ, lambda _mask: SIGNALS.drain())
        self._take_policy()

    def _take_policy(self) -> None:
        self._log.policy = policy_of(self._config).hash
        self._state[POLICY] = int(self._log.policy, 16)
        self._state[MOST_TUNNELS] = self._config.max_tunnels or self._limits.tunnels
        self._state[MOST_DESCRIPTORS] = self._limits.descriptors
        self._state[RELAYS] = len(self._config.relay_proxy)
        self._state[REPORT_UNTIL] = math.ceil(self._config.reports_until or 0)

    @property
    def _draining(self) -> bool:
        return self._stop_by != 0.0

    def serve(self) -> int:
        """Keep the workers running until a signal says to stop; the exit code."""
        gc.collect()
        gc.freeze()  # what is here is shared with the workers, and a collection would touch and so copy it
        self._state[ALIVE] = int(time.monotonic())
        self._hear_signals()  # one that came while we started
        while not self._is_over():
            try:
                self._turn()
            except (OSError, MemoryError) as error:
                self._survive(error)
        return self._leave()

    def _turn(self) -> None:
        """Wait for what signals, children and clocks say, and do it."""
        now = time.monotonic()
        children = self._children
        children.start_due(now)
        self._see_who_is_ready(now)
        self._give_signs_of_life(now)
        self._report(now)
        if now >= self._next_mode_report:
            self._tell_of_mode()
        self._log.report_lost()
        children.wait(self._until_next(now))
        self._signs.work(time.monotonic())
        children.reap()
        self._hear_signals()
        while self._asked:
            self._answer(*self._asked.pop(0))
        if self._refresh is not None and self._refresh.work(time.monotonic()):
            self._wishes.add(Wish())
        self._wishes.go_on()
        self._questions.give_up_late_ones(time.monotonic())
        if self._draining and time.monotonic() >= self._stop_by:
            self._kill_workers()

    def _survive(self, error: BaseException) -> None:
        """The system refused something: workers and tunnels go on, and so do we, after a rest."""
        self._trouble += 1
        if time.monotonic() - self._trouble_told >= REPEAT_SECONDS:
            message = f"{type(error).__name__}: {error} in the supervisor, which goes on; {self._trouble} times"
            told = "".join(traceback.format_exception(error))
            self._log.event(Event.ERROR, message, Reason.INTERNAL_ERROR.token, count=self._trouble, traceback=told)
            self._trouble, self._trouble_told = 0, time.monotonic()
        time.sleep(REST_SECONDS)

    def _is_over(self) -> bool:
        if not self._draining:
            return bool(self._failed)
        late = time.monotonic() >= self._stop_by + LEAVE_SECONDS  # killed, and still there: it waits for a disk
        return bool(self._failed) or late or not any(worker.alive for worker in self._children.workers)

    def _leave(self) -> int:
        self._children.replaces = False
        if self._failed:
            self._kill_workers()
            self._log.event(Event.WRONG_CONFIGURATION, self._failed)
            say(f"ogw: OGW-401 {self._failed}", sys.stderr)
        self._children.end(self._children.admin)  # it holds nothing that could be lost
        self._children.wait_for_end(LEAVE_SECONDS)
        self._log.event(Event.SERVICE_STOPPED, f"ogw stopped; {self._cut} tunnels were cut", count=self._cut)
        try:
            self._admin_sockets.close()
            self._log.close()
            SIGNALS.close()
            self._selector.close()
            for sock in (sock for child in self._children.all for sock in child.sockets):
                sock.close()
        except OSError:
            pass  # all of it ends with the process
        return 1 if self._failed else 0

    # Children: their birth and their death.

    def _see_who_is_ready(self, now: float) -> None:
        workers, admin_process = self._children.workers, self._children.admin
        self._state[READY_WORKERS] = sum(worker.answers for worker in workers)
        self._state[SILENT_WORKERS] = silent(workers)
        admin_had_its_time = admin_process.ready or admin_process.has_died or admin_process.tries
        if not self._state[STARTED.cell] and self._state[READY_WORKERS] == len(workers) and admin_had_its_time:
            STARTED.is_now(self._state)
            self._say_started()
        if self._state[READY_WORKERS] and not self._draining:
            for worker in workers:
                if worker.is_forsaken(now):
                    worker.close_queue()

    def _leave_behind(self) -> None:
        """In a child."""
        SIGNALS.close()
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._log.leave_behind()

    def _fail(self, name: str, error: BaseException) -> None:
        """In a child that ends by an error."""
        message = f"{name}: {type(error).__name__}: {error}; it ends"
        told = "".join(traceback.format_exception(error))
        try:
            open_log(self._config, Direct).event(Event.ERROR, message, Reason.INTERNAL_ERROR.token, traceback=told)
        except OSError:
            say(f"ogw: OGW-400 {message}", sys.stderr)

    def _be_worker(self, child: Child, channel: Channel) -> int:
        assert child.row is not None
        log = self._log.in_child(child.row.cells)
        report_uncaught_errors(log)
        return Worker(
            self._config, log, child.sockets, channel, self._table, child.row, self._limits, self._via, self._own
        ).serve()

    def _be_admin(self, child: Child, channel: Channel) -> int:
        log = self._log.in_child(self._table.admin.cells)
        report_uncaught_errors(log)
        return admin.serve(channel, self._admin_sockets, self._table, self._config, log)

    def _mourn(self, child: Child, pid: int, was_ready: bool) -> None:
        self._signs.forget(child)
        self._questions.forget(child)
        lost = 0
        what = f"{child.name} (process {pid}) died"
        if child.hung is not None:
            what = f"{child.name} (process {pid}) gave no sign of life for {self._signs.seconds:g} s and was killed"
        if child.row is not None:
            lost = child.row.tunnels
            self._state[CLOSED + Reason.WORKER_DIED.index] += lost
            child.row.clear()
            what += f", and {lost} tunnels with it"
            self._early_deaths = 0 if was_ready else self._early_deaths + 1
        self._log.take_over((self._table.admin if child.row is None else child.row).cells)
        if not self._children.replaces:
            self._cut += 0 if child in self._drained else lost
            for sock in child.sockets:
                sock.close()  # who waits in its queue is not to wait for nobody
            return
        self._state[DEATHS] += 1
        when = f"in {child.delay:g} s" if child.delay else "at once"
        self._log.event(Event.WORKER_DIED, f"{what}; it is replaced {when}", count=lost, traceback=child.hung or None)
        if self._early_deaths >= MOST_EARLY_DEATHS and not any(worker.ready for worker in self._children.workers):
            self._failed = (
                f"workers died {self._early_deaths} times before they were ready; see the lines above, and whether "
                "memory or another limit of the system is too small"
            )

    def _tell_of_start(self, child: Child, error: Optional[BaseException]) -> None:
        """A child could not be started, or, once it was told, it could."""
        if error is None:
            self._log.event(
                Event.INFORMATION, f"{child.name} was started, after {child.tries} tries that failed", count=child.tries
            )
        elif child.tries == 1:
            why = error.strerror if isinstance(error, OSError) else "there is no memory"
            self._log.event(
                Event.LIMIT_REACHED,
                f"{child.name} cannot be started: {why}; it is tried again and again, and what runs goes on; raise the "
                "limit of processes or open files (TasksMax=, LimitNPROC=, LimitNOFILE=, a container's pids limit)",
                level=logging.ERROR,
            )

    def _kill_workers(self) -> None:
        for worker in self._children.workers:
            self._children.end(worker)

    def _say_started(self) -> None:
        places = [_place(sock) for sock in self._children.workers[0].sockets]
        self._log.event(
            Event.SERVICE_STARTED,
            f"ogw {__version__} listens on {', '.join(places)}",
            listen=places,
            version=__version__,
            workers=len(self._children.workers),
            admin=self._admin_sockets.place or None,
            max_tunnels=self._state[MOST_TUNNELS],
            descriptors=self._limits.descriptors,
        )
        for warning in (*self._config.warnings, *self._admin_sockets.warnings):
            self._log.event(Event.INFORMATION, warning, level=logging.WARNING)
        self._tell_of_mode()
        notify("READY=1", f"MAINPID={os.getpid()}")
        self._refresh = Refresh(self._config, self._log, self._children.start_aside)

    def _report(self, now: float) -> None:
        """The original's four counters, for those who collect only lines."""
        if now < self._next_report:
            return
        self._next_report = now + self._config.log_interval
        counted = four_counters(self._table)
        self._log.event(
            Event.INFORMATION,
            f"{counted['tunnels']} tunnels of {counted['clients']} clients are open; since the start "
            f"{counted['errors']} errors and {counted['tls_rejections']} rejections by the TLS rules",
            **counted,
        )

    def _tell_of_mode(self) -> None:
        """While the policy only reports: at the start, at a reload and every hour, so that nobody forgets it."""
        until, count = self._config.reports_until or 0.0, passed(self._table)
        left = until - time.time()
        if left > 0:
            self._log.event(
                Event.INFORMATION,
                f"policy-mode = report until {timestamp(until)}: what no rule allows passes; would have been refused "
                f"so far: {count}; `ogw suggest` makes rules of them",
                level=logging.WARNING,
                until=timestamp(until),
                count=count,
            )
            self._next_mode_report = time.monotonic() + min(MODE_SECONDS, left)
        else:
            if self._next_mode_report < math.inf:
                told = f"policy-mode = report is over, the policy is enforced; would have been refused: {count}"
                self._log.event(Event.INFORMATION, told, level=logging.WARNING, count=count)
            self._next_mode_report = math.inf

    # Waiting, for what signals, workers and clocks say.

    def _until_next(self, now: float) -> float:
        if SIGNALS.waiting or self._asked or self._wishes.waiting:
            return 0.0
        times = [now + ALIVE_SECONDS, self._next_report, self._next_mode_report, self._signs.next_time()]
        times += self._children.next_start()
        if self._log.untold:
            times.append(now + TELL_SECONDS)
        if self._draining:
            times.append(self._stop_by if now < self._stop_by else self._stop_by + LEAVE_SECONDS)
        if self._refresh is not None and (due := self._refresh.next_time()) is not None:
            times.append(due)
        if self._watchdog:
            times.append(self._next_sign)
        if self._wishes.running is not None:
            times.append(self._wishes.running.next_time())
        deadline = self._questions.next_deadline()
        if deadline is not None:
            times.append(deadline)
        return max(0.0, min(times) - now)

    def _heard(self, child: Child, saying: Saying) -> None:
        self._signs.came(child)
        match saying:
            case Pong():
                pass
            case Ready():
                child.ready = True
                if child is not self._children.admin:
                    self._early_deaths = 0
            case Prepared() | Taken():
                self._wishes.heard(child, saying)
            case Answer() | NoAnswer():
                self._questions.answered(child, saying)
            case AskSupervisor():
                self._asked.append(saying)
            case Closing():
                for sock in child.sockets:
                    sock.close()
                self._children.tell(child, DoorClosed())
            case Drained():
                self._cut += saying.cut
                self._drained.add(child)

    def _give_signs_of_life(self, now: float) -> None:
        """The supervisor's own: for whoever asks about health, and for systemd's watchdog."""
        self._state[ALIVE] = int(now)
        if self._watchdog and now >= self._next_sign:
            self._next_sign = now + self._watchdog
            notify("WATCHDOG=1")

    # What the admin process asks.

    def _answer(self, number: int, question: Question) -> None:
        match question:
            case ReloadNow() if self._draining:
                self._reply(number, {"mistakes": [DRAINS], "changed": [], "policy": self._log.policy})
            case ReloadNow():
                self._wishes.add(Wish(by_hand=True, question=number))
            case DrainNow():
                self._reply(number, {})
                self._stop()
            case NoteChange(change):
                self._log.event(Event.INFORMATION, "the configuration was changed", **change)
                self._reply(number, {})
            case ShowConfig():
                shown = {name: [list(given) for given in rows] for name, rows in self._config.origins.items()}
                self._reply(number, {"settings": shown, "warnings": self._config.warnings})
            case _:
                self._ask_workers(number, question)

    def _ask_workers(self, number: int, question: ForWorkers) -> None:
        workers = [worker for worker in self._children.workers if worker.alive and worker.ready]

        def reply(answers: list[Any], missing: int) -> None:
            self._reply(number, {"answers": answers, "missing": missing})

        try:
            self._questions.ask(question, workers, reply)
        except TooLarge as error:
            self._children.tell(self._children.admin, NoReply(number, f"the question is too large: {error}"))

    def _reply(self, number: int, answer: dict[str, Any]) -> None:
        admin_process = self._children.admin
        try:
            self._children.tell(admin_process, Reply(number, answer))
        except TooLarge as error:
            self._children.tell(admin_process, NoReply(number, f"the answer is too large: {error}"))

    # Signals.

    def _hear_signals(self) -> None:
        while number := SIGNALS.take():
            if number == signal.SIGTERM:
                self._stop()
            elif number == signal.SIGUSR1:
                self._children.tell_workers(Reopen())
            elif not self._draining:
                self._wishes.add(Wish(by_hand=True))

    def _stop(self) -> None:
        now, config = time.monotonic(), self._config
        if self._draining:
            self._stop_by = min(self._stop_by, now + END_SECONDS + STRAGGLER_SECONDS)
            self._children.tell_workers(End())
            return
        self._stop_by = now + config.drain_delay + config.drain_timeout + END_SECONDS + STRAGGLER_SECONDS
        self._children.replaces = False
        if self._refresh is not None:
            self._refresh.stop()
            self._refresh = None
        self._wishes.refuse(DRAINS)
        self._state[DRAINING] = 1  # not ready any more, for whoever asks
        notify("STOPPING=1")
        count = self._table.tunnels
        self._log.event(
            Event.DRAINING,
            f"{count} tunnels are open; they have {config.drain_timeout:g} s (drain-timeout)",
            Reason.DRAINING.token,
            count=count,
        )
        self._children.tell_workers(Drain())

    # A reload: all or nothing.

    def _reload_begins(self) -> None:
        reloading()
        self._signs.set_seconds(min(self._config.hung_timeout, ANSWER_SECONDS))

    def _put_in_force(self, config: Config) -> None:
        self._before, self._config = self._config, config

    def _reload_ended(self, outcome: Outcome) -> None:
        self._signs.set_seconds(self._config.hung_timeout)
        changed: list[str] = []
        if outcome.mistakes:
            self._state[RELOADS_REFUSED] += 1
            tell_of_mistakes(self._log, outcome.mistakes)
        else:
            changed = tell_of_change(self._log, self._before, self._config)
            self._take_policy()
            self._next_report = time.monotonic() + self._config.log_interval
            self._tell_of_mode()
            self._state[RELOADS_TAKEN] += 1
            RELOADED.is_now(self._state)
            if self._refresh is not None:
                self._refresh.take(self._config)
        if self._refresh is not None and any(wish.by_hand for wish in outcome.wishes):
            self._refresh.ask_now()
        notify("READY=1")
        answer = {"mistakes": outcome.mistakes, "changed": changed, "policy": self._log.policy}
        for wish in outcome.wishes:
            if wish.question is not None:
                self._reply(wish.question, answer)


def _place(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
