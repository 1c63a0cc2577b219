"""Step 7 of the path: log lines, formatted in the loop, gathered, and written in batches by a thread.

A line costs the loop its formatting and one append. Whoever reads the lines may be slow or gone: what does not fit into
the buffer is counted, and the count is a line as soon as there is room again.
"""

import functools
import json
import logging
import re
import secrets
import time
from typing import Any, NamedTuple, Optional

try:
    from pythonjsonlogger.json import JsonFormatter
except ImportError:  # before 3.1, which Debian 12 has not
    from pythonjsonlogger.jsonlogger import JsonFormatter  # type: ignore[attr-defined]

from ogw.report.events import CATALOGUE, Event, Field
from ogw.report.lines import LONGEST
from ogw.report.losses import ASTRAY, DIED, why_all
from ogw.report.metrics import CELLS, EVENTS, LINES, LINES_LOST, LINES_SAID, LINES_TOLD, LOG_TROUBLE, LOST_WHY
from ogw.report.printable import cut, cut_front, encodable, plain, printable, printable_lines
from ogw.report.sinks import Nowhere
from ogw.report.writers import Direct, Writer

CUT = 40  # bytes that tell how much was cut, at most
SHORTEST = 64  # bytes of a field that is not cut
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Account(NamedTuple):
    """What a tunnel that closed comes to: whose it was, what went through, and how long it took, in seconds.

    tunnel    its id
    client    address and port
    target    as it was asked for
    upstream  the address and port that were dialed
    via       address and port of the load balancer that it came through; "" for none
    client_subject  of the certificate that the client showed to the gateway itself; "" for none
    """

    tunnel: str
    client: str
    target: str
    upstream: str
    bytes_up: int
    bytes_down: int
    dial: float
    duration: float
    via: str = ""
    client_subject: str = ""


_second: tuple[int, str] = (0, "1970-01-01T00:00:00")  # the last one that was written


_is_plain = re.compile(r"[A-Za-z0-9 .,=+_@:/-]{1,200}\Z").match  # of a subject: it is written as it is


def _more(client_subject: str, via: str) -> str:
    """Of a line built by hand, what few have of their client."""
    who = f'"client_subject": "{client_subject}", ' if client_subject else ""
    return f'{who}"via": "{via}", ' if via else who


