"""What a greenlet needs of gevent's loop: the bits of its events, limits for a wait, and a way out for Ctrl-C."""

import signal
import time
from itertools import takewhile
from typing import Any

from gevent.hub import get_hub
from greenlet import getcurrent

READ, WRITE = 1, 2  # the bits by which libev tells what a watcher waits for


class Expired(BaseException):
    """The deadline passed. Not an Exception: nothing on the way may swallow it."""


class Deadline:
    """`with Deadline(seconds): ...` raises Expired inside the block, in whatever it waits for.

    For greenlets that wait by switching to the hub. A fifth of the cost of gevent.Timeout, which every tunnel would pay
    two or three times.
    """

    __slots__ = ("_timer",)

    def __init__(self, seconds: float) -> None:
        self._timer: Any = get_hub().loop.timer(max(seconds, 0.0))

    def __enter__(self) -> "Deadline":
        self._timer.start(getcurrent().throw, Expired)
        return self

    def __exit__(self, *exception: object) -> None:
        self._timer.stop()
        self._timer.close()


class Limit:
    """`with limit: ...` is as `with Deadline(seconds): ...`, for many that wait equally long: one timer for them all.

    A third of the cost of a Deadline for each. A greenlet is in it once at a time.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        # Greenlets, and when: the first of them is the next. Not by the loop's own clock, which may be set.
        self._due: dict[Any, float] = {}
        self._timer: Any = None  # runs while somebody may be due

    def __enter__(self) -> "Limit":
        self._due[getcurrent()] = time.monotonic() + self.seconds
        if self._timer is None:
            self._strike_in(self.seconds)
        return self

    def __exit__(self, *exception: object) -> None:
        self._due.pop(getcurrent(), None)

    def _strike_in(self, seconds: float) -> None:
        self._timer = get_hub().loop.timer(max(seconds, 0.0))
        self._timer.start(self._strike)

    def _strike(self) -> None:
        self._timer.close()
        self._timer = None
        now = time.monotonic()
        for late in list(takewhile(lambda greenlet: self._due[greenlet] <= now, self._due)):
            if self._due.pop(late, None) is not None:  # else it came out when another one was thrown out
                late.throw(Expired)
        if self._due and self._timer is None:
            self._strike_in(next(iter(self._due.values())) - now)


class Readiness:
    """`with Readiness(sock, READ) as readable: ... readable.wait()`: for a greenlet that waits for it again and again.

    Its watcher stands from the first wait on, so that a message costs no setting up of another. It must `rest` while
    the greenlet waits for anything else, or does not wait any more: that is what would be woken.
    """

    __slots__ = ("_io", "_is_more_likely", "_sock", "_stands_for")

    def __init__(self, sock: Any, events: int) -> None:
        self._sock = sock
        self._io: Any = get_hub().loop.io(sock.fileno(), events)
        self._stands_for: Any = None  # the greenlet that it wakes
        self._is_more_likely = False  # the last read was a full one

    def __enter__(self) -> "Readiness":
        return self

    def __exit__(self, *exception: object) -> None:
        self.rest()

    def wait(self) -> None:
        current = getcurrent()
        if self._stands_for is not current:
            self._io.stop()
            self._stands_for = current
            self._io.start(current.switch)
        get_hub().switch()

    def receive(self, size: int) -> bytes:
        """What is there, once something is; b"" at the end. Raises OSError."""
        while True:
            if not self._is_more_likely:
                self.wait()
            self._is_more_likely = False
            try:
                data: bytes = self._sock.recv(size)
            except BlockingIOError:
                continue
            self._is_more_likely = len(data) == size
            return data

    def rest(self) -> None:
        """Wake the caller no more; another greenlet's is not touched."""
        if self._stands_for is getcurrent():
            self._io.stop()
            self._stands_for = None

    def close(self) -> None:
        """Before the socket is closed; a second time it does nothing."""
        io, self._io = self._io, None
        if io is not None:
            io.stop()
            io.close()


class Interruptible:
    """`with Interruptible(): ...` raises KeyboardInterrupt in the greenlet that entered it, and nowhere else.

    For commands that wait in the loop: elsewhere, in the hub or in another greenlet, gevent would report it as an error
    first. For the main thread only.
    """

    def __enter__(self) -> None:
        loop, caller = get_hub().loop, getcurrent()

        def interrupted(_number: int, _frame: Any) -> None:
            loop.run_callback_threadsafe(caller.throw, KeyboardInterrupt)

        self._before = signal.signal(signal.SIGINT, interrupted)

    def __exit__(self, *exception: object) -> None:
        signal.signal(signal.SIGINT, self._before)
