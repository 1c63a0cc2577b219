"""Names to addresses with a real DNS server: what is asked, what is dialed, and what never is."""

import re
import signal
import socket
import time

import pytest
from harness.dns import AAAA, NXDOMAIN, SERVFAIL, SILENT, A, Dns
from harness.gateway import Gateway, address, free_port, read_exactly
from harness.load import Load
from harness.upstreams import Server, echo, reset
from harness.waiting import until

from ogw.policy.addresses import REFUSED

LOOPBACK = ("--allowed-target-network", "127.0.0.0/8", "--allowed-target-network", "::1/128")


def test_a_name_is_looked_up_and_dialed():
    with (
        Server(echo, port=8443) as upstream,
        Dns({"a.example": [upstream.host]}) as dns,
        Gateway("--allowed-host", "a.example:8443", *LOOPBACK, *dns.flags) as gateway,
    ):
        with gateway.tunnel("A.example.:8443") as sock:
            sock.sendall(b"x")
            assert read_exactly(sock, 1) == b"x"
        line = gateway.closed()
        assert (line["target"], line["upstream"]) == ("a.example:8443", upstream.target)
    assert sorted(dns.asked) == [("a.example", A), ("a.example", AAAA)]


@pytest.mark.parametrize(
    ("answer", "status", "reason", "error"),
    [
        (NXDOMAIN, 502, "dns-error", "dns_error"),
        (SERVFAIL, 502, "dns-error", "dns_error"),
        ([], 502, "dns-error", "dns_error"),
        (SILENT, 504, "dns-timeout", "dns_timeout"),
    ],
)
def test_a_name_without_an_address_is_told(answer, status, reason, error):
    with (
        Dns({"a.example": answer}) as dns,
        Gateway("--allowed-host", "a.example", "--dns-timeout", "600ms", *dns.flags) as gateway,
    ):
        sock, head = gateway.ask("a.example:443")
        sock.close()
        assert head.startswith(f"HTTP/1.1 {status} ".encode())
        assert f": {reason}\r\n".encode() in head and f"error={error}; ".encode() in head
        assert "dns-server" in gateway.wait_for(event=403, reason=reason)["message"]


@pytest.mark.parametrize("silent", [A, AAAA])
def test_a_server_that_is_silent_on_one_family_does_not_delay_the_other(silent):
    names = {"a.example": lambda kind, _: SILENT if kind == silent else ["127.0.0.1", "::1"]}
    with (
        Server(echo, port=free_port("::1"), host="127.0.0.1" if silent == AAAA else "::1") as upstream,
        Dns(names) as dns,
        Gateway(
            "--allowed-host", f"a.example:{upstream.port}", *LOOPBACK, *dns.flags, "--dns-timeout", "20s"
        ) as gateway,
    ):
        began = time.monotonic()
        gateway.tunnel(f"a.example:{upstream.port}").close()
        assert time.monotonic() - began < 15
        assert gateway.closed()["upstream"] == upstream.target


def test_hanging_names_do_not_hold_up_others():
    with (
        Server(echo, port=8443) as upstream,
        Dns({"a.example": [upstream.host], **{f"h{i}.hang.example": SILENT for i in range(100)}}) as dns,
        Gateway(
            "--allowed-host", "a.example:8443, *.hang.example", *LOOPBACK, *dns.flags, "--dns-timeout", "10m"
        ) as gateway,
    ):
        with Load(gateway, "a.example:8443", lasting=2) as load:
            load.wait_for(5)
            hanging = [gateway.connect() for _ in range(100)]
            for number, sock in enumerate(hanging):
                sock.sendall(f"CONNECT h{number}.hang.example:443 HTTP/1.1\r\n\r\n".encode())
            until(lambda: len({name for name, _ in tuple(dns.asked) if name.endswith(".hang.example")}) == 100)
            load.wait_for(50)
            assert load.broken == []
            for sock in hanging:
                sock.setblocking(False)
                with pytest.raises(BlockingIOError):  # it hung all the time
                    sock.recv(1)
                sock.close()


