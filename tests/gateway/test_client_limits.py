"""Whom max-tunnels and max-tunnels-per-client count: clients by their network, and nobody who was refused."""

import contextlib
import subprocess
import sys
import threading

import pytest
from harness.admin import asked, metrics
from harness.dns import Dns
from harness.gateway import ALLOW, Gateway, read_all, read_head
from harness.hellos import hello
from harness.netns import Namespace
from harness.peers import peer
from harness.relays import PORT
from harness.tls import serving
from harness.upstreams import Server, echo
from harness.waiting import PATIENCE, until

NAME = "relay.bench.example"
REFUSED = b"HTTP/1.1 503 Service Unavailable: "
# From each address in turn a tunnel that is kept; the reasons of the answers.
CONNECT = """
import socket, sys
kept = []
for address in sys.argv[1:]:
    sock = socket.create_connection(("2001:db8:0:1::1", 8080), 20, (address, 0))
    sock.sendall(b"CONNECT 127.0.0.1:7777 HTTP/1.1\\r\\n\\r\\n")
    head = b""
    while b"\\r\\n\\r\\n" not in head:
        head += sock.recv(1)
    kept.append(sock)
    print(head.split(b"\\r\\n")[0].decode().split(": ")[-1])
"""
ECHO = """
import socket
server, kept = socket.create_server(("127.0.0.1", 7777)), []
print("ready", flush=True)
while True:
    kept.append(server.accept())
"""
SAME, OTHER = ["2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1:ffff::1"], "2001:db8:0:2::1"


@pytest.fixture
def namespace(tmp_path):
    with Namespace(tmp_path, "nameserver 127.0.0.1\n") as namespace:
        for one in (*SAME, OTHER):
            command = [*namespace.command, peer("ip"), "-6", "addr", "add", f"{one}/128", "dev", "lo"]
            subprocess.run(command, check=True, capture_output=True, timeout=20)
        yield namespace


