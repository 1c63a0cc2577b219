"""What happens to clients' TLS when files, or the gateway, are replaced under it."""

import contextlib
import json
import os
import re
import signal
import ssl
import subprocess
import time

import pytest
from harness.admin import ask, asked, metrics
from harness.clients import OneByOne
from harness.commands import ogw
from harness.gateway import read_exactly, read_head
from harness.handover import Upgraded
from harness.peers import peer
from harness.pki import Authority, key_pem, pem, write
from harness.secure import PORT, Secure
from harness.waiting import until

from ogw.policy.identity import moment
from ogw.policy.rules import time_text
from ogw.service.handshakes import MOST_SESSIONS

OTHER = Authority("Other CA", 2)


class SecureUpgraded(Secure, Upgraded):
    """It hands over to successors."""


@contextlib.contextmanager
def open_tunnel(gateway, context, upstream):
    """One that is there before and after the block."""
    with gateway.through(context, upstream.target) as sock:
        sock.sendall(b"before")
        assert read_exactly(sock, 6) == b"before"
        yield sock
        sock.sendall(b"after")
        assert read_exactly(sock, 5) == b"after"


def shown(gateway, context):
    """The serial number of the certificate that the gateway shows."""
    with gateway.secure(context) as sock:
        return int(sock.getpeercert()["serialNumber"], 16)


def test_a_renewed_certificate_is_taken_by_itself_and_no_tunnel_is_lost(tmp_path, upstream):
    with Secure(tmp_path) as gateway:
        client = gateway.client(gateway.authority.issue("till"))
        with open_tunnel(gateway, client, upstream):
            renewed = gateway.authority.server(gateway.address, number=3)
            write(tmp_path / "new.pem", renewed, number=3)
            os.replace(tmp_path / "new.pem", tmp_path / "own.pem")
            assert gateway.wait_for(event=109)["changed"] == ["listen-tls-certificate"]
            assert shown(gateway, client) == renewed.serial_number
        until = metrics(gateway)["ogw_listen_certificate_expiry_time_seconds"]
        assert until == moment(renewed, "not_valid_after")


BAD = {
    "a key that does not fit": (
        lambda gateway: pem(gateway.authority.server(gateway.address)) + key_pem(3),
        "the key in it is not that of the first certificate",
    ),
    "an expired one": (
        lambda gateway: pem(gateway.authority.server(gateway.address, ends=-0.5)) + key_pem(),
        "the certificate ended at",
    ),
    "one of tomorrow": (
        lambda gateway: pem(gateway.authority.server(gateway.address, begins=1)) + key_pem(),
        "the certificate begins only at",
    ),
    "no key": (lambda gateway: pem(gateway.authority.server(gateway.address)), "no private key in it (PEM)"),
    "no certificate": (lambda _gateway: key_pem(), "no certificate in it (PEM)"),
    "nothing": (lambda _gateway: b"", "no certificate in it (PEM)"),
    "DER": (lambda _gateway: b"0\x82\x01\x00" * 100, "no certificate in it (PEM)"),
}


def refused(gateway):
    """Why a reload is."""
    status, _headers, body = ask(gateway, "/reload", "POST")
    assert status != 200, body
    return json.loads(body)["mistakes"]


def test_what_is_in_force_stays_so_where_the_new_files_are_bad(tmp_path, upstream):
    with Secure(tmp_path, crl=True) as gateway:
        client = gateway.client(gateway.authority.issue("till"))
        good = shown(gateway, client)
        with open_tunnel(gateway, client, upstream):
            for make, says in BAD.values():
                (tmp_path / "own.pem").write_bytes(make(gateway))
                [told] = refused(gateway)
                assert told.startswith("listen-tls-") and str(tmp_path / "own.pem") in told and says in told
                assert "PRIVATE" not in told
            write(tmp_path / "own.pem", gateway.authority.server(gateway.address))
            for name, text, says in (
                ("ca.pem", b"", "no certificates in it (PEM)"),
                ("crl.pem", b"nonsense", "no certificate revocation list in it"),
            ):
                before = (tmp_path / name).read_bytes()
                (tmp_path / name).write_bytes(text)
                [told] = refused(gateway)
                assert told.startswith(f"listen-client-{name[:-4]}") and says in told
                (tmp_path / name).write_bytes(before)
            (tmp_path / "ca.pem").rename(tmp_path / "away.pem")
            [told] = refused(gateway)
            assert told == f"listen-client-ca: {tmp_path}/ca.pem: No such file or directory"
            assert shown(gateway, client) == good


def test_a_bad_file_is_told_of_once(tmp_path, upstream):
    with Secure(tmp_path) as gateway:
        (tmp_path / "own.pem").write_bytes(key_pem())
        gateway.wait_for(event=401)
        write(tmp_path / "own.pem", gateway.authority.server(gateway.address))
        gateway.wait_for(event=109)
        assert len(gateway.events(401)) == 1


