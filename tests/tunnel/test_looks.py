"""Those that wait for another one to find out what credentials are worth."""

import time

import gevent

from ogw.tunnel.looks import Looks
from ogw.tunnel.mailbox import Mailbox


def test_many_who_wait_look_no_oftener_together_than_some_and_each_of_them_looks():
    looks, done = Looks(), []
    until = time.monotonic() + 1

    def wait():
        mailbox, count = Mailbox(), 0
        while time.monotonic() < until:
            looks.pause(mailbox)
            count += 1
        done.append(count)

    for waiting in [gevent.spawn(wait) for _ in range(1000)]:
        waiting.join()
    assert len(done) == 1000 and 1000 <= sum(done) < 10_000


def test_one_alone_looks_again_soon():
    looks, mailbox = Looks(), Mailbox()
    began = time.monotonic()
    for _ in range(20):
        looks.pause(mailbox)
    assert time.monotonic() - began < 20 * 0.25  # the longest of them
