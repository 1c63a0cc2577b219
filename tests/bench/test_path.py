"""What the steps of a connection's path take, one by one: `tox -e bench` compares it with a run that was saved."""

import pathlib
import socket

import gevent.event
import pytest
from gevent.hub import get_hub
from greenlet import greenlet
from harness.gateway import ALLOW, Gateway, read_exactly, read_head
from harness.hellos import HOST, recorded
from harness.sockets import read_exactly as read_in_the_loop
from harness.sockets import send_all, tcp_pair
from harness.upstreams import Server

from ogw.policy.decision import Reason
from ogw.policy.handshake import Handshake
from ogw.policy.hosts import Policy
from ogw.policy.rules import parse_rules
from ogw.policy.tls_rules import TlsRules
from ogw.report.log import Account, Log
from ogw.tunnel.burst import Burst
from ogw.tunnel.duplex import Duplex
from ogw.tunnel.greenlets import Greenlets
from ogw.tunnel.pipes import Pipes
from ogw.wire.connect import parse_target, read_request

HEADS = pathlib.Path(__file__).parent.parent / "data" / "heads"
HEAD = (HEADS / "curl.head").read_bytes()
CLIENT = "198.51.100.9"
UP, DOWN = recorded("openssl-1.3")
MESSAGE = bytes(512)


def policy(size):
    """One that allows so many hosts, and the target among them."""
    read, mistakes = parse_rules("\n".join([HOST, *(f"h{number}.example.com" for number in range(size - 1))]), "x")
    assert not mistakes
    return Policy(read, tls=TlsRules())


def test_a_head(benchmark):
    assert benchmark(read_request, HEAD, 16384).target.host == HOST


@pytest.mark.parametrize("size", [10, 10_000])
def test_a_decision_among_rules(benchmark, size):
    assert benchmark(policy(size).judge_target, parse_target(f"{HOST}:443".encode()), CLIENT).allowed


def test_both_hellos_of_a_handshake(benchmark):
    rules, target = policy(10), parse_target(f"{HOST}:443".encode())

    def watch():
        handshake = Handshake(rules, target, CLIENT, False)
        handshake.client_said(UP)
        up = handshake.take_up()
        handshake.server_said(DOWN)
        return handshake.verified, up, handshake.take_down()

    assert benchmark(watch) == (True, UP, DOWN)


class Nobody:
    """A writer whose lines nobody reads: what is left is the formatting."""

    longest = lost = written = 0

    def put(self, _line):
        self.written += 1


def test_a_line_of_the_log(benchmark):
    writer = Nobody()
    account = Account("ab12cd-7", f"{CLIENT}:50001", f"{HOST}:443", "192.0.2.1:443", 10, 2**40, 0.0123, 3601.5)
    benchmark(Log(writer).tunnel_closed, Reason.CLIENT_CLOSED.token, "", account)
    assert writer.written


@pytest.fixture
def ends():
    """(the client's, the upstream's) ends of a duplex that copies between them."""
    ours_client, client = tcp_pair()
    ours_upstream, upstream = tcp_pair()
    pipes, ended = Pipes(), gevent.event.Event()
    duplex = Duplex(ours_client, ours_upstream, pipes, Greenlets(), Burst())

    def run():
        duplex.run()
        ended.set()

    get_hub().loop.run_callback(greenlet(run, get_hub()).switch)
    yield client, upstream
    duplex.end(Reason.DRAINED)
    assert ended.wait(10)
    for sock in (ours_client, client, ours_upstream, upstream):
        sock.close()
    pipes.close()


def test_a_message_through_the_duplex(benchmark, ends):
    client, upstream = ends

    def pass_on():
        send_all(client, MESSAGE)
        return read_in_the_loop(upstream, len(MESSAGE))

    assert benchmark(pass_on) == MESSAGE


def answer(connection):
    """The server's part of the handshake that was recorded."""
    if read_exactly(connection, len(UP)) == UP:
        connection.sendall(DOWN)
        connection.recv(1)


def test_a_tunnel_from_connect_to_close(benchmark):
    """Through a whole gateway, its clients and servers included: what is measured is more than the gateway."""
    flags = (*ALLOW, "--allowed-host", HOST, "--server-name", "allowed-hosts")
    with Server(answer) as upstream, Gateway(*flags, tls_rules=None, forgets=(107, 108)) as gateway:
        connect = f"CONNECT {upstream.target} HTTP/1.1\r\n\r\n".encode()

        def set_up():
            with gateway.connect() as sock:
                sock.sendall(connect)
                assert read_head(sock).startswith(b"HTTP/1.1 200 ")
                sock.sendall(UP)
                down = read_exactly(sock, len(DOWN))
                sock.shutdown(socket.SHUT_WR)
                return down

        assert benchmark(set_up) == DOWN
