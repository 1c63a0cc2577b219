"""Out through a squid that wants NTLM, where a real winbindd judges, and through relay proxies that break it."""

import base64
import re
import threading

import pytest
from harness.crowd import failures, refused, talks
from harness.domain_squids import DomainSquid
from harness.gateway import Gateway, read_head
from harness.realm import Realm, gssapi_path
from harness.relays import PORT
from harness.upstreams import Server, echo
from harness.waiting import until
from harness.winbind import DOMAIN, USER, Winbind

pytest.importorskip("spnego")
NAME = "www.bench.example"
TARGET = f"{NAME}:443"
FIRST, SECOND = "First-1", "Second-2"
# A challenge as of [MS-NLMP], section 2.2.1.2, that asks for Unicode and NTLMv2 and says nothing of itself.
CHALLENGE = b"NTLMSSP\0\2\0\0\0" + bytes(4) + b"\x38\0\0\0" + b"\x01\x02\x08\x00" + b"8 bytes." + bytes(24)


@pytest.fixture(scope="module")
def server():
    with Server(echo) as server:
        yield server


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "password"
    path.write_text(FIRST)
    path.chmod(0o600)
    return path


def ntlm(place, file, *flags, **more):
    words = "--relay-proxy", f"http://{place}", "--relay-proxy-username", f"{DOMAIN}\\{USER}"
    named = "--relay-proxy-auth", "ntlm", "--relay-proxy-password-file", str(file)
    return Gateway("--allowed-host", NAME, *words, *named, *flags, **more)


def replace(file, password):
    new = file.with_name("new")
    new.write_text(password)
    new.chmod(0o600)
    new.replace(file)


# Real ones.


@pytest.mark.long
def test_a_thousand_tunnels_while_the_password_changes(server, file):
    with Winbind(FIRST) as winbind, DomainSquid({NAME: server.host}, winbind=winbind) as squid:

        def meanwhile():
            replace(file, SECOND)
            winbind.set_password(SECOND)

        with ntlm(squid.place, file, workers=2) as gateway:
            assert failures(gateway, TARGET, meanwhile) == []
            assert FIRST not in str(gateway.lines) and SECOND not in str(gateway.lines)


@pytest.mark.long
def test_a_wrong_password_is_refused_and_another_one_is_found(server, file):
    file.write_text("wrong")
    with Winbind(FIRST) as winbind, DomainSquid({NAME: server.host}, winbind=winbind) as squid:
        # A quarter of it is what one who tries has before another may.
        with ntlm(squid.place, file, "--dial-timeout", "60s", workers=2) as gateway:
            asking = [threading.Thread(target=refused, args=(gateway, TARGET)) for _number in range(20)]
            for thread in asking:
                thread.start()
            for thread in asking:
                thread.join()
            until(lambda: len(gateway.events(404)) >= 20)
            reasons = [line["reason"] for line in gateway.events(404)]
            assert sorted(set(reasons)) == ["relay-auth-withheld", "relay-refused"]
            assert reasons.count("relay-refused") == 1
            assert ": relay-auth-withheld\r\n" in refused(gateway, TARGET)
            file.write_text(FIRST)
            talks(gateway, TARGET)


@pytest.mark.long
def test_all_schemes_offered_at_once(server, file):
    """auto takes Kerberos where it has a keytab, else Digest; NTLM is taken only where it is named.

    What each authenticates with changes in the middle.
    """
    user = {"till": FIRST}
    with Realm() as realm, Winbind(FIRST) as winbind:
        schemes = {"users": user, "schemes": ("basic", "digest")}
        with DomainSquid({NAME: server.host}, realm=realm, winbind=winbind, **schemes) as squid:
            environment = {**realm.environment, "PYTHONPATH": gssapi_path()}
            auto = "--allowed-host", NAME, "--relay-proxy", f"http://{squid.place}", "--relay-proxy-auth", "auto"
            password = "--relay-proxy-username", "till", "--relay-proxy-password-file", str(file)
            path = realm.add("gateway")
            keytab = "--relay-proxy-keytab", str(path)

            def another_key():
                fresh = path.with_name("gateway.new")
                realm.admin("cpw -randkey gateway", f"ktadd -k {fresh} gateway")
                fresh.replace(path)

            def another_password_of_digest():
                replace(file, SECOND)
                squid.set_users({"till": SECOND})

            def another_password_of_ntlm():
                replace(file, SECOND)
                winbind.set_password(SECOND)

            before = realm.asked("TGS_REQ")
            with Gateway(*auto, *password, *keytab, environment=environment, workers=2) as gateway:
                assert failures(gateway, TARGET, another_key) == []
                assert realm.asked("TGS_REQ") > before
            before = realm.asked("TGS_REQ")
            with Gateway(*auto, *password) as gateway:
                assert failures(gateway, TARGET, another_password_of_digest) == []
            assert realm.asked("TGS_REQ") == before
            replace(file, FIRST)
            with ntlm(squid.place, file) as gateway:
                assert failures(gateway, TARGET, another_password_of_ntlm) == []


