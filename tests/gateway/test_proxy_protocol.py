"""PROXY headers: believed of the load balancers that are named, and of nobody else; then the client is theirs."""

import contextlib
import socket
import time

import pytest
from harness.admin import ask, asked, metrics
from harness.commands import ogw
from harness.gateway import ALLOW, Gateway, address, free_port, read_all, read_exactly, read_head
from harness.handover import Upgraded
from harness.peers import peer
from harness.proxy_headers import (
    LOCAL,
    NOOP,
    SIGNATURE,
    UNIQUE_ID,
    UNIX,
    UNSPEC,
    addresses,
    binary,
    for_client,
    line,
    tlv,
    with_sum,
)
from harness.tls import TlsServer, client, serving
from harness.waiting import PATIENCE, until

BALANCER = address()
SEVERAL = ("--proxy-protocol", "required", "--proxy-protocol-from", BALANCER)
CLIENT, OTHER = "192.0.2.7", "198.51.100.9"
VERSIONS = {"version 1": line, "version 2": for_client}
HEADERS = {version: make(CLIENT) for version, make in VERSIONS.items()}
OWN = {
    "UNKNOWN": b"PROXY UNKNOWN\r\n",
    "UNSPEC": binary(b"", UNSPEC),
    "LOCAL": binary(b"", UNSPEC, LOCAL),
    "LOCAL with addresses": binary(addresses(CLIENT), command=LOCAL),
    "UNIX": binary(bytes(216), UNIX),
}
WRONG = {
    "a line that is none": b"PROXY TCP4 192.0.2.7\r\n",
    "version 3": binary(addresses(CLIENT), command=0x31),
    "a wrong checksum": with_sum(for_client(CLIENT), spoiled=1),
    "too large": binary(b"", size=0xFFFF),
}


def connect(gateway, source=BALANCER):
    return socket.create_connection(gateway.listen[0], 20 * PATIENCE, (source, 0))


def head_to(target):
    return f"CONNECT {target} HTTP/1.1\r\n\r\n".encode()


def answer(gateway, *pieces, source=BALANCER):
    """The status line, and as what the connection is known, where the pieces are sent one by one."""
    with connect(gateway, source) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        name = "{}:{}".format(*sock.getsockname())
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                sock.sendall(piece)
        return read_head(sock).split(b"\r\n")[0].decode(), name


@contextlib.contextmanager
def tunnel(gateway, header, target, source=BALANCER):
    with connect(gateway, source) as sock:
        sock.sendall(header + head_to(target))
        assert read_head(sock).startswith(b"HTTP/1.1 200 ")
        yield sock


@pytest.fixture(scope="module")
def gateway(upstream):
    flags = ("--head-timeout", "1s", "--log-level", "debug", "--allowed-host", f"{upstream.host} from={CLIENT}")
    flags = (*flags, "--allowed-target-network", "127.0.0.0/8")
    with Gateway(*flags, *SEVERAL) as gateway:
        yield gateway


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_the_client_is_that_of_the_header_everywhere(gateway, upstream, header):
    with tunnel(gateway, header, upstream.target) as sock:
        via = "{}:{}".format(*sock.getsockname())
        sock.sendall(b"there and back")
        assert read_exactly(sock, 14) == b"there and back"
        [known] = asked(gateway, f"/tunnels?client={CLIENT}")["tunnels"]
        assert (known["client"], known["via"]) == (f"{CLIENT}:50001", via)
        assert asked(gateway, f"/tunnels?text={via}")["total"] == 1
        assert asked(gateway, f"/tunnels?client={BALANCER}")["total"] == 0
        assert asked(gateway, "/status")["top_clients"] == [{"client": CLIENT, "tunnels": 1}]
    closed = gateway.closed(via=via)
    assert closed["client"] == f"{CLIENT}:50001" and closed["bytes_up"] == 14


