"""What no rule lets a client reach: the gateway's own listeners; and addresses that the denied hosts name."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
from ipaddress import IPv6Address

import pytest
from harness.dns import Dns
from harness.gateway import ROOT, Gateway, address, free_port
from harness.netns import Namespace
from harness.peers import peer
from harness.upstreams import Server, echo
from harness.waiting import until

EVERYTHING = ("--allowed-target-network", "0.0.0.0/0", "--allowed-target-network", "::/0")
ITSELF = b"HTTP/1.1 403 Forbidden: address-not-allowed\r\n"


def assert_refused(gateway, target, says):
    sock, head = gateway.ask(target)
    sock.close()
    assert head.startswith(ITSELF), head
    line = gateway.wait_for(target=target, event=105)
    assert says in line["message"]
    return line


def as_text(form, host):
    """An IPv6 form of an IPv4 address."""
    whole = int.from_bytes(socket.inet_aton(host))
    six = {"mapped": 0xFFFF << 32 | whole, "translated": 0xFFFF << 48 | whole, "compatible": whole,
           "nat64": 0x64FF9B << 96 | whole, "6to4": 0x2002 << 112 | whole << 80,
           "isatap": 0x26064700 << 96 | 0x5EFE << 32 | whole}[form]  # fmt: skip
    return str(IPv6Address(six))


# The gateway itself.


@pytest.mark.parametrize("setting", ["admin-address", "health-address"])
@pytest.mark.parametrize("listens", ["all", "one"])
def test_the_ports_for_those_who_run_it_are_never_dialed(listens, setting):
    host = address()
    port = free_port(host if listens == "one" else "0.0.0.0")
    admin = f"{host if listens == 'one' else '0.0.0.0'}:{port}"
    rules = f"127.0.0.0/8:{port}, 0.0.0.0/8:{port}, admin.example:{port}"
    rules += f", [::/0]:{port}" if listens == "one" else ""
    with (
        Dns({"admin.example": [host]}) as dns,
        Gateway("--allowed-host", rules, *EVERYTHING, f"--{setting}", admin, *dns.flags, listen=host) as gateway,
    ):
        for target in (f"{host}:{port}", f"admin.example:{port}", f"0.0.0.0:{port}"):
            assert_refused(gateway, target, "is this gateway itself")


def test_no_network_is_named_that_would_not_open_it_either():
    host = address()
    with Gateway("--allowed-host", f"{host}:8080", listen=host) as gateway:
        line = assert_refused(gateway, f"{host}:8080", "is this gateway itself")
        assert "allowed-target-network" not in line["message"]


@pytest.mark.parametrize("form", ["mapped", "translated", "compatible", "nat64", "6to4", "isatap"])
def test_no_ipv6_form_of_its_own_address_is_dialed(form):
    host = address()
    inside = as_text(form, host)
    with Gateway("--allowed-host", f"[{inside}]:8080, [::]:8080", *EVERYTHING, listen=host) as gateway:
        assert_refused(gateway, f"[{inside}]:8080", "is this gateway itself")
        assert_refused(gateway, "[::]:8080", "is this gateway itself")


def test_a_rule_with_to_does_not_open_it_either():
    with Dns({}) as dns:
        host = address()
        port = free_port(host)
        rule = f"a.example:{port} to=127.0.0.0/8"
        dns.names["a.example"] = [host]
        flags = ("--allowed-host", rule, "--admin-address", f"{host}:{port}")
        with Gateway(*flags, *dns.flags, listen=host) as gateway:
            assert_refused(gateway, f"a.example:{port}", "is this gateway itself")


def test_every_listener_is_known_to_every_worker():
    """Of several workers, each of which has sockets of its own."""
    host, other = address(), address()
    flags = ("--listen-address", other, "--allowed-host", "127.0.0.0/8:8080", *EVERYTHING)
    with Gateway(*flags, listen=host, workers=2) as gateway:
        for target in (f"{host}:8080", f"{other}:8080"):
            for _turn in range(8):
                sock, head = gateway.ask(target)
                sock.close()
                assert head.startswith(ITSELF)


def test_another_gateway_on_this_machine_is_not_itself():
    with (
        Server(echo, port=8443) as upstream,
        Gateway("--allowed-host", f"{upstream.host}:8443", *EVERYTHING) as other,
        Gateway("--allowed-host", "127.0.0.0/8:8080", *EVERYTHING) as straight,
        Gateway("--allowed-host", "127.0.0.0/8:8443", *EVERYTHING, "--relay-proxy", other.url) as behind,
    ):
        straight.tunnel(f"{other.address}:8080").close()
        behind.tunnel(upstream.target).close()


def test_the_admin_port_is_not_reached_past_or_behind_a_relay_proxy():
    host = address()
    port = free_port(host)
    with Gateway("--allowed-host", "127.0.0.0/8", *EVERYTHING) as relay:
        flags = ("--allowed-host", f"127.0.0.0/8:{port}", *EVERYTHING, "--admin-address", f"{host}:{port}")
        for more in ((), ("--relay-proxy-bypass", f"{host}:{port}")):
            with Gateway(*flags, "--relay-proxy", relay.url, *more, listen=host) as gateway:
                assert_refused(gateway, f"{host}:{port}", "is this gateway itself")


def test_a_relay_proxy_that_is_the_admin_port_is_a_loop():
    host = address()
    port = free_port(host)
    flags = ("--allowed-host", "a.example", "--admin-address", f"{host}:{port}")
    with Gateway(*flags, "--relay-proxy", f"http://{host}:{port}", listen=host) as gateway:
        sock, head = gateway.ask("a.example:443")
        sock.close()
        assert head.startswith(b"HTTP/1.1 502 Bad Gateway: relay-loop\r\n")


@pytest.mark.parametrize("setting", ["admin-address", "health-address"])
def test_explain_says_so_too(setting):
    host = address()
    port = free_port(host)
    flags = ["--allowed-host", f"127.0.0.0/8:{port} to=127.0.0.0/8", f"--{setting}", f"{host}:{port}"]
    command = [sys.executable, "-m", "ogw", "explain", f"{host}:{port}", "--json", *flags]
    told = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60).stdout)
    assert told["reason"] == "address-not-allowed" and "is this gateway itself" in told["detail"]
    assert told["command"] is None


@pytest.mark.parametrize("nonlocal_bind", ["0", "1"])
def test_its_public_address_is_its_own_also_when_it_came_later(tmp_path, nonlocal_bind):
    """Where any address can be bound to, as those like to have it who share one by VRRP, only its own are its own."""
    with Namespace(tmp_path, "nameserver 127.0.0.1\n") as namespace:
        enter = namespace.command
        sysctl = f"for v in 4 6; do echo {nonlocal_bind} > /proc/sys/net/ipv$v/ip_nonlocal_bind; done"
        subprocess.run([*enter, "sh", "-c", sysctl], check=True)
        subprocess.run([*enter, peer("ip"), "addr", "add", "8.8.4.1/32", "dev", "lo"], check=True)
        flags = ("--allowed-host", "8.8.4.0/24, 8.8.4.0/24:8080, 8.8.4.0/24:9180, [2600::/16]:9180")
        flags += ("--admin-address", "[::]:9180", "--dial-timeout", "300ms")

        def ask(target):
            told = subprocess.run(
                [*enter, peer("curl"), "-sS", "-m", "10", "-p", "-x", "http://127.0.0.1:8080", f"http://{target}/"],
                capture_output=True, text=True, timeout=20,
            )  # fmt: skip
            return told.stderr

        with Gateway(*flags, listen="0.0.0.0", command=enter) as gateway:
            for target in ("8.8.4.1:8080", "8.8.4.1:9180"):
                assert "403" in ask(target)
                assert "is this gateway itself" in gateway.wait_for(target=target, event=105)["message"]
            assert "502" in ask("8.8.4.9:9180")  # another's: there is no way to it
            assert gateway.wait_for(target="8.8.4.9:9180")["reason"] == "unreachable"
            later = [*enter, peer("ip"), "addr", "add"]
            subprocess.run([*later, "8.8.4.2/32", "dev", "lo"], check=True)
            subprocess.run([*later, "2600::1/128", "dev", "lo", "nodad"], check=True)
            for target in ("8.8.4.2:9180", "[2600::1]:9180"):
                assert "403" in ask(target)
                assert "is this gateway itself" in gateway.wait_for(target=target, event=105)["message"]


# Denied networks.

PORT = free_port("::1")
DENIED = f"127.88.0.0/16, 127.89.1.1, [::1]:{PORT}, 127.90.0.0/16:9443, 127.91.0.0/16 from=10.0.0.0/8"


@pytest.fixture(scope="module")
def denying():
    """A gateway that denies networks, a server in each, and names that lead there."""
    hosts = ("127.88.1.1", "127.89.1.1", "::1", "127.89.1.2", "127.90.1.1", "127.91.1.1")
    names = {f"n{number}.example": [host] for number, host in enumerate(hosts)}
    names["both.example"] = ["127.88.1.1", "127.89.1.2"]
    names["mapped.example"] = ["::ffff:127.88.1.1"]
    rules = ", ".join(f"{name}:{PORT}" for name in names)
    with (
        contextlib.ExitStack() as servers,
        Dns(names) as dns,
        Gateway("--allowed-host", rules, *EVERYTHING, "--denied-host", DENIED, *dns.flags) as gateway,
    ):
        for host in hosts:
            servers.enter_context(Server(echo, port=PORT, host=host))
        gateway.dns = dns
        yield gateway


@pytest.mark.parametrize(
    ("name", "rule"),
    [("n0", "127.88.0.0/16"), ("n1", "127.89.1.1"), ("n2", "[::1]:{port}"), ("mapped", "127.88.0.0/16")],
)
def test_a_name_that_leads_into_a_denied_network_is_refused(denying, name, rule):
    line = assert_refused(denying, f"{name}.example:{PORT}", f" is denied by {rule.format(port=PORT)} (--denied-host)")
    assert "to=" not in line["message"]


@pytest.mark.parametrize("name", ["n3", "n4", "n5"])
def test_a_rule_for_another_address_port_or_client_denies_nothing(denying, name):
    denying.tunnel(f"{name}.example:{PORT}").close()


def test_the_addresses_that_are_not_denied_are_dialed(denying):
    denying.tunnel(f"both.example:{PORT}").close()
    assert denying.closed(target=f"both.example:{PORT}")["upstream"] == f"127.89.1.2:{PORT}"


@pytest.mark.parametrize("name", ["n0", "mapped", "n3"])
def test_explain_agrees_on_denied_networks(denying, name):
    command = [sys.executable, "-m", "ogw", "explain", f"{name}.example:{PORT}", "--json", "--denied-host", DENIED]
    command += ["--allowed-host", f"{name}.example:{PORT}", *EVERYTHING, *denying.dns.flags]
    told = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60).stdout)
    assert told["reason"] == ("allowed" if name == "n3" else "address-not-allowed")
    assert ("is denied by" in told["detail"]) == (name != "n3") and told["command"] is None


def test_a_rule_that_ended_denies_nothing():
    with (
        Server(echo, port=8443) as upstream,
        Dns({"a.example": [upstream.host]}) as dns,
        Gateway("--allowed-host", "a.example:8443", *EVERYTHING, "--denied-host",
                "127.0.0.0/8 until=2020-01-01T00:00:00Z", *dns.flags) as gateway,
    ):  # fmt: skip
        gateway.tunnel("a.example:8443").close()


def test_a_reload_that_denies_an_address_ends_the_tunnels_that_lead_there(tmp_path):
    ini = tmp_path / "ogw.ini"

    def write(denied):
        ini.write_text(f"[ogw]\nreload-rechecks-tunnels = yes\nallowed-host = a.example:8443, b.example:8443\n{denied}")

    write("")
    with (
        Server(echo, port=8443) as first,
        Server(echo, port=8443) as second,
        Dns({"a.example": [first.host], "b.example": [second.host]}) as dns,
        Gateway("--config", str(ini), *EVERYTHING, *dns.flags) as gateway,
        gateway.tunnel("a.example:8443"),
        gateway.tunnel("b.example:8443"),
    ):
        write(f"denied-host = {first.host}\n")
        gateway.process.send_signal(signal.SIGHUP)
        assert gateway.closed(target="a.example:8443")["reason"] == "not-allowed-after-reload"
        until(lambda: gateway.events(109))
        assert len(gateway.events(108)) == 1