def timestamp(seconds: float) -> str:
    """Unix seconds as RFC 3339 in UTC, with milliseconds."""
    global _second
    whole, second = int(seconds), _second
    if whole != second[0]:
        second = _second = whole, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{second[1]}.{int((seconds - whole) * 1000):03d}Z"


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
        message = f": {printable(str(fields[Field.MESSAGE]))}" if fields[Field.MESSAGE] else ""
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
    """What the rooms report to: one method for events, two for the lines that every tunnel has. None of them raises.

    cells  where events and lines are counted: those of a row of the shared table; `count_in` sets them
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
        self.count_in([0] * CELLS if cells is None else cells)
        self._settled = 0  # of the lost lines: so many are counted, and a line tells of them or is on its way
        self._taken_over = 0  # lost lines of processes that died
        self._causes: set[int] = set()  # of those of which nobody has told: report/losses.py
        self._formatter: logging.Formatter = _Text() if text else _Json()
        self._text = text
        self._level = LEVELS[level]
        self.policy = policy
        self.process = secrets.token_hex(3)
        self.sequence = 0

    def count_in(self, cells: Any) -> None:
        """From now on lines and events are counted there."""
        self.cells = self._writer.cells = cells

    def in_child(self, cells: Any) -> "Log":
        """The same log for a process that was forked: through a buffer, for one that must not wait and says much.

        This one is the parent's, who counts what it lost, and is closed here.
        """
        log = Log(Writer(self._writer.sink.fresh()), self._text, policy=self.policy, cells=cells)
        self._writer.sink.close()
        log._level = self._level
        return log

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
        self.sequence += 1
        self._put(self._line(event, level, name, message, reason, fields))

    def _line(self, event: int, level: int, name: str, message: Any, reason: str, fields: dict[str, Any]) -> str:
        """Whatever it is to be made of: a report must not end what it reports about."""
        try:
            return self._fitting(self._record(event, level, name, message, reason, fields))
        except Exception as error:
            message = f"a line that could not be made: {type(error).__name__}"
            return self._formatter.format(self._record(event, level, name, message, "", {}))

    def _fitting(self, record: logging.LogRecord) -> str:
        """The line. The longest of its fields are cut where it is longer than its sink surely takes whole."""
        line = self._formatter.format(record)
        longest = min(self._writer.longest or LONGEST, LONGEST)
        if len(line) * 4 <= longest:
            return line
        fields = record.__dict__["fields"]
        whole: dict[str, str] = {}  # the texts that were cut
        kept: dict[str, int] = {}  # and how many characters stay of them
        while (over := len(line.encode("utf-8", "backslashreplace")) - longest) > 0:
            sizes = {name: len(json.dumps(value)) for name, value in fields.items() if kept.get(name, SHORTEST)}
            name = max(sizes, key=sizes.__getitem__, default="")
            if not name or sizes[name] < SHORTEST:
                break
            value = fields[name]
            text = whole.setdefault(name, value if isinstance(value, str) else json.dumps(value))
            now = kept.get(name, len(text))
            written = sizes[name] / (now or 1)  # bytes of a character: escapes have up to six
            kept[name] = max(now // 2, int(now - over / written) - CUT)
            # The end of a traceback says most, of everything else the beginning.
            fields[name] = (cut_front if name == Field.TRACEBACK else cut)(text, kept[name])
            line = self._formatter.format(record)
        return line

    def _record(
        self, event: int, level: int, name: str, message: Any, reason: str, fields: dict[str, Any]
    ) -> logging.LogRecord:
        record = logging.LogRecord("ogw", level, "", 0, "", None, None)
        line: dict[str, Any] = {
            Field.TIME: timestamp(time.time()),
            Field.LEVEL: logging.getLevelName(level).lower(),
            Field.EVENT: int(event),
            Field.NAME: name,
        }
        if reason:
            line[Field.REASON] = reason
        # In text, fields are quoted as JSON, which writes out the same characters.
        write = encodable if self._text else printable
        line[Field.MESSAGE] = plain(message, write)
        for field, value in fields.items():
            if value is not None:
                line[field] = plain(value, printable_lines if field == Field.TRACEBACK else write)
        line[Field.POLICY] = self.policy
        line[Field.PROCESS] = self.process
        line[Field.SEQUENCE] = self.sequence
        record.__dict__["fields"] = line
        return record

    def tunnel_closed(self, reason: str, message: str, account: Account) -> None:
        """Event 108, the line of every tunnel. Built by hand, at a tenth of the cost; a test holds them equal."""
        tunnel, client, target, upstream, bytes_up, bytes_down, dial, duration, via, client_subject = account
        if self._text or message or "%" in client or "%" in via or (client_subject and not _is_plain(client_subject)):
            fields: dict[str, Any] = {
                Field.TUNNEL: tunnel,
                Field.CLIENT: client,
                Field.CLIENT_SUBJECT: client_subject or None,
                Field.VIA: via or None,
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
            more = _more(client_subject, via) if client_subject or via else ""
            # No value needs escaping: reasons are our tokens, the rest are canonical hosts, addresses (but for the name
            # of an interface in a link-local one), plain subjects and numbers.
            self._put(
                f'{{"time": "{timestamp(time.time())}", "level": "info", "event": 108, "name": "tunnel closed", '
                f'"reason": "{reason}", "message": "", "tunnel": "{tunnel}", "client": "{client}", {more}'
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
        via: str = "",
        client_subject: str = "",
    ) -> None:
        """Event 107, the line of every verified session; built by hand like the one of every tunnel."""
        is_odd = "%" in client or "%" in via or (client_subject and not _is_plain(client_subject))
        if self._text or subject or ech or is_odd:
            fields: dict[str, Any] = {
                Field.TUNNEL: tunnel,
                Field.CLIENT: client,
                Field.CLIENT_SUBJECT: client_subject or None,
                Field.VIA: via or None,
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
            more = _more(client_subject, via) if client_subject or via else ""
            # No value needs escaping: a server name that was verified is a canonical host.
            self._put(
                f'{{"time": "{timestamp(time.time())}", "level": "info", "event": 107, "name": "TLS session verified", '
                f'"message": "", "tunnel": "{tunnel}", "client": "{client}", {more}"target": "{target}", '
                f'"server_name": "{server_name}", "tls_version": "{version}", "handshake": {handshake:.6f}, '
                f'"policy": "{self.policy}", "process": "{self.process}", "sequence": {self.sequence}}}'
            )

    def _put(self, line: str) -> None:
        writer = self._writer
        self.cells[LINES_SAID] += 1
        if writer.lost != self._settled and not writer.failing:
            self.report_lost()
        writer.put(line)

    @property
    def untold(self) -> int:
        """Lost lines of which no line tells yet."""
        return max(0, self._writer.lost + self._taken_over - self._writer.told - self._writer.telling)

    def report_lost(self) -> None:
        """Say how many lines were lost, if they are taken again; to be called now and then, since none may follow."""
        self.count_lines()
        writer, lost, untold = self._writer, self._writer.lost, self.untold
        if untold and (not writer.has_room or writer.retells or not self._tell_of(untold, lost > self._settled)):
            return
        self._settled = lost
        self._causes.clear()

    def _tell_of(self, untold: int, own: bool) -> bool:
        """own: some of them are this process' own"""
        event = Event.LIMIT_REACHED
        level, name = CATALOGUE[event]
        level = max(level, self._level)  # where only errors are wanted, errors were lost
        causes = self._causes | {self._writer.why} if own or not self._causes else self._causes
        self.sequence += 1
        line = self._line(event, level, name, f"{untold} log lines were lost: {why_all(causes)}", "", {})
        self.cells[LINES_SAID] += 1
        if not self._writer.put(line, untold):
            self.cells[LINES_SAID] -= 1
            self.sequence -= 1
            return False
        self.cells[EVENTS[event]] += 1
        return True

    def count_lines(self) -> None:
        """Put into the cells how many lines were lost, where nobody else does."""
        self._writer.count()

    def look(self) -> None:
        """Whether lines may go again where they should; for a process that may not say anything for long."""
        self._writer.look()

    def take_over(self, cells: Any) -> None:
        """The process that counted there is dead: what it said and did not write is lost, and told of here.

        Where it could not write, that is why.
        """
        untold = max(0, cells[LINES_LOST] - cells[LINES_TOLD])
        died = max(0, cells[LINES_SAID] - cells[LINES] - cells[LINES_LOST])
        why = trouble if 0 < (trouble := cells[LOG_TROUBLE]) < ASTRAY else DIED
        self._causes |= ({cells[LOST_WHY]} if untold else set()) | ({why} if died else set())
        cells[LINES_LOST] += died
        cells[LINES_TOLD] = cells[LINES_LOST]
        cells[LOST_WHY] = why if died else cells[LOST_WHY]
        self._taken_over += untold + died

    def set_level(self, level: str) -> None:
        """From now on leave out what is below it: debug, info, warning or error."""
        self._level = LEVELS[level]

    def close(self) -> None:
        """Write what is gathered, for at most a second."""
        self._writer.close()
        self.count_lines()


@functools.cache
def _of_this_process() -> Log:
    return Log(Direct(Nowhere()))


def one_line(event: int, message: str, reason: str = "", **fields: Any) -> str:
    """One JSON line of a process that has no gateway's log, such as a start that fails; its next one follows it."""
    log = _of_this_process()
    default, name = CATALOGUE[event]
    log.sequence += 1
    return log._line(event, default, name, message, reason, fields)
