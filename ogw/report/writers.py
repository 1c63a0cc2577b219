"""What stands between the log and its sink: a bounded buffer emptied by a thread, or nothing at all.

Every line that is put is written or lost, and counted as one of them: `lost` and the cells LINES and LINES_LOST say how
many.
"""

import errno
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Optional

from ogw.report.losses import SLOW, cause_of
from ogw.report.metrics import CELLS, LINES, LINES_LOST, LINES_TOLD, LOG_TROUBLE, LOST_WHY
from ogw.report.sinks import Sink

BUFFER_LINES = 10_000
GATHER_SECONDS = 0.1  # lines wait at most twice this long
RETELL_SECONDS = 1.0  # between two tries to write news of lost lines
LOOK_SECONDS = 0.1  # how long a sink that takes nothing is waited for before the thread looks whether to end
CLOSE_SECONDS = 1.0


BOUNCED = errno.ECONNREFUSED


class News(str):
    """A line that tells of so many lost ones."""

    tells: int

    def __new__(cls, line: str, tells: int) -> "News":
        news = super().__new__(cls, line)
        news.tells = tells
        return news


def _bounced(sink: Sink) -> int:
    """Lines that it took and that turned out to be lost since the last time."""
    bounced = getattr(sink, "bounced", 0)
    if bounced:
        sink.bounced = 0
    return bounced


def _trouble(sink: Sink) -> int:
    return getattr(sink, "trouble", 0)


def _trouble_now(sink: Sink) -> int:
    """The same after another look; nothing is written."""
    try:
        sink.write([])
    except Exception as error:
        return cause_of(error)
    return _trouble(sink)


