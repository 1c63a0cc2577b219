"""The greenlet pair on real sockets: copying, half-closes, resets, and one test for each law of duplex.py."""

import errno
import gc
import hashlib
import os
import random
import socket

import gevent.event
import pytest
from gevent.hub import get_hub
from greenlet import getcurrent, greenlet
from harness.sockets import count_until_end_or_reset, read_exactly, reset, send_all, tcp_pair

from ogw.policy.decision import Reason
from ogw.tunnel.burst import Burst
from ogw.tunnel.duplex import Duplex
from ogw.tunnel.greenlets import Greenlets
from ogw.tunnel.half import BUFFER_SIZE, Flow, Half
from ogw.tunnel.linger import pass_reset_on, unsent
from ogw.tunnel.pipes import Pipes

READ, WRITE = 1, 2


class Pair:
    """A running duplex between two peers, `client` and `upstream`, in a greenlet as the tunnel's would be."""

    def __init__(self, pipes=None, rest=b"", greenlets=None, rest_down=b""):
        self.pipes = pipes if pipes is not None else Pipes()
        self.ours_client, self.client = tcp_pair()
        self.ours_upstream, self.upstream = tcp_pair()
        self.greenlets = greenlets or Greenlets()
        self.duplex = Duplex(self.ours_client, self.ours_upstream, self.pipes, self.greenlets, Burst())
        self.ended = gevent.event.Event()
        self.rest = rest
        self.rest_down = rest_down
        self.closes = False  # as the tunnel does after an upstream's reset
        self.greenlet = greenlet(self.run, get_hub())
        get_hub().loop.run_callback(self.greenlet.switch)

    def run(self):
        try:
            self.duplex.up.rest, self.duplex.down.rest = self.rest, self.rest_down
            self.duplex.run()
        finally:
            if self.closes:
                pass_reset_on(self.ours_client)
                self.ours_upstream.close()
            self.ended.set()

    def wait(self):
        assert self.ended.wait(10), "the duplex did not end"
        return self.duplex.reason

    def close(self):
        if not self.ended.is_set():
            self.duplex.end(Reason.DRAINED)
            self.wait()
        for sock in (self.ours_client, self.client, self.ours_upstream, self.upstream):
            sock.close()
        self.pipes.close()


@pytest.fixture(autouse=True)
def no_error_in_the_hub(monkeypatch):
    """Law 6: what is raised in the hub has nobody to catch it, and would only be printed."""
    errors = []
    monkeypatch.setattr(get_hub(), "print_exception", lambda *error: errors.append(error))
    yield
    assert not errors


@pytest.fixture(params=["splice", "recv and send"])
def pair(request):
    pair = Pair(Pipes() if request.param == "splice" else Pipes(limit=0))
    with gevent.Timeout(30):
        yield pair
    pair.close()


def test_copies_both_ways(pair):
    send_all(pair.client, b"question")
    assert read_exactly(pair.upstream, 8) == b"question"
    send_all(pair.upstream, b"answer")
    assert read_exactly(pair.client, 6) == b"answer"


def test_counts_bytes_and_says_that_the_client_closed_first(pair):
    send_all(pair.client, b"x" * 1000)
    pair.client.shutdown(socket.SHUT_WR)
    assert len(read_exactly(pair.upstream, 2000)) == 1000
    send_all(pair.upstream, b"y" * 500)
    pair.upstream.close()
    assert pair.wait() is Reason.CLIENT_CLOSED
    assert (pair.duplex.up.copied, pair.duplex.down.copied) == (1000, 500)


def test_says_that_the_upstream_closed_first(pair):
    pair.upstream.shutdown(socket.SHUT_WR)
    assert read_exactly(pair.client, 1) == b""
    pair.client.close()
    assert pair.wait() is Reason.UPSTREAM_CLOSED


def test_a_half_closed_client_gets_the_whole_answer(pair):
    send_all(pair.client, b"ask")
    pair.client.shutdown(socket.SHUT_WR)
    assert read_exactly(pair.upstream, 10) == b"ask"
    answer = random.Random(1).randbytes(5_000_000)
    sender = gevent.spawn(send_all, pair.upstream, answer)
    assert read_exactly(pair.client, len(answer)) == answer
    sender.join()
    pair.upstream.close()
    assert pair.wait() is Reason.CLIENT_CLOSED


@pytest.mark.parametrize("way", ["up", "down", "both"])
def test_a_strong_flow_arrives_unchanged(pair, way):
    data = random.Random(2).randbytes(20_000_000)
    flows = {"up": [(pair.client, pair.upstream)], "down": [(pair.upstream, pair.client)]}
    flows["both"] = flows["up"] + flows["down"]
    senders = [gevent.spawn(send_all, source, data) for source, _ in flows[way]]
    readers = [gevent.spawn(read_exactly, sink, len(data)) for _, sink in flows[way]]
    for reader in readers:
        assert hashlib.sha256(reader.get()).digest() == hashlib.sha256(data).digest()
    gevent.joinall(senders)


