"""`ogw explain` says what the running gateway does: the same decision, for the same reason."""

import json
import re
import shlex
import signal
import socket
import subprocess
import time

import pytest
from harness.commands import OGW, ROOT, clean, ogw
from harness.dns import NXDOMAIN, SERVFAIL, SILENT, Dns
from harness.gateway import Gateway, address, read_head
from harness.upstreams import Server, echo
from harness.waiting import until
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw.cli.ask.explanation import Explainer, connect_target
from ogw.cli.words import client_address
from ogw.settings.loader import load

NEAR, FAR, STRANGER = "127.50.1.1", "127.60.1.1", "127.70.1.1"  # clients
ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) [^:\r]*(?:: ([a-z-]+))?\r\n")
NOBODY_LISTENS = "connection-refused"  # what comes of a dial, which explain leaves out: the decision was to dial
PRIVATE = "127.99.7.7"  # where nobody listens

RULES = """
    www.example.com
    WWW.Example.NET.
    *.sub.example.com
    .both.example.com
    agent*.star.example.com
    port.example.com:8443
    ports.example.com
    ports.example.com:8443
    near.example.com from=127.50.0.0/16
    far.example.com:8443 from=127.60.0.0/16 from=127.50.1.1
    near.example.com:8443 from=127.60.0.0/16
    over.example.com until=2020-01-01T00:00:00Z
    alive.example.com until=2099-01-01T00:00:00Z
    renewed.example.com until=2020-01-01T00:00:00Z
    renewed.example.com from=127.50.0.0/16
    private.example.com to=127.99.0.0/16
    partly.example.com from=127.50.0.0/16 to=127.99.0.0/16
    partly.example.com
    guarded.example.com
    mixed.example.com
    missing.example.com
    broken.example.com
    empty.example.com
    silent.example.com
    mapped.example.com
    *.denied.example.com
    denied-later.example.com
    127.99.0.0/24 to=127.99.0.0/16
    127.88.0.0/16
    [::1]:8443
    10.0.0.0/8:443
    localhost
"""
DENIED = """
    bad.denied.example.com
    *.worse.denied.example.com
    port.denied.example.com:8443
    near.denied.example.com from=127.50.0.0/16
    over.denied.example.com until=2020-01-01T00:00:00Z
    denied-later.example.com until=2099-01-01T00:00:00Z
    127.99.0.5
    x*.denied.example.com
"""
HOSTS = (
    "www.example.com", "WwW.eXample.com.", "www.example.net", "example.com", "a.sub.example.com",
    "a.b.sub.example.com", "sub.example.com", "both.example.com", "a.both.example.com", "agent7.star.example.com",
    "agent.star.example.com", "other.star.example.com", "port.example.com", "ports.example.com", "near.example.com",
    "far.example.com", "over.example.com", "alive.example.com", "renewed.example.com", "private.example.com",
    "partly.example.com", "guarded.example.com", "mixed.example.com", "missing.example.com", "broken.example.com",
    "empty.example.com", "mapped.example.com", "a.denied.example.com", "bad.denied.example.com",
    "a.worse.denied.example.com", "port.denied.example.com", "near.denied.example.com", "over.denied.example.com",
    "denied-later.example.com", "xy.denied.example.com", "localhost", "127.99.0.4", "127.99.0.5", "127.88.0.1",
    "[::1]", "[::ffff:127.99.0.5]", "10.1.2.3", "[2001:db8::7]", "0x7f.1", "2130706433", "127.1",
)  # fmt: skip
TYPED = (
    "www.example.com", "https://www.example.com/", "www.example.com:0", "www.example.com:65536", ":443", "",
    "[::1]", "::1", "[::1", "user@www.example.com:443", "www.example.com:443 x", "www.example.com:443\r\nX",
    "bücher.example:443", "www..example.com:443", "*", "/", "www.example.com:", "a" * 300 + ":443", "127.1:443",
    "x" * 17000, "silent.example.com", "www.example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n", "%77ww.example.com:443",
    "www.example.com:0443", "\udce4.example",
)  # fmt: skip


