"""The chart's pods, really run: what their probes ask answers, a ConfigMap is taken, one replaces another unnoticed."""

import contextlib
import socket
import types

import pytest
from harness.gateway import read_head
from harness.helm import container_of, ini_of, render
from harness.load import Load
from harness.peers import peer
from harness.pods import NETWORK, SUBNET, Pod
from harness.relays import Proxy
from harness.upstreams import Server, echo
from harness.waiting import PATIENCE, until

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

HOST = SUBNET.format(1)
# Its target is on a private network, and speaks no TLS.
SETTINGS = {"allowed-host": [f"{HOST} to={HOST}/32"], "tls-rules": "off"}
BALANCER = """
defaults
  mode tcp
  timeout connect 2s
  timeout client 60s
  timeout server 60s
listen proxy
  bind 127.0.0.1:8080
  bind {own}
  option httpchk GET /readyz
  default-server check port 9181 inter {period}s fall {fall} rise 1
"""


@pytest.fixture(scope="module")
def network(podman):
    """What pods are on."""
    for name in ("iptables", "netavark", "catatonit"):
        peer(name)
    podman("network", "create", "--subnet", SUBNET.format("0/24"), NETWORK)


def chart(image, **values):
    """Rendered, of this image and with the target's settings."""
    repository, _colon, tag = image.partition(":")
    settings = {**SETTINGS, **values.pop("settings", {})}
    return render({"image": {"repository": repository, "tag": tag}, "settings": settings, **values})


@pytest.fixture
def start(podman, network, built, tmp_path):
    """Makes pods, by number."""
    return lambda number, **values: Pod(podman, chart(built[0], **values), tmp_path / f"{number}", number)


class Balancer(Proxy):
    """HAProxy, which asks as often as the readiness probe does, on the network of its caller."""

    def __init__(self, probe):
        super().__init__(host="127.0.0.1")
        servers = [f"  server {number} {SUBNET.format(10 + number)}:8080" for number in (1, 2)]
        text = BALANCER.format(own=self.place, period=probe["periodSeconds"], fall=probe["failureThreshold"])
        (self.folder / "haproxy.cfg").write_text("\n".join([text, *servers, ""]))

    def command(self):
        return [peer("haproxy"), "-db", "-f", str(self.folder / "haproxy.cfg")]


def ask(address, target):
    """The status that a client gets there, nothing where nobody answers."""
    with socket.create_connection((address, 8080), timeout=20 * PATIENCE) as sock:
        sock.sendall(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
        return [*read_head(sock).decode().split(), "", ""][1]


def test_the_probes_are_answered_by_one_that_may_do_nothing_else(start):
    """It has a secret, too, which it may read, and nobody else."""
    relay = {"relay-proxy": "http://proxy.example.com:3128", "relay-proxy-username": "gateway"}
    settings = {**relay, "tls-rules": "enforce"}  # nothing that is warned of
    with start(1, settings=settings, relayProxyPassword={"value": "5ecret"}) as pod:
        pod.becomes_ready()
        assert pod.answers("livenessProbe")
        status = pod.run("cat", "/proc/1/status").stdout
        assert "CapBnd:\t0000000000000000" in status and "NoNewPrivs:\t1" in status and "\nUid:\t65532\t" in status
        assert "Read-only file system" in pod.run("touch", "/opt/ogw/x", check=False).stderr
        assert pod.run("ogw", "ready").stdout == "ready\n"
        assert pod.run("cat", "/etc/ogw-secret/password").stdout == "5ecret"
        assert [line["message"] for line in pod.lines() if line["level"] != "info"] == []
        pod.signal("TERM")
        until(lambda: not pod.answers("readinessProbe"))
        assert pod.answers("livenessProbe")
        assert pod.wait() == 0
        assert pod.wait_for(110)


def test_a_config_map_is_taken_without_a_restart_and_a_bad_one_is_not_taken(start, podman, built):
    with start(1) as pod, podman.network(), Server(echo, host=HOST) as server:
        pod.becomes_ready()
        assert ask(pod.address, server.target) == "200"
        pod.config.swap({"ogw.ini": ini_of(chart(built[0], settings={"denied-host": HOST}))})
        taken = pod.wait_for(109)
        assert taken["changed"] == ["denied-host"]
        assert ask(pod.address, server.target) == "403"
        pod.config.swap({"ogw.ini": ini_of(chart(built[0], settings={"allowed-host": "*"}))})
        refused = pod.wait_for(401)
        assert "/etc/ogw/ogw.ini:" in refused["message"] and refused["policy"] == taken["policy"]
        assert ask(pod.address, server.target) == "403" and pod.answers("readinessProbe")
        assert "/etc/ogw/ogw.ini:" in pod.run("ogw", "status").stdout
        pod.config.swap({"ogw.ini": ini_of(chart(built[0]))})
        until(lambda: ask(pod.address, server.target) == "200")
        assert len({line["process"] for line in pod.lines() if line["event"] == 101}) == 1


def test_one_replaces_another_and_no_client_is_refused(start, podman, built):
    """Not even through a balancer that asks no more often than a kubelet."""
    with contextlib.ExitStack() as pods, start(1) as old, podman.network(), Server(echo, host=HOST) as server:
        old.becomes_ready()
        probe = container_of(chart(built[0]))["readinessProbe"]
        with Balancer(probe) as balancer:
            # Until it has noticed that there is no second one yet.
            until(lambda: all(ask(balancer.host, server.target) == "200" for _time in range(4)))
            with Load(types.SimpleNamespace(address=balancer.host), server.target, pace=0.02) as load:
                load.wait_for(50)
                new = pods.enter_context(start(2))
                new.becomes_ready()
                assert old.terminate() == 0
                load.wait_for(50)
                assert new.wait_for(108)
        assert load.broken == []
        print(f"{load.done} tunnels while one pod replaced another, {len(load.broken)} refused or cut")
