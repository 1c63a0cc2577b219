"""What goes on beside a test: a thread from the begin of a block to its end."""

import threading

from harness.waiting import PATIENCE


class Aside:
    """Runs `run` in a thread of its own. Use as a context manager.

    over  an Event, set at the end of the block, which waits for `run` to come back
    """

    def __init__(self):
        self.over = threading.Event()
        self._thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        raise NotImplementedError

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self.over.set()
        self._thread.join(60 * PATIENCE)
        assert not self._thread.is_alive()
