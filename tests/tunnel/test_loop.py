"""The limit of a wait: it ends the block that it is for, and nothing behind it."""

import _socket
import time

import gevent
import pytest
from gevent.hub import get_hub
from greenlet import getcurrent

from ogw.tunnel.loop import READ, Deadline, Expired, Limit, Readiness


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


def pair():
    ours, theirs = _socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


def test_what_is_waited_for_again_and_again_is_received_piece_by_piece_up_to_the_end():
    ours, theirs = pair()
    heard = []

    def run():
        readable = Readiness(ours, READ)
        with readable:
            while data := readable.receive(4):
                heard.append(data)
        readable.close()

    with gevent.Timeout(20):
        hearer = gevent.spawn(run)
        for said in (b"one", b"two", b"a long one"):
            theirs.send(said)
            before = len(heard)
            while b"".join(heard[before:]) != said:
                wait_a_turn()
        theirs.close()
        hearer.get()
    assert heard == [b"one", b"two", b"a lo", b"ng o", b"ne"]
    ours.close()


def test_one_who_rests_is_not_woken_in_another_wait_and_hears_later_what_came():
    ours, theirs = pair()

    def run():
        with Readiness(ours, READ) as readable:
            theirs.send(b"first")
            assert readable.receive(100) == b"first"
            readable.rest()
            theirs.send(b"second")
            with pytest.raises(Expired), Deadline(0.05):
                get_hub().switch()
            return readable.receive(100)

    with gevent.Timeout(20):
        assert gevent.spawn(run).get() == b"second"
    for sock in (ours, theirs):
        sock.close()


def test_one_who_is_thrown_out_of_its_wait_is_not_woken_any_more():
    ours, theirs = pair()

    def run():
        with pytest.raises(Expired), Deadline(0.01), Readiness(ours, READ) as readable:
            readable.wait()
        theirs.send(b"late")
        with pytest.raises(Expired), Deadline(0.05):
            get_hub().switch()
        return True

    with gevent.Timeout(20):
        assert gevent.spawn(run).get()
    for sock in (ours, theirs):
        sock.close()


def test_another_greenlet_that_rests_takes_nothing_from_one_who_waits():
    ours, theirs = pair()
    readable = Readiness(ours, READ)

    def hear():
        with readable:
            return readable.receive(100)

    with gevent.Timeout(20):
        hearer = gevent.spawn(hear)
        wait_a_turn()
        gevent.spawn(readable.rest).get()
        theirs.send(b"said")
        assert hearer.get() == b"said"
    readable.close()
    readable.close()
    for sock in (ours, theirs):
        sock.close()