class Names(dict):
    """What the DNS server knows; whatever the rules cover leads to the server, if nothing else is said."""

    def get(self, name, default=None):
        if name in self:
            return self[name]
        return [self.server] if name.endswith((".com", ".net")) else default


@pytest.fixture(scope="module")
def server():
    """Listens on ports 443 and 8443 of one address."""
    host = address()
    with Server(echo, port=443, host=host), Server(echo, port=8443, host=host):
        yield host


@pytest.fixture(scope="module")
def dns(server):
    names = Names(
        {
            "private.example.com": [PRIVATE],
            "partly.example.com": [PRIVATE],
            "guarded.example.com": ["10.1.2.3", "169.254.169.254", "fd00::7", "64:ff9b::7f00:1"],
            "mixed.example.com": ["10.1.2.3", server, "::1"],
            "missing.example.com": NXDOMAIN,
            "broken.example.com": SERVFAIL,
            "empty.example.com": [],
            "silent.example.com": SILENT,
            "mapped.example.com": [f"::ffff:{PRIVATE}"],
        }
    )
    names.server = server
    with Dns(names) as running:
        yield running


@pytest.fixture(scope="module")
def relay():
    """A relay proxy that lets everything pass."""

    def serve(connection):
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        echo(connection)

    with Server(serve, port=3128) as running:
        yield running


class Both:
    """A running gateway, and an explainer of the same flags. Use as a context manager."""

    def __init__(self, gateway, flags):
        self.gateway = gateway
        self.flags = flags
        self.explainer = Explainer(load(flags, {}))

    def __enter__(self):
        self.gateway.__enter__()
        return self

    def __exit__(self, *exception):
        self.explainer.close()
        self.gateway.__exit__(*exception)

    def answered(self, typed, client):
        """(status, reason) of the gateway's answer to this client."""
        head = b"CONNECT " + connect_target(typed) + b" HTTP/1.1\r\n\r\n"
        with socket.create_connection((self.gateway.address, 8080), 20, source_address=(client, 0)) as sock:
            sock.sendall(head)
            status, reason = ANSWER.match(read_head(sock)).groups()
        return (200, "allowed") if reason in (None, NOBODY_LISTENS.encode()) else (int(status), reason.decode())

    def explained(self, typed, client):
        told = self.explainer.explain(connect_target(typed), client)
        assert (told["decision"] == "allowed") == (told["reason"] == "allowed")
        if told["decision"] == "allowed":
            assert any(rule["decides"] for rule in told["rules"]) != bool(told["reported"])
        return told["status"], told["reason"]

    def assert_same(self, typed, client):
        answered, explained = self.answered(typed, client), self.explained(typed, client)
        assert explained == answered, (typed, client)
        return answered[1]


def started(dns, server, *more):
    where = address()
    flags = ["--allowed-host", RULES, "--denied-host", DENIED, *dns.flags, "--dns-timeout", "1500ms"]
    flags += ["--allowed-target-network", f"{server}/32", "--allowed-client", "127.50.0.0/16, 127.60.0.0/16, 127.0.0.1"]
    flags += more
    return Both(Gateway(*flags, listen=where), [*flags, "--listen-address", where, "--tls-rules", "off"])


@pytest.fixture(scope="module")
def straight(dns, server):
    with started(dns, server) as running:
        yield running


@pytest.fixture(scope="module")
def relayed(dns, server, relay):
    bypass = "*.denied.example.com, guarded.example.com, mixed.example.com:8443, near.example.com from=127.50.0.0/16"
    flags = ("--relay-proxy", relay.target, "--relay-proxy-bypass", f"{bypass}, missing.example.com")
    with started(dns, server, *flags) as running:
        yield running


