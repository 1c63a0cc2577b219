"""Greenlets that run one job after another: reuse, a bound, and a job that fails."""

import gc
import sys
import weakref

from gevent.hub import get_hub
from greenlet import getcurrent

from ogw.tunnel.greenlets import Greenlets


def in_hub(job, *arguments):
    """Run it as the loop's callbacks do, and come back when the loop has."""
    me = getcurrent()

    def run():
        try:
            job(*arguments)
        finally:
            get_hub().loop.run_callback(me.switch)

    get_hub().loop.run_callback(run)
    get_hub().switch()


def test_an_idle_greenlet_takes_the_next_job():
    greenlets, ran = Greenlets(), []
    for number in range(3):
        in_hub(greenlets.run, lambda n: ran.append((n, getcurrent())), number)
    assert [number for number, _ in ran] == [0, 1, 2]
    assert len({greenlet for _, greenlet in ran}) == 1
    assert greenlets.idle == 1


def test_a_job_that_waits_does_not_hold_up_the_next():
    greenlets, waiting, ended = Greenlets(), [], []

    def wait(_about):
        waiting.append(getcurrent())
        get_hub().switch()
        ended.append(getcurrent())

    for _ in range(3):
        in_hub(greenlets.run, wait, None)
    assert len(set(waiting)) == 3
    for greenlet in waiting:
        in_hub(greenlet.switch)
    assert ended == waiting
    assert greenlets.idle == 3


def test_no_more_than_the_bound_stay_idle():
    greenlets, waiting = Greenlets(most_idle=2), []

    def wait(_about):
        waiting.append(getcurrent())
        get_hub().switch()

    for _ in range(5):
        in_hub(greenlets.run, wait, None)
    for greenlet in waiting:
        in_hub(greenlet.switch)
    assert greenlets.idle == 2
    assert sum(greenlet.dead for greenlet in waiting) == 3


def test_a_job_that_fails_is_reported_and_its_greenlet_is_not_used_again():
    greenlets, told = Greenlets(), []
    hub = get_hub()
    original = hub.print_exception
    hub.print_exception = lambda context, kind, error, trace: told.append(kind)
    try:
        in_hub(greenlets.run, sys.intern, 5)
    finally:
        hub.print_exception = original
    assert told == [TypeError]
    assert greenlets.idle == 0


def test_an_idle_greenlet_holds_on_to_nothing():
    class Thing:
        pass

    thing = Thing()
    seen = weakref.ref(thing)
    greenlets = Greenlets()
    in_hub(greenlets.run, lambda one: None, thing)
    del thing
    gc.collect()
    assert seen() is None
