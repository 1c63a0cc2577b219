"""How a list is downloaded: which way, by which names, and what no server and no relay proxy can do to a gateway."""

import contextlib
import pathlib
import subprocess
import sys
import threading

import pytest
from harness.admin import ask
from harness.dns import SILENT, Dns
from harness.gateway import ROOT, Gateway, address, free_port
from harness.lists import ListServer, say
from harness.netns import Namespace
from harness.peers import peer
from harness.relays import PORT, Haproxy, Squid, playing
from harness.upstreams import Server

NAME = "lists.bench.example"
OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"


@pytest.fixture
def server(authority):
    with ListServer(authority, name=NAME) as server:
        yield server


@pytest.fixture
def start(authority_file, tmp_path):
    def start(*flags, **more):
        words = ["--state-dir", str(tmp_path / "state"), "--source-timeout", "3s", *flags]
        return Gateway(*words, environment={"SSL_CERT_FILE": authority_file}, **more)

    return start


def failed(gateway):
    return gateway.wait_for(event=301)["message"]


# The way there.


def test_the_dns_servers_of_the_settings_are_asked(start, server):
    with Dns({NAME: [server.host]}) as dns:
        with start("--allowed-host-source", server.url, *dns.flags) as gateway:
            assert gateway.wait_for(event=111)["count"] == 1
        assert {name for name, _kind in dns.asked} == {NAME}


def test_a_server_with_an_ipv6_address_is_asked_by_it(start, authority):
    port = free_port("::1")
    with ListServer(authority, name="::1", host="::1", port=port) as server:
        with start("--allowed-host-source", f"https://[::1]:{port}/hosts.txt") as gateway:
            assert gateway.wait_for(event=111)["count"] == 1
        assert f"\r\nHost: [::1]:{port}\r\n" in server.heads[0]


def test_a_server_beside_the_gateway_on_the_same_port_is_reached(start, authority):
    with ListServer(authority, port=8080) as server:
        with start("--allowed-host-source", server.url) as gateway:
            assert gateway.wait_for(event=111)["count"] == 1


def test_a_name_that_is_not_there_and_a_dns_server_that_is_silent_are_told(start, server):
    with Dns({}) as dns, start("--allowed-host-source", server.url, *dns.flags) as gateway:
        assert f"{NAME}:443: {NAME}: " in failed(gateway) and "(dns-server)" in failed(gateway)
    with Dns({NAME: SILENT}) as dns, start("--allowed-host-source", server.url, *dns.flags) as gateway:
        said = failed(gateway)
        # Whose patience ends first, that of the dial or that of the question, is a matter of luck.
        assert NAME in said and "dns-server)" in said and ("no answer for" in said or "does not answer" in said)