@pytest.fixture(params=["straight", "relayed"])
def both(request):
    return request.getfixturevalue(request.param)


TABLE = [(f"{host}:{port}", client) for host in HOSTS for port in (443, 8443, 80) for client in (NEAR, FAR)]
TABLE += [(host, STRANGER) for host in HOSTS]
TABLE += [(typed, client) for typed in TYPED for client in (NEAR, STRANGER)]


def test_it_agrees_with_the_gateway_on_a_table_of_targets(both):
    assert len(TABLE) > 300
    seen = {}
    for typed, client in TABLE:
        reason = both.assert_same(typed, client)
        seen[reason] = seen.get(reason, 0) + 1
    expected = {"allowed", "client-not-allowed", "host-not-allowed", "port-not-allowed", "bad-target", "bad-request"}
    expected |= {"address-not-allowed", "dns-error", "head-too-large"}
    assert expected <= seen.keys()
    assert all(seen[reason] > 10 for reason in ("allowed", "client-not-allowed", "host-not-allowed"))


def test_it_agrees_on_a_name_that_no_dns_server_answers(straight):
    assert straight.assert_same("silent.example.com", NEAR) == "dns-timeout"


def test_it_agrees_on_the_gateway_itself(dns, server):
    with started(dns, server, "--allowed-host", "127.0.0.0/8:8080 to=127.0.0.0/8") as both:
        target = f"{both.gateway.address}:8080"
        assert both.assert_same(target, NEAR) == "address-not-allowed"
        told = both.explainer.explain(connect_target(target), NEAR)
        assert "this gateway itself" in told["detail"] and told["command"] is None


def test_it_agrees_while_the_policy_only_reports(dns, server):
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    with started(dns, server, "--policy-mode", "report", "--report-until", end) as both:
        for typed, client in TABLE:
            both.assert_same(typed, client)
        told = both.explainer.explain(connect_target("www.example.org:80"), NEAR)
        assert (told["reported"], told["reason"]) == ("host-not-allowed", "dns-error")
        done = explain(both, "www.example.com:80", "--client", NEAR)
        assert (
            done.returncode == 0
            and "the client would be refused, but passes, since policy-mode is report" in done.stdout
        )
        assert "to allow it     ogw allowed-host add www.example.com:80 --reload" in done.stdout
        assert explain(both, "www.example.com:80", "--client", NEAR, "--at", "2099-01-01T00:00:00Z").returncode == 1


