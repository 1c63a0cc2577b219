"""The admin process: what people and machines ask about the running gateway, answered beside the workers.

It reads the shared table for whatever is counted, so that a scrape costs no worker anything. What only workers know,
the open tunnels among them, it asks the supervisor for. Its end costs nobody anything: it is replaced.
"""

import logging
import select
import socket
import threading
import traceback
from collections.abc import Callable
from typing import Any, Optional

from ogw.report.events import Event
from ogw.report.log import Log
from ogw.report.table import Table
from ogw.service.admin.app import App, Asker, Health
from ogw.service.admin.server import server_of
from ogw.service.admin.sockets import Door
from ogw.service.admin.views import Views
from ogw.service.control import Channel, TooLarge
from ogw.service.messages import ORDERS, Message, checked
from ogw.settings.settings import Config

THREADS = 8
REST_SECONDS = 10  # after which it looks whether log lines were lost


def serve(channel: Channel, door: Door, table: Table, config: Config, log: Log) -> int:
    """Answer until the supervisor's end of the channel closes; the exit code."""
    waitress_log = logging.getLogger("waitress")
    waitress_log.addHandler(logging.NullHandler())
    waitress_log.propagate = False
    supervisor = Supervisor(channel)
    views = Views(table, supervisor, config, door)
    shows, report = config.admin_page == "yes", _reporter(log)
    doors: list[tuple[str, Optional[socket.socket], Callable[..., Any]]] = [
        ("tcp", door.tcp, App(views, supervisor, False, shows, report)),
        ("local", door.unix, App(views, supervisor, True, shows, report)),
        ("health", door.health, Health(views)),
    ]
    for name, sock, app in doors:
        if sock is not None:
            server = server_of(sock, app, THREADS, config.head_timeout)
            threading.Thread(target=server.run, name=name, daemon=True).start()
    channel.send({"said": "ready"})
    supervisor.listen(log.report_lost)
    log.close()
    return 0


def _reporter(log: Log) -> Any:
    def report(error: Exception) -> None:
        told = "".join(traceback.format_exception(error))
        message = f"{type(error).__name__}: {error} in the admin process; please report it"
        log.event(Event.ERROR, message, traceback=told)

    return report


class Supervisor(Asker):
    """The supervisor as the threads of this process see it."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[threading.Event, list[Message]]] = {}
        self._last = 0

    def ask(self, what: str, seconds: float = 5.0, **about: Any) -> Message:
        """Its answer. Raises TimeoutError, or OSError where it is gone, or has none."""
        came = threading.Event()
        answers: list[Message] = []
        with self._lock:
            self._last += 1
            number = self._last
        self._waiting[number] = came, answers
        try:
            self._say({"said": "asks", "number": number, "what": what, "about": about})
            if not came.wait(seconds):
                raise TimeoutError("the supervisor did not answer in time")
        finally:
            self._waiting.pop(number, None)
        if "error" in answers[0]:
            raise OSError(answers[0]["error"])
        return answers[0]

    def _say(self, message: Message) -> None:
        """Raises OSError."""
        with self._lock:
            try:
                self._channel.send(message)
            except TooLarge as error:
                raise OSError(f"the question is too large: {error}") from None
            if self._channel.wants_write:
                self._channel.finish()

    def listen(self, now_and_then: Callable[[], None]) -> None:
        """Hear the answers, until there is nobody any more to give one."""
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        while True:
            if not poll.poll(REST_SECONDS * 1000):
                now_and_then()
            try:
                for message in self._channel.receive():
                    self._hear(message)
            except (EOFError, OSError, ValueError):
                return

    def _hear(self, message: Message) -> None:
        """Raises OSError or ValueError."""
        if checked(message, "order", ORDERS) == "ping":
            self._say({"said": "pong"})
            return
        waiting = self._waiting.get(message.get("number", 0))
        if waiting is not None:
            waiting[1].append(message["answer"])
            waiting[0].set()
