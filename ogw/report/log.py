"""Step 7 of the path: log lines, formatted in the loop, gathered, and written in batches by a thread.

A line costs the loop its formatting and one append. Whoever reads the lines may be slow or gone: what does not fit into
the buffer is counted, and the count is a line as soon as there is room again.
"""

import json
import logging
import secrets
import sys
import time
from typing import Any, Optional

from pythonjsonlogger.json import JsonFormatter

from ogw.report.events import CATALOGUE, Event, Field
from ogw.report.metrics import CELLS, EVENTS, LINES, LINES_LOST
from ogw.report.sinks import Stream
from ogw.report.writers import Direct, Writer

CUT = " ... "  # where a text was shortened
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


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
    """What the rooms report to: one method for events, two for the lines that every tunnel has.

    cells  where events and lines are counted: those of a row of the shared table
    """

    def __init__(
        self,
        writer: "Writer | Direct",
        text: bool = False,
        level: str = "info",
        policy: str = "",
        cells: Any = None,
    ) -> None:
        self._writer = writer
        self.cells: Any = [0] * CELLS if cells is None else cells
        self._counted_written = self._counted_lost = 0
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

    def event(
        self,
        event: int,
        message: str,
        reason: str = "",
        level: Optional[int] = None,
        counted: bool = True,
        **fields: Any,
    ) -> None:
        """Report an event of the catalogue. Field names are those of `Field`; None values are left out.

        counted  False where it was counted when it happened
        """
        if counted:
            self.cells[EVENTS[event]] += 1
        default, name = CATALOGUE[event]
        level = default if level is None else level
        if level < self._level:
            return
        self._put(self._fitting(self._record(event, level, name, message, reason, fields)))

    def _fitting(self, record: logging.LogRecord) -> str:
        """The line. Where a longer one might wait for its reader or be torn, the longest of its texts is shortened."""
        line = self._formatter.format(record)
        fields = record.__dict__["fields"]
        while self._writer.longest and (over := len(line.encode()) - self._writer.longest) > 0:
            name = max(fields, key=lambda name: len(fields[name]) if isinstance(fields[name], str) else 0)
            text: str = fields[name]
            written = len(json.dumps(text)) / (len(text) or 1)  # bytes of a character: escapes have up to six
            kept = int(len(text) - over / written) - len(CUT)
            if kept <= 0:
                break
            # The end of a traceback says most, of everything else the beginning.
            fields[name] = CUT + text[-kept:] if name == Field.TRACEBACK else text[:kept] + CUT
            line = self._formatter.format(record)
        return line

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
            return
        self.cells[EVENTS[Event.TUNNEL_CLOSED]] += 1
        if self._level <= logging.INFO:
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
            return
        self.cells[EVENTS[Event.TLS_VERIFIED]] += 1
        if self._level <= logging.INFO:
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

    def count_lines(self) -> None:
        """Put into the cells how many lines were written and lost since the last time."""
        written, lost = self._writer.written, self._writer.lost
        self.cells[LINES] += written - self._counted_written
        self.cells[LINES_LOST] += lost - self._counted_lost
        self._counted_written, self._counted_lost = written, lost

    def set_level(self, level: str) -> None:
        """From now on leave out what is below it: debug, info, warning or error."""
        self._level = LEVELS[level]

    def reopen(self) -> None:
        """The log file was renamed away."""
        self._writer.reopen()

    def close(self) -> None:
        """Write what is gathered, for at most a second."""
        self._writer.close()
        self.count_lines()


def one_line(event: int, message: str, reason: str = "", **fields: Any) -> str:
    """One JSON line for a command that logs without a running gateway."""
    log = Log(Writer(Stream(sys.stdout.fileno())))
    default, name = CATALOGUE[event]
    return log._formatter.format(log._record(event, default, name, message, reason, fields))