def test_bytes_behind_the_head_go_first():
    pair = Pair(rest=b"early " * 100)
    send_all(pair.client, b"late")
    assert read_exactly(pair.upstream, 604) == b"early " * 100 + b"late"
    assert pair.duplex.up.copied == 604
    pair.close()


def test_what_was_received_before_the_copying_goes_first_in_both_directions():
    up, down = random.Random(3).randbytes(6_000_000), random.Random(4).randbytes(6_000_000)
    pair = Pair(rest=up, rest_down=down)  # more than any socket takes at once
    send_all(pair.client, b"up")
    send_all(pair.upstream, b"down")
    readers = [
        gevent.spawn(read_exactly, sink, 6_000_000 + more) for sink, more in ((pair.upstream, 2), (pair.client, 4))
    ]
    assert readers[0].get() == up + b"up"
    assert readers[1].get() == down + b"down"
    pair.close()


def test_an_end_that_is_asked_before_the_rest_was_sent():
    pair = Pair(rest_down=bytes(6_000_000))
    pair.duplex.end(Reason.DRAINED)
    assert pair.wait() is Reason.DRAINED
    pair.close()


def test_a_reset_by_the_client_ends_the_tunnel(pair):
    send_all(pair.client, b"x")
    assert read_exactly(pair.upstream, 1) == b"x"
    reset(pair.client)
    assert pair.wait() is Reason.CLIENT_RESET
    assert pair.duplex.error.errno == errno.ECONNRESET


def test_a_reset_by_the_upstream_ends_the_tunnel(pair):
    reset(pair.upstream)
    assert pair.wait() is Reason.UPSTREAM_RESET


def test_what_was_read_before_a_reset_is_delivered_to_a_slow_reader(pair):
    """The far side reads only after the reset: it gets all that the gateway had taken."""
    pair.closes = True
    sent = 0
    try:
        while True:
            sent += pair.upstream.send(b"d" * 65536)
            gevent.sleep(0)
    except BlockingIOError:
        pass
    acknowledged = sent - unsent(pair.upstream)
    reset(pair.upstream)
    got = count_until_end_or_reset(pair.client)
    # What was still in the upstream's own send buffer died with the reset; what our kernel had acknowledged did not.
    assert got >= acknowledged > 0
    assert pair.wait() is Reason.UPSTREAM_RESET
    assert got == pair.duplex.down.copied


def test_end_is_obeyed_while_idle_and_while_blocked_on_a_slow_sink(pair):
    try:
        while True:
            pair.client.send(b"x" * 65536)
            gevent.sleep(0)
    except BlockingIOError:
        pass
    pair.duplex.end(Reason.IDLE)
    assert pair.wait() is Reason.IDLE


def test_what_has_ended_in_both_directions_keeps_its_reason(pair):
    pair.client.close()
    pair.upstream.close()
    reason = pair.wait()
    assert reason in (Reason.CLIENT_CLOSED, Reason.UPSTREAM_CLOSED)
    pair.duplex.end(Reason.KILLED)
    gevent.sleep(0)
    assert pair.duplex.reason is reason


def test_end_before_the_first_byte_is_obeyed(pair):
    gevent.sleep(0)
    pair.duplex.end(Reason.DRAINED)
    assert pair.wait() is Reason.DRAINED


def test_ending_twice_or_after_the_end_does_nothing(pair):
    pair.duplex.end(Reason.IDLE)
    pair.duplex.end(Reason.DRAINED)
    assert pair.wait() is Reason.IDLE
    pair.duplex.end(Reason.DRAINED)
    gevent.sleep(0)
    assert pair.duplex.reason is Reason.IDLE


# The laws.


def started_watchers():
    return [
        o for o in gc.get_objects() if type(o).__name__ == "io" and type(o).__module__.startswith("gevent") and o.active
    ]


@pytest.mark.parametrize("how", ["closed", "reset", "ended", "ended while blocked"])
def test_law_1_and_2_no_watcher_is_left_started_at_the_end(how):
    before = len(started_watchers())
    pair = Pair()
    gevent.sleep(0)
    assert len(started_watchers()) == before + 2
    if how == "closed":
        pair.client.close()
        assert read_exactly(pair.upstream, 1) == b""
        pair.upstream.close()
    elif how == "reset":
        reset(pair.client)
    else:
        if how == "ended while blocked":
            send_until_blocked(pair.client)
        pair.duplex.end(Reason.DRAINED)
    pair.wait()
    # `run` has come back and the sockets are still open: the caller may close them now.
    assert len(started_watchers()) == before
    assert pair.ours_client.fileno() >= 0 and pair.ours_upstream.fileno() >= 0
    pair.close()


