"""Out through another proxy: squid, tinyproxy, haproxy, and peers that play every bad one."""

import base64
import contextlib
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest
from harness.dns import Dns
from harness.gateway import ROOT, Gateway, address, read_all, read_exactly, read_head
from harness.hellos import hello
from harness.peers import peer
from harness.relays import PORT, Haproxy, Squid, Tinyproxy, playing
from harness.sockets import await_keepalive
from harness.tls import TlsServer, client, serving
from harness.upstreams import Server, echo, https, pattern, reset
from harness.waiting import until

NAME = "www.bench.example"
TARGET = f"{NAME}:443"
SECRET = f"s3cret {os.getpid()}"  # other tests may run beside these, and be seen
USER, PASSWORD = "till", f"{SECRET} of the till"
OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"

pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")


@pytest.fixture(scope="module")
def server(authority):
    with TlsServer(serving(authority, NAME)) as server:
        yield server


@pytest.fixture(scope="module")
def squid(server):
    with Squid({NAME: server.host}, {USER: PASSWORD}) as squid:
        yield squid


def through(*relays, flags=(), **more):
    """A gateway that goes out through relay proxies, and knows no name itself."""
    listed = [word for relay in relays for word in ("--relay-proxy", relay)]
    return Gateway("--allowed-host", NAME, "--dial-timeout", "2s", *listed, *flags, **more)


def talks(gateway, target=TARGET):
    with gateway.tunnel(target) as sock, client().wrap_socket(sock, server_hostname=NAME) as tls:
        tls.sendall(b"hello")
        assert read_exactly(tls, 5) == b"hello"


def refused(gateway, target=TARGET):
    sock, head = gateway.ask(target)
    sock.close()
    return head.decode()


def assert_nowhere(gateway, *secrets):
    """The secrets stand in no line, no answer and no command line of any process."""
    said = json.dumps(gateway.lines) + "".join(gateway.stderr)
    for secret in secrets:
        assert secret not in said and base64.b64encode(secret.encode()).decode() not in said
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if path.parent.name != str(os.getpid()):
                    assert secret.encode() not in path.read_bytes().replace(b"\0", b" ")


# Real relay proxies.


def test_a_tunnel_through_squid_with_the_right_password(squid, tmp_path):
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    file.chmod(0o600)
    flags = "--relay-proxy-username", USER, "--relay-proxy-password-file", str(file)
    with through(f"http://{squid.place}", flags=flags, tls_rules=None) as gateway:
        talks(gateway)
        assert gateway.wait_for(event=107)["server_name"] == NAME
        assert gateway.closed()["upstream"] == squid.place
        assert_nowhere(gateway, PASSWORD)


def test_curl_through_squid(authority, authority_file):
    with Server(https(serving(authority, NAME), [])) as upstream:
        with Squid({NAME: upstream.host}, {USER: PASSWORD}) as squid:
            url = f"http://{USER}:{PASSWORD.replace(' ', '%20')}@{squid.place}"
            with through(tls_rules=None, environment={"OGW_RELAY_PROXY": url}) as gateway:
                command = [peer("curl"), "-sS", "--cacert", authority_file, "-x", gateway.url, f"https://{NAME}/300000"]
                done = subprocess.run(command, capture_output=True, timeout=60)
                assert done.stdout == b"".join(pattern(300_000)), done.stderr
                assert_nowhere(gateway, PASSWORD)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "answers 407 (Basic) and wants credentials: set relay-proxy-username and relay-proxy-password-file"),
        (("--relay-proxy-username", USER), "answers 407 (Basic) and does not accept the user name or the password"),
    ],
)
def test_a_wrong_or_missing_password_is_told(squid, flags, words):
    environment = {"OGW_RELAY_PROXY_PASSWORD": "wrong one"} if flags else {}
    with through(f"http://{squid.place}", flags=flags, environment=environment) as gateway:
        head = refused(gateway)
        assert head.startswith("HTTP/1.1 502 Bad Gateway: relay-refused\r\n")
        assert "received-status=407; reason=relay-refused; event=404;" in head
        line = gateway.wait_for(event=404, reason="relay-refused")
        assert words in line["message"] and line["received_status"] == 407
        assert_nowhere(gateway, "wrong one")


