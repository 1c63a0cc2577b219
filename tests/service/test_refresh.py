"""Lists of host rules from an https server: what is taken, what is refused and why, and what a refresh costs nobody."""

import contextlib
import errno
import os
import pathlib
import time

import pytest
import trustme
from harness.admin import ask
from harness.gateway import Gateway, address, read_exactly
from harness.lists import ListServer, say
from harness.peers import without_privileges
from harness.relays import Squid, Tinyproxy
from harness.waiting import until

from ogw.report.metrics import CELLS
from ogw.service.refresh import Refresh
from ogw.settings.loader import load

ALLOW = ("--allowed-target-network", "127.0.0.0/8")


@pytest.fixture
def server(authority):
    with ListServer(authority) as server:
        yield server


@pytest.fixture
def start(authority_file, tmp_path):
    """Starts gateways that share a state-dir."""

    def start(*flags, **more):
        environment = {"SSL_CERT_FILE": authority_file}
        return Gateway(
            *ALLOW,
            "--state-dir",
            str(tmp_path / "state"),
            "--log-level",
            "debug",
            *flags,
            environment=environment,
            **more,
        )

    return start


def status(gateway, target):
    sock, head = gateway.ask(target)
    sock.close()
    return int(head.split()[1])


def refused(gateway):
    """Why the last download was not taken."""
    return gateway.wait_for(event=301)["message"]


def test_a_list_is_downloaded_after_the_start_and_changes_are_taken_without_a_dropped_tunnel(start, server, upstream):
    server.body = f"# ours\n{upstream.host}\n".encode()
    with start("--allowed-host-source", server.url, "--source-refresh", "1s", "--workers", "2") as gateway:
        first = gateway.wait_for(event=111)
        assert (first["source"], first["count"], first["rules_added"], first["rules_removed"]) == (server.url, 1, 1, 0)
        reloaded = gateway.wait_for(event=109)
        assert reloaded["changed"] == ["allowed-host-source"] and reloaded["old_policy"] != reloaded["policy"]
        with gateway.tunnel(upstream.target) as sock:
            server.body = b"b.example\nc.example until=2099-01-01T00:00:00Z\n"
            gateway.wait_for(event=109, old_policy=reloaded["policy"])
            assert gateway.wait_for(event=111, rules_added=2)["rules_removed"] == 1
            assert status(gateway, upstream.target) == 403
            sock.sendall(b"still here")
            assert read_exactly(sock, 10) == b"still here"


@pytest.mark.parametrize("etag", [True, False], ids=["ETag", "Last-Modified"])
def test_what_has_not_changed_is_not_sent_again_and_is_told_at_level_debug_alone(start, authority, etag):
    with ListServer(authority, etag=etag) as server:
        with start("--allowed-host-source", server.url, "--source-refresh", "1s") as gateway:
            told = gateway.wait_for(event=111, level="debug")
            assert (told["count"], told["rules_added"], told["rules_removed"]) == (1, 0, 0)
            until(lambda: len(server.heads) >= 3)
            assert len(gateway.events(109)) == 1
        field = "If-None-Match" if etag else "If-Modified-Since"
        assert field not in server.heads[0] and all(field in head for head in server.heads[1:])


def test_the_last_good_copy_is_in_force_at_once_after_a_restart_without_the_network(start, server, upstream, tmp_path):
    server.body = upstream.host.encode()
    with start("--allowed-host-source", server.url) as gateway:
        gateway.wait_for(event=109)
    server.answer = lambda tls, head: None
    with start("--allowed-host-source", server.url, "--source-timeout", "1s") as gateway:
        assert status(gateway, upstream.target) == 200
        assert "without an answer" in refused(gateway)
        assert status(gateway, upstream.target) == 200
        assert not gateway.events(109)
    copies = list((tmp_path / "state" / "lists").iterdir())
    assert len(copies) == 1 and copies[0].stat().st_mode & 0o077 == 0
    copies[0].write_bytes(copies[0].read_bytes()[:-1])
    with start("--allowed-host-source", server.url) as gateway:
        assert status(gateway, upstream.target) == 403
        told = "its copy cannot be used: it is damaged; the gateway fetches it anew"
        gateway.wait_for(event=100, message=f"allowed-host-source: {server.url}: {told}")


def large(tls, _head):
    tls.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _piece in range(100):
        tls.sendall(b"100000\r\n" + b"#" * (1 << 20) + b"\r\n")


def drip(tls, _head):
    tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    with contextlib.suppress(OSError):
        for _second in range(300):
            tls.sendall(b"#")
            time.sleep(0.05)  # a slow peer is what this is about


