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
from collections.abc import Callable, Sequence
from functools import partial
from typing import Optional

from ogw.policy.decision import Reason
from ogw.report.events import Event
from ogw.report.log import Log
from ogw.report.standard import say
from ogw.report.table import Table
from ogw.service import fd_store
from ogw.service.births import Births
from ogw.service.child import Child
from ogw.service.children import Children
from ogw.service.deaths import Deaths
from ogw.service.doors import doors_of
from ogw.service.ending import LEAVE_SECONDS, Ending
from ogw.service.handover.generations import DRAINS, Generations, Parts
from ogw.service.handover.predecessor import Predecessor
from ogw.service.handover.program import Program
from ogw.service.handover.succession import CELLS
from ogw.service.limits import limits_of, workers_of
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
    RollBack,
    Saying,
    ShowConfig,
    ShowReload,
    ShowSources,
    TakeBack,
    Taken,
    TakeOut,
    UpgradeNow,
)
from ogw.service.notices import Notices
from ogw.service.notify import notify, reloading
from ogw.service.questions import Questions
from ogw.service.readiness import Readiness
from ogw.service.refresh import Refresh
from ogw.service.reload import InForce
from ogw.service.signals import SIGNALS
from ogw.service.signs import Signs
from ogw.service.standing import Standing
from ogw.service.wishes import Wish, Wishes
from ogw.settings.settings import Config
from ogw.tunnel.attempt import keep_alive

ANSWER_SECONDS = 30.0  # at a reload, for which somebody waits, a worker may be silent for no longer
REST_SECONDS = 0.5  # after an error of the system that nobody foresaw

Again = Callable[[Config], Config]