def test_a_rotated_password_needs_nobody(server, tmp_path):
    file = tmp_path / "password"
    file.write_text("old")
    file.chmod(0o600)
    flags = "--relay-proxy-username", USER, "--relay-proxy-password-file", str(file)
    with Squid({NAME: server.host}, {USER: "old"}) as squid, through(f"http://{squid.place}", flags=flags) as gateway:
        talks(gateway)
        squid.set_users({USER: "new"})
        file.write_text("new\n")
        end = time.monotonic() + 3  # squid remembers good credentials for a second
        while time.monotonic() < end:
            talks(gateway)
        assert not gateway.events(404)


def test_the_password_file_is_read_again_once_when_it_is_refused(tmp_path):
    file = tmp_path / "password"
    file.write_text("old")
    heads = []

    def serve(connection):
        head = read_head(connection)
        heads.append(head)
        fresh = base64.b64encode(f"{USER}:new".encode()) in head
        connection.sendall(OPEN if fresh else b"HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic\r\n\r\n")
        echo(connection)

    with Server(serve, port=PORT) as relay:
        flags = "--relay-proxy-username", USER, "--relay-proxy-password-file", str(file)
        with through(f"http://{relay.host}:{PORT}", flags=flags) as gateway:
            assert "received-status=407" in refused(gateway)
            assert len(heads) == 1  # it is the same password: asking again would lock an account
            file.write_text("new")
            with gateway.tunnel(TARGET) as sock:
                sock.sendall(b"x")
                assert read_exactly(sock, 1) == b"x"
            assert len(heads) == 2  # and what was refused is not sent again, whoever asks


@pytest.mark.parametrize("way", ["environment", "ini", "url", "file"])
@pytest.mark.parametrize(
    ("user", "password"),
    [("a", "b:c:d"), ("ü ser", "pä%41@ \"x' #;"), ("a@b", "100%"), ("a", "")],
)
def test_any_password_from_any_source(way, user, password, tmp_path):
    heads = []
    with Server(playing(OPEN, echo, heads=heads), port=PORT) as relay:
        place = f"{relay.host}:{PORT}"
        environment, flags, url = {}, ["--relay-proxy-username", user], f"http://{place}"
        if way == "environment":
            environment = {"OGW_RELAY_PROXY_PASSWORD": password}
        elif way == "ini":
            (tmp_path / "ogw.ini").write_text(f"[ogw]\nrelay-proxy-password = {password}\n")
            flags += ["--config", str(tmp_path / "ogw.ini")]
        elif way == "file":
            (tmp_path / "password").write_text(password)
            flags += ["--relay-proxy-password-file", str(tmp_path / "password")]
        else:
            quoted = [text.replace("%", "%25").replace("@", "%40").replace(":", "%3A") for text in (user, password)]
            url, flags = f"http://{quoted[0]}:{quoted[1]}@{place}", []
        environment["OGW_RELAY_PROXY"] = url
        with through(flags=flags, environment=environment) as gateway:
            with gateway.tunnel(TARGET) as sock:
                sock.sendall(b"x")
                assert read_exactly(sock, 1) == b"x"
    sent = [line[21:] for line in heads[0].split(b"\r\n") if line.startswith(b"Proxy-Authorization:")]
    assert base64.b64decode(sent[0].removeprefix(b"Basic ")).decode() == f"{user}:{password}"


def test_a_password_among_the_flags_is_warned_about_and_wiped():
    with Server(playing(OPEN, echo), port=PORT) as relay:
        flags = "--relay-proxy-username", USER, "--relay-proxy-password", PASSWORD
        url = f"http://u:{PASSWORD}@{relay.host}:{PORT}"
        with through(f"http://{relay.host}:{PORT}", url, flags=flags, command=["env"]) as gateway:  # a real start
            warnings = [line["message"] for line in gateway.lines if line["event"] == 100]
            gateway.wait_for(event=100)
            assert_nowhere(gateway, PASSWORD, SECRET)
            assert b"(hidden)" in pathlib.Path(f"/proc/{gateway.pid}/cmdline").read_bytes()
            while len([line for line in warnings if "every user of this machine" in line]) < 2:
                gateway.wait_for(event=100)
                warnings = [line["message"] for line in gateway.lines if line["event"] == 100]


