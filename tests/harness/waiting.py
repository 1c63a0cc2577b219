"""Waiting for what must come: within a bound, which is there to end a test that waits in vain, not to time anything."""

import os
import time

# By which all bounds are multiplied: more where tests run beside each other, or the machine is slow.
PATIENCE = float(os.environ.get("OGW_TEST_PATIENCE") or ("PYTEST_XDIST_WORKER" in os.environ) * 2 + 1)
PAUSE = 0.005


def until(condition, seconds=60, what="it did not come to that"):
    """Ask again and again until it is true; what it was in the end. `what` says why not, if it may be called."""
    end = time.monotonic() + seconds * PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, what() if callable(what) else what
        time.sleep(PAUSE)
    return value