LABELS = st.sampled_from(["a", "www", "agent", "agent7", "bad", "near", "x1", "-", "x" * 64, "sub", "worse", "ü", ""])
NAMES = st.builds(
    lambda labels, host, dot: ".".join([*labels, host]) + dot,
    st.lists(LABELS, max_size=3),
    st.sampled_from([host for host in HOSTS if host != "localhost"]),
    st.sampled_from(["", ".", "..", ":"]),
)
NUMBERS = st.one_of(
    st.ip_addresses(v=4, network="127.99.0.0/24").map(str),
    st.ip_addresses(v=4, network="10.0.0.0/8").map(str),
    st.ip_addresses(v=6).map(lambda one: f"[{one}]"),
    st.ip_addresses(v=4, network="127.99.0.0/28").map(lambda one: f"[::ffff:{one}]"),
    st.integers(0, 2**33).map(str),
)
PORTS = st.one_of(
    st.sampled_from(["", ":443", ":8443", ":80", ":0", ":08443"]), st.integers(0, 70000).map(":{}".format)
)
TEXTS = st.one_of(
    st.builds("{}{}".format, st.one_of(NAMES, NUMBERS), PORTS),
    st.text(max_size=40),
    st.binary(max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
)
CLIENTS = st.one_of(st.sampled_from([NEAR, FAR, STRANGER]), st.ip_addresses(v=4, network="127.50.0.0/15").map(str))


@settings(max_examples=min(4 * settings().max_examples, 400))
@given(typed=TEXTS, client=CLIENTS)
def test_it_agrees_on_random_targets_and_clients(straight, typed, client):
    straight.assert_same(typed, client)


@settings(max_examples=min(2 * settings().max_examples, 200))
@given(typed=TEXTS, client=CLIENTS)
def test_it_agrees_on_random_targets_behind_a_relay_proxy(relayed, typed, client):
    relayed.assert_same(typed, client)


def test_the_command_that_it_names_does_allow_the_target(both, server):
    tried = 0
    for typed, client in TABLE:
        told = both.explainer.explain(connect_target(typed), client)
        if told["command"] is None:
            continue
        commands = told["command"].replace("config add allowed-client", "client add").removesuffix(" --reload")
        flags = [*both.flags]
        for command in commands.split(" && "):
            program, noun, verb, value = shlex.split(command)
            assert program == "ogw"
            if verb == "remove":
                assert noun == "denied-host"
                flags[flags.index(DENIED)] = "\n".join(line for line in DENIED.split("\n") if line.strip() != value)
            else:
                flags += ["--allowed-client" if noun == "client" else "--allowed-host", value]
        explainer = Explainer(load(flags, {}))
        again = explainer.explain(connect_target(typed), client)
        explainer.close()
        # Behind one refusal there may be another one, but never the same.
        assert again["reason"] != told["reason"] or any(rule["list"] == "denied-host" for rule in told["rules"]), told
        tried += 1
    assert tried > 50


def explain(both, *words, **environment):
    return ogw("explain", *words, *both.flags, **environment)


@pytest.mark.parametrize(
    ("typed", "client"),
    [
        ("www.example.com", NEAR),
        ("bad.denied.example.com", FAR),
        ("guarded.example.com:443", NEAR),
        ("www.example.com:80", FAR),
        ("https://www.example.com/", NEAR),
        ("missing.example.com", NEAR),
        ("silent.example.com", NEAR),
        ("www.example.com", STRANGER),
    ],
)
def test_the_command_says_what_the_gateway_answers(straight, typed, client):
    status, reason = straight.answered(typed, client)
    # The gateway itself is asked, too: another one, of tests beside this, would have another policy.
    done = explain(straight, typed, "--client", client, "--json", OGW_RUN_DIR=straight.gateway.run_dir)
    told = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0 if status == 200 else 1, "")
    assert (told["status"], told["reason"], told["client"]) == (status, reason, client)
    shown = explain(straight, typed, "--client", client)
    assert shown.returncode == done.returncode
    assert ("allowed" if status == 200 else "refused") in shown.stdout.splitlines()[0]
    assert status == 200 or reason in shown.stdout


def test_it_names_every_rule_that_matches_and_where_it_stands(tmp_path):
    file = tmp_path / "ogw.ini"
    file.write_text(
        "[ogw]\nallowed-host =\n    *.example.com\n    www.example.com:8443\n    www.example.com from=10.1.0.0/16\n"
        "    www.example.com until=2020-01-01T00:00:00Z\ndenied-host = www.example.com\n"
    )
    words = ("explain", "www.example.com", "--config", str(file), "--denied-host", "x.example.com")
    told = json.loads(ogw(*words, "--json").stdout)
    assert [(rule["rule"], rule["source"], rule["obstacle"], rule["decides"]) for rule in told["rules"]] == [
        ("www.example.com", f"{file}:7", None, True),
        ("www.example.com:8443", f"{file}:4", "port", False),
        ("www.example.com from=10.1.0.0/16", f"{file}:5", "from", False),
        ("www.example.com until=2020-01-01T00:00:00Z", f"{file}:6", "until", False),
        ("*.example.com", f"{file}:3", None, False),
    ]
    assert told["command"] == f"ogw denied-host remove www.example.com --config {file} --reload"
    shown = ogw(*words).stdout
    for text in ("decides", "is for another port", "is for other clients", "has ended", "would allow it", f"{file}:7"):
        assert text in shown