@pytest.mark.parametrize("make", VERSIONS.values(), ids=VERSIONS)
def test_rules_are_those_of_the_headers_client(gateway, upstream, make):
    told, via = answer(gateway, make(OTHER), head_to(upstream.target))
    assert told == "HTTP/1.1 403 Forbidden: host-not-allowed"
    refused = gateway.wait_for(event=105, via=via)
    assert refused["client"] == f"{OTHER}:50001"
    [known] = asked(gateway, f"/tunnel?id={refused['tunnel']}")["refusals"]
    assert (known["client"], known["via"]) == (f"{OTHER}:50001", via)
    told = ogw("events", refused["tunnel"], "--run-dir", gateway.run_dir).stdout
    assert f"{OTHER}:50001" in told and via in told


def test_all_of_it_over_ipv6(upstream):
    flags = ("--proxy-protocol", "required", "--proxy-protocol-from", "::1", "--listen-address", "::1")
    with Gateway(*ALLOW, *flags, "--listen-port", str(free_port("::1")), listen="") as gateway:
        for header, said in (
            (line("2001:db8::7", "::1"), "[2001:db8::7]:50001"),
            (for_client(CLIENT), f"{CLIENT}:50001"),
        ):
            with tunnel(gateway, header, upstream.target, source="::1") as sock:
                via = "[{}]:{}".format(*sock.getsockname())
            assert gateway.closed(via=via)["client"] == said


def test_limits_are_those_of_the_headers_client(upstream):
    flags = (*ALLOW, *SEVERAL, "--max-tunnels-per-client", "2")
    with Gateway(*flags) as gateway, contextlib.ExitStack() as stack:
        for one in (CLIENT, CLIENT, OTHER, OTHER, "2001:db8::1", "2001:db8::2"):
            stack.enter_context(tunnel(gateway, for_client(one), upstream.target))
        for one in (CLIENT, "2001:db8::3"):
            told, via = answer(gateway, for_client(one) + head_to(upstream.target))
            assert told == "HTTP/1.1 503 Service Unavailable: too-many-tunnels-for-client"
            assert gateway.wait_for(event=302, via=via)["client"].strip("[").startswith(one)
        assert metrics(gateway)["ogw_clients_connected"] == 4
        assert metrics(gateway)["ogw_tunnels_active"] == 6


def test_clients_are_denied_by_the_headers_address_and_not_by_the_balancers(upstream):
    with Gateway(*ALLOW, *SEVERAL, "--allowed-client", "192.0.2.0/24") as gateway:
        with tunnel(gateway, for_client(CLIENT), upstream.target):
            pass
        told, via = answer(gateway, for_client(OTHER) + head_to(upstream.target))
        assert told == "HTTP/1.1 403 Forbidden: client-not-allowed"
        assert gateway.wait_for(event=112, via=via)["client"] == f"{OTHER}:50001"
        told, own = answer(gateway, OWN["UNKNOWN"] + head_to(upstream.target))
        assert told == "HTTP/1.1 403 Forbidden: client-not-allowed"
        assert "via" not in gateway.wait_for(event=112, client=own)


@pytest.mark.parametrize("header", [*HEADERS.values(), with_sum(for_client(CLIENT, tlv(UNIQUE_ID, b"x" * 60)))])
def test_a_header_in_any_number_of_segments(gateway, upstream, header):
    whole = header + head_to(upstream.target)
    told, via = answer(gateway, *(whole[place : place + 1] for place in range(len(whole))))
    assert told == "HTTP/1.1 200 Connection established"
    assert gateway.closed(via=via)["client"] == f"{CLIENT}:50001"
    for cut in (1, 11, 12, 16, len(header) - 1, len(header), len(header) + 9):
        assert answer(gateway, whole[:cut], whole[cut:])[0] == "HTTP/1.1 200 Connection established"


def test_a_large_header_comes_in_many_pieces(gateway, upstream):
    header = with_sum(for_client(CLIENT, tlv(NOOP, bytes(15000))))
    pieces = [header[place : place + 1000] for place in range(0, len(header), 1000)]
    told, via = answer(gateway, *pieces, head_to(upstream.target))
    assert told == "HTTP/1.1 200 Connection established"
    assert gateway.closed(via=via)["client"] == f"{CLIENT}:50001"


