"""The admin process asks the supervisor, from many threads, over one channel."""

import collections
import select
import sys
import threading

import pytest

from ogw.service.admin.process import ChannelAsker
from ogw.service.control import pair
from ogw.service.messages import AskSupervisor, Leave, Ready, Reply, ShowSources, packed, saying_of


@pytest.fixture
def busy():
    """Threads take turns all the time."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def supervise(channel, count):
    """Hear so many questions and that it is ready, answer each with its number, and let it leave; what was heard."""
    heard, poll = collections.Counter(), select.poll()
    poll.register(channel.fileno(), select.POLLIN)
    while sum(heard.values()) <= count and poll.poll(10_000):
        for fields in channel.receive():
            saying = saying_of(fields)
            heard[saying] += 1
            if isinstance(saying, AskSupervisor):
                channel.send(packed(Reply(saying.number, {"number": saying.number})))
    channel.send(packed(Leave()))
    return heard


def test_what_is_asked_while_it_gets_ready_is_said_once(busy):
    for _turn in range(200):
        ours, theirs = pair()
        asker, given, start = ChannelAsker(theirs), [], threading.Barrier(5)

        def ask(asker=asker, given=given, start=start):
            start.wait()
            given.append(asker.ask(ShowSources())["number"])

        def listen(asker=asker, start=start):
            start.wait()
            asker.listen(lambda: None, lambda: None, lambda: True)

        threads = [threading.Thread(target=one) for one in (listen, ask, ask, ask, ask)]
        for thread in threads:
            thread.start()
        heard = supervise(ours, 4)
        for thread in threads:
            thread.join()
        assert len(set(given)) == 4
        assert heard == {Ready(): 1, **{AskSupervisor(number, ShowSources()): 1 for number in given}}
        ours.close()
        theirs.close()