@pytest.mark.parametrize(
    ("flags", "same"), [((), "too-many-tunnels-for-client"), (("--client-ipv6-prefix", "128"), "")]
)
def test_an_ipv6_network_is_one_client(namespace, flags, same):
    enter = namespace.command
    server = subprocess.Popen([*enter, sys.executable, "-c", ECHO], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout.readline() == "ready\n"
        flags = (*flags, "--allowed-host", "127.0.0.0/8:7777", "--allowed-target-network", "127.0.0.0/8")
        flags = (*flags, "--max-tunnels-per-client", "2", "--drain-timeout", "0s")
        with Gateway(*flags, listen="::", command=enter) as gateway:
            command = [*enter, sys.executable, "-c", CONNECT, *SAME, OTHER]
            told = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.splitlines()
            established = told[0]
            assert told == [established, established, same or established, established]
            if same:
                assert "2001:db8:0:1::/64 has 2 tunnels open" in gateway.wait_for(event=302)["message"]
    finally:
        server.kill()
        server.communicate()


@contextlib.contextmanager
def refusals(gateway, count):
    """Clients that were refused and stay."""
    socks = []
    for _turn in range(count):
        socks.append(gateway.connect())
        socks[-1].sendall(b"CONNECT refused.example:443 HTTP/1.1\r\n\r\n")
    for sock in socks:
        assert read_head(sock).startswith(b"HTTP/1.1 403 Forbidden: host-not-allowed\r\n")
    yield socks
    for sock in socks:
        sock.close()


@pytest.mark.parametrize("limit", ["--max-tunnels", "--max-tunnels-per-client"])
def test_who_was_refused_and_stays_is_not_counted(limit):
    with Server(echo) as upstream, Gateway(*ALLOW, limit, "2") as gateway, refusals(gateway, 6):
        assert metrics(gateway)["ogw_tunnels_active"] == 0
        with gateway.tunnel(upstream.target), gateway.tunnel(upstream.target):
            assert metrics(gateway)["ogw_tunnels_active"] == 2
            for _turn in range(3):  # nor is who was refused for the limit itself
                sock, head = gateway.ask(upstream.target)
                assert head.startswith(REFUSED)
                sock.close()


def test_whose_session_was_rejected_and_stays_is_not_counted():
    with Server(echo) as upstream:
        with Gateway(*ALLOW, "--max-tunnels-per-client", "2", tls_rules=None) as gateway:
            rejected = [gateway.tunnel(upstream.target) for _turn in range(2)]
            for sock in rejected:
                sock.sendall(hello(b"wrong.example"))
                assert read_all(sock)[:1] == b"\x15"
            with gateway.tunnel(upstream.target), gateway.tunnel(upstream.target):
                sock, head = gateway.ask(upstream.target)
                assert head.startswith(REFUSED)
                for one in (sock, *rejected):
                    one.close()


def test_clients_that_were_refused_and_stay_leave_room_for_others():
    """More of them than a worker has descriptors: who has stayed longest gives way, and nobody waits for one."""
    few = [peer("prlimit"), "--nofile=256"]
    patient = (
        "import sys; from ogw.tunnel import linger; linger.LINGER_SECONDS = 60.0; "
        "from ogw.cli.main import main; sys.exit(main(['run', *sys.argv[1:]]))"
    )
    program = [sys.executable, "-c", patient]
    with Server(echo) as upstream, Gateway(*ALLOW, command=few, program=program) as gateway:
        with refusals(gateway, 400):
            socks = [gateway.tunnel(upstream.target) for _turn in range(40)]
            assert gateway.descriptors() < 256
            for sock in socks:
                sock.sendall(b"x")
                assert sock.recv(1) == b"x"
                sock.close()
        assert not gateway.events(302) and not gateway.events(400)


def test_who_was_refused_and_stays_is_dropped_after_a_moment():
    with Gateway(*ALLOW) as gateway:
        before = gateway.descriptors()
        with refusals(gateway, 10):
            until(lambda: gateway.descriptors() <= before, seconds=20)  # two seconds are meant


@pytest.mark.parametrize("ends", ["by an order", "in its handshake"])
def test_a_tunnel_whose_leg_to_a_relay_proxy_still_sends_counts_as_it_holds_descriptors(
    authority, authority_file, ends
):
    """A target that takes nothing is enough for that, and whoever asks for it again and again."""
    released = threading.Event()
    context = serving(authority, NAME, version="1.3")

    def serve(connection):
        with context.wrap_socket(connection, server_side=True) as tls:
            read_head(tls)
            tls.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            released.wait(60 * PATIENCE)
            while tls.recv(1 << 20):
                pass

    with contextlib.ExitStack() as stack:
        stack.callback(released.set)
        relay = stack.enter_context(Server(serve, port=PORT))
        dns = stack.enter_context(Dns({NAME: [relay.host]}))
        flags = (*dns.flags, "--relay-proxy", f"https://{NAME}:{PORT}", "--relay-proxy-ca-file", authority_file)
        more = ("--allowed-host", "www.example.com", "--max-tunnels-per-client", "2", "--handshake-timeout", "2s")
        rules = "enforce" if ends == "in its handshake" else "off"
        gateway = stack.enter_context(Gateway(*flags, *more, tls_rules=rules))
        for _turn in range(2):
            sock = stack.enter_context(gateway.tunnel("www.example.com:443"))
            client = "{}:{}".format(*sock.getsockname())
            sock.sendall(hello(b"www.example.com"))
            sock.setblocking(False)
            sent, records = 0, b"\x17\x03\x03\x40\x00" + bytes(16384)  # of a session that goes on behind its hello
            with contextlib.suppress(OSError):
                while sent < 64 << 20:
                    sent += sock.send(records[sent % len(records) :])
            if ends == "by an order":
                (tunnel,) = asked(gateway, f"/tunnels?text={client}")["tunnels"]
                asked(gateway, f"/kill?tunnel={tunnel['tunnel']}", "POST")
            gateway.closed(client=client)
            sock.close()
        until(lambda: metrics(gateway)["ogw_tunnels_active"] == 0)
        assert b": too-many-tunnels-for-client" in answer(gateway, "www.example.com:443")
        released.set()
        until(lambda: b" 200 " in answer(gateway, "www.example.com:443"))


def answer(gateway, target):
    sock, head = gateway.ask(target)
    sock.close()
    return head
