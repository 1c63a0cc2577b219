"""Step 7 of the path: log lines, formatted in the loop, gathered, and written in batches by a thread.

A line costs the loop its formatting and one append. Whoever reads the lines may be slow or gone: what does not fit into
the buffer is counted, and the count is a line as soon as there is room again.
"""

import errno
import json
import logging
import logging.handlers
import os
import secrets
import select
import socket
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Optional, Protocol, Union

from pythonjsonlogger.json import JsonFormatter

from ogw.report.events import CATALOGUE, Event, Field

BUFFER_LINES = 10_000
GATHER_SECONDS = 0.1  # lines wait at most twice this long
PIPE_ATOMIC = 4096  # PIPE_BUF: longer writes interleave with another process's (pipe(7))
CLOSE_SECONDS = 1.0
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Sink(Protocol):
    """Where lines go. `write` takes whole lines without their ends, blocks while it must, and raises OSError.

    takes   whether a line would be taken without a wait
    reopen  the file was renamed away: open it anew
    """

    def write(self, lines: Sequence[str]) -> None: ...

    def takes(self) -> bool: ...

    def reopen(self) -> None: ...

    def close(self) -> None: ...


class Stream:
    """An open descriptor: standard output, or a file that somebody else opened."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._most = PIPE_ATOMIC if not stat.S_ISREG(os.fstat(fd).st_mode) else 1 << 20

    def write(self, lines: Sequence[str]) -> None:
        batch = bytearray()
        for line in lines:
            data = line.encode() + b"\n"
            if batch and len(batch) + len(data) > self._most:
                _write_all(self._fd, batch)
                batch = bytearray()
            batch += data
        _write_all(self._fd, batch)

    def takes(self) -> bool:
        return bool(self._poll.poll(0))

    def reopen(self) -> None:
        pass

    def close(self) -> None:
        pass  # it is not ours


class File:
    """A file of its own, opened for appending; opened again when it was renamed away or deleted (logrotate)."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = self._open()

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def write(self, lines: Sequence[str]) -> None:
        try:
            there: Optional[os.stat_result] = os.stat(self._path)
        except FileNotFoundError:
            there = None
        here = os.fstat(self._fd)
        if there is None or (there.st_ino, there.st_dev) != (here.st_ino, here.st_dev):
            fresh = self._open()
            os.close(self._fd)
            self._fd = fresh
        _write_all(self._fd, ("\n".join(lines) + "\n").encode())

    def takes(self) -> bool:
        return True

    def reopen(self) -> None:
        pass  # every write looks whether the file is still there

    def close(self) -> None:
        os.close(self._fd)


