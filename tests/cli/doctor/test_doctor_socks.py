"""`ogw doctor` and the set-up's trial, over relay proxies that speak SOCKS 5."""

import json

import pytest
from harness.commands import ogw
from harness.dns import Dns
from harness.gateway import address
from harness.socks import LOGIN, Dante, Speaking
from harness.tls import TlsServer
from harness.upstreams import Server, echo, server_context

from ogw.policy.decision import Reason
from ogw.service.offer import try_out
from ogw.settings.loader import load
from ogw.wire.connect import parse_target
from ogw.wire.relay_proxy import parse_relay_proxy

NAME = "www.bench.example"
USER, PASSWORD = "user-of-relay", "password-of-relay"


def examined(tmp_path, *words, **environment):
    flags = ("--allowed-host", NAME, "--allowed-target-network", "127.0.0.0/8", "--listen-address", address())
    flags += ("--admin-address", "", "--run-dir", str(tmp_path / "run"), "--dial-timeout", "5s")
    done = ogw("doctor", *flags, *words, "--json", **environment)
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)["findings"]


def one(findings, area):
    found = [each for each in findings if each["area"] == area]
    assert len(found) == 1, findings
    return found[0]


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_real_one_is_asked_with_the_credentials(scheme, authority, authority_file, tmp_path):
    with TlsServer(server_context(authority, NAME)) as server, Dns({NAME: [server.host]}) as dns:
        with Dante({NAME: server.host}, {"till": PASSWORD}) as relay:
            url = f"{scheme}://till:{PASSWORD}@{relay.place}"
            right = examined(tmp_path, *dns.flags, OGW_RELAY_PROXY=url, SSL_CERT_FILE=authority_file)
            url = f"{scheme}://till:wrong@{relay.place}"
            wrong = examined(tmp_path, *dns.flags, OGW_RELAY_PROXY=url, SSL_CERT_FILE=authority_file)
    proxy = one(right[1], "relay proxy")
    assert proxy["state"] == "ok" and f"opens a tunnel to {NAME}:443" in proxy["what"], right
    assert "with the credentials" in proxy["what"] and one(right[1], "hosts")["state"] == "ok"
    proxy = one(wrong[1], "relay proxy")
    assert (wrong[0], proxy["state"]) == (1, "problem") and "does not accept the user name" in proxy["what"]
    assert PASSWORD not in str((right, wrong))
    dns_found = one(right[1], "dns")["state"]
    assert dns_found == ("ok" if scheme == "socks5" else "untested")


@pytest.mark.parametrize(
    ("said", "state", "words"),
    [
        (dict(reply=b"\x05\x05"), "warning", "answers 5 (connection refused)"),
        (dict(reply=b"\x05\x02"), "warning", "answers 2 (not allowed)"),
        (dict(method=b"\x05\xff"), "problem", "lets nobody in so"),
        (dict(method=b"HTTP/1.1 400 Bad Request\r\n\r\n"), "problem", "try relay-proxy = http://"),
        (dict(method=LOGIN), "problem", "was not offered"),
    ],
)
def test_what_it_refuses_is_a_warning_and_what_it_is_not_a_problem(said, state, words, tmp_path):
    with Speaking(**said) as relay:
        _code, findings = examined(tmp_path, "--relay-proxy", f"socks5h://{relay.place}")
    found = one(findings, "relay proxy")
    assert found["state"] == state and words in found["what"]
    assert found["do"]


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_the_trial_of_the_set_up(scheme):
    with Server(echo, port=443) as upstream, Dns({NAME: [upstream.host]}) as dns, Speaking() as relay:
        proxy, target = parse_relay_proxy(f"{scheme}://{relay.place}"), parse_target(f"{NAME}:443".encode())
        config = load(["--allowed-host", NAME, "--allowed-target-network", "127.0.0.0/8", *dns.flags], {})
        assert try_out(config, proxy, target).failure is None
        said = relay.asked[0][-1]
        assert said[3:4] == (b"\x01" if scheme == "socks5" else b"\x03")
        relay.reply = b"\x05\x02"
        assert try_out(config, proxy, target).failure is Reason.RELAY_SOCKS_NOT_ALLOWED
