"""Out through squids that want Kerberos or NTLM: with a real KDC, and with a winbindd that judges."""

import threading

import pytest
from harness.domain_squids import DomainSquid
from harness.gateway import Gateway, read_exactly
from harness.realm import Realm, gssapi_path
from harness.upstreams import Server, echo
from harness.waiting import until

NAME = "www.bench.example"
TARGET = f"{NAME}:443"
TUNNELS, AT_ONCE = 1000, 50


@pytest.fixture(scope="module")
def server():
    with Server(echo) as server:
        yield server


@pytest.fixture(scope="module")
def realm():
    with Realm() as realm:
        yield realm


@pytest.fixture(scope="module")
def squid(server, realm):
    with DomainSquid({NAME: server.host}, realm=realm) as squid:
        yield squid


def kerberos(realm, *relays, flags=(), **more):
    environment = {**realm.environment, "PYTHONPATH": gssapi_path()}
    listed = [word for relay in relays for word in ("--relay-proxy", f"http://{relay.place}")]
    words = "--allowed-host", NAME, "--relay-proxy-auth", "negotiate", *listed, *flags
    return Gateway(*words, environment=environment, **more)


def talks(gateway):
    with gateway.tunnel(TARGET) as sock:
        sock.sendall(b"hello")
        assert read_exactly(sock, 5) == b"hello"


def many(gateway, meanwhile=lambda: None):
    """TUNNELS of them, AT_ONCE at a time: what went wrong. Half-way, `meanwhile` happens."""
    turns = iter(range(TUNNELS))
    failed, done, lock = [], [], threading.Lock()

    def work():
        while True:
            with lock:
                number = next(turns, None)
            if number is None:
                return
            try:
                talks(gateway)
                done.append(number)
            except (AssertionError, OSError) as error:
                failed.append(repr(error))

    threads = [threading.Thread(target=work) for _number in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    until(lambda: len(done) + len(failed) >= TUNNELS // 2)
    meanwhile()
    for thread in threads:
        thread.join(300)
    assert len(done) + len(failed) == TUNNELS
    return failed


def refused(gateway):
    sock, head = gateway.ask(TARGET)
    sock.close()
    return head.decode()


def test_a_tunnel_through_squid_with_a_keytab(realm, squid):
    keytab = realm.add("gateway")
    with kerberos(realm, squid, flags=("--relay-proxy-keytab", str(keytab))) as gateway:
        talks(gateway)
