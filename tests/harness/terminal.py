"""A program in a real terminal: what its screen shows, keys, sizes."""

import fcntl
import os
import pty
import struct
import termios
import threading
import time

import pexpect
import pyte
from harness.commands import ROOT, clean
from harness.forks import ON_TERMINAL, Popen
from harness.waiting import PATIENCE

END = b"\0\0end\r"  # no program writes it


class Terminal:
    """A pseudo terminal that is the program's controlling one. Use as a context manager.

    raw  all bytes that the program wrote
    """

    def __init__(self, command, columns=80, lines=24, **environment):
        self._ours, self._theirs = pty.openpty()
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Condition()
        self.raw = bytearray()
        self._set_size(columns, lines)
        self.before = termios.tcgetattr(self._theirs)
        self.process = Popen(
            [*ON_TERMINAL, *command],
            cwd=ROOT,
            env=clean(**environment),
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._theirs)
        self._thread.join(10)
        os.close(self._ours)

    def _read(self):
        while True:
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # nobody has the other side any more
                return
            with self._lock:
                self.raw += data
                self._stream.feed(data)
                self._lock.notify_all()

    @property
    def lines(self):
        """What the screen shows."""
        with self._lock:
            return [line.rstrip() for line in self._screen.display]

    @property
    def modes(self):
        """The terminal's own settings: echo and so on."""
        return termios.tcgetattr(self._theirs)

    def wait_for(self, *texts, seconds=20):
        """Until the screen shows all of these; the lines."""
        until = time.monotonic() + seconds * PATIENCE
        with self._lock:
            while True:
                shown = "\n".join(line.rstrip() for line in self._screen.display)
                if all(text in shown for text in texts):
                    return shown.splitlines()
                if not self._lock.wait(max(0.0, until - time.monotonic())) and time.monotonic() >= until:
                    raise AssertionError(f"no {texts} on the screen:\n{shown}")

    def wait_for_raw(self, data, seconds=20):
        """Until the program wrote these bytes."""
        until = time.monotonic() + seconds * PATIENCE
        with self._lock:
            while data not in self.raw:
                self._lock.wait(max(0.0, until - time.monotonic()))
                assert time.monotonic() < until, bytes(self.raw)

    def press(self, keys):
        os.write(self._ours, keys)

    def resize(self, columns, lines):
        with self._lock:
            self._screen.resize(lines, columns)
        self._set_size(columns, lines)

    def _set_size(self, columns, lines):
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def end(self, seconds=20):
        """Its exit code, once all that it wrote is read."""
        code = self.process.wait(seconds * PATIENCE)
        os.write(self._theirs, END)
        until = time.monotonic() + seconds * PATIENCE
        with self._lock:
            while END not in self.raw:
                assert self._lock.wait(max(0.0, until - time.monotonic())), "the terminal cannot be read"
            self.raw = self.raw.replace(END, b"")
        return code


def interrupt(child, answer):
    """Type Ctrl-C until the command, started by pexpect, has said so or is gone (`answer`: what pexpect expects).

    Python may be about to read, where it no longer sees a signal that came a moment before: then it is typed again.
    """
    for _turn in range(20):
        child.sendintr()
        if child.expect([answer, pexpect.TIMEOUT], timeout=1) == 0:
            return
    raise AssertionError(f"Ctrl-C does not end it: {child.before!r}")
