"""What was refused, read back from logs: our own lines, however somebody else wrapped them.

JSON lines, text lines, either behind what syslog, journald, Docker, Kubernetes or a terminal put in front, or inside
the JSON object that journald or Docker make of a line; packed with gzip or not. Lines are foreign: nothing in them is
trusted, and one that cannot be read is counted.
"""

import gzip
import json
import re
import zlib
from codecs import BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedReader
from typing import Any, NamedTuple, Optional

from ogw.report.events import Event, Field
from ogw.report.pieces import joined
from ogw.report.refusals import GATHERED

LONGEST_LINE = 1 << 20  # bytes
MOST_COUNT = 10**12
EVENTS = (Event.TARGET_NOT_ALLOWED, Event.CLIENT_REFUSED)
WRAPPERS = ("log", "MESSAGE", "message", "msg", "line")  # where others put our line into an object of theirs
MACHINES = ("_HOSTNAME", "host", "hostname")  # and which machine it came from
GZIP = b"\x1f\x8b"


class Form(NamedTuple):
    """What a log may be that is not read here: its first bytes, its name, and the command that makes a log of it."""

    begins: bytes
    name: str
    command: str


FORMS = (
    Form(b"\xfd7zXZ\0", "xz", "xz -dc"),
    Form(b"]\0\0", "lzma", "xz -dc"),
    Form(b"BZh", "bzip2", "bzip2 -dc"),
    Form(b"(\xb5/\xfd", "zstd", "zstd -dc"),
    Form(b'\x04"M\x18', "lz4", "lz4 -dc"),
    Form(b"\x1f\x9d", "compress", "gzip -dc"),
    Form(b"PK\x03\x04", "zip", "unzip -p"),
    Form(b"7z\xbc\xaf", "7-Zip", "7z x -so"),
    Form(b"LPKSHHRH", "systemd's journal", "journalctl -o cat --file"),
    Form(BOM_UTF32_LE, "UTF-32", "iconv -f UTF-32 -t UTF-8"),
    Form(BOM_UTF32_BE, "UTF-32", "iconv -f UTF-32 -t UTF-8"),
    Form(BOM_UTF16_LE, "UTF-16", "iconv -f UTF-16 -t UTF-8"),
    Form(BOM_UTF16_BE, "UTF-16", "iconv -f UTF-16 -t UTF-8"),
    Form(GZIP, "gzip twice", "gzip -dc"),
)
_WITHOUT_MARK = {
    re.compile(rb"(?:[ -~]\0){2}"): Form(b"", "UTF-16", "iconv -f UTF-16LE -t UTF-8"),
    re.compile(rb"(?:\0[ -~]){2}"): Form(b"", "UTF-16", "iconv -f UTF-16BE -t UTF-8"),
}


class NotRead(Exception):
    """The log has a form that is not read."""

    def __init__(self, form: Form) -> None:
        super().__init__(form.name)
        self.form = form


_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})")
_TEXT = re.compile(rf"(?:({_TIME.pattern}) [a-z]+ +)?OGW-([0-9]{{3}}) [^(:]*(?:\(([a-z-]+)\))?")
_FIELD = re.compile(r' (client|client_subject|target|count)=("(?:[^"\\]|\\.)*"|[^ ]*)')
# What syslog and journalctl put in front: a time, the machine, and who says it there.
_OF_MACHINE = re.compile(rf"(?:[A-Z][a-z]{{2}} [ 0-9][0-9] [0-9:]{{8}}|{_TIME.pattern}) ([A-Za-z0-9._-]+) [^ :]+: ")
_GATEWAY = "gateway"  # beside the fields of a line
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Recorded:
    """One or several equal refusals, as a line tells of them; texts as they stand there.

    client  its address, with or without a port
    count   how many
    first   Unix seconds of the first and of the last; None where nothing says it
    subject of its certificate; "" for none
    gateway the machine that the line is of, where whoever wrapped it says so; else ""
    """

    event: int
    reason: str
    client: str
    target: str
    detail: str
    count: int = 1
    first: Optional[float] = None
    last: Optional[float] = None
    subject: str = ""
    gateway: str = ""


class Recording:
    """Reads logs, and counts what it met.

    lines       all of them
    refusals    those that tell of a refusal
    unreadable  those of the events that we look for, or torn ones, that cannot be read
    """

    def __init__(self) -> None:
        self.lines = 0
        self.refusals = 0
        self.unreadable = 0

    def read(self, file: BufferedReader) -> Iterator[Recorded]:
        """What a log tells of refusals. Raises OSError, NotRead; where a packed one ends too early, EOFError."""
        for line in joined(_unpacked(file), LONGEST_LINE):
            self.lines += 1
            found = self._recorded(line.decode("utf-8", "replace"))
            if found is not None:
                self.refusals += 1
                yield found

    def _recorded(self, line: str) -> Optional[Recorded]:
        try:
            fields = _fields(line)
            return None if fields is None else _record(fields, line)
        except (ValueError, RecursionError):
            self.unreadable += 1
            return None


