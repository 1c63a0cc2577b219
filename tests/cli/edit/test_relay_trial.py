"""`ogw relay-proxy set` and the original's cmdlet ask a relay proxy what it offers, choose, try it, and say so."""

import json
import os
import signal
import subprocess

import pytest
from harness.askers import DIGEST, Offering
from harness.commands import OGW, ROOT, clean
from harness.domain_squids import DomainSquid
from harness.edits import Edited
from harness.gateway import address, read_head
from harness.realm import Realm, gssapi_path
from harness.relays import Squid
from harness.socks import Dante
from harness.upstreams import Server, echo
from harness.waiting import until

HOST = "www.example.com"


@pytest.fixture
def file(tmp_path):
    return Edited(tmp_path, f"[ogw]\nallowed-host = {HOST}\n")


@pytest.fixture
def password(tmp_path):
    path = tmp_path / "own"
    path.write_text("5ecret\n")
    path.chmod(0o600)
    return path


def test_one_that_wants_no_credentials_is_said_to(file):
    with Server(echo) as server, Squid({HOST: server.host}) as squid:
        told = file.told("relay-proxy", "set", f"http://{squid.place}")
    assert f"http://{squid.place} opens a tunnel to {HOST}:443 without credentials" in told
    assert "relay-proxy-auth" not in file.text


def test_what_it_offers_is_said_and_the_credentials_are_tried(file, password):
    with Server(echo) as server, Squid({HOST: server.host}, {"gateway": "5ecret"}) as squid:
        words = ("relay-proxy", "set", f"http://{squid.place}", "--username", "gateway", "--password-file", password)
        told = file.told(*words)
        answer = json.loads(file.done(*words, "--json"))
    assert f"http://{squid.place} wants credentials, and offers Basic" in told and "unencrypted" in told
    assert f"http://{squid.place} opens a tunnel to {HOST}:443 (Basic)" in told
    (one,) = answer["relay_proxies"]
    assert (one["proxy"], one["offers"], one["opens"]) == (f"http://{squid.place}", ["Basic"], True)
    assert "5ecret" not in told + json.dumps(answer) and "relay-proxy-auth" not in file.text


def test_what_is_refused_is_sent_once_and_written_all_the_same(file, password):
    with Offering("Basic realm=x") as first, Offering("Basic realm=x") as second:
        words = ("relay-proxy", "set", first.url, second.url, "--username", "gateway", "--password-file", password)
        told = file.told(*words)
    assert len(first.shown) == 1 and second.shown == []
    assert "answers 407" in told and "written although the trial failed" in told
    assert f"{second.url} was not tried: the credentials were refused already" in told
    assert first.url in file.text and second.url in file.text


def test_of_several_ways_the_best_is_taken(file, password):
    with Offering("Negotiate", DIGEST, "Basic realm=x") as proxy:
        told = file.told("relay-proxy", "set", proxy.url, "--username", "gateway", "--password-file", password)
    assert "offers Negotiate, Digest, and Basic" in told and "Digest is used (relay-proxy-auth)" in told
    assert "relay-proxy-auth = digest\n" in file.text
    assert len(proxy.shown) == 1 and proxy.shown[0].startswith("Digest ")


def test_words_of_a_realm_are_no_schemes(file, password):
    """Whoever set what it does not offer would be refused from then on."""
    with Offering('Basic realm="With your card, Digest or NTLM, Negotiate too"', takes="gateway:5ecret") as proxy:
        told = file.told("relay-proxy", "set", proxy.url, "--username", "gateway", "--password-file", password)
    assert f"{proxy.url} wants credentials, and offers Basic" in told and "opens a tunnel" in told
    assert "relay-proxy-auth" not in file.text


def test_a_way_that_is_named_is_taken_whatever_is_offered(file, password):
    with Offering("Negotiate") as proxy:
        words = (proxy.url, "--auth", "digest", "--username", "gateway", "--password-file", password)
        told = file.told("relay-proxy", "set", *words)
    assert "offers Negotiate" in told and "relay-proxy-auth = digest\n" in file.text and proxy.shown == []


def test_what_is_missing_is_said(file):
    with Offering("Negotiate", "NTLM") as proxy:
        told = file.told("relay-proxy", "set", proxy.url)
    assert "'DOMAIN\\NAME'" in told and "--auth negotiate --keytab FILE" in told


def test_one_that_is_not_there_is_written_all_the_same(file):
    url = f"http://{address()}:3128"
    told = file.told("relay-proxy", "set", url)
    assert "written although the trial failed: " in told and "3128 cannot be reached: Connection refused" in told
    assert url in file.text


@pytest.mark.parametrize("flag", ["--no-try", "--dry-run"])
def test_nobody_is_asked_where_that_is_said(file, flag):
    with Offering("Basic realm=x") as proxy:
        file.done("relay-proxy", "set", proxy.url, flag)
        file.done("Set-OMSGatewayRelayProxy", proxy.url, "CORP\\gateway", "5ecret", flag)
    assert proxy.sent == []