class Syslog(logging.handlers.SysLogHandler):
    """The system's log, through its socket (/dev/log) or to (host, port) over UDP."""

    def __init__(self, address: Union[str, tuple[str, int]]) -> None:
        if isinstance(address, str):
            self._require(address)
        super().__init__(address=address, facility=logging.handlers.SysLogHandler.LOG_DAEMON)
        self.ident = "ogw: "
        self.append_nul = False

    @staticmethod
    def _require(path: str) -> None:
        """Raise the OSError that SysLogHandler keeps to itself when nobody listens at its start."""
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(socket.AF_UNIX, kind) as probe:
                try:
                    probe.connect(path)
                    return
                except OSError as error:
                    if kind is socket.SOCK_STREAM or error.errno != errno.EPROTOTYPE:
                        error.filename = path
                        raise

    def takes(self) -> bool:
        return True

    def reopen(self) -> None:
        pass

    def handleError(self, record: logging.LogRecord) -> None:
        raise

    def write(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.emit(logging.LogRecord("ogw", logging.INFO, "", 0, line, None, None))


def _write_all(fd: int, data: Union[bytes, bytearray]) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class Direct:
    """A writer without buffer and thread, for a process that says little and must never wait for a reader."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.lost = 0
        self.failing = False
        self.has_room = True

    def put(self, line: str) -> bool:
        """Write it now, or lose it where that would have to wait."""
        try:
            if not self._sink.takes():
                raise BlockingIOError
            self._sink.write([line])
        except (OSError, ValueError):
            self.failing = True
            self.lost += 1
            return False
        self.failing = False
        return True

    def reopen(self) -> None:
        self._sink.reopen()

    def close(self, seconds: float = 0.0) -> None:
        self._sink.close()


class Writer:
    """The bounded buffer between the loop and a sink, and the thread that empties it."""

    def __init__(self, sink: Sink, most_lines: int = BUFFER_LINES) -> None:
        self._sink = sink
        self._most = most_lines
        self._lines: deque[str] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: Optional[threading.Thread] = None
        self._pid = 0
        self.lost = 0  # lines that found no room, or that the sink refused
        self.failing = False  # the last write failed
        self.written = 0

    def put(self, line: str) -> bool:
        """Take a line without ever blocking; False if there was no room for it."""
        if len(self._lines) >= self._most:
            self.lost += 1
            return False
        self._lines.append(line)
        if not self._wake.is_set():
            self._start()
            self._wake.set()
        return True

    @property
    def has_room(self) -> bool:
        """Whether a line and the news of lost lines both find room."""
        return len(self._lines) + 2 <= self._most

    def _start(self) -> None:
        # With the first line, and in the process that logs: a thread does not live through a fork.
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._closing.wait(GATHER_SECONDS)
            self._wake.clear()
            batch: list[str] = []
            while self._lines and len(batch) < 1000:
                batch.append(self._lines.popleft())
            if self._lines:
                self._wake.set()
            if batch:
                self._write(batch)
            if self._closing.is_set() and not self._lines:
                return

    def _write(self, batch: list[str]) -> None:
        try:
            self._sink.write(batch)
        except (OSError, ValueError):
            self.failing = True
            self.lost += len(batch)
        else:
            self.failing = False
            self.written += len(batch)

    def reopen(self) -> None:
        self._sink.reopen()

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Give what is gathered `seconds` to be written; a sink that does not take it is left alone."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None and self._pid == os.getpid():
            self._thread.join(seconds)


def timestamp(seconds: float) -> str:
    """Unix seconds as RFC 3339 in UTC, with milliseconds."""
    whole = int(seconds)
    return f"{_to_the_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


_second: tuple[int, str] = (0, "1970-01-01T00:00:00")


def _to_the_second(whole: int) -> str:
    global _second
    if whole != _second[0]:
        _second = whole, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return _second[1]


class _Json(JsonFormatter):
    """A record as one JSON object; its fields stand in `record.fields`, in order."""

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        log_data.update(record.__dict__["fields"])


class _Text(logging.Formatter):
    """A record as a person reads it; the number is OGW-105, never bare, since 403 is also a status."""

    LEFT_OUT = (Field.TIME, Field.LEVEL, Field.EVENT, Field.NAME, Field.REASON, Field.MESSAGE)

    def format(self, record: logging.LogRecord) -> str:
        fields = record.__dict__["fields"]
        reason = f" ({fields[Field.REASON]})" if Field.REASON in fields else ""
        message = f": {fields[Field.MESSAGE]}" if fields[Field.MESSAGE] else ""
        rest = "".join(
            f" {name}={value if isinstance(value, (int, float)) else _quoted(value)}"
            for name, value in fields.items()
            if name not in self.LEFT_OUT and name not in (Field.POLICY, Field.PROCESS, Field.SEQUENCE)
        )
        head = f"{fields[Field.TIME]} {fields[Field.LEVEL]:7} OGW-{fields[Field.EVENT]} {fields[Field.NAME]}"
        return f"{head}{reason}{message}{rest}"


def _quoted(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return json.dumps(text) if not text.isprintable() or " " in text or '"' in text else text


class Log:
    """What the rooms report to: one method for events, one for the line that every tunnel ends with."""

    def __init__(self, writer: "Writer | Direct", text: bool = False, level: str = "info", policy: str = "") -> None:
        self._writer = writer
        self._formatter: logging.Formatter = _Text() if text else _Json()
        self._text = text
        self._level = LEVELS[level]
        self._reported_lost = 0
        self.policy = policy
        self.process = secrets.token_hex(3)
        self.sequence = 0

    @property
    def debug(self) -> bool:
        """Whether lines of level debug are wanted: ask before building one on the path."""
        return self._level <= logging.DEBUG

    def event(self, event: int, message: str, reason: str = "", level: Optional[int] = None, **fields: Any) -> None:
        """Report an event of the catalogue. Field names are those of `Field`; None values are left out."""
        default, name = CATALOGUE[event]
        level = default if level is None else level
        if level < self._level:
            return
        self._put(self._formatter.format(self._record(event, level, name, message, reason, fields)))

    def _record(
        self, event: int, level: int, name: str, message: str, reason: str, fields: dict[str, Any]
    ) -> logging.LogRecord:
        self.sequence += 1
        record = logging.LogRecord("ogw", level, "", 0, message, None, None)
        line: dict[str, Any] = {
            Field.TIME: timestamp(time.time()),
            Field.LEVEL: logging.getLevelName(level).lower(),
            Field.EVENT: int(event),
            Field.NAME: name,
        }
        if reason:
            line[Field.REASON] = reason
        line[Field.MESSAGE] = message
        line.update((field, value) for field, value in fields.items() if value is not None)
        line[Field.POLICY] = self.policy
        line[Field.PROCESS] = self.process
        line[Field.SEQUENCE] = self.sequence
        record.__dict__["fields"] = line
        return record

    def tunnel_closed(
        self,
        reason: str,
        message: str,
        tunnel: str,
        client: str,
        target: str,
        upstream: str,
        bytes_up: int,
        bytes_down: int,
        dial: float,
        duration: float,
    ) -> None:
        """Event 108, the line of every tunnel. Built by hand, at a tenth of the cost; a test holds them equal."""
        if self._text or message:
            fields: dict[str, Any] = {
                Field.TUNNEL: tunnel,
                Field.CLIENT: client,
                Field.TARGET: target,
                Field.UPSTREAM: upstream,
                Field.BYTES_UP: bytes_up,
                Field.BYTES_DOWN: bytes_down,
                Field.DIAL: round(dial, 6),
                Field.DURATION: round(duration, 6),
            }
            self.event(Event.TUNNEL_CLOSED, message, reason, **fields)
        elif self._level <= logging.INFO:
            self.sequence += 1
            # No value needs escaping: reasons are our tokens, the rest are canonical hosts, addresses and numbers.
            self._put(
                f'{{"time": "{timestamp(time.time())}", "level": "info", "event": 108, "name": "tunnel closed", '
                f'"reason": "{reason}", "message": "", "tunnel": "{tunnel}", "client": "{client}", '
                f'"target": "{target}", "upstream": "{upstream}", "bytes_up": {bytes_up}, "bytes_down": {bytes_down}, '
                f'"dial": {dial:.6f}, "duration": {duration:.6f}, "policy": "{self.policy}", '
                f'"process": "{self.process}", "sequence": {self.sequence}}}'
            )

    def tls_verified(
        self,
        tunnel: str,
        client: str,
        target: str,
        server_name: str,
        version: str,
        handshake: float,
        subject: str = "",
        ech: bool = False,
    ) -> None:
        """Event 107, the line of every verified session; built by hand like the one of every tunnel."""
        if self._text or subject or ech:
            fields: dict[str, Any] = {
                Field.TUNNEL: tunnel,
                Field.CLIENT: client,
                Field.TARGET: target,
                Field.SERVER_NAME: server_name,
                Field.TLS_VERSION: version,
                Field.HANDSHAKE: round(handshake, 6),
                Field.SUBJECT: subject or None,
                Field.ECH: ech or None,
            }
            self.event(Event.TLS_VERIFIED, "", **fields)
        elif self._level <= logging.INFO:
            self.sequence += 1
            # No value needs escaping: a server name that was verified is a canonical host.
            self._put(
                f'{{"time": "{timestamp(time.time())}", "level": "info", "event": 107, "name": "TLS session verified", '
                f'"message": "", "tunnel": "{tunnel}", "client": "{client}", "target": "{target}", '
                f'"server_name": "{server_name}", "tls_version": "{version}", "handshake": {handshake:.6f}, '
                f'"policy": "{self.policy}", "process": "{self.process}", "sequence": {self.sequence}}}'
            )

    def _put(self, line: str) -> None:
        if self._writer.lost > self._reported_lost:
            self.report_lost()
        self._writer.put(line)

    def report_lost(self) -> None:
        """Say how many lines were lost, once they are taken again; to be called now and then, since none may follow."""
        writer = self._writer
        if writer.lost > self._reported_lost and not writer.failing and writer.has_room:
            lost, self._reported_lost = writer.lost - self._reported_lost, writer.lost
            self.event(Event.LIMIT_REACHED, f"{lost} log lines were lost: the log was not taken as fast as it came")

    def set_level(self, level: str) -> None:
        """From now on leave out what is below it: debug, info, warning or error."""
        self._level = LEVELS[level]

    def reopen(self) -> None:
        """The log file was renamed away."""
        self._writer.reopen()

    def close(self) -> None:
        """Write what is gathered, for at most a second."""
        self._writer.close()


def open_sink(file: str, syslog: Union[str, tuple[str, int], None]) -> Sink:
    """The file, the system's log, or standard output. Raises OSError."""
    if file:
        return File(file)
    if syslog:
        return Syslog(syslog)
    return Stream(sys.stdout.fileno())


def one_line(event: int, message: str, reason: str = "", **fields: Any) -> str:
    """One JSON line for a command that logs without a running gateway."""
    log = Log(Writer(Stream(sys.stdout.fileno())))
    default, name = CATALOGUE[event]
    return log._formatter.format(log._record(event, default, name, message, reason, fields))
