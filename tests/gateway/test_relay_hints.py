"""A relay proxy that is spoken to in the wrong way: the log says in which it may be right, and that one works."""

import re

import pytest
from harness.admin import asked
from harness.dns import Dns
from harness.gateway import Gateway, address, read_all, read_exactly, read_head
from harness.relays import PORT, Haproxy, Squid, playing
from harness.upstreams import Server, echo, reset
from harness.waiting import until

NAME = "www.bench.example"
TARGET = f"{NAME}:443"
OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"
ALERT = b"\x15\x03\x01\x00\x02\x02\x28"


def through(url, *flags):
    return Gateway("--allowed-host", NAME, "--dial-timeout", "2s", "--relay-proxy", url, *flags)


def told(gateway, target=TARGET):
    """What the log says of the relay proxy, when it opens no tunnel."""
    sock, head = gateway.ask(target)
    read_all(sock)
    sock.close()
    assert head.startswith(b"HTTP/1.1 50") and b"relay-proxy =" not in head
    return gateway.wait_for(target=target)["message"]


def advised(message):
    return re.search(r"relay-proxy = (\S+)", message)[1]


def opens(gateway):
    with gateway.tunnel(TARGET) as sock:
        sock.sendall(b"x")
        assert read_exactly(sock, 1) == b"x"


def until_closed(connection):
    read_all(connection)


