"""Bytes arrive through the gateway as they were sent, also very many. More clients are in tests/clients."""

import hashlib
import subprocess

import pytest
from harness.dns import Dns
from harness.gateway import Gateway
from harness.peers import peer
from harness.upstreams import Server, https, pattern, server_context

NAME = "www.bench.example"
MIB = 1 << 20


@pytest.fixture(scope="module")
def server(authority):
    with Server(https(server_context(authority, NAME), [])) as server:
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


def test_openssl_s_client(gateway, authority_file):
    command = [peer("openssl"), "s_client", "-quiet", "-verify_return_error", "-CAfile", authority_file]
    place = ["-proxy", f"{gateway.address}:8080", "-connect", f"{NAME}:443", "-servername", NAME]
    done = run([*command, *place], input=b"GET /5000 HTTP/1.1\r\n\r\n")
    assert hashlib.sha256(done.stdout.partition(b"\r\n\r\n")[2]).hexdigest() == digest(5000), done.stderr


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