def test_it_says_how_it_would_be_at_another_time():
    words = (
        "explain",
        "10.1.2.3",
        "--allowed-host",
        "10.1.2.3 to=10.0.0.0/8 until=2030-01-01T00:00:00Z no-server-name",
    )
    assert ogw(*words, "--at", "2029-12-31T23:59:59Z").returncode == 0
    ended = ogw(*words, "--at", "2030-01-01T01:00:00+01:00", "--json")
    assert ended.returncode == 1 and json.loads(ended.stdout)["at"] == "2030-01-01T00:00:00Z"


def test_it_says_what_the_tls_rules_will_ask():
    rules = ("--allowed-host", "10.1.2.3 to=10.0.0.0/8, 10.1.2.4 to=10.0.0.0/8 no-server-name")
    rules += ("--allowed-client-certificate", "CN=till-7", "--client-certificate-hosts", "10.1.2.4")
    told = json.loads(ogw("explain", "10.1.2.3", *rules, "--json").stdout)["tls"]
    assert (told["server_name"], told["or_none"], told["client_certificates"]) == (None, False, None)
    assert "no session can pass" in ogw("explain", "10.1.2.3", *rules).stdout
    told = json.loads(ogw("explain", "10.1.2.4", *rules, "--json", "--tls-min-version", "1.3").stdout)["tls"]
    assert (told["min_version"], told["or_none"], told["client_certificates"]) == ("TLS 1.3", True, ["CN=till-7"])
    assert told["unseen_client_certificate"] == "reject"
    assert "tls-rules = off" in ogw("explain", "10.1.2.3", *rules[:2], "--tls-rules", "off").stdout


def told_and_shown(*words):
    """The exit code, the answer as JSON, and as people see it, in a line."""
    done, shown = ogw("explain", *words, "--json"), ogw("explain", *words)
    assert done.returncode == shown.returncode
    return done.returncode, json.loads(done.stdout), " ".join(shown.stdout.split())


def test_an_address_that_no_session_can_pass_to_is_no_yes_and_the_command_makes_it_one(tmp_path):
    file = tmp_path / "ogw.ini"
    file.write_text("[ogw]\nallowed-host = 8.8.8.8\n")
    words = ("8.8.8.8", "--config", str(file))
    code, told, shown = told_and_shown(*words)
    assert (code, told["decision"], told["reason"], told["status"]) == (1, "rejected", "server-name-missing", 0)
    assert told["event"] == 106 and told["rules"][0]["decides"] and told["tls"] is not None
    assert told["command"] == f"ogw allowed-host add '8.8.8.8 no-server-name' --config {file} --reload"
    assert "8.8.8.8:443 allowed, but no session can pass for client" in shown
    assert "server-name-missing (the tunnel opens, and its TLS session is ended, event OGW-106)" in shown
    assert f"to allow it {told['command']}" in shown
    done = ogw(*shlex.split(told["command"])[1:-1])
    assert done.returncode == 0 and told_and_shown(*words)[:1] == (0,)


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (("--tls-rules", "report"), 0),
        (("--tls-rules", "off"), 0),
        (("--server-name", "allowed-hosts"), 1),
        (("--server-name", "allowed-hosts", "--allowed-host", "a.example"), 0),
    ],
)
def test_where_a_session_to_an_address_can_pass_it_is_a_yes(flags, code):
    assert told_and_shown("8.8.8.8", "--allowed-host", "8.8.8.8", *flags)[0] == code


def test_what_only_policy_mode_lets_pass_is_no_yes_either_where_no_session_can_pass():
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    code, told, _shown = told_and_shown("8.8.8.8", "--policy-mode", "report", "--report-until", end)
    assert (code, told["decision"], told["reported"]) == (1, "rejected", "host-not-allowed")
    assert told["command"].startswith("ogw allowed-host add '8.8.8.8 no-server-name'")


