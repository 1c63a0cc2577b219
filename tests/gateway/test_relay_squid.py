"""Out through squid, which wants Basic, Digest, or one of both: many tunnels at once, and another password amid."""

import itertools
import threading

import pytest
from harness.admin import asked, metrics
from harness.gateway import Gateway, address, read_exactly
from harness.relays import Haproxy, Squid
from harness.upstreams import Server, echo

NAME = "echo.bench.example"
USER = "till-of-the-shop"
SCHEMES = {"basic": ("basic", ["basic"]), "digest": ("digest", ["digest"]), "both": ("auto", ["basic", "digest"])}


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "password"
    file.write_text("old password")
    file.chmod(0o600)
    return file


@pytest.fixture(params=SCHEMES)
def scene(request, file):
    """A squid, and a gateway with two workers that goes out through it; and by which scheme."""
    auth, schemes = SCHEMES[request.param]
    with Server(echo) as server, Squid({NAME: server.host}, {USER: "old password"}, schemes) as squid:
        words = "--relay-proxy", f"http://{squid.place}", "--relay-proxy-auth", auth, "--relay-proxy-username", USER
        rules = "--allowed-host", f"{NAME}:{server.port}", "--relay-proxy-password-file", str(file)
        with Gateway(*rules, *words, workers=2) as gateway:
            yield squid, gateway, f"{NAME}:{server.port}", schemes[-1]


def talks(gateway, target):
    sock, head = gateway.ask(target)
    with sock:
        assert b" 200 " in head, head
        sock.sendall(b"x")
        assert read_exactly(sock, 1) == b"x"


def many(gateway, target, at_once, goes_on):
    """Tunnels, so many at once, as long as `goes_on` says so of their number; why some failed."""
    numbers, failed = itertools.count(1), []

    def run():
        while goes_on(next(numbers)):
            try:
                talks(gateway, target)
            except (AssertionError, OSError) as error:
                failed.append(repr(error))

    threads = [threading.Thread(target=run) for _turn in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    return failed


def counted(gateway, scheme, result):
    return metrics(gateway)[f'ogw_relay_auth_total{{result="{result}",scheme="{scheme}"}}']


def test_squid_lets_the_gateway_through(scene):
    _squid, gateway, target, scheme = scene
    assert many(gateway, target, 8, lambda number: number <= 40) == []
    assert counted(gateway, scheme, "accepted") == 40 and not gateway.events(404)
    status = asked(gateway, "/status")
    assert status["relay_proxies"][0]["scheme"] == scheme
    for told in (str(status), str(gateway.lines), str(gateway.stderr), str(metrics(gateway))):
        assert "old password" not in told and USER not in told


@pytest.mark.long
def test_a_thousand_tunnels_and_another_password_in_the_middle(scene, file):
    squid, gateway, target, scheme = scene
    changed = threading.Event()

    def goes_on(number):
        if number == 300:
            file.with_name("new").write_text("new password")
            file.with_name("new").chmod(0o600)
            file.with_name("new").replace(file)
            squid.set_users({USER: "new password"})
        if number > 300 and not changed.is_set() and counted(gateway, scheme, "refused"):
            changed.set()
        return number <= 1000 or not changed.is_set()

    assert many(gateway, target, 50, goes_on) == []
    assert counted(gateway, scheme, "accepted") >= 1000 and not gateway.events(404)
    assert counted(gateway, scheme, "refused") <= 100


def test_basic_is_taken_by_itself_where_the_way_is_encrypted(authority, authority_file, file):
    """haproxy terminates TLS in front of squid."""
    host = address()
    leaf = authority.issue_cert(host)
    with Server(echo) as server, Squid({NAME: server.host}, {USER: "old password"}) as squid:
        with Haproxy(squid.place, leaf.private_key_and_cert_chain_pem.bytes(), host=host) as haproxy:
            words = "--relay-proxy", f"https://{haproxy.place}", "--relay-proxy-auth", "auto"
            secrets = "--relay-proxy-username", USER, "--relay-proxy-password-file", str(file)
            rules = "--allowed-host", f"{NAME}:{server.port}", "--relay-proxy-ca-file", authority_file
            with Gateway(*rules, *words, *secrets) as gateway:
                assert many(gateway, f"{NAME}:{server.port}", 4, lambda number: number <= 8) == []
                assert counted(gateway, "basic", "accepted") == 8


def test_a_wrong_password_is_tried_once_however_many_tunnels_there_are(scene, file):
    _squid, gateway, target, scheme = scene
    file.write_text("wrong")
    gateway.process.send_signal(1)
    gateway.wait_for(event=109)
    assert len(many(gateway, target, 20, lambda number: number <= 40)) == 40
    assert counted(gateway, scheme, "refused") == 1
