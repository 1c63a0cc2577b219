"""The TLS rules on hand-made sessions, through the socket: for each rule one that passes, and one that does not."""

import threading
from types import SimpleNamespace

import pytest
from harness.certificates import with_common_names
from harness.dns import Dns
from harness.gateway import Gateway, free_port, read_all, read_exactly
from harness.hellos import certificates, client_hello, extension, hello, message, records, server_hello, server_names
from harness.upstreams import Server

NAME, SECRET = "www.bench.example", "secret.bench.example"
HELLO = hello(NAME.encode())
TILL = with_common_names("till-7")
CHANGE = records(b"\1", kind=20)
ASKS = records(server_hello(0x0303) + certificates(b"server") + message(13, b"\1\1\0\0\0\0") + message(14, b""))
RETRY = records(server_hello(retry=True))


class Scripted(Server):
    """Answers each turn with the next of these bytes. `got` is all that reached it; `ended`, that it is over."""

    def __init__(self, *answers, **more):
        super().__init__(self._speak, **more)
        self._answers = answers
        self.seen = []
        self._new = threading.Condition()

    def _speak(self, connection):
        seen = SimpleNamespace(got=b"", ended=False)
        self.seen.append(seen)
        answers = list(self._answers)
        try:
            while data := connection.recv(1 << 16):
                seen.got += data
                with self._new:
                    self._new.notify_all()
                if answers:
                    connection.sendall(answers.pop(0))
        finally:
            seen.ended = True
            with self._new:
                self._new.notify_all()

    def wait(self, number, condition, seconds=20):
        with self._new:
            held = self._new.wait_for(lambda: len(self.seen) > number and condition(self.seen[number]), seconds)
        assert held, self.seen
        return self.seen[number].got


def gateway_to(host, dns, *flags):
    return Gateway("--allowed-host", ".bench.example to=127.0.0.0/8", *dns.flags, *flags, tls_rules=None)


@pytest.fixture(scope="module")
def upstream():
    with Scripted(ASKS) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def dns(upstream):
    with Dns({NAME: [upstream.host]}) as dns:
        yield dns


@pytest.fixture(scope="module")
def careful(upstream, dns):
    with gateway_to(upstream.host, dns, "--allowed-client-certificate", "till-7") as gateway:
        yield gateway


# Certificates that the foreign parser fails on.


@pytest.mark.parametrize(
    ("der", "error"),
    [
        (TILL, None),
        (TILL.replace(b"\x0c\x06till-7", b"\x03\x06till-7"), "TypeError"),
        (TILL.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05"), "InvalidVersion"),
        (b"\x30\x84\xff\xff\xff\xff", "ValueError"),
    ],
)
def test_a_certificate_that_cannot_be_read_is_a_rejection_and_no_error_of_the_gateway(careful, upstream, der, error):
    number = len(upstream.seen)
    said = records(certificates(der) + message(16, b"key"))
    with careful.tunnel(f"{NAME}:443") as sock:
        place = "{}:{}".format(*sock.getsockname()[:2])
        sock.sendall(HELLO)
        assert read_exactly(sock, len(ASKS)) == ASKS
        sock.sendall(said)
        if error is None:
            assert upstream.wait(number, lambda seen: len(seen.got) == len(HELLO + said)) == HELLO + said
            return
        assert read_all(sock) == bytes((21, 3, 3, 0, 2, 2, 50))
    line = careful.wait_for(event=402, client=place)
    assert line["reason"] == "malformed-handshake" and error in line["message"] and "traceback" not in line
    assert careful.closed(client=place)["reason"] == "malformed-handshake"
    assert upstream.wait(number, lambda seen: seen.ended) == HELLO
    assert not careful.events(400) and not careful.stderr


# What stands behind an accepted ClientHello.


@pytest.fixture(scope="module")
def silent():
    with Scripted() as silent:
        yield silent


@pytest.fixture(scope="module")
def plain(silent):
    with Dns({NAME: [silent.host], SECRET: [silent.host]}) as dns, gateway_to(silent.host, dns) as gateway:
        yield gateway


WRONG = [records(message(16, b"key")), b"\x16\x03\x03\0\0", records(b"\1\1\1", kind=20), hello(b"other.example")]


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("way", ["at once", "behind the head", "later", "in the middle of the hello", "byte by byte"])
def test_of_what_is_rejected_the_server_gets_nothing(plain, silent, wrong, way):
    number = len(silent.seen)
    data = HELLO + wrong
    with plain.tunnel(f"{NAME}:443", rest=data if way == "behind the head" else b"") as sock:
        place = "{}:{}".format(*sock.getsockname()[:2])
        if way == "at once":
            sock.sendall(data)
        elif way == "later":
            sock.sendall(HELLO)
            silent.wait(number, lambda seen: seen.got == HELLO)
            sock.sendall(wrong)
        elif way == "in the middle of the hello":
            sock.sendall(data[:50])
            sock.sendall(data[50:])
        elif way == "byte by byte":
            for at in range(len(data)):
                sock.sendall(data[at : at + 1])
        assert read_exactly(sock, 7)[:6] == bytes((21, 3, 3, 0, 2, 2))
    assert plain.closed(client=place)["reason"] == "malformed-handshake"
    assert silent.wait(number, lambda seen: seen.ended) in (b"", HELLO)


def test_what_may_stand_behind_a_hello_reaches_the_server(plain, silent):
    number = len(silent.seen)
    data = hello(NAME.encode(), extension(42, b"")) + CHANGE + records(b"early" * 100, kind=23)
    with plain.tunnel(f"{NAME}:443", rest=data[:100]) as sock:
        sock.sendall(data[100:])
        assert silent.wait(number, lambda seen: len(seen.got) == len(data)) == data


def test_the_change_of_the_cipher_behind_a_retry_reaches_the_client_at_once():
    with Scripted(RETRY + CHANGE, records(server_hello())) as upstream, Dns({NAME: [upstream.host]}) as dns:
        with gateway_to(upstream.host, dns) as gateway, gateway.tunnel(f"{NAME}:443", rest=HELLO) as sock:
            assert read_exactly(sock, len(RETRY + CHANGE)) == RETRY + CHANGE
            sock.sendall(CHANGE + HELLO)
            assert read_exactly(sock, len(records(server_hello()))) == records(server_hello())
            assert gateway.wait_for(event=107)["tls_version"] == "TLS 1.3"


def test_behind_a_rejected_server_hello_the_client_gets_an_alert_that_it_can_read():
    answer = records(server_hello(0x0302)) + records(certificates(b"server" * 1000))
    with Scripted(answer) as upstream, Dns({NAME: [upstream.host]}) as dns:
        with gateway_to(upstream.host, dns) as gateway, gateway.tunnel(f"{NAME}:443", rest=HELLO) as sock:
            assert read_all(sock) == bytes((21, 3, 2, 0, 2, 2, 70))
            assert gateway.wait_for(event=106)["reason"] == "tls-version"


# Versions.

NAMED = server_names(NAME.encode())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (hello(NAME.encode(), versions=(0x0305,)), "tls-version"),
        (hello(NAME.encode(), versions=(0x7F1C,)), "tls-version"),
        (records(client_hello(NAMED, legacy=0x0329)), "tls-version"),
        (hello(NAME.encode(), versions=(0x0305, 0x7F1C, 0x0303)), None),
        (records(client_hello(NAMED), version=0x0300), None),
        (records(client_hello(NAMED), 50, version=0x0329), None),
        (records(client_hello(NAMED), version=0x0401), "not-tls"),
    ],
)
def test_the_versions_that_are_offered(plain, silent, data, reason):
    number = len(silent.seen)
    with plain.tunnel(f"{NAME}:443", rest=data) as sock:
        place = "{}:{}".format(*sock.getsockname()[:2])
        if reason is None:
            assert silent.wait(number, lambda seen: len(seen.got) == len(data)) == data
        else:
            assert read_all(sock) in (b"", bytes((21, 3, 3, 0, 2, 2, 70)))
            assert plain.wait_for(event=106, client=place)["reason"] == reason
            assert silent.wait(number, lambda seen: seen.ended) == b""


