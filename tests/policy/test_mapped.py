"""IPv4 written inside IPv6 (::ffff:192.0.2.1) is that IPv4 address or network, wherever one is read."""

from ipaddress import ip_network

import pytest
from harness.edits import Edited
from harness.gateway import Gateway
from harness.upstreams import Server, echo

from ogw.policy.hosts import Policy
from ogw.policy.networks import parse_network
from ogw.policy.rules import parse_rules
from ogw.settings.loader import load
from ogw.wire.connect import parse_target

CLIENT = "198.51.100.9"


def rules(text, denied=False):
    read, mistakes = parse_rules(text, "ogw.ini:3", denied)
    assert mistakes == []
    return read


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1/32"),
        ("[::FFFF:c000:201]", "192.0.2.1/32"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::/0", "::/0"),
        ("::/80", "::/80"),
        ("::fffe:0:0/95", "::fffe:0:0/95"),
        ("::192.0.2.1", "::192.0.2.1/128"),
        ("64:ff9b::192.0.2.1", "64:ff9b::192.0.2.1/128"),
    ],
)
def test_a_network_of_mapped_addresses_is_one_of_ipv4(text, network):
    assert parse_network(text) == ip_network(network)


def test_its_mistakes_show_the_network_that_is_right():
    for text, says in (("::ffff:10.1.2.3/112", "; 10.1.0.0/16 is the"), ("::ffff:10.0.0.0/129", "from 0 to 128")):
        with pytest.raises(ValueError, match=says):
            parse_network(text)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:8443", "192.0.2.1:8443"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("[::ffff:192.0.2.0/120]:8443", "192.0.2.0/24:8443"),
        ("a.example from=::ffff:10.1.0.0/112 from=10.1.0.0/16", "a.example from=10.1.0.0/16"),
        ("a.example to=::ffff:10.1.2.3", "a.example to=10.1.2.3/32"),
    ],
)
def test_both_spellings_are_one_rule(written, meant):
    assert rules(written) == rules(meant) and str(rules(written)[0]) == meant


@pytest.mark.parametrize("rule", ["192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.0/120"])
def test_a_rule_in_either_spelling_covers_the_target_in_either(rule):
    for asked in (b"192.0.2.1:443", b"[::ffff:192.0.2.1]:443"):
        target = parse_target(asked)
        assert Policy(rules(rule)).judge_target(target, CLIENT).allowed
        assert not Policy(rules("0.0.0.0/0\n::/0"), rules(rule, True)).judge_target(target, CLIENT).allowed
        assert not Policy(rules("0.0.0.0/0\n::/0"), rules(rule, True)).judge_address(target.host, 443, CLIENT).allowed
    assert not Policy(rules(rule)).judge_target(parse_target(b"[::192.0.2.1]:443"), CLIENT).allowed


def test_a_denial_is_for_a_client_in_either_spelling():
    for source in ("::ffff:198.51.100.9", "::ffff:198.51.100.0/120"):
        policy = Policy(rules("a.example"), rules(f"a.example from={source}", True))
        for client in (CLIENT, f"::ffff:{CLIENT}"):
            assert not policy.judge_target(parse_target(b"a.example:443"), client).allowed
        assert policy.judge_target(parse_target(b"a.example:443"), "192.0.2.9").allowed


def test_every_list_of_networks_takes_them_so():
    names = ("allowed-client", "allowed-target-network", "proxy-protocol-from")
    config = load([word for name in names for word in (f"--{name}", "::ffff:10.1.0.0/112")], {})
    for found in (config.allowed_client, config.allowed_target_network, config.proxy_protocol_from):
        assert found == (ip_network("10.1.0.0/16"),)
    assert config.policy.judge_client("10.1.2.3").allowed
    assert config.policy.judge_address("10.1.2.3", 443, CLIENT).allowed
    assert not config.policy.judge_address("10.2.2.3", 443, CLIENT).allowed


def test_every_ipv6_address_is_not_every_ipv4_address():
    assert not Policy(rules("a.example"), clients=[parse_network("::/0")]).judge_client(CLIENT).allowed
    assert not Policy(rules("::/0")).judge_target(parse_target(b"192.0.2.1:443"), CLIENT).allowed
    assert Policy(rules("::/0")).judge_target(parse_target(b"[::ffff:192.0.2.1]:443"), CLIENT).allowed


def test_commands_add_and_remove_them_by_either_spelling(tmp_path):
    file = Edited(
        tmp_path, "[ogw]\nallowed-client = ::ffff:10.1.2.3\ndenied-host = a.example from=::ffff:10.0.0.0/104\n"
    )
    assert "is there already" in file.told("allowed-client", "add", "10.1.2.3")
    assert "is there already" in file.told("denied-host", "add", "a.example from=10.0.0.0/8")
    file.done("allowed-client", "remove", "10.1.2.3")
    file.done("denied-host", "remove", "a.example", "from=10.0.0.0/8")
    assert file.text == "[ogw]\n"


def test_a_gateway_denies_and_lets_in_who_is_written_so():
    with Server(echo) as server, Server(echo) as denied:
        flags = ["--allowed-host", server.host, "--allowed-host", denied.host, "--allowed-port", server.port]
        flags += ["--allowed-port", denied.port, "--allowed-target-network", "::ffff:127.0.0.0/104"]
        flags += ["--denied-host", f"[::ffff:{denied.host}]:{denied.port} from=::ffff:127.0.0.1"]
        with Gateway(*map(str, flags), "--allowed-client", "::ffff:127.0.0.1") as gateway:
            gateway.tunnel(server.target).close()
            for target in (denied.target, f"[::ffff:{denied.host}]:{denied.port}"):
                refused, head = gateway.ask(target)
                refused.close()
                assert b" 403 " in head and b"host-not-allowed" in head
