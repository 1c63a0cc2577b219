"""Every row of the table of answers, through a real gateway: status, phrase, Proxy-Status, event and reason token."""

import re
import socket

import pytest
from harness.gateway import Gateway, assert_no_gap, free_port, read_all, read_head
from harness.upstreams import Server, echo

LOOPBACK = ("--allowed-target-network", "127.0.0.0/8")
PROXY = "proxy-header-not-allowed"


@pytest.fixture(scope="module")
def gateway():
    with (
        Server(echo, host="127.9.9.9", port=free_port("127.9.9.9")) as upstream,
        Gateway(
            "--allowed-host", f"127.9.9.0/24, 127.9.9.9:{upstream.port}, 10.0.0.0/8, ok.example, *.ok.example",
            "--allowed-target-network", "127.0.0.0/8",
            "--head-timeout", "500ms", "--dial-timeout", "1s", "--log-level", "debug",
        ) as gateway,
    ):  # fmt: skip
        yield gateway


def exchange(gateway, data):
    """The whole answer to these bytes: (head, body), after which the gateway closed."""
    with gateway.connect() as sock:
        sock.sendall(data)
        whole = read_all(sock)
    head, _, body = whole.partition(b"\r\n\r\n")
    return head.decode(), body.decode()


def expect(gateway, data, status, reason, event, error, says=""):
    head, body = exchange(gateway, data)
    assert re.match(rf"HTTP/1\.1 {status} [A-Z][A-Za-z ]+: {reason}\r\n", head), head
    found = re.search(r'\r\nProxy-Status: ogw; error=(\w+); reason=([a-z-]+); event=(\d+); tunnel="([0-9a-z-]+)"', head)
    assert found is not None, head
    assert found.groups()[:3] == (error, reason, str(event))
    tunnel = found[4]
    assert reason in body and tunnel in body
    assert "\r\nConnection: close" in head
    line = gateway.wait_for(tunnel=tunnel, event=event)
    assert (line["reason"], line["status"]) == (reason, status)
    assert line["client"].startswith("127.")
    assert says in line["message"]
    return head, line


