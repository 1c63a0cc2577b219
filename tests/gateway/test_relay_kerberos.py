"""Out through squids that want Kerberos, with a real KDC."""

import os
import signal
import time

import pytest
from harness.crowd import failures, refused, talks
from harness.domain_squids import DomainSquid
from harness.gateway import Gateway
from harness.realm import Realm, gssapi_path
from harness.relays import Squid
from harness.upstreams import Server, echo
from harness.waiting import PATIENCE, until

NAME = "www.bench.example"
TARGET = f"{NAME}:443"


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


def test_a_tunnel_through_squid_with_a_keytab(realm, squid):
    """A reload leaves the gateway its tickets; nobody is told who it is."""
    keytab = realm.add("till-7", "keytab")
    with kerberos(realm, squid, keytab=keytab, flags=("--relay-proxy-principal", "till-7")) as gateway:
        talks(gateway, TARGET)
        before = realm.asked("AS_REQ")
        gateway.process.send_signal(signal.SIGHUP)
        gateway.wait_for(event=109)
        talks(gateway, TARGET)
        assert realm.asked("AS_REQ") == before
        assert "till-7" not in str(gateway.lines) and not gateway.stderr


@pytest.mark.long
def test_a_silent_kdc_has_its_reason(realm, squid):
    keytab = realm.add("waits")
    with realm.silent(), kerberos(realm, squid, keytab=keytab, flags=("--dial-timeout", "1s")) as gateway:
        assert ": relay-kdc-silent\r\n" in refused(gateway, TARGET)
        assert "krb5.conf" in gateway.wait_for(reason="relay-kdc-silent")["message"]


def test_a_silent_kdc_stops_no_relay_that_wants_no_kerberos_and_few_threads_hang(realm, squid, server):
    keytab = realm.add("hangs")
    with realm.silent(), Squid({NAME: server.host}) as other:
        with kerberos(realm, squid, other, keytab=keytab, flags=("--dial-timeout", "1s")) as gateway:
            for _number in range(20):
                talks(gateway, TARGET)
            assert threads(gateway.pid) == 1  # the supervisor has none but its own, whatever is imported
            assert threads(gateway.workers[0]) <= 12


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


@pytest.mark.long
def test_the_gateway_leaves_at_once_although_a_thread_waits_for_the_kdc(realm, squid):
    keytab = realm.add("leaves")
    with realm.silent(), kerberos(realm, squid, keytab=keytab, flags=("--dial-timeout", "1s")) as gateway:
        assert ": relay-kdc-silent\r\n" in refused(gateway, TARGET)
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
        assert failures(gateway, TARGET, meanwhile) == []
        until(lambda: talks(gateway, TARGET) or realm.asked("AS_REQ") > before + 2 * workers)
        assert not gateway.events(404) and not gateway.events(403) and not gateway.stderr
    realm.admin("delprinc -force busy")


@pytest.mark.long
def test_a_thousand_tunnels_while_somebody_else_renews_the_ticket_cache(realm, squid):
    keytab = realm.add("kept")
    cache = realm.ticket("kept", keytab)
    flags = "--relay-proxy-ticket-cache", f"FILE:{cache}"
    with kerberos(realm, squid, keytab="", flags=flags, workers=2) as gateway:
        before = realm.asked("TGS_REQ")
        assert failures(gateway, TARGET, lambda: [realm.ticket("kept", keytab) for _number in range(10)]) == []
        assert realm.asked("TGS_REQ") >= before + 2 and not gateway.events(404) and not gateway.stderr


@pytest.mark.long
def test_the_proxys_service_gets_another_key_in_the_middle(realm, server):
    with DomainSquid({NAME: server.host}, realm=realm) as squid:
        with kerberos(realm, squid, keytab=realm.add("holder")) as gateway:
            talks(gateway, TARGET)
            squid.renew_key()
            squid.stop()
            squid.start()
            talks(gateway, TARGET)


@pytest.mark.long
def test_a_clock_of_the_relay_proxy_that_differs_is_said_as_such(realm, server):
    with DomainSquid({NAME: server.host}, realm=realm, clock="+10m") as squid:
        with kerberos(realm, squid, keytab=realm.add("late")) as gateway:
            assert ": relay-clock\r\n" in refused(gateway, TARGET)
            assert "600 s apart" in gateway.wait_for(reason="relay-clock")["message"].replace("599", "600")


@pytest.mark.long
def test_a_clock_of_the_kdc_that_differs_is_said_as_such(squid):
    with Realm("kdc_timesync = 0", clock="+10m") as ahead:
        with kerberos(ahead, squid, keytab=ahead.add("early")) as gateway:
            assert ": relay-clock\r\n" in refused(gateway, TARGET)
            assert "time server" in gateway.wait_for(reason="relay-clock")["message"]