def test_many_waiters_share_one_look_up():
    release = []

    def answer(kind, number):
        return SILENT if not release else ["127.0.0.1"]

    with (
        Dns({"a.example": answer}) as dns,
        Gateway("--allowed-host", "a.example", *LOOPBACK, *dns.flags, "--dns-timeout", "20s") as gateway,
    ):
        waiting = [gateway.connect() for _ in range(50)]
        for sock in waiting:
            sock.sendall(b"CONNECT a.example:443 HTTP/1.1\r\n\r\n")
        until(lambda: len(dns.asked) >= 2)
        release.append(True)  # it asks again after a while, and all are answered at once
        for sock in waiting:
            assert sock.recv(12) == b"HTTP/1.1 502"  # nobody listens on 127.0.0.1:443
            sock.close()
    assert len(dns.asked) <= 8


def test_the_answer_is_asked_for_again_when_its_time_is_over():
    def answer(kind, number):
        return [first.host] if number == 1 else [second.host]

    with (
        Server(echo, port=8443) as first,
        Server(echo, port=8443) as second,
        Dns({"a.example": answer}, ttl=0) as dns,
        Gateway("--allowed-host", "a.example:8443", *LOOPBACK, *dns.flags) as gateway,
    ):
        for upstream in (first, second):
            gateway.tunnel("a.example:8443").close()
            gateway.closed(upstream=upstream.target)


def name_in(network):
    return f"n{re.sub('[:./]', '-', network)}n.example"


@pytest.fixture(scope="module")
def guarded():
    """A gateway that allows a name in each of the guard's networks, and the DNS server that says so."""
    networks = [network for network, _ in REFUSED]
    names = {name_in(network): [network.split("/")[0]] for network in networks}
    with Dns(names) as dns, Gateway("--allowed-host", ", ".join(names), *dns.flags) as gateway:
        yield gateway


@pytest.mark.parametrize("network", [network for network, _ in REFUSED])
def test_a_name_that_resolves_into_a_refused_network_is_refused(network, guarded):
    target = f"{name_in(network)}:443"
    sock, head = guarded.ask(target)
    sock.close()
    assert head.startswith(b"HTTP/1.1 403 Forbidden: address-not-allowed\r\n")
    assert b"error=destination_ip_prohibited" in head
    line = guarded.wait_for(target=target)
    assert (line["event"], line["reason"]) == (105, "address-not-allowed")
    assert f"is in {network}" in line["message"]


@pytest.mark.parametrize(
    "flags", [("--allowed-target-network", "127.0.0.0/8"), ("--allowed-host", "a.example:8443 to=127.0.0.0/8")]
)
def test_an_allowed_target_network_lets_a_refused_address_pass(flags):
    with (
        Server(echo, port=8443) as upstream,
        Dns({"a.example": [upstream.host], "b.example": [upstream.host]}) as dns,
        Gateway("--allowed-host", "a.example:8443, b.example:8443", *flags, *dns.flags) as gateway,
    ):
        gateway.tunnel("a.example:8443").close()
        sock, head = gateway.ask("b.example:8443")
        sock.close()
        assert head.startswith(
            b"HTTP/1.1 200 " if "network" in flags[0] else b"HTTP/1.1 403 Forbidden: address-not-allowed"
        )


def test_refused_addresses_of_a_name_are_passed_over_for_allowed_ones():
    with (
        Server(echo, port=8443) as upstream,
        Dns({"a.example": ["10.0.0.1", upstream.host, "169.254.169.254", "::1"]}) as dns,
        Gateway(
            "--allowed-host", "a.example:8443", "--allowed-target-network", f"{upstream.host}/32", *dns.flags
        ) as gateway,
    ):
        gateway.tunnel("a.example:8443").close()
        assert gateway.closed()["upstream"] == upstream.target


