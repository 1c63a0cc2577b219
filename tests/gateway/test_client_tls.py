"""The encrypted leg: clients speak TLS to the gateway, with certificates where it asks for them."""

import contextlib
import hashlib
import socket
import ssl
import threading

import pytest
from cryptography.x509 import ExtendedKeyUsageOID
from harness.admin import asked, metrics
from harness.gateway import read_exactly
from harness.libssl import RawTls
from harness.pki import Authority
from harness.secure import Secure
from harness.upstreams import Server, pattern, reset
from harness.waiting import PATIENCE, until

pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with Secure(tmp_path_factory.mktemp("files"), "--log-level", "debug", crl=True) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def hasty(tmp_path_factory):
    """One that waits for a second only."""
    with Secure(tmp_path_factory.mktemp("files"), "--head-timeout", "1s", "--log-level", "debug") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def till(gateway):
    """A certificate that is fine."""
    return gateway.authority.issue("till-7", names=["till-7.example.com"])


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_tunnel_goes_through_both_ways_with_a_certificate(gateway, till, upstream, version):
    with gateway.through(gateway.client(till, version=version), upstream.target, rest=b"first") as sock:
        name = "{}:{}".format(*sock.getsockname())
        assert read_exactly(sock, 5) == b"first"
        sock.sendall(b"there and back")
        assert read_exactly(sock, 14) == b"there and back"
        [known] = asked(gateway, f"/tunnels?text={name}")["tunnels"]
        assert known["client"] == name and known["upstream"] == upstream.target
    closed = gateway.closed(client=name)
    assert (closed["reason"], closed["bytes_up"]) == ("client-closed", 19)


# Failures: each its reason, and for the client the alert that says why.


def fails(gateway, context):
    """How the client sees it: the words of its TLS library."""
    with pytest.raises((ssl.SSLError, ConnectionError)) as raised, gateway.raw() as plain:
        name = "{}:{}".format(*plain.getsockname())
        with context.wrap_socket(plain, server_hostname=gateway.address) as sock:
            sock.sendall(b"CONNECT x.example:443 HTTP/1.1\r\n\r\n")
            sock.recv(1)  # in TLS 1.3 the client is told only now
    return name, str(raised.value)


def certificates(authority, other):
    """What a client shows -> the reason, and the alert that it gets."""
    unknown = "alert unknown ca"
    return {
        "none": ((), "client-tls-certificate-missing", "alert"),
        "expired": (
            (authority.issue("old", ends=-0.5),),
            "client-tls-certificate-expired",
            "alert certificate expired",
        ),
        "not yet valid": ((authority.issue("new", begins=1),), "client-tls-certificate-not-yet-valid", "alert"),
        "of another authority": ((other.issue("till-7"),), "client-tls-certificate-untrusted", unknown),
        "for servers only": (
            (authority.issue("till-7", extended=[ExtendedKeyUsageOID.SERVER_AUTH]),),
            "client-tls-certificate-invalid",
            "alert",
        ),
    }


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("which", certificates(Authority(), Authority("Other CA", 2)))
def test_a_certificate_that_does_not_do_is_refused(gateway, which, version):
    shown, reason, alert = certificates(gateway.authority, Authority("Other CA", 2))[which]
    name, told = fails(gateway, gateway.client(*shown, version=version))
    assert alert in told
    line = gateway.wait_for(event=114, client=name)
    assert line["reason"] == reason and "certificate" in line["message"]
    assert "status" not in line and "target" not in line
    assert metrics(gateway)[f'ogw_requests_total{{decision="refused",reason="{reason}"}}'] >= 1


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_revoked_one_is_refused(tmp_path, upstream, version):
    with Secure(tmp_path, crl=True) as gateway:
        good, bad = gateway.authority.issue("good"), gateway.authority.issue("bad")
        (tmp_path / "crl.pem").write_bytes(gateway.authority.crl(bad))
        assert asked(gateway, "/reload", "POST")["mistakes"] == []
        name, told = fails(gateway, gateway.client(bad, version=version))
        assert "alert certificate revoked" in told
        assert gateway.wait_for(event=114, client=name)["reason"] == "client-tls-certificate-revoked"
        gateway.through(gateway.client(good, version=version), upstream.target).close()


