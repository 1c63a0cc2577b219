"""The admin process' web server: waitress, with a time for each request and answer as a whole, and room for the next.

waitress itself counts from the last byte, by the wall clock, and stops accepting when all its connections are in use:
a hundred clients of one byte in nine seconds would take health and readiness away, and a probe restart the gateway.
"""

import re
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer, UnixWSGIServer

from ogw.service.listener import PAUSE
from ogw.tunnel.descriptors import NO_DESCRIPTORS
from ogw.wire.tls import HANDSHAKE

MOST_CONNECTIONS = 100
MOST_ASKED = 32  # requests of a connection that are not answered yet: who asks on and reads nothing holds a thread
TURN_SECONDS = 1.0
IDLE_SECONDS = 30.0  # what a connection is kept between two requests, and what an answer has to be taken
LEAVE_SECONDS = 2.0  # what a connection has at the end, to ask or to take its answer
LARGEST_HEAD, LARGEST_BODY = 1 << 14, 1 << 16
BAD_REQUEST = b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
NO_TLS = BAD_REQUEST + b"this port does not speak TLS: ask it by http://\n"


# As waitress has them, whose own expressions take a time for what they do not match that grows with its square.
_FIRST_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++ [^ \r\n]++(?: HTTP/[0-9]\.[0-9])?")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BLANKS = re.compile(rb"(?<![ \t\r\n])[ \t\r\n]{100}")  # in front of a value, over lines that are folded, too


class Parser(HTTPRequestParser):  # type: ignore[misc]
    def parse_header(self, header_plus: bytes) -> None:
        """Of a request, with its first line. Raises ParsingError, which is answered with a 400."""
        first_line = header_plus.partition(b"\r\n")[0].rstrip()
        if not _FIRST_LINE.fullmatch(first_line) or _CONTROL.search(header_plus) or _BLANKS.search(header_plus):
            raise ParsingError("it is no request")
        try:
            super().parse_header(header_plus)
        except ValueError:  # urlsplit's, which waitress lets through
            raise ParsingError("its target is no URL") from None


class Connection(HTTPChannel):  # type: ignore[misc]
    """One connection.

    since  when what it waits for now began, in seconds of the monotonic clock: its first request, the next one, or that
           its answer is taken
    """

    parser_class = Parser

    def __init__(self, *arguments: Any, **more: Any) -> None:
        self.since = time.monotonic()
        self.said_something = False
        super().__init__(*arguments, **more)

    def received(self, data: bytes) -> Any:
        if not self.said_something and data[0] == HANDSHAKE:  # of TLS: it would be waited for an end of a line
            with suppress(OSError):
                self.socket.send(NO_TLS)
            self.handle_close()
            return False
        if self.said_something and self.request is None:
            self.since = time.monotonic()
        self.said_something = True
        more = super().received(data)
        if len(self.requests) > MOST_ASKED:
            self.handle_close()
        return more

    def write_soon(self, data: Any) -> Any:
        self.since = time.monotonic()
        return super().write_soon(data)

    @property
    def is_answered(self) -> bool:
        """Its request is in the hands of a thread: nothing is awaited of the other side."""
        return bool(self.requests)

    @property
    def is_thought_about(self) -> bool:
        """And that has no answer yet."""
        return self.is_answered and not self.total_outbufs_len

    @property
    def is_idle(self) -> bool:
        """It has had an answer, and has not begun its next request."""
        return self.said_something and self.request is None

    def is_late(self, now: float, request_seconds: float) -> bool:
        """It has had its time, for a request or for the answer to one."""
        if self.is_answered:  # by a thread that may wait for the other side to take what is there of the answer
            return self.total_outbufs_len > 0 and now - self.since >= IDLE_SECONDS
        return now - self.since >= (IDLE_SECONDS if self.is_idle else request_seconds)