def test_where_the_header_names_nobody_the_connection_is_its_own_client(upstream):
    with Gateway(*ALLOW, *SEVERAL) as gateway:
        for header in OWN.values():
            with tunnel(gateway, header, upstream.target) as sock:
                own = "{}:{}".format(*sock.getsockname())
                assert [(one["client"], one["via"]) for one in asked(gateway, "/tunnels")["tunnels"]] == [(own, "")]
            assert "via" not in gateway.closed(client=own)


# Whom is not believed.


@pytest.mark.parametrize("flags", [(), SEVERAL], ids=["off", "required of another"])
def test_a_forged_header_is_believed_of_nobody_who_is_not_named(upstream, flags):
    rule = ("--allowed-host", f"{upstream.host} from={CLIENT}", "--allowed-target-network", "127.0.0.0/8")
    forger = address()
    with Gateway(*rule, *flags) as gateway:
        for header in (*HEADERS.values(), *OWN.values()):
            told, name = answer(gateway, header + head_to(upstream.target), source=forger)
            assert told == "HTTP/1.1 400 Bad Request: proxy-header-not-allowed"
            refused = gateway.wait_for(event=104, client=name)
            assert refused["reason"] == "proxy-header-not-allowed" and "via" not in refused
            assert f"proxy-protocol = required and proxy-protocol-from = {forger};" in refused["message"]
        assert metrics(gateway)["ogw_dial_seconds_count"] == 0
        assert not [one for one in gateway.lines if str(one.get("client")).startswith(CLIENT)]


def test_one_that_is_cut_short_is_not_believed_either(gateway):
    for piece in (HEADERS["version 1"][:12], SIGNATURE):
        with connect(gateway, address()) as sock:
            name = "{}:{}".format(*sock.getsockname())
            sock.sendall(piece)
            sock.shutdown(socket.SHUT_WR)
            assert read_head(sock).startswith(b"HTTP/1.1 400 Bad Request: proxy-header-not-allowed\r\n")
        assert gateway.wait_for(event=104, client=name)["reason"] == "proxy-header-not-allowed"


def test_who_is_not_named_needs_none(gateway, upstream):
    told, _name = answer(gateway, head_to(upstream.target), source=address())
    assert told == "HTTP/1.1 403 Forbidden: host-not-allowed"  # as its own client


@pytest.mark.parametrize("said", [b"C", head_to("www.example.com:443"), b"\x16\x03\x01\x02\x00\x01", b"\r\nCONNECT"])
def test_from_a_balancer_nothing_is_taken_without_one(gateway, said):
    told, name = answer(gateway, said)
    assert told == "HTTP/1.1 400 Bad Request: proxy-header-missing"
    refused = gateway.wait_for(event=104, client=name)
    assert refused["reason"] == "proxy-header-missing" and "send-proxy-v2" in refused["message"]


@pytest.mark.parametrize("header", WRONG.values(), ids=WRONG)
def test_a_wrong_one_is_refused_and_what_is_behind_it_is_not_read(gateway, upstream, header):
    with connect(gateway) as sock:
        name = "{}:{}".format(*sock.getsockname())
        sock.sendall(header + HEADERS["version 1"] + head_to(upstream.target))
        said = read_all(sock)
    assert said.startswith(b"HTTP/1.1 400 Bad Request: proxy-header-malformed\r\n") and said.count(b"HTTP/1.1") == 1
    assert gateway.wait_for(event=104, client=name)["reason"] == "proxy-header-malformed"


def test_a_second_header_is_refused(gateway, upstream):
    told, via = answer(gateway, HEADERS["version 2"] + for_client(OTHER) + head_to(upstream.target))
    assert told == "HTTP/1.1 400 Bad Request: proxy-header-not-allowed"
    assert gateway.wait_for(event=104, via=via)["client"] == f"{CLIENT}:50001"


# Probes, and time.


def leave(gateway, said, resets=False):
    with connect(gateway) as sock:
        name = "{}:{}".format(*sock.getsockname())
        sock.sendall(said)
        if resets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    return name


