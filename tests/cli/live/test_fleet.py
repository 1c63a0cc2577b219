"""`ogw fleet status`: many gateways in one table, each row true whatever answers there; the exit code is the answer."""

import json
import socket
import ssl
import threading
import time
from functools import partial

import pytest
from harness.admin import ask
from harness.commands import ogw
from harness.gateway import ALLOW, Gateway, address, read_head
from harness.issued import Issued, another_authority
from harness.upstreams import Server, echo, swallow

from ogw.cli.live.fleet import asked_all, findings
from ogw.cli.live.fleet_answer import parse_url, silent

TOKEN = "0123456789abcdef"


def fleet(*words):
    """(exit code, the answer as JSON, what was said beside it)"""
    done = ogw("fleet", "status", "--json", *words)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def why(url, *words):
    """Why nothing is known of it."""
    code, answer, _told = fleet(url, "--timeout", "2", *words)
    assert code == 1
    return answer["gateways"][0]["why"]


@pytest.fixture(scope="module")
def pair():
    """Two gateways with the same policy: their URLs, and they."""
    places = [address(), address()]
    with Gateway(*ALLOW, "--admin-address", places[0]) as one, Gateway(*ALLOW, "--admin-address", places[1]) as other:
        yield [f"http://{place}:9180" for place in places], [one, other]


def test_two_that_are_alike_and_ready_are_well(pair):
    urls, _gateways = pair
    done = ogw("fleet", "status", *urls)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("2 gateways, all ready, with the same version and policy\n")
    heading, first, second = done.stdout.splitlines()[:3]
    assert heading.split() == ["gateway", "version", "policy", "ready", "tunnels", "refused", "reloaded", "lists"]
    assert first.split()[0] == urls[0] and second.split()[1:] == first.split()[1:]


def test_a_row_says_what_the_gateway_says_of_itself(pair):
    urls, gateways = pair
    with Server(echo) as upstream, gateways[0].tunnel(upstream.target):
        gateways[0].ask("www.example.com:443")[0].close()
        assert ogw("reload", "--run-dir", gateways[0].run_dir).returncode == 0
        _code, answer, _told = fleet(urls[0])
        (row,) = answer["gateways"]
        status = json.loads(ask(gateways[0], "/status")[2])
    assert (row["version"], row["policy"]) == (status["version"], status["policy"])
    assert (row["tunnels"], row["refused"], row["ready"], row["why"]) == (1, 1, True, "")
    assert 0 <= row["reload_age"] < 300 and row["list_age"] is row["certificate"] is None


def test_another_policy_is_found_and_named(pair):
    urls, _gateways = pair
    place = address()
    with Gateway("--allowed-host", "www.example.com", "--admin-address", place) as odd:
        code, answer, _told = fleet(*urls, f"{place}:9180")
        (finding,) = answer["findings"]
        assert code == 1 and finding["gateways"] == [f"{place}:9180"]
        policies = [row["policy"] for row in answer["gateways"]]
        assert policies[0] == policies[1] != policies[2]
        assert f"{policies[0]} ({urls[0]}, {urls[1]}); {policies[2]} ({place}:9180)" in finding["what"]
        done = ogw("fleet", "status", *urls, f"{place}:9180")
        assert f"the policies differ: {policies[0]} (" in done.stdout and "`ogw reload`" in done.stdout
        # One that was taken out serves, and is not ready.
        assert ogw("ready", "--off", "--run-dir", odd.run_dir).returncode == 0
        _code, answer, _told = fleet(f"{place}:9180")
        assert answer["gateways"][0]["not_ready"] == "taken out by ogw ready --off"
        assert answer["findings"][0]["what"] == f"not ready: {place}:9180"


def test_tls_and_a_token(tmp_path, authority, authority_file):
    host = address()
    tokens = tmp_path / "tokens"
    Issued.put(tokens, f"{TOKEN}\n".encode())
    issued = Issued(tmp_path, authority, host)
    wrong = tmp_path / "wrong"
    Issued.put(wrong, b"fedcba9876543210\n")
    url = f"https://{host}"
    with Gateway(*ALLOW, "--admin-address", host, "--admin-token-file", str(tokens), *issued.flags):
        code, answer, _told = fleet(url, "--token-file", tokens, "--ca", authority_file)
        assert code == 0 and 0 < answer["gateways"][0]["certificate"] < 91 * 86400
        assert why(url, "--ca", authority_file) == "the gateway wants a token (401); give one with --token-file FILE"
        assert "the gateway does not accept this token (401)" in why(url, "--ca", authority_file, "--token-file", wrong)
        assert "the certificate is not trusted" in why(url, "--token-file", tokens)
        assert why(f"http://{host}") == "the gateway speaks TLS there; use https://"
        _code, _answer, told = fleet(f"http://{host}", "--token-file", tokens)
        assert "the token is sent over http://" in told and TOKEN not in told
        issued.renew(another_authority())


