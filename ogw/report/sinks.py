"""Where log lines go: standard output, a file of the gateway's own, or the system's log.

No sink ever waits, whatever reads it: what is not taken at once is the caller's to keep or to lose.
"""

import errno
import os
import socket
import stat
import sys
import time
from collections.abc import Sequence
from typing import Any, Optional, Protocol, Union

from ogw.report.lines import FILE_ATOMIC, LONGEST, PERHAPS, PIPE_ATOMIC, Lines, Torn, ends_with_a_line, is_full, takes
from ogw.report.losses import ASTRAY, cause_of
from ogw.report.severity import as_syslog
from ogw.report.stream import Stream

Address = Union[str, tuple[str, int]]


class Sink(Protocol):
    """Where lines go.

    longest  bytes of a line that it may have, its end not counted; 0 for any
    bounced  lines that were taken, and turned out to be lost later
    trouble  why lines are taken elsewhere than they should be, as a cause (report/losses.py); 0 for no reason
    """

    longest: int
    bounced: int
    trouble: int

    def write(self, lines: Sequence[str]) -> Optional[int]:
        """How many of them, the first ones, were taken; None for all. Raises OSError where the first never will be."""

    def wait(self, seconds: float) -> None:
        """Until it may take more, or the time is over."""

    def fresh(self) -> "Sink":
        """The same place for a process that was forked; a place that is gone is looked for at each write."""

    def close(self) -> None: ...


