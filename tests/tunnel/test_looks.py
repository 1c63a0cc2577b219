"""Those that wait for another one to find out what credentials are worth."""

import time

import gevent

from ogw.tunnel.looks import Looks
from ogw.tunnel.mailbox import Mailbox


def test_many_who_wait_look_no_oftener_together_than_some_and_each_of_them_looks():
    looks, done, began = Looks(), [], time.monotonic()

    def wait():
        mailbox = Mailbox()
        for _turn in range(5):
            looks.pause(mailbox)
        done.append(mailbox)

    for waiting in [gevent.spawn(wait) for _ in range(1000)]:
        waiting.join()
    assert len(done) == 1000
    assert 5 * len(done) < 10_000 * (time.monotonic() - began)


def test_one_alone_looks_again_soon():
    looks, mailbox = Looks(), Mailbox()
    began = time.monotonic()
    for _ in range(20):
        looks.pause(mailbox)
    assert time.monotonic() - began < 20 * 0.25  # the longest of them
