"""Whole lines for a stream of bytes, of which a part may be taken."""

import errno
import fcntl
import mmap
import os
import select
import stat
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Optional

PIPE_ATOMIC = 4096  # PIPE_BUF: longer writes interleave with another process's (pipe(7))
FILE_ATOMIC = 1 << 20
LONGEST = 32 << 10  # bytes of a line in a file; what reads it has a limit, too

BEFORE, PERHAPS = -1, -2  # a line that was torn by one before this gateway; one that may be torn: the file is looked at

Send = Callable[[bytes], int]


def nobody_can_say() -> None:
    """Whether what has no end that can be looked at, such as a pipe, ends with a whole line."""


class Torn:
    """Whether the last line at a place has no end yet, because only a part of it was taken. All processes share it."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8)
        self._by = memoryview(self._memory).cast("q")

    @property
    def by(self) -> int:
        """The process that wrote the part; 0 for none, BEFORE, or PERHAPS."""
        return int(self._by[0])

    @by.setter
    def by(self, process: int) -> None:
        self._by[0] = process


class Lines:
    """Whole lines for a stream of bytes. One that was torn is ended before the next, or its rest is sent.

    most   bytes of a write, unless a line is longer
    begin  what stands before a line
    ends   whether the place ends with a whole line now; None where nobody can say
    """

    def __init__(
        self,
        most: int,
        torn: Optional[Torn] = None,
        begin: Optional[Callable[[str], str]] = None,
        ends: Callable[[], Optional[bool]] = nobody_can_say,
    ) -> None:
        self._most = most
        self._begin = begin
        self._ends = ends
        self.torn = torn or Torn()
        self._line: Optional[str] = None  # that we tore, if it is given again,
        self._rest = b""  # and what of it is still to be sent

    def send(self, lines: Sequence[str], send: Send) -> int:
        """How many were taken. Raises OSError where it was none."""
        taken = 0
        while taken < len(lines):
            torn = self._torn_by()
            data, ends = self._piece(lines, taken, torn)
            try:
                sent = send(data)
            except OSError as error:
                if not is_full(error):
                    self.torn.by = self.torn.by or PERHAPS  # by another who writes there, and has the same error
                    if not taken:
                        raise
                return taken
            if sent == len(data):
                taken += len(ends)
                if torn:
                    self.torn.by, self._line = 0, None
                continue
            whole = bisect_right(ends, sent)
            taken += whole
            self._stopped(data, ends[whole - 1] if whole else 0, sent, ends[whole], lines[taken])
            break
        return taken

    def send_to_file(self, lines: Sequence[str], send: Send) -> int:
        """For what takes all or has a reason: where a part of the first line was taken, the second try raises why."""
        return self.send(lines, send) or self.send(lines, send)

    def _torn_by(self) -> int:
        """As of now: who made room in a full file may have cut off what was torn."""
        torn = self.torn.by
        if not torn:
            return 0
        whole = self._ends()
        if whole is None:
            return 0 if torn == PERHAPS else torn
        if whole:
            self.torn.by = 0
            return 0
        return BEFORE if torn == PERHAPS else torn

    def _piece(self, lines: Sequence[str], first: int, torn: int) -> tuple[bytes, list[int]]:
        """As many lines as one write may have, and where each of them ends."""
        if torn and torn == os.getpid() and lines[first] is self._line:
            data = self._rest
        else:
            data = b"\n" * bool(torn) + self._encoded(lines[first])
        pieces, end = [data], len(data)
        ends = [end]
        for number in range(first + 1, len(lines)):
            data = self._encoded(lines[number])
            end += len(data)
            if end > self._most:
                break
            pieces.append(data)
            ends.append(end)
        return b"".join(pieces), ends

    def _stopped(self, data: bytes, start: int, sent: int, end: int, line: str) -> None:
        if not sent:
            return
        is_torn = sent > start and data[sent - 1 : sent] != b"\n"
        self.torn.by = os.getpid() if is_torn else 0
        self._line, self._rest = (line, data[sent:end]) if is_torn else (None, b"")

    def _encoded(self, line: str) -> bytes:
        begin = self._begin(line) if self._begin is not None else ""
        try:
            return f"{begin}{line}\n".encode()
        except UnicodeEncodeError:
            return f"{begin}{line}\n".encode("utf-8", "backslashreplace")


def ends_with_a_line(fd: int) -> Optional[bool]:
    """Whether a file does, up to where `fd` writes; None where it is no file, or may not be read."""
    try:
        there = os.fstat(fd)
        if not stat.S_ISREG(there.st_mode):
            return None
        appends = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND
        at = there.st_size if appends else os.lseek(fd, 0, os.SEEK_CUR)
        reading = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC) if at else -1
    except OSError:
        return None
    if reading < 0:
        return True
    try:
        return os.pread(reading, 1, at - 1) in (b"\n", b"")
    except OSError:
        return None
    finally:
        os.close(reading)


def is_full(error: OSError) -> bool:
    """It takes nothing now, but may later."""
    return isinstance(error, BlockingIOError) or error.errno == errno.ENOBUFS


def takes(fd: int, seconds: float) -> bool:
    """Whether it takes something within so many seconds."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(seconds * 1000))