def send_until_blocked(sock):
    """Fill every buffer of the way, so that the gateway waits for the sink."""
    quiet = 0
    while quiet < 5:
        try:
            while True:
                sock.send(b"z" * 65536)
                quiet = 0
        except BlockingIOError:
            quiet += 1
        gevent.sleep(0.02)


def test_law_2_the_source_is_not_watched_while_the_sink_is_awaited(pair):
    """Were it, the standing watcher would wake a greenlet that waits for something else, in a busy loop."""
    send_until_blocked(pair.client)
    wakes = 0
    original = pair.duplex.up.greenlet.switch
    assert original is not None
    assert not pair.duplex.up.readable.active
    for _ in range(20):
        gevent.sleep(0)
        wakes += pair.duplex.up.readable.active
    assert wakes == 0
    drained = read_exactly(pair.upstream, 1_000_000)
    assert len(drained) == 1_000_000


def test_law_3_run_comes_back_only_when_both_halves_have_ended(pair):
    send_until_blocked(pair.upstream)  # a greenlet waits for the client to read
    assert pair.duplex.down.greenlet is not None
    reset(pair.client)
    pair.wait()
    assert pair.duplex.down.greenlet is None
    assert pair.greenlets.idle == 1


def test_law_4_a_pipe_with_bytes_in_it_never_goes_back_to_the_pool():
    pipes = Pipes()
    pair = Pair(pipes)
    send_until_blocked(pair.client)  # the flow is in a pipe now, and the sink takes no more
    assert pipes.open == 1 and not pipes._free
    pair.duplex.end(Reason.DRAINED)
    pair.wait()
    assert pipes.open == 0 and not pipes._free
    pair.close()


def test_law_4_an_idle_tunnel_holds_no_pipe():
    pipes = Pipes()
    pair = Pair(pipes)
    data = b"q" * 8_000_000
    sender = gevent.spawn(send_all, pair.client, data)
    assert read_exactly(pair.upstream, len(data)) == data
    sender.join()
    assert pipes.open >= 1
    assert len(pipes._free) == pipes.open
    for pipe_out, _ in pipes._free:
        with pytest.raises(BlockingIOError):
            os.read(pipe_out, 1)
    pair.close()


def test_law_5_a_reset_in_the_middle_of_a_splice_is_a_reset_and_no_orderly_end():
    for _ in range(5):
        pair = Pair()
        sender = gevent.spawn(_send_then_reset, pair.upstream)
        while True:
            try:
                if not pair.client.recv(1 << 20):
                    break
            except BlockingIOError:
                if pair.ended.is_set():
                    break
                gevent.sleep(0)
            except ConnectionResetError:
                break
        sender.join()
        assert pair.wait() is Reason.UPSTREAM_RESET
        pair.close()


def _send_then_reset(sock):
    for _ in range(200):
        try:
            sock.send(b"r" * 65536)
        except BlockingIOError:
            gevent.sleep(0)
    reset(sock)


@pytest.mark.parametrize("first", ["reset", "message"])
@pytest.mark.parametrize("way", ["up", "down"])
def test_law_6_an_error_in_the_pump_is_an_end_and_raises_nothing(way, first):
    pair = Pair()
    gevent.sleep(0)
    sender, receiver = (pair.client, pair.upstream) if way == "up" else (pair.upstream, pair.client)
    if first == "message":
        send_all(sender, b"m")
    reset(receiver)
    if first == "reset":
        send_all(sender, b"m")
    assert pair.wait() is (Reason.UPSTREAM_RESET if way == "up" else Reason.CLIENT_RESET)
    assert pair.duplex.error.errno in (errno.ECONNRESET, errno.EPIPE)
    pair.close()


@pytest.fixture
def pumped(monkeypatch):
    """What was true each time that a pump ran: it ran in the hub, and a greenlet copied for its half."""
    ran = []
    pump = Half.pump

    def told(half):
        ran.append((getcurrent() is get_hub(), half.greenlet is not None))
        pump(half)

    monkeypatch.setattr(Half, "pump", told)
    return ran


