"""The process that owns the listening sockets, starts and replaces its children, and passes orders on to them.

Its children are the workers and the admin process (service/births.py). It imports all that they need before it forks,
and makes neither a hub nor a thread: a replacement is ready at once, and has the same version of everything even if the
package was upgraded underneath.
"""

import gc
import logging
import math
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Optional

from ogw.policy.decision import Reason
from ogw.report.events import Event
from ogw.report.log import Log, one_line
from ogw.report.metrics import (
    ALIVE,
    DRAINING,
    READY_WORKERS,
    SILENT_WORKERS,
    STARTED,
)
from ogw.report.standard import say
from ogw.report.table import Table
from ogw.report.writers import Direct
from ogw.service import fd_store
from ogw.service.admin.sockets import open_sockets
from ogw.service.births import Births
from ogw.service.child import Child
from ogw.service.children import Children
from ogw.service.deaths import Deaths
from ogw.service.limits import StartError, limits_of, workers_of
from ogw.service.listener import ListenError, listen_everywhere
from ogw.service.log import open_log
from ogw.service.messages import (
    Answered,
    AskSupervisor,
    Closing,
    DoorClosed,
    Drain,
    Drained,
    DrainNow,
    End,
    NotAnswered,
    NoteChange,
    Pong,
    Prepared,
    Question,
    Ready,
    ReloadNow,
    Reopen,
    Saying,
    ShowConfig,
    ShowMistakes,
    Taken,
)
from ogw.service.notices import Notices
from ogw.service.notify import notify, reloading, tell_of_mistakes, watchdog_seconds
from ogw.service.questions import Questions
from ogw.service.refresh import Refresh
from ogw.service.reload import InForce
from ogw.service.signals import SIGNALS
from ogw.service.signs import Signs, silent
from ogw.service.standing import Standing
from ogw.service.wishes import Wish, Wishes
from ogw.service.worker import END_SECONDS
from ogw.settings.settings import Config

ANSWER_SECONDS = 30.0  # at a reload, for which somebody waits, a worker may be silent for no longer
ALIVE_SECONDS = 5.0  # between the supervisor's own signs of life, for whoever asks about health
REST_SECONDS = 0.5  # after an error of the system that nobody foresaw
DRAINS = "the gateway is draining"
MOST_MISTAKES, LONGEST_MISTAKE = 20, 1000  # of a refused reload that are shown; characters of each
LEAVE_SECONDS = 2.0  # what the last processes have to be gone once they were killed
STRAGGLER_SECONDS = 5.0  # what a worker has to leave, once its own time for the drain is over

Again = Callable[[Config], Config]


def run(config: Config, again: Again) -> int:
    """Serve until a signal says to stop; the exit code. Everything that can be wrong at start is one line.

    again  reads the configuration anew, for a reload, given the one in force
    """
    left, closed = fd_store.take(config)
    try:
        log = open_log(config, Direct)
    except OSError as error:
        return _cannot_start(f"the log cannot be written: {error.filename or config.syslog}: {error.strerror}")
    for sentence in closed:
        log.event(Event.INFORMATION, sentence, level=logging.WARNING)
    try:
        supervisor = Supervisor(config, again, log, left)
    except (StartError, ListenError, OSError, MemoryError) as error:
        tell_of_mistakes([str(error)])
        log.event(Event.WRONG_CONFIGURATION, str(error))
        if not sys.stdout.isatty() or config.log_file or config.syslog:
            say(f"ogw: OGW-401 {error}", sys.stderr)
        return 2
    try:
        return supervisor.serve()
    except Exception as error:
        # The workers notice the end of their channel, close the door and leave.
        trace = "".join(traceback.format_exception(error))
        log.event(Event.ERROR, f"{type(error).__name__}: {error}; this is an error of the gateway", traceback=trace)
        say(f"ogw: OGW-400 {type(error).__name__}: {error}; please report it with the log", sys.stderr)
        return 70


def _cannot_start(message: str) -> int:
    tell_of_mistakes([message])
    say(f"ogw: OGW-401 {message}", sys.stderr)
    if not sys.stdout.isatty():
        say(one_line(Event.WRONG_CONFIGURATION, message), sys.stdout)
    return 2


