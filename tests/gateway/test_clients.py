"""Real clients through the gateway to a real TLS server: the bytes arrive, or the client says why not."""

import hashlib
import http.client
import os
import ssl
import subprocess

import pytest
import requests
from harness.dns import Dns
from harness.gateway import Gateway
from harness.peers import peer
from harness.upstreams import Server, https, pattern, server_context

NAME = "www.bench.example"
MIB = 1 << 20


@pytest.fixture(scope="module")
def served():
    return []


@pytest.fixture(scope="module")
def server(authority, served):
    with Server(https(server_context(authority, NAME), served)) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(server):
    with (
        Dns({NAME: [server.host]}) as dns,
        Gateway("--allowed-host", f"{NAME} to=127.0.0.0/8", *dns.flags, tls_rules=None) as gateway,
    ):
        yield gateway


def digest(size, seed=b"ogw"):
    whole = hashlib.sha256()
    for piece in pattern(size, seed):
        whole.update(piece)
    return whole.hexdigest()


def run(command, **more):
    return subprocess.run(command, capture_output=True, timeout=60, **more)


def test_curl(gateway, authority_file):
    done = run([peer("curl"), "-sS", "--cacert", authority_file, "-x", gateway.url, f"https://{NAME}/300000"])
    assert done.stderr == b""
    assert hashlib.sha256(done.stdout).hexdigest() == digest(300_000)


def test_curl_says_why_it_was_refused(gateway):
    done = run([peer("curl"), "-sS", "-v", "-x", gateway.url, "https://elsewhere.example/"])
    assert done.returncode == 56
    assert b"HTTP/1.1 403 Forbidden: host-not-allowed" in done.stderr
    assert b"response 403" in done.stderr


def test_curl_with_the_gateway_as_https_is_told_to_use_http(gateway):
    done = run([peer("curl"), "-sS", "-x", f"https://{gateway.address}:8080", f"https://{NAME}/"])
    assert done.returncode != 0
    assert "TLS handshake instead of an HTTP request" in gateway.wait_for(reason="bad-request")["message"]


def test_openssl_s_client(gateway, authority_file):
    command = [peer("openssl"), "s_client", "-quiet", "-verify_return_error", "-CAfile", authority_file]
    place = ["-proxy", f"{gateway.address}:8080", "-connect", f"{NAME}:443", "-servername", NAME]
    done = run([*command, *place], input=b"GET /5000 HTTP/1.1\r\n\r\n")
    assert hashlib.sha256(done.stdout.partition(b"\r\n\r\n")[2]).hexdigest() == digest(5000), done.stderr


def test_http_client(gateway, authority_file):
    context = ssl.create_default_context(cafile=authority_file)
    connection = http.client.HTTPSConnection(gateway.address, 8080, timeout=30, context=context)
    connection.set_tunnel(NAME)
    connection.request("GET", "/100000")
    assert hashlib.sha256(connection.getresponse().read()).hexdigest() == digest(100_000)
    connection.close()


def test_requests(gateway, authority_file):
    proxies = {"https": gateway.url}
    with requests.Session() as session:
        answer = session.get(f"https://{NAME}/100000", proxies=proxies, verify=authority_file, timeout=30)
        assert hashlib.sha256(answer.content).hexdigest() == digest(100_000)
        with pytest.raises(requests.exceptions.ProxyError, match="403 Forbidden: host-not-allowed"):
            session.get("https://elsewhere.example/", proxies=proxies, verify=authority_file, timeout=30)


def test_wget(gateway, authority_file):
    setting = ["-e", "use_proxy=yes", "-e", f"https_proxy={gateway.url}"]
    done = run([peer("wget"), "-q", "-O", "-", "--ca-certificate", authority_file, *setting, f"https://{NAME}/100000"])
    assert hashlib.sha256(done.stdout).hexdigest() == digest(100_000), done.stderr


def test_git(gateway, authority_file, served):
    """git finds no repository there, but it went through the gateway, and its request reached the server."""
    trust = {**os.environ, "GIT_SSL_CAINFO": authority_file}
    before = len(served)
    done = run([peer("git"), "-c", f"http.proxy={gateway.url}", "ls-remote", f"https://{NAME}/x.git"], env=trust)
    assert b"CONNECT" not in done.stderr and b"Proxy" not in done.stderr, done.stderr
    assert len(served) > before, done.stderr


@pytest.mark.parametrize(
    "size", [pytest.param(50 * MIB, id="50 MiB"), pytest.param(1024 * MIB, id="1 GiB", marks=pytest.mark.long)]
)
def test_a_large_body_arrives_with_the_right_checksum_in_both_directions(gateway, authority_file, size, tmp_path):
    body = tmp_path / "body"
    with body.open("wb") as file:
        for piece in pattern(size, b"up"):
            file.write(piece)
    command = [peer("curl"), "-sS", "--cacert", authority_file, "-x", gateway.url]
    done = run([*command, "-T", str(body), f"https://{NAME}/"])
    assert done.stdout.decode() == digest(size, b"up"), done.stderr
    done = run([*command, "-o", str(body), f"https://{NAME}/{size}"])
    assert done.stderr == b""
    got = hashlib.sha256()
    with body.open("rb") as file:
        while piece := file.read(MIB):
            got.update(piece)
    assert got.hexdigest() == digest(size)
