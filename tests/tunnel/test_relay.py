"""How a relay proxy rests and comes back, and the TLS leg to an encrypted one."""

import contextlib
import hashlib
import random
import socket
import ssl
import threading

import gevent
import pytest
from gevent import socket as gevent_socket
from harness.tls import client, serving

from ogw.tunnel.encrypted import LINGER_SECONDS, Leg
from ogw.tunnel.relay import FIRST_TRIAL, Relay
from ogw.wire.connect import parse_target
from ogw.wire.relay_proxy import parse_relay_proxy

pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")


TARGET, OTHER = (parse_target(f"{name}.example:443".encode()) for name in ("a", "b"))


@pytest.fixture
def relay():
    return Relay(parse_relay_proxy("p.example:3128"))


def test_it_rests_until_it_answers(relay):
    assert not relay.rests and not relay.wake()
    assert relay.rest(10.0, "why", TARGET)
    assert relay.rests and (relay.rests_since, relay.tried_from) == (10.0, 10.0 + FIRST_TRIAL)
    assert relay.wake() and not relay.rests
    assert relay.rest(20.0, "why", TARGET)
    assert relay.rests_since == 20.0


def test_tunnels_that_fail_together_are_one_failure(relay):
    assert relay.rest(10.0, "why", TARGET)
    assert not any(relay.rest(10.0 + number / 1000, "why", TARGET) for number in range(100))
    assert relay.rests_since == 10.0


def test_it_is_tried_with_what_it_opened_last_or_else_was_asked_for(relay):
    assert relay.asked is None
    relay.rest(10.0, "why", TARGET)
    relay.rest(11.0, "why", OTHER)
    assert relay.asked == OTHER
    relay.note_opened(12.0, TARGET)
    relay.rest(13.0, "why", OTHER)
    assert relay.asked == TARGET


# The TLS leg.


class Far:
    """The other end of a leg: a TLS server in a thread, that does what it is told."""

    def __init__(self, authority, behave):
        self._context = serving(authority, "relay.example")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.place = self._listener.getsockname()
        self.result = None
        self._behave = behave
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        connection, _ = self._listener.accept()
        with contextlib.suppress(OSError), connection:
            with self._context.wrap_socket(connection, server_side=True) as tls:
                self.result = self._behave(tls)

    def join(self):
        # The hub runs while the thread does.
        with gevent.Timeout(20):
            get = gevent.get_hub().threadpool.spawn(self._thread.join, 20)
            get.get()
        self._listener.close()
        return self.result


def leg_to(far):
    plain = socket.create_connection(far.place)
    plain.setblocking(False)
    leg = Leg(plain, client(), "relay.example")
    leg.handshake()
    return leg, gevent_socket.socket(fileno=leg.start().detach())


def read_all_of(sock):
    pieces = []
    while piece := sock.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def test_a_leg_carries_both_directions_at_once_and_passes_half_closes_on(authority):
    up, down = random.Random(1).randbytes(8_000_000), random.Random(2).randbytes(8_000_000)

    def behave(tls):
        # First all of it down, while the other side sends all of it up into the buffers of the kernel.
        tls.sendall(down)
        got = read_all_of(tls)
        tls.unwrap()
        return hashlib.sha256(got).digest()

    far = Far(authority, behave)
    leg, sock = leg_to(far)
    with gevent.Timeout(30):
        sender = gevent.spawn(lambda: (sock.sendall(up), sock.shutdown(socket.SHUT_WR)))
        assert hashlib.sha256(read_all_of(sock)).digest() == hashlib.sha256(down).digest()
        sender.get()
        assert far.join() == hashlib.sha256(up).digest()
        sock.close()
        leg.end()
    assert_closed(leg)


def assert_closed(leg):
    with gevent.Timeout(LINGER_SECONDS / 2):
        while leg._sock.fileno() != -1 or leg._ours.fileno() != -1:
            gevent.sleep(0)


def test_what_was_written_before_a_close_still_arrives(authority):
    far = Far(authority, read_all_of)
    leg, sock = leg_to(far)
    sock.sendall(b"x" * 100_000)
    sock.close()
    leg.end()
    assert far.join() == b"x" * 100_000
    assert_closed(leg)


def test_a_leg_whose_far_end_breaks_off_ends(authority):
    far = Far(authority, lambda tls: tls.shutdown(socket.SHUT_RDWR))
    leg, sock = leg_to(far)
    with gevent.Timeout(20):
        assert read_all_of(sock) == b""
    far.join()
    sock.close()
    leg.end()
    assert_closed(leg)


def test_a_leg_whose_far_end_never_says_anything_is_closed_with_the_tunnel(authority):
    done = threading.Event()
    far = Far(authority, lambda tls: done.wait(20))
    leg, sock = leg_to(far)
    sock.close()
    leg.end()
    assert_closed(leg)
    done.set()
    far.join()


def test_a_certificate_for_another_name_is_not_trusted(authority):
    far = Far(authority, lambda tls: None)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    plain = socket.create_connection(far.place)
    plain.setblocking(False)
    leg = Leg(plain, context, "other.example")
    with pytest.raises(ssl.SSLCertVerificationError):
        leg.handshake()
    leg.close()
    far._thread.join(20)
    far._listener.close()


def test_what_was_written_before_a_close_arrives_although_the_peer_reads_late_and_speaks_itself(authority):
    """A close with unread bytes makes the kernel reset the connection, and forget what the peer has not taken."""
    closed = threading.Event()

    def behave(tls):
        tls.sendall(b"y" * 1000)
        closed.wait(20)
        tls.sendall(b"y" * 1000)
        return read_all_of(tls)

    far = Far(authority, behave)
    leg, sock = leg_to(far)
    with gevent.Timeout(20):
        sock.sendall(b"x" * 1_000_000)
        sock.close()
        leg.end()
        while not leg._pumps[1].ready():
            gevent.sleep(0)
        for _turn in range(100):  # now it could close, if it would
            gevent.sleep(0)
        closed.set()
        assert far.join() == b"x" * 1_000_000
    assert_closed(leg)
