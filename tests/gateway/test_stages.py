"""Every stage of a tunnel under a reload.

What is not open yet is judged by the policy that is in force when it opens, whatever the old one said; what is open
goes on, or with reload-rechecks-tunnels = yes is judged by the new policy, by all that is known of it. Behind a relay
proxy that one knows the addresses, so `to=` says nothing there; and a tunnel goes on the way on which it began.
"""

import contextlib
import itertools

import pytest
from harness.admin import ask
from harness.dns import Dns
from harness.gateway import Gateway, read_exactly
from harness.hellos import certificates, hello, records
from harness.stages import ANSWER, ASKING, CERTIFICATE, OPEN, Clogged, Stages, relaying, speaking, started
from harness.upstreams import Server, echo, server_context
from harness.waiting import until

NOTHING_SENT = records(certificates())

# By what the new configuration says otherwise: how a tunnel ends that has no 200 yet, one whose handshake goes by, and
# one that is open, where open ones are judged again.
AFTER = "not-allowed-after-reload"
OUTCOMES = {
    "rule": ("host-not-allowed", AFTER, AFTER),
    "client": ("client-not-allowed", AFTER, AFTER),
    "denied": ("host-not-allowed", AFTER, AFTER),
    "to": ("address-not-allowed", AFTER, AFTER),
    "tls": ("tls-version", "tls-version", AFTER),
    "subjects": (OPEN, OPEN, OPEN),
    "until": ("host-not-allowed", AFTER, AFTER),
    "relay": (OPEN, OPEN, OPEN),
    "unrelated": (OPEN, OPEN, OPEN),
}
QUICK = [("rule", "no"), ("rule", "yes"), ("client", "yes"), ("to", "no"), ("tls", "yes"), ("subjects", "yes")]
QUICK_RELAYS = [("rule", "no", "answer"), ("unrelated", "yes", "tls")]


def expected(stage, change, recheck):
    if stage == "lingering":
        return "host-not-allowed"
    if stage == "reset":
        return "client-reset"
    if stage in ("open", "half-closed", "certificate-seen"):
        if recheck == "no":
            return OPEN
        return AFTER if (stage, change) == ("certificate-seen", "subjects") else OUTCOMES[change][2]
    if stage in ("before-hello", "half-hello", "server-hello", "certificate"):
        if (stage, change) == ("certificate", "subjects"):
            return "client-certificate-not-allowed"
        return OUTCOMES[change][1]
    if stage.startswith("relay-") and change == "to":
        return OPEN
    return OUTCOMES[change][0]


def configuration(recheck, relay, change=""):
    host = "allowed.bench.example" if change == "rule" else ".bench.example"
    to = "" if change == "to" else " to=127.0.0.0/8"
    until = "2020-01-01T00:00:00Z" if change == "until" else "2999-01-01T00:00:00Z"
    lines = {
        "reload-rechecks-tunnels": recheck,
        "allowed-host": f"{host}{to} until={until}",
        "allowed-client": "192.0.2.0/24" if change == "client" else "127.0.0.0/8",
        "denied-host": ".bench.example" if change == "denied" else "",
        "tls-min-version": "1.3" if change == "tls" else "1.2",
        "allowed-client-certificate": "agent-2" if change == "subjects" else "agent-1",
        "client-certificate-hosts": "certificate.bench.example, certificate-seen.bench.example",
        "relay-proxy": relay,
        "log-interval": "2h" if change == "unrelated" else "1h",
    }
    return "[ogw]\n" + "".join(f"{name} = {text}\n" for name, text in lines.items())


def cases(quick, *more):
    every = itertools.product(OUTCOMES, ("yes", "no"), *more)
    return [pytest.param(*case, marks=() if case in quick else pytest.mark.long) for case in every]


@contextlib.contextmanager
def gateway(tmp_path, dns, recheck, relay, *flags):
    """It, and what changes its configuration."""
    ini = tmp_path / "ogw.ini"
    ini.write_text(configuration(recheck, relay))

    def reload(change, other):
        ini.write_text(configuration(recheck, other if change == "relay" else relay, change))
        assert ask(running, "/reload", "POST")[0] == 200

    limits = ("--dial-timeout", "60s", "--dns-timeout", "60s", "--head-timeout", "60s", "--handshake-timeout", "60s")
    flags = ("--config", str(ini), *dns.flags, *limits, *flags)
    with Gateway(*flags, tls_rules=None) as running:
        yield running, reload