def test_under_load_no_tunnel_is_lost_at_a_reload(tmp_path, upstream):
    with Secure(tmp_path) as gateway:
        client = gateway.client(gateway.authority.issue("till"))

        def passes():
            with gateway.through(client, upstream.target, rest=b"x" * 1000) as sock:
                return read_exactly(sock, 1000) == b"x" * 1000

        with OneByOne(passes) as load, OneByOne(passes) as more:
            for turn in range(3):
                write(tmp_path / "own.pem", gateway.authority.server(gateway.address))
                until(lambda turn=turn: len([one for one in gateway.events(109) if one["changed"]]) > turn)
                passed = load.passed
                until(lambda passed=passed: load.passed > passed + 3)
        for one in (load, more):
            assert one.passed and (one.refused, one.lost) == (0, 0)


# Open tunnels, whose client could not come in now.


@pytest.mark.parametrize("rechecks", ["yes", "no"])
@pytest.mark.parametrize("what", ["revoked", "authority gone"])
def test_a_recheck_asks_for_the_certificate(tmp_path, upstream, what, rechecks):
    with Secure(tmp_path, "--reload-rechecks-tunnels", rechecks, crl=True) as gateway:
        (tmp_path / "ca.pem").write_bytes(gateway.authority.pem + OTHER.pem)
        (tmp_path / "crl.pem").write_bytes(gateway.authority.crl() + OTHER.crl())
        gateway.wait_for(event=109)
        bad, good = gateway.authority.issue("bad"), OTHER.issue("good")
        with open_tunnel(gateway, gateway.client(good), upstream):
            with gateway.through(gateway.client(bad), upstream.target) as sock:
                name = "{}:{}".format(*sock.getsockname())
                if what == "revoked":
                    (tmp_path / "crl.pem").write_bytes(gateway.authority.crl(bad) + OTHER.crl())
                else:
                    (tmp_path / "ca.pem").write_bytes(OTHER.pem)
                assert asked(gateway, "/reload", "POST")["mistakes"] == []
                if rechecks == "no":
                    sock.sendall(b"still here")
                    assert read_exactly(sock, 10) == b"still here"
                else:
                    assert sock.recv(1) == b""
            closed = gateway.closed(client=name)
        if rechecks == "no":
            assert closed["reason"] == "client-closed"
        else:
            assert closed["reason"] == "client-tls-certificate-withdrawn"
            assert ("is revoked" in closed["message"]) is (what == "revoked")


def test_an_authority_with_a_renewed_certificate_is_the_same(tmp_path, upstream):
    with Secure(tmp_path, "--reload-rechecks-tunnels", "yes") as gateway:
        client = gateway.client(gateway.authority.issue("till"))
        with open_tunnel(gateway, client, upstream):
            (tmp_path / "ca.pem").write_bytes(Authority().pem)
            assert gateway.wait_for(event=109)["changed"] == ["listen-client-ca"]
            gateway.through(client, upstream.target).close()


# Handshakes that a reload meets in the middle.


