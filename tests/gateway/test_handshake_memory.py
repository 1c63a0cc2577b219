"""Unfinished handshakes of all tunnels of a worker: bounded, and the client that holds most gives way."""

import contextlib
import socket

import pytest
from harness.dns import Dns
from harness.gateway import Gateway, read_all, read_exactly, read_head
from harness.hellos import client_hello, extension, hello, records, server_hello, server_names
from harness.upstreams import Server

HOST = "www.bench.example"
HELLO = hello(HOST.encode())
LARGE = records(client_hello(server_names(HOST.encode()), extension(51, bytes(60_000))))
ANSWER = records(server_hello())
ENDED = bytes((21, 3, 3, 0, 2, 2, 80))


def answering(connection):
    if connection.recv(1 << 16):
        connection.sendall(ANSWER)
        while connection.recv(1 << 16):
            pass


@contextlib.contextmanager
def gateway_to(*flags, serve=answering, tls_rules=None, **more):
    with Server(serve) as upstream, Dns({HOST: [upstream.host]}) as dns:
        allowed = "--allowed-host", ".bench.example to=127.0.0.0/8", "--handshake-timeout", "60s"
        with Gateway(*allowed, *dns.flags, *flags, tls_rules=tls_rules, **more) as gateway:
            yield gateway


def tunnel(gateway, client, data):
    """One of a client with an address of its own; it has sent these bytes."""
    sock = socket.create_connection((gateway.address, 8080), timeout=20, source_address=(client, 0))
    sock.sendall(f"CONNECT {HOST}:443 HTTP/1.1\r\n\r\n".encode())
    assert read_head(sock).startswith(b"HTTP/1.1 200 ")
    sock.sendall(data)
    return sock


def place(sock):
    return "{}:{}".format(*sock.getsockname()[:2])


def test_the_client_that_holds_most_gives_way_its_oldest_tunnel_first_and_no_other_is_hurt():
    with gateway_to("--handshake-memory", "256KiB") as gateway, contextlib.ExitStack() as stack:
        other = stack.enter_context(tunnel(gateway, "127.0.0.2", LARGE[:-1]))
        greedy = [stack.enter_context(tunnel(gateway, "127.0.0.3", LARGE[:-1])) for _turn in range(3)]
        for number in range(4):
            greedy.append(stack.enter_context(tunnel(gateway, "127.0.0.3", LARGE[:-1])))
            assert read_all(greedy[number]) == ENDED
            line = gateway.wait_for(event=302, client=place(greedy[number]))
            assert line["reason"] == "too-many-handshake-bytes" and line["target"] == f"{HOST}:443"
            assert "handshake-memory" in line["message"] and line["level"] == "warning"
            assert gateway.closed(client=place(greedy[number]))["reason"] == "too-many-handshake-bytes"
        for one in (other, greedy[-1]):
            one.sendall(LARGE[-1:])
            assert read_exactly(one, len(ANSWER)) == ANSWER
            assert gateway.wait_for(event=107, client=place(one))
        assert len(gateway.events(302)) == 4 and not gateway.events(400)


def test_many_clients_that_hold_little_each_stay_below_it_together():
    with gateway_to("--handshake-memory", "128KiB") as gateway, contextlib.ExitStack() as stack:
        made = [stack.enter_context(tunnel(gateway, f"127.0.1.{1 + turn}", LARGE[:10_000])) for turn in range(40)]
        honest = stack.enter_context(tunnel(gateway, "127.0.0.2", HELLO[:50]))
        honest.sendall(HELLO[50:])
        assert read_exactly(honest, len(ANSWER)) == ANSWER
        for sock in made[:20]:
            assert read_all(sock) == ENDED
        assert len(gateway.events(302)) <= 30