@pytest.mark.parametrize(
    ("said", "sure"),
    [
        ((ALERT,), True),
        ((ALERT[:1],), True),
        ((b"\x16\x03\x03\x00\x7a\x02", until_closed), True),
        ((), False),
        ((reset,), False),
        ((b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",), False),
        ((b"HTTP/1.1 426 Upgrade Required\r\n\r\n",), False),
    ],
    ids=["an alert", "an alert that is cut", "another record", "a close", "a reset", "400", "426"],
)
def test_one_that_may_be_https_gets_that_hint(said, sure):
    with Server(playing(*said), port=PORT) as relay, through(f"http://{relay.host}:{PORT}") as gateway:
        words = "it speaks TLS" if sure else "it may want TLS"
        message = told(gateway)
        assert f"{words}: try relay-proxy = https://{relay.host}:{PORT} instead" in message
        why = until(lambda: asked(gateway, "/status")["relay_proxies"][0]["why"])
        assert f"{words}: try relay-proxy = https://{relay.host}:{PORT} instead" in why


def hang_up(connection):
    """Reads what comes, and closes without a word."""
    connection.recv(1 << 16)


@pytest.mark.parametrize(
    ("serve", "sure"),
    [
        (lambda connection: (connection.recv(1 << 16), connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")), True),
        (lambda connection: (connection.recv(1 << 16), connection.sendall(b"H"), until_closed(connection)), True),
        (hang_up, False),
        (lambda connection: (connection.recv(1 << 16), reset(connection)), False),
        (until_closed, False),
        (lambda connection: connection.sendall(b"SSH-2.0-x\r\n"), False),
    ],
    ids=["an answer", "an answer that is cut", "a close", "a reset", "silence", "another protocol"],
)
def test_one_that_may_be_http_gets_that_hint(serve, sure, authority_file):
    flags = "--relay-proxy-ca-file", authority_file
    with Server(serve, port=PORT) as relay, through(f"https://{relay.host}:{PORT}", *flags) as gateway:
        words = "it speaks HTTP without TLS" if sure else "it may speak without TLS"
        assert f"{words}: try relay-proxy = http://{relay.host}:{PORT} instead" in told(gateway)


def test_one_in_tls_that_refuses_the_session_is_not_said_to_be_http(authority_file):
    def serve(connection):
        connection.recv(1 << 16)
        connection.sendall(ALERT)

    flags = "--relay-proxy-ca-file", authority_file
    with Server(serve, port=PORT) as relay, through(f"https://{relay.host}:{PORT}", *flags) as gateway:
        message = told(gateway)
        assert "does not speak TLS as it should" in message and "relay-proxy =" not in message


@pytest.mark.parametrize("then", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_one_that_opened_tunnels_is_not_doubted(then):
    said = [OPEN, then]
    serve = lambda connection: playing(said.pop(0), *([echo] if len(said) else []))(connection)  # noqa: E731
    with Server(serve, port=PORT) as relay, through(f"http://{relay.host}:{PORT}") as gateway:
        opens(gateway)
        sock, _head = gateway.ask(TARGET)
        sock.close()
        assert "relay-proxy =" not in gateway.wait_for(status=502)["message"]


def test_what_is_advised_works(authority, authority_file):
    """A real one that terminates TLS, in front of a real one that does not."""
    with Server(echo, port=443) as target, Squid({NAME: target.host}) as squid:
        host = address()
        pem = authority.issue_cert(host).private_key_and_cert_chain_pem.bytes()
        with Haproxy(squid.place, pem, host=host) as haproxy:
            flags = "--relay-proxy-ca-file", authority_file
            for wrong in (f"http://{haproxy.place}", f"https://{squid.place}"):
                with through(wrong, *flags) as gateway:
                    right = advised(told(gateway))
                with through(right, *flags) as gateway:
                    opens(gateway)


def test_an_unknown_name_says_that_names_are_absolute():
    with Dns({}) as dns, through("http://proxy:3128", *dns.flags) as gateway:
        assert "there is no such name; check the name and the DNS server (dns-server); names are absolute" in told(
            gateway
        )
        why = until(lambda: asked(gateway, "/status")["relay_proxies"][0]["why"])
        assert why == "it cannot be reached; its name is not known (names are absolute)"


def test_a_dns_server_that_is_not_there_knows_nothing_of_names():
    with through("http://proxy:3128", "--dns-server", address()) as gateway:
        assert "names are absolute" not in told(gateway)


def test_one_that_wants_a_user_agent_opens():
    def serve(connection):
        fields = [line.partition(b": ") for line in read_head(connection).split(b"\r\n")]
        agents = [value for name, _colon, value in fields if name == b"User-Agent"]
        good = len(agents) == 1 and re.fullmatch(rb"ogw/[0-9.]+", agents[0])
        connection.sendall(OPEN if good else b"HTTP/1.1 403 No\r\n\r\n")
        echo(connection)

    with Server(serve, port=PORT) as relay, through(f"http://{relay.host}:{PORT}") as gateway:
        with gateway.connect() as sock:
            sock.sendall(f"CONNECT {TARGET} HTTP/1.1\r\nUser-Agent: of the client\r\n\r\n".encode())
            assert read_exactly(sock, len(OPEN)) == OPEN


ODD = {
    "bare line feeds": b"Via: 1.1 a\nX: y\n",
    "a line that is continued": b"X: y\r\n z\r\n",
    "blanks before the colon": b"Via : 1.1 a\r\n",
    "no colon": b"Proxy established\r\n",
    "control characters": b"X: \x00\x01\x1b\x7f\r\n",
    "no ASCII": b"X-F\xfcr: \xe4\xff\r\n",
    "many lines": b"X: y\r\n" * 10_000,
}


@pytest.mark.parametrize("case", ODD)
def test_a_200_whose_other_lines_are_odd_opens_and_loses_no_byte(case):
    whole = b"HTTP/1.1 200 OK\r\n" + ODD[case] + b"\r\nfirst\n"
    with Server(playing(whole, echo), port=PORT) as relay, through(f"http://{relay.host}:{PORT}") as gateway:
        with gateway.tunnel(TARGET, rest=b"second") as sock:
            assert read_exactly(sock, 12) == b"first\nsecond"


@pytest.mark.parametrize("end", [b"\n", b"X: y\n\n", b"X: y\r\r\n", b" \r\n"])
def test_a_200_whose_end_is_not_clear_opens_nothing(end):
    with Server(playing(b"HTTP/1.1 200 OK\r\n" + end, until_closed), port=PORT) as relay:
        with through(f"http://{relay.host}:{PORT}") as gateway:
            assert "is no HTTP proxy" in told(gateway)


def test_a_407_whose_other_lines_are_odd_is_still_about_credentials():
    said = b"HTTP/1.1 407 Who?\r\nrubbish\r\nProxy-Authenticate : Basic\nX\x01: y\r\n\r\n"
    with Server(playing(said), port=PORT) as relay, through(f"http://{relay.host}:{PORT}") as gateway:
        assert "answers 407 (Basic) and wants credentials" in told(gateway)