@pytest.mark.parametrize(("version", "passes"), [(0x0304, True), (0x0305, False), (0x7F1C, False), (0x0A0A, False)])
def test_the_version_that_is_chosen(version, passes):
    answer = records(server_hello().replace(extension(43, b"\3\4"), extension(43, version.to_bytes(2, "big"))))
    with Scripted(answer) as upstream, Dns({NAME: [upstream.host]}) as dns:
        with gateway_to(upstream.host, dns) as gateway, gateway.tunnel(f"{NAME}:443", rest=HELLO) as sock:
            if passes:
                assert read_exactly(sock, len(answer)) == answer and gateway.wait_for(event=107)
            else:
                assert read_all(sock) == bytes((21, 3, 3, 0, 2, 2, 70))
                assert "no version of TLS" in gateway.wait_for(event=106, reason="tls-version")["message"]


# Names.


@pytest.mark.parametrize("host", [None, "::1"])
@pytest.mark.parametrize("rule", ["no-server-name", ""])
def test_the_targets_own_address_as_a_server_name(host, rule):
    with Scripted(host=host, port=443 if host is None else free_port(host)) as upstream:
        bare = upstream.target if host else upstream.host
        flags = "--allowed-host", f"{bare} to={upstream.host} {rule}"
        data = hello(upstream.host.encode())
        with Gateway(*flags, tls_rules=None) as gateway, gateway.tunnel(upstream.target, rest=data) as sock:
            if rule:
                assert upstream.wait(0, lambda seen: seen.got == data)
            else:
                assert read_all(sock) == bytes((21, 3, 3, 0, 2, 2, 112))
                assert gateway.wait_for(event=106)["reason"] == "server-name-invalid"


@pytest.mark.parametrize("hosts", [SECRET, NAME, "echo.bench.example"])
def test_the_certificate_hosts_hold_for_both_names(hosts):
    flags = "--server-name", "allowed-hosts", "--allowed-client-certificate", "till-7", "--client-certificate-hosts"
    with Scripted(records(server_hello())) as upstream, Dns({NAME: [upstream.host]}) as dns:
        with gateway_to(upstream.host, dns, *flags, hosts) as gateway:
            with gateway.tunnel(f"{NAME}:443", rest=hello(SECRET.encode())) as sock:
                if hosts == "echo.bench.example":
                    assert read_exactly(sock, 5)[:1] == b"\x16" and gateway.wait_for(event=107)
                else:
                    assert read_all(sock) == bytes((21, 3, 3, 0, 2, 2, 49))
                    assert gateway.wait_for(event=105)["reason"] == "client-certificate-unseen"