def test_an_answer_that_changes_between_two_look_ups_is_never_dialed_unjudged():
    """DNS rebinding: every second answer is an address that the guard refuses, where a server waits to be reached."""
    reached = []

    def forbidden(connection):
        reached.append(connection.getpeername())

    def answer(kind, number):
        return [[allowed.host], [secret.host]][number % 2]

    with (
        Server(echo, port=8443) as allowed,
        Server(forbidden, port=8443) as secret,
        Dns({"a.example": answer}, ttl=0) as dns,
        Gateway(
            "--allowed-host", "a.example:8443", "--allowed-target-network", f"{allowed.host}/32", *dns.flags
        ) as gateway,
    ):
        answers = set()
        for _ in range(40):
            sock, head = gateway.ask("a.example:8443")
            sock.close()
            answers.add(head.split(b"\r\n")[0])
    assert answers == {b"HTTP/1.1 200 Connection established", b"HTTP/1.1 403 Forbidden: address-not-allowed"}
    assert reached == []


def test_all_addresses_are_tried_and_a_silent_one_holds_up_little():
    """The first address takes no connection and says nothing (its queue is full); the second answers."""
    silent, refusing = address(), address()
    full = socket.create_server((silent, 8443), backlog=0)
    fillers = []
    with (
        full,
        Server(echo, port=8443) as upstream,
        Dns({"a.example": [silent, upstream.host], "b.example": [refusing, upstream.host]}) as dns,
        Gateway(
            "--allowed-host", "a.example:8443, b.example:8443", *LOOPBACK, *dns.flags, "--dial-timeout", "20s"
        ) as gateway,
    ):
        while True:
            filler = socket.socket()
            filler.settimeout(0.2)
            fillers.append(filler)
            try:
                filler.connect((silent, 8443))
            except TimeoutError:
                break
        began = time.monotonic()
        gateway.tunnel("a.example:8443").close()
        assert time.monotonic() - began < 15
        gateway.tunnel("b.example:8443").close()
        assert gateway.closed(target="b.example:8443")["upstream"] == upstream.target
        for filler in fillers:
            filler.close()


def test_a_failure_names_every_address_that_was_tried():
    with (
        Dns({"a.example": ["127.77.0.3", "127.77.0.4", "10.0.0.1"]}) as dns,
        Gateway("--allowed-host", "a.example", *LOOPBACK, *dns.flags) as gateway,
    ):
        sock, head = gateway.ask("a.example:443")
        sock.close()
        assert head.startswith(b"HTTP/1.1 502 Bad Gateway: connection-refused\r\n")
        message = gateway.wait_for(event=403)["message"]
    assert all(address in message for address in ("127.77.0.3", "127.77.0.4", "10.0.0.1"))


def test_nobody_asks_dns_for_an_address_or_a_denied_name():
    with Dns({}) as dns, Gateway("--allowed-host", "127.0.0.1", *LOOPBACK, *dns.flags) as gateway:
        for target in ("127.0.0.1:443", "no.example:443", "2130706433:443", "127.1:443"):
            gateway.ask(target)[0].close()
        assert gateway.process.poll() is None
    assert dns.asked == []


def test_a_look_up_that_everybody_left_ends_quietly_at_a_reload(tmp_path):
    ini = tmp_path / "ogw.ini"
    ini.write_text("[ogw]\nallowed-host = a.example:8443\n")
    with (
        Dns({"a.example": lambda kind, number: SILENT if number % 2 else NXDOMAIN}) as dns,
        Gateway("--config", str(ini), *dns.flags, "--dns-timeout", "400ms") as gateway,
    ):
        for turn in range(3):
            sock = gateway.connect()
            sock.sendall(b"CONNECT a.example:8443 HTTP/1.1\r\n\r\n")
            until(lambda turn=turn: len(dns.asked) > 4 * turn)
            reset(sock)
            gateway.process.send_signal(signal.SIGHUP)
            until(lambda turn=turn: len(gateway.events(109)) > turn)
            # It asks again, though nobody is there, and is answered.
            until(lambda turn=turn: len(dns.asked) >= 4 * (turn + 1))
        gateway.process.send_signal(signal.SIGHUP)
        gateway.stop()
    assert gateway.events(400) == []