class File:
    """A file of its own, opened for appending; opened again when it was renamed away or deleted (logrotate).

    A rotation may leave nothing that could be opened, such as a folder without a right to write. Then lines go on into
    the file that was renamed away, which whoever renamed it will read.

    A FIFO has readers that come and go: while there is none, lines are lost. Raises OSError unless `later`.

    kept  a descriptor of the file that was renamed away, for a process that was forked meanwhile; -1 for none
    """

    bounced = 0

    def __init__(self, path: str, torn: Optional[Torn] = None, later: bool = False, kept: int = -1) -> None:
        self._path = path
        self._fd = -1
        self.trouble = 0
        self.longest = LONGEST
        self._is_file = True
        self._lines = Lines(FILE_ATOMIC, torn, ends=self._ends)
        try:
            self._open()
        except OSError as error:
            if not later and not (error.errno == errno.ENXIO and stat.S_ISFIFO(os.stat(path).st_mode)):
                raise
            self._fd = -1
            if _is_kept(kept):
                self._fd, self.trouble = os.dup(kept), cause_of(error) + ASTRAY
        if torn is None:
            self._lines.torn.by = PERHAPS  # by a full disk, or a machine that lost power

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        try:
            fd = os.open(self._path, flags)
        except FileNotFoundError:
            fd = os.open(self._path, flags | os.O_CREAT, 0o640)
        self.close()
        self._fd = fd
        self._is_file = is_file = stat.S_ISREG(os.fstat(fd).st_mode)
        self.longest = LONGEST if is_file else PIPE_ATOMIC - 1
        self._lines = Lines(FILE_ATOMIC if is_file else PIPE_ATOMIC, self._lines.torn, ends=self._ends)

    def _ends(self) -> Optional[bool]:
        return ends_with_a_line(self._fd)

    def _is_there(self) -> bool:
        """What is open is what has the name."""
        if self._fd < 0:
            return False
        try:
            there = os.stat(self._path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            there = None  # nobody can say: what is open takes lines, unless it is deleted
        try:
            here = os.fstat(self._fd)
        except OSError:
            return False  # of a server that was started anew (NFS)
        if there is None:
            return here.st_nlink > 0
        return (there.st_ino, there.st_dev) == (here.st_ino, here.st_dev)

    def _follow(self) -> None:
        """See that what is open is what has the name; or else, where that cannot be opened, what had it."""
        if not self._is_there():
            try:
                self._open()
            except OSError as error:
                if not _is_kept(self._fd):
                    raise
                self.trouble = cause_of(error) + ASTRAY
                return
            self._lines.torn.by = PERHAPS  # what has the name now
        self.trouble = 0

    def write(self, lines: Sequence[str]) -> int:
        self._follow()
        send = self._lines.send_to_file if self._is_file else self._lines.send
        try:
            return send(lines, lambda data: os.write(self._fd, data))
        except BrokenPipeError:
            self.close()  # the next write looks for another reader
            raise

    def wait(self, seconds: float) -> None:
        takes(self._fd, seconds)

    def fresh(self) -> "File":
        return File(self._path, self._lines.torn, later=True, kept=self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _is_kept(fd: int) -> bool:
    """It is a file that has a name still, so that what is written there is not lost."""
    try:
        here = os.fstat(fd)
    except OSError:
        return False
    return stat.S_ISREG(here.st_mode) and here.st_nlink > 0


class Syslog:
    """The system's log, through its socket (/dev/log) or to (host, port) over UDP. Raises OSError unless `later`.

    A name is looked up once, at the start. When whoever listens has gone, each write tries to connect again.
    """

    longest = PIPE_ATOMIC - 1 - len(as_syslog(""))
    trouble = 0

    def __init__(self, address: Address, places: Sequence[Any] = (), later: bool = False) -> None:
        self._address = address
        self.bounced = 0
        self._sock: Optional[socket.socket] = None
        self._lines: Optional[Lines] = None  # of a stream
        try:
            self._places = list(places or _places_of(address))
            self._connect()
        except OSError as error:
            # A network that is not there yet is no mistake; a name that nobody knows is.
            if not later and (isinstance(address, str) or isinstance(error, socket.gaierror)):
                error.filename = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
                raise

    def _connect(self) -> socket.socket:
        """Raises OSError, of the last place that was tried."""
        self.close()
        failed = OSError(errno.EHOSTUNREACH, "it has no address")
        for family, kind, place in self._places:
            sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
            try:
                sock.connect(place)
            except OSError as error:
                sock.close()
                failed = error
                if family == socket.AF_UNIX and error.errno != errno.EPROTOTYPE:
                    break
                continue
            self._sock = sock
            self._lines = Lines(PIPE_ATOMIC, begin=as_syslog) if kind == socket.SOCK_STREAM else None
            return sock
        raise failed

    def write(self, lines: Sequence[str]) -> int:
        try:
            return self._write(self._sock or self._connect(), lines)
        except OSError as error:
            if is_full(error):
                return 0
            if error.errno == errno.EMSGSIZE:
                raise
        try:
            return self._write(self._connect(), lines)
        except OSError as error:
            if is_full(error):
                return 0
            self.close()
            raise

    def _write(self, sock: socket.socket, lines: Sequence[str]) -> int:
        if self._lines is not None:
            return self._lines.send(lines, lambda data: sock.send(data))
        for taken, line in enumerate(lines):
            try:
                self._send(sock, f"{as_syslog(line)}{line}".encode("utf-8", "backslashreplace"))
            except OSError:
                if taken:
                    return taken
                raise
        return len(lines)

    def _send(self, sock: socket.socket, data: bytes) -> None:
        try:
            sock.send(data)
        except ConnectionRefusedError:
            if sock.family == socket.AF_UNIX:
                raise
            self.bounced += 1  # over UDP it is about an earlier line
            if len(self._places) > 1:
                self._places = [*self._places[1:], self._places[0]]  # such as the other family of localhost
                raise
            sock.send(data)

    def wait(self, seconds: float) -> None:
        if self._sock is None:
            time.sleep(seconds)  # until it is worth another try to connect
        else:
            takes(self._sock.fileno(), seconds)

    def fresh(self) -> "Syslog":
        return Syslog(self._address, self._places, later=True)

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def _places_of(address: Address) -> list[tuple[int, int, Any]]:
    """(family, kind, where) of each socket that could be it."""
    if isinstance(address, str):
        return [(socket.AF_UNIX, kind, address) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]
    found = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)
    return [(family, socket.SOCK_DGRAM, place) for family, _kind, _protocol, _name, place in found]


class Nowhere:
    """Takes everything and keeps nothing."""

    longest = PIPE_ATOMIC - 1
    bounced = 0
    trouble = 0

    def write(self, lines: Sequence[str]) -> None:
        pass

    def wait(self, seconds: float) -> None:
        pass

    def fresh(self) -> "Nowhere":
        return self

    def close(self) -> None:
        pass


def open_sink(file: str, syslog: Optional[Address]) -> Sink:
    """The file, the system's log, or standard output. Raises OSError."""
    if file:
        return File(file)
    if syslog:
        return Syslog(syslog)
    if sys.stdout is None:
        raise OSError(errno.EBADF, "it is closed", "standard output")
    try:
        return Stream(sys.stdout.fileno())
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}; open it, or set log-file or syslog", "standard output") from None
