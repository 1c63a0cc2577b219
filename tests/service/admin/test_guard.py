"""The admin address from afar: TLS with a certificate that is renewed, and tokens of those who may ask."""

import os
import signal
import socket
import ssl
import subprocess
import time

import pytest
from harness.admin import ask, asked, metrics
from harness.commands import ogw
from harness.gateway import ALLOW, Gateway, address, read_all
from harness.issued import Issued, another_authority, encrypted
from harness.peers import peer
from harness.waiting import until

from ogw.settings.loader import ConfigError, load

TOKEN, OTHER = "0123456789abcdef-first", "fedcba9876543210-other"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
SHOWN = ("/", "/metrics", "/status", "/tunnels", "/config")


@pytest.fixture
def place():
    return f"{address()}:9180"


@pytest.fixture
def issued(tmp_path, authority, place):
    return Issued(tmp_path, authority, place.partition(":")[0])


@pytest.fixture
def tokens(tmp_path):
    path = tmp_path / "tokens"
    Issued.put(path, f"{TOKEN}\n".encode())
    return path


@pytest.fixture
def trusting(authority_file):
    return ssl.create_default_context(cafile=authority_file)


def run(*words):
    """(exit code, what was said)"""
    done = ogw(*words)
    return done.returncode, done.stdout + done.stderr


def mistakes(*flags):
    """What is wrong with these."""
    with pytest.raises(ConfigError) as wrong:
        load(flags, {})
    return list(wrong.value.mistakes)


def shown(place, trusting):
    """The certificate that is shown there, as DER."""
    host, _colon, port = place.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as sock:
        with trusting.wrap_socket(sock, server_hostname=host) as tls:
            return tls.getpeercert(binary_form=True)


# Tokens.


def test_everything_but_health_wants_a_token(place, tokens):
    flags = ("--admin-address", place, "--admin-page", "yes", "--admin-token-file", str(tokens))
    with Gateway(*ALLOW, *flags) as gateway:
        for path in ("/healthz", "/readyz"):
            assert ask(gateway, path, tcp=place)[0] == 200
        for path in (*SHOWN, "/nowhere", "/reload"):
            status, headers, body = ask(gateway, path, tcp=place)
            assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="ogw"')
            assert b"Authorization: Bearer TOKEN" in body and b"admin-token-file" in body
        for path in SHOWN:
            assert ask(gateway, path, tcp=place, headers=BEARER)[0] == 200
        assert ask(gateway, "/nowhere", tcp=place, headers=BEARER)[0] == 404
        assert ask(gateway, "/metrics", tcp=place, headers={"Authorization": f"bearer  {TOKEN} "})[0] == 200
        # Whoever may open the socket in run-dir needs none.
        assert ask(gateway, "/status")[0] == 200


def test_another_token_is_none_and_what_is_no_token_is_told_what_to_send(place, tokens):
    wrong = [OTHER, TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), "\xff\xfe" * 9]
    none = ["Basic b2d3OnB3", "Bearer", "Bearer ", TOKEN, ""]
    with Gateway("--admin-address", place, "--admin-token-file", str(tokens)) as gateway:
        for token in wrong:
            sent = {"Authorization": f"Bearer {token}"}
            status, headers, body = ask(gateway, "/metrics", tcp=place, headers=sent)
            assert status == 401 and 'error="invalid_token"' in headers["WWW-Authenticate"] and b"none of those" in body
        for sent in none:
            status, headers, body = ask(gateway, "/metrics", tcp=place, headers={"Authorization": sent})
            assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="ogw"') and b"Bearer TOKEN" in body
        counted = metrics(gateway)
        assert counted['ogw_admin_refused_total{cause="wrong-token"}'] == len(wrong)
        assert counted['ogw_admin_refused_total{cause="no-token"}'] == len(none)