@pytest.mark.parametrize(
    ("data", "status", "reason", "says"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 405, "not-connect", "only CONNECT is served"),
        (b"POST http://x/ HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 405, "not-connect", "POST"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "bad-request", "TLS handshake"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", 400, "bad-request", "SSH"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nCONNECT ok.example:443 HTTP/1.1\r\n\r\n", 400, PROXY, "protocol v1"),
        (b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", 400, PROXY, "PROXY protocol v2"),
        (b"\r\n\r\nCONNECT ok.example:443 HTTP/1.1\r\n\r\n", 400, "bad-request", "two empty lines"),
        (b"\x04\x01\x01\xbb\x7f\x00\x00\x01me\x00", 400, "bad-request", "SOCKS 4"),
        (b"\x05\x01\x00", 400, "bad-request", "SOCKS 5"),
        (b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00", 400, "bad-request", "RDP"),
        (b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", 405, "not-connect", "WebSocket"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad-request", "HTTP/2.0 is not spoken"),
        (b"CONNECT ok.example:443\r\n\r\n", 400, "bad-request", "HTTP/0.9"),
        (b"CONNECT ok.example:443 HTTP/1.1\n\n", 400, "bad-request", "line feed"),
        (b"CONNECT ok.example:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 400, "bad-request", "no body"),
        (b"CONNECT / HTTP/1.1\r\n\r\n", 400, "bad-target", "authority-form"),
        (b"CONNECT https://ok.example/ HTTP/1.1\r\n\r\n", 400, "bad-target", "URL"),
        (b"CONNECT u:p@ok.example:443 HTTP/1.1\r\n\r\n", 400, "bad-target", "user information"),
        (b"CONNECT 0x7f.1:443 HTTP/1.1\r\n\r\n", 400, "bad-target", "four decimal parts"),
    ],
)
def test_what_is_no_connect_is_told_so(gateway, data, status, reason, says):
    head, _ = expect(gateway, data, status, reason, 104, "http_request_error", says)
    assert ("\r\nAllow: CONNECT" in head) is (status == 405)


def test_a_head_of_a_megabyte_is_too_large_and_its_answer_survives(gateway):
    data = b"CONNECT ok.example:443 HTTP/1.1\r\nX: " + b"y" * (1 << 20)
    expect(gateway, data, 431, "head-too-large", 104, "http_request_error", "head-max-size")


def test_half_a_head_is_too_slow_after_the_limit(gateway):
    expect(gateway, b"CONNECT ok.exa", 408, "head-timeout", 104, "http_request_error", "head-timeout")


def test_a_head_that_drips_is_too_slow_as_a_whole(gateway):
    with gateway.connect() as sock:
        sock.settimeout(0.05)
        head = b""
        for byte in b"CONNECT ok.example:443 HTTP/1.1\r\nX-Padding: " + b"x" * 200:
            try:
                sock.send(bytes([byte]))
                head = sock.recv(4096)
                break
            except TimeoutError:
                continue
    assert head.startswith(b"HTTP/1.1 408 ")


def test_a_client_that_says_nothing_is_closed_in_silence(gateway):
    with gateway.connect() as sock:
        name = "{}:{}".format(*sock.getsockname())
        assert read_all(sock) == b""
    line = gateway.wait_for(client=name)
    assert line["level"] == "debug"


def test_a_head_that_ends_in_its_middle_is_a_bad_request(gateway):
    with gateway.connect() as sock:
        sock.sendall(b"CONNECT ok.exa")
        sock.shutdown(socket.SHUT_WR)
        assert read_head(sock).startswith(b"HTTP/1.1 400 Bad Request: bad-request\r\n")


@pytest.mark.parametrize(
    ("data", "status", "says"),
    [
        (b"PROXY TCP4 192.0.2.1 192.0", 400, "PROXY protocol v1"),
        (b"\r\n\r", 400, "PROXY protocol v2"),
        (b"EHLO mail.example", 400, "SMTP"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", 405, "only CONNECT is served"),
    ],
)
def test_a_head_that_ends_in_its_middle_says_what_it_is_instead(gateway, data, status, says):
    with gateway.connect() as sock:
        sock.sendall(data)
        name = "{}:{}".format(*sock.getsockname())
        sock.shutdown(socket.SHUT_WR)
        assert read_head(sock).startswith(f"HTTP/1.1 {status} ".encode())
    assert says in gateway.wait_for(client=name, event=104)["message"]


def test_a_head_that_is_too_slow_says_what_it_is_instead(gateway):
    expect(gateway, b"EHLO mail.example", 408, "head-timeout", 104, "http_request_error", "an SMTP client")
    expect(gateway, b"GET / HTTP/1.1\r\nHost: x\r\n", 405, "not-connect", 104, "http_request_error", "only CONNECT")


@pytest.mark.parametrize(
    ("target", "reason", "says"),
    [
        ("elsewhere.example:443", "host-not-allowed", "allowed-host = elsewhere.example would allow it"),
        ("127.9.8.1:443", "host-not-allowed", "not in the allowed hosts"),
        ("ok.example:8443", "port-not-allowed", "allowed-host = ok.example:8443 would allow it"),
    ],
)
def test_a_target_that_no_rule_allows_is_forbidden(gateway, target, reason, says):
    _, line = expect(
        gateway, f"CONNECT {target} HTTP/1.1\r\n\r\n".encode(), 403, reason, 105, "http_request_denied", says
    )
    assert line["target"] == target


def test_an_address_that_the_guard_refuses_is_forbidden(gateway):
    expect(
        gateway, b"CONNECT 10.1.2.3:443 HTTP/1.1\r\n\r\n", 403, "address-not-allowed", 105,
        "destination_ip_prohibited", "10.1.2.3 is in 10.0.0.0/8 (private)",
    )  # fmt: skip


def test_the_gateway_does_not_dial_itself():
    with Gateway("--allowed-host", "127.0.0.0/8, 127.0.0.0/8:8080", *LOOPBACK) as gateway:
        expect(
            gateway, f"CONNECT {gateway.address}:8080 HTTP/1.1\r\n\r\n".encode(), 403, "address-not-allowed", 105,
            "destination_ip_prohibited", "this gateway itself",
        )  # fmt: skip


def test_a_refused_connection_is_told(gateway):
    data = b"CONNECT 127.9.9.8:443 HTTP/1.1\r\n\r\n"
    expect(gateway, data, 502, "connection-refused", 403, "connection_refused", "127.9.9.8: Connection refused")


def test_a_client_outside_the_allowed_networks_is_forbidden_whatever_it_says():
    with Gateway("--allowed-client", "10.0.0.0/8", "--allowed-host", "ok.example") as gateway:
        for data in (b"CONNECT ok.example:443 HTTP/1.1\r\n\r\n", b"x", b"\x16\x03"):
            expect(gateway, data, 403, "client-not-allowed", 112, "http_request_denied", "allowed-client")


def test_too_many_tunnels_are_told_when_to_come_again():
    flags = ("--allowed-host", "127.0.0.0/8", *LOOPBACK, "--head-timeout", "20s")
    ask = b"CONNECT 127.0.0.1:443 HTTP/1.1\r\n\r\n"
    with Server(echo) as upstream:
        with Gateway(*flags, "--max-tunnels", "2") as gateway:
            open_ones = [gateway.tunnel(upstream.target) for _ in range(2)]
            head, _ = expect(gateway, ask, 503, "too-many-tunnels", 302, "connection_limit_reached", "max-tunnels")
            assert "\r\nRetry-After: 5" in head
            for sock in open_ones:
                sock.close()
            gateway.wait_for(event=108)
        with Gateway(*flags, "--max-tunnels-per-client", "1") as gateway, gateway.tunnel(upstream.target):
            reason = "too-many-tunnels-for-client"
            expect(gateway, ask, 503, reason, 302, "connection_limit_reached", "max-tunnels-per-client")


def test_a_refused_client_may_finish_speaking(gateway):
    """An answer must survive a client that still sends: its bytes are read and dropped, not answered with RST."""
    with gateway.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\n\r\n")
        assert read_head(sock).startswith(b"HTTP/1.1 405 ")
        sock.sendall(b"x" * 500_000)
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock).startswith(b"This gateway")


def test_a_refused_client_that_never_stops_is_cut(gateway):
    with gateway.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\n\r\n")
        with pytest.raises(OSError):
            for _ in range(1000):
                sock.sendall(b"x" * 65536)


def test_connect_and_close_leaves_nothing_above_debug(gateway):
    before = len(gateway.lines)
    for _ in range(50):
        gateway.connect().close()
    expect(gateway, b"GET / HTTP/1.1\r\n\r\n", 405, "not-connect", 104, "http_request_error")
    assert [line for line in gateway.lines[before:] if line["level"] != "debug" and line["event"] != 104] == []


def test_a_client_that_resets_in_the_middle_of_anything_leaves_no_traceback(gateway):
    from harness.upstreams import reset

    for said in (b"", b"C", b"CONNECT ok.example:443 HTTP/1.1\r\n", b"GET / HTTP/1.1\r\n\r\n"):
        sock = gateway.connect()
        sock.sendall(said)
        reset(sock)
    expect(gateway, b"GET / HTTP/1.1\r\n\r\n", 405, "not-connect", 104, "http_request_error")
    assert gateway.events(400) == []


def test_every_line_has_the_fields_that_all_lines_have(gateway):
    assert_no_gap(gateway.lines)
    for line in gateway.lines:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
        assert re.fullmatch(r"[0-9a-f]{8}", line["policy"])
        assert {"level", "event", "name", "message", "process"} <= line.keys()
