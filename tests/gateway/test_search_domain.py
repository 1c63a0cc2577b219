"""A network whose search domain answers every name, as Kubernetes' ndots:5 makes common: the right server is dialed."""

import contextlib
import json
import subprocess

import pytest
from harness.gateway import Gateway
from harness.netns import Namespace
from harness.peers import peer

RESOLV_CONF = "nameserver 127.0.0.1\nsearch evil.test\noptions ndots:5\n"
HOSTS = "127.0.0.1 localhost\n127.0.4.4 in-hosts.example\n"


@contextlib.contextmanager
def running(command, ready):
    """A program until the end of the block, once its output held `ready`."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        for line in process.stdout:
            if ready in line:
                break
        else:
            raise AssertionError(f"{command[-5:]} said nothing of {ready}")
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def namespace(tmp_path):
    with Namespace(tmp_path, RESOLV_CONF, HOSTS) as namespace:
        yield namespace


def test_the_right_server_is_dialed_although_a_search_domain_answers_everything(namespace):
    dnsmasq = [
        peer("dnsmasq"),
        "--no-daemon",
        "--no-resolv",
        "--no-hosts",
        "--log-facility=-",
        "--user=root",
        "--pid-file",
    ]
    answers = [
        "--address=/evil.test/127.0.6.6",
        "--address=/good.example/127.0.4.4",
        "--address=/a.good.example/127.0.4.4",
    ]
    server = [peer("openssl"), "s_server", "-accept", "127.0.4.4:443", "-nocert", "-www"]
    allowed = ("--allowed-host", "good.example, a.good.example, in-hosts.example, missing.example")
    flags = (*allowed, "--allowed-target-network", "127.0.0.0/8")
    enter = namespace.command
    with (
        running([*enter, *dnsmasq, *answers], "started"),
        running([*enter, *server], "ACCEPT"),
        Gateway(*flags, listen="127.0.0.1", command=enter) as gateway,
    ):
        for name in ("good.example", "a.good.example", "in-hosts.example"):
            subprocess.run(
                [*enter, peer("curl"), "-sk", "-m", "10", "-x", "http://127.0.0.1:8080", f"https://{name}/"],
                capture_output=True, timeout=20,
            )  # fmt: skip
            assert gateway.wait_for(target=f"{name}:443", event=108)["upstream"] == "127.0.4.4:443"
        refused = subprocess.run(
            [*enter, peer("curl"), "-sS", "-m", "10", "-x", "http://127.0.0.1:8080", "https://missing.example/"],
            capture_output=True, timeout=20,
        )  # fmt: skip
        assert b"502" in refused.stderr
        assert gateway.wait_for(target="missing.example:443")["reason"] == "dns-error"
    assert "127.0.6.6" not in json.dumps(gateway.lines)


def test_a_changed_resolv_conf_is_read_again(namespace, tmp_path):
    """The first DNS server knows nothing; then resolv.conf names another."""
    enter = namespace.command
    dnsmasq = [*enter, peer("dnsmasq"), "--no-daemon", "--no-resolv", "--no-hosts", "--log-facility=-", "--user=root",
               "--pid-file", "--bind-interfaces"]  # fmt: skip
    first = [*dnsmasq, "--listen-address=127.0.0.1", "--local=/example/"]
    second = [*dnsmasq, "--listen-address=127.0.0.2", "--address=/a.example/127.0.4.4"]
    with (
        running(first, "started"),
        running(second, "started"),
        Gateway("--allowed-host", "a.example to=127.0.0.0/8", listen="127.0.0.1", command=enter) as gateway,
    ):
        ask = [*enter, peer("curl"), "-sk", "-m", "10", "-x", "http://127.0.0.1:8080", "https://a.example/"]
        subprocess.run(ask, capture_output=True, timeout=20)
        gateway.wait_for(reason="dns-error")
        (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.2\n")
        while not any(line.get("reason") == "connection-refused" for line in gateway.lines):
            subprocess.run(ask, capture_output=True, timeout=20)
    assert "127.0.4.4: Connection refused" in gateway.wait_for(reason="connection-refused")["message"]