def test_client_certificates_that_no_session_lets_see_are_no_yes():
    rules = ("--allowed-host", "8.8.8.8 no-server-name", "--allowed-client-certificate", "CN=till-7")
    rules += ("--tls-min-version", "1.3")
    code, told, shown = told_and_shown("8.8.8.8", *rules)
    assert (code, told["decision"], told["reason"]) == (1, "rejected", "client-certificate-unseen")
    assert told["command"] is None and "unseen-client-certificate = allow" in shown
    for more in (("--unseen-client-certificate", "allow"), ("--client-certificate-hosts", "a.example")):
        assert told_and_shown("8.8.8.8", *rules, *more)[0] == 0
    assert told_and_shown("8.8.8.8", *rules[:-2])[0] == 0


def test_it_says_which_way_it_goes(relayed, relay):
    told = json.loads(explain(relayed, "www.example.com", "--client", NEAR, "--json").stdout)
    assert told["way"] == {
        "through": "relay proxy",
        "relay_proxies": [f"http://{relay.target}"],
        "named_by": [],
        "passing_by": [],
        "not_named": False,
        "bypass": None,
        "resolved_here": False,
    }
    assert told["addresses"] == []
    told = json.loads(explain(relayed, "near.example.com", "--client", NEAR, "--json").stdout)
    bypass = {"rule": "near.example.com from=127.50.0.0/16", "source": "--relay-proxy-bypass"}
    straight = {"through": "straight", "relay_proxies": [], "named_by": [], "passing_by": [], "not_named": False}
    assert told["way"] == {**straight, "bypass": bypass, "resolved_here": True}
    assert [one["allowed"] for one in told["addresses"]] == [True]


@pytest.mark.parametrize(
    ("words", "obstacle", "said"),
    [
        ("for=x.example,y.example until=2020-01-01T00:00:00Z", "until", "has ended"),
        ("for=x.example from=10.0.0.0/8", "from", "is for other clients"),
        ("for=x.example:8443", "port", "is for another port"),
    ],
)
@pytest.mark.parametrize("more", [(), ("--relay-proxy", "http://g.example:1")])
def test_it_says_which_entry_would_name_the_target_and_why_it_does_not(words, obstacle, said, more):
    flags = ("--allowed-host", "x.example", "--relay-proxy", f"http://a.example:3128 {words}", *more)
    (told,) = json.loads(ogw("explain", "x.example", *flags, "--json").stdout)["way"]["passing_by"]
    assert (told["relay_proxy"], told["source"], told["obstacle"]) == (
        "http://a.example:3128",
        "--relay-proxy",
        obstacle,
    )
    shown = " ".join(ogw("explain", "x.example", *flags).stdout.split())
    assert f"relay-proxy = http://a.example:3128 for={told['rule']} {said} --relay-proxy" in shown
    for beside in (("--relay-proxy-bypass", "x.example"), ("--relay-proxy", "http://a.example:3128 for=z.example")):
        way = json.loads(ogw("explain", "x.example", *flags, *beside, "--json").stdout)["way"]
        assert len(way["passing_by"]) == (0 if "--relay-proxy-bypass" in beside else 1)


def test_a_rule_of_an_entry_that_holds_leaves_nothing_to_say_of_its_others():
    flags = ("--allowed-host", "x.example", "--relay-proxy", "http://a.example:3128 for=x.example:8443,.x.example")
    way = json.loads(ogw("explain", "x.example", *flags, "--json").stdout)["way"]
    assert (len(way["named_by"]), way["passing_by"]) == (1, [])


