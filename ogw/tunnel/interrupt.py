"""Ctrl-C in a command that waits in gevent's loop."""

import signal
from typing import Any

from gevent.hub import get_hub
from greenlet import getcurrent


class Interruptible:
    """`with Interruptible(): ...` raises KeyboardInterrupt in the greenlet that entered it, and nowhere else.

    Elsewhere, in the hub or in another greenlet, gevent would report it as an error first. For the main thread only.
    """

    def __enter__(self) -> None:
        loop, caller = get_hub().loop, getcurrent()

        def interrupted(_number: int, _frame: Any) -> None:
            loop.run_callback_threadsafe(caller.throw, KeyboardInterrupt)

        self._before = signal.signal(signal.SIGINT, interrupted)

    def __exit__(self, *exception: object) -> None:
        signal.signal(signal.SIGINT, self._before)
