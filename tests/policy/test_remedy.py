"""The command that lets pass what was refused: never wider than what was asked for, and safe to paste."""

import shlex

import pytest

from ogw.policy.hosts import Policy
from ogw.policy.remedy import Asked, command_for
from ogw.policy.rules import parse_rules
from ogw.wire.connect import parse_target

ENDED = "until=2020-01-01T00:00:00Z"
ENDS, SOONER = "until=2098-01-01T00:00:00Z", "until=2097-01-01T00:00:00Z"


def command(reason, target, allowed="", denied="", client="198.51.100.9", addresses=(), flags=""):
    rules, denied_rules = parse_rules(allowed, "f:1")[0], parse_rules(denied, "f:2", denied=True)[0]
    return command_for(Policy(rules, denied_rules), Asked(reason, client, target, addresses), flags)


@pytest.mark.parametrize(
    ("reason", "target", "told"),
    [
        ("host-not-allowed", "a.example:443", "ogw allowed-host add a.example --reload"),
        ("host-not-allowed", "a.example:8443", "ogw allowed-host add a.example:8443 --reload"),
        (
            "host-not-allowed",
            "[2a00::1]:8443",
            "ogw allowed-host add '[2a00::1]:8443 no-server-name' --reload",
        ),
        ("host-not-allowed", "$(reboot):443", None),
        ("host-not-allowed", "", None),
        ("port-not-allowed", "a.example:22", "ogw allowed-host add a.example:22 --reload"),
        ("address-not-allowed", "a.example:443", None),
        ("server-name-missing", "a.example:443", "ogw allowed-host add 'a.example no-server-name' --reload"),
        ("dns-error", "a.example:443", None),
        ("too-many-tunnels", "", None),
    ],
)
def test_it_is_safe_to_paste(reason, target, told):
    assert command(reason, target) == told


@pytest.mark.parametrize(
    ("client", "shown"), [("10.0.0.1", "10.0.0.1"), ("fe80::1%eth0", "fe80::1"), ("::ffff:10.0.0.1", "10.0.0.1")]
)
def test_a_client_is_told_as_the_settings_take_it(client, shown):
    told = command("client-not-allowed", "", client=client)
    assert told == f"ogw config add allowed-client {shown} --reload"
    told = command("host-not-allowed", "a.example:443", "a.example from=192.0.2.0/24", client=client)
    assert told == f"ogw allowed-host add 'a.example from={shown}' --reload"


@pytest.mark.parametrize(
    ("allowed", "denied", "addresses", "told"),
    [
        ("a.example", "", ["10.1.2.3"], "ogw allowed-host add 'a.example to=10.1.2.3' --reload"),
        ("a.example", "", ["10.1.2.3", "203.0.113.1"],
         "ogw allowed-host add 'a.example to=10.1.2.3 to=203.0.113.1' --reload"),
        ("a.example", "", ["fd00::1"], "ogw allowed-host add 'a.example to=fd00::1' --reload"),
        ("a.example", "", ["64:ff9b::a01:203"], "ogw allowed-host add 'a.example to=64:ff9b::a01:203' --reload"),
        ("a.example to=10.0.0.0/8", "10.0.0.0/8", ["10.1.2.3"], "ogw denied-host remove 10.0.0.0/8 --reload"),
        ("a.example", "10.0.0.0/8", ["10.1.2.3"],
         "ogw denied-host remove 10.0.0.0/8 && ogw allowed-host add 'a.example to=10.1.2.3' --reload"),
        ("a.example", "10.0.0.0/8, 10.1.0.0/16", ["64:ff9b::a01:203"],
         "ogw denied-host remove 10.0.0.0/8 10.1.0.0/16 && "
         "ogw allowed-host add 'a.example to=64:ff9b::a01:203' --reload"),
        ("a.example from=198.51.100.0/24", "", ["10.1.2.3"],
         "ogw allowed-host add 'a.example from=198.51.100.9 to=10.1.2.3' --reload"),
        (f"a.example, a.example to=10.0.0.0/8 {ENDED}", "", ["10.1.2.3"],
         "ogw allowed-host add 'a.example to=10.1.2.3' --reload"),
        (f"a.example {ENDS}, a.example {SOONER}", "", ["10.1.2.3"],
         f"ogw allowed-host add 'a.example to=10.1.2.3 {ENDS}' --reload"),
        (f"a.example {ENDS}, a.example", "", ["10.1.2.3"],
         "ogw allowed-host add 'a.example to=10.1.2.3' --reload"),
    ],
)  # fmt: skip
def test_addresses_are_named_one_by_one(allowed, denied, addresses, told):
    assert command("address-not-allowed", "a.example:443", allowed, denied, addresses=addresses) == told