def test_it_says_which_entry_names_the_target():
    entries = "http://a.example:3128 for=*.ods.example,.auto.example:8443, http://b.example:3128 for=x.ods.example"
    rules = ("--allowed-host", ".example.com:8443, *.ods.example, .auto.example", "--relay-proxy", entries)
    told = json.loads(ogw("explain", "x.ods.example", *rules, "--json").stdout)["way"]
    assert told["relay_proxies"] == ["http://a.example:3128", "http://b.example:3128"]
    assert told["named_by"][0] == {"relay_proxy": "http://a.example:3128", "rule": "*.ods.example",
                                   "source": "--relay-proxy"}  # fmt: skip
    shown = ogw("explain", "y.ods.example", *rules, "--relay-proxy", "http://g.example:1").stdout
    assert "through the relay proxy http://a.example:3128 or http://g.example:1" in " ".join(shown.split())
    assert "for=*.ods.example names the target" in " ".join(shown.split())
    told = json.loads(ogw("explain", "example.com:8443", *rules, "--json").stdout)["way"]
    assert (told["through"], told["not_named"], told["bypass"]) == ("straight", True, None)
    shown = ogw("explain", "example.com:8443", *rules).stdout
    assert "no entry of relay-proxy names the target" in " ".join(shown.split())
    bypass = ("--relay-proxy-bypass", "x.ods.example")
    told = json.loads(ogw("explain", "x.ods.example", *rules, *bypass, "--json").stdout)["way"]
    assert (told["through"], told["not_named"], told["named_by"]) == ("straight", False, [])
    wrong = ogw("explain", "x.ods.example", *rules, "--relay-proxy", "http://a:1 for=x.example, b:2")
    assert wrong.returncode == 2 and "a further relay proxy begins with its scheme" in wrong.stderr


def test_it_says_so_where_the_running_gateway_has_another_policy(straight):
    words = ("explain", "www.example.com", "--run-dir", straight.gateway.run_dir)
    told = ogw(*words, "--allowed-host", "x.example").stderr
    assert "the running gateway has another policy" in told
    assert f"`ogw reload --run-dir {straight.gateway.run_dir}` takes its file" in told
    assert explain(straight, "www.example.com", "--run-dir", straight.gateway.run_dir).stderr == ""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "HOST[:PORT]"),
        (("a.example", "--client", "nobody"), "'nobody' is no IP address"),
        (("a.example", "--at", "noon"), "'noon': it is not a time with its zone"),
        (("a.example", "--at", "2027-01-31T18:00:00"), "is not a time with its zone"),
        (("a.example", "--allowd-host", "x"), "--allowd-host: there is no such flag; did you mean --allowed-host?"),
        (("a.example", "--allowed-host", "*"), "a star needs two labels behind it"),
        (("a.example", "b.example"), "neither a flag"),
        (("b\u00fccher.example",), "the host is not ASCII; its A-label form is xn--bcher-kva.example"),
        (("b\u00fccher.example:8443",), "its A-label form is xn--bcher-kva.example"),
    ],
)
def test_a_question_that_cannot_be_answered_is_told(words, says):
    done = ogw("explain", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr and "Traceback" not in done.stderr


def test_addresses_are_typed_as_people_type_them():
    assert connect_target("2001:db8::7") == b"[2001:db8::7]:443"
    assert connect_target("[2001:db8::7]") == b"[2001:db8::7]:443"
    assert connect_target("10.1.2.3") == b"10.1.2.3:443"
    assert client_address("[::ffff:10.1.2.3]") == "10.1.2.3"


@pytest.mark.parametrize(
    ("typed", "reason", "says"),
    [
        ("www.example.com:https", "bad-target", 'the port of the target that begins with "www.example.com" is not'),
        ("fe80::1%eth0", "bad-target", 'the host of the target that begins with "[fe80::1" has a zone'),
        ("https://b\u00fccher.example/", "bad-request", "the target is not ASCII"),
        ("\udcff.example", "bad-request", "the target is not ASCII"),
    ],
)
def test_what_is_no_target_is_told_as_the_gateway_would(typed, reason, says, straight):
    assert straight.assert_same(typed, NEAR) == reason
    assert says in straight.explainer.explain(connect_target(typed), NEAR)["detail"]


def test_ctrl_c_ends_it_while_a_name_is_looked_up(dns):
    number = dns.asked.count(("silent.example.com", 1))
    command = [*OGW, "explain", "silent.example.com", "--allowed-host", "silent.example.com", *dns.flags]
    process = subprocess.Popen(
        [*command, "--dns-timeout", "50s"], cwd=ROOT, env=clean(), stdout=-1, stderr=-1, text=True, process_group=0
    )
    until(lambda: dns.asked.count(("silent.example.com", 1)) > number or process.poll() is not None)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output, errors) == (130, "", "")