def test_law_6_the_pump_runs_in_the_hub_and_only_while_its_half_has_no_greenlet(pumped, pair):
    """Messages and strong flows of all sizes, both ways, between peers that read slowly."""
    randomly = random.Random(6)
    for sink, reader in ((pair.ours_client, pair.client), (pair.ours_upstream, pair.upstream)):
        sink.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
    data = randomly.randbytes(3_000_000)
    senders = [gevent.spawn(send_in_pieces, sock, data, random.Random(7)) for sock in (pair.client, pair.upstream)]
    readers = [gevent.spawn(read_exactly, sock, len(data)) for sock in (pair.upstream, pair.client)]
    for reader in readers:
        assert hashlib.sha256(reader.get()).digest() == hashlib.sha256(data).digest()
    gevent.joinall(senders)
    for size in (BUFFER_SIZE, 1, 90_000, 1):  # a flow that pauses while it is strong
        send_all(pair.client, bytes(size))
        read_exactly(pair.upstream, size)
    assert set(pumped) == {(True, False)}
    assert pair.greenlets.idle == 1 or pair.duplex.down.greenlet is not None  # the strong flows had one
    assert pair.duplex.down.copied == len(data)


def send_in_pieces(sock, data, randomly):
    sent = 0
    while sent < len(data):
        size = randomly.choice((1, 100, 5_000, 70_000, 300_000))
        send_all(sock, data[sent : sent + size])
        sent += size
        if randomly.random() < 0.5:
            gevent.sleep(0)


def test_law_6_what_the_sink_does_not_take_is_the_rest_and_stops_the_watcher_before_a_greenlet_wakes(pair):
    gevent.sleep(0)
    pair.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # each message comes alone
    pair.ours_upstream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)
    seen = []
    up = pair.duplex.up
    more = up._more

    def told(half, came):
        seen.append((half.readable.active, bool(half.rest), came))
        more(half, came)

    up._more = told
    sent = 0
    with gevent.Timeout(20):
        while not seen:
            sent += pair.client.send(b"m" * 999)
            while up.copied < sent and not seen:
                gevent.sleep(0.0001)  # 0 would let the loop look at sockets only every few milliseconds
    assert seen == [(False, True, Flow.WEAK)]
    assert not up.rest and up.greenlet is pair.greenlet  # its greenlet has it now
    assert read_exactly(pair.upstream, sent) == b"m" * sent
    gevent.sleep(0)
    assert up.readable.active and up.greenlet is None
    send_all(pair.client, b"more")
    assert read_exactly(pair.upstream, 4) == b"more"


def test_a_message_needs_no_greenlet_and_what_a_strong_flow_borrowed_goes_back_when_it_ran_dry():
    pair = Pair()
    for _turn in range(3):
        send_all(pair.client, b"question")
        assert read_exactly(pair.upstream, 8) == b"question"
        send_all(pair.upstream, b"answer")
        assert read_exactly(pair.client, 6) == b"answer"
    assert pair.greenlets.idle == 0
    data = bytes(5_000_000)
    sender = gevent.spawn(send_all, pair.upstream, data)
    assert read_exactly(pair.client, len(data)) == data
    sender.join()
    send_all(pair.upstream, b"answer")  # too little for splice: the flow ran dry
    assert read_exactly(pair.client, 6) == b"answer"
    assert pair.greenlets.idle == 1
    assert not pair.ended.is_set()
    pair.close()


def test_no_pipe_to_be_had_means_recv_and_send():
    pipes = Pipes(limit=1)
    borrowed = pipes.take()
    pair = Pair(pipes)
    data = b"n" * 3_000_000
    sender = gevent.spawn(send_all, pair.client, data)
    assert read_exactly(pair.upstream, len(data)) == data
    sender.join()
    assert pipes.open == 1
    pipes.give_back(borrowed, 0)
    pair.close()


def test_many_pairs_leave_no_descriptor_and_no_greenlet():
    gc.collect()
    fds = len(os.listdir("/proc/self/fd"))
    alive = sum(isinstance(o, greenlet) for o in gc.get_objects())
    greenlets = Greenlets()
    for n in range(200):
        pair = Pair(greenlets=greenlets)
        send_all(pair.client, b"x" * (n * 1000))
        read_exactly(pair.upstream, n * 1000)
        (pair.client.close if n % 2 else lambda p=pair: reset(p.client))()
        if n % 2:
            pair.upstream.close()
        pair.wait()
        pair.close()
    del pair
    gevent.sleep(0)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == fds
    assert sum(isinstance(o, greenlet) for o in gc.get_objects()) <= alive + 2


@pytest.mark.parametrize("how", ["closed", "reset"])
def test_what_has_ended_is_forgotten_at_once(how):
    """Without a turn of the garbage collector, which would hold up all tunnels."""
    gc.collect()
    gc.disable()
    try:
        pair = Pair()
        gevent.sleep(0)
        send_all(pair.client, bytes(1_000_000))
        read_exactly(pair.upstream, 1_000_000)
        if how == "reset":
            reset(pair.upstream)
        else:
            pair.upstream.close()
            pair.client.close()
        pair.wait()
        pair.close()
        del pair
        gevent.sleep(0)
        assert not [one for one in gc.get_objects() if isinstance(one, (Half, Duplex))]
    finally:
        gc.enable()
