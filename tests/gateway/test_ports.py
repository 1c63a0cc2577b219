"""Local ports of upstream sockets: all of the range serves one target address, and running out of them is told."""

import subprocess
import sys

import pytest
from harness.gateway import Gateway
from harness.netns import Namespace

from ogw.tunnel.ports import local_port_range

# In the namespace: an upstream, and clients that open tunnels to it, each from an address of its own. It prints the
# local port that each tunnel's upstream socket has, or the status line of a refusal.
PORTS = """
import socket, sys
listener = socket.create_server(("127.0.3.3", 443))
held = []
for number in range(int(sys.argv[1])):
    client = socket.socket()
    client.settimeout(20)
    client.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT: a bound port would be lost to the gateway
    client.bind((f"127.0.1.{number + 1}", 0))
    client.connect(("127.0.0.1", 8080))
    client.sendall(b"CONNECT 127.0.3.3:443 HTTP/1.1\\r\\n\\r\\n")
    head = client.recv(4096)
    if b" 200 " in head:
        held += [client, listener.accept()]
        print(held[-1][1][1])
    else:
        print(head.split(b"\\r\\n")[0].decode())
"""


@pytest.fixture
def eight_ports(tmp_path):
    if local_port_range() is None:
        pytest.skip("this kernel is older than 6.3: it has no IP_LOCAL_PORT_RANGE")
    with Namespace(tmp_path, "nameserver 127.0.0.1\n") as namespace:
        script = "echo 40000 40007 > /proc/sys/net/ipv4/ip_local_port_range"
        subprocess.run([*namespace.command, "sh", "-c", script], check=True, timeout=20)
        flags = ["--allowed-host", "127.0.3.3", "--allowed-target-network", "127.0.0.0/8"]
        with Gateway(*flags, listen="127.0.0.1", command=namespace.command) as gateway:
            yield namespace, gateway


def ports_of(namespace, tunnels):
    command = [*namespace.command, sys.executable, "-c", PORTS, str(tunnels)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_odd_and_even_ports_are_taken_alike(eight_ports):
    """The kernel's own order is all even ones first, and a long search once those are in use."""
    namespace, _gateway = eight_ports
    ports = [int(port) for port in ports_of(namespace, 4)]
    assert {port % 2 for port in ports} == {0, 1}


def test_running_out_of_local_ports_is_told(eight_ports):
    namespace, gateway = eight_ports
    *ports, ninth = ports_of(namespace, 9)
    assert sorted(ports) == [str(port) for port in range(40000, 40008)]
    assert ninth == "HTTP/1.1 502 Bad Gateway: unreachable"
    assert "ip_local_port_range" in gateway.wait_for(event=403)["message"]