# Whatever else may answer there.


def saying(data, sock):
    read_head(sock)
    sock.sendall(data)


def for_ever(data, sock):
    read_head(sock)
    try:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        while True:
            sock.sendall(data)
            if len(data) < 100:
                time.sleep(0.1)
    except OSError:
        pass


def answer(kind, body, status="200 OK", more=""):
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


STRANGERS = {
    "a page in HTML": (partial(saying, answer("text/html", b"<!doctype html><p>Hello")), "a page in HTML"),
    "HTML that says it is text": (partial(saying, answer("text/plain", b"\n<html>")), "a page in HTML"),
    "a redirect": (
        partial(saying, answer("text/plain", b"", "302 Found", "Location: http://127.0.0.1/\r\n")),
        "is a redirect",
    ),
    "nothing there": (partial(saying, answer("text/plain", b"", "404 Not Found")), "the answer to /metrics is 404"),
    "metrics of another program": (partial(saying, answer("text/plain", b"up 1\n")), "not those of a gateway"),
    "no metrics at all": (
        partial(saying, answer("text/plain", b'{"a": "b", [}\n\xff')),
        "not metrics but something else",
    ),
    "numbers beyond all": (
        partial(
            saying,
            answer(
                "text/plain",
                b'ogw_build_info{version="1"} 1\nogw_tunnels_active{a="1"} 1e308\n'
                b'ogw_tunnels_active{a="2"} 1e308\nogw_source_fetched_time_seconds 1e308\n'
                b"ogw_admin_certificate_expiry_time_seconds 1e308\nogw_reload_time_seconds 1e-300\n",
            ),
        ),
        "",
    ),
    "another protocol": (partial(saying, b"SSH-2.0-OpenSSH_9.2\r\n"), "speaks no HTTP there"),
    "an end without a word": (lambda sock: read_head(sock), "speaks no HTTP there"),
    "a word before anybody asked": (lambda sock: sock.sendall(b"220 mail ESMTP\r\n"), "speaks no HTTP there"),
    "a flood": (partial(for_ever, b"x" * 65536), "more than 4194304 bytes"),
    "a drip": (partial(for_ever, b"x"), "no answer within 2 s"),
    "silence": (lambda sock: read_head(sock) and sock.recv(1), "no answer within 2 s"),
}


@pytest.mark.parametrize("stranger", STRANGERS)
def test_each_stranger_has_a_sentence_of_its_own(stranger):
    behave, told = STRANGERS[stranger]
    with Server(behave) as server:
        assert told in why(f"http://{server.target}")
        done = ogw("fleet", "status", "--timeout", "2", f"http://{server.target}")
        assert done.returncode == 1 and done.stderr == ""