@pytest.mark.parametrize(("change", "recheck"), cases(QUICK))
def test_a_reload_at_every_stage(change, recheck, tmp_path):
    serving = {
        "silent": speaking(ANSWER),
        "half-head": speaking(ANSWER),
        "resolving": speaking(ANSWER),
        "before-hello": speaking(ANSWER),
        "half-hello": speaking(ANSWER),
        "server-hello": speaking(ANSWER, wait=True),
        "certificate": speaking(ASKING),
        "certificate-seen": speaking(ASKING),
        "open": speaking(ANSWER),
        "half-closed": speaking(ANSWER, half_close=True),
        "reset": speaking(ANSWER, late=True),
    }
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(started(Server, serve)) for name, serve in serving.items()}
        servers["dialing"] = stack.enter_context(started(Clogged, speaking(ANSWER)))
        other = stack.enter_context(started(Server, relaying(speaking(ANSWER)), port=3128))
        names = {f"{name}.bench.example": [server.host] for name, server in servers.items()}
        dns = stack.enter_context(Dns(names))
        names["resolving.bench.example"] = lambda kind, number: (
            until(lambda: dns.held),
            [servers["resolving"].host],
        )[1]
        running, reload = stack.enter_context(gateway(tmp_path, dns, recheck, ""))
        stages = Stages(running, dns, servers)
        methods = {name: getattr(stages, name.replace("-", "_")) for name in (*servers, "lingering")}
        # A slow DNS server answers nobody else meanwhile: what waits for it comes last, and goes on first.
        methods["resolving"] = methods.pop("resolving")
        outcomes = stages.run(methods, lambda: reload(change, f"http://{other.target}"))
        assert outcomes == {stage: expected(stage, change, recheck) for stage in methods}
        stages.assert_accounts_add_up()


@pytest.mark.parametrize(("change", "recheck", "at"), cases(QUICK_RELAYS, ("connect", "tls", "answer")))
def test_a_reload_while_a_relay_proxy_is_asked(change, recheck, at, tmp_path, authority, authority_file):
    stage = f"relay-{at}"
    with contextlib.ExitStack() as stack:
        kind = Clogged if at == "connect" else Server
        context = server_context(authority, "relay.bench.example") if at == "tls" else None
        serve = relaying(speaking(ANSWER), context, stage)
        relay = stack.enter_context(started(kind, serve))
        other = stack.enter_context(started(Server, relaying(speaking(ANSWER)), port=3128))
        dns = stack.enter_context(Dns({"relay.bench.example": [relay.host]}))
        url = "https://relay.bench.example:443" if at == "tls" else f"http://{relay.target}"
        flags = ("--relay-proxy-ca-file", authority_file)
        running, reload = stack.enter_context(gateway(tmp_path, dns, recheck, url, *flags))
        stages = Stages(running, dns, {"relay": relay})
        outcomes = stages.run({stage: lambda: stages.relay(stage)}, lambda: reload(change, f"http://{other.target}"))
        assert outcomes == {stage: expected(stage, change, recheck)}
        stages.assert_accounts_add_up()


def served(tmp_path, *lines):
    """A configuration for targets on loopback, with some lines more."""
    path = tmp_path / "ogw.ini"
    path.write_text("\n".join(["[ogw]", "allowed-host = 127.0.0.0/8 no-server-name", *lines]) + "\n")
    return path


@pytest.mark.parametrize("mode", ["off", "report"])
def test_what_was_held_passes_at_once_where_the_tls_rules_are_enforced_no_more(mode, tmp_path):
    ini = served(tmp_path, "handshake-timeout = 60s")
    flags = ("--config", str(ini), "--allowed-target-network", "127.0.0.0/8")
    with Server(echo) as server, Gateway(*flags, tls_rules=None) as running, running.tunnel(server.target) as sock:
        sock.sendall(hello(None)[:20])
        served(tmp_path, "handshake-timeout = 60s", f"tls-rules = {mode}")
        assert ask(running, "/reload", "POST")[0] == 200
        assert read_exactly(sock, 20) == hello(None)[:20]


@pytest.mark.parametrize(
    ("lines", "certificate", "passes"),
    [
        (["allowed-client-certificate = agent-1", "client-certificate-hosts = 192.0.2.1"], CERTIFICATE, True),
        ([], CERTIFICATE, True),
        ([], NOTHING_SENT, True),
        (["allowed-client-certificate = agent-1"], NOTHING_SENT, False),
        (["allowed-client-certificate = agent-1", "log-interval = 2h"], CERTIFICATE, True),
    ],
)
def test_a_client_certificate_that_is_awaited_goes_by_the_list_in_force_when_it_comes(
    lines, certificate, passes, tmp_path
):
    ini = served(tmp_path, "allowed-client-certificate = agent-1")
    flags = ("--config", str(ini), "--allowed-target-network", "127.0.0.0/8", "--handshake-timeout", "60s")
    with Server(speaking(ASKING)) as server, Gateway(*flags, tls_rules=None) as running:
        with running.tunnel(server.target) as sock:
            sock.sendall(hello(None))
            assert read_exactly(sock, len(ASKING)) == ASKING
            served(tmp_path, *lines)
            assert ask(running, "/reload", "POST")[0] == 200
            sock.sendall(certificate)
            assert (read_exactly(sock, len(certificate)) == certificate) is passes
