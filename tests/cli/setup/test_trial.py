"""A relay proxy is tried with the gateway's own client for CONNECT and its own resolver."""

import contextlib
import shutil
import threading
import time

import pytest
from harness.askers import Offering
from harness.commands import ogw
from harness.dns import Dns
from harness.gateway import address
from harness.relays import PORT, Haproxy, Squid, playing
from harness.upstreams import Server, echo

from ogw.cli.edit.relay_trial import ask_all, told, try_all
from ogw.cli.setup import trial
from ogw.cli.setup.answers import Answers
from ogw.cli.setup.place import Place
from ogw.cli.setup.trial import config_of
from ogw.service.offer import target_for

OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"


@pytest.fixture
def place(tmp_path):
    """Where an INI file may be written."""
    (tmp_path / "etc" / "ogw").mkdir(parents=True)
    return Place(str(tmp_path), False, None)


def asked(url, answers, place):
    """What one says that is asked without credentials."""
    answers.values["relay-proxy"] = [url]
    (one,) = ask_all(config_of(answers, place))
    return told(one)


def tried(url, answers, place):
    """The same of one that is tried with them, since it wants some."""
    answers.values["relay-proxy"] = [url]
    config = config_of(answers, place)
    (verdict,) = try_all(config, ask_all(config))
    return verdict.sentence


def ini(place, *lines):
    with open(place.ini, "w", encoding="utf-8") as file:
        file.write("\n".join(["[ogw]", *lines, ""]))


@pytest.mark.parametrize("target", ["[2001:db8::1]:8443", "www.example.com:443"])
def test_it_is_asked_as_for_a_tunnel(place, target):
    heads = []
    with Server(playing(b"HTTP/1.1 103 Hm\r\n\r\n" + OPEN, echo, heads=heads), port=PORT) as relay:
        answers = Answers({"allowed-host": [target]}, "u", "p")
        assert f"opens a tunnel to {target} without" in asked(f"http://{relay.host}:{PORT}", answers, place)
    (head,) = heads
    lines = head.decode().split("\r\n")
    assert lines[:2] == [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    assert b"Authorization" not in head and any(line.startswith("User-Agent: ogw/") for line in lines)


def test_who_wants_credentials_gets_them_once(place):
    with Offering("Basic realm=x", takes="u:p") as relay:
        assert tried(relay.url, Answers({}, "u", "p"), place).endswith("opens a tunnel to www.example.com:443 (Basic)")
        assert "answers 407" in tried(relay.url, Answers({}, "u", "other"), place)
    assert relay.shown == ["Basic dTpw", "Basic dTpvdGhlcg=="]


def test_the_dns_servers_and_the_authorities_of_the_ini_file_count(place, authority, authority_file):
    leaf = authority.issue_cert("relay.bench.example")
    with Server(echo) as server, Squid({"www.example.com": server.host}) as squid:
        with Haproxy(squid.place, leaf.private_key_and_cert_chain_pem.bytes()) as haproxy:
            with Dns({"relay.bench.example": [haproxy.host]}) as dns:
                words = f"https://relay.bench.example:{PORT}", Answers(), place
                ini(place, f"dns-server = {dns.host}:{dns.port}")
                assert "is not to be trusted" in asked(*words)
                with open(authority_file, "rb") as file, open(f"{place.root}/etc/ogw/ca.pem", "wb") as copy:
                    copy.write(file.read())
                ini(place, f"dns-server = {dns.host}:{dns.port}", "relay-proxy-ca-file = ca.pem")
                assert "opens a tunnel" in asked(*words)


def test_what_the_command_line_of_a_set_up_names_counts_too(place, authority, authority_file):
    leaf = authority.issue_cert("relay.bench.example")
    with Server(echo) as server, Squid({"www.example.com": server.host}) as squid:
        with Haproxy(squid.place, leaf.private_key_and_cert_chain_pem.bytes()) as haproxy:
            with Dns({"relay.bench.example": [haproxy.host]}) as dns:
                shutil.copy(authority_file, f"{place.root}/etc/ogw/ca.pem")
                done = ogw(
                    "setup", "--yes", "--root", place.root, "--service", "no", "--firewall", "no",
                    "--allowed-host", "www.example.com", "--relay-proxy", f"https://relay.bench.example:{PORT}",
                    "--relay-proxy-ca-file", "ca.pem", "--dns-server", f"{dns.host}:{dns.port}",
                )  # fmt: skip
    assert "opens a tunnel to www.example.com:443" in done.stdout, done.stderr
    assert done.returncode == 0


def drip(connection):
    with contextlib.suppress(OSError):
        while True:
            connection.sendall(b"H")
            time.sleep(0.02)  # a slow peer is what this is about


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ([b"SSH-2.0-x\r\n"], "is no HTTP proxy"),
        ([b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000], "answers too much"),
        ([], "closed"),
        ([b"HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic\r\n\r\n"], "wants credentials, and offers Basic"),
        ([b"HTTP/1.1 200 OK\r\nX", drip], "did not answer within 1 s"),
    ],
)
def test_what_a_bad_one_says(place, monkeypatch, said, words):
    monkeypatch.setattr(trial, "SECONDS", 1.0 if drip in said else 20.0)
    with Server(playing(*said), port=PORT) as relay:
        assert words in asked(f"http://{relay.host}:{PORT}", Answers(), place)
    assert "3128 cannot be reached: Connection refused" in asked(f"http://{address()}:3128", Answers(), place)


@pytest.mark.parametrize(
    ("rule", "target"),
    [
        ("2001:db8::1", "[2001:db8::1]:443"),
        ("[2001:db8::1]:8443", "[2001:db8::1]:8443"),
        ("a.example:8443 note=x", "a.example:8443"),
        ("192.0.2.1", "192.0.2.1:443"),
    ],
)
def test_the_target_that_it_is_tried_with(place, rule, target):
    answers = Answers(values={"allowed-host": [rule], "relay-proxy": ["http://127.0.0.1:1"]})
    assert str(target_for(config_of(answers, place), 0)) == target


def test_a_trial_gives_a_relay_that_drips_its_time_as_a_whole(place, monkeypatch):
    monkeypatch.setattr(trial, "SECONDS", 1.0)
    is_over = threading.Event()

    def drip(connection):
        while not is_over.wait(0.1):  # each byte comes in time
            connection.sendall(b"x")

    with Server(playing(b"HTTP/1.1 200 OK\r\nX: ", drip), port=PORT) as relay:
        limit = threading.Timer(20, is_over.set)
        limit.start()
        assert "did not answer within 1 s" in asked(f"http://{relay.host}:{PORT}", Answers(), place)
        assert not is_over.is_set()
        is_over.set()
        limit.cancel()


def test_whoever_thinks_it_over_between_two_trials_gets_the_whole_time_for_the_second(place, monkeypatch):
    monkeypatch.setattr(trial, "SECONDS", 2.0)
    with Server(playing(OPEN, echo), port=PORT) as relay:
        assert "opens a tunnel" in asked(f"http://{relay.host}:{PORT}", Answers(), place)
        time.sleep(2.1)  # the operator, while the loop stands still
        assert "opens a tunnel" in asked(f"http://{relay.host}:{PORT}", Answers(), place)
