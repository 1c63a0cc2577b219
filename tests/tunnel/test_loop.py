"""The limit of a wait: it ends the block that it is for, and nothing behind it."""

import time

import gevent
import pytest
from gevent.hub import get_hub
from greenlet import getcurrent

from ogw.tunnel.loop import Deadline, Expired, Limit


def wait_a_turn():
    get_hub().loop.run_callback(getcurrent().switch)
    get_hub().switch()


def overslept(*seconds):
    """Deadlines that are due while the block still runs; it ends with what it waited for, in the turn they are due."""
    with Deadline(seconds[0]):
        if seconds[1:]:
            overslept(*seconds[1:])
        else:
            time.sleep(0.02)  # away from the loop, which then finds all of them due at once
            wait_a_turn()


@pytest.mark.parametrize("deadlines", [(0.001,), (0.001, 0.001), (0.001, 0.002, 0.0)])
def test_a_deadline_that_is_due_with_what_was_waited_for_strikes_once_or_never_and_not_later(deadlines):
    ended = []

    def run():
        try:
            overslept(*deadlines)
        except Expired:
            ended.append("expired")
        for _turn in range(10):
            wait_a_turn()
        gevent.sleep(0.02)
        ended.append("after")

    with gevent.Timeout(20):
        gevent.spawn(run).get()
    assert ended in (["after"], ["expired", "after"])


def test_a_block_that_waits_for_longer_is_left():
    def run():
        with pytest.raises(Expired), Deadline(0.01):
            get_hub().switch()
        return True

    with gevent.Timeout(20):
        assert gevent.spawn(run).get()


def test_a_limit_ends_the_waits_of_those_who_are_due_each_at_its_time():
    limit, order = Limit(0.05), []

    def run(name, waits):
        gevent.sleep(waits)
        began = time.monotonic()
        try:
            with limit:
                get_hub().switch()
        except Expired:
            order.append((name, time.monotonic() - began >= 0.049))

    with gevent.Timeout(20):
        gevent.joinall([gevent.spawn(run, name, waits) for name, waits in (("b", 0.02), ("a", 0.0), ("c", 0.2))])
    assert order == [("a", True), ("b", True), ("c", True)]


def test_a_limit_leaves_those_alone_who_came_out_in_time_and_counts_anew_for_who_comes_again():
    limit, ended = Limit(0.1), []

    def run():
        for _turn in range(5):
            with limit:
                gevent.sleep(0.04)
        ended.append("in time")
        with pytest.raises(Expired), limit:
            get_hub().switch()
        ended.append("expired")
        gevent.sleep(0.2)

    with gevent.Timeout(20):
        gevent.spawn(run).get()
    assert ended == ["in time", "expired"]
