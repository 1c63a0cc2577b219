"""DNS servers as they are: what is asked, for how long an answer is kept, and how much of one is used."""

import json
import os
import resource
import socket
import subprocess
import sys
import time

import pytest
from harness.dns import AAAA, NXDOMAIN, SERVFAIL, SILENT, A, Dns
from harness.gateway import ROOT, Gateway, free_port, read_exactly, read_head
from harness.upstreams import Server, echo
from harness.waiting import until

LOOPBACK = ("--allowed-target-network", "127.0.0.0/8", "--allowed-target-network", "::1/128")
FORMERR = 1
# The server, in Python, needs its time for long answers on a busy machine; what fits into a datagram is taken else.
MANY = ("--allowed-host", "*.many.example", "--dns-timeout", "60s")


def refused(gateway, target):
    """The status line of the answer, and the log's line."""
    before = len(gateway.lines)
    sock, head = gateway.ask(target)
    sock.close()
    lines = until(lambda: [line for line in gateway.lines[before:] if line.get("target") == target])
    return head.split(b"\r\n")[0].decode(), lines[0]


# How much of an answer is used.


def many(network, number):
    return [f"{network}.{one // 250}.{one % 250 + 1}" for one in range(number)]


def test_thousands_of_refused_addresses_make_one_short_line_and_cost_little_memory():
    names = {f"n{number}.many.example": many(f"10.{number}", 4000) for number in range(20)}
    with Dns(names, ttl=600) as dns, Gateway(*MANY, *dns.flags) as gateway:
        refused(gateway, "n0.many.example:443")
        before = gateway.memory()
        for name in names:
            status, line = refused(gateway, f"{name}:443")
            assert status == "HTTP/1.1 403 Forbidden: address-not-allowed"
            assert "; and 3995 more" in line["message"] and len(json.dumps(line)) < 2500
        assert gateway.memory() - before < 20 * 700_000


def test_what_is_kept_of_names_is_bounded_whatever_they_have():
    names = {f"n{number}.many.example": many(f"10.{number}", 4000) for number in range(60)}
    with Dns(names, ttl=600) as dns, Gateway(*MANY, *dns.flags) as gateway:
        for name in list(names)[:30]:
            refused(gateway, f"{name}:443")
        before = gateway.memory()
        for name in list(names)[30:]:
            refused(gateway, f"{name}:443")
        assert gateway.memory() - before < 8_000_000


def test_an_allowed_address_behind_thousands_of_refused_ones_is_found():
    with (
        Server(echo, port=8443) as upstream,
        Dns({"a.example": [*many("10.1", 3900), upstream.host]}) as dns,
        Gateway("--allowed-host", "a.example:8443 to=127.0.0.0/8", *dns.flags) as gateway,
    ):
        gateway.tunnel("a.example:8443").close()
        assert gateway.closed()["upstream"] == upstream.target


def test_sixteen_addresses_of_a_family_are_tried_and_no_more():
    addresses, port = [f"127.66.0.{number}" for number in range(1, 31)], free_port("127.66.0.1")
    with (
        Server(echo, port=port, host=addresses[15]) as sixteenth,
        Dns({"a.example": ["10.1.1.1", *addresses], "b.example": ["10.1.1.1", "127.66.1.1", *addresses]}) as dns,
        Gateway("--allowed-host", f"a.example:{port}, b.example:{port}", *LOOPBACK, *dns.flags) as gateway,
    ):
        gateway.tunnel(f"a.example:{port}").close()
        assert gateway.closed()["upstream"] == sixteenth.target
        status, line = refused(gateway, f"b.example:{port}")
        assert status == "HTTP/1.1 502 Bad Gateway: connection-refused"
        assert "; and 27 more" in line["message"] and "127.66.0.5" not in line["message"]


def test_thousands_of_closed_addresses_are_not_dialed():
    port = free_port("127.66.0.1")
    with (
        Dns({"a.example": many("127.66", 4000)}, ttl=600) as dns,
        Gateway("--allowed-host", f"a.example:{port}", *LOOPBACK, *dns.flags) as gateway,
    ):
        for _turn in range(3):
            status, line = refused(gateway, f"a.example:{port}")
            assert status == "HTTP/1.1 502 Bad Gateway: connection-refused"
            assert "; and 3995 more" in line["message"] and len(line["message"]) < 1000


def test_ipv6_and_ipv4_have_their_turns_however_many_there_are_of_one():
    port = free_port("127.66.2.1")
    with (
        Server(echo, port=port, host="127.66.2.1") as upstream,
        Dns({"a.example": [*(f"::ffff:127.66.3.{number}" for number in range(1, 200)), "127.66.2.1"]}) as dns,
        Gateway("--allowed-host", f"a.example:{port}", *LOOPBACK, *dns.flags) as gateway,
    ):
        gateway.tunnel(f"a.example:{port}").close()
        assert gateway.closed()["upstream"] == upstream.target