# Relay proxies that break it.


class Breaking(Server):
    """Answers the first message with `said`, and closes behind it where `closes`; `heads` are those it got."""

    def __init__(self, said, closes=False):
        super().__init__(self._play, port=PORT)
        self.said, self.closes, self.heads = said, closes, []

    @property
    def place(self):
        return f"{self.host}:{PORT}"

    def _play(self, connection):
        while head := read_head(connection):
            self.heads.append(head)
            connection.sendall(self._asking())
            if self.closes:
                return

    def _asking(self):
        lines = [b"HTTP/1.1 407 No", b"Proxy-Authenticate: NTLM" + self.said, b"Content-Length: 0", b"", b""]
        return b"\r\n".join(lines)


class Opening(Breaking):
    """Answers the second message on a connection with a tunnel."""

    def _play(self, connection):
        self.heads.append(read_head(connection))
        connection.sendall(self._asking())
        self.heads.append(read_head(connection))
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        echo(connection)

    def proved(self, turn):
        """Whether that message was the one with the proof of the password ([MS-NLMP], section 2.2.1.3)."""
        sent = re.search(rb"^Proxy-Authorization: NTLM (.+?)\r$", self.heads[turn], re.MULTILINE)
        return base64.b64decode(sent[1])[8] == 3


def coded(message):
    return b" " + base64.b64encode(message)


CASES = {
    "it forgets the first message": (b"", False, "relay-connection-changed"),
    "it closes behind the challenge": (coded(CHALLENGE), True, "relay-connection-changed"),
    "no base64": (b" AAAAA", False, "relay-auth-malformed"),
    "another message": (coded(b"NTLMSSP\0\1\0\0\0" + bytes(24)), False, "relay-auth-malformed"),
    "cut": (coded(CHALLENGE[:20]), False, "relay-auth-malformed"),
    "garbage": (coded(b"hello"), False, "relay-auth-malformed"),
    "60 KB": (b" " + b"A" * 60000, False, "relay-auth-malformed"),
    "it refuses": (coded(CHALLENGE), False, "relay-refused"),
}


def test_every_way_to_break_it_has_its_reason(file):
    """The last of them refuses the password, which is not sent again then."""
    with Breaking(b"") as relay, ntlm(relay.place, file) as gateway:
        for case, (relay.said, relay.closes, reason) in CASES.items():
            relay.heads.clear()
            assert f": {reason}\r\n" in refused(gateway, TARGET), case
            assert len(relay.heads) <= 2, case
        assert ": relay-auth-withheld\r\n" in refused(gateway, TARGET)


@pytest.mark.parametrize("case", ["it forgets the first message", "it closes behind the challenge"])
def test_one_that_does_not_keep_its_connection_is_passed_by(file, case):
    said, closes, _reason = CASES[case]
    with Breaking(said, closes) as relay, Opening(coded(CHALLENGE)) as second:
        with ntlm(relay.place, file, "--relay-proxy", f"http://{second.place}") as gateway:
            talks(gateway, TARGET)
            assert relay.heads and [second.proved(turn) for turn in range(len(second.heads))] == [False, True]


def test_it_is_named_weak_at_every_start(file):
    with Breaking(b"") as relay, ntlm(relay.place, file) as gateway:
        assert "NTLM is weak" in gateway.wait_for(event=100, level="warning", sequence=3)["message"]