def test_tries_are_told_once_a_minute_and_no_token_is_ever_shown(place, tokens):
    with Gateway("--admin-address", place, "--admin-token-file", str(tokens), "--log-level", "debug") as gateway:
        for _number in range(50):
            ask(gateway, "/metrics", tcp=place, headers={"Authorization": f"Bearer {OTHER}"})
            ask(gateway, "/metrics", tcp=place, headers=BEARER)
        until(lambda: [line for line in gateway.lines if "admin-token-file" in line["message"]])
        assert metrics(gateway)['ogw_admin_refused_total{cause="wrong-token"}'] == 50
        config = ask(gateway, "/config")[2].decode()
        gateway.stop()
        told = [line for line in gateway.lines if "refused" in line["message"]]
        assert len(told) <= 2 and told[0]["level"] == "warning" and "127." in told[0]["message"]
        assert not [one for one in (TOKEN, OTHER) if one in repr(gateway.lines) + repr(gateway.stderr) + config]


def test_tokens_are_rotated_without_a_restart(place, tokens):
    with Gateway("--admin-address", place, "--admin-token-file", str(tokens)) as gateway:

        def status(token):
            return ask(gateway, "/metrics", tcp=place, headers={"Authorization": f"Bearer {token}"})[0]

        assert (status(TOKEN), status(OTHER)) == (200, 401)
        Issued.put(tokens, f"{TOKEN}\r\n\n{OTHER}".encode())
        until(lambda: status(OTHER) == 200)
        assert status(TOKEN) == 200
        Issued.put(tokens, f"{OTHER}\n".encode())
        until(lambda: status(TOKEN) == 401)
        assert status(OTHER) == 200
        Issued.put(tokens, b"short\n")
        gateway.wait_for(event=401)
        assert status(OTHER) == 200
        (why,) = asked(gateway, "/status")["admin_files_refused"]
        assert f"{tokens}: line 1: a token needs 16 characters" in why
        assert any(why in sentence for sentence in asked(gateway, "/status")["attention"])
        Issued.put(tokens, f"{TOKEN}\n".encode())
        until(lambda: status(TOKEN) == 200)
        assert asked(gateway, "/status")["admin_files_refused"] == []


def test_tokens_are_taken_once_the_mode_of_their_file_is_right(place, tokens):
    with Gateway("--admin-address", place, "--admin-token-file", str(tokens)) as gateway:

        def status():
            return ask(gateway, "/metrics", tcp=place, headers={"Authorization": f"Bearer {OTHER}"})[0]

        fresh = tokens.with_name("fresh")
        fresh.write_text(f"{OTHER}\n")
        fresh.chmod(0o644)
        fresh.rename(tokens)
        assert "chmod o-r it" in gateway.wait_for(event=401)["message"] and status() == 401
        tokens.chmod(0o600)
        until(lambda: status() == 200)


WRONG_TOKENS = {
    "no token in it": (b"\n \n", 0o600),
    "line 2: a token needs 16 characters at least": (TOKEN.encode() + b"\nshort\n", 0o600),
    "line 1: it is no token": (b"two words that are long\n", 0o600),
    "line 1: it is no token, which has letters": ("pässwörter-mit-umlaut\n".encode(), 0o600),
    "it has 17 tokens; at most 16 are possible": (
        b"".join(b"%s-%02d\n" % (TOKEN.encode(), n) for n in range(17)),
        0o600,
    ),
    "it is larger than 16384 bytes": (b"x" * 20000, 0o600),
    "every user of this machine can read the token in it; chmod o-r it": (TOKEN.encode(), 0o644),
}


@pytest.mark.parametrize("why", WRONG_TOKENS)
def test_a_wrong_file_of_tokens_is_a_mistake_that_says_what_is_right(tokens, why):
    data, mode = WRONG_TOKENS[why]
    tokens.write_bytes(data)
    tokens.chmod(mode)
    (told,) = mistakes("--admin-token-file", str(tokens))
    assert told.startswith(f"admin-token-file: {tokens}: {why}") and TOKEN not in told


@pytest.mark.parametrize(("host", "is_odd"), [("127.0.0.1", False), ("::1", False), ("0.0.0.0", True)])
def test_a_token_that_would_travel_unencrypted_is_a_warning(tokens, issued, host, is_odd):
    flags = ["--admin-token-file", str(tokens), "--admin-address", host]
    assert any("travels unencrypted" in one for one in load(flags, {}).warnings) == is_odd
    assert not any("travels unencrypted" in one for one in load([*flags, *issued.flags], {}).warnings)


