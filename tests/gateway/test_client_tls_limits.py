"""What clients that speak TLS to the gateway can take of its descriptors."""

import contextlib
import socket

import pytest
from harness.admin import asked, metrics
from harness.peers import peer
from harness.secure import Secure
from harness.upstreams import Server, reset
from harness.waiting import PATIENCE, until


def test_too_many_that_are_not_done_make_room_the_oldest_first(tmp_path, upstream):
    few = [peer("prlimit"), "--nofile=256"]
    more = ("--head-timeout", "60s")
    with Secure(tmp_path, *more, required=False, command=few) as gateway, contextlib.ExitStack() as stack:
        socks = [stack.enter_context(gateway.raw()) for _turn in range(100)]
        name = "{}:{}".format(*socks[0].getsockname())
        for sock in socks:
            sock.sendall(b"\x16\x03")
        assert socks[0].recv(1) == b""
        line = gateway.wait_for(event=302, client=name)
        assert line["reason"] == "client-tls-too-many" and "status" not in line
        gateway.through(gateway.client(), upstream.target).close()
        socks[-1].settimeout(0.2)
        with pytest.raises(TimeoutError):
            socks[-1].recv(1)


def test_a_tunnel_whose_leg_still_sends_counts_for_the_limits_as_it_holds_descriptors(tmp_path):
    """As many at a time as a client may have would else take the descriptors of all others."""

    def serve(connection):
        connection.recv(1)
        connection.sendall(bytes(8 << 20))

    flags = ("--max-tunnels-per-client", "2")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server(serve))
        gateway = stack.enter_context(Secure(tmp_path, *flags, required=False))
        greedy = []
        for _turn in range(2):
            plain = stack.enter_context(socket.socket())
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            plain.settimeout(20 * PATIENCE)
            plain.connect((gateway.address, gateway.port))
            name = "{}:{}".format(*plain.getsockname())
            sock = stack.enter_context(gateway.client().wrap_socket(plain, server_hostname=gateway.address))
            sock.sendall(f"CONNECT {server.target} HTTP/1.1\r\n\r\n".encode())
            assert sock.recv(12) == b"HTTP/1.1 200"
            sock.sendall(b"go")
            greedy.append((sock, name))
        for _sock, name in greedy:
            asked(gateway, f"/kill?tunnel={asked(gateway, f'/tunnels?text={name}')['tunnels'][0]['tunnel']}", "POST")
            gateway.closed(client=name)
        with gateway.secure(gateway.client()) as sock:
            sock.sendall(f"CONNECT {server.target} HTTP/1.1\r\n\r\n".encode())
            assert b"too-many-tunnels-for-client" in sock.recv(4096)
        assert metrics(gateway)["ogw_tunnels_active"] == 0  # each has its account
        for sock, _name in greedy:
            reset(sock)
        until(lambda: admitted(gateway, server.target))


def admitted(gateway, target):
    with gateway.secure(gateway.client()) as sock:
        sock.sendall(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
        return sock.recv(4096).startswith(b"HTTP/1.1 200")


def test_refused_clients_that_do_not_close_leave_descriptors_for_others(tmp_path, upstream):
    """Each holds three for two seconds: its socket, and the pair of its leg."""
    few = [peer("prlimit"), "--nofile=200"]
    with Secure(tmp_path, required=False, command=few) as gateway, contextlib.ExitStack() as stack:
        before, most = gateway.descriptors(), 0
        for _turn in range(60):
            sock = stack.enter_context(gateway.secure(gateway.client()))
            sock.sendall(b"CONNECT refused.test:443 HTTP/1.1\r\n\r\n")
            assert sock.recv(12) == b"HTTP/1.1 403"
            most = max(most, gateway.descriptors() - before)
        assert most < 100
        assert admitted(gateway, upstream.target)
