"""Bytes through a real gateway: half-closes, resets, limits, slow readers."""

import contextlib
import fcntl
import hashlib
import socket
import struct
import threading

import pytest
from harness.gateway import ALLOW, Gateway, read_all, read_exactly, read_head
from harness.sockets import await_keepalive
from harness.upstreams import Server, echo, pattern, reset
from harness.waiting import until


@pytest.fixture(scope="module")
def gateway():
    with Gateway(*ALLOW) as gateway:
        yield gateway


def test_bytes_go_both_ways_and_are_counted(gateway):
    with Server(echo) as upstream, gateway.tunnel(upstream.target) as sock:
        sock.sendall(b"hello")
        assert read_exactly(sock, 5) == b"hello"
        name = "{}:{}".format(*sock.getsockname())
        sock.close()
        line = gateway.closed(client=name)
    assert (line["bytes_up"], line["bytes_down"], line["reason"]) == (5, 5, "client-closed")
    assert line["target"] == line["upstream"] == upstream.target
    assert 0 < line["dial"] < line["duration"] < 20


def test_what_came_behind_the_head_is_the_first_that_the_upstream_hears(gateway):
    with Server(echo) as upstream:
        for cut in (0, 1, 20, 44):
            head = f"CONNECT {upstream.target} HTTP/1.1\r\n\r\n".encode() + b"early bytes"
            with gateway.connect() as sock:
                sock.sendall(head[:cut])
                sock.sendall(head[cut:])
                assert read_head(sock).startswith(b"HTTP/1.1 200 ")
                assert read_exactly(sock, 11) == b"early bytes"


def test_a_client_that_half_closes_gets_the_whole_answer(gateway):
    def answer_at_the_end(connection):
        said = read_all(connection)
        for piece in pattern(20 << 20):
            connection.sendall(piece)
        connection.sendall(hashlib.sha256(said).digest())

    body = b"".join(pattern(3 << 20, b"up"))
    with Server(answer_at_the_end) as upstream, gateway.tunnel(upstream.target) as sock:
        sock.sendall(body)
        sock.shutdown(socket.SHUT_WR)
        got = read_all(sock)
    assert hashlib.sha256(got[:-32]).digest() == hashlib.sha256(b"".join(pattern(20 << 20))).digest()
    assert got[-32:] == hashlib.sha256(body).digest()


def test_an_upstream_that_half_closes_still_hears_the_client(gateway):
    heard = []

    def close_first(connection):
        connection.sendall(b"bye")
        connection.shutdown(socket.SHUT_WR)
        heard.append(read_all(connection))

    with Server(close_first) as upstream, gateway.tunnel(upstream.target) as sock:
        assert read_all(sock) == b"bye"
        sock.sendall(b"still here")
        name = "{}:{}".format(*sock.getsockname())
        sock.close()
        line = gateway.closed(client=name)
    assert heard == [b"still here"]
    assert line["reason"] == "upstream-closed"


def test_a_reset_of_the_client_reaches_the_upstream(gateway):
    with Server(echo) as upstream:
        sock = gateway.tunnel(upstream.target)
        sock.sendall(b"x")
        read_exactly(sock, 1)
        name = "{}:{}".format(*sock.getsockname())
        reset(sock)
        assert gateway.closed(client=name)["reason"] == "client-reset"
    assert isinstance(upstream.errors[0], ConnectionResetError)


def test_a_reset_of_the_upstream_reaches_the_client(gateway):
    with Server(lambda connection: (connection.recv(1), reset(connection))) as upstream:
        with gateway.tunnel(upstream.target) as sock:
            name = "{}:{}".format(*sock.getsockname())
            sock.sendall(b"x")
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        assert gateway.closed(client=name)["reason"] == "upstream-reset"


def test_what_an_upstream_said_before_it_reset_is_delivered(gateway):
    def say_and_reset(connection):
        connection.recv(1)
        connection.sendall(b"z" * 100_000)
        until(lambda: not struct.unpack("i", fcntl_outq(connection))[0])
        reset(connection)

    def fcntl_outq(connection):
        return fcntl.ioctl(connection, 0x5411, b"\0\0\0\0")  # TIOCOUTQ: what the peer has not acknowledged

    with Server(say_and_reset) as upstream, gateway.tunnel(upstream.target) as sock:
        sock.sendall(b"x")
        got = b""
        try:
            while piece := sock.recv(65536):
                got += piece
        except ConnectionResetError:
            pass
    assert got == b"z" * 100_000


def reads_late_and_talks_on(connection, go, heard):
    """What it says meanwhile lies unread in the gateway when the other peer resets."""
    connection.setblocking(False)
    while not go.wait(0.001):
        with contextlib.suppress(BlockingIOError):
            connection.send(b"talk")
    connection.settimeout(20)
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            heard.append(len(piece))
            with contextlib.suppress(ConnectionError):  # nobody hears it any more, but what came before is still here
                connection.send(b"talk")


def test_what_a_client_said_before_it_reset_reaches_an_upstream_that_reads_late_and_talks_on(gateway):
    go, heard = threading.Event(), []
    with Server(lambda connection: reads_late_and_talks_on(connection, go, heard)) as upstream:
        sock = gateway.tunnel(upstream.target)
        sock.sendall(b"x" * 1_000_000)
        # TIOCOUTQ: the gateway has it all.
        until(lambda: not struct.unpack("i", fcntl.ioctl(sock, 0x5411, b"\0\0\0\0"))[0])
        name = "{}:{}".format(*sock.getsockname())
        reset(sock)
        go.set()
        assert gateway.closed(client=name)["reason"] == "client-reset"
    assert sum(heard) == gateway.closed(client=name)["bytes_up"] > 100_000