def test_config_show_hides_them(tmp_path):
    (tmp_path / "ogw.ini").write_text(
        f"[ogw]\nrelay-proxy = http://nobodyelse:{PASSWORD}@p.example, http://q.example:1\n"
    )
    words = ["--config", str(tmp_path / "ogw.ini"), "--relay-proxy-username", "somebody"]
    done = subprocess.run(
        [sys.executable, "-m", "ogw", "config", "show", *words],
        cwd=ROOT,
        env={**os.environ, "OGW_RELAY_PROXY_PASSWORD": PASSWORD},
        capture_output=True,
        timeout=30,
        text=True,
    )
    assert done.returncode == 0 and "http://(hidden)@p.example, http://q.example:1" in done.stdout
    for secret in (PASSWORD, "somebody", "nobodyelse"):
        assert secret not in done.stdout and secret not in done.stderr


def test_tinyproxy_with_credentials():
    with Server(echo, port=443) as upstream, Tinyproxy("till", "s3cret") as relay:
        environment = {"OGW_RELAY_PROXY": f"http://till:s3cret@{relay.place}"}
        with Gateway("--allowed-host", f"{upstream.host} to=127.0.0.0/8", environment=environment) as gateway:
            with gateway.tunnel(f"{upstream.host}:443") as sock:
                sock.sendall(b"hello")
                assert read_exactly(sock, 5) == b"hello"


def test_an_encrypted_relay_proxy(authority, authority_file, server, tmp_path):
    """haproxy terminates TLS in front of squid."""
    leaf = authority.issue_cert("relay.bench.example")
    pem = leaf.private_key_and_cert_chain_pem.bytes()
    body = os.urandom(200_000)
    with Squid({NAME: server.host}, {USER: PASSWORD}) as squid, Haproxy(squid.place, pem) as haproxy:
        with Dns({"relay.bench.example": [haproxy.host]}) as dns:
            url = f"https://{USER}:{PASSWORD.replace(' ', '%20')}@relay.bench.example:{PORT}"
            flags = *dns.flags, "--relay-proxy-ca-file", authority_file
            with through(flags=flags, tls_rules=None, environment={"OGW_RELAY_PROXY": url}) as gateway:
                talks(gateway)
                with gateway.tunnel(TARGET) as sock, client().wrap_socket(sock, server_hostname=NAME) as tls:
                    for _turn in range(15):
                        tls.sendall(body)
                        assert read_exactly(tls, len(body)) == body
                    await_keepalive(haproxy.place)
                descriptors = gateway.descriptors()
                for _turn in range(20):
                    talks(gateway)
                until(lambda: gateway.descriptors() <= descriptors)
                assert not gateway.events(400)
            with through(flags=dns.flags, environment={"OGW_RELAY_PROXY": url}) as gateway:
                assert ": relay-untrusted\r\n" in refused(gateway)
                assert "relay-proxy-ca-file" in gateway.wait_for(reason="relay-untrusted")["message"]
        with Dns({"other.bench.example": [haproxy.host]}) as dns:
            flags = *dns.flags, "--relay-proxy-ca-file", authority_file
            with through(f"https://other.bench.example:{PORT}", flags=flags) as gateway:
                assert ": relay-untrusted\r\n" in refused(gateway)
                assert "other.bench.example" in gateway.wait_for(reason="relay-untrusted")["message"]


def test_a_dead_target_behind_squid_is_no_fault_of_squid(server):
    with Squid({NAME: address()}) as squid, through(f"http://{squid.place}") as gateway:
        for _turn in range(3):
            assert "received-status=503; reason=relay-refused" in refused(gateway)
        assert not gateway.events(403)
        assert "does not reach the target" in gateway.wait_for(event=404)["message"]


# Failover.


def test_a_relay_that_is_gone_is_passed_over_and_comes_back(server):
    with Squid({NAME: server.host}) as first, Squid({NAME: server.host}) as second:
        with through(f"http://{first.place}", f"http://{second.place}", tls_rules=None) as gateway:
            stop, failed = threading.Event(), []

            def load():
                while not stop.is_set():
                    try:
                        talks(gateway)
                    except (AssertionError, OSError) as error:
                        failed.append(error)

            threads = [threading.Thread(target=load) for _ in range(4)]
            for thread in threads:
                thread.start()
            try:
                while len(gateway.events(108)) < 20:
                    gateway.wait_for(event=108)
                first.stop()
                gateway.wait_for(event=403)  # it cannot be reached, or it closed in the middle of an answer
                broken = len(failed)  # those that ran through the first
                gateway.wait_for(event=108, upstream=second.place)
                before = len(gateway.events(108))
                until(lambda: len(gateway.events(108)) >= before + 30)
                assert len(failed) <= broken + 4
                settled = len(failed)
                first.start()
                gateway.wait_for(event=100, message=f"relay proxy http://{first.place} answers again", seconds=60)
                before = len(gateway.events(108))
                until(lambda: len(gateway.events(108)) >= before + 30)
                assert len(failed) == settled
                assert gateway.events(108)[-1]["upstream"] == first.place
            finally:
                stop.set()
                for thread in threads:
                    thread.join(30)


