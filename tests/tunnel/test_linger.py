"""How long a socket is held for its peer's sake."""

import time

import gevent
import pytest
from harness.sockets import tcp_pair

from ogw.tunnel import linger
from ogw.tunnel.linger import half_close_and_drop, pass_reset_on


@pytest.fixture
def pair():
    ours, peer = tcp_pair()
    with gevent.Timeout(30):
        yield ours, peer
    ours.close()
    peer.close()


def seconds_of(call, sock):
    began = time.monotonic()
    gevent.spawn(call, sock).get()
    return time.monotonic() - began


def test_a_refused_client_that_stays_is_held_for_about_two_seconds(pair):
    assert 1.5 < seconds_of(half_close_and_drop, pair[0]) < 10


def test_a_refused_client_that_leaves_is_not_waited_for(pair, monkeypatch):
    monkeypatch.setattr(linger, "LINGER_SECONDS", 60.0)
    pair[1].close()
    assert seconds_of(half_close_and_drop, pair[0]) < 20


def test_a_refused_client_that_goes_on_sending_is_heard_for_a_mebibyte(pair, monkeypatch):
    monkeypatch.setattr(linger, "LINGER_SECONDS", 60.0)
    ours, peer = pair
    sent = 0

    def send_on():
        nonlocal sent
        while True:
            try:
                sent += peer.send(b"x" * 65536)
            except BlockingIOError:
                gevent.sleep(0.001)
            except OSError:
                return

    sending = gevent.spawn(send_on)
    assert seconds_of(half_close_and_drop, ours) < 20
    sending.kill()
    assert sent >= 1 << 20


def test_a_peer_that_takes_nothing_of_what_was_said_before_a_reset_is_waited_for_five_seconds(pair):
    ours, _peer = pair
    with pytest.raises(BlockingIOError):
        while True:
            ours.send(b"x" * 65536)
    assert 4 < seconds_of(pass_reset_on, ours) < 20