class Supervisor:
    """Owns its children and the control channels to them.

    left  listening sockets of the one before
    """

    def __init__(self, config: Config, again: Again, log: Log, left: Sequence[socket.socket] = ()) -> None:
        self._log = log
        count = workers_of(config)
        limits = limits_of(config, count)
        sockets = listen_everywhere(config, count, left)
        self._admin_sockets = open_sockets(config)
        every = [*(sock for own in sockets for sock in own), *self._admin_sockets.all]
        own_places = sorted({sock.getsockname()[:2] for sock in every if sock.family != socket.AF_UNIX})
        self._table = Table(count)
        self._state = self._table.gateway.cells
        log.count_in(self._state)
        self._in_force = InForce(config, log, self._state, limits)
        self._notices = Notices(log, self._table, config)
        self._standing = Standing(self._table)
        births = Births(self._in_force, log, self._table, limits, own_places, self._admin_sockets)
        self._selector = selectors.DefaultSelector()
        workers = [
            Child(f"worker {number}", births.be_worker, own, self._table.rows[number])
            for number, own in enumerate(sockets)
        ]
        admin_process = Child("admin", births.be_admin, self._admin_sockets.all)
        self._children = Children(
            workers,
            admin_process,
            self._selector,
            births.leave_behind,
            self._heard,
            self._mourn,
            self._notices.tell_of_start,
            births.fail,
        )
        self._deaths = Deaths(log, self._table, self._children)
        self._signs = Signs(self._children, config.hung_timeout)
        self._questions = Questions(self._children)
        self._refresh: Optional[Refresh] = None  # from the start on, until it drains
        self._unanswered: list[AskSupervisor] = []  # of the admin process
        self._wishes = Wishes(
            self._children,
            log,
            lambda: again(self._config),
            self._reload_begins,
            self._in_force.take,
            self._reload_ended,
        )
        self._stop_by = 0.0  # while it drains: when the stragglers are killed
        self._watchdog = watchdog_seconds()
        self._next_sign = 0.0
        SIGNALS.keep()
        self._selector.register(SIGNALS.listen(), selectors.EVENT_READ, lambda _mask: SIGNALS.drain())

    @property
    def _config(self) -> Config:
        return self._in_force.config

    @property
    def _draining(self) -> bool:
        return self._stop_by != 0.0

    def serve(self) -> int:
        """Keep the workers running until a signal says to stop; the exit code."""
        gc.collect()
        gc.freeze()  # what is here is shared with the workers, and a collection would touch and so copy it
        self._state[ALIVE] = int(time.monotonic())
        self._hear_signals()  # one that came while we started: after a stop no worker is started at all
        while not self._is_over():
            try:
                self._turn()
            except (OSError, MemoryError) as error:
                self._survive(error)
        return self._leave()

    def _turn(self) -> None:
        """Wait for what signals, children and clocks say, and do it.

        An error of the system may end it at any step; what was left out comes in the next turn.
        """
        now = time.monotonic()
        children = self._children
        # Before the wait, what the last turn has changed: whoever died in it is replaced at once, since clients wait in
        # its queue already; and health and readiness are read from cells that must not be older than the wait.
        children.start_due(now)
        self._see_who_is_ready(now)
        self._give_signs_of_life(now)
        self._notices.work(now)
        children.wait(self._until_next(now))
        # Signs of life are missed only now that all was heard that lay in the channels: where the supervisor itself was
        # late, the answers are there.
        self._signs.work(time.monotonic())
        children.reap()
        # Signals before questions: a stop refuses the reloads that were asked for meanwhile, instead of beginning one.
        self._hear_signals()
        while self._unanswered:
            self._answer(*self._unanswered.pop(0))
        # A reload begins after everything that may wish for one, so that all of it is granted by one; and goes on after
        # the deaths, so that nobody is waited for who is gone.
        if self._refresh is not None and self._refresh.work(time.monotonic()):
            self._wishes.add(Wish())
        self._wishes.go_on()
        self._questions.give_up_late_ones(time.monotonic())
        if self._draining and time.monotonic() >= self._stop_by:
            self._kill_workers()

    def _survive(self, error: BaseException) -> None:
        """The system refused something: workers and tunnels go on, and so do we, after a rest."""
        self._notices.tell_of_trouble(error)
        time.sleep(REST_SECONDS)

    def _is_over(self) -> bool:
        if not self._draining:
            return bool(self._deaths.failed)
        late = time.monotonic() >= self._stop_by + LEAVE_SECONDS  # killed, and still there: it waits for a disk
        return bool(self._deaths.failed) or late or not any(worker.alive for worker in self._children.workers)

    def _leave(self) -> int:
        self._children.replaces = False
        failed = self._deaths.failed
        if failed:
            fd_store.release()
            self._kill_workers()
            self._log.event(Event.WRONG_CONFIGURATION, failed)
            say(f"ogw: OGW-401 {failed}", sys.stderr)
        self._children.end(self._children.admin)  # it holds nothing that could be lost
        self._children.wait_for_end(LEAVE_SECONDS)
        cut = self._deaths.cut
        self._log.event(Event.SERVICE_STOPPED, f"ogw stopped; {cut} tunnels were cut", count=cut)
        try:
            self._admin_sockets.close()
            self._log.close()
            SIGNALS.close()
            self._selector.close()
            for sock in (sock for child in self._children.all for sock in child.sockets):
                sock.close()
        except OSError:
            pass  # all of it ends with the process
        return 1 if failed else 0

    # Children: their birth and their death.

    def _see_who_is_ready(self, now: float) -> None:
        workers, admin_process = self._children.workers, self._children.admin
        self._state[READY_WORKERS] = sum(worker.answers for worker in workers)
        self._state[SILENT_WORKERS] = silent(workers)
        admin_had_its_time = admin_process.ready or admin_process.has_died or admin_process.tries
        if not self._state[STARTED.cell] and self._state[READY_WORKERS] == len(workers) and admin_had_its_time:
            STARTED.mark(self._state)
            self._say_started()
        if self._state[READY_WORKERS] and not self._draining:
            for worker in workers:
                if worker.is_forsaken(now):
                    worker.close_queue()

    def _mourn(self, child: Child, pid: int, was_ready: bool) -> None:
        self._signs.forget(child)
        self._questions.forget(child)
        self._deaths.mourn(child, pid, was_ready, self._signs.seconds)

    def _kill_workers(self) -> None:
        for worker in self._children.workers:
            self._children.end(worker)

    def _say_started(self) -> None:
        self._notices.say_started(self._children.workers[0].sockets, self._admin_sockets)
        notify("READY=1", f"MAINPID={os.getpid()}")
        self._keep_door()
        self._refresh = Refresh(self._config, self._log, self._children.start_aside)

    def _keep_door(self) -> None:
        if not self._draining:
            fd_store.keep([sock for worker in self._children.workers for sock in worker.sockets])

    # Waiting, for what signals, workers and clocks say.

    def _until_next(self, now: float) -> float:
        if SIGNALS.waiting or self._unanswered or self._wishes.waiting:
            return 0.0
        times = [now + ALIVE_SECONDS, self._notices.next_time(now), self._signs.next_time()]
        times += self._children.next_start()
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
                    self._deaths.became_ready(child)
                if self._state[STARTED.cell]:
                    self._keep_door()  # systemd forgets a queue that was closed for as long as nobody served it
            case Prepared() | Taken():
                self._wishes.heard(child, saying)
            case Answered() | NotAnswered():
                self._questions.answered(child, saying)
            case AskSupervisor():
                self._unanswered.append(saying)
            case Closing():
                for sock in child.sockets:
                    sock.close()
                self._children.tell(child, DoorClosed())
            case Drained():
                self._deaths.drained(child, saying.cut)

    def _give_signs_of_life(self, now: float) -> None:
        """The supervisor's own: for whoever asks about health, and for systemd's watchdog."""
        self._state[ALIVE] = int(now)
        if self._state[STARTED.cell]:
            self._standing.work(now, self._in_force.mistakes)
        if self._watchdog and now >= self._next_sign:
            self._next_sign = now + self._watchdog
            notify("WATCHDOG=1")

    # What the admin process asks.

    def _answer(self, number: int, question: Question) -> None:
        match question:
            case ReloadNow() if self._draining:
                self._questions.reply(number, {"mistakes": [DRAINS], "changed": [], "policy": self._log.policy})
            case ReloadNow():
                self._wishes.add(Wish(by_hand=True, question=number))
            case DrainNow():
                self._questions.reply(number, {})
                self._stop()
            case NoteChange(change):
                self._log.event(Event.INFORMATION, "the configuration was changed", **change)
                self._questions.reply(number, {})
            case ShowMistakes():
                first = [mistake[:LONGEST_MISTAKE] for mistake in self._in_force.mistakes[:MOST_MISTAKES]]
                self._questions.reply(number, {"mistakes": first, "count": len(self._in_force.mistakes)})
            case ShowConfig():
                shown = {name: [list(given) for given in rows] for name, rows in self._config.origins.items()}
                self._questions.reply(number, {"settings": shown, "warnings": self._config.warnings})
            case _:
                self._questions.ask_workers(number, question)

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
        fd_store.release()
        notify("STOPPING=1", f"EXTEND_TIMEOUT_USEC={math.ceil((self._stop_by + LEAVE_SECONDS - now) * 1e6)}")
        self._standing.tell(())
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

    def _reload_ended(self, mistakes: list[str], wishes: list[Wish]) -> None:
        self._signs.set_seconds(self._config.hung_timeout)
        changed: list[str] = []
        if mistakes:
            self._in_force.tell_of_mistakes(mistakes)
        else:
            changed = self._in_force.announce()
            self._notices.take(self._config)
            if self._refresh is not None:
                self._refresh.take(self._config)
        if self._refresh is not None and any(wish.by_hand for wish in wishes):
            self._refresh.ask_now()
        self._standing.tell(self._in_force.mistakes)
        notify("READY=1")
        answer = {"mistakes": mistakes, "changed": changed, "policy": self._log.policy}
        for wish in wishes:
            if wish.question is not None:
                self._questions.reply(wish.question, answer)