def test_a_server_error_is_tried_at_the_next_relay_and_none_rests(server):
    sick = playing(b"HTTP/1.1 503 Sick\r\n\r\n")
    with Server(sick, port=PORT) as first, Squid({NAME: server.host}) as second:
        with through(f"http://{first.host}:{PORT}", f"http://{second.place}", tls_rules=None) as gateway:
            for _turn in range(3):
                talks(gateway)
            assert not gateway.events(403) and not gateway.events(404)


@pytest.mark.parametrize(("status", "reason"), [(403, "relay-refused"), (407, "relay-auth-no-scheme")])
def test_a_refusal_is_not_tried_again(status, reason):
    asked = []
    first = playing(f"HTTP/1.1 {status} No\r\n\r\n".encode())
    with Server(first, port=PORT) as one, Server(playing(OPEN, heads=asked), port=PORT) as two:
        with through(f"http://{one.host}:{PORT}", f"http://{two.host}:{PORT}") as gateway:
            assert f"received-status={status}; reason={reason}" in refused(gateway)
    assert asked == []


def test_where_all_rest_they_are_tried_all_the_same():
    said = [b"garbage\r\n\r\n"]

    def serve(connection):
        playing(said[-1], echo)(connection)

    with Server(serve, port=PORT) as relay, through(f"http://{relay.host}:{PORT}") as gateway:
        assert ": relay-malformed\r\n" in refused(gateway)
        assert ": relay-malformed\r\n" in refused(gateway)
        said.append(OPEN)
        with gateway.tunnel(TARGET) as sock:
            sock.sendall(b"x")
            assert read_exactly(sock, 1) == b"x"


# Every bad relay.


def stall(connection):
    connection.recv(1)


GOOD = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 relay\r\n\r\n"
ALL_SCHEMES = (
    b'HTTP/1.1 407 Who?\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM, Basic realm="x, y"\r\n\r\n'
)
BAD = {
    "garbage": ((b"\x00\x01\x02",), 502, "relay-malformed", "is no HTTP proxy"),
    "another protocol": ((b"SSH-2.0-OpenSSH\r\n",), 502, "relay-malformed", "is no HTTP proxy"),
    "bare line feeds": ((b"HTTP/1.1 200 OK\n\n",), 502, "relay-malformed", "is no HTTP proxy"),
    "huge head": ((b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,), 502, "relay-head-too-large", "answers too much"),
    "interim for ever": ((b"HTTP/1.1 100 Continue\r\n\r\n" * 40,), 502, "relay-malformed", "interim"),
    "nothing": ((stall,), 504, "relay-timeout", "did not answer within 0.5 s"),
    "closed": ((), 502, "relay-closed", "closed without an answer"),
    "closed in its head": ((b"HTTP/1.1 200 OK\r\n",), 502, "relay-closed", "in the middle of its answer"),
    "reset": ((reset,), 502, "relay-closed", "closed without an answer"),
    "reset in its head": ((b"HTTP/1.1 2", reset), 502, "relay-closed", "closed"),
    "403": ((b"HTTP/1.1 403 secret words\r\n\r\nbody",), 502, "relay-refused", "answers 403 (Forbidden)"),
    "302": ((b"HTTP/1.1 302 Found\r\nLocation: x\r\n\r\n",), 502, "relay-refused", "answers 302"),
    "599": ((b"HTTP/1.1 599 Odd\r\n\r\n",), 502, "relay-refused", "no status that HTTP knows"),
    "407 Basic": (
        (b'HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic realm="x"\r\n\r\n',),
        502,
        "relay-refused",
        "(Basic)",
    ),
    "407 all": ((ALL_SCHEMES,), 502, "relay-refused", "(Negotiate, NTLM, Basic)"),
    "407 NTLM": (
        (b"HTTP/1.1 407 Who?\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\r\n",),
        502,
        "relay-auth-not-offered",
        "answers 407 (Negotiate, NTLM) and offers nothing else; Basic is spoken",
    ),
    "407 nothing": ((b"HTTP/1.1 407 Who?\r\n\r\n",), 502, "relay-auth-no-scheme", "does not say what it wants"),
}