def test_names_of_a_certificate_and_stages_are_told(tmp_path):
    rules = "    named.example.com from=cn:till-17\n    new.example.com stage=canary\n    *.example.net\n"
    file = tmp_path / "ogw.ini"
    file.write_text(f"[ogw]\nlisten-client-certificate = required\nallowed-host =\n{rules}")
    explainer = Explainer(load(["--config", str(file)], {}))
    try:
        till = frozenset({"cn:till-17"})
        for names, decision in ((till, "allowed"), (frozenset({"cn:till-18"}), "refused"), (frozenset(), "refused")):
            told = explainer.explain(b"named.example.com:443", NEAR, None, names)
            assert told["decision"] == decision or told["reason"].startswith("dns-")
            assert told.get("names", []) == sorted(names)
            assert told["rules"][0]["obstacle"] == (None if decision == "allowed" else "from")
        assert told["command"].startswith(f"ogw allowed-host add 'named.example.com from={NEAR}'")
        told = explainer.explain(b"named.example.com:443", NEAR, None, frozenset({"cn:till-18"}))
        assert told["command"].startswith("ogw allowed-host add 'named.example.com from=cn:till-18'")
        assert "is for other clients than 127.50.1.1 (cn:till-18)" in told["detail"]
        told = explainer.explain(b"new.example.com:443", NEAR)
        assert f"there is a rule for it, new.example.com stage=canary ({file}:5), but of stage" in told["detail"]
        (rule,) = told["rules"]
        assert (rule["rule"], rule["holds"], rule["obstacle"]) == ("new.example.com stage=canary", False, "stage")
    finally:
        explainer.close()


def test_it_is_asked_for_a_client_by_its_name(tmp_path):
    file = tmp_path / "ogw.ini"
    file.write_text(
        "[ogw]\nlisten-client-certificate = required\nallowed-host =\n    127.0.0.1 to=127.0.0.1 from=cn:till-17 "
        "no-server-name\n    new.example.com stage=canary\n"
    )
    asked = ("explain", "127.0.0.1", "--config", file)
    done = ogw(*asked, "--from", "cn:till-17", "--from", "san:x y")
    assert done.returncode == 0 and 'for client 127.0.0.1 (cn:till-17, "san:x y")' in " ".join(done.stdout.split())
    assert ogw(*asked).returncode == 1
    done = ogw(*asked, "--from", "till-17")
    assert done.returncode == 2 and "cn:till-17 or san:till-17.example.com" in done.stderr
    done = ogw("explain", "new.example.com", "--config", file)
    assert "is for gateways of another stage" in " ".join(done.stdout.split())


@pytest.mark.parametrize("target", ["127.0.0.5:8080", "[::ffff:127.0.0.5]:8080"])
def test_no_rule_is_named_for_the_gateway_itself(target):
    shown = " ".join(ogw("explain", target, "--listen-address", "127.0.0.5").stdout.split())
    assert "is this gateway itself, to which no rule leads" in shown and "would allow it" not in shown
    assert "would allow it" in " ".join(
        ogw("explain", "localhost:8080", "--listen-address", "127.0.0.5").stdout.split()
    )