# TLS.


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_it_speaks_tls_with_what_python_makes_of_it(place, issued, tokens, trusting, version):
    trusting.minimum_version = trusting.maximum_version = ssl.TLSVersion[version]
    flags = ("--admin-address", place, "--admin-token-file", str(tokens), *issued.flags)
    with Gateway(*ALLOW, *flags) as gateway:
        assert ask(gateway, "/readyz", tcp=place, tls=trusting)[0::2] == (200, b"ok\n")
        assert ask(gateway, "/metrics", tcp=place, tls=trusting)[0] == 401
        status, _headers, body = ask(gateway, "/metrics", tcp=place, tls=trusting, headers=BEARER)
        assert status == 200 and b"ogw_admin_certificate_expiry_time_seconds" in body
        assert len(body) > 10_000 and body.endswith(b"\n")  # more than waitress reads or writes at a time


@pytest.mark.parametrize("setting", ["admin-address", "health-address"])
def test_a_client_of_tls_is_told_at_once_where_there_is_none(place, trusting, setting):
    host, port = place.rsplit(":", 1)
    with Gateway(*ALLOW, f"--{setting}", place):
        with pytest.raises(ssl.SSLError, match=r"(?i)wrong version number|record layer failure"):
            ask(None, "/healthz", tcp=place, tls=trusting)
        with socket.create_connection((host, int(port)), 30) as sock:
            sock.sendall(b"\x16\x03\x01\x02\x00\x01")
            assert read_all(sock).endswith(b"\r\n\r\nthis port does not speak TLS: ask it by http://\n")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
def test_it_speaks_no_tls_before_1_2_and_tells_plain_http_so(place, issued, trusting):
    with Gateway(*ALLOW, "--admin-address", place, *issued.flags) as gateway:
        status, _headers, body = ask(gateway, "/metrics", tcp=place)
        assert status == 400 and b"ask it by https://" in body
        trusting.set_ciphers("ALL:@SECLEVEL=0")
        trusting.minimum_version, trusting.maximum_version = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ask(gateway, "/metrics", tcp=place, tls=trusting)
        until(lambda: metrics(gateway)['ogw_admin_refused_total{cause="tls"}'] == 2)
        (told, *_more) = until(lambda: [one for one in gateway.lines if "refused" in one["message"]])
        assert "TLS handshake" in told["message"]


@pytest.mark.parametrize("flags", [(), ("--tlsv1.3",), ("--tls-max", "1.2"), ("--http1.0",)])
def test_curl_asks_it(place, issued, tokens, authority_file, flags):
    with Gateway(*ALLOW, "--admin-address", place, "--admin-token-file", str(tokens), *issued.flags):
        words = ["-sS", "--cacert", authority_file, "-H", f"Authorization: Bearer {TOKEN}", *flags]
        # Two on one connection: the second finds a session that has said all it had to say.
        urls = [f"https://{place}/metrics", f"https://{place}/healthz"]
        done = subprocess.run([peer("curl"), *words, *urls], capture_output=True, timeout=60)
        assert done.returncode == 0 and done.stdout.endswith(b"ok\n") and b"ogw_ready 1" in done.stdout, done.stderr


