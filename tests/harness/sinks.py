"""Where a gateway's log goes in tests: things that take nothing, not any more, or only a part."""

import fcntl
import json
import os
import socket
import subprocess
import termios

from harness.admin import ask, metrics
from harness.gateway import Gateway
from harness.waiting import until


def lines_of(data):
    """The lines of a log as JSON; what is none is under "unreadable"."""
    found = []
    for line in data.decode("utf-8").split("\n"):
        try:
            found.append(json.loads(line))
        except ValueError:
            if line:
                found.append({"unreadable": line})
    return found


class Pipe:
    """One that is read only when the test says so. A context manager."""

    def __init__(self, size=4096):
        self.reading, self.writing = os.pipe()
        fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, size)
        os.set_blocking(self.reading, False)
        self.data = b""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for fd in (self.reading, self.writing):
            if fd >= 0:
                os.close(fd)

    def hang_up(self):
        """Nobody will ever read it."""
        os.close(self.reading)
        self.reading = -1

    def read(self):
        """All that is there, as lines of it and of what was read before."""
        self.data += drained(self.reading)
        return lines_of(self.data)


def drained(fd):
    data = b""
    try:
        while piece := os.read(fd, 1 << 16):
            data += piece
    except (BlockingIOError, OSError):
        pass
    return data


PRIORITIES = {"error": b"<27>", "warning": b"<28>", "info": b"<30>", "debug": b"<31>"}


class SystemLog:
    """A socket such as /dev/log, of kind SOCK_DGRAM or SOCK_STREAM, or UDP where `path` is (host, port).

    It reads when the test says so, may go away and come back. A context manager.
    """

    def __init__(self, path, kind=socket.SOCK_DGRAM):
        self._path, self._kind = path, kind
        self.data = b""
        self._connections = []
        self.sock = None
        self.come()

    def come(self):
        family = socket.AF_UNIX
        if not isinstance(self._path, str):
            family = socket.AF_INET6 if ":" in self._path[0] else socket.AF_INET
        self.sock = socket.socket(family, self._kind)
        self.sock.bind(self._path)
        if isinstance(self._path, tuple):
            self._path = self.sock.getsockname()
        self.sock.setblocking(False)
        if self._kind == socket.SOCK_STREAM:
            self.sock.listen(16)

    @property
    def place(self):
        if isinstance(self._path, str):
            return self._path
        host, port = self._path[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def go(self):
        for sock in (self.sock, *self._connections):
            sock.close()
        self._connections.clear()
        if isinstance(self._path, str):
            os.unlink(self._path)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.go()

    def read(self):
        """What came, as lines; each must have its priority in front, once, with the severity of its level."""
        if self._kind == socket.SOCK_STREAM:
            try:
                while True:
                    connection, _address = self.sock.accept()
                    connection.setblocking(False)
                    self._connections.append(connection)
            except BlockingIOError:
                pass
        for sock in self._connections or [self.sock]:
            try:
                while piece := sock.recv(1 << 16):
                    self.data += piece if self._connections else piece + b"\n"
            except OSError:
                pass
        return [_without_priority(line, PRIORITIES, b"ogw: ") for line in self.data.split(b"\n") if line]


def _without_priority(line, priorities, name=b""):
    entry = lines_of(line[4 + len(name) :])[0] if len(line) > 4 + len(name) else {}
    right = priorities.get(entry.get("level", "info"), b"?") + name
    return entry if line.startswith(right) else {"unreadable": line.decode()}


class Terminal:
    """One that a person may stop with Ctrl-S; `other` is the gateway's side of it. A context manager."""

    def __init__(self):
        self._own, self.other = os.openpty()
        modes = termios.tcgetattr(self.other)
        modes[1] &= ~termios.OPOST
        modes[3] &= ~termios.ECHO
        termios.tcsetattr(self.other, termios.TCSANOW, modes)
        os.set_blocking(self._own, False)
        self.data = b""

    def press(self, key):
        os.write(self._own, key)

    def read(self):
        self.data += drained(self._own)
        return lines_of(self.data)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        os.close(self._own)
        os.close(self.other)


class Mute(Gateway):
    """A gateway whose log is not read through its standard output; its state is asked for instead."""

    def __init__(self, *flags, stdout=subprocess.DEVNULL, **more):
        super().__init__("--log-format", "json", *flags, stdout=stdout, **more)

    def __enter__(self):
        try:
            until(self.is_ready)
        except AssertionError:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it does not start: {self.stderr}") from None
        return self

    def is_ready(self):
        try:
            return ask(self, "/readyz")[0] == 200
        except OSError:
            return False

    def metric(self, name):
        return metrics(self)[name]

    @property
    def lost(self):
        return self.metric("ogw_log_lines_lost_total")
