"""What goes out at the end of a turn of the loop, what comes back from it, and tunnels that end before it."""

import socket
from ipaddress import IPv6Address

import gevent.event
import pytest
from gevent.hub import get_hub
from greenlet import greenlet
from harness.hellos import extension, hello
from harness.sockets import READ, await_io, read_exactly, reset, send_all, tcp_pair

from ogw.policy.decision import ALLOW, Reason
from ogw.policy.handshake import Handshake
from ogw.policy.hosts import Policy
from ogw.policy.rules import parse_rules
from ogw.policy.tls_rules import Mode, TlsRules
from ogw.report.table import Table
from ogw.tunnel.budget import Budget
from ogw.tunnel.burst import Burst
from ogw.tunnel.connector import Connector
from ogw.tunnel.duplex import Duplex
from ogw.tunnel.greenlets import Greenlets
from ogw.tunnel.loop import Limit
from ogw.tunnel.mailbox import ClientGone, Mailbox
from ogw.tunnel.pipes import Pipes
from ogw.tunnel.resolve import Resolver
from ogw.tunnel.upstream import DialError
from ogw.tunnel.verify import verify
from ogw.wire.answer import ESTABLISHED
from ogw.wire.connect import Target, parse_target

HELLO = hello(b"www.example.com")


@pytest.fixture(autouse=True)
def _limit():
    with gevent.Timeout(30):
        yield


def in_one_turn(job):
    """Run it in the hub, as what a watcher calls is run: the turn ends when it is done."""
    get_hub().loop.run_callback(job)
    gevent.sleep(0.01)


def test_acts_go_in_order_when_the_turn_is_over_and_are_told_when_all_have_gone():
    burst, happened = Burst(), []

    def act(name, told):
        def go():
            happened.append(name)
            return (lambda: happened.append(f"{name} told")) if told else None

        return go

    def turn():
        burst.add(act("a", True))
        burst.add(act("b", False))
        burst.add(act("c", True))
        happened.append("turn")

    in_one_turn(turn)
    assert happened == ["turn", "a", "b", "c", "a told", "c told"]


def test_what_was_removed_does_not_act_and_what_has_acted_may_be_removed():
    burst, happened = Burst(), []
    one, other = (lambda: happened.append("one")), (lambda: happened.append("other"))

    def turn():
        burst.add(one)
        burst.add(other)
        burst.remove(one)

    in_one_turn(turn)
    burst.remove(other)
    assert happened == ["other"]


def test_who_is_told_may_add_what_acts_later():
    burst, happened = Burst(), []

    def again():
        burst.add(lambda: happened.append("second"))

    in_one_turn(lambda: burst.add(lambda: again))
    assert happened == ["second"]


# Connecting.


def connector(burst, seconds=20.0):
    return Connector(Resolver((), 5.0), seconds, 5.0, 0, Table(1).rows[0].cells, burst)


def dial(one, mailbox, target):
    return one.connect(target, lambda _address: ALLOW, mailbox)


@pytest.mark.parametrize("address", ["224.0.0.1", "[ff02::1]"])
def test_an_error_that_connect_has_at_once_comes_back_to_the_tunnel(address):
    """No TCP connection goes to a multicast address, and the kernel says so before it sends anything."""
    with pytest.raises(DialError) as told:
        dial(
            connector(Burst()),
            Mailbox(),
            parse_target(f"{address}:443".encode()),
        )
    assert told.value.reason is Reason.UNREACHABLE
    assert address.strip("[]") in told.value.detail


def test_the_zone_of_an_interface_that_is_not_there_ends_its_own_tunnel_and_no_other_act():
    """As the hosts file may have it: the system does not even begin to connect, and Python says so otherwise."""
    burst, acted = Burst(), []
    target = Target("fe80::1%nowhere", 443, IPv6Address("fe80::1"))
    get_hub().loop.run_callback(lambda: burst.add(lambda: acted.append(True)))
    with pytest.raises(DialError) as told:
        dial(connector(burst), Mailbox(), target)
    gevent.sleep(0.01)
    assert told.value.reason is Reason.UNREACHABLE and "fe80::1%nowhere" in told.value.detail
    assert acted == [True]


def test_a_tunnel_that_ends_before_the_end_of_the_turn_connects_to_nobody():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        ended = []

        def story():
            mailbox = Mailbox()
            mailbox.tell(ClientGone)
            with pytest.raises(ClientGone):
                dial(
                    connector(Burst()),
                    mailbox,
                    Target("127.0.0.1", server.getsockname()[1], parse_target(b"127.0.0.1:1").address),
                )
            ended.append(True)

        in_one_turn(greenlet(story, get_hub()).switch)
        assert ended
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_dial_whose_time_is_over_before_the_turn_ends_is_too_slow():
    with pytest.raises(DialError) as told:
        dial(connector(Burst(), 0.0), Mailbox(), parse_target(b"240.0.0.1:443"))
    assert told.value.reason is Reason.CONNECTION_TIMEOUT


