"""`ogw explain` and `ogw check` of relay proxies that speak SOCKS 5: who resolves the name, and what cannot be said."""

import json

import pytest
from harness.commands import ogw
from harness.dns import Dns

NAME = "www.bench.example"


@pytest.fixture(scope="module")
def dns():
    with Dns({NAME: ["192.0.2.7", "10.0.0.1"]}) as running:
        yield running


def explained(dns, *urls, flags=()):
    listed = [word for url in urls for word in ("--relay-proxy", url)]
    rule = ("--allowed-host", f"{NAME} to=192.0.2.0/24")
    return ogw("explain", NAME, *rule, *listed, *dns.flags, *flags)


def test_the_guard_is_in_force_where_names_are_resolved_here(dns):
    done = explained(dns, "socks5://p.example")
    assert done.returncode == 0 and "the name is looked up here" in done.stdout
    told = json.loads(explained(dns, "socks5://p.example", flags=("--json",)).stdout)
    assert told["way"]["through"] == "relay proxy" and told["way"]["resolved_here"] is True
    assert {one["address"]: one["allowed"] for one in told["addresses"]} == {"192.0.2.7": True, "10.0.0.1": False}
    # It is so whichever of several is asked.
    assert json.loads(explained(dns, "http://q.example", "socks5://p.example", flags=("--json",)).stdout)["addresses"]


def test_it_is_not_where_the_proxy_resolves_them(dns):
    done = explained(dns, "socks5h://p.example")
    assert done.returncode == 0 and "where the address guard does not see it" in done.stdout
    told = json.loads(explained(dns, "socks5h://p.example", flags=("--json",)).stdout)
    assert told["way"]["resolved_here"] is False and told["addresses"] == []


def test_entries_for_other_targets_do_not_matter(dns):
    told = json.loads(explained(dns, "http://q.example", f"socks5://p.example for=a.{NAME}", flags=("--json",)).stdout)
    assert told["way"]["resolved_here"] is False


def test_what_the_guard_refuses_is_refused_and_what_would_allow_it_is_said():
    with Dns({NAME: ["10.0.0.1"]}) as dns:
        told = json.loads(explained(dns, "socks5://p.example", flags=("--json",)).stdout)
    assert (told["decision"], told["reason"]) == ("refused", "address-not-allowed")
    assert "to=10.0.0.0/8" in told["command"] or "to=10.0.0.1" in told["command"]


LONG = "x" * 256


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--relay-proxy", "socks5://:b@p.example"), "the user name is empty, which SOCKS 5 cannot carry"),
        (("--relay-proxy", "socks5h://a@p.example"), "the password is empty, which SOCKS 5 cannot carry"),
        (("--relay-proxy", f"socks5h://a:{LONG}@p.example"), "more than 255 bytes, which SOCKS 5 cannot carry"),
        (
            ("--relay-proxy", "socks5://p.example", "--relay-proxy-username", "a"),
            "relay proxies that speak SOCKS: the password is empty",
        ),
        (
            ("--relay-proxy", "socks5://p.example", "--relay-proxy-username", "a", "--relay-proxy-password", LONG),
            "relay proxies that speak SOCKS: the user name or the password has more than 255 bytes",
        ),
        (("--relay-proxy", "socks4://p.example"), "none of http://, https://, socks5:// and socks5h://"),
    ],
)
def test_what_cannot_be_said_over_socks_is_told_at_once(flags, says):
    done = ogw("check", *flags)
    assert done.returncode == 2 and says in done.stderr, done.stderr
    assert LONG not in done.stderr


@pytest.mark.parametrize(
    "url", ["http://p.example", "socks5://u:s3cret@p.example", "socks5h://u:s3cret@p.example for=a.example"]
)
def test_what_is_set_for_others_matters_only_where_it_is_said(url):
    done = ogw("check", "--relay-proxy", url, "--relay-proxy-username", "a")
    assert done.returncode == 0, done.stderr
    shown = ogw("config", "show", "--relay-proxy", url)
    assert "s3cret" not in shown.stdout + shown.stderr
