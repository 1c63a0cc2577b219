"""The TLS rules with real stacks: what passes, what is rejected, and what each side is told of it."""

import contextlib
import pathlib
import signal
import socket
import ssl
import subprocess

import pytest
import trustme
from harness.certificates import OIDS, certificate, name, with_common_names, write
from harness.dns import Dns
from harness.gateway import Gateway, read_all, read_exactly
from harness.hellos import client_hello, extension, hello, records, server_hello, server_names
from harness.peers import peer
from harness.tls import Door, TlsServer, client, serving
from harness.upstreams import Server, echo, https, reset
from harness.waiting import until

NAME = "www.bench.example"

pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")


@contextlib.contextmanager
def gateway_to(host, *flags, names=(NAME,), tls_rules=None):
    with (
        Dns({each: [host] for each in names}) as dns,
        Gateway("--allowed-host", ".bench.example to=127.0.0.0/8", *dns.flags, *flags, tls_rules=tls_rules) as gateway,
    ):
        yield gateway


@pytest.fixture(scope="module")
def server(authority):
    with TlsServer(serving(authority, NAME)) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(server):
    with gateway_to(server.host, "--tls-min-version", "1.0") as gateway:
        yield gateway


@contextlib.contextmanager
def session(gateway, context, server_name=NAME, resumed=None):
    """A TLS session of Python's own through the gateway."""
    with gateway.tunnel(f"{NAME}:443") as sock:
        with context.wrap_socket(sock, server_hostname=server_name, session=resumed) as tls:
            yield tls


def run(command, **more):
    return subprocess.run(command, capture_output=True, timeout=60, **more)


# Sessions of real stacks.


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2", "1.3"])
def test_a_session_of_python_passes(gateway, version):
    with session(gateway, client(version)) as tls:
        tls.sendall(b"x" * 100_000)
        assert read_exactly(tls, 100_000) == b"x" * 100_000
        place = "{}:{}".format(*tls.getsockname()[:2])
    line = gateway.wait_for(event=107, client=place)
    assert (line["server_name"], line["tls_version"], line["target"]) == (NAME, f"TLS {version}", f"{NAME}:443")
    assert gateway.closed(client=place)["bytes_up"] > 100_000


@pytest.mark.parametrize("flag", ["-tls1", "-tls1_1", "-tls1_2", "-tls1_3"])
def test_a_session_of_openssl_passes(gateway, flag):
    place = ["-proxy", f"{gateway.address}:8080", "-connect", f"{NAME}:443", "-servername", NAME]
    done = run(
        [peer("openssl"), "s_client", "-quiet", "-no_ign_eof", "-cipher", "ALL:@SECLEVEL=0", flag, *place],
        input=b"hello\n",
    )
    assert done.returncode == 0 and done.stderr.endswith(b"DONE\n") and b"alert" not in done.stderr, done.stderr


@pytest.mark.parametrize("version", ["TLS1.0", "TLS1.2", "TLS1.3"])
def test_a_session_of_gnutls_passes(gateway, version):
    priority = f"NORMAL:-VERS-ALL:+VERS-{version}"
    with Door(gateway, f"{NAME}:443") as door:
        place = ["-p", str(door.port), "--sni-hostname", NAME, door.host]
        done = run([peer("gnutls-cli"), "--insecure", "--priority", priority, *place], input=b"hello\n")
    assert done.returncode == 0 and b"Handshake was completed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_a_session_of_node_passes(gateway, version):
    script = (
        "const [host, port, servername, v] = process.argv.slice(1); const s = require('tls').connect({host, port, "
        "servername, minVersion: v, maxVersion: v, rejectUnauthorized: false}, () => s.write('hello')); "
        "s.on('data', data => { process.stdout.write(data); s.end() })"
    )
    with Door(gateway, f"{NAME}:443") as door:
        done = run([peer("node"), "-e", script, door.host, str(door.port), NAME, version])
    assert done.stdout == b"hello", done.stderr


