"""The admin process: what people and machines ask about the running gateway, answered beside the workers.

It reads the shared table for whatever is counted, so that a scrape costs no worker anything. What only workers know,
the open tunnels among them, it asks the supervisor for. Its end costs nobody anything: it is replaced.
"""

import logging
import select
import socket
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, Optional, Union

from ogw.language.known import AUTO, ENGLISH
from ogw.report.events import Event
from ogw.report.log import Log
from ogw.report.repeated import Repeated
from ogw.report.table import Table
from ogw.service.admin.app import App, Health
from ogw.service.admin.encrypted import channel_of
from ogw.service.admin.guard import Guard, Guarded
from ogw.service.admin.server import Connection, server_of
from ogw.service.admin.sockets import Sockets
from ogw.service.admin.views import Asker, Views
from ogw.service.control import Channel, MessageTooLarge
from ogw.service.messages import (
    AskSupervisor,
    Leave,
    NoReply,
    Order,
    Ping,
    Pong,
    Question,
    Ready,
    Reply,
    Saying,
    order_of,
    packed,
)
from ogw.settings.settings import Config

THREADS = 8
LEAVE_SECONDS = 0.02  # between looks whether all that were asked for are answered, at the end
REST_SECONDS = 10  # after which it looks whether log lines were lost


def serve(channel: Channel, sockets: Sockets, table: Table, config: Config, log: Log) -> int:
    """Answer until the supervisor's end of the channel closes; the exit code."""
    waitress_log = logging.getLogger("waitress")
    waitress_log.addHandler(logging.NullHandler())
    waitress_log.propagate = False
    asker = ChannelAsker(channel)
    guard = Guard(config, log, table.admin.cells)
    views = Views(table, asker, config, sockets, guard)
    shows, names, report = config.admin_page == "yes", config.admin_name, _reporter(log)
    usual = ENGLISH if config.language == AUTO else config.language
    apps: list[tuple[str, Optional[socket.socket], Callable[..., Any], type[Connection]]] = [
        ("tcp", sockets.tcp, Guarded(App(views, asker, False, shows, names, report, usual), guard), channel_of(guard)),
        ("local", sockets.unix, App(views, asker, True, shows, names, report, usual), Connection),
        ("health", sockets.health, Health(views), Connection),
    ]
    servers = [
        (name, server_of(sock, app, THREADS, config.head_timeout, channel))
        for name, sock, app, channel in apps
        if sock is not None
    ]
    if guard.has_work:
        threading.Thread(target=guard.run, name="guard", daemon=True).start()
    threads = [threading.Thread(target=server.run, name=name, daemon=True) for name, server in servers]
    for thread in threads:
        thread.start()

    def leave() -> None:
        for _name, server in servers:
            server.leave()

    asker.listen(log.report_lost, leave, lambda: not any(thread.is_alive() for thread in threads))
    log.close()
    return 0


def _reporter(log: Log) -> Callable[[Exception], None]:
    """An error of ours may come with each request: it is told by its kind and its place."""
    repeated = Repeated()

    def report(error: Exception) -> None:
        *_outer, innermost = traceback.extract_tb(error.__traceback__)
        if count := repeated.times((type(error), innermost.filename, innermost.lineno)):
            told = "".join(traceback.format_exception(error))
            often = f" ({count} times since the last line)" if count > 1 else ""
            message = f"{type(error).__name__}: {error} in the admin process{often}; please report it"
            log.event(Event.ERROR, message, count=count if count > 1 else None, traceback=told)

    return report


class ChannelAsker(Asker):
    """Asks the supervisor over the channel, for all threads of this process."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[threading.Event, list[Union[Reply, NoReply]]]] = {}
        # More than any process before this one has used: the answers to what it asked are not for us.
        self._last = time.monotonic_ns()
        self._leaves = False

    def ask(self, question: Question, seconds: float = 5.0) -> dict[str, Any]:
        """Its answer. Raises TimeoutError, or OSError where it is gone, or has none."""
        came = threading.Event()
        replies: list[Union[Reply, NoReply]] = []
        with self._lock:
            self._last += 1
            number = self._last
        self._waiting[number] = came, replies
        try:
            self._say(AskSupervisor(number, question))
            if not came.wait(seconds):
                raise TimeoutError("the supervisor did not answer in time")
        finally:
            self._waiting.pop(number, None)
        (reply,) = replies
        if isinstance(reply, NoReply):
            raise OSError(reply.error)
        return reply.answer

    def _say(self, saying: Saying) -> None:
        """Raises OSError."""
        with self._lock:
            try:
                self._channel.send(packed(saying))
            except MessageTooLarge as error:
                raise OSError(f"the question is too large: {error}") from None
            if self._channel.wants_write:
                self._channel.finish()

    def listen(self, now_and_then: Callable[[], None], leave: Callable[[], None], has_left: Callable[[], bool]) -> None:
        """Say that we are ready, and hear the answers.

        Until there is nobody any more to give one; or, once told to leave, nobody who waits. Raises OSError.

        leave     take no more questions
        has_left  all that were taken are answered
        """
        self._say(Ready())  # as all that is said: others ask already, and what two send at a time goes twice
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        while not (self._leaves and has_left()):
            if not poll.poll((LEAVE_SECONDS if self._leaves else REST_SECONDS) * 1000):
                now_and_then()
            try:
                for fields in self._channel.receive():
                    self._hear(order_of(fields))
            except (EOFError, OSError, ValueError):
                return
            if self._leaves:
                leave()

    def _hear(self, order: Order) -> None:
        """Raises OSError."""
        if isinstance(order, Ping):
            self._say(Pong())
        elif isinstance(order, Leave):
            self._leaves = True
        elif isinstance(order, (Reply, NoReply)):
            waiting = self._waiting.get(order.number)
            if waiting is not None:  # who asked may have given up meanwhile
                came, replies = waiting
                replies.append(order)
                came.set()