def test_without_a_list_that_is_still_to_be_used_nobody_is_known_not_to_be_revoked(tmp_path):
    with Secure(tmp_path, crl=True) as gateway:
        till = gateway.client(gateway.authority.issue("till"))
        for spoiled, why in (
            (gateway.authority.crl(ends=-1), "to be replaced by"),
            (Authority("Other CA", 2).crl(), "no list of CN=Test CA"),
        ):
            (tmp_path / "crl.pem").write_bytes(spoiled)
            assert asked(gateway, "/reload", "POST")["mistakes"] == []
            until(lambda why=why: [one for one in gateway.events(100) if why in one["message"]])
            name, _told = fails(gateway, till)
            assert gateway.wait_for(event=114, client=name)["reason"] == "client-tls-crl"


ROOT = Authority("Root CA", 4)
MIDDLE = Authority("Middle CA", 5, ROOT)
LOWER = Authority("Lower CA", 6, MIDDLE)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_an_authority_that_is_no_root_is_trusted_with_its_list_and_those_below_it(tmp_path, upstream, version):
    with Secure(tmp_path, crl=True) as gateway:
        (tmp_path / "ca.pem").write_bytes(MIDDLE.pem)
        near, far = MIDDLE.issue("near"), LOWER.issue("far")
        for lists, comes, comes_too in (
            (MIDDLE.crl() + LOWER.crl(), "", ""),
            (MIDDLE.crl(), "", "crl"),
            (LOWER.crl(), "crl", "crl"),
            (MIDDLE.crl(ends=-1) + LOWER.crl(), "crl", "crl"),
            (MIDDLE.crl(near) + LOWER.crl(far), "certificate-revoked", "certificate-revoked"),
            (MIDDLE.crl(LOWER.certificate) + LOWER.crl(), "", "certificate-revoked"),
        ):
            (tmp_path / "crl.pem").write_bytes(lists)
            assert asked(gateway, "/reload", "POST")["mistakes"] == []
            for shown, reason in (((near,), comes), ((far, LOWER.certificate), comes_too)):
                context = gateway.client(*shown, version=version)
                if not reason:
                    gateway.through(context, upstream.target).close()
                    continue
                with contextlib.suppress(OSError), gateway.raw() as plain:
                    name = "{}:{}".format(*plain.getsockname())
                    with context.wrap_socket(plain, server_hostname=gateway.address) as sock:
                        sock.sendall(f"CONNECT {upstream.target} HTTP/1.1\r\n\r\n".encode())
                        assert sock.recv(1) == b""
                assert gateway.wait_for(event=114, client=name)["reason"] == f"client-tls-{reason}"
        other = ROOT.issue("beside")
        name, _told = fails(gateway, gateway.client(other, version=version))
        assert gateway.wait_for(event=114, client=name)["reason"] == "client-tls-certificate-untrusted"