def test_openssl_and_gnutls_find_no_renegotiation(place, issued, authority_file):
    host = place.partition(":")[0]
    with Gateway(*ALLOW, "--admin-address", place, *issued.flags):
        asks = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        command = [peer("gnutls-cli"), "--x509cafile", authority_file, "--port", "9180", "--logfile=/dev/null", host]
        done = subprocess.run(command, input=asks, capture_output=True, timeout=60)
        assert b"200 OK" in done.stdout, done
        words = ["-connect", place, "-tls1_2", "-CAfile", authority_file, "-verify_return_error"]
        process = subprocess.Popen(
            [peer("openssl"), "s_client", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        out, _none = process.communicate(b"R\n", timeout=60)
        assert b"Verify return code: 0 (ok)" in out and b"no renegotiation" in out.lower(), out[-2000:]


def test_a_renewed_certificate_is_shown_without_a_restart_and_a_wrong_one_is_not(place, issued, trusting):
    flags = ("--admin-address", place, *issued.flags)
    with Gateway(*ALLOW, *flags) as gateway:
        first = shown(place, trusting)
        before = metrics(gateway)["ogw_admin_certificate_expiry_time_seconds"]
        issued.renew(days=30)
        until(lambda: shown(place, trusting) != first)
        assert "which ends at" in gateway.wait_for(event=100)["message"] or gateway.events(100)
        assert metrics(gateway)["ogw_admin_certificate_expiry_time_seconds"] < before
        second, key = shown(place, trusting), issued.key.read_bytes()
        for wrong, why in (
            (lambda: issued.renew(days=-1), "the certificate ended at"),
            (lambda: issued.put(issued.key, key), "is not the key of the certificate in"),
            (lambda: issued.put(issued.key, encrypted(key)), "the key is encrypted"),
            (lambda: issued.put(issued.key, b"nothing"), "no private key in it (PEM)"),
            (lambda: issued.put(issued.certificate, b"nothing"), "no certificate in it (PEM)"),
            (lambda: issued.certificate.unlink(), "No such file"),
        ):
            wrong()
            until(
                lambda why=why: any(why in line["message"] for line in gateway.events(401)), what=lambda: gateway.lines
            )
            assert "what was in force stays" in gateway.events(401)[-1]["message"]
            assert shown(place, trusting) == second
        assert "No such file" in asked(gateway, "/status")["admin_files_refused"][0]
        # A process that takes the place of one that died has what the gateway had at its start.
        os.kill(gateway.admin, signal.SIGKILL)
        gateway.wait_for(event=405)
        until(lambda: _answers(place, trusting))
        issued.renew()
        until(lambda: shown(place, trusting) not in (first, second))
        assert asked(gateway, "/status")["admin_files_refused"] == []
        assert asked(gateway, "/status")["admin_tls_until"].endswith("Z")


def _answers(place, trusting):
    try:
        return bool(shown(place, trusting))
    except OSError:
        return False


def test_a_certificate_of_another_authority_is_shown_and_not_trusted(place, issued, trusting):
    issued.renew(another_authority())
    with Gateway(*ALLOW, "--admin-address", place, *issued.flags) as gateway:
        with pytest.raises(ssl.SSLCertVerificationError):
            ask(gateway, "/metrics", tcp=place, tls=trusting)


def test_an_expired_certificate_does_not_keep_the_gateway_from_starting(place, issued):
    issued.renew(days=-1)
    with Gateway(*ALLOW, "--admin-address", place, *issued.flags) as gateway:
        assert (
            "the certificate ended at"
            in until(lambda: [one for one in gateway.lines if "admin-tls" in one["message"]])[0]["message"]
        )
        (sentence,) = [one for one in asked(gateway, "/status")["attention"] if "certificate" in one]
        assert "connects there any more" in sentence
        _code, out = run("status", "--run-dir", gateway.run_dir)
        assert "certificate   expired at 20" in out


def test_one_that_ends_soon_needs_attention(place, issued):
    issued.renew(days=5)
    with Gateway(*ALLOW, "--admin-address", place, *issued.flags) as gateway:
        assert any(
            "The certificate of admin-address is to be renewed before 20" in one
            for one in asked(gateway, "/status")["attention"]
        )
        _code, out = run("doctor", *ALLOW, *issued.flags, "--admin-address", place, "--run-dir", gateway.run_dir)
        assert "(admin-tls-certificate)" in out and "to be renewed before 20" in out
        assert "certificate   to be renewed before 20" in run("status", "--run-dir", gateway.run_dir)[1]


def test_one_without_the_other_is_a_mistake(issued):
    [told] = mistakes(*issued.flags[:2])
    assert told == f"admin-tls-certificate: {issued.certificate}: no private key in it (PEM)"
    assert mistakes(*issued.flags[2:])[0] == "admin-tls-certificate: set it, too; admin-tls-key is set"


def test_a_key_that_does_not_fit_is_a_mistake_and_one_for_all_eyes_a_warning(issued, tmp_path, authority):
    other = Issued(tmp_path, authority, "127.9.9.9")
    (told,) = mistakes(*issued.flags[:2], *other.flags[2:])
    assert f"admin-tls-key: {other.key}: it is not the key of the certificate in {issued.certificate}" in told
    issued.key.chmod(0o644)
    assert any("admin-tls-key: every user of this machine can read" in one for one in load(issued.flags, {}).warnings)


# Hostile askers.

HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
SLOW = {
    "that say nothing": b"",
    "that stop in the middle of a ClientHello": HELLO,
    "that say what is no TLS": b"\x00" * 100,
}


def test_slow_handshakes_leave_room_for_the_next_one(place, issued, trusting):
    with Gateway("--admin-address", place, *issued.flags) as gateway:
        host, _colon, port = place.rpartition(":")
        for first in SLOW.values():
            slow = [socket.create_connection((host, int(port)), timeout=20) for _number in range(150)]
            for sock in slow:
                sock.sendall(first)
            for _turn in range(3):
                assert ask(gateway, "/healthz", tcp=place, tls=trusting)[0] == 200
            for sock in slow:
                sock.close()


def test_idle_sessions_leave_room_for_the_next_one(place, issued, trusting):
    with Gateway("--admin-address", place, *issued.flags) as gateway:
        host, _colon, port = place.rpartition(":")
        idle = []
        for _number in range(120):
            sock = socket.create_connection((host, int(port)), timeout=20)
            idle.append(trusting.wrap_socket(sock, server_hostname=host))
        for _turn in range(3):
            assert ask(gateway, "/healthz", tcp=place, tls=trusting)[0] == 200
        for sock in idle:
            sock.close()


def test_a_handshake_has_its_time_as_a_whole(place, issued, trusting):
    with Gateway("--admin-address", place, "--head-timeout", "1s", *issued.flags) as gateway:
        host, _colon, port = place.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=0.2) as sock:
            began, ended = time.monotonic(), False
            for byte in HELLO + bytes(10000):
                assert time.monotonic() - began < 30, "it may drip for ever"
                try:
                    sock.sendall(bytes([byte]))
                    ended = not sock.recv(1000)
                except TimeoutError:
                    continue
                except OSError:
                    ended = True
                if ended:
                    break
        assert ended
        assert ask(gateway, "/healthz", tcp=place, tls=trusting)[0] == 200


def test_who_resets_at_once_costs_nothing(place, issued, trusting):
    with Gateway("--admin-address", place, *issued.flags) as gateway:
        host, _colon, port = place.rpartition(":")
        for _number in range(200):
            with socket.create_connection((host, int(port)), timeout=20) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert ask(gateway, "/healthz", tcp=place, tls=trusting)[0] == 200
        assert not gateway.events(405) and metrics(gateway)["ogw_worker_deaths_total"] == 0


def test_who_reads_its_answers_slowly_gets_them_whole(place, issued, trusting):
    with Gateway("--admin-address", place, *issued.flags):
        host, _colon, port = place.rpartition(":")
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(20)
        sock.connect((host, int(port)))
        with trusting.wrap_socket(sock, server_hostname=host) as tls:
            tls.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
            tls.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            data = b""
            while piece := tls.recv(3000):
                data += piece
        assert data.count(b"HTTP/1.1 200 OK") == 21 and data.endswith(b"ok\n")


def test_without_any_of_it_all_is_as_it_was(place):
    with Gateway(*ALLOW, "--admin-address", place) as gateway:
        assert ask(gateway, "/metrics", tcp=place)[0] == 200
        status = asked(gateway, "/status")
        assert status["admin_tls_until"] is None and status["admin_files_refused"] == []
        assert metrics(gateway)["ogw_admin_certificate_expiry_time_seconds"] == 0
