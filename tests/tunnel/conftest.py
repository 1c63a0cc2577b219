"""What tests share that dial in their own process."""

import gevent
import pytest


@pytest.fixture(autouse=True)
def hub():
    """Its clock is that of its last turn, which may have been in a test long ago: timers would end at once."""
    gevent.get_hub().loop.update_now()
