"""Where log lines go: standard output, a file of the gateway's own, or the system's log."""

import errno
import fcntl
import logging
import logging.handlers
import os
import select
import socket
import stat
import sys
from collections.abc import Sequence
from typing import Optional, Protocol, Union

PIPE_ATOMIC = 4096  # PIPE_BUF: longer writes interleave with another process's (pipe(7))


class Sink(Protocol):
    """Where lines go. `write` takes whole lines without their ends, blocks while it must, and raises OSError.

    takes    whether a line would be taken without a wait
    reopen   the file was renamed away: open it anew
    longest  bytes of a line that is surely taken whole and without a wait, its end not counted; 0 for any
    """

    longest: int

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
        is_file = stat.S_ISREG(os.fstat(fd).st_mode)
        self._most = 1 << 20 if is_file else PIPE_ATOMIC
        self.longest = 0 if is_file else PIPE_ATOMIC - 1

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

    longest = 0

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

    longest = 0

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


def is_writable(fd: int) -> bool:
    """Whether it is open for writing. What stands in for a closed standard output is not (cli/streams.py)."""
    try:
        return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
    except OSError:
        return False


def open_sink(file: str, syslog: Union[str, tuple[str, int], None]) -> Sink:
    """The file, the system's log, or standard output. Raises OSError."""
    if file:
        return File(file)
    if syslog:
        return Syslog(syslog)
    return Stream(sys.stdout.fileno())