def test_what_a_server_says_and_is_held_counts_too():
    """Its flight, which is held while a client certificate may be asked for."""

    def flight(connection):
        connection.recv(1 << 16)
        connection.sendall(records(server_hello(0x0303) + b"\x0b\0\xff\x00" + bytes(60_000)))
        connection.recv(1)

    flags = "--allowed-client-certificate", "till-7", "--handshake-memory", "128KiB"
    with gateway_to(*flags, serve=flight) as gateway, contextlib.ExitStack() as stack:
        socks = [
            stack.enter_context(tunnel(gateway, "127.0.0.3", hello(HOST.encode(), versions=(0x0303,))))
            for _turn in range(3)
        ]
        assert read_all(socks[0]) == ENDED
        assert gateway.wait_for(event=302, client=place(socks[0]))["reason"] == "too-many-handshake-bytes"


def test_a_handshake_that_is_only_reported_goes_on_when_it_gives_way():
    def echo(connection):
        while data := connection.recv(1 << 16):
            got.append(data)

    got = []
    flags = "--handshake-memory", "128KiB"
    with gateway_to(*flags, serve=echo, tls_rules="report") as gateway, contextlib.ExitStack() as stack:
        socks = [stack.enter_context(tunnel(gateway, "127.0.0.3", LARGE[:-1])) for _turn in range(3)]
        line = gateway.wait_for(event=302, client=place(socks[0]))
        assert line["enforced"] is False and line["reason"] == "too-many-handshake-bytes"
        places = [place(sock) for sock in socks]
        for sock in socks:
            sock.sendall(LARGE[-1:])
            sock.shutdown(socket.SHUT_WR)
        for where in places:
            assert gateway.closed(client=where)["bytes_up"] == len(LARGE)
        assert sum(map(len, got)) == 3 * len(LARGE)


@pytest.mark.parametrize("leaves", ["closes", "is rejected", "is verified"])
def test_what_a_tunnel_held_is_given_back_when_it_is_over(leaves):
    """Many times what may be held, one after the other: nobody gives way."""
    with gateway_to("--handshake-memory", "128KiB") as gateway:
        for _turn in range(12):
            with tunnel(gateway, "127.0.0.3", LARGE[:-1]) as sock:
                where = place(sock)
                if leaves == "is rejected":
                    sock.sendall(b"x" + b"\x99" * 5)
                    assert read_exactly(sock, 7)[:1] == b"\x15"
                elif leaves == "is verified":
                    sock.sendall(LARGE[-1:])
                    assert read_exactly(sock, len(ANSWER)) == ANSWER
            assert gateway.closed(client=where)
        assert not gateway.events(302)


def test_a_reload_changes_what_may_be_held(tmp_path):
    file = tmp_path / "ogw.ini"
    file.write_text("[ogw]\nhandshake-memory = 1MiB\n")
    with gateway_to("--config", str(file)) as gateway, contextlib.ExitStack() as stack:
        socks = [stack.enter_context(tunnel(gateway, "127.0.0.3", LARGE[:-1])) for _turn in range(3)]
        file.write_text("[ogw]\nhandshake-memory = 128KiB\n")
        gateway.process.send_signal(1)
        gateway.wait_for(event=109)
        assert not gateway.events(302)
        socks.append(stack.enter_context(tunnel(gateway, "127.0.0.3", LARGE[:-1])))
        assert read_all(socks[0]) == ENDED and read_all(socks[1]) == ENDED


@pytest.mark.long
def test_memory_of_held_hellos_is_what_they_are():
    """300 tunnels that hold nearly 64 KiB each: little more than that, once, and with a limit no more than it."""
    part = records(client_hello(server_names(HOST.encode()), extension(51, bytes(65_000))))[:-1]
    for most, bound in (("64MiB", 300 * 1.5 * 65_000), ("4MiB", 12 << 20)):
        with gateway_to("--handshake-memory", most) as gateway, contextlib.ExitStack() as stack:
            socks = [stack.enter_context(tunnel(gateway, "127.0.0.3", b"")) for _turn in range(300)]
            before = gateway.memory()
            for sock in socks:
                sock.sendall(part)
            last = stack.enter_context(tunnel(gateway, "127.0.0.4", HELLO))
            assert read_exactly(last, len(ANSWER)) == ANSWER
            assert gateway.memory() - before < bound
