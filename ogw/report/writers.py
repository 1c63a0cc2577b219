"""What stands between the log and its sink: a bounded buffer emptied by a thread, or nothing at all."""

import os
import threading
from collections import deque
from typing import Optional

from ogw.report.sinks import Sink

BUFFER_LINES = 10_000
GATHER_SECONDS = 0.1  # lines wait at most twice this long
CLOSE_SECONDS = 1.0


class Direct:
    """A writer without buffer and thread, for a process that says little and must never wait for a reader."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.longest = sink.longest
        self.lost = 0
        self.failing = False
        self.has_room = True
        self.written = 0

    def put(self, line: str) -> bool:
        """Write it now, or lose it where that would have to wait."""
        try:
            if not self._sink.takes():
                raise BlockingIOError
            self._sink.write([line])
        except (OSError, ValueError):
            self.failing = True
            self.lost += 1
            return False
        self.failing = False
        self.written += 1
        return True

    def reopen(self) -> None:
        self._sink.reopen()

    def close(self, seconds: float = 0.0) -> None:
        self._sink.close()


class Writer:
    """The bounded buffer between the loop and a sink, and the thread that empties it."""

    def __init__(self, sink: Sink, most_lines: int = BUFFER_LINES) -> None:
        self._sink = sink
        self.longest = sink.longest
        self._most = most_lines
        self._lines: deque[str] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: Optional[threading.Thread] = None
        self._pid = 0
        self.lost = 0  # lines that found no room, or that the sink refused
        self.failing = False  # the last write failed
        self.written = 0

    def put(self, line: str) -> bool:
        """Take a line without ever blocking; False if there was no room for it."""
        if len(self._lines) >= self._most:
            self.lost += 1
            return False
        self._lines.append(line)
        if not self._wake.is_set():
            self._start()
            self._wake.set()
        return True

    @property
    def has_room(self) -> bool:
        """Whether a line and the news of lost lines both find room."""
        return len(self._lines) + 2 <= self._most

    def _start(self) -> None:
        # With the first line, and in the process that logs: a thread does not live through a fork.
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._closing.wait(GATHER_SECONDS)
            self._wake.clear()
            batch: list[str] = []
            while self._lines and len(batch) < 1000:
                batch.append(self._lines.popleft())
            if self._lines:
                self._wake.set()
            if batch:
                self._write(batch)
            if self._closing.is_set() and not self._lines:
                return

    def _write(self, batch: list[str]) -> None:
        try:
            self._sink.write(batch)
        except (OSError, ValueError):
            self.failing = True
            self.lost += len(batch)
        else:
            self.failing = False
            self.written += len(batch)

    def reopen(self) -> None:
        self._sink.reopen()

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Give what is gathered `seconds` to be written; a sink that does not take it is left alone."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None and self._pid == os.getpid():
            self._thread.join(seconds)