def test_the_gateway_is_named_in_each_of_two_commands():
    told = command("host-not-allowed", "a.example:443", "", "a.example", flags=" --config /own.ini")
    first, second = told.split(" && ")
    assert first == "ogw denied-host remove a.example --config /own.ini"
    assert second == "ogw allowed-host add a.example --config /own.ini --reload"


@pytest.mark.parametrize("source", ["--denied-host", "OGW_DENIED_HOST"])
def test_no_command_removes_what_stands_in_no_file(source):
    denied = parse_rules("a.example", source, denied=True)[0] + parse_rules("a.example", "f:2", denied=True)[0]
    policy = Policy(parse_rules("a.example", "f:1")[0], denied)
    assert command_for(policy, Asked("host-not-allowed", "10.0.0.1", "a.example:443")) is None


TILL = frozenset({"san:till-17.shop.example", "cn:Till 17"})


@pytest.mark.parametrize(
    ("names", "allowed", "told"),
    [
        (TILL, "a.example from=cn:other", 'ogw allowed-host add \'a.example from="cn:Till 17"\' --reload'),
        (TILL, "a.example from=10.0.0.0/8", 'ogw allowed-host add \'a.example from="cn:Till 17"\' --reload'),
        (frozenset(), "a.example from=cn:other", "ogw allowed-host add 'a.example from=198.51.100.9' --reload"),
        (TILL, "b.example", "ogw allowed-host add a.example --reload"),
        (TILL, "a.example stage=canary", "ogw allowed-host add a.example --reload"),
        (frozenset({'cn:"', "san:x"}), "a.example from=cn:o", "ogw allowed-host add 'a.example from=san:x' --reload"),
        (frozenset({'cn:"'}), "a.example from=cn:o", "ogw allowed-host add 'a.example from=198.51.100.9' --reload"),
        (frozenset({"cn:" + "x" * 300}), "a.example from=cn:o",
         "ogw allowed-host add 'a.example from=198.51.100.9' --reload"),
        (TILL, 'a.example from="cn:Till 17"', None),
    ],
)  # fmt: skip
def test_a_client_with_a_certificate_is_allowed_by_a_name_of_it(names, allowed, told):
    asked = Asked("host-not-allowed", "198.51.100.9", "a.example:443", names=names)
    assert command_for(Policy(parse_rules(allowed, "f:1")[0]), asked) == told
    is_named = told is not None and "from=" in told and not told.endswith("from=198.51.100.9' --reload")
    asked = asked._replace(by_name=False)
    assert command_for(Policy(parse_rules(allowed, "f:1")[0]), asked) == (None if is_named else told)


@pytest.mark.parametrize("names", [TILL, frozenset(), frozenset({'cn:"'})])
def test_what_it_proposes_lets_the_client_pass_then(names):
    for allowed in ("b.example", "a.example from=cn:other", "a.example from=192.0.2.0/24", "a.example stage=canary"):
        asked = Asked("host-not-allowed", "198.51.100.9", "a.example:443", names=names)
        words = shlex.split(command_for(Policy(parse_rules(allowed, "f:1")[0]), asked))
        policy = Policy(parse_rules(f"{allowed}\n{words[3]}", "f:1")[0])
        assert policy.judge_target(parse_target(b"a.example:443"), asked.client, None, names).allowed