def silence(tls, _head):
    tls.settimeout(20)
    with contextlib.suppress(OSError):
        tls.recv(1)


BAD = {
    "500": ((500, b"a.example"), "the server answered 500 Internal Server Error"),
    "404": ((404, b"a.example"), "the server answered 404 Not Found"),
    "HTML": ((200, b"<!DOCTYPE html><p>please log in</p>"), "a page in HTML"),
    "HTML by its type": (lambda tls, head: say(tls, 200, b"a.example", "Content-Type: text/html"), "a page in HTML"),
    "a wrong line": ((200, b"a.example\n*\nb.example\n"), ":2: host rule '*'"),
    "not UTF-8": ((200, b"a.example\n\xff\n"), ":2: not a text in UTF-8"),
    "an empty list": ((200, b"\n# nothing\n"), "the list has no host rule in it"),
    "nothing": ((200, b""), "the list has no host rule in it"),
    "too large": (large, "larger than 1048576 bytes (source-max-size)"),
    "too large by its length": (
        lambda tls, head: tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n"),
        "larger than 1048576 bytes",
    ),
    "no end": (lambda tls, head: say(tls, 200, b"a.example", length=False), "neither how long it is nor where it ends"),
    "cut": (
        lambda tls, head: tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\na.example"),
        "the answer ended after 9 of 100 bytes",
    ),
    "cut in a chunk": (
        lambda tls, head: tls.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\na.example"),
        "not proper HTTP (IncompleteRead)",
    ),
    "compressed": (
        lambda tls, head: say(tls, 200, b"\x1f\x8b", "Content-Encoding: gzip"),
        "compressed",
    ),
    "not HTTP": (lambda tls, head: tls.sendall(b"SSH-2.0-x\r\n\r\n"), "not proper HTTP"),
    "a close": (lambda tls, head: None, "closed the connection without an answer"),
    "silence": (silence, "no whole answer within 1 s (source-timeout)"),
    "a slow drip": (drip, "no whole answer within 1 s (source-timeout)"),
    "a redirect to http": (
        lambda tls, head: say(tls, 302, b"", "Location: http://a.example/hosts.txt?sig=secret"),
        "redirects to 'http://a.example/hosts.txt?(hidden)': it is not https://",
    ),
    "a redirect to nowhere": (lambda tls, head: say(tls, 302), "more than 5 redirects"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_list_changes_nothing_and_says_why(start, server, upstream, case):
    answer, words = BAD[case]
    server.body = upstream.host.encode()
    with start("--allowed-host-source", server.url, "--source-timeout", "1s") as gateway:
        gateway.wait_for(event=109)
        server.answer = answer
        ask(gateway, "/reload", "POST")
        told = gateway.wait_for(event=301)
        assert words in told["message"] and told["message"].startswith(f"{server.url}: "), told["message"]
        assert f"{server.url}: {server.url}: " not in told["message"], told["message"]
        assert "the last good list stays in force" in told["message"] and "secret" not in told["message"]
        assert status(gateway, upstream.target) == 200
        until(lambda: len(gateway.children) == 2)
        server.answer = None
        ask(gateway, "/reload", "POST")
        back = gateway.wait_for(event=111, level="info", rules_added=0)
        assert back["rules_removed"] == 0, "that it is back is told, too"
    assert len(gateway.events(301)) == 1


def test_a_304_that_nobody_asked_for_is_no_list(start, server):
    server.answer = (304, b"")
    with start("--allowed-host-source", server.url) as gateway:
        assert "the server answered 304" in refused(gateway)


def test_a_redirect_to_another_https_url_is_followed(start, server, authority):
    with ListServer(authority, b"moved.example\n") as other:
        server.answer = lambda tls, head: say(tls, 301, b"", f"Location: {other.url}")
        with start("--allowed-host-source", server.url) as gateway:
            assert gateway.wait_for(event=111)["source"] == server.url


def test_a_certificate_that_is_not_trusted_or_for_another_name_is_refused(start, authority):
    with ListServer(trustme.CA()) as server, start("--allowed-host-source", server.url) as gateway:
        assert "the certificate of the server is not trusted" in refused(gateway)
        assert "authorities of the system, or those in the file that SSL_CERT_FILE names" in refused(gateway)
    with ListServer(authority, name="www.other.example") as server:
        with start("--allowed-host-source", f"https://{server.host}/") as gateway:
            assert "the certificate of the server is not trusted: IP address mismatch" in refused(gateway)


def test_failures_are_a_line_then_silence(start):
    url = f"https://{address()}:9/"
    with start("--allowed-host-source", url, "--source-refresh", "1s") as gateway:
        assert "Connection refused" in refused(gateway) and "there is no good list of it yet" in refused(gateway)
        for _time in range(3):
            ask(gateway, "/reload", "POST")
            gateway.wait_for(event=109)
        until(lambda: len(gateway.children) == 2)
        assert gateway.stop() == 0
    assert len(gateway.events(301)) == 1


def test_a_state_folder_that_cannot_be_written_is_told(start, server, tmp_path):
    (tmp_path / "file").write_text("")
    with start("--allowed-host-source", server.url, "--state-dir", str(tmp_path / "file")) as gateway:
        assert "its copy cannot be kept" in refused(gateway) and str(tmp_path / "file") in refused(gateway)


def test_a_stop_ends_a_download_at_once_and_leaves_no_process(start, server):
    server.answer = silence
    with start("--allowed-host-source", server.url) as gateway:
        until(lambda: server.heads)
        assert len(gateway.children) == 3
        began = time.monotonic()
        assert gateway.stop() == 0
        assert time.monotonic() - began < 10


def test_the_query_of_a_url_is_sent_and_never_shown(start, server):
    with start("--allowed-host-source", f"{server.url}?sig=s3cret") as gateway:
        gateway.wait_for(event=109)
        assert "GET /hosts.txt?sig=s3cret HTTP/1.1" in server.heads[0]
        shown = ask(gateway, "/config")[2].decode() + pathlib.Path(f"/proc/{gateway.pid}/cmdline").read_text()
        assert "?(hidden)" in shown
    assert "s3cret" not in str(gateway.lines) + shown + str(gateway.stderr)


def test_a_download_goes_through_the_relay_proxy_with_its_credentials(start, authority, tmp_path):
    (tmp_path / "password").write_text("pa:ss")
    name = "lists.bench.example"
    with ListServer(authority, name=name) as server, Squid({name: server.host}, {"user": "pa:ss"}) as squid:
        relay = ("--relay-proxy", f"http://{squid.place}", "--allowed-host-source", server.url)
        known = ("--relay-proxy-username", "user", "--relay-proxy-password-file", str(tmp_path / "password"))
        with start(*relay, *known) as gateway:
            assert gateway.wait_for(event=111)["count"] == 1
        (tmp_path / "password").write_text("wrong")
        with start(*relay, *known) as gateway:
            told = refused(gateway)
            assert "no connection through the relay proxy: " in told
            assert f"relay proxy http://{squid.place} answers 407 (Basic) and does not accept" in told
            assert "wrong" not in str(gateway.lines)


def test_credentials_in_the_relay_proxys_url_and_a_bypass(start, server):
    with Tinyproxy("user", "secret") as proxy:
        with start(
            "--relay-proxy", f"http://user:secret@{proxy.place}", "--allowed-host-source", server.url
        ) as gateway:
            gateway.wait_for(event=111)
    dead = ("--relay-proxy", f"http://{address()}:3128", "--allowed-host-source", server.url)
    with start(*dead, "--relay-proxy-bypass", server.host) as gateway:
        assert gateway.wait_for(event=111)
    with start(*dead) as gateway:
        assert "through the relay proxy" in refused(gateway)
    with Tinyproxy("user", "secret") as proxy:
        with start(*dead, "--relay-proxy", f"http://user:secret@{proxy.place}") as gateway:
            gateway.wait_for(event=111)
            assert not gateway.events(301)


# Files.


def swap(folder, number, text):
    """As the kubelet does: a new folder with a time in its name, and ..data swapped over to it in one step."""
    new = folder / f"..2026_11_24_{number}"
    new.mkdir()
    (new / "hosts.txt").write_text(text)
    (folder / "..data_tmp").symlink_to(new.name)
    (folder / "..data_tmp").rename(folder / "..data")


def test_kubernetes_swap_of_a_mounted_list_is_taken_and_drops_no_tunnel(start, upstream, tmp_path):
    folder = tmp_path / "lists"
    folder.mkdir()
    swap(folder, 1, f"{upstream.host}\n")
    (folder / "hosts.txt").symlink_to("..data/hosts.txt")
    with start("--allowed-host-source", str(folder), "--workers", "2") as gateway:
        with gateway.tunnel(upstream.target) as sock:
            swap(folder, 2, "b.example\n")
            told = gateway.wait_for(event=109)
            assert told["changed"] == ["allowed-host-source"]
            assert status(gateway, upstream.target) == 403
            sock.sendall(b"still here")
            assert read_exactly(sock, 10) == b"still here"
            refusal = gateway.wait_for(event=105)
        assert upstream.host in refusal["message"]


def test_a_broken_file_keeps_the_policy_is_told_once_and_a_mended_one_is_taken(start, upstream, tmp_path):
    path = tmp_path / "hosts.txt"
    path.write_text(f"{upstream.host}\n")
    with start("--allowed-host-source", str(path)) as gateway:
        path.write_text(f"{upstream.host}\n*\n*.com\n")
        gateway.wait_for(event=401)
        assert status(gateway, upstream.target) == 200
        (tmp_path / "other").write_text("")
        path.write_text("b.example\n")
        gateway.wait_for(event=109)
        assert status(gateway, upstream.target) == 403
    told = [line["message"] for line in gateway.events(401)]
    assert len(told) == 2, "each mistake once: a file that does not change is not read again"
    assert all(f"{path}:{number}: host rule" in line for number, line in zip((2, 3), told, strict=True))


def test_a_file_that_was_made_readable_is_taken(start, upstream, tmp_path):
    path, fresh = tmp_path / "hosts.txt", tmp_path / "fresh"
    path.write_text("b.example\n")
    with start("--allowed-host-source", str(path), command=without_privileges()) as gateway:
        fresh.write_text(f"{upstream.host}\n")
        fresh.chmod(0)
        fresh.rename(path)
        assert "Permission denied" in gateway.wait_for(event=401)["message"]
        path.chmod(0o600)
        gateway.wait_for(event=109)
        assert status(gateway, upstream.target) == 200


def test_files_that_come_and_go_in_a_folder_and_the_agents_are_seen(start, tmp_path):
    lists, agent = tmp_path / "lists", tmp_path / "agent"
    lists.mkdir()
    agent.mkdir()
    with start("--allowed-host-source", str(lists), "--agent-config", str(agent)) as gateway:
        assert str(agent) in gateway.wait_for(event=300)["message"]
        (lists / "one.json").write_text('{"hosts": ["a.example", "b.example"], "by": "me"}')
        first = gateway.wait_for(event=109)
        assert first["changed"] == ["allowed-host-source"]
        until(lambda: len(gateway.events(300)) == 2)  # at every reload
        (agent / "omsadmin.conf").write_text("OMS_ENDPOINT=https://x.ods.opinsights.azure.com/a\n")
        second = gateway.wait_for(event=109, old_policy=first["policy"])
        assert second["changed"] == ["agent-config"]
        (lists / "one.json").unlink()
        gateway.wait_for(event=109, old_policy=second["policy"])
        assert len(gateway.events(300)) == 2


def test_with_nothing_to_watch_and_nothing_to_download_there_is_nothing_to_do(tmp_path):
    def aside(name, body):
        raise AssertionError("nothing is to be started")

    refresh = Refresh(load(["--preset", "azure-arc"], {}), None, aside, [0] * CELLS)
    assert refresh.next_time() is None and not refresh.work(time.monotonic() + 1e6)
    watching = Refresh(load(["--allowed-host-source", str(tmp_path)], {}), None, aside, [0] * CELLS)
    assert watching.next_time() <= time.monotonic() + 1


def test_a_process_that_cannot_be_started_is_told_and_tried_again_later():
    told = []

    class Told:
        def event(self, number, message, reason="", **fields):
            told.append((number, message))

    def aside(name, body):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    refresh = Refresh(
        load(["--allowed-host-source", "https://lists.example/", "--state-dir", "/nowhere"], {}),
        Told(),
        aside,
        [0] * CELLS,
    )
    now = time.monotonic()
    assert not refresh.work(now) and refresh.next_time() > now
    assert [number for number, _message in told] == [301]
    assert "the download cannot be started: Resource temporarily unavailable" in told[0][1]
    assert not refresh.work(now) and len(told) == 1


def test_the_download_child_holds_no_socket_of_the_gateway(start, server):
    server.answer = silence
    with start("--allowed-host-source", server.url) as gateway:
        until(lambda: server.heads)
        (child,) = set(gateway.children) - set(gateway.workers) - {gateway.admin}
        sockets = [
            link for link in pathlib.Path(f"/proc/{child}/fd").iterdir() if os.readlink(link).startswith("socket")
        ]
        assert len(sockets) == 1, "the connection to the server alone"


def test_a_stop_that_comes_while_a_new_list_is_taken_is_heard(start, server):
    for _time in range(5):
        server.body = f"{_time}.example\n".encode()
        with start("--allowed-host-source", server.url) as gateway:
            gateway.wait_for(event=111)  # the reload begins now
            assert gateway.stop(seconds=10) == 0
