"""Clients whose tunnels come at a rate, or one after another: what of them was refused, and what was lost."""

import threading
import time

from harness.aside import Aside
from harness.waiting import PATIENCE


class Steady(Aside):
    """Opens `rate` tunnels a second, whatever becomes of them.

    tunnel  opens one, uses it and closes it; raises OSError or AssertionError
    done    how many were
    failed  what was raised by the others
    """

    def __init__(self, tunnel, rate=100):
        super().__init__()
        self._open, self._rate = tunnel, rate
        self.done, self.failed = 0, []

    def run(self):
        due = time.monotonic()
        threads = []
        while not self.over.wait(max(0.0, due - time.monotonic())):
            due += 1 / self._rate
            threads = [thread for thread in threads if thread.is_alive()]
            threads.append(threading.Thread(target=self._tunnel, daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join(60 * PATIENCE)

    def _tunnel(self):
        try:
            self._open()
        except (OSError, AssertionError) as error:
            self.failed.append(repr(error))
        else:
            self.done += 1


class OneByOne(Aside):
    """Opens the next when the one before is over, as fast as they are served.

    passes  opens a tunnel, uses it and closes it: whether it passed; raises OSError
    """

    def __init__(self, passes):
        super().__init__()
        self._passes = passes
        self.passed = self.refused = self.lost = 0

    def run(self):
        while not self.over.is_set():
            try:
                passed = self._passes()
            except ConnectionRefusedError:
                self.refused += 1
            except OSError:
                self.lost += 1
            else:
                self.passed += passed
                self.lost += not passed