def test_what_an_upstream_said_before_it_reset_reaches_a_client_that_reads_late_and_talks_on(gateway):
    go, heard = threading.Event(), []

    def say_and_reset(connection):
        connection.recv(1)
        connection.sendall(b"z" * 200_000)
        until(lambda: not struct.unpack("i", fcntl.ioctl(connection, 0x5411, b"\0\0\0\0"))[0])
        reset(connection)
        go.set()

    with Server(say_and_reset) as upstream, gateway.tunnel(upstream.target) as sock:
        name = "{}:{}".format(*sock.getsockname())
        sock.sendall(b"x")
        reads_late_and_talks_on(sock, go, heard)
        line = gateway.closed(client=name)
    assert line["reason"] == "upstream-reset" and sum(heard) == line["bytes_down"] > 100_000


def test_a_client_that_leaves_while_we_dial_is_accounted_for():
    """The dial hangs because the upstream's queue is full; the client resets meanwhile."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    port = listener.getsockname()[1]
    flags = ("--allowed-host", f"127.0.0.1:{port}", "--allowed-target-network", "127.0.0.0/8", "--dial-timeout", "20s")
    fillers = []
    with listener, Gateway(*flags) as gateway:
        while not fillers or fillers[-1].connect_ex_code == 0:
            filler = Filler(port)
            fillers.append(filler)
        sock = gateway.connect()
        name = "{}:{}".format(*sock.getsockname())
        sock.sendall(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())
        with pytest.raises(TimeoutError):
            sock.settimeout(0.3)
            sock.recv(1)
        reset(sock)
        assert gateway.wait_for(client=name)["reason"] == "client-gone"
        for filler in fillers:
            filler.close()


class Filler(socket.socket):
    """A connection that takes a place in a listener's queue, if there is one."""

    def __init__(self, port):
        super().__init__()
        self.settimeout(0.2)
        try:
            self.connect(("127.0.0.1", port))
            self.connect_ex_code = 0
        except TimeoutError:
            self.connect_ex_code = 1


def test_a_dial_that_takes_too_long_is_told():
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    port = listener.getsockname()[1]
    flags = (
        "--allowed-host",
        f"127.0.0.1:{port}",
        "--allowed-target-network",
        "127.0.0.0/8",
        "--dial-timeout",
        "300ms",
    )
    fillers = []
    with listener, Gateway(*flags) as gateway:
        while not fillers or fillers[-1].connect_ex_code == 0:
            fillers.append(Filler(port))
        sock, head = gateway.ask(f"127.0.0.1:{port}")
        assert head.startswith(b"HTTP/1.1 504 Gateway Timeout: connection-timeout\r\n")
        assert b"error=connection_timeout" in head
        assert "dial-timeout" in gateway.wait_for(event=403)["message"]
        for open_socket in (sock, *fillers):
            open_socket.close()


def test_an_idle_tunnel_ends_and_a_busy_one_does_not():
    with Server(echo) as upstream, Gateway(*ALLOW, "--idle-timeout", "1s") as gateway:
        with gateway.tunnel(upstream.target) as idle, gateway.tunnel(upstream.target) as busy:
            idle_name = "{}:{}".format(*idle.getsockname())
            while not gateway.events(108):
                busy.sendall(b"x")
                assert busy.recv(1) == b"x"
            assert gateway.closed()["client"] == idle_name
            assert gateway.closed()["reason"] == "idle"
            assert read_all(idle) == b""


def test_a_half_closed_tunnel_ends_sooner():
    ended = threading.Event()

    def say_nothing(connection):
        read_all(connection)
        ended.wait(60)

    with Server(say_nothing) as upstream, Gateway(*ALLOW, "--half-closed-timeout", "500ms") as gateway:
        with gateway.tunnel(upstream.target) as sock, gateway.tunnel(upstream.target):
            name = "{}:{}".format(*sock.getsockname())
            sock.shutdown(socket.SHUT_WR)
            line = gateway.closed()
            assert (line["reason"], line["client"]) == ("half-closed-timeout", name)
            ended.set()


def test_a_slow_reader_holds_the_gateways_memory_steady(gateway):
    """The upstream sends 200 MB that nobody reads: what the gateway holds is bounded, and others go on."""

    def flood(connection):
        for piece in pattern(200 << 20):
            connection.sendall(piece)

    with Server(flood) as upstream, Server(echo) as other:
        before = gateway.memory()
        slow = [gateway.tunnel(upstream.target) for _ in range(20)]
        first = [read_exactly(sock, 1) for sock in slow]
        with gateway.tunnel(other.target) as sock:
            for _ in range(100):
                sock.sendall(b"ping")
                assert read_exactly(sock, 4) == b"ping"
        assert gateway.memory() - before < 4 << 20
        got = hashlib.sha256(first[0] + read_exactly(slow[0], (200 << 20) - 1))
        assert got.digest() == hashlib.sha256(b"".join(pattern(200 << 20))).digest()
        for sock in slow:
            sock.close()


def test_keepalive_is_set_on_both_sockets_of_a_tunnel_that_lasts():
    with Gateway(*ALLOW, "--half-closed-timeout", "1s") as gateway:
        with Server(echo) as upstream, gateway.tunnel(upstream.target) as sock:
            await_keepalive("{}:{}".format(*sock.getsockname()), upstream.target)
            sock.sendall(b"still")
            assert read_exactly(sock, 5) == b"still"
        assert not gateway.events(400)