def test_what_is_only_tried_leaves_the_password_that_a_gateway_may_read_at_any_time(file):
    file.done("Set-OMSGatewayRelayProxy", "http://proxy.example:3128", "gateway", "5ecret", "--no-try")
    secret = file.folder / "relay-proxy.password"
    before = os.stat(secret)
    told = file.done("Set-OMSGatewayRelayProxy", "http://proxy.example:3128", "gateway", "another", "--dry-run")
    after = os.stat(secret)
    assert "+ relay-proxy-password (hidden)" in told
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_trial_that_is_ended_leaves_no_password(file, password):
    """Such as by the end of the session: a proxy that says nothing makes it long."""
    asked = []
    with Server(lambda connection: asked.append(read_head(connection)) or connection.recv(1)) as proxy:
        words = ["relay-proxy", "set", f"http://{proxy.host}:{proxy.port}", "--username", "gateway", "--password-stdin"]
        environment = clean(OGW_CONFIG=str(file.path), OGW_RUN_DIR=str(file.folder), OGW_DNS_SERVER="127.0.0.1:1")
        with password.open("rb") as said:
            command = subprocess.Popen([*OGW, *words], cwd=ROOT, env=environment, stdin=said, stderr=subprocess.DEVNULL)
        until(lambda: asked)
        command.send_signal(signal.SIGTERM)
        command.wait(20)
    assert not (file.folder / "relay-proxy.password").exists() and "relay-proxy" not in file.text


def test_a_ticket_cache_is_taken_for_kerberos(file, tmp_path):
    with Offering("Negotiate", "Basic realm=x") as proxy:
        words = "--ticket-cache", f"FILE:{tmp_path}/none"
        told = file.told("relay-proxy", "set", proxy.url, *words, PYTHONPATH=gssapi_path())
    assert "Negotiate is used" in told and "there is no ticket in" in told
    assert "relay-proxy-auth = negotiate\n" in file.text


def test_an_entry_for_some_targets_is_asked_for_one_of_them(file):
    file.write(f"[ogw]\nallowed-host =\n    {HOST}\n    a.azure-automation.net\n")
    with Offering("Basic realm=x") as some, Offering("Basic realm=x") as general:
        told = file.told("relay-proxy", "set", some.url, "for=.azure-automation.net", general.url)
    assert f"{some.url} for=.azure-automation.net\n    {general.url}\n" in file.text
    assert f"{some.url} wants credentials" in told and f"{general.url} wants credentials" in told


def test_the_originals_user_of_a_domain_is_one_for_ntlm_where_that_is_offered(file):
    with Offering("Negotiate", "NTLM", "Basic realm=x") as proxy:
        told = file.told("Set-OMSGatewayRelayProxy", "-Address", proxy.url, "-Username", "CORP\\gateway",
                         "-Password", "5ecret")  # fmt: skip
    assert f"that is `ogw relay-proxy set {proxy.url} --username 'CORP\\gateway' --password-stdin`" in told
    assert "offers Negotiate, NTLM, and Basic" in told and "NTLM is used" in told and "NTLM is weak" in told
    assert "relay-proxy-auth = ntlm\n" in file.text and "5ecret" not in told


def test_the_originals_user_of_a_domain_stays_one_for_basic_where_only_that_is_offered(file):
    with Offering("Basic realm=x", takes="CORP\\gateway:5ecret") as proxy:
        told = file.told("Set-OMSGatewayRelayProxy", proxy.url, "CORP\\gateway", "5ecret")
    assert "opens a tunnel" in told and "(Basic)" in told and "relay-proxy-auth" not in file.text


def test_of_a_whole_script_the_last_relay_proxy_is_asked(file, tmp_path):
    script = tmp_path / "gateway.ps1"
    with Offering("Basic realm=x") as first, Offering("NTLM") as last:
        script.write_text(
            f"Set-OMSGatewayRelayProxy {first.url} user 5ecret\n"
            f"Set-OMSGatewayRelayProxy {last.url} 'CORP\\gateway' 5ecret\n"
        )
        told = file.told("import", script)
    assert first.sent == [] and last.sent and "NTLM is used" in told and "relay-proxy-auth = ntlm\n" in file.text


def test_a_user_of_a_domain_is_explained_while_nobody_knows_what_is_offered(file):
    told = file.told("Set-OMSGatewayRelayProxy", f"http://{address()}:3128", "CORP\\gateway", "5ecret")
    assert "mostly needs NTLM or Kerberos" in told and "written although the trial failed" in told
    assert "relay-proxy-auth" not in file.text


def test_a_keytab_is_what_a_squid_that_offers_kerberos_is_tried_with(file):
    with Server(echo) as server, Realm() as realm, DomainSquid({HOST: server.host}, realm=realm) as squid:
        environment = {**realm.environment, "PYTHONPATH": gssapi_path()}
        words = ("relay-proxy", "set", f"http://{squid.place}", "--keytab", realm.add("gateway"))
        told = file.told(*words, **environment)
        assert "offers Negotiate" in told and "Negotiate is used" in told
        assert f"http://{squid.place} opens a tunnel to {HOST}:443 (Negotiate)" in told
        assert "relay-proxy-auth = negotiate\n" in file.text
        wrong = file.told(*words[:-1], realm.add("other", more="-allow_tix"), **environment)
    assert (
        "is locked or disabled" in wrong
        and "written although the trial failed" in wrong
        and "opens a tunnel" not in wrong
    )
    assert "principal" not in file.done("relay-proxy", "get", **environment)
    assert "the keytab" in file.told("relay-proxy", "clear", **environment)


@pytest.mark.parametrize("user", ["till", ""])
def test_one_that_speaks_socks_is_asked_and_tried(file, password, user):
    password.write_text("5ecret\n")
    with Server(echo) as server, Dante({HOST: server.host}, {"till": "5ecret"} if user else None) as relay:
        words = ("--username", user, "--password-file", password) if user else ()
        told = file.told("relay-proxy", "set", f"socks5h://{relay.place}", *words)
    opens = f"socks5h://{relay.place} opens a tunnel to {HOST}:443"
    assert opens in told and (f"{opens} without credentials" in told) is not bool(user)
    assert ("wants a user name and a password" in told) is bool(user)