@pytest.mark.parametrize("case", BAD)
def test_every_bad_relay_has_its_reason(case):
    said, status, reason, words = BAD[case]
    with Server(playing(*said), port=PORT) as relay:
        flags = ("--dial-timeout", "500ms") if stall in said else ()
        with through(f"http://{relay.host}:{PORT}", flags=flags) as gateway:
            head = refused(gateway)
            assert head.startswith(f"HTTP/1.1 {status} ") and f": {reason}\r\n" in head
            assert "secret words" not in head
            line = gateway.wait_for(reason=reason, status=status)
            assert words in line["message"] and f"relay proxy http://{relay.host}:{PORT}" in line["message"]
            assert "secret words" not in json.dumps(gateway.lines)


@pytest.mark.parametrize("size", range(0, len(GOOD), 5))
def test_a_stall_at_any_byte_is_a_timeout(size):
    with Server(playing(GOOD[:size], stall), port=PORT) as relay:
        with through(f"http://{relay.host}:{PORT}", flags=("--dial-timeout", "300ms")) as gateway:
            assert ": relay-timeout\r\n" in refused(gateway)


def test_a_relay_that_is_not_there():
    with through(f"http://{address()}:{PORT}") as gateway:
        assert ": relay-unreachable\r\n" in refused(gateway)
        assert "cannot be reached" in gateway.wait_for(reason="relay-unreachable")["message"]


def test_a_relay_whose_name_is_unknown():
    with Dns({}) as dns, through("http://relay.example:3128", flags=dns.flags) as gateway:
        assert ": relay-unreachable\r\n" in refused(gateway)


@pytest.mark.parametrize("status", [b"200", b"204", b"299"])
def test_any_success_opens_and_what_is_glued_to_it_is_the_first_bytes_down(status):
    glued = b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 " + status + b" Yes\r\nContent-Length: 5\r\n\r\nfirst"
    with Server(playing(glued, echo), port=PORT) as relay, through(f"http://{relay.host}:{PORT}") as gateway:
        with gateway.tunnel(TARGET, rest=b"second") as sock:
            assert read_exactly(sock, 11) == b"firstsecond"
        closed = gateway.closed()
        assert (closed["bytes_up"], closed["bytes_down"]) == (6, 11)


def test_credentials_go_to_the_relay_and_nowhere_else():
    heads, inside = [], []

    def serve(connection):
        playing(OPEN, heads=heads)(connection)
        inside.append(connection.recv(1000))

    environment = {"OGW_RELAY_PROXY_PASSWORD": PASSWORD}
    with Server(serve, port=PORT) as relay:
        flags = "--relay-proxy-username", USER
        with through(f"http://{relay.host}:{PORT}", flags=flags, environment=environment) as gateway:
            own = b"Proxy-Authorization: Basic Y2xpZW50OnBhc3M=\r\nCookie: x\r\n"
            head = b"CONNECT www.bench.example:443 HTTP/1.1\r\n" + own + b"\r\n"
            with gateway.connect() as sock:
                sock.sendall(head + b"inside")
                assert read_exactly(sock, len(OPEN)) == OPEN
    lines = heads[0].split(b"\r\n")
    assert lines[0] == b"CONNECT www.bench.example:443 HTTP/1.1" and lines[1] == b"Host: www.bench.example:443"
    assert b"Cookie" not in heads[0] and b"Y2xpZW50OnBhc3M=" not in heads[0]
    assert inside == [b"inside"]


# The same policy either way.


def test_a_denied_target_is_never_asked_for():
    heads = []
    with Server(playing(OPEN, heads=heads), port=PORT) as relay, through(f"http://{relay.host}:{PORT}") as gateway:
        assert "403 Forbidden: host-not-allowed" in refused(gateway, "www.example.org:443")
    assert heads == []


def test_an_address_is_judged_though_the_relay_would_dial_it():
    heads = []
    with Server(playing(OPEN, heads=heads), port=PORT) as relay:
        flags = "--allowed-host", "10.0.0.0/8"
        with through(f"http://{relay.host}:{PORT}", flags=flags) as gateway:
            assert "403 Forbidden: address-not-allowed" in refused(gateway, "10.1.2.3:443")
    assert heads == []


