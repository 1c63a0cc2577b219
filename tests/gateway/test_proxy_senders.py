"""What real load balancers send in front of a connection, and how their probes look: haproxy, and nginx' streams."""

import contextlib
import socket

import pytest
from harness.admin import metrics
from harness.gateway import Gateway, address, read_exactly, read_head
from harness.relays import PORT
from harness.senders import Haproxy, Nginx
from harness.waiting import PATIENCE

SENDS = {
    "haproxy, version 1": (Haproxy, "send-proxy"),
    "haproxy, version 2": (Haproxy, "send-proxy-v2"),
    "haproxy, version 2 with a checksum and a TLV": (Haproxy, "send-proxy-v2 proxy-v2-options crc32c,unique-id"),
    "nginx": (Nginx, ""),
}


@contextlib.contextmanager
def behind(sends, upstream, good, *flags):
    """A gateway where a client at `good` may go to the upstream, and the balancer in front of it."""
    make, words = SENDS.get(sends, (Haproxy, sends))
    source = address()
    rule = ("--allowed-host", f"{upstream.host} from={good}", "--allowed-target-network", "127.0.0.0/8")
    believed = ("--proxy-protocol", "required", "--proxy-protocol-from", source)
    with Gateway(*rule, *believed, "--max-tunnels-per-client", "2", *flags) as gateway:
        with make(gateway, source, words) as balancer:
            yield gateway, balancer


def ask(balancer, source, target):
    """Through the balancer: the socket and the answer's head."""
    sock = socket.create_connection((balancer.host, PORT), 20 * PATIENCE, (source, 0))
    sock.sendall(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
    return sock, read_head(sock)


@pytest.mark.parametrize("sends", SENDS)
def test_rules_limits_and_log_are_the_clients(upstream, sends):
    good, other = address(), address()
    with behind(sends, upstream, good) as (gateway, balancer), contextlib.ExitStack() as stack:
        socks = []
        for _turn in range(2):
            sock, head = ask(balancer, good, upstream.target)
            socks.append(stack.enter_context(sock))
            assert head.startswith(b"HTTP/1.1 200 ")
        socks[0].sendall(b"there and back" * 5000)
        assert read_exactly(socks[0], 70000) == b"there and back" * 5000
        for source, answer, event in ((good, b"503", 302), (other, b"403", 105)):
            sock, head = ask(balancer, source, upstream.target)
            name = "{}:{}".format(*stack.enter_context(sock).getsockname())
            assert head.split()[1] == answer
            assert gateway.wait_for(event=event, client=name)["via"].startswith(f"{balancer.source}:")
        name = "{}:{}".format(*socks[0].getsockname())
        socks[0].close()
        closed = gateway.closed(client=name)
        assert closed["bytes_down"] == 70000 and closed["via"].startswith(f"{balancer.source}:")


PROBES = {
    "plain": "check send-proxy-v2",
    "with a header of version 1": "check send-proxy check-send-proxy",
    "with a header of version 2": "check send-proxy-v2 check-send-proxy",
    "with a header of version 2 and its checksum": "check send-proxy-v2 check-send-proxy proxy-v2-options crc32c",
}


@pytest.mark.parametrize("probe", PROBES)
def test_haproxys_probes_find_it_well_and_leave_nothing(upstream, probe):
    good = address()
    with behind(f"{PROBES[probe]} inter 20ms rise 30", upstream, good) as (gateway, balancer):
        balancer.find_it_well_again()
        sock, head = ask(balancer, good, upstream.target)
        with sock:
            assert head.startswith(b"HTTP/1.1 200 ")
        gateway.closed()
        assert {one["event"] for one in gateway.lines if one["event"] != 100} == {101, 108}
        counted = metrics(gateway)
        assert counted["ogw_errors_total"] == counted["ogw_tunnels_active"] == 0
