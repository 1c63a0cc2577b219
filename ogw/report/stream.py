"""A descriptor that somebody else opened, such as standard output, written to without ever waiting.

O_NONBLOCK is not set on it, since it would hold for everybody who shares it: the shell, the program that reads.
"""

import errno
import fcntl
import os
import signal
import socket
import stat
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Optional

from ogw.report.lines import (
    FILE_ATOMIC,
    LONGEST,
    PERHAPS,
    PIPE_ATOMIC,
    Lines,
    Send,
    Torn,
    ends_with_a_line,
    nobody_can_say,
    takes,
)
from ogw.report.severity import as_journal, is_journal

SPLICE_NONBLOCK = 2  # SPLICE_F_NONBLOCK
OVERHEAD = 64  # bytes of half of a buffer that the kernel keeps for itself (net/unix/af_unix.c)
LATE_SECONDS = 0.05
TERMINAL = "/dev/tty"
TIOCGDEV = 0x80045432  # which terminal it is (ioctl_tty(2))


class Stream:
    """A descriptor that somebody else opened, such as standard output. Raises OSError where it cannot be written to."""

    bounced = 0
    trouble = 0

    def __init__(self, fd: int, torn: Optional[Torn] = None) -> None:
        self._given = fd
        self._own: list[Callable[[], None]] = []  # what is ours to close
        mode = os.fstat(fd).st_mode
        if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "it is not open for writing")
        is_file = stat.S_ISREG(mode)
        self.longest = LONGEST if is_file else PIPE_ATOMIC - 1
        self._most = FILE_ATOMIC if is_file else PIPE_ATOMIC
        self._send: Send = self._send_to_file if is_file else self._sender(mode)
        self._is_file = is_file
        begin = as_journal if is_journal(fd) else None
        self.longest -= len("<6>") if begin else 0
        self._lines = Lines(self._most, torn, begin, partial(ends_with_a_line, fd) if is_file else nobody_can_say)
        if torn is None:
            self._lines.torn.by = PERHAPS

    def _send_to_file(self, data: bytes) -> int:
        return os.write(self._given, data)

    def _sender(self, mode: int) -> Send:
        if stat.S_ISSOCK(mode):
            sock = socket.socket(fileno=os.dup(self._given))
            self._own.append(sock.close)
            if sock.type != socket.SOCK_STREAM:
                self._most = 0  # a line a datagram
            elif sock.family == socket.AF_UNIX:
                # The kernel takes more than that in pieces, and another process's lines may come to stand between them.
                piece = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2 - OVERHEAD
                self._most = max(0, min(self._most, piece))
            return lambda data: sock.send(data, socket.MSG_DONTWAIT)
        try:
            own = self._opened_anew()
        except OSError:  # somebody else's, such as the pipe of a container's runtime
            return self._splicer() if stat.S_ISFIFO(mode) else self._send_when_ready
        return lambda data: os.write(own, data)

    def _opened_anew(self) -> int:
        """The same pipe or terminal, with flags of our own."""
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            own = os.open(f"/proc/self/fd/{self._given}", flags)
        except OSError:
            if not _is_our_terminal(self._given):
                raise
            own = os.open(TERMINAL, flags)  # everybody may, whoever logged in there (sudo)
        self._own.append(partial(os.close, own))
        packets = fcntl.fcntl(self._given, fcntl.F_GETFL) & os.O_DIRECT
        fcntl.fcntl(own, fcntl.F_SETFL, os.O_NONBLOCK | packets)
        return own

    def _splicer(self) -> Send:
        """What is moved from another pipe can be asked not to wait, whatever the flags of the descriptor say."""
        reading, writing = os.pipe()
        self._own += [partial(os.close, reading), partial(os.close, writing)]

        def send(data: bytes) -> int:
            os.write(writing, data)  # it has room for PIPE_ATOMIC: it is empty
            try:
                return os.splice(reading, self._given, len(data), flags=SPLICE_NONBLOCK)
            finally:
                _empty(reading)

        os.set_blocking(reading, False)
        return send

    def _send_when_ready(self, data: bytes) -> int:
        """For somebody else's terminal, or another device that cannot be asked not to wait: a clock ends its wait."""
        if not takes(self._given, 0):
            raise BlockingIOError(errno.EAGAIN, "it takes nothing now")
        if threading.current_thread() is not threading.main_thread():
            return os.write(self._given, data)  # that of a buffer: nobody waits for it
        before = signal.signal(signal.SIGALRM, _be_late)
        try:
            signal.setitimer(signal.ITIMER_REAL, LATE_SECONDS, LATE_SECONDS)
            return os.write(self._given, data)
        except _Late:
            return 1  # or more, or none: what comes next begins a line of its own
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def write(self, lines: Sequence[str]) -> int:
        return (self._lines.send_to_file if self._is_file else self._lines.send)(lines, self._send)

    def wait(self, seconds: float) -> None:
        takes(self._given, seconds)

    def fresh(self) -> "Stream":
        return Stream(self._given, self._lines.torn)

    def close(self) -> None:
        self._send = _closed  # the numbers may be somebody else's from now on
        for close in self._own:
            close()
        self._own.clear()


def _closed(_data: bytes) -> int:
    raise OSError(errno.EBADF, "it is closed")


class _Late(Exception):
    pass


def _be_late(_number: int, _frame: object) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    raise _Late


def _is_our_terminal(fd: int) -> bool:
    """Whether it is the terminal that TERMINAL stands for."""
    try:
        with open(TERMINAL, "rb", buffering=0) as ours:
            return _device_of(fd) == _device_of(ours.fileno())
    except OSError:
        return False


def _device_of(terminal: int) -> bytes:
    return fcntl.ioctl(terminal, TIOCGDEV, bytes(4))


def _empty(fd: int) -> None:
    try:
        while os.read(fd, PIPE_ATOMIC):
            pass
    except BlockingIOError:
        pass