@pytest.mark.parametrize("resets", [False, True])
def test_probes_are_silent(upstream, resets):
    with Gateway(*ALLOW, *SEVERAL) as gateway:
        before = metrics(gateway)
        for said in (b"", *OWN.values(), *HEADERS.values()):
            leave(gateway, said, resets)
        with connect(gateway) as sock:  # longer than the kernel keeps it to itself
            sock.settimeout(1.3)
            with pytest.raises(TimeoutError):
                sock.recv(1)
        with tunnel(gateway, HEADERS["version 2"], upstream.target):
            pass
        gateway.closed(client=f"{CLIENT}:50001")
        after = metrics(gateway)
        assert [one["event"] for one in gateway.lines if one["event"] != 100] == [101, 108]
        same = ("ogw_errors_total", 'ogw_requests_total{decision="refused",reason="proxy-header-missing"}')
        assert all(before[name] == after[name] == 0 for name in same)
        assert after["ogw_tunnels_active"] == 0


def test_who_says_nothing_is_closed_in_silence(gateway):
    with connect(gateway) as sock:
        name = "{}:{}".format(*sock.getsockname())
        assert read_all(sock) == b""
    assert not [one for one in gateway.lines if one.get("client") == name and one["level"] != "debug"]


@pytest.mark.parametrize("said", [b"P", b"PROXY TCP4 192.0.2.7", SIGNATURE, HEADERS["version 2"][:-1]])
def test_a_header_has_the_time_of_a_head(gateway, said):
    began = time.monotonic()
    told, name = answer(gateway, said)
    assert told == "HTTP/1.1 408 Request Timeout: head-timeout"
    assert time.monotonic() - began > 0.9
    assert "the PROXY header was not complete" in gateway.wait_for(event=104, client=name)["message"]


def test_header_and_head_have_the_time_of_one_head(gateway):
    with connect(gateway) as sock:
        sock.settimeout(0.05)
        via = "{}:{}".format(*sock.getsockname())
        head = b""
        for byte in HEADERS["version 1"][:20], HEADERS["version 1"][20:], *([b"C"] * 60):
            try:
                sock.sendall(byte)
                head = sock.recv(4096)
                break
            except TimeoutError:
                continue
    assert head.startswith(b"HTTP/1.1 408 ")
    refused = gateway.wait_for(event=104, via=via)
    assert refused["reason"] == "head-timeout" and refused["duration"] < 1.5 * PATIENCE


def test_a_header_that_ends_in_its_middle_is_malformed(gateway):
    with connect(gateway) as sock:
        name = "{}:{}".format(*sock.getsockname())
        sock.sendall(SIGNATURE)
        sock.shutdown(socket.SHUT_WR)
        assert read_head(sock).startswith(b"HTTP/1.1 400 Bad Request: proxy-header-malformed\r\n")
    assert "in the middle of its PROXY header" in gateway.wait_for(event=104, client=name)["message"]


def test_too_many_that_wait_make_room_the_oldest_first(upstream):
    few = [peer("prlimit"), "--nofile=256"]
    with Gateway(*ALLOW, *SEVERAL, "--head-timeout", "60s", command=few) as gateway, contextlib.ExitStack() as stack:
        socks = [stack.enter_context(connect(gateway)) for _turn in range(100)]
        for number, sock in enumerate(socks):
            sock.sendall(b"PROXY ")
            until(lambda count=number: gateway.descriptors() > count)
        assert read_head(socks[0]).startswith(b"HTTP/1.1 503 Service Unavailable: no-descriptors\r\n")
        socks[-1].sendall(HEADERS["version 1"].removeprefix(b"PROXY ") + head_to(upstream.target))
        assert read_head(socks[-1]).startswith(b"HTTP/1.1 200 ")


# A reload, a drain, an upgrade.