def test_explain_is_short_whatever_a_zone_says():
    with Dns({"a.example": many("10.1", 4000)}) as dns:
        command = [sys.executable, "-m", "ogw", "explain", "a.example", "--json", "--allowed-host", "a.example"]
        done = subprocess.run([*command, *dns.flags], cwd=ROOT, capture_output=True, text=True, timeout=60)
    told = json.loads(done.stdout)
    assert told["reason"] == "address-not-allowed" and "and 3995 more" in told["detail"]
    assert len(done.stdout) < 5000 and len(told["addresses"]) == 5 and told["more_addresses"] == 3995


# For how long an answer is kept.


def test_an_answer_is_kept_for_its_ttl():
    with (
        Server(echo, port=8443) as upstream,
        Dns({"a.example": [upstream.host]}, ttl=600, nothing=(600, 600)) as dns,
        Gateway("--allowed-host", "a.example:8443", *LOOPBACK, *dns.flags) as gateway,
    ):
        for _turn in range(5):
            gateway.tunnel("a.example:8443").close()
        assert len(dns.asked) == 2


@pytest.mark.parametrize("nothing", [None, (0, 3600), (3600, 0)])
@pytest.mark.parametrize("answer", [[], NXDOMAIN, SERVFAIL])
def test_a_name_that_gets_its_address_later_works_then(answer, nothing):
    """With a zone that lets nobody keep that there is nothing, or that does not say."""
    with Server(echo, port=8443) as upstream:
        there = []
        names = {"a.example": lambda kind, number: [upstream.host] if there else answer}
        with (
            Dns(names, ttl=600, nothing=nothing) as dns,
            Gateway("--allowed-host", "a.example:8443", *LOOPBACK, *dns.flags) as gateway,
        ):
            assert "dns-error" in refused(gateway, "a.example:8443")[0]
            there.append(True)
            gateway.tunnel("a.example:8443").close()


def test_a_zone_may_say_for_how_long_there_is_nothing():
    with Server(echo, port=8443) as upstream:
        names = {"a.example": lambda kind, number: NXDOMAIN if number == 1 else [upstream.host]}
        with (
            Dns(names, ttl=600, nothing=(3600, 2)) as dns,
            Gateway("--allowed-host", "a.example:8443", *LOOPBACK, *dns.flags) as gateway,
        ):
            began = time.monotonic()
            assert "dns-error" in refused(gateway, "a.example:8443")[0]
            while "dns-error" in refused(gateway, "a.example:8443")[0]:
                if time.monotonic() - began < 1.5:
                    assert len(dns.asked) == 2
                assert time.monotonic() - began < 20
            assert time.monotonic() - began >= 2


# Servers that are not as they should be.


@pytest.mark.parametrize("edns", [SILENT, FORMERR])
def test_a_server_that_does_not_stand_edns_is_asked_without(edns):
    with (
        Server(echo, port=8443) as upstream,
        Dns({"a.example": [upstream.host]}, edns=edns) as dns,
        Gateway("--allowed-host", "a.example:8443", *LOOPBACK, *dns.flags) as gateway,
    ):
        gateway.tunnel("a.example:8443").close()
        assert len(dns.asked) == 2


def test_names_are_asked_in_random_letters_each_time_in_others():
    name = "a-long-name-of-many-letters.example"
    with (
        Server(echo, port=8443) as upstream,
        Dns({name: [upstream.host]}) as dns,
        Gateway("--allowed-host", f"{name}:8443", *LOOPBACK, *dns.flags) as gateway,
    ):
        for _turn in range(3):
            gateway.tunnel(f"{name}:8443").close()
    assert len({query[12:-4] for query in dns.queries}) == 6
    assert len({query[:2] for query in dns.queries}) > 1


@pytest.mark.parametrize("change", [bytes.lower, bytes.upper, bytes.swapcase])
@pytest.mark.parametrize("over_tcp", [True, False])
def test_a_server_that_changes_letters_is_understood_all_the_same(change, over_tcp):
    with (
        Server(echo, port=8443) as upstream,
        Dns({"a.example": [upstream.host]}, questions=change, over_tcp=over_tcp) as dns,
        Gateway("--allowed-host", "a.example:8443", *LOOPBACK, *dns.flags, "--dns-timeout", "20s") as gateway,
    ):
        began = time.monotonic()
        gateway.tunnel("a.example:8443").close()
        assert time.monotonic() - began < 15


def test_an_answer_to_another_question_is_not_taken():
    with (
        Server(echo, port=8443) as upstream,
        Dns({"a.example": [upstream.host]}, questions=lambda question: question.replace(b"\1", b"\1x", 1)) as dns,
        Gateway("--allowed-host", "a.example:8443", *LOOPBACK, *dns.flags, "--dns-timeout", "500ms") as gateway,
    ):
        assert refused(gateway, "a.example:8443")[0] == "HTTP/1.1 504 Gateway Timeout: dns-timeout"


