"""The processes of a load. Ctrl-C is not for them: they end with the process that started them."""

import multiprocessing
import os
import pathlib
import signal
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Optional

from measuring.fleet import Fleet, Work
from measuring.loop import Loop
from measuring.origin import Dns, Origin

TELL = 0.5  # seconds between two reports of a fleet
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_forking = multiprocessing.get_context("fork")


class Crew:
    """Processes that were started together. Use as a context manager: all are ended at the end."""

    def __init__(self) -> None:
        self._processes: list[Any] = []

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def start(self, work: Callable[..., None], *arguments: Any) -> None:
        """Call it in a process of its own, with this process's id in front: it goes on for as long as that is there."""
        process = _forking.Process(target=_run, args=(work, os.getpid(), *arguments), daemon=True)
        # A signal waits until the new process does not heed it any more.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)
        self._processes.append(process)

    def start_fleets(self, number: int, work: Work, agents: int) -> list[Connection]:
        """So many processes with all the agents; from each pipe come fleets' reports."""
        moment = time.monotonic() + 0.2  # by then all are there
        pipes = []
        for first in range(number):
            ours, theirs = _forking.Pipe(duplex=False)
            self.start(_sail, theirs, work, agents, first, number, moment)
            theirs.close()
            pipes.append(ours)
        return pipes


def end_as_by_ctrl_c() -> None:
    """Let a signal that would end this process end it in order: nothing that it started stays behind."""

    def interrupt(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
            signal.signal(number, interrupt)


def _run(work: Callable[..., None], parent: int, *arguments: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # that is for it alone
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)
    work(parent, *arguments)


def _sail(parent: int, pipe: Connection, work: Work, agents: int, first: int, step: int, moment: float) -> None:
    loop = Loop()
    fleet = Fleet(loop, work, agents, first, step)
    fleet.begin(moment)
    told = moment
    while os.getppid() == parent:
        loop.turn(min(fleet.begin_all_due(), TELL))
        if time.monotonic() > told + TELL:
            told = time.monotonic()
            loop.end_older(work.patience)
            pipe.send(fleet.tell())


def serve(
    parent: int, certificate: pathlib.Path, listeners: dict[str, socket.socket], dns: Optional[socket.socket] = None
) -> None:
    """One process of an origin, for `Crew.start`."""
    loop = Loop()
    _origin = Origin(loop, certificate, listeners)
    if dns is not None:
        Dns(loop, dns, next(iter(listeners.values())).getsockname()[0])
    while os.getppid() == parent:
        loop.turn(TELL)