@pytest.mark.long
def test_a_session_of_java_passes(authority, tmp_path):
    """Java's own https client, its own CONNECT and its own TLS."""
    java, keytool = peer("java"), peer("keytool")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    store = str(tmp_path / "trust")
    about = ["-noprompt", "-file", str(tmp_path / "ca.pem"), "-keystore", store, "-storepass", "changeit"]
    made = run([keytool, "-importcert", "-alias", "test", *about])
    assert made.returncode == 0, made.stdout
    (tmp_path / "Get.java").write_text(
        "public class Get { public static void main(String[] a) throws Exception { "
        "System.out.print(new java.net.URL(a[0]).openStream().readAllBytes().length); } }"
    )
    context = serving(authority, NAME)
    with Server(https(context, [])) as upstream, gateway_to(upstream.host) as gateway:
        place = [f"-Dhttps.proxyHost={gateway.address}", "-Dhttps.proxyPort=8080"]
        trust = [f"-Djavax.net.ssl.trustStore={store}", "-Djavax.net.ssl.trustStorePassword=changeit"]
        done = run([java, *place, *trust, str(tmp_path / "Get.java"), f"https://{NAME}/70000"])
        assert done.stdout == b"70000", done.stderr
        assert gateway.wait_for(event=107)["tls_version"] == "TLS 1.3"


