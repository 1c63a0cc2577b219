"""What systemd is told (sd_notify(3)): a datagram to the socket in NOTIFY_SOCKET; nothing where there is none."""

import os
import re
import socket
import time
from array import array
from collections.abc import Sequence

from ogw.report.printable import printable

LONGEST = 500  # characters of a mistake
LEAST_SECONDS = 0.01  # between two signs of life: whoever wants them faster gets no process that does nothing else
_MICROSECONDS = re.compile(r"[1-9][0-9]{0,17}\Z")


def notify(*lines: str, descriptors: Sequence[int] = (), seconds: float = 0.0) -> None:
    """Such as "READY=1". Never fails: whoever listens may be gone; and what finds no room within `seconds` is lost."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address[0] == "@":
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(seconds)
            sock.connect(address)  # else it would not be waited for that there is room
            handed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))] if descriptors else []
            sock.sendmsg([os.fsencode("\n".join(lines))], handed)
    except OSError:
        pass


def tell_of_mistakes(mistakes: Sequence[str]) -> None:
    """Why it does not start."""
    notify(f"STATUS={wrong(mistakes)}")


def wrong(mistakes: Sequence[str]) -> str:
    """In a line."""
    return f"wrong configuration: {in_a_line(mistakes)}"


def in_a_line(mistakes: Sequence[str]) -> str:
    """The first, and how many more there are."""
    first = printable(mistakes[0])[:LONGEST]
    return f"{first} (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else first


def reloading() -> None:
    """The reload begins; systemd wants the time by the monotonic clock, in microseconds."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def watchdog_seconds() -> float:
    """How often systemd wants a sign of life; 0 for never."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not _MICROSECONDS.match(microseconds):
        return 0.0
    return max(int(microseconds) / 2_000_000, LEAST_SECONDS)