def test_the_tls_rules_judge_sessions_through_a_relay(server):
    with Squid({NAME: server.host}) as squid, through(f"http://{squid.place}", tls_rules=None) as gateway:
        before = len(server.seen)
        with gateway.tunnel(TARGET) as sock:
            sock.sendall(hello(b"echo.bench.example"))
            assert read_all(sock)[-1] == 112
        assert gateway.wait_for(event=106)["reason"] == "server-name-mismatch"
        assert not any(seen.raw for seen in server.seen[before:])
        with pytest.raises(ssl.SSLError), gateway.tunnel(TARGET) as sock:
            client("1.1").wrap_socket(sock, server_hostname=NAME)
        talks(gateway)


def test_what_bypasses_is_dialed_straight(server):
    with Dns({NAME: [server.host]}) as dns:
        flags = *dns.flags, "--relay-proxy-bypass", NAME, "--allowed-target-network", "127.0.0.0/8"
        with through(f"http://{address()}:{PORT}", flags=flags, tls_rules=None) as gateway:
            talks(gateway)
            assert gateway.closed()["upstream"] == server.target


# Loops.


def test_a_relay_that_is_the_gateway_itself():
    place = address()
    with through(f"http://{place}:8080", listen=place) as gateway:
        head = refused(gateway)
        assert head.startswith("HTTP/1.1 502 Bad Gateway: relay-loop\r\n") and "error=proxy_loop_detected" in head
        assert "is this gateway itself" in gateway.wait_for(reason="relay-loop")["message"]


def test_a_loop_through_a_relay():
    place = address()

    def back(connection):
        """A relay that leads back to the gateway it came from."""
        with socket.create_connection((place, 8080), timeout=20) as again:
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(1000)
            again.sendall(head)
            connection.sendall(read_all(again))

    with Server(back, port=PORT) as relay, through(f"http://{relay.host}:{PORT}", listen=place) as gateway:
        assert "received-status=502; reason=relay-refused" in refused(gateway)
        assert "leads back to this gateway" in gateway.wait_for(reason="relay-loop")["message"]


def test_a_drain_ends_a_tunnel_that_waits_for_its_relay():
    asked = threading.Event()
    with Server(playing(lambda connection: asked.set() or stall(connection)), port=PORT) as relay:
        flags = "--dial-timeout", "30s", "--drain-timeout", "0s"
        with through(f"http://{relay.host}:{PORT}", flags=flags) as gateway, gateway.connect() as sock:
            sock.sendall(f"CONNECT {TARGET} HTTP/1.1\r\n\r\n".encode())
            assert asked.wait(20)
            assert gateway.stop(signal.SIGTERM) == 0
            assert gateway.closed()["reason"] == "drained"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--relay-proxy", "ftp://x"], "'ftp://x': it is none of http://, https://, socks5:// and socks5h://"),
        (["--relay-proxy", "http://me:s3cret@"], "'http://(hidden)@': it has no host"),
        (["--relay-proxy", "http://p:0"], "there is no port from 1 to 65535 behind its colon"),
        (["--relay-proxy", "http://p:99999"], "there is no port from 1 to 65535 behind its colon"),
        (["--relay-proxy-username", "a:s3cret"], "(hidden): the user name has a colon in it"),
        (
            ["--relay-proxy-username", "a", "--relay-proxy-password", "s3cret\n"],
            "(hidden): there is a control character",
        ),
        (["--relay-proxy-password", "s3cret"], "relay-proxy-username: set it, too"),
        (["--relay-proxy-username", "a", "--relay-proxy-password-file", "/nowhere"], "/nowhere: No such file"),
        (["--relay-proxy-ca-file", "/nowhere"], "relay-proxy-ca-file: /nowhere: No such file"),
        (["--relay-proxy-ca-file", "/dev/null"], "relay-proxy-ca-file: /dev/null: "),
    ],
)
def test_wrong_settings_are_told_without_secrets(words, message):
    done = subprocess.run(
        [sys.executable, "-m", "ogw", "config", "show", *words], cwd=ROOT, capture_output=True, timeout=30, text=True
    )
    assert done.returncode == 2 and message in done.stderr and "s3cret" not in done.stderr + done.stdout
