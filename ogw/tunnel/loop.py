"""What a greenlet needs of gevent's loop: the bits of its events, a limit for a wait, and a way out for Ctrl-C."""

import signal
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