def _unpacked(file: BufferedReader) -> Iterator[bytes]:
    """Pieces that end with a line, or are as long as a line may be."""
    source = file
    try:
        if file.peek(2)[:2] == GZIP:
            source = BufferedReader(gzip.GzipFile(fileobj=file))
        _require_text(source.peek(8))
        while line := source.readline(LONGEST_LINE + 1):
            yield line
            while not line.endswith(b"\n") and len(line) > LONGEST_LINE:
                line = source.readline(LONGEST_LINE + 1)  # the end of one that is too long is not a line of its own
    except zlib.error as error:
        raise OSError(0, str(error)) from None


def _require_text(begin: bytes) -> None:
    """Raises NotRead."""
    for form in FORMS:
        if begin.startswith(form.begins):
            raise NotRead(form)
    for pattern, form in _WITHOUT_MARK.items():
        if pattern.match(begin):
            raise NotRead(form)


def _fields(line: str) -> Optional[dict[str, Any]]:
    """The fields of a line of ours that tells of a refusal; None for any other. Raises ValueError where it is torn."""
    at = line.find("{")
    value = None
    if at >= 0:
        try:
            value = _DECODER.raw_decode(line, at)[0]
        except ValueError:
            if '"event"' in line:
                raise
    if isinstance(value, dict):
        machine = ""
        for _depth in range(3):
            if Field.EVENT in value:
                if value[Field.EVENT] not in EVENTS or type(value[Field.EVENT]) is not int:
                    return None
                return {**value, _GATEWAY: machine}
            machine = next((value[name] for name in MACHINES if isinstance(value.get(name), str)), machine)
            inside = next((_wrapped(value[name]) for name in WRAPPERS if name in value), "").lstrip()
            if inside[:1] != "{":
                found = _fields_of_text(inside or line)
                return None if found is None else {**found, _GATEWAY: machine}
            value = _DECODER.raw_decode(inside)[0]
            if not isinstance(value, dict):
                return None
        return None
    return _fields_of_text(line)


def _wrapped(value: Any) -> str:
    """A line inside an object; journald makes numbers of its bytes where there is any that cannot be printed."""
    if isinstance(value, list) and all(type(one) is int and 0 <= one < 256 for one in value):
        return bytes(value).decode("utf-8", "replace")
    return value if isinstance(value, str) else ""


def _fields_of_text(line: str) -> Optional[dict[str, Any]]:
    match = _TEXT.search(line)
    if match is None or int(match[2]) not in EVENTS:
        return None
    # The last of each name: what stands before is the message, in which anything may stand.
    rest = line[match.end() :].rstrip("\r\n")
    found = list(_FIELD.finditer(rest))
    named = {one[1]: json.loads(one[2]) if one[2][:1] == '"' else one[2] for one in found}
    at = {one[1]: one.start() for one in found}
    begins = at.get(Field.CLIENT, len(rest))
    count = named.get(Field.COUNT, "1") if at.get(Field.COUNT, 0) > begins else "1"
    return {
        Field.TIME: match[1],
        Field.EVENT: int(match[2]),
        Field.REASON: match[3] or "",
        Field.MESSAGE: _message(rest[:begins]),
        Field.CLIENT: named.get(Field.CLIENT),
        Field.CLIENT_SUBJECT: named.get(Field.CLIENT_SUBJECT) if at.get(Field.CLIENT_SUBJECT, 0) > begins else None,
        Field.TARGET: named.get(Field.TARGET) if at.get(Field.TARGET, 0) > begins else None,
        Field.COUNT: int(count) if count.isascii() and count.isdigit() and len(count) < 16 else 1,
    }


def _message(text: str) -> str:
    """Without the fields between it and the client."""
    text = text.removeprefix(": ")
    end = len(text)
    while text.startswith((" status=", " tunnel="), begin := text.rfind(" ", 0, end)) and begin >= 0:
        end = begin
    return text[:end]


def _record(fields: dict[str, Any], line: str) -> Recorded:
    """Raises ValueError where it says too little to be of use."""
    names = (Field.REASON, Field.CLIENT, Field.TARGET, Field.MESSAGE, Field.CLIENT_SUBJECT)
    texts = [fields.get(name) or "" for name in names]
    if not all(isinstance(text, str) for text in texts) or not texts[0] or not texts[1]:
        raise ValueError
    reason, client, target, detail, subject = texts
    count = fields.get(Field.COUNT, 1)
    if type(count) is not int or not 1 <= count <= MOST_COUNT or GATHERED in detail:
        count = 1  # of many targets it names the last
    at = _seconds(fields.get(Field.TIME))
    of_machine = _OF_MACHINE.match(line)
    gateway = fields.get(_GATEWAY) or (of_machine[1] if of_machine is not None else "")
    return Recorded(fields[Field.EVENT], reason, client, target, detail, count, at, at, subject, gateway)


def _seconds(text: Any) -> Optional[float]:
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        return None
    try:
        seconds = datetime.fromisoformat(text).timestamp()
        datetime.fromtimestamp(seconds, UTC)  # at the ends of the calendar there is none
    except (ValueError, OverflowError):
        return None
    return seconds
