"""How grave a line is, as syslog's severities say it (RFC 5424, section 6.2.1), read from the line itself.

Every line of the log begins with its time and its level, in places that do not move: so the level needs no way of its
own through the buffers.
"""

import os

DAEMON = 3 << 3  # the facility
INFO = 6
IN_JSON = len('{"time": "1970-01-01T00:00:00.000Z", "level": "')
IN_TEXT = len("1970-01-01T00:00:00.000Z ")
SEVERITIES = {"error": 3, "warni": 4, "info": INFO, "info ": INFO, 'info"': INFO, "debug": 7}


def severity_of(line: str) -> int:
    """Of a line of the log; -1 for what is none."""
    at = IN_JSON if line[:1] == "{" else IN_TEXT
    return SEVERITIES.get(line[at : at + 5], -1)


def as_syslog(line: str) -> str:
    """What stands before a line for the system's log (RFC 3164)."""
    severity = severity_of(line)
    return f"<{DAEMON | (INFO if severity < 0 else severity)}>ogw: "


def as_journal(line: str) -> str:
    """What stands before a line for systemd's journal, which takes it off again (sd-daemon(3))."""
    severity = severity_of(line)
    return "" if severity < 0 else f"<{severity}>"


def is_journal(fd: int) -> bool:
    """Whether that is the stream to the journal that systemd gave this process, and not what was put in its place."""
    there = os.fstat(fd)
    return os.environ.get("JOURNAL_STREAM") == f"{there.st_dev}:{there.st_ino}"