class Supervisor:
    """Owns its children and the control channels to them."""

    def __init__(
        self,
        config: Config,
        again: Again,
        log: Log,
        program: Program,
        left: Sequence[socket.socket] = (),
        predecessor: Optional[Predecessor] = None,
    ) -> None:
        """
        again        reads the configuration anew, given the one in force
        program      that a successor is started as
        left         listening sockets of one that died
        predecessor  whose successor this is, None for none
        """
        self._log = log
        count = workers_of(config)
        limits = limits_of(config, count)
        doors = doors_of(config, count, left, predecessor)
        self._admin_sockets = doors.admin
        self._table = Table(count, CELLS, predecessor.tables(CELLS, self._odd) if predecessor is not None else ())
        self._state = self._table.gateway.cells
        log.count_in(self._state)
        self._in_force = InForce(config, log, self._table, limits)
        self._notices = Notices(log, self._table, config)
        self._standing = Standing(log, self._table, config)
        self._births = births = Births(self._in_force, log, self._table, limits, doors.places, doors.admin)
        self._selector = selectors.DefaultSelector()
        workers = [
            Child(f"worker {number}", births.be_worker, own, self._table.rows[number])
            for number, own in enumerate(doors.workers)
        ]
        admin_process = Child("admin", births.be_admin, doors.admin.all)
        self._children = Children(
            workers,
            admin_process,
            self._selector,
            self._leave_behind,
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
            lambda: self._in_force.read(again),
            self._reload_begins,
            self._in_force.take,
            self._reload_ended,
        )
        self._ending = Ending(self._children)
        self._readiness = Readiness(self._children, self._table, log, self._say_started)
        parts = Parts(
            self._selector,
            log,
            self._table,
            self._children,
            births,
            self._deaths,
            self._questions,
            self._wishes,
            self._ending,
            doors.admin,
        )
        self._generations = Generations(parts, program, predecessor, self._retire, self._speak)
        self._is_stopped = False
        SIGNALS.keep()
        self._selector.register(SIGNALS.listen(), selectors.EVENT_READ, lambda _mask: SIGNALS.drain())

    @property
    def _config(self) -> Config:
        return self._in_force.config

    @property
    def _draining(self) -> bool:
        return self._ending.is_near

    def serve(self) -> int:
        """Keep the workers running until a signal says to stop; the exit code."""
        gc.collect()
        gc.freeze()  # what is here is shared with the workers, and a collection would touch and so copy it
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
        if self._readiness.has_begun:
            self._standing.work(now, self._in_force.mistakes)
        self._readiness.work(now, closes_queues=not (self._draining or self._generations.share_queues))
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
        if self._refresh is not None and self._refresh.work(time.monotonic(), self._wishes.running is not None):
            self._wishes.add(Wish())
        self._generations.work(time.monotonic())
        if self._generations.may_reload:
            self._wishes.go_on()
        self._questions.give_up_late_ones(time.monotonic())
        self._ending.work(time.monotonic())

    def _survive(self, error: BaseException) -> None:
        """The system refused something: workers and tunnels go on, and so do we, after a rest."""
        self._notices.tell_of_trouble(error)
        time.sleep(REST_SECONDS)

    def _is_over(self) -> bool:
        return bool(self._failed) or self._ending.is_over(self._generations.waits)

    @property
    def _failed(self) -> str:
        """Why it cannot go on, "" while it can."""
        return self._deaths.failed or self._generations.failed

    def _leave(self) -> int:
        self._children.replaces = False
        if failed := self._failed:
            fd_store.release()
            self._ending.kill_workers()
            self._log.event(Event.WRONG_CONFIGURATION, failed)
            say(f"ogw: OGW-401 {failed}", sys.stderr)
        self._ending.see_all_leave()
        self._generations.leave(failed)
        cut = self._deaths.cut
        if not (self._generations.on_trial or self._generations.is_retired):
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

    def _mourn(self, child: Child, pid: int, was_ready: bool) -> None:
        self._signs.forget(child)
        self._questions.forget(child)
        self._deaths.mourn(child, pid, was_ready, self._signs.seconds)

    def _leave_behind(self) -> None:
        """In a child."""
        self._generations.leave_behind()
        self._births.leave_behind()

    def _odd(self, why: str) -> None:
        self._log.event(Event.INFORMATION, why, level=logging.WARNING)

    def _say_started(self) -> None:
        self._notices.say_started(self._children.workers[0].sockets, self._admin_sockets)
        notify("READY=1", f"MAINPID={os.getpid()}")
        self._keep_door()
        self._refresh = Refresh(self._config, self._log, self._children.start_aside, self._state, self._in_force.tried)

    def _keep_door(self) -> None:
        if not self._draining:
            fd_store.keep([sock for worker in self._children.workers for sock in worker.sockets])

    def _speak(self) -> None:
        """We have the doors to ourselves, and systemd hears us by now: what it was told before it has not heard."""
        for sock in (sock for worker in self._children.workers for sock in worker.sockets):
            keep_alive(sock, self._config.tcp_keepalive)  # the one setting that a socket has of the configuration
        self._keep_door()
        self._standing.tell_anew(self._in_force.mistakes)

    # Waiting, for what signals, workers and clocks say.

    def _until_next(self, now: float) -> float:
        if SIGNALS.waiting or self._unanswered or (self._wishes.waiting and self._generations.may_reload):
            return 0.0
        times = [self._notices.next_time(now), self._signs.next_time(), *self._readiness.next_times(now)]
        times += [self._standing.next_look()] if self._readiness.has_begun else []
        times += [*self._children.next_start(), *self._ending.next_times(now), *self._generations.next_times()]
        if self._refresh is not None and (due := self._refresh.next_time()) is not None:
            times.append(due)
        if self._wishes.running is not None:
            times.append(self._wishes.running.next_time())
        if (deadline := self._questions.next_deadline()) is not None:
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
                if self._readiness.has_begun:
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

    # What the admin process asks.

    def _answer(self, number: int, question: Question) -> None:
        reply = partial(self._questions.reply, number)
        match question:
            case ReloadNow() if self._draining:
                reply({"mistakes": [DRAINS], "changed": [], "policy": self._log.policy})
            case ReloadNow():
                self._wishes.add(Wish(by_hand=True, reply=reply))
            case DrainNow():
                self._stop()
                reply({"serves_on": self._readiness.serves_on})
            case TakeOut() | TakeBack():
                reply(self._readiness.take(question, self._generations.hands_over, self._draining))
                self._standing.tell(self._in_force.mistakes)
            case UpgradeNow(now):
                self._generations.upgrade(self._readiness.has_begun, number, now)
            case NoteChange(change):
                self._log.event(Event.INFORMATION, "the configuration was changed", **change)
                reply({})
            case RollBack(source, undo, by):
                if why := DRAINS if self._refresh is None else self._refresh.roll_back(source, undo, by):
                    reply({"why": why})
                else:
                    self._wishes.add(Wish(by_hand=True, reply=reply))
            case ShowSources():
                reply({"sources": self._refresh.sources.rows() if self._refresh is not None else []})
            case ShowReload():
                reply(self._in_force.shown_reload())
            case ShowConfig():
                reply(self._in_force.shown_settings())
            case _:
                self._questions.ask_workers(number, question)

    # Signals.

    def _hear_signals(self) -> None:
        while number := SIGNALS.take():
            if number == signal.SIGUSR1:
                self._children.tell_workers(Reopen())
            elif self._generations.is_told or (self._generations.on_trial and number == signal.SIGUSR2):
                continue  # it may have reached the whole group; what concerns us, too, the other one says
            elif number == signal.SIGTERM:
                self._stop()
            elif number == signal.SIGUSR2:
                self._generations.upgrade(self._readiness.has_begun)
            elif not self._draining:
                self._wishes.add(Wish(by_hand=True))

    def _stop(self) -> None:
        if self._generations.on_trial:
            self._ending.within(0.0)
            self._ending.kill_workers()
        elif self._is_stopped:
            self._ending.within(0.0)
            self._readiness.end_delay()
            self._children.tell_workers(End())
            self._generations.end_now()
        elif self._generations.is_retired:
            self._generations.stop_alone(self._config.drain_timeout)
        else:
            self._drain()
        self._is_stopped = True

    def _drain(self) -> None:
        delay, timeout = self._readiness.delay(self._config), self._config.drain_timeout
        self._ending.within(delay + timeout)
        self._children.replaces = False
        self._stop_refreshing()
        self._wishes.refuse(DRAINS)
        self._readiness.begin_drain(delay)
        fd_store.release()
        until = self._ending.by + LEAVE_SECONDS - time.monotonic()
        notify("STOPPING=1", f"EXTEND_TIMEOUT_USEC={math.ceil(until * 1e6)}")
        self._standing.tell(())
        count = self._table.tunnels
        before = f"; {delay:g} s before, only readiness says no (drain-delay)" if delay else ""
        self._log.event(
            Event.DRAINING,
            f"{count} tunnels are open; they have {timeout:g} s (drain-timeout){before}",
            Reason.DRAINING.token,
            count=count,
        )
        self._children.tell_workers(Drain(delay))
        self._generations.stop(delay + timeout)

    def _stop_refreshing(self) -> None:
        if self._refresh is not None:
            self._refresh.stop()
            self._refresh = None

    def _retire(self) -> float:
        """A successor serves: here is only what is open, and it has so many seconds."""
        self._stop_refreshing()
        self._standing.stop_looking()
        self._notices.stop_reporting()
        return float(self._config.upgrade_drain_timeout)

    # A reload: all or nothing.

    def _reload_begins(self) -> None:
        reloading()
        self._signs.set_seconds(min(self._config.hung_timeout, ANSWER_SECONDS))

    def _reload_ended(self, mistakes: list[str], wishes: list[Wish]) -> None:
        self._signs.set_seconds(self._config.hung_timeout)
        changed: list[str] = []
        if self._generations.is_retired:
            if not mistakes:
                self._in_force.announce(to_all=False)
            self._generations.reloaded(mistakes)
        elif mistakes:
            self._in_force.tell_of_mistakes(mistakes)
        else:
            changed = self._in_force.announce()
            self._notices.take(self._config)
            if self._refresh is not None:
                self._refresh.take(self._config)
            self._generations.reload()
        if self._refresh is not None and any(wish.by_hand for wish in wishes):
            self._refresh.ask_now()
        self._standing.tell(self._in_force.mistakes)
        notify("READY=1")
        restart = self._in_force.awaits_restart
        answer = {"mistakes": mistakes, "changed": changed, "policy": self._log.policy, "restart": restart}
        for wish in wishes:
            if wish.reply is not None:
                wish.reply(answer)