# The 200 and the handshake.


class Killed(BaseException):
    pass


class Going:
    """A handshake that goes by between two peers."""

    def __init__(self, rest_up=b"", seconds=20.0):
        self.ours_client, self.client = tcp_pair()
        self.ours_upstream, self.upstream = tcp_pair()
        self.burst, self.raised = Burst(), []
        self.duplex = Duplex(self.ours_client, self.ours_upstream, Pipes(), Greenlets(), self.burst)
        policy = Policy(parse_rules("www.example.com", "here")[0], tls=TlsRules())
        self.handshake = Handshake(policy, parse_target(b"www.example.com:443"), "127.0.0.1", False)
        self.greenlet = greenlet(lambda: self._run(rest_up, seconds), get_hub())
        self.over = gevent.event.Event()

    def _run(self, rest_up, seconds):
        self.duplex.up.rest = rest_up
        try:
            verify(self.handshake, self.duplex, Limit(seconds), Budget(), self.burst, "127.0.0.1")
        except BaseException as error:
            self.raised.append(error)
        finally:
            self.duplex.close()
            self.over.set()

    def kill(self):
        get_hub().loop.run_callback(self.greenlet.throw, Killed)
        assert self.over.wait(10)
        assert [type(error) for error in self.raised] == [Killed]

    def close(self):
        for sock in (self.client, self.upstream, self.ours_client, self.ours_upstream):
            sock.close()


@pytest.fixture
def going():
    made = []

    def make(*told):
        made.append(Going(*told))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_nothing_is_said_before_the_end_of_the_turn(going):
    one = going(HELLO)

    def turn():
        one.greenlet.switch()
        for peer in (one.client, one.upstream):
            with pytest.raises(BlockingIOError):
                peer.recv(1)
        one.said_nothing = True

    in_one_turn(turn)
    assert one.said_nothing
    assert read_exactly(one.client, len(ESTABLISHED)) == ESTABLISHED
    assert read_exactly(one.upstream, len(HELLO)) == HELLO
    one.kill()


def test_who_is_killed_before_the_end_of_the_turn_has_said_what_was_allowed_and_says_it_once(going):
    """The order of bytes holds, and none is lost, whatever ends a tunnel."""
    one = going(HELLO)

    def turn():
        one.greenlet.switch()
        one.greenlet.throw(Killed)

    in_one_turn(turn)
    assert one.over.is_set() and isinstance(one.raised[0], Killed)
    one.ours_client.close()
    one.ours_upstream.close()
    assert read_exactly(one.client, 1000) == ESTABLISHED
    assert read_exactly(one.upstream, 10_000) == HELLO


def test_who_rejects_in_the_turn_that_says_200_has_said_it_first(going):
    one = going(hello(b"wrong.example.com"))
    in_one_turn(one.greenlet.switch)
    assert one.over.is_set() and one.handshake.rejection.reason is Reason.SERVER_NAME_MISMATCH
    assert not one.duplex.down.rest and one.duplex.down.copied == 0
    assert read_exactly(one.client, len(ESTABLISHED)) == ESTABLISHED
    with pytest.raises(BlockingIOError):
        one.upstream.recv(1)


@pytest.mark.parametrize(("peer", "reason"), [("client", Reason.CLIENT_RESET), ("upstream", Reason.UPSTREAM_RESET)])
def test_a_send_that_fails_at_the_end_of_the_turn_ends_the_handshake(going, peer, reason):
    one = going(HELLO)

    def turn():
        one.greenlet.switch()
        reset(getattr(one, peer))  # the kernel knows of it before the turn ends

    in_one_turn(turn)
    assert one.over.wait(10)
    assert one.handshake.ended.reason is reason
    assert (one.duplex.down.copied, one.raised) == (0, [])


def test_what_a_slow_peer_does_not_take_at_the_end_of_the_turn_follows_in_its_order(going):
    """A ClientHello of 60,000 bytes to an upstream whose buffers are full."""
    long = hello(b"www.example.com", extension(21, bytes(60_000)))
    one = going(long)
    before = 0
    with pytest.raises(BlockingIOError):
        while True:
            before += one.ours_upstream.send(bytes(65536))
    in_one_turn(one.greenlet.switch)
    assert read_exactly(one.client, len(ESTABLISHED)) == ESTABLISHED
    assert one.duplex.up.copied < len(long)
    assert read_exactly(one.upstream, before) == bytes(before)
    assert read_exactly(one.upstream, len(long)) == long
    one.kill()
    assert one.duplex.up.copied == len(long)