@pytest.mark.long
def test_chromium_loads_a_page(authority, tmp_path):
    """Grease, a post-quantum key share, what looks like ECH, and connections made in advance."""
    browser = peer("chromium")

    def page(connection):
        with context.wrap_socket(connection, server_side=True) as tls:
            while b"\r\n\r\n" not in tls.recv(65536):
                pass
            body = b"<p>it came through</p>"
            tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                        % len(body) + body)  # fmt: skip

    context = serving(authority, NAME)
    with Server(page) as upstream, gateway_to(upstream.host, "--encrypted-client-hello", "report") as gateway:
        quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
        place = [f"--proxy-server=http://{gateway.address}:8080", "--dump-dom", f"https://{NAME}/"]
        trust = ["--ignore-certificate-errors", f"--user-data-dir={tmp_path}"]
        done = run([browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", *quiet, *trust, *place])
        assert b"it came through" in done.stdout, done.stderr
        line = gateway.wait_for(event=107)
        assert line["tls_version"] == "TLS 1.3" and line["ech"] is True


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_resumed_session_passes(gateway, server, version):
    context = client(version)
    with session(gateway, context) as tls:
        tls.sendall(b"x")
        assert tls.recv(1) == b"x"
        first = tls.session
    with session(gateway, context, resumed=first) as tls:
        tls.sendall(b"x")
        assert tls.recv(1) == b"x" and tls.session_reused
    assert server.seen[-1].resumed


@pytest.mark.parametrize("spelled", [NAME, NAME.upper(), "Www.Bench.Example"])
def test_our_server_name_is_the_one_that_openssl_gives_its_server(gateway, server, spelled):
    with session(gateway, client(), spelled) as tls:
        tls.sendall(b"x")
        assert tls.recv(1) == b"x"
        place = "{}:{}".format(*tls.getsockname()[:2])
    assert server.seen[-1].server_name.lower() == gateway.wait_for(event=107, client=place)["server_name"]


# What is rejected: the client gets an alert, the server nothing, the log a line.

WRONG = {
    "plain http": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "not-tls", 106, None),
    "ssh": (b"SSH-2.0-OpenSSH_9.2\r\n", "not-tls", 106, None),
    "zeros": (b"\0" * 100, "not-tls", 106, None),
    "ssl 2": (b"\x80\x2e\x01\x00\x02\x00\x15", "tls-version", 106, 70),
    "ssl 3": (records(client_hello(legacy=0x0300), version=0x0300), "server-name-missing", 106, 112),
    "no name": (hello(None), "server-name-missing", 106, 112),
    "another name": (hello(b"echo.bench.example"), "server-name-mismatch", 106, 112),
    "a NUL in the name": (hello(b"www.bench\0.example"), "server-name-invalid", 106, 112),
    "a space in the name": (hello(b"www.bench .example"), "server-name-invalid", 106, 112),
    "two names": (records(client_hello(server_names(NAME.encode(), NAME.encode()))), "server-name-invalid", 106, 112),
    "an address": (hello(b"192.0.2.1"), "server-name-invalid", 106, 112),
    "old": (hello(NAME.encode(), versions=(0x0302, 0x0301)), "tls-version", 106, 70),
    "too large": (b"\x16\x03\x01\x40\0\x01\x02\0\0", "hello-too-large", 106, 50),
    "a lie": (hello(NAME.encode(), extension(51, b"x")[:-1]), "malformed-handshake", 402, 50),
    "twice": (hello(NAME.encode(), extension(0x0A0A, b""), extension(0x0A0A, b"")), "malformed-handshake", 402, 50),
}


@pytest.fixture(scope="module")
def strict(server):
    with gateway_to(server.host, "--handshake-timeout", "20s") as gateway:
        yield gateway


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_hello_is_rejected_and_never_reaches_the_server(strict, server, case, pieces):
    data, reason, event, alert = WRONG[case]
    before = len(server.seen)
    with strict.tunnel(f"{NAME}:443") as sock:
        place = "{}:{}".format(*sock.getsockname()[:2])
        size = -(-len(data) // pieces)
        for at in range(0, len(data), size):
            sock.sendall(data[at : at + size])
        answer = read_all(sock)
    assert answer == (b"" if alert is None else bytes((21, 3, 3, 0, 2, 2, alert)))
    line = strict.wait_for(event=event, client=place)
    assert line["reason"] == reason and line["message"] and "status" not in line
    closed = strict.closed(client=place)
    assert (closed["reason"], closed["bytes_up"]) == (reason, 0)
    assert all(not seen.raw for seen in server.seen[before:])


def test_a_rejected_client_that_goes_on_sending_still_gets_its_alert(strict):
    with strict.tunnel(f"{NAME}:443") as sock:
        sock.sendall(hello(b"echo.bench.example"))
        with contextlib.suppress(OSError):
            for _turn in range(40):
                sock.sendall(bytes(10_000))
        assert read_exactly(sock, 7)[-1] == 112


@pytest.mark.parametrize("said", [b"", b"\x16", hello(NAME.encode())[:-1]])
def test_a_slow_hello_is_rejected_when_its_time_is_over(server, said):
    with gateway_to(server.host, "--handshake-timeout", "300ms") as gateway, gateway.tunnel(f"{NAME}:443") as sock:
        sock.sendall(said)
        assert read_all(sock) == bytes((21, 3, 3, 0, 2, 2, 40))
        line = gateway.wait_for(event=106, reason="handshake-timeout")
        assert "no complete ClientHello after 0.3 s (handshake-timeout)" in line["message"]


def test_a_server_that_is_silent_is_rejected_when_its_time_is_over():
    with Server(lambda connection: connection.recv(1 << 20) and connection.recv(1)) as silent:
        with gateway_to(silent.host, "--handshake-timeout", "300ms") as gateway, gateway.tunnel(f"{NAME}:443") as sock:
            sock.sendall(hello(NAME.encode()))
            assert read_all(sock)[:1] == b"\x15"
            assert "no ServerHello" in gateway.wait_for(event=106, reason="handshake-timeout")["message"]


def test_a_hello_without_end_is_rejected(strict):
    """64 KiB are announced and sent, in records; the message before it is never complete."""
    with strict.tunnel(f"{NAME}:443") as sock:
        place = "{}:{}".format(*sock.getsockname()[:2])
        with contextlib.suppress(OSError):
            for _turn in range(200_000):
                sock.sendall(b"\x16\x03\x01\0\1\1" if _turn == 0 else b"\x16\x03\x01\0\1\0")
        assert strict.closed(client=place)["reason"] in ("hello-too-large", "malformed-handshake")


def test_the_version_that_the_server_chose_counts_and_its_hello_never_reaches_the_client(authority):
    with TlsServer(serving(authority, NAME, version="1.1")) as old, gateway_to(old.host) as gateway:
        with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"), session(gateway, client()):
            pass
        line = gateway.wait_for(event=106, reason="tls-version")
        assert "the server chose TLS 1.1" in line["message"] and line["server_name"] == NAME


def test_the_second_hello_behind_a_retry_must_name_the_same_server():
    def retry(connection):
        connection.recv(1 << 16)
        connection.sendall(records(server_hello(retry=True)))
        got.append(connection.recv(1 << 16))

    got = []
    with Server(retry) as upstream, gateway_to(upstream.host, "--server-name", "allowed-hosts") as gateway:
        with gateway.tunnel(f"{NAME}:443") as sock:
            sock.sendall(hello(NAME.encode()))
            assert read_exactly(sock, 5)[:1] == b"\x16"
            sock.sendall(hello(b"echo.bench.example"))
            read_all(sock)
        assert gateway.wait_for(event=106)["reason"] == "server-name-mismatch"
    assert got == [b""]


def test_a_server_of_a_retry_passes(authority, tmp_path):
    context = serving(authority, NAME)
    context.set_ecdh_curve("secp384r1")
    with TlsServer(context) as upstream, gateway_to(upstream.host) as gateway:
        place = ["-proxy", f"{gateway.address}:8080", "-connect", f"{NAME}:443", "-servername", NAME]
        done = run([peer("openssl"), "s_client", "-groups", "X25519:P-384", *place], input=b"")
        assert b"Verification" in done.stdout and gateway.wait_for(event=107)["tls_version"] == "TLS 1.3"


def test_a_server_that_speaks_first_is_not_tls():
    with Server(lambda connection: connection.sendall(b"SSH-2.0-x\r\n") or connection.recv(1)) as ssh:
        with gateway_to(ssh.host) as gateway, gateway.tunnel(f"{NAME}:443") as sock:
            assert read_all(sock) == b""
            assert "the server does not speak TLS" in gateway.wait_for(event=106, reason="not-tls")["message"]


def test_curl_and_openssl_say_why(strict):
    elsewhere = ["--connect-to", f"www.example.org:443:{NAME}:443", "https://www.example.org/"]
    curl = run([peer("curl"), "-sSk", "-x", strict.url, *elsewhere])
    assert curl.returncode == 35 and b"unrecognized name" in curl.stderr
    place = ["-proxy", f"{strict.address}:8080", "-connect", f"{NAME}:443", "-servername", NAME]
    old = run([peer("openssl"), "s_client", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0", *place], input=b"")
    assert b"alert protocol version" in old.stderr


# How a handshake ends otherwise.


def test_an_alert_of_the_server_reaches_the_client_and_the_log_names_it(authority):
    with TlsServer(serving(authority, NAME, version="1.2")) as upstream, gateway_to(upstream.host) as gateway:
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"), session(gateway, client("1.3")):
            pass
        line = gateway.closed(reason="upstream-closed")
        assert "the server ended the handshake with alert 70 (protocol_version)" in line["message"]


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_in_its_hello(strict, how):
    with strict.tunnel(f"{NAME}:443") as sock:
        place = "{}:{}".format(*sock.getsockname()[:2])
        sock.sendall(b"\x16\x03")
        reset(sock) if how == "reset" else sock.shutdown(socket.SHUT_RDWR)
        assert strict.closed(client=place)["reason"] == f"client-{'reset' if how == 'reset' else 'closed'}"


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_server_that_leaves_before_its_hello(how):
    def leave(connection):
        connection.recv(1 << 16)
        if how == "reset":
            reset(connection)

    with Server(leave) as upstream, gateway_to(upstream.host) as gateway, gateway.tunnel(f"{NAME}:443") as sock:
        sock.sendall(hello(NAME.encode()))
        if how == "reset":
            with pytest.raises(ConnectionResetError):
                read_all(sock)
        else:
            assert read_all(sock) == b""
        sock.close()
        line = gateway.closed(reason=f"upstream-{'reset' if how == 'reset' else 'closed'}")
        assert "before its TLS session was verified" in line["message"]


def test_a_drain_ends_a_handshake(server):
    with gateway_to(server.host, "--drain-timeout", "0s") as gateway, gateway.tunnel(f"{NAME}:443") as sock:
        sock.sendall(b"\x16")
        assert gateway.stop(signal.SIGTERM) == 0
        assert gateway.closed()["reason"] == "drained"


# Modes.


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", hello(b"other.example"), hello(None)])
def test_where_the_rules_only_report_it_passes_and_the_log_says_so(data):
    with Server(echo) as upstream, gateway_to(upstream.host, tls_rules="report") as gateway:
        assert "what the TLS rules would reject is logged and let pass" in gateway.wait_for(event=100)["message"]
        with gateway.tunnel(f"{NAME}:443") as sock:
            sock.sendall(data)
            assert read_exactly(sock, len(data)) == data
        assert gateway.wait_for(event=106)["enforced"] is False
        assert gateway.closed()["reason"] == "client-closed"


def test_a_server_may_speak_first_where_the_rules_only_report():
    with Server(lambda connection: connection.sendall(b"SSH-2.0-x\r\n") or echo(connection)) as ssh:
        with gateway_to(ssh.host, tls_rules="report") as gateway, gateway.tunnel(f"{NAME}:443") as sock:
            assert read_exactly(sock, 11) == b"SSH-2.0-x\r\n"
            sock.sendall(b"hello")
            assert read_exactly(sock, 5) == b"hello"


def test_a_silent_tunnel_goes_on_where_the_rules_only_report():
    with (
        Server(echo) as upstream,
        gateway_to(upstream.host, "--handshake-timeout", "200ms", tls_rules="report") as gateway,
    ):
        with gateway.tunnel(f"{NAME}:443") as sock:
            assert gateway.wait_for(event=106)["reason"] == "handshake-timeout"
            sock.sendall(b"late")
            assert read_exactly(sock, 4) == b"late"


def test_anything_passes_where_the_rules_are_off():
    with Server(echo) as upstream, gateway_to(upstream.host, tls_rules="off") as gateway:
        assert "anything passes" in gateway.wait_for(event=100)["message"]
        with gateway.tunnel(f"{NAME}:443") as sock:
            sock.sendall(b"GET")
            assert read_exactly(sock, 3) == b"GET"
        gateway.closed()
        assert not gateway.events(106) and not gateway.events(107)


def test_a_rule_lets_sessions_without_a_server_name_pass(authority):
    with TlsServer(serving(authority, NAME)) as upstream:
        flags = "--allowed-host", f"{upstream.host} to=127.0.0.0/8 no-server-name"
        with Gateway(*flags, tls_rules=None) as gateway, gateway.tunnel(upstream.target) as sock:
            with client().wrap_socket(sock) as tls:
                tls.sendall(b"x")
                assert tls.recv(1) == b"x"
            assert gateway.wait_for(event=107)["server_name"] == ""


# Client certificates.

TILL = certificate(name((OIDS.COMMON_NAME, "till-7"), (OIDS.ORGANIZATION_NAME, "Example, Inc.")))
AGENT = with_common_names("workspace-id", "machine-name")


@contextlib.contextmanager
def certificates(authority, *flags, version="1.2", asks=True):
    """A server that takes any client certificate, and a gateway that allows till-7 only."""
    known = trustme.CA()
    context = serving(authority, NAME, version=version, asks=asks)
    if asks:
        for der in (TILL, AGENT):
            context.load_verify_locations(cadata=der)  # each is its own authority
    known.configure_trust(context)
    with TlsServer(context) as upstream:
        with gateway_to(upstream.host, "--allowed-client-certificate", "till-7", *flags) as gateway:
            yield gateway, upstream


def talk(gateway, context, resumed=None):
    with session(gateway, context, resumed=resumed) as tls:
        tls.sendall(b"x")
        assert tls.recv(1) == b"x"
        session_of_it = tls.session
        tls.unwrap()  # or OpenSSL would not resume it by its id
        return session_of_it


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_an_allowed_client_certificate_reaches_the_server(authority, tmp_path, version):
    flags = "--tls-min-version", "1.0"
    with certificates(authority, *flags, version=version) as (gateway, upstream):
        talk(gateway, client(version, write(tmp_path / "till.pem", TILL)))
        assert upstream.seen[0].certificate == TILL
        assert gateway.wait_for(event=107)["subject"] == "O=Example\\, Inc.,CN=till-7"


@pytest.mark.parametrize("version", ["1.0", "1.2"])
def test_a_refused_client_certificate_is_never_seen_by_the_server(authority, tmp_path, version):
    flags = "--tls-min-version", "1.0"
    with certificates(authority, *flags, version=version) as (gateway, upstream):
        with pytest.raises(ssl.SSLError, match="ACCESS_DENIED"):
            talk(gateway, client(version, write(tmp_path / "agent.pem", AGENT)))
        line = gateway.wait_for(event=105, reason="client-certificate-not-allowed")
        assert "CN=machine-name" in line["message"] and line["subject"] == "CN=machine-name,CN=workspace-id"
        gateway.closed(reason="client-certificate-not-allowed")
        assert upstream.seen[0].certificate is None
        assert b"machine-name" not in upstream.seen[0].raw and AGENT[:100] not in upstream.seen[0].raw


def test_a_client_certificate_that_was_asked_for_and_not_sent_is_rejected(authority):
    with certificates(authority) as (gateway, _upstream):
        with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
            talk(gateway, client("1.2"))
        assert gateway.wait_for(event=105)["reason"] == "client-certificate-not-sent"


def test_a_client_certificate_that_was_not_asked_for_is_not_missed(authority):
    with certificates(authority, asks=False) as (gateway, _upstream):
        talk(gateway, client("1.2"))
        assert gateway.wait_for(event=107)["tls_version"] == "TLS 1.2"


@pytest.mark.parametrize("setting", ["reject", "allow"])
def test_a_client_certificate_in_tls_1_3_goes_by_its_setting(authority, tmp_path, setting):
    flags = "--unseen-client-certificate", setting
    with certificates(authority, *flags, version="1.3") as (gateway, upstream):
        context = client("1.3", write(tmp_path / "till.pem", TILL))
        if setting == "allow":
            talk(gateway, context)
            assert upstream.seen[0].certificate == TILL
        else:
            with pytest.raises(ssl.SSLError, match="ACCESS_DENIED"):
                talk(gateway, context)
            line = gateway.wait_for(event=105, reason="client-certificate-unseen")
            assert "TLS 1.3 encrypts" in line["message"]


@pytest.mark.parametrize("setting", ["reject", "allow"])
@pytest.mark.parametrize("ticket", [True, False])
def test_a_client_certificate_of_a_resumed_session_goes_by_its_setting(authority, tmp_path, setting, ticket):
    with certificates(authority, "--unseen-client-certificate", setting) as (gateway, upstream):
        context = client("1.2", write(tmp_path / "till.pem", TILL))
        if not ticket:
            context.options |= ssl.OP_NO_TICKET
        first = talk(gateway, context)
        if setting == "allow":
            talk(gateway, context, first)
            assert upstream.seen[1].resumed
        else:
            with pytest.raises(ssl.SSLError, match="ACCESS_DENIED"):
                talk(gateway, context, first)
            assert "resumed" in gateway.wait_for(event=105, reason="client-certificate-unseen")["message"]


def test_a_chain_over_many_records_passes(authority, tmp_path):
    path = pathlib.Path(write(tmp_path / "chain.pem", TILL))
    for number in range(60):
        more = certificate(name((OIDS.COMMON_NAME, f"link {number}"), (OIDS.ORGANIZATION_NAME, "x" * 60)))
        path.write_bytes(path.read_bytes() + ssl.DER_cert_to_PEM_cert(more).encode())
    with certificates(authority) as (gateway, upstream):
        talk(gateway, client("1.2", str(path)))
        assert upstream.seen[0].certificate == TILL and len(upstream.seen[0].raw) > 18_000


def test_any_of_two_common_names_is_enough(authority, tmp_path):
    with certificates(authority, "--allowed-client-certificate", "workspace-id") as (gateway, upstream):
        talk(gateway, client("1.2", write(tmp_path / "agent.pem", AGENT)))
        assert upstream.seen[0].certificate == AGENT


def test_a_target_outside_the_certificate_hosts_is_untouched(authority, tmp_path):
    with certificates(authority, "--client-certificate-hosts", "echo.bench.example", version="1.3") as (
        gateway,
        upstream,
    ):
        talk(gateway, client("1.3", write(tmp_path / "agent.pem", AGENT)))
        assert upstream.seen[0].certificate == AGENT


# Bounds.


@pytest.mark.long
def test_memory_of_held_hellos_is_bounded_and_given_back(server):
    """200 tunnels that each hold nearly 64 KiB back: no more than twice that, and none of it once they are gone."""
    part = b"\x16\x03\x01\x40\0\x01\0\xff\xf0" + bytes(16380) + (b"\x16\x03\x01\x40\0" + bytes(16384)) * 2
    with gateway_to(server.host, "--handshake-timeout", "60s") as gateway:
        socks = [gateway.tunnel(f"{NAME}:443") for _turn in range(200)]
        before = gateway.memory()
        for sock in socks:
            sock.sendall(part)
        until(lambda: gateway.memory() - before >= 200 * len(part))
        assert gateway.memory() - before < 200 * 2.5 * 65536
        for sock in socks:
            sock.close()
        until(lambda: len(gateway.events(108)) >= 200)
        assert len(gateway.events(108)) == 200


def test_no_line_of_any_of_this_is_a_traceback(strict, gateway):
    assert not strict.events(400) and not gateway.events(400)