class ByHand:
    """A client's TLS, a flight at a time."""

    def __init__(self, gateway, context, session=None):
        self.sock = gateway.raw()
        self.name = "{}:{}".format(*self.sock.getsockname())
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        own = {"server_hostname": gateway.address, "session": session}
        self._tls = context.wrap_bio(self._incoming, self._outgoing, **own)
        self.is_done = False
        self.go_on()

    def go_on(self):
        """Take what came; what it says to that is left for `say`."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
            self.is_done = True

    def say(self, data=b""):
        if data:
            self._tls.write(data)
        self.sock.sendall(self._outgoing.read())

    def hear(self):
        """Whether something came."""
        data = self.sock.recv(1 << 16)
        self._incoming.write(data)
        return bool(data)

    def heard(self, most=1 << 30):
        """All that it is told, to the end, or so much."""
        told = b""
        while len(told) < most:
            with contextlib.suppress(ssl.SSLWantReadError):
                told += self._tls.read(1 << 16)
                continue
            with contextlib.suppress(ConnectionResetError):
                if self.hear():
                    continue
            break
        return told


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("what", ["revoked", "untrusted", "missing"])
def test_a_handshake_that_began_before_a_reload_ends_under_what_is_in_force(tmp_path, upstream, what, version):
    asks = what != "missing"
    (tmp_path / "gw.ini").write_text("[ogw]\n")
    with Secure(tmp_path, "--config", str(tmp_path / "gw.ini"), crl=asks, required=asks) as gateway:
        bad = gateway.authority.issue("bad")
        client = ByHand(gateway, gateway.client(bad, version=version))
        with client.sock:
            client.say()
            assert client.hear()
            client.go_on()
            if what == "revoked":
                (tmp_path / "crl.pem").write_bytes(gateway.authority.crl(bad))
            elif what == "untrusted":
                (tmp_path / "ca.pem").write_bytes(OTHER.pem)
                (tmp_path / "crl.pem").write_bytes(OTHER.crl())
            else:
                text = f"[ogw]\nlisten-client-certificate = required\nlisten-client-ca = {tmp_path}/ca.pem\n"
                (tmp_path / "gw.ini").write_text(text)
            assert asked(gateway, "/reload", "POST")["mistakes"] == []
            client.say()
            while not client.is_done:
                assert client.hear()
                client.go_on()
            client.say(f"CONNECT {upstream.target} HTTP/1.1\r\n\r\n".encode())
            assert client.heard() == b""
        line = gateway.wait_for(event=114, client=client.name)
        assert line["reason"] == f"client-tls-certificate-{what}"


# Sessions that are taken up again (TLS 1.2).


def resumed(gateway, folder):
    """Two connections of openssl's client, the second with the first one's session: what it says of each."""
    said = []
    for session in ("-sess_out", "-sess_in"):
        own = ["-cert", folder / "client.pem", "-CAfile", folder / "ca.pem", session, folder / "session"]
        command = [peer("openssl"), "s_client", "-connect", f"{gateway.address}:{PORT}", "-tls1_2", *own]
        done = subprocess.run(command, input=b"", capture_output=True, timeout=60)
        said.append(done.stdout.decode("utf-8", "replace") + done.stderr.decode())
    return said


def test_a_session_is_taken_up_again_while_a_thousand_others_come(tmp_path, upstream):
    """What is remembered of sessions is bounded by being made anew, and the last of before end as they began."""
    with Secure(tmp_path, "--log-every-refusal", "no") as gateway:
        context = gateway.client(gateway.authority.issue("till"), version="1.2")
        with gateway.through(context, upstream.target) as sock:
            session = sock.session
        client = ByHand(gateway, context, session)
        with client.sock:
            client.say()
            assert client.hear()
            client.go_on()
            for _turn in range(MOST_SESSIONS):
                with gateway.raw() as sock:
                    sock.sendall(b"\x16\x03\x01\x00\x05hello")
                    assert sock.recv(1)  # an alert
            client.say(f"CONNECT {upstream.target} HTTP/1.1\r\n\r\nhello".encode())
            assert client.heard(40).startswith(b"HTTP/1.1 200 ")


def test_a_session_that_is_taken_up_again_is_the_same_client(tmp_path, upstream):
    with Secure(tmp_path) as gateway:
        context = gateway.client(gateway.authority.issue("till"), version="1.2")
        first, second = resumed(gateway, tmp_path)
        assert "\nNew, TLSv1.2" in first and "\nReused, TLSv1.2" in second
        session = None
        for is_reused in (False, True):
            with gateway.raw() as plain:
                sock = context.wrap_socket(plain, server_hostname=gateway.address, session=session)
                session = sock.session
                assert sock.session_reused is is_reused
                sock.sendall(f"CONNECT {upstream.target} HTTP/1.1\r\n\r\n".encode())
                assert read_head(sock).startswith(b"HTTP/1.1 200 ")
                sock.close()


def test_no_session_outlives_what_its_certificate_rests_on(tmp_path):
    with Secure(tmp_path, crl=True) as gateway:
        till = gateway.authority.issue("till")
        context = gateway.client(till, version="1.2")
        with gateway.secure(context) as sock:
            session = sock.session
        (tmp_path / "crl.pem").write_bytes(gateway.authority.crl(till))
        assert asked(gateway, "/reload", "POST")["mistakes"] == []
        with pytest.raises(ssl.SSLError), gateway.raw() as plain:
            context.wrap_socket(plain, server_hostname=gateway.address, session=session)
        assert gateway.wait_for(event=114)["reason"] == "client-tls-certificate-revoked"


def test_nor_its_certificate(tmp_path):
    with Secure(tmp_path) as gateway:
        soon = gateway.authority.issue("till", ends=4 / 86400)
        context = gateway.client(soon, version="1.2")
        with gateway.secure(context) as sock:
            session = sock.session
        ends = moment(soon, "not_valid_after")
        until(lambda: time.time() > ends)
        with gateway.raw() as plain, contextlib.suppress(ssl.SSLError, ConnectionError):
            with context.wrap_socket(plain, server_hostname=gateway.address, session=session) as sock:
                assert sock.session_reused
                assert sock.recv(1) == b""
        line = gateway.wait_for(event=114)
        assert line["reason"] == "client-tls-certificate-expired"
        assert line["message"] == f"its certificate, {soon.subject.rfc4514_string()}, has expired"


def test_there_are_no_tickets_and_no_renegotiation(tmp_path):
    with Secure(tmp_path, required=False) as gateway:
        command = [peer("openssl"), "s_client", "-connect", f"{gateway.address}:{PORT}", "-CAfile", tmp_path / "ca.pem"]
        for version in ("-tls1_2", "-tls1_3"):
            done = subprocess.run([*command, version], input=b"R\n", capture_output=True, timeout=60)
            said = done.stdout + done.stderr
            assert b"Verify return code: 0 (ok)" in said and b"ticket" not in said
            assert b"Compression: NONE" in said
            if version == "-tls1_2":
                assert b"no renegotiation" in said


# The gateway itself.


def test_an_upgrade_keeps_the_place_and_its_tunnels(tmp_path, upstream):
    with SecureUpgraded(tmp_path) as gateway:
        client = gateway.client(gateway.authority.issue("till"))
        with open_tunnel(gateway, client, upstream), gateway.raw() as begun:
            begun.sendall(b"\x16\x03")
            gateway.upgrade()
            with gateway.through(client, upstream.target) as sock:
                sock.sendall(b"x")
                assert read_exactly(sock, 1) == b"x"
            assert asked(gateway, "/status")["listen_tls"]["listen"] == [f"{gateway.address}:{PORT}"]


def test_a_drain_does_not_wait_for_handshakes_and_delivers_what_is_on_its_way(tmp_path, upstream):
    with Secure(tmp_path, "--drain-timeout", "20s", "--head-timeout", "60s") as gateway:
        client = gateway.client(gateway.authority.issue("till"))
        idle, silent = gateway.raw(), gateway.raw()
        idle.sendall(b"\x16\x03")
        name = "{}:{}".format(*idle.getsockname())
        with gateway.through(client, upstream.target) as sock:
            sock.sendall(b"x" * 300_000)
            until(lambda: asked(gateway, "/tunnels")["tunnels"][0]["bytes_down"] == 300_000)
            gateway.process.send_signal(signal.SIGTERM)
            assert gateway.wait_for(reason="client-tls-draining")["client"] == name
            assert read_exactly(sock, 300_000) == b"x" * 300_000
        began = time.monotonic()
        assert gateway.stop() == 0 and time.monotonic() - began < 10
        idle.close()
        silent.close()


def test_status_and_doctor_and_the_log_say_until_when(tmp_path):
    with Secure(tmp_path, crl=True) as gateway:
        soon = gateway.authority.server(gateway.address, ends=5)
        write(tmp_path / "own.pem", soon)
        assert asked(gateway, "/reload", "POST")["mistakes"] == []
        line = until(lambda: [one for one in gateway.events(100) if "put a new one in its place" in one["message"]])
        assert "listen-tls-certificate" in line[0]["message"] and line[0]["level"] == "warning"
        status = asked(gateway, "/status")
        place = f"{gateway.address}:{PORT}"
        assert status["listen_tls"]["listen"] == [place] and status["listen_tls"]["crl_until"]
        assert [one for one in status["attention"] if "is to be renewed before" in one and place in one]
        said = ogw("status", "--run-dir", gateway.run_dir).stdout
        assert f"tls://{place}" in said
        assert f"to be renewed before {time_text(moment(soon, 'not_valid_after'))[:16]}" in said
        (tmp_path / "crl.pem").write_bytes(gateway.authority.crl(ends=-0.5))
        assert asked(gateway, "/reload", "POST")["mistakes"] == []
        said = ogw("status", "--run-dir", gateway.run_dir).stdout
        assert re.search(r"CRL +expired at \S+: put a new one in its place \(listen-client-crl\)", said), said
        write(tmp_path / "own.pem", soon)
        done = ogw("doctor", *ogw_flags(gateway), "--host", "127.0.0.1:1", "--timeout", "1").stdout
        assert "to be renewed before" in done
        write(tmp_path / "own.pem", gateway.authority.server(gateway.address, ends=-0.5))
        done = ogw("doctor", *ogw_flags(gateway), "--host", "127.0.0.1:1", "--timeout", "1")
        assert "expired at" in done.stdout and done.returncode == 1


def ogw_flags(gateway):
    folder = gateway.folder
    return (
        *("--run-dir", gateway.run_dir, "--listen-address", f"tls://{gateway.address}:{PORT}"),
        *("--listen-tls-certificate", folder / "own.pem", "--listen-client-certificate", "required"),
        *("--listen-client-ca", folder / "ca.pem", "--listen-client-crl", folder / "crl.pem"),
        *("--allowed-host", "127.0.0.1"),
    )


def test_a_gateway_starts_with_an_expired_certificate_and_says_so(tmp_path):
    with Secure(tmp_path, ends=-0.5) as gateway:
        until(lambda: [one for one in gateway.events(100) if "the certificate ended at" in one["message"]])