def test_what_another_policy_lets_pass_meanwhile_follows_as_well(going):
    """Held is the beginning of a record; with rules that only report it passes at once."""
    long, more = hello(b"www.example.com", extension(21, bytes(60_000))), b"\x16\x03\x03\x10\x00"
    one = going(long + more)
    before = 0
    with pytest.raises(BlockingIOError):
        while True:
            before += one.ours_upstream.send(bytes(65536))
    in_one_turn(one.greenlet.switch)
    reporting = Policy(parse_rules("www.example.com", "here")[0], tls=TlsRules(Mode.REPORT))

    def turn():
        one.handshake.go_on_under(reporting, False)
        one.greenlet.switch(None)

    in_one_turn(turn)
    assert read_exactly(one.upstream, before) == bytes(before)
    assert read_exactly(one.upstream, len(long + more)) == long + more
    one.kill()


def test_a_client_that_comes_back_byte_by_byte_is_answered_as_one_that_says_all_at_once(going):
    one = going()
    in_one_turn(one.greenlet.switch)
    await_io(one.client, READ)
    for byte in HELLO:
        send_all(one.client, bytes((byte,)))
        gevent.sleep(0)
    assert read_exactly(one.upstream, len(HELLO)) == HELLO
    one.kill()


# The duplex.


class Copying:
    """A duplex that begins with something to say down."""

    def __init__(self, rest):
        self.ours_client, self.client = tcp_pair()
        self.ours_upstream, self.upstream = tcp_pair()
        self.burst = Burst()
        self.duplex = Duplex(self.ours_client, self.ours_upstream, Pipes(), Greenlets(), self.burst)
        self.duplex.down.rest = rest
        self.greenlet = greenlet(self._run, get_hub())
        self.over, self.raised = gevent.event.Event(), []

    def _run(self):
        try:
            self.duplex.run()
        except BaseException as error:
            self.raised.append(error)
        finally:
            self.ours_client.close()
            self.ours_upstream.close()
            self.over.set()


@pytest.fixture
def copying():
    made = []

    def make(rest):
        made.append(Copying(rest))
        return made[-1]

    yield make
    for one in made:
        one.client.close()
        one.upstream.close()


def test_the_first_rest_goes_at_the_end_of_the_turn_and_what_follows_behind_it(copying):
    one = copying(b"first")
    send_all(one.upstream, b"second")

    def turn():
        one.greenlet.switch()
        with pytest.raises(BlockingIOError):
            one.client.recv(1)

    in_one_turn(turn)
    assert read_exactly(one.client, 11) == b"firstsecond"
    one.duplex.end(Reason.KILLED)
    assert one.over.wait(10) and one.duplex.down.copied == 11


def test_what_does_not_fit_of_the_first_rest_follows_in_its_order(copying):
    one = copying(bytes(100_000))
    before = 0
    with pytest.raises(BlockingIOError):
        while True:
            before += one.ours_client.send(b"x" * 65536)
    send_all(one.upstream, b"second")
    in_one_turn(one.greenlet.switch)
    assert one.duplex.down.copied < 100_000
    assert read_exactly(one.client, before) == b"x" * before
    assert read_exactly(one.client, 100_006) == bytes(100_000) + b"second"
    one.duplex.end(Reason.KILLED)
    assert one.over.wait(10)


def test_a_first_rest_that_nobody_takes_any_more_ends_its_half(copying):
    one = copying(b"first")

    def turn():
        one.greenlet.switch()
        reset(one.client)

    in_one_turn(turn)
    assert one.over.wait(10)
    assert (one.duplex.reason, one.duplex.down.copied, one.raised) == (Reason.CLIENT_RESET, 0, [])


@pytest.mark.parametrize("way", ["asked", "thrown"])
def test_a_duplex_that_is_over_before_the_end_of_the_turn_writes_to_nobody(way, copying):
    """Its descriptors are closed then, and their numbers may be those of another client."""
    one, others = copying(b"first"), []

    def turn():
        one.greenlet.switch()
        if way == "thrown":
            one.greenlet.throw(Killed)
            others.extend(tcp_pair() for _pair in range(4))  # they get the numbers that are free
        else:
            one.duplex._stop_halves()
            others.extend(tcp_pair() for _pair in range(4))

    in_one_turn(turn)
    assert one.over.is_set() and len(others) == 4
    assert [bool(one.raised), one.duplex.down.copied] == [way == "thrown", 0]
    both = [sock for pair in others for sock in pair]
    for sock in both:
        with pytest.raises(BlockingIOError):
            sock.recv(1)
    for sock in both:
        sock.close()