def test_search_domains_are_not_used_and_etc_hosts_comes_first(tmp_path):
    resolv_conf = "nameserver 127.0.0.1\nsearch evil.test\noptions ndots:5\n"
    with Namespace(tmp_path, resolv_conf, "127.0.0.1 localhost\n127.0.4.4 in-hosts.example\n") as namespace:
        dnsmasq = [peer("dnsmasq"), "--no-daemon", "--no-resolv", "--no-hosts", "--log-facility=-", "--user=root",
                   "--pid-file", "--address=/evil.test/127.0.6.6", "--address=/in-hosts.example/127.0.5.5"]  # fmt: skip
        process = subprocess.Popen(
            [*namespace.command, *dnsmasq],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            assert any("started" in line for line in iter(process.stdout.readline, ""))
            for name, words in {"missing.example": "missing.example: ", "in-hosts.example": "127.0.4.4: "}.items():
                flags = ["--allowed-host-source", f"https://{name}/hosts.txt", "--state-dir", str(tmp_path)]
                with Gateway(*flags, listen="127.0.0.1", command=namespace.command) as gateway:
                    told = failed(gateway)
                    assert words in told and "127.0.6.6" not in told and "127.0.5.5" not in told, told
        finally:
            process.kill()
            process.communicate()


@pytest.mark.parametrize("place", [f"{NAME}:8443", "[2001:db8::1]:8443", NAME, "192.0.2.1:444"])
def test_a_relay_proxy_is_asked_as_for_a_tunnel(start, place):
    heads = []
    with Server(playing(b"HTTP/1.1 403 No\r\n\r\n", heads=heads), port=PORT) as relay:
        flags = [
            "--allowed-host-source",
            f"https://{place}/hosts.txt",
            "--relay-proxy",
            f"http://u:p@{relay.host}:{PORT}",
        ]
        with start(*flags) as gateway:
            assert "no connection through the relay proxy: " in failed(gateway) and "403 (Forbidden)" in failed(gateway)
    whole = place if place[-1].isdigit() else f"{place}:443"
    lines = heads[0].decode().split("\r\n")
    assert lines[:2] == [f"CONNECT {whole} HTTP/1.1", f"Host: {whole}"]
    assert "Proxy-Authorization: Basic dTpw" in lines and any(line.startswith("Via: 1.1 ogw-") for line in lines)
    assert any(line.startswith("User-Agent: ogw/") for line in lines)


def test_an_encrypted_relay_proxy_will_do(start, authority, authority_file, server):
    leaf = authority.issue_cert("relay.bench.example")
    with (
        Squid({NAME: server.host}) as squid,
        Haproxy(squid.place, leaf.private_key_and_cert_chain_pem.bytes()) as haproxy,
    ):
        with Dns({"relay.bench.example": [haproxy.host]}) as dns:
            flags = [*dns.flags, "--relay-proxy", f"https://relay.bench.example:{PORT}"]
            with start("--allowed-host-source", server.url, *flags, "--relay-proxy-ca-file", authority_file) as gateway:
                assert gateway.wait_for(event=111)["count"] == 1


def one_byte_a_moment(text):
    def drip(connection):
        with contextlib.suppress(OSError):
            for byte in text * 1000:
                connection.sendall(bytes([byte]))
                if threading.Event().wait(0.05):  # a slow peer is what this is about
                    return

    return drip


def until_closed(connection):
    with contextlib.suppress(OSError):
        while connection.recv(1 << 16):
            pass


RELAYS = {
    "closes": ([], "closed"),
    "another protocol": ([b"SSH-2.0-x\r\n"], "is no HTTP proxy"),
    "a head without an end": ([b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, until_closed], "answers too much"),
    "interim answers without an end": ([b"HTTP/1.1 103 Hm\r\n\r\n" * 1000, until_closed], "interim answers"),
    "half an answer": ([b"HTTP/1.1 200 OK\r\nX:"], "in the middle of its answer"),
    "silence": ([until_closed], "did not answer within"),
    "a byte a moment": ([one_byte_a_moment(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100)], "did not answer within"),
    "silence behind it": ([OPEN, until_closed], "no whole answer within 3 s (source-timeout)"),
    "no TLS behind it": ([OPEN + b"HTTP/1.1 200 OK\r\n\r\n"], ""),
}


@pytest.mark.parametrize("case", RELAYS)
def test_a_relay_proxy_that_plays_is_told_in_time(start, case):
    said, words = RELAYS[case]
    with Server(playing(*said), port=PORT) as relay:
        flags = ["--allowed-host-source", f"https://{NAME}/", "--relay-proxy", f"http://{relay.host}:{PORT}"]
        with start(*flags) as gateway:
            assert words in failed(gateway)
            assert "ended without a result" not in failed(gateway) and "hung" not in failed(gateway)


def test_a_relay_proxy_that_is_silent_leaves_its_turn_to_the_next(start, server):
    with Server(until_closed, port=PORT) as dead, Squid({NAME: server.host}) as squid:
        relays = ["--relay-proxy", f"http://{dead.host}:{PORT}", "--relay-proxy", f"http://{squid.place}"]
        with start("--allowed-host-source", server.url, *relays) as gateway:
            assert gateway.wait_for(event=111)["count"] == 1


# What comes.


def endless(piece):
    def serve(tls, _head):
        with contextlib.suppress(OSError):
            while True:
                tls.sendall(piece)

    return serve


def chunked(size):
    def serve(tls, head):
        with contextlib.suppress(OSError):
            tls.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\n")
            endless(b"#" * 65536)(tls, head)

    return serve


ANSWERS = {
    "a chunk of size -1": (chunked(b"-1"), "larger than 1048576 bytes"),
    "a chunk of size -5": (chunked(b"-5"), "not proper HTTP"),
    "a chunk of no size": (chunked(b"x"), "not proper HTTP"),
    "a huge chunk": (chunked(b"f" * 16), "larger than 1048576 bytes"),
    "an endless line": (endless(b"#" * 65536), "not proper HTTP"),
    "interim answers without an end": (endless(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000), "larger than"),
    "trailers without an end": (
        lambda tls, head: (
            tls.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"),
            endless(b"X: y\r\n" * 10_000)(tls, head),
        ),
        "larger than 1048576 bytes",
    ),
    "headers without an end": (
        lambda tls, head: (tls.sendall(b"HTTP/1.1 200 OK\r\n"), endless(b"X: y\r\n" * 1000)(tls, head)),
        "not proper HTTP",
    ),
    "a redirect to no URL": (lambda tls, head: say(tls, 302, b"", "Location: https://["), "redirects to 'https://["),
    "a redirect to no host": (lambda tls, head: say(tls, 302, b"", "Location: https:///"), "more than 5 redirects"),
    "a redirect to a strange port": (
        lambda tls, head: say(tls, 302, b"", "Location: https://a.example:99999/"),
        "redirects to 'https://a.example:99999/'",
    ),
    "a redirect to a file": (lambda tls, head: say(tls, 302, b"", "Location: file:///etc/passwd"), "not https://"),
    "a negative length": (
        lambda tls, head: tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\na.example"),
        "neither how long it is nor where it ends",
    ),
    "a time that UTC does not have": (
        lambda tls, head: say(tls, 200, b"a.example\nb.example until=9999-12-31T23:59:59-01:00\n"),
        "hosts.txt:2: host rule",
    ),
    "a note for terminals": (
        lambda tls, head: say(tls, 200, b'b.example note="\x1b[2J"'),
        "hosts.txt:1: host rule",
    ),
    "gzip": (lambda tls, head: say(tls, 200, b"\x1f\x8b" * 100, "Content-Encoding: gzip"), "compressed"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_what_is_no_list_leaves_the_last_good_one_in_force_and_stops_nothing(start, server, tmp_path, case):
    answer, words = ANSWERS[case]
    with Dns({NAME: [server.host]}) as dns:
        flags = [*dns.flags, "--allowed-host-source", server.url]
        slow = ["--source-timeout", "60s"] if "larger" in words else []  # to come to the end of what is read
        with start(*flags, *slow) as gateway:
            gateway.wait_for(event=111)
            server.answer = answer
            reloaded = ask(gateway, "/reload", "POST")
            assert reloaded[0] == 200
            assert words in failed(gateway) and "the last good list stays in force" in failed(gateway)
            assert ask(gateway, "/reload", "POST")[0] == 200
            assert not gateway.events(400) and not gateway.events(401)
        checking = ["check", "--allowed-host-source", server.url, "--state-dir", tmp_path / "state"]
        checked = subprocess.run(
            [sys.executable, "-m", "ogw", *checking],
            cwd=ROOT, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert checked.returncode == 0 and "fine: 1 allowed host" in checked.stdout, checked
        with start(*flags) as gateway:
            assert words in failed(gateway)
    assert not [path for path in (tmp_path / "state" / "lists").iterdir() if path.name.startswith(".")]


# The copy.


def spoil_with(text):
    """A copy that is whole, of a list that an older version took."""

    def spoil(path, url):
        script = (
            "import sys; from ogw.settings.elsewhere.copies import *; "
            "write_copy(sys.argv[1], Copy(sys.argv[2], '', '', 1.0, sys.argv[3].encode()))"
        )
        subprocess.run([sys.executable, "-c", script, path.parent.parent, url, text], cwd=ROOT, check=True, timeout=60)

    return spoil


SPOILED = {
    "cut": lambda path, url: path.write_bytes(path.read_bytes()[:-1]),
    "empty": lambda path, url: path.write_bytes(b""),
    "brackets": lambda path, url: path.write_bytes(b"[" * 100_000),
    "no text": lambda path, url: path.write_bytes(b"\xff\xfe" * 1000),
    "large": lambda path, url: path.write_bytes(b"x\n" * 2_000_000),
    "a folder": lambda path, url: (path.unlink(), path.mkdir(), (path / "x").touch()),
    "a link to itself": lambda path, url: (path.unlink(), path.symlink_to(path)),
    "a link to a device": lambda path, url: (path.unlink(), path.symlink_to("/dev/zero")),
    "a wrong time": spoil_with("a.example until=9999-12-31T23:59:59-01:00\n"),
    "a wrong rule": spoil_with("*\n"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_copy_that_cannot_be_used_is_set_aside_with_one_event_and_fetched_anew(start, server, tmp_path, case):
    with Dns({NAME: [server.host]}) as dns:
        flags = [*dns.flags, "--allowed-host-source", server.url]
        with start(*flags) as gateway:
            gateway.wait_for(event=111)
        (copy,) = (tmp_path / "state" / "lists").iterdir()
        SPOILED[case](copy, server.url)
        server.answer = (500, b"")
        with start(*flags) as gateway:
            told = failed(gateway)
            assert told.startswith(f"{server.url}: its last good copy cannot be used: ")
            aside = pathlib.Path(told.rpartition("it was set aside as ")[2])
            assert aside.name.endswith(".unusable") and aside.is_symlink() | aside.exists() and not copy.exists()
            why = "the server answered 500 Internal Server Error; there is no good list of it yet"
            gateway.wait_for(event=301, message=f"{server.url}: {why}")
            server.answer = None
            assert ask(gateway, "/reload", "POST")[0] == 200
            assert gateway.wait_for(event=111)["count"] == 1
            gateway.wait_for(event=109, changed=["allowed-host-source"])
            assert len(gateway.events(301)) == 2 and copy.is_file()
        with start(*flags) as gateway:
            assert not any("copy cannot be used" in str(line) for line in gateway.lines)


def test_a_download_waits_for_nobody_who_keeps_a_connection(start):
    """A server that never says a word, not even of TLS."""
    with Server(until_closed) as mute:
        with start("--allowed-host-source", f"https://{mute.host}/", "--source-timeout", "1s") as gateway:
            assert "no whole answer within 1 s (source-timeout)" in failed(gateway)
    with start("--allowed-host-source", f"https://{address()}/") as gateway:
        assert "Connection refused" in failed(gateway)