@pytest.mark.parametrize(
    ("said", "answer", "reason"),
    [
        (b"CONNECT x.example:443 HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 Bad Request: client-tls-plain-http", "plain-http"),
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 Bad Request: client-tls-plain-http", "plain-http"),
        (b"SSH-2.0-x\r\n", b"", "malformed"),
        (b"\x05\x01\x00", b"", "malformed"),
        (b"\x16\x03\x01\x00\x05hello", b"\x15\x03", "malformed"),
        (b"\x00" * 100, b"", "malformed"),
        (b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n", b"HTTP/1.1 400 Bad Request: proxy-header-not-allowed", ""),
    ],
)
def test_what_is_no_handshake_is_refused(gateway, said, answer, reason):
    with gateway.raw() as sock:
        name = "{}:{}".format(*sock.getsockname())
        sock.sendall(said)
        sock.shutdown(socket.SHUT_WR)
        told = b"".join(iter(lambda: sock.recv(4096), b""))
    assert told.startswith(answer) and bool(told) == bool(answer)
    assert b"https://" in told or reason != "plain-http"
    line = gateway.wait_for(client=name)
    assert line["reason"] == (f"client-tls-{reason}" if reason else "proxy-header-not-allowed")


def test_what_clients_and_the_gateway_do_not_have_in_common(gateway, till):
    old = gateway.client(till, version="1.1")
    name, told = fails(gateway, old)
    assert "alert protocol version" in told
    assert gateway.wait_for(event=114, client=name)["reason"] == "client-tls-version"
    weak = gateway.client(till, version="1.2")
    weak.set_ciphers("AES128-SHA:@SECLEVEL=0")  # for keys of another kind
    name, told = fails(gateway, weak)
    assert "alert handshake failure" in told
    assert gateway.wait_for(event=114, client=name)["reason"] == "client-tls-cipher"


def test_a_client_that_does_not_trust_the_gateway_is_told_of(gateway, till):
    name, told = fails(gateway, gateway.client(till, authority=Authority("Other CA", 2)))
    assert "certificate verify failed" in told
    line = gateway.wait_for(event=114, client=name)
    assert line["reason"] == "client-tls-not-accepted" and '"unknown ca"' in line["message"]


def hello(gateway):
    """The first bytes of a client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = gateway.client().wrap_bio(incoming, outgoing, server_hostname=gateway.address)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def test_tls_at_a_plain_address_is_told_that_there_are_others(gateway):
    with gateway.connect() as sock:
        name = "{}:{}".format(*sock.getsockname())
        sock.sendall(hello(gateway))
        assert sock.recv(12) == b"HTTP/1.1 400"
    assert "begins with tls://" in gateway.wait_for(event=104, client=name)["message"]


def test_a_handshake_has_the_time_of_a_head(hasty):
    with hasty.raw() as sock:
        name = "{}:{}".format(*sock.getsockname())
        sock.sendall(hello(hasty))
        assert b"".join(iter(lambda: sock.recv(4096), b""))
    line = hasty.wait_for(event=114, client=name)
    assert line["reason"] == "client-tls-timeout" and 0.2 < line["duration"] < 1.5 * PATIENCE


def test_a_byte_now_and_then_does_not_prolong_it(hasty):
    with hasty.raw() as sock:
        sock.settimeout(0.05)
        name = "{}:{}".format(*sock.getsockname())
        for byte in hello(hasty)[:100]:
            try:
                sock.sendall(bytes([byte]))
                if not sock.recv(1):
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
    line = hasty.wait_for(event=114, client=name)
    assert line["reason"] == "client-tls-timeout" and line["duration"] < 1.5 * PATIENCE


def test_who_says_nothing_is_closed_in_silence(hasty):
    with hasty.raw() as sock:
        name = "{}:{}".format(*sock.getsockname())
        assert sock.recv(1) == b""
    assert not [one for one in hasty.lines if one.get("client") == name and one["level"] != "debug"]


def end(sock):
    """A close with something unread would be a reset."""
    sock.shutdown(socket.SHUT_WR)


def say_goodbye(sock):
    sock.sendall(b"\x15\x03\x03\x00\x02\x01\x00")  # close_notify
    end(sock)


@pytest.mark.parametrize(("leaves", "size"), [(end, 60), (end, None), (say_goodbye, None), (reset, None)])
def test_a_client_that_leaves_in_the_middle_of_it_is_told_of_as_one(gateway, leaves, size):
    with gateway.raw() as sock:
        name = "{}:{}".format(*sock.getsockname())
        sock.sendall(hello(gateway)[:size])
        assert size is not None or sock.recv(1)
        leaves(sock)
        assert gateway.wait_for(event=114, client=name)["reason"] == "client-tls-closed"


def test_all_that_failed_has_given_back_what_it_held(gateway, till, upstream):
    gateway.through(gateway.client(till), upstream.target).close()
    until(lambda: metrics(gateway)["ogw_tunnels_active"] == 0)
    before, open_before = gateway.census(), gateway.descriptors()
    socks = []
    for number in range(60):
        sock = gateway.raw()
        sock.sendall(hello(gateway)[: 20 * number])
        socks.append(sock)
        if number % 3 == 0:
            reset(sock)
    for _turn in range(20):
        fails(gateway, gateway.client())
        gateway.through(gateway.client(till), upstream.target).close()
    for sock in socks:
        with contextlib.suppress(OSError):
            sock.close()
    until(lambda: gateway.descriptors() <= open_before, what=lambda: (gateway.descriptors(), open_before))
    after = gateway.census()
    assert after["tunnels"] == 0 and after["greenlets"] - after["idle"] <= before["greenlets"] - before["idle"]


# The ends of a tunnel.


def test_big_streams_come_whole_both_ways(gateway, till):
    size = 20 << 20
    said, heard = hashlib.sha256(b"".join(pattern(size, b"down"))).digest(), []

    def serve(connection):
        digest = hashlib.sha256()
        while piece := connection.recv(1 << 16):
            digest.update(piece)
        heard.append(digest.digest())
        for piece in pattern(size, b"down"):
            connection.sendall(piece)

    with Server(serve) as server, gateway.through(gateway.client(till), server.target) as sock:
        for piece in pattern(size, b"up"):
            sock.sendall(piece)
        assert half_closed(sock, said)
    assert heard == [hashlib.sha256(b"".join(pattern(size, b"up"))).digest()]
    assert gateway.wait_for(event=108, bytes_up=size, bytes_down=size)["reason"] == "client-closed"


def half_closed(sock, said):
    """End our side, and read on: what came is what was said. Python's own sockets cannot half-close in TLS."""
    digest = hashlib.sha256()
    sock.settimeout(60 * PATIENCE)
    socket.socket.shutdown(sock, socket.SHUT_WR)
    while piece := read_some(sock):
        digest.update(piece)
    return digest.digest() == said


def read_some(sock):
    try:
        return sock.recv(1 << 16)
    except ssl.SSLEOFError:
        return b""


def test_a_reset_of_the_client_ends_the_upstream_promptly(gateway, till):
    ended = []

    def serve(connection):
        connection.sendall(connection.recv(100))
        try:
            ended.append(connection.recv(1))
        except ConnectionResetError:
            ended.append("reset")

    with Server(serve) as server:
        sock = gateway.through(gateway.client(till), server.target, rest=b"hello")
        name = "{}:{}".format(*sock.getsockname())
        assert read_exactly(sock, 5) == b"hello"
        reset(sock)
        assert gateway.closed(client=name)["reason"] == "client-reset"
        until(lambda: ended)
        assert ended == ["reset"]


def test_a_reset_of_the_upstream_is_one_for_the_client(gateway, till):
    with Server(lambda connection: (connection.recv(5), reset(connection))) as server:
        sock = gateway.through(gateway.client(till), server.target, rest=b"hello")
        name = "{}:{}".format(*sock.getsockname())
        with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
            sock.recv(1)
        assert gateway.closed(client=name)["reason"] == "upstream-reset"
        sock.close()


def test_an_upstream_that_ends_is_an_orderly_end(gateway, till):
    with (
        Server(lambda connection: connection.sendall(b"x" * 100_000)) as server,
        gateway.through(gateway.client(till), server.target) as sock,
    ):
        assert read_exactly(sock, 100_001) == b"x" * 100_000


def test_a_client_that_does_not_read_holds_little(gateway, till):
    def serve(connection):
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(b"x" * (1 << 16))

    before = gateway.memory()
    with Server(serve) as server, gateway.through(gateway.client(till), server.target) as sock:
        name = "{}:{}".format(*sock.getsockname())

        def stands():
            first = asked(gateway, f"/tunnels?text={name}")["tunnels"][0]["bytes_down"]
            threading.Event().wait(0.2)
            return first and asked(gateway, f"/tunnels?text={name}")["tunnels"][0]["bytes_down"] == first

        until(stands)
        assert gateway.memory() - before < 4 << 20


def test_new_keys_that_are_asked_for_without_end_are_no_memory(tmp_path, upstream):
    """Each is to be answered, and answers go with what comes from upstream: here nothing does."""
    with Secure(tmp_path, required=False) as gateway, gateway.raw() as sock:
        name = "{}:{}".format(*sock.getsockname())
        with contextlib.closing(RawTls(sock)) as tls:
            tls.say(f"CONNECT {upstream.target} HTTP/1.1\r\n\r\n".encode())
            assert tls.hear().startswith(b"HTTP/1.1 200 ")
            for _turn in range(100):  # a few are fine
                assert tls.ask_for_new_keys()
            tls.say(b"hello")
            assert tls.hear() == b"hello"
            asked_for = 0
            while asked_for < 200_000 and tls.ask_for_new_keys():
                asked_for += 1
            assert 300 < asked_for < 200_000
        assert gateway.closed(client=name)["reason"] == "client-reset"