class Direct:
    """A writer without buffer and thread, for a process that says little and must never wait for a reader."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.cells: Any = [0] * CELLS
        self.lost = 0
        self._published = 0  # of those lost: so many are in the cells
        self.told = 0  # so many a line that was taken tells of
        self._told_last = 0  # by the last line
        self.telling = 0
        self.retells = False
        self.failing = False
        self.why = SLOW  # a cause: report/losses.py
        self.has_room = True
        self.written = 0

    @property
    def longest(self) -> int:
        return self.sink.longest

    def put(self, line: str, tells: int = 0) -> bool:
        """Write it now, or lose it where that would have to wait. News (`tells`) that is not taken was never said."""
        try:
            taken, cause = self.sink.write([line]) != 0, 0
        except Exception as error:
            taken, cause = False, cause_of(error)
        bounced = self._take_back()
        self.failing = not taken or bounced > 0
        self.cells[LOG_TROUBLE] = cause or _trouble(self.sink)
        if not taken:
            self._lose(not tells, cause or SLOW)
            return False
        self.written += 1
        self.cells[LINES] += 1
        self._tell(tells)
        return True

    def _lose(self, lines: int, cause: int) -> None:
        self.lost += lines
        self.why = cause

    def _tell(self, lines: int) -> None:
        self._told_last = lines
        self.told += lines
        self.cells[LINES_TOLD] += lines

    def _take_back(self) -> int:
        """Lines that were taken and bounced are lost, and if the last was news, it told nobody."""
        bounced = _bounced(self.sink)
        if bounced:
            self._lose(bounced, BOUNCED)
            self.written -= bounced
            self.cells[LINES] -= bounced
            self._tell(-self._told_last)
            self._told_last = 0
        return bounced

    def look(self) -> None:
        """Whether lines may go again where they should."""
        if _trouble(self.sink):
            self.cells[LOG_TROUBLE] = _trouble_now(self.sink)

    def count(self) -> None:
        """Put into the cells what was lost."""
        self._take_back()
        new = self.lost - self._published
        if new:
            self._published += new
            self.cells[LINES_LOST] += new
            self.cells[LOST_WHY] = self.why

    def close(self) -> None:
        self.count()
        self.sink.close()


class Writer:
    """The bounded buffer between the loop and a sink, and the thread that empties it.

    lost  those that found no room, or that the sink refused
    """

    def __init__(self, sink: Sink, most_lines: int = BUFFER_LINES) -> None:
        self.sink = sink
        self.cells: Any = [0] * CELLS
        self._most = most_lines
        self._lines: deque[str] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._until = 0.0  # when the thread gives up, once it is closing
        self._thread: Optional[threading.Thread] = None
        self._pid = 0
        self.why = SLOW  # a cause: report/losses.py
        # Only the thread changes these:
        self._refused = 0
        self._published = 0  # of the lost ones: so many are in the cells
        self.written = 0
        self.told = 0  # of those lost: so many a line that was taken tells of
        self._told_last = 0  # by the last lines
        self._answered = 0  # of `_asked`
        self.failing = False  # the last write failed
        self._kept: list[str] = []  # news that were refused: they are tried again, so that they count as no loss
        # And only the loop these:
        self._dropped = 0  # there was no room
        self._asked = 0  # lines that news on their way tell of

    @property
    def longest(self) -> int:
        return self.sink.longest

    def put(self, line: str, tells: int = 0) -> bool:
        """Take a line without ever blocking; False if there was no room for it. `tells`: of so many lost ones."""
        if len(self._lines) >= self._most:
            self._dropped += 1
            return False
        if tells:
            line = News(line, tells)
            self._asked += tells
        self._lines.append(line)
        if not self._wake.is_set() and self._start():
            self._wake.set()
        return True

    @property
    def lost(self) -> int:
        return self._dropped + self._refused

    def count(self) -> None:
        """Put into the cells what was lost. The thread does so by itself; this is for when there is none."""
        if self._thread is None or not self._thread.is_alive():
            self._publish()

    def _publish(self) -> None:
        new = self.lost - self._published
        if new:
            self._published += new
            self.cells[LINES_LOST] += new
            self.cells[LOST_WHY] = self.why

    def look(self) -> None:
        """Whether lines may go again where they should: the thread looks by itself."""

    @property
    def telling(self) -> int:
        """Lost lines that news on their way tell of."""
        return self._asked - self._answered

    @property
    def retells(self) -> bool:
        """Whether news were refused and are tried again: until they are taken, more would be refused, too."""
        return bool(self._kept)

    @property
    def has_room(self) -> bool:
        """Whether a line and the news of lost lines both find room."""
        return len(self._lines) + 2 <= self._most

    def _start(self) -> bool:
        """The thread, where there is none yet; False where there can be none."""
        # With the first line, and in the process that logs: a thread does not live through a fork.
        if self._pid != os.getpid():
            thread = threading.Thread(target=self._run, name="log writer", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return False  # a limit of the system; the next line tries again
            self._pid, self._thread = os.getpid(), thread
        return True

    def _run(self) -> None:
        while True:
            self._publish()
            self._wake.wait(RETELL_SECONDS if self._kept or _trouble(self.sink) else None)
            self._closing.wait(GATHER_SECONDS)
            self._wake.clear()
            batch, self._kept = self._kept, []
            while self._lines and len(batch) < 1000:
                batch.append(self._lines.popleft())
            if self._lines:
                self._wake.set()
            self._write(batch)
            if not batch and _trouble(self.sink):
                self.cells[LOG_TROUBLE] = _trouble_now(self.sink)
            if self._closing.is_set() and (not self._lines or self._is_late()):
                self._lose([*self._kept, *self._lines], SLOW)
                self._lines.clear()
                self._publish()
                return

    def _is_late(self) -> bool:
        return self._closing.is_set() and time.monotonic() >= self._until

    def _write(self, batch: Sequence[str]) -> None:
        waited = False
        while batch:
            try:
                taken = self.sink.write(batch)
            except Exception as error:
                self.failing = True
                self.cells[LOG_TROUBLE] = cause_of(error)
                self._keep_or_lose(batch[0], cause_of(error))
                batch = batch[1:]
                continue
            if taken != 0:
                self.cells[LOG_TROUBLE] = _trouble(self.sink)
                self.failing, waited = False, False
                taken = len(batch) if taken is None else taken
                self._took(batch[:taken])
                batch = batch[taken:]
            elif self._is_late():
                self._lose(batch, SLOW)
                return
            else:
                self._publish()  # what found no room meanwhile
                if waited:
                    time.sleep(LOOK_SECONDS / 10)  # it said that it takes something, and took nothing
                self.sink.wait(LOOK_SECONDS)
                waited = True

    def _took(self, lines: Sequence[str]) -> None:
        bounced = _bounced(self.sink)
        self.written += len(lines) - bounced
        self.cells[LINES] += len(lines) - bounced
        told = tells = sum(line.tells for line in lines if isinstance(line, News)) if self.telling else 0
        if bounced:  # and the news among them, or before them, may be what bounced
            self._refused += bounced
            self.failing, self.why = True, BOUNCED
            told = -self._told_last
        self._told_last = 0 if bounced else tells
        if told:
            self.told += told
            self.cells[LINES_TOLD] += told
        self._answered += tells

    def _keep_or_lose(self, line: str, cause: int) -> None:
        if isinstance(line, News) and not self._closing.is_set():
            self._kept.append(line)
        else:
            self._lose([line], cause)

    def _lose(self, lines: Sequence[str], cause: int) -> None:
        self._refused += len(lines)
        self.why = cause
        if self.telling:
            self._answered += sum(line.tells for line in lines if isinstance(line, News))

    def close(self) -> None:
        """Give what is gathered CLOSE_SECONDS to be written; what a sink does not take by then is lost."""
        self._until = time.monotonic() + CLOSE_SECONDS
        self._closing.set()
        self._wake.set()
        if self._thread is not None and self._pid == os.getpid():
            self._thread.join(CLOSE_SECONDS + 2 * LOOK_SECONDS)
        self.count()
