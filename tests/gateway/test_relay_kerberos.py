"""Out through squids that want Kerberos or NTLM: with a real KDC, and with a winbindd that judges."""

import threading
import time

import pytest
from harness.domain_squids import DomainSquid
from harness.gateway import Gateway, read_exactly
from harness.realm import Realm, gssapi_path
from harness.upstreams import Server, echo
from harness.waiting import PATIENCE, until
from harness.winbind import DOMAIN, USER, Winbind

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


def kerberos(realm, *relays, keytab, flags=(), **more):
    environment = {**realm.environment, "PYTHONPATH": gssapi_path()}
    listed = [word for relay in relays for word in ("--relay-proxy", f"http://{relay.place}")]
    words = (
        "--allowed-host",
        NAME,
        "--relay-proxy-auth",
        "negotiate",
        "--relay-proxy-keytab",
        str(keytab),
        *listed,
        *flags,
    )
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
    with kerberos(realm, squid, keytab=realm.add("gateway")) as gateway:
        talks(gateway)


def test_a_silent_kdc_has_its_reason(realm, squid):
    keytab = realm.add("waits")
    with realm.silent(), kerberos(realm, squid, keytab=keytab, flags=("--dial-timeout", "1s")) as gateway:
        assert ": relay-kdc-silent\r\n" in refused(gateway)
        assert "krb5.conf" in gateway.wait_for(reason="relay-kdc-silent")["message"]


@pytest.mark.long
def test_the_gateway_leaves_at_once_although_a_thread_waits_for_the_kdc(realm, squid):
    keytab = realm.add("leaves")
    with realm.silent(), kerberos(realm, squid, keytab=keytab, flags=("--dial-timeout", "1s")) as gateway:
        assert ": relay-kdc-silent\r\n" in refused(gateway)
        began = time.monotonic()
        assert gateway.stop() == 0
        assert time.monotonic() - began < 5 * PATIENCE


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 2])
def test_a_thousand_tunnels_while_tickets_are_renewed_and_the_keytab_changes(realm, squid, workers):
    """Tickets are good for some seconds only, so that they are renewed all the time."""
    keytab = realm.add("busy", more="-maxlife 6s")

    def meanwhile():
        fresh = keytab.with_name("busy.new")
        realm.admin("cpw -randkey busy", f"ktadd -k {fresh} busy")
        fresh.replace(keytab)

    before = realm.asked("AS_REQ")
    with kerberos(realm, squid, keytab=keytab, workers=workers) as gateway:
        assert many(gateway, meanwhile) == []
        until(lambda: talks(gateway) or realm.asked("AS_REQ") > before + 2 * workers)
        assert not gateway.events(404) and not gateway.events(403) and not gateway.stderr
    realm.admin("delprinc -force busy")


@pytest.mark.long
def test_the_proxys_service_gets_another_key_in_the_middle(realm, server):
    with DomainSquid({NAME: server.host}, realm=realm) as squid:
        with kerberos(realm, squid, keytab=realm.add("holder")) as gateway:
            talks(gateway)
            squid.renew_key()
            squid.stop()
            squid.start()
            talks(gateway)


@pytest.mark.long
def test_a_clock_that_differs_is_said_as_such(squid):
    with Realm("kdc_timesync = 0", clock="+10m") as ahead:
        with kerberos(ahead, squid, keytab=ahead.add("early")) as gateway:
            assert ": relay-clock\r\n" in refused(gateway)
            assert "time server" in gateway.wait_for(reason="relay-clock")["message"]


# NTLM: a winbindd judges.


def ntlm(squid, password_file, flags=(), **more):
    listed = "--relay-proxy", f"http://{squid.place}", "--relay-proxy-username", f"{DOMAIN}\\{USER}"
    words = "--allowed-host", NAME, "--relay-proxy-auth", "ntlm", "--relay-proxy-password-file", str(password_file)
    return Gateway(*words, *listed, *flags, **more)


@pytest.fixture
def password(tmp_path):
    path = tmp_path / "password"
    path.write_text("First-1\n")
    path.chmod(0o600)
    return path


@pytest.mark.long
def test_a_thousand_tunnels_with_ntlm_while_the_password_changes(server, password):
    with Winbind("First-1") as winbind, DomainSquid({NAME: server.host}, winbind=winbind) as squid:
        with ntlm(squid, password, workers=2) as gateway:

            def meanwhile():
                winbind.set_password("Second-2")
                password.write_text("Second-2\n")

            assert many(gateway, meanwhile) == []


@pytest.mark.long
def test_winbind_refuses_a_wrong_password_which_is_tried_once(server, password):
    password.write_text("wrong\n")
    with Winbind("First-1") as winbind, DomainSquid({NAME: server.host}, winbind=winbind) as squid:
        with ntlm(squid, password, workers=2) as gateway:
            for _number in range(10):
                assert " 502 " in refused(gateway)
            assert "wrong" not in str(gateway.lines)
            password.write_text("First-1\n")
            talks(gateway)