def test_a_reload_changes_both(tmp_path, upstream):
    path, header = tmp_path / "ogw.ini", HEADERS["version 2"] + head_to(upstream.target)
    rule = f"[ogw]\nallowed-host = {upstream.host} to=127.0.0.0/8\n"

    def under(settings):
        path.write_text(rule + settings)
        assert asked(gateway, "/reload", "POST")["mistakes"] == []
        return [answer(gateway, header, source=source)[0][9:12] for source in (BALANCER, second)]

    path.write_text(rule)
    second = address()
    with Gateway("--config", str(path)) as gateway:
        assert under("") == ["400", "400"]
        assert under(f"proxy-protocol = required\nproxy-protocol-from = {BALANCER}\n") == ["200", "400"]
        assert under(f"proxy-protocol = required\nproxy-protocol-from = {second}\n") == ["400", "200"]
        assert under(f"proxy-protocol = required\nproxy-protocol-from = {second}, {BALANCER}\n") == ["200", "200"]
        assert under("") == ["400", "400"]


def test_a_drain_does_not_wait_for_headers():
    with Gateway(*ALLOW, *SEVERAL, "--head-timeout", "60s", "--drain-timeout", "60s") as gateway:
        before = gateway.descriptors()
        with connect(gateway) as silent, connect(gateway) as begun:
            begun.sendall(b"PROXY ")
            until(lambda: gateway.descriptors() == before + 2)
            began = time.monotonic()
            gateway.process.terminate()
            assert read_head(begun).startswith(b"HTTP/1.1 503 Service Unavailable: draining\r\n")
            assert read_all(silent) == b""
            begun.close()
            assert gateway.stop() == 0
            assert time.monotonic() - began < 30


def test_who_began_before_an_upgrade_is_served_behind_it(upstream):
    with Upgraded(*ALLOW, *SEVERAL, "--head-timeout", "60s") as gateway:
        before = gateway.descriptors()
        with connect(gateway) as sock:
            sock.sendall(b"PROXY ")
            until(lambda: gateway.descriptors() == before + 1)
            first = gateway.pid
            gateway.upgrade()
            sock.sendall(HEADERS["version 1"].removeprefix(b"PROXY ") + head_to(upstream.target))
            assert read_head(sock).startswith(b"HTTP/1.1 200 ")
        gateway.wait_for_end_of(first)
        assert gateway.closed(client=f"{CLIENT}:50001")
        with tunnel(gateway, HEADERS["version 2"], upstream.target):
            pass


# What people see.


def test_the_line_of_a_tls_session_has_it(authority):
    name = "www.bench.example"
    flags = (*SEVERAL, "--allowed-host", "127.0.0.0/8 to=127.0.0.0/8", "--server-name", "allowed-hosts")
    with TlsServer(serving(authority, name, version="1.3")) as server:
        with Gateway(*flags, "--allowed-host", name, tls_rules="enforce") as gateway:
            with tunnel(gateway, HEADERS["version 2"], server.target) as sock:
                via = "{}:{}".format(*sock.getsockname())
                with client("1.3").wrap_socket(sock, server_hostname=name) as tls:
                    tls.sendall(b"hello")
                    assert tls.recv(5) == b"hello"
            verified = gateway.wait_for(event=107)
            assert (verified["client"], verified["via"]) == (f"{CLIENT}:50001", via)
            assert list(verified).index("via") == list(verified).index("client") + 1
            assert gateway.closed(via=via)["client"] == f"{CLIENT}:50001"


def test_the_command_and_the_page_show_it_where_there_is_one(upstream):
    with Gateway(*ALLOW, *SEVERAL) as gateway:
        with gateway.tunnel(upstream.target):
            assert " via " not in shown(gateway).splitlines()[0]
            with tunnel(gateway, HEADERS["version 2"], upstream.target) as sock:
                via = "{}:{}".format(*sock.getsockname())
                heading, _first, second, *_none = shown(gateway).splitlines()
                assert " via " in heading and f"{CLIENT}:50001" in second and via in second
                page = ask(gateway, "/")[2].decode()
                assert page.count(f'<td>{CLIENT}:50001 <span class="quiet">through {via}</span></td>') == 1


def shown(gateway):
    done = ogw("tunnels", "--run-dir", gateway.run_dir)
    assert done.returncode == 0, done.stderr
    return done.stdout
