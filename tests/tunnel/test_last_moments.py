"""The last moments of a tunnel: whoever asks it to end meanwhile hastens it, and takes nothing from its account."""

import socket
from types import SimpleNamespace

import gevent.event
import pytest
from gevent.hub import get_hub
from harness.hellos import extension, hello
from harness.sockets import READ, await_io, read_exactly, reset, send_all, tcp_pair

from ogw.policy.decision import Reason
from ogw.policy.hosts import Policy
from ogw.policy.rules import parse_rules
from ogw.policy.tls_rules import Mode, TlsRules
from ogw.tunnel import linger
from ogw.tunnel.greenlets import Greenlets
from ogw.tunnel.pipes import Pipes
from ogw.tunnel.shared import Draining, Shared
from ogw.tunnel.tunnel import Tunnel
from ogw.tunnel.upstream import Upstream

HEAD = b"CONNECT www.example.com:443 HTTP/1.1\r\n\r\n"


class Told:
    """A ledger that remembers what it is told."""

    def __init__(self):
        self.calls = []
        self.log = SimpleNamespace(debug=False, event=lambda *told, **more: self.calls.append(("event", *told)))

    def __getattr__(self, name):
        return lambda *told: self.calls.append((name, *told))

    def of(self, *names):
        return [call for call in self.calls if call[0] in names]


class Dialed:
    """Reaches what it was given."""

    def __init__(self, upstream):
        self.upstream = upstream

    def dial(self, *_asked):
        return self.upstream


class Story:
    """A tunnel between two peers on real sockets, run as a worker runs it."""

    def __init__(self, mode, rules="www.example.com"):
        self.ours_client, self.client = tcp_pair()
        self.ours_upstream, self.upstream = tcp_pair()
        self.told, self.closed, self.lingering, self.ended = Told(), [], [], gevent.event.Event()
        policy = Policy(parse_rules(rules, "here")[0], tls=TlsRules(mode=mode))
        dialed = Dialed(Upstream(self.ours_upstream, "192.0.2.1:443", closed=lambda: self.closed.append(True)))
        greenlets = Greenlets()
        self.shared = Shared(
            policy, dialed, Pipes(), greenlets, self.told, 20.0, 16384, 20.0, Draining(), self.lingering.append
        )
        self.tunnel = Tunnel(self.ours_client, self.client.getsockname(), "t-1", self.shared)
        self.tunnel.first = HEAD
        get_hub().loop.run_callback(greenlets.run, self.run, self.tunnel)

    def run(self, tunnel):
        try:
            tunnel.run()
        finally:
            self.ended.set()

    def until_over(self):
        with gevent.Timeout(10):
            while not self.tunnel.is_over:
                gevent.sleep(0.001)

    def close(self):
        for sock in (self.client, self.upstream, self.ours_client, self.ours_upstream):
            sock.close()


@pytest.fixture
def story(request):
    made = []

    def make(*told):
        made.append(Story(*told))
        return made[0]

    with gevent.Timeout(30):
        yield make
    made[0].close()


def fill(sock, peer):
    """Say so much that the peer's buffers are full and some of it stays here."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with pytest.raises(BlockingIOError):
        while True:
            sock.send(b"x" * 65536)


def refused(make):
    story = make(Mode.OFF, "other.example.com")
    read_exactly(story.client, 20)
    return story, "refused", Reason.HOST_NOT_ALLOWED


def rejected(make):
    """It lingers behind an alert."""
    story = make(Mode.ENFORCE)
    send_all(story.client, hello(b"wrong.example.com"))
    read_exactly(story.client, 20)
    return story, "closed", Reason.SERVER_NAME_MISMATCH


def client_reset_in_the_handshake(make):
    story = make(Mode.ENFORCE)
    story.upstream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    fill(story.ours_upstream, story.upstream)
    await_io(story.client, READ)
    reset(story.client)
    return story, "closed", Reason.CLIENT_RESET


def upstream_reset_in_the_handshake(make):
    story = make(Mode.ENFORCE)
    await_io(story.client, READ)
    fill(story.ours_client, story.client)
    reset(story.upstream)
    return story, "closed", Reason.UPSTREAM_RESET


def client_reset(make):
    story = make(Mode.OFF)
    await_io(story.client, READ)
    fill(story.ours_upstream, story.upstream)
    reset(story.client)
    return story, "closed", Reason.CLIENT_RESET


def upstream_reset(make):
    story = make(Mode.OFF)
    await_io(story.client, READ)
    fill(story.ours_client, story.client)
    reset(story.upstream)
    return story, "closed", Reason.UPSTREAM_RESET


MOMENTS = [
    refused,
    rejected,
    client_reset_in_the_handshake,
    upstream_reset_in_the_handshake,
    client_reset,
    upstream_reset,
]


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("moment", MOMENTS)
def test_who_is_asked_to_end_in_its_last_moments_hurries_and_its_account_stays(moment, times, story, monkeypatch):
    for name in ("LINGER_SECONDS", "DELIVER_SECONDS"):
        monkeypatch.setattr(linger, name, 60.0)
    one, line, reason = moment(story)
    one.until_over()
    assert not one.ended.is_set()  # it waits, and for a minute
    for _turn in range(times):
        one.tunnel.end(Reason.KILLED)
    one.tunnel.sweep(1e12, 1e12, 0.0, 0.0)
    one.tunnel.policy_changed(True)
    assert one.ended.wait(10)
    accounts = one.told.of("refused", "closed", "left")
    assert [(call[0], call[1]) for call in accounts] == [(line, reason)]
    assert not one.told.of("event")
    assert one.closed == ([] if moment is refused else [True])
    assert one.ours_client.fileno() == -1
    assert moment is refused or one.ours_upstream.fileno() == -1
    one.tunnel.end(Reason.KILLED)
    gevent.sleep(0)


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_last_moments_have_an_end_of_their_own(moment, story, monkeypatch):
    for name in ("LINGER_SECONDS", "DELIVER_SECONDS"):
        monkeypatch.setattr(linger, name, 0.2)
    one, line, reason = moment(story)
    assert one.ended.wait(10)
    assert [(call[0], call[1]) for call in one.told.of("refused", "closed", "left")] == [(line, reason)]


@pytest.mark.parametrize("moment", [refused, rejected])
def test_who_lingers_behind_a_refusal_is_told_of_once(moment, story):
    one, _line, _reason = moment(story)
    one.until_over()
    assert one.lingering == [one.tunnel]
    one.client.close()
    assert one.ended.wait(10) and len(one.lingering) == 1


def test_a_client_that_sends_a_hello_and_resets_before_its_upstream_took_it_is_accounted_for_when_it_is_killed(
    story, monkeypatch
):
    """What the upstream was told is in the account."""
    monkeypatch.setattr(linger, "DELIVER_SECONDS", 60.0)
    one = story(Mode.ENFORCE)
    fill(one.ours_upstream, one.upstream)
    said = hello(b"www.example.com", extension(21, bytes(40_000)))
    send_all(one.client, said[:30_000])
    await_io(one.client, READ)
    reset(one.client)
    one.until_over()
    one.tunnel.end(Reason.DRAINED)
    assert one.ended.wait(10)
    ((_name, reason, *_rest),) = one.told.of("closed", "left")
    assert reason is Reason.CLIENT_RESET and one.closed == [True]
