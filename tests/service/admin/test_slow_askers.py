"""Whoever asks the admin process slowly takes nothing from those who ask next: balancers and probes above all."""

import contextlib
import os
import pathlib
import resource
import signal
import socket
import time

import pytest
from harness.admin import ask
from harness.gateway import ALLOW, Gateway, address
from harness.upstreams import Server, echo
from harness.waiting import until

MANY = 150  # more than the admin process keeps open at a time
SLOW = {
    "that say nothing": b"",
    "that stop in the middle of a request line": b"GET /heal",
    "that stop in the middle of a header": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-",
    "that stop in the middle of a body": b"POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\nx",
    "that stop in the middle of a chunk": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nx",
    "that wait for leave to go on": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
    "that keep their connection": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.fixture
def health():
    return f"{address()}:9181"


def connected(place):
    host, _colon, port = place.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=20)


def said(sock, most=65536):
    """What comes until the other side closes; nothing where it resets."""
    data = b""
    try:
        while piece := sock.recv(most):
            data += piece
    except ConnectionResetError:
        pass
    return data


DEAR = {
    "a line of digits without an end": b"GET http://" + b"9" * 16_000 + b" x\r\n\r\n",
    "a method without an end": b"G" * 16_000 + b"\r\n\r\n",
    "blanks in front of what no header has": b"GET / HTTP/1.1\r\nA: " + b" " * 16_000 + b"\0\r\n\r\n",
    "blanks in front of a value": b"GET / HTTP/1.1\r\nA:" + b"\t " * 8_000 + b"b\r\n\r\n",
    "folded lines in front of a value": b"GET / HTTP/1.1\r\nA:" + b" \r\n" * 5_000 + b" b\r\n\r\n",
    "words in front of what no header has": b"GET / HTTP/1.1\r\nA: " + b"a " * 8_000 + b"\0\r\n\r\n",
    "a name of a header without an end": b"GET / HTTP/1.1\r\n" + b"A" * 16_000 + b"\r\n\r\n",
    "slashes": b"GET " + b"/" * 16_000 + b" x\r\n\r\n",
    "schemes": b"GET " + b"a://" * 4_000 + b" x\r\n\r\n",
}


@pytest.mark.parametrize("door", ["admin-address", "health-address"])
@pytest.mark.parametrize("request_", DEAR.values(), ids=DEAR)
def test_no_request_is_dear_to_read(health, door, request_):
    """The parser of the web server took 24 s for one, and answered nobody meanwhile."""
    with Gateway(f"--{door}", health) as gateway, contextlib.ExitStack() as stack:
        many = [stack.enter_context(connected(health)) for _number in range(5)]
        for sock in many:
            sock.sendall(request_)
        assert ask(gateway, "/healthz", tcp=health)[0] == 200
        for sock in many:
            assert said(sock).startswith(b"HTTP/1.0 400 ")


@pytest.mark.parametrize("door", ["admin-address", "health-address"])
@pytest.mark.parametrize("first", SLOW.values(), ids=SLOW)
def test_many_askers_leave_room_for_the_next_one(health, door, first):
    with Gateway(f"--{door}", health) as gateway:
        slow = [connected(health) for _number in range(MANY)]
        for sock in slow:
            sock.sendall(first)
        for path in ("/healthz", "/readyz"):
            for _turn in range(3):
                assert ask(gateway, path, tcp=health)[0] == 200
        for sock in slow:
            sock.close()


def test_many_slow_askers_of_the_socket_leave_room_for_commands():
    with Gateway() as gateway:
        slow = []
        for _number in range(MANY):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(20)
            sock.connect(f"{gateway.run_dir}/admin.sock")
            sock.sendall(b"GET /sta")
            slow.append(sock)
        assert ask(gateway, "/status")[0] == 200
        for sock in slow:
            sock.close()


def test_askers_leave_room_where_descriptors_run_out_first(health):
    with Gateway("--health-address", health) as gateway:
        (admin,) = set(gateway.children) - set(gateway.workers)
        most = len(os.listdir(f"/proc/{admin}/fd")) + 10
        resource.prlimit(admin, resource.RLIMIT_NOFILE, (most, most))
        slow = [connected(health) for _number in range(MANY)]
        for sock in slow:
            sock.sendall(b"GET /heal")
        for _turn in range(3):
            assert ask(gateway, "/healthz", tcp=health)[0] == 200
        for sock in slow:
            sock.close()


def test_a_request_has_its_time_as_a_whole_however_steadily_it_drips(health):
    with Gateway("--health-address", health, "--head-timeout", "1s") as gateway:
        sock = connected(health)
        sock.settimeout(0.2)
        began = time.monotonic()
        ended = False
        while not ended:
            assert time.monotonic() - began < 30, "it may drip for ever"
            try:
                sock.sendall(b"G")
                ended = not sock.recv(1000)
            except TimeoutError:
                continue
            except OSError:
                ended = True
        sock.close()
        assert ask(gateway, "/healthz", tcp=health)[0] == 200


def test_who_never_reads_its_answers_is_closed(health):
    with Gateway("--admin-address", health, "--head-timeout", "1s", *ALLOW) as gateway:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(60)
        host, _colon, port = health.rpartition(":")
        sock.connect((host, int(port)))
        with pytest.raises(OSError):
            while True:
                sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        sock.close()
        assert ask(gateway, "/healthz", tcp=health)[0] == 200