class _Patient:
    """What both kinds of server do: close whoever is late, and where there is no room, an idle one or the oldest."""

    request_seconds = 10.0
    channel_class = Connection
    active_channels: dict[int, Connection]
    is_full = False
    leaves = False

    def leave(self) -> None:
        """Take nobody any more, answer what was asked, and let `run` return: other threads may call it."""
        self.leaves = True
        self.pull_trigger()  # type: ignore[attr-defined]

    def run(self) -> None:
        """Answer until it leaves: the body of a thread."""
        while not self.leaves:
            # With poll(2): select(2) fails from descriptor 1,024 on.
            wasyncore.loop(timeout=TURN_SECONDS, use_poll=True, map=self._map, count=1)  # type: ignore[attr-defined]
            # Between two turns: in the middle of one, the number of a closed descriptor may be another connection's.
            self._close_late_ones(time.monotonic())
            if self.is_full or len(self.active_channels) > MOST_CONNECTIONS:
                self._make_room()

        self._finish(time.monotonic() + LEAVE_SECONDS)

    def _finish(self, until: float) -> None:
        """Those that were answered, or had their time, are closed; the socket is, and others may have it, too."""
        self.del_channel()  # type: ignore[attr-defined]
        self.socket.close()  # type: ignore[attr-defined]
        while self.active_channels and time.monotonic() < until:
            for channel in tuple(self.active_channels.values()):
                if channel.is_thought_about:  # a question has its own limit
                    until = time.monotonic() + LEAVE_SECONDS
                if channel.is_idle and not channel.is_answered and not channel.total_outbufs_len:
                    channel.handle_close()
            wasyncore.loop(timeout=TURN_SECONDS / 10, use_poll=True, map=self._map, count=1)  # type: ignore[attr-defined]

    def accept(self) -> Any:
        try:
            return super().accept()  # type: ignore[misc]
        except OSError as error:
            self.is_full = error.errno in NO_DESCRIPTORS
            raise

    def handle_accept(self) -> None:
        try:
            super().handle_accept()  # type: ignore[misc]
        except OSError:
            pass  # it hung up before a session could be made; waitress would close the door for that

    def _close_late_ones(self, now: float) -> None:
        for channel in tuple(self.active_channels.values()):
            if channel.is_late(now, self.request_seconds):
                channel.handle_close()

    def _make_room(self) -> None:
        awaited = [channel for channel in self.active_channels.values() if not channel.is_answered]
        if awaited:
            # Those that were answered go first: they may have been just now, by which who has not spoken yet is older.
            min(awaited, key=lambda channel: (not channel.is_idle, channel.since)).handle_close()
        elif self.is_full:
            time.sleep(PAUSE)  # accepting again at once would spin
        self.is_full = False


class _Tcp(_Patient, TcpWSGIServer):  # type: ignore[misc]
    pass


class _Unix(_Patient, UnixWSGIServer):  # type: ignore[misc]
    pass


def server_of(
    sock: socket.socket,
    app: Callable[..., Any],
    threads: int,
    request_seconds: float,
    channel: type[Connection] = Connection,
) -> Any:
    """A server whose `run` answers on a listening socket.

    threads          answer so many requests at a time
    request_seconds  what a client has for each of its requests, from the first byte to the last
    channel          what is made of each connection; where it cannot be made, the connection is dropped
    """
    settings = Adjustments(
        threads=threads,
        connection_limit=10 * MOST_CONNECTIONS,
        max_request_header_size=LARGEST_HEAD,
        max_request_body_size=LARGEST_BODY,
        ident=None,
        clear_untrusted_proxy_headers=True,  # as it is by itself since 3.0; Debian 12's would warn of that
    )
    place = sock.family, sock.type, sock.proto, sock.getsockname()
    kind = _Unix if sock.family == socket.AF_UNIX else _Tcp
    server = kind(app, _sock=sock, adj=settings, sockinfo=place, bind_socket=False)
    server.request_seconds = request_seconds
    server.channel_class = channel
    return server