def test_nobody_there_no_such_name_and_no_tls_have_theirs(pair):
    with socket.create_server((address(), 0)) as closed:
        place = ":".join(map(str, closed.getsockname()))
    assert why(place) == "the gateway cannot be reached: Connection refused"
    assert "cannot be reached: " in why("http://nowhere.invalid")
    with Server(lambda sock: sock.recv(1 << 16) and sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        assert "speaks no TLS there" in why(f"https://{server.target}")
    assert "speaks no TLS there; use http://" in why(pair[0][0].replace("http:", "https:"))
    with Server(swallow) as server:
        assert "no TLS handshake within 2 s" in why(f"https://{server.target}")


def test_no_escape_sequence_reaches_the_terminal():
    exposition = (
        b'ogw_build_info{version="\x1b[2J1.0"} 1\nogw_policy_info{policy="\x1b]0;x\x07"} 1\nogw_tunnels_active NaN\n'
    )
    with Server(partial(saying, answer("text/plain", exposition))) as server:
        done = ogw("fleet", "status", f"http://{server.target}")
    assert done.returncode == 1 and "\x1b" not in done.stdout and "\\x1b[2J1.0" in done.stdout


def test_one_that_hangs_keeps_nobody_waiting_longer_than_its_time(pair):
    urls, _gateways = pair
    with Server(lambda sock: sock.recv(1 << 16) and sock.recv(1)) as server:
        began = time.monotonic()
        code, told, _said = fleet(*urls, *(f"http://{server.target}/{n}" for n in range(50)), "--timeout", "2")
        assert code == 1 and time.monotonic() - began < 60
    assert [bool(row["why"]) for row in told["gateways"]] == [False, False, *[True] * 50]


def test_asks_so_many_at_a_time_and_leaves_behind_who_takes_too_long():
    asking, most = [], []
    release = threading.Event()

    def ask_it(gateway):
        asking.append(gateway)
        most.append(len(asking))
        if gateway == "hangs":
            release.wait(60)
        asking.remove(gateway)
        return silent(gateway, f"of {gateway}")

    told = asked_all(["hangs", *map(str, range(20))], ask_it, 0.1, at_a_time=3)
    release.set()
    assert max(most) <= 4 and told[0]["why"] == "no answer within 0.1 s"
    assert [one["why"] for one in told[1:]] == [f"of {number}" for number in range(20)]


# What is asked for.


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "name gateways"),
        (("ftp://gateway",), "ftp://gateway: this is no URL of a gateway"),
        (("http://",), "has no host"),
        (("http://admin:s3cret@gateway",), "http://(hidden)@gateway: this URL has a user name in it"),
        (("http://gateway:99999",), "Port out of range"),
        (("http://gateway?token=s3cret",), "http://gateway?(hidden): this URL has more than a path"),
        (("--file", "/nowhere"), "/nowhere: No such file"),
        (("gateway", "--ca", "/nowhere"), "--ca: /nowhere: No such file"),
        (("gateway", "--ca", "/dev/null"), "--ca: /dev/null"),
        (("gateway", "--token-file", "/etc/passwd"), "--token-file: /etc/passwd: every user of this machine can read"),
        (("gateway", "--timeout", "0"), "is no number of seconds"),
        (("gateway", "--timeout", "nan"), "is no number of seconds"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_says_why(words, told):
    done = ogw("fleet", "status", *words)
    assert done.returncode == 2 and told in done.stderr and done.stdout == "", done
    assert "s3cret" not in done.stderr


def test_a_gateway_is_asked_once_however_its_url_is_spelled(pair):
    urls, _gateways = pair
    first = urls[0].removeprefix("http://")
    code, told, _said = fleet(urls[0], f"{urls[0]}/", first, f"HTTP://{first}", urls[1], f"{urls[0]}/other")
    assert code == 1 and [row["gateway"] for row in told["gateways"]] == [*urls, f"{urls[0]}/other"]
    done = ogw("fleet", "status", "--timeout", "0.1", "127.0.0.9", "http://127.0.0.9:9180/", "--json")
    assert len(json.loads(done.stdout)["gateways"]) == 1


def test_urls_come_from_a_file_too_each_once(tmp_path, pair):
    urls, _gateways = pair
    file = tmp_path / "gateways"
    file.write_text(f"# all of them\n{urls[0]}\r\n\n  {urls[1]}   # the other\n{urls[0]}\n")
    code, told, _said = fleet("--file", file, urls[0])
    assert code == 0 and [row["gateway"] for row in told["gateways"]] == urls
    file.write_text("gateway\nhttp://:1\n")
    done = ogw("fleet", "status", "--file", file)
    assert done.returncode == 2 and f"{file}:2: http://:1: this URL has no host" in done.stderr


def test_a_url_is_read_as_it_is_meant():
    assert parse_url("gateway").geturl() == "http://gateway"
    assert parse_url("https://[::1]:9180/").hostname == "::1"


def test_half_against_half_is_about_all_of_them():
    rows = [
        {**silent(str(number), ""), "version": "1", "policy": "ab"[number % 2], "ready": True} for number in range(4)
    ]
    (finding,) = findings(rows)
    assert sorted(finding.gateways) == ["0", "1", "2", "3"]
    many = [{**silent(str(number), ""), "version": "1", "policy": "a", "ready": False} for number in range(9)]
    assert findings(many)[0].what == "not ready: 0, 1, 2, 3, 4 and 4 more gateways"


def test_a_certificate_is_verified_with_the_systems_authorities_by_default(tmp_path, authority):
    host = address()
    with Gateway(*ALLOW, "--admin-address", host, *Issued(tmp_path, authority, host).flags):
        assert "the certificate is not trusted" in why(f"https://{host}")
    assert ssl.create_default_context().verify_mode is ssl.CERT_REQUIRED


def test_a_certificate_of_other_names_is_said_to_be_that(tmp_path, authority, authority_file):
    """No authority helps."""
    host = address()
    with Gateway(*ALLOW, "--admin-address", host, *Issued(tmp_path, authority, "other.example.com").flags):
        told = why(f"https://{host}", "--ca", authority_file)
        assert "IP address mismatch" in told and "--ca" not in told and told[-1] == "'"