def test_a_connection_that_is_kept_serves_one_request_after_another(health):
    with Gateway("--health-address", health, "--head-timeout", "1s") as gateway:
        sock = connected(health)
        for _turn in range(3):
            sock.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while not answer.endswith(b"ok\n"):
                answer += sock.recv(1000)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        sock.close()
        assert ask(gateway, "/readyz", tcp=health)[0] == 200


def test_health_address_has_health_and_readiness_and_nothing_else(health):
    with Gateway("--health-address", health, "--admin-page", "yes") as gateway:
        for path in ("/healthz", "/readyz"):
            status, _headers, body = ask(gateway, path, tcp=health)
            assert (status, body) == (200, b"ok\n")
            assert ask(gateway, path, "HEAD", tcp=health)[0::2] == (200, b"")
        for path in (
            "/",
            "/metrics",
            "/status",
            "/tunnels",
            "/config",
            "/refusals",
            "/tunnel",
            "/reload",
            "/kill",
            "/healthz/x",
        ):
            assert ask(gateway, path, tcp=health)[0] == 404
            assert ask(gateway, path, "POST", tcp=health)[0] == 404
        assert ask(gateway, "/healthz", "POST", tcp=health)[0] == 405


def test_health_address_answers_what_balancers_send(health):
    with Gateway("--health-address", health):
        for request in (
            b"OPTIONS /healthz HTTP/1.0\r\n\r\n",
            b"GET /readyz HTTP/1.0\r\n\r\n",
            b"HEAD /readyz HTTP/1.0\r\n\r\n",
        ):
            with connected(health) as sock:
                sock.sendall(request)
                answer = said(sock)
            assert answer.split(b" ")[1] == (b"405" if request.startswith(b"OPTIONS") else b"200")


def test_readiness_says_draining_there_too(health):
    with Server(echo) as upstream, Gateway("--health-address", health, *ALLOW) as gateway:
        with gateway.tunnel(upstream.target):
            gateway.process.terminate()
            gateway.wait_for(event=110)
            assert ask(gateway, "/readyz", tcp=health)[0::2] == (503, b"draining\n")
            assert ask(gateway, "/healthz", tcp=health)[0] == 200


def test_health_address_is_off_by_default_and_an_error_where_it_cannot_be_had(health):
    with socket.socket() as taken:
        host, _colon, port = health.rpartition(":")
        taken.bind((host, int(port)))
        taken.listen()
        gateway = Gateway("--health-address", health)
        assert gateway.process.wait(20) == 2
        gateway.stop()
    assert any("health-address: cannot listen on" in line for line in gateway.stderr)


@pytest.mark.parametrize("path", ["/status", "/tunnels"])
def test_questions_that_wait_leave_room_for_health(health, path):
    """A worker that is stopped answers nothing: whoever asks about tunnels waits, and probes do not."""
    with Gateway("--admin-address", health, "--admin-page", "yes") as gateway:
        (worker,) = gateway.workers
        os.kill(worker, signal.SIGSTOP)
        try:
            asking = [connected(health) for _number in range(30)]
            for sock in asking:
                sock.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            with connected(health) as probe:
                probe.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
                assert said(probe).startswith(b"HTTP/1.0 200")
            firsts = [said(sock) for sock in asking]
            for sock in asking:
                sock.close()
        finally:
            os.kill(worker, signal.SIGCONT)
        assert all(answer.split(b" ")[1] in (b"200", b"503") for answer in firsts)


def test_who_has_begun_to_ask_when_the_gateway_stops_is_answered(health):
    with Gateway("--health-address", health) as gateway:
        sock = connected(health)
        sock.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert ask(gateway, "/healthz", tcp=health)[0] == 200  # so the one before was taken, too
        os.kill(gateway.pid, signal.SIGTERM)
        gateway.wait_for(event=110)
        until(lambda: not gateway.workers)
        sock.sendall(b"Host: x\r\n\r\n")
        assert said(sock).startswith(b"HTTP/1.1 ")
        sock.close()


def test_who_never_finishes_asking_does_not_hold_up_the_end(health):
    with Gateway("--health-address", health) as gateway:
        sock = connected(health)
        sock.sendall(b"GET /healthz HTTP/1.1\r\n")
        os.kill(gateway.pid, signal.SIGTERM)
        assert gateway.process.wait(20) == 0
        sock.close()


def test_askers_of_very_much_who_read_nothing_leave_room_for_the_next_one(health):
    """More than a thread may keep for one of them, from more of them than there are threads."""
    relays = [word for number in range(8) for word in ("--relay-proxy", f"http://127.0.0.1:{20001 + number}")]
    host, _colon, port = health.rpartition(":")
    with Gateway("--admin-address", health, *relays) as gateway, contextlib.ExitStack() as stack:
        for _number in range(16):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect((host, int(port)))
            sock.sendall(b"GET /metrics HTTP/1.1\r\n\r\n" * 327)
        until(lambda: established(host, int(port)) == 0)
        for path in ("/healthz", "/readyz"):
            for _turn in range(3):
                assert ask(gateway, path, tcp=health)[0] == 200


def established(address, port):
    """How many connections are open there, seen from that side."""
    place = f"{int.from_bytes(socket.inet_aton(address), 'little'):08X}:{port:04X}"
    rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()]
    return sum(row[1] == place and row[3] == "01" for row in rows)