def test_what_does_not_fit_into_a_datagram_is_fetched_over_tcp():
    with (
        Server(echo, port=8443) as upstream,
        Dns({"a.example": [*many("10.1", 100), upstream.host]}) as dns,
        Gateway("--allowed-host", "a.example:8443 to=127.0.0.0/8", *dns.flags) as gateway,
    ):
        gateway.tunnel("a.example:8443").close()
        assert dns.streams == 1


def test_what_fits_of_a_long_answer_will_do_where_there_is_no_tcp():
    with (
        Server(echo, port=8443) as upstream,
        Dns({"a.example": [upstream.host, *many("127.66", 100)]}, over_tcp=False) as dns,
        Gateway("--allowed-host", "a.example:8443", *LOOPBACK, *dns.flags) as gateway,
    ):
        gateway.tunnel("a.example:8443").close()
        assert (dns.asked.count(("a.example", A)), dns.streams) == (1, 0)


@pytest.mark.parametrize("door", ["closed", "silent"])
def test_a_long_answer_comes_in_one_datagram_where_there_is_no_tcp(door):
    """From a server that leaves out all of it where it has no room for the whole."""
    with (
        Server(echo, port=8443) as upstream,
        Dns({"a.example": [upstream.host] * 60}, over_tcp=False) as dns,
        socket.socket() as silent,
        Gateway("--allowed-host", "a.example:8443", *LOOPBACK, *dns.flags, "--dns-timeout", "8s") as gateway,
    ):
        dns._cut = lambda answer: answer[:2] + b"\x83\x80\0\1\0\0\0\0\0\0" + answer[12:27]
        if door == "silent":
            silent.bind((dns.host, dns.port))
            silent.listen()
        gateway.tunnel("a.example:8443").close()
        assert [query[10:12] for query in dns.queries if query[-3] == A or query[10:12] != b"\0\0"] == [
            b"\0\0",
            b"\0\1",
        ]


@pytest.mark.parametrize("kind", [A, AAAA])
def test_one_family_failing_leaves_the_other(kind):
    names = {"a.example": lambda asked, number: SERVFAIL if asked == kind else ["127.0.0.1", "::1"]}
    with (
        Server(echo, port=free_port("::1"), host="127.0.0.1" if kind == AAAA else "::1") as upstream,
        Dns(names) as dns,
        Gateway("--allowed-host", f"a.example:{upstream.port}", *LOOPBACK, *dns.flags) as gateway,
    ):
        gateway.tunnel(f"a.example:{upstream.port}").close()
        assert gateway.closed()["upstream"] == upstream.target


# Without descriptors.


def relay(connection):
    """A relay proxy that is the target itself."""
    read_head(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    echo(connection)


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("over_tcp", [False, True])
def test_without_descriptors_a_look_up_says_so_and_works_again_when_there_are_some(behind, over_tcp):
    """Be it the name of the target or that of the relay proxy, and the answer short or long."""
    with (
        Server(relay if behind else echo, port=8443) as upstream,
        Dns({"a.example": [upstream.host] * (60 if over_tcp else 1)}) as dns,
        Gateway(
            "--allowed-host", "a.example:8443", *LOOPBACK, *dns.flags,
            *(("--relay-proxy", "http://a.example:8443") if behind else ()),
        ) as gateway,
    ):  # fmt: skip
        worker = gateway.workers[0]
        before = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        idle = _sockets(worker)
        waiting = [gateway.connect() for _ in range(3)]
        for sock in waiting:
            sock.sendall(b"CONNECT a.example")
        until(lambda: len(_sockets(worker) - idle) == len(waiting))  # it has taken them
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (3, before[1]))
        for sock in waiting:
            sock.sendall(b":8443 HTTP/1.1\r\n\r\n")
            head = read_head(sock)
            assert head.startswith(b"HTTP/1.1 503 Service Unavailable: no-descriptors\r\n") and b"Retry-After: " in head
            sock.close()
        line = gateway.wait_for(event=302, reason="no-descriptors", target="a.example:8443")
        assert "raise the limit of open files" in line["message"] and "dns-server" not in line["message"]
        resource.prlimit(worker, resource.RLIMIT_NOFILE, before)
        with gateway.tunnel("a.example:8443") as sock:
            sock.sendall(b"x")
            assert read_exactly(sock, 1) == b"x"


def _sockets(process):
    folder = f"/proc/{process}/fd"
    links = {os.readlink(os.path.join(folder, number)) for number in os.listdir(folder)}
    return {link for link in links if link.startswith("socket:")}
