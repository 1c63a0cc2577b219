"""`ogw doctor` finds what is wrong here and on the way out, with real servers, proxies and files."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tarfile
import time
from datetime import UTC, datetime, timedelta

import pytest
from harness.askers import DIGEST, Offering
from harness.certificates import with_common_names
from harness.commands import OGW, ROOT, clean, ogw
from harness.dns import NXDOMAIN, SILENT, Dns
from harness.gateway import Gateway, address
from harness.netns import Namespace
from harness.peers import peer
from harness.relays import Squid, playing
from harness.terminal import Terminal
from harness.tls import TlsServer
from harness.upstreams import Server, echo, server_context, swallow
from harness.waiting import PATIENCE, until

from ogw.cli.doctor.bundle import without_secrets
from ogw.cli.doctor.reach import Outside
from ogw.service.probe import Probed
from ogw.settings.loader import load

NAME = "www.doctor.example"
USER, PASSWORD = "user-of-relay", "pass word-of-relay"
LOOPBACK = ("--allowed-target-network", "127.0.0.0/8")


@pytest.fixture
def server(authority):
    with TlsServer(server_context(authority, NAME)) as running:
        yield running


@pytest.fixture
def dns(server):
    with Dns({NAME: [server.host]}) as running:
        yield running


@pytest.fixture
def flags(dns, tmp_path):
    """Of a gateway with nothing wrong."""
    return [
        *("--allowed-host", NAME, *LOOPBACK, *dns.flags, "--listen-address", address(), "--admin-address", ""),
        *("--run-dir", str(tmp_path / "run"), "--dial-timeout", "8s", "--dns-timeout", "8s"),
    ]


def examined(*words, **environment):
    """(exit code, findings)"""
    done = ogw("doctor", *words, "--json", **environment)
    assert "Traceback" not in done.stderr
    told = json.loads(done.stdout)
    assert told["problems"] == sum(one["state"] == "problem" for one in told["findings"])
    return done.returncode, told["findings"]


def one(findings, area, where=""):
    """The one finding of an area about this place."""
    found = [each for each in findings if each["area"] == area and where in each["where"]]
    assert len(found) == 1, findings
    return found[0]


def test_a_host_in_order_is_reached_as_the_gateway_would(flags, server, dns, authority_file):
    code, findings = examined(*flags, SSL_CERT_FILE=authority_file)
    host = one(findings, "hosts")
    assert (code, host["state"], host["where"], host["do"]) == (0, "ok", f"{NAME}:443", "")
    assert f"reached at {server.host}:443 in " in host["what"] and "trustme" in host["what"]
    assert server.seen[0].server_name == NAME
    assert one(findings, "dns")["state"] == "ok"
    assert not any(each["state"] == "problem" for each in findings)


def test_what_people_see_ends_with_a_count(flags, authority_file):
    done = ogw("doctor", *flags, SSL_CERT_FILE=authority_file)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("0 problems, ")
    assert any(line.startswith("ok        hosts ") for line in done.stdout.splitlines())


def test_an_issuer_that_this_machine_does_not_trust_is_named(flags):
    code, findings = examined(*flags)
    host = one(findings, "hosts")
    assert (code, host["state"]) == (0, "warning")
    assert "does not trust its certificate: " in host["what"] and "its issuer is" in host["what"]
    assert "trustme" in host["what"] and "firewall" in host["do"]


@pytest.mark.parametrize(
    ("begins", "ends", "state", "says"),
    [
        (-10, 10.5, "warning", "its certificate ends in 10 days"),
        (-10, 40.5, "ok", "certificate until"),
        (-10, -1, "problem", "its certificate expired on"),
    ],
)
def test_the_end_of_a_certificate_is_told_in_time(begins, ends, state, says, authority, authority_file, tmp_path):
    code, findings = with_certificate(authority, authority_file, begins, ends, tmp_path)
    host = one(findings, "hosts")
    assert (code, host["state"]) == (1 if state == "problem" else 0, state)
    assert says in host["what"]


def test_a_clock_before_the_begin_of_a_certificate_is_behind(authority, authority_file, tmp_path):
    code, findings = with_certificate(authority, authority_file, 2, 90, tmp_path)
    clocks = [each for each in findings if each["area"] == "clock" and each["state"] == "problem"]
    assert code == 1 and len(clocks) == 1 and "the clock is at least" in clocks[0]["what"]


def with_certificate(authority, authority_file, begins, ends, tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    now = datetime.now(UTC)
    made = authority.issue_cert(NAME, not_before=now + timedelta(days=begins), not_after=now + timedelta(days=ends))
    made.configure_cert(context)
    with TlsServer(context) as server, Dns({NAME: [server.host]}) as dns:
        flags = ("--allowed-host", NAME, *LOOPBACK, *dns.flags, "--listen-address", address(), "--admin-address", "")
        return examined(*flags, "--run-dir", str(tmp_path / "run"), SSL_CERT_FILE=authority_file)


@pytest.mark.parametrize(
    ("rule", "more", "state", "says", "do"),
    [
        (f"{NAME}:81", (), "problem", "not reached (connection-refused)", "firewalls"),
        ("no.doctor.example", (), "problem", "not reached (dns-error)", "dns-server"),
        ("silent.doctor.example", ("--dns-timeout", "500ms"), "problem", "not reached (dns-timeout)", "dns-server"),
        ("private.doctor.example", (), "problem", "not reached (address-not-allowed)", "to=NETWORK"),
        ("plain.doctor.example", (), "problem", "but there is no TLS session", "TLS 1.2 or newer"),
        ("plain.doctor.example", ("--tls-rules", "off"), "ok", "but there is no TLS session", ""),
        ("mute.doctor.example", ("--handshake-timeout", "500ms"), "problem", "handshake-timeout", "TLS 1.2"),
        (f"{NAME} until=2020-01-01T00:00:00Z", (), "warning", "refused (host-not-allowed)", "ogw explain"),
        (NAME, ("--denied-host", ".doctor.example"), "warning", "is denied by .doctor.example", "ogw explain"),
        (f"{NAME} from=10.0.0.0/8", (), "warning", "does not trust", "firewall"),
        ("*.doctor.example", (), "untested", "1 rule names no single host: *.doctor.example", "--host"),
    ],
)
def test_a_host_that_is_not_in_order_is_told_with_what_to_do(rule, more, state, says, do, flags, dns, server):
    with Server(echo) as plain, Server(swallow) as mute:
        dns.names.update(
            {
                "no.doctor.example": NXDOMAIN,
                "silent.doctor.example": SILENT,
                "private.doctor.example": ["10.1.2.3"],
                "plain.doctor.example": [plain.host],
                "mute.doctor.example": [mute.host],
            }
        )
        flags[1] = rule
        code, findings = examined(*flags, *more)
    host = one(findings, "hosts")
    assert (code, host["state"]) == (1 if state == "problem" else 0, state)
    assert says in host["what"] and do in host["do"]


def test_a_host_of_a_wildcard_can_be_named(flags, server, authority_file):
    flags[1] = "*.doctor.example"
    code, findings = examined(*flags, "--host", NAME, SSL_CERT_FILE=authority_file)
    assert (code, one(findings, "hosts")["state"]) == (0, "ok")


def test_hosts_are_tried_side_by_side_within_one_limit(flags, dns):
    names = [f"n{number}.doctor.example" for number in range(60)]
    dns.names.update({name: SILENT for name in names})
    flags[1] = ", ".join(names)
    began = time.monotonic()
    code, findings = examined(*flags, "--dns-timeout", "20s", "--timeout", "2")
    assert time.monotonic() - began < 20
    late = [each for each in findings if each["area"] == "hosts"]
    assert code == 0 and len(late) == 60
    assert {(each["state"], each["what"]) for each in late} == {("untested", "not finished within 2 s")}


def test_a_dns_server_that_does_not_answer_is_named_though_another_does(flags, dns, authority_file):
    dead = address()
    ini = ("--dns-server", f"{dead}:{dns.port}")
    code, findings = examined(*flags, *ini, "--dns-timeout", "1s", SSL_CERT_FILE=authority_file)
    assert (code, one(findings, "dns", dead)["state"]) == (1, "problem")
    assert one(findings, "dns", dns.host)["state"] == "ok"
    assert one(findings, "hosts")["state"] == "ok"


@pytest.mark.parametrize("name", ["localhost", "gw.localhost", NAME])
def test_a_dead_dns_server_is_named_whoever_else_knows_the_name(name, tmp_path):
    """Names of localhost are answered by the gateway itself; those of the hosts file were, too."""
    dead = f"{address()}:53"
    flags = ("--allowed-host", name, *LOOPBACK, "--dns-server", dead, "--dns-timeout", "500ms")
    command = [*OGW, "doctor", *flags, "--admin-address", "", "--run-dir", str(tmp_path), "--json"]
    with Namespace(tmp_path, "", hosts=f"127.0.0.1 localhost {NAME}\n") as namespace:
        here = clean(PYTHONPATH=str(ROOT))  # the namespace begins in another folder
        done = subprocess.run([*namespace.command, *command], env=here, capture_output=True, text=True, timeout=60)
    found = one(json.loads(done.stdout)["findings"], "dns")
    assert (found["state"], found["where"]) == ("problem", dead) and f"when asked for {name}" in found["what"], found


@pytest.mark.parametrize("code", [2, 5])
def test_a_dns_server_that_refuses_to_say_is_no_server_in_order(code, flags, dns):
    dns.names[NAME] = code
    _code, findings = examined(*flags)
    found = one(findings, "dns")
    assert found["state"] == "warning" and f"no useful answer when asked for {NAME}: DNS server" in found["what"]


def test_a_name_that_is_not_there_is_an_answer(flags, dns):
    dns.names[NAME] = NXDOMAIN
    _code, findings = examined(*flags)
    assert one(findings, "dns")["state"] == "ok"


def test_who_wants_no_file_is_not_told_to_change_a_device(flags, dns, tmp_path):
    (tmp_path / "none.ini").symlink_to("/dev/null")
    for path in ("/dev/null", tmp_path / "none.ini"):
        _code, findings = examined(*flags, "--config", path)
        found = one(findings, "files", str(path))
        assert found["state"] == "ok" and "chmod" not in json.dumps(findings)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="only root makes a small disk")
@pytest.mark.parametrize(("fill", "state"), [("1m", "problem"), ("1k", "ok")])
def test_a_log_on_a_full_disk_cannot_be_written(fill, state, tmp_path):
    command = f"{' '.join(OGW)} doctor --config /dev/null --log-file {tmp_path}/ogw.log --run-dir {tmp_path} --json"
    script = f"mount -t tmpfs -o size=64k none {tmp_path} && touch {tmp_path}/ogw.log; cd {ROOT}; "
    script += f"head -c {fill} /dev/zero > {tmp_path}/fill; {command} --admin-address '' --listen-address {address()}"
    end = subprocess.run(["unshare", "-m", "sh", "-c", script], env=clean(), capture_output=True, text=True, timeout=60)
    if "permission denied" in end.stderr.lower() or "not permitted" in end.stderr:
        pytest.skip("no mounts here")
    found = one(json.loads(end.stdout)["findings"], "files", "ogw.log")
    assert found["state"] == state and (state == "ok" or found["what"] == "the disk is full"), found


def test_a_log_that_is_a_folder_cannot_be_written(flags, dns, tmp_path):
    _code, findings = examined(*flags, "--log-file", tmp_path)
    found = [each for each in findings if each["where"] == str(tmp_path)]
    assert [each["what"] for each in found] == ["the log cannot be written: Is a directory; name a file in it"]


def test_a_dns_server_that_changes_letters_is_named(server, authority_file, tmp_path):
    with Dns({NAME: [server.host]}, questions=bytes.upper) as dns:
        flags = ("--allowed-host", NAME, *LOOPBACK, *dns.flags, "--listen-address", address(), "--admin-address", "")
        code, findings = examined(*flags, "--run-dir", str(tmp_path / "run"), SSL_CERT_FILE=authority_file)
    found = one(findings, "dns")
    assert (code, found["state"]) == (0, "warning") and "changes the letters of names" in found["what"]
    assert one(findings, "hosts")["state"] == "ok"


def test_a_relay_proxy_is_asked_with_the_credentials(flags, server, authority_file):
    with Squid({NAME: server.host}, {USER: PASSWORD}) as squid:
        relay = ("--relay-proxy", squid.place, "--relay-proxy-username", USER)
        right = examined(*flags, *relay, SSL_CERT_FILE=authority_file, OGW_RELAY_PROXY_PASSWORD=PASSWORD)
        wrong = examined(*flags, *relay, SSL_CERT_FILE=authority_file, OGW_RELAY_PROXY_PASSWORD="wrong")
    assert right[0] == 0 and one(right[1], "hosts")["state"] == "ok"
    proxy = one(right[1], "relay proxy")
    assert proxy["state"] == "ok" and f"opens a tunnel to {NAME}:443" in proxy["what"]
    assert "with the credentials" in proxy["what"]
    proxy = one(wrong[1], "relay proxy")
    assert (wrong[0], proxy["state"]) == (1, "problem") and "answers 407" in proxy["what"]
    assert proxy["do"].startswith("correct the user name or the password")
    assert not any(secret in str((right, wrong)) for secret in (USER, PASSWORD))


def test_a_relay_proxy_is_asked_for_what_goes_through_it():
    heads = []
    with Server(playing(b"HTTP/1.1 200 OK\r\n\r\n", heads=heads), port=3128) as relay:
        allowed = ("--allowed-host", "a.example, b.example", "--relay-proxy-bypass", "a.example")
        gone = f"http://{address()}:3128"
        entries = f"http://{relay.target} for=b.example, {gone} for=c.example"
        _code, findings = examined(*allowed, "--relay-proxy", entries)
    assert one(findings, "relay proxy", relay.target)["state"] == "ok"
    assert one(findings, "relay proxy", gone)["state"] == "untested"
    assert {head.split()[1] for head in heads} == {b"b.example:443"}


def test_each_relay_proxy_is_tried_on_its_own(flags):
    with Server(playing(b"HTTP/1.1 403 Forbidden\r\n\r\n"), port=3128) as denying:
        gone = f"http://{address()}:3128"
        code, findings = examined(*flags, "--relay-proxy", f"{gone}, http://{denying.target}")
    assert code == 1
    assert one(findings, "relay proxy", gone)["state"] == "problem"
    denied = one(findings, "relay proxy", denying.target)
    assert denied["state"] == "warning" and "answers 403" in denied["what"]


def test_a_port_is_free_or_the_gateways_or_somebody_elses(flags, tmp_path, authority_file):
    listening = ("listen", flags[flags.index("--listen-address") + 1])
    free = examined(*flags, SSL_CERT_FILE=authority_file)
    assert "free" in one(free[1], *listening)["what"] and one(free[1], "gateway")["state"] == "untested"
    with Gateway(*flags, listen="") as gateway:
        ours = examined(*flags, "--tls-rules", "off", SSL_CERT_FILE=authority_file)
        assert ours[0] == 0 and "the running gateway listens there" in one(ours[1], *listening)["what"]
        assert one(ours[1], "gateway")["state"] == "ok"
        limits = [each["what"] for each in ours[1] if each["area"] == "limits"]
        assert any("of the running gateway" in what for what in limits)
        other = examined(*flags, SSL_CERT_FILE=authority_file)  # without --tls-rules off
        states = [each for each in other[1] if each["area"] == "gateway" and each["state"] == "warning"]
        assert len(states) == 1 and "the policy of the gateway is not that of this configuration" in states[0]["what"]
        gateway.stop()
    with socket.create_server((listening[1], 8080)):
        taken = examined(*flags, SSL_CERT_FILE=authority_file)
        assert taken[0] == 1 and one(taken[1], *listening)["state"] == "problem"
        assert "is in use" in one(taken[1], *listening)["what"]
        assert "choose another port (listen-port)" in one(taken[1], *listening)["do"]


def test_what_it_advises_is_for_the_gateway_that_was_meant(tmp_path):
    file, folder = tmp_path / "own, with a blank.ini", tmp_path / "run"
    text = f"[ogw]\nrun-dir = {folder}\nlisten-address = {address()}\nadmin-address =\ndenied-host = x.example\n"
    file.write_text(text)
    words = ("--config", str(file), "--timeout", "1")
    with Gateway("--config", str(file), "--run-dir", str(folder)):
        file.write_text(f"{text}    y.example\nallowed-host = x.example from=10.0.0.0/8\n")
        _code, findings = examined(*words)
        (other,) = [each for each in findings if "the policy of the gateway" in each["what"]]
        assert other["do"].startswith(f"`ogw reload --config '{file}' --run-dir {folder}`; ")
        explain = re.fullmatch("`ogw (.*)` says more", one(findings, "hosts")["do"])[1]
        assert f"--config '{file}' --run-dir {folder}" in explain
        assert "for client 10." in ogw(*shlex.split(explain)).stdout
        file.write_text(f"{text}no-such-setting = x\n")
        _code, findings = examined(*words)
        assert f"`ogw check --config '{file}'`" in one(findings, "configuration")["do"]


def test_a_limit_that_is_too_low_is_told(flags):
    def with_limit(number):
        shell = [
            "sh",
            "-c",
            f'ulimit -n {number} && exec "$@"',
            "sh",
            *OGW,
            "doctor",
            *flags,
            "--json",
            "--workers",
            "1",
        ]
        done = subprocess.run(shell, cwd=ROOT, env=clean(), capture_output=True, text=True, timeout=60)
        return [each for each in json.loads(done.stdout)["findings"] if each["area"] == "limits"]

    assert "limits in this shell: open files of each worker: 1,000, workers: 1" in with_limit(1000)[0]["what"]
    assert with_limit(1000)[0]["state"] == "warning" and "LimitNOFILE" in with_limit(1000)[0]["do"]
    assert with_limit(60)[0]["state"] == "problem"
    flags += ["--max-tunnels", "30000"]
    assert [each["state"] for each in with_limit(5000)][:2] == ["ok", "problem"]
    flags += ["--relay-proxy", "http://p.example:3128"]
    assert [each["state"] for each in with_limit(5000)] == ["ok", "problem", "warning"]


def test_files_that_anybody_may_read_or_change_are_told(flags, tmp_path):
    password, ini = tmp_path / "password", tmp_path / "ogw.ini"
    password.write_text(PASSWORD)
    ini.write_text(f"[ogw]\nrelay-proxy = http://{USER}:x@{address()}:3128\nlog-file = {tmp_path}/no/log\n")
    words = ("--config", str(ini), "--relay-proxy-password-file", str(password), "--relay-proxy-username", USER)
    for mode, state in ((0o600, "ok"), (0o644, "problem")):
        password.chmod(mode)
        ini.chmod(mode)
        findings = examined(*flags, *words)[1]
        assert one(findings, "files", str(password))["state"] == state
        assert one(findings, "files", str(ini))["state"] == state
    assert one(findings, "files", str(ini))["do"] == f"chmod o-r {ini}"
    ini.chmod(0o602)
    assert "can change it" in one(examined(*flags, *words)[1], "files", str(ini))["what"]
    assert one(findings, "files", f"{tmp_path}/no/log")["state"] == "problem"


def test_a_wrong_configuration_is_told_and_nothing_is_tried(flags, dns):
    code, findings = examined(*flags, "--allowed-host", "*", "--nope")
    assert code == 2 and dns.asked == []
    assert [each["area"] for each in findings] == ["configuration"] * 2


def test_the_bundle_has_what_helps_and_no_secret(flags, server, tmp_path, authority_file):
    log, bundle = tmp_path / "log", tmp_path / "bundle.tar.gz"
    with Squid({NAME: server.host}, {USER: PASSWORD}) as squid:
        url = f"http://{USER}:{PASSWORD.replace(' ', '%20')}@{squid.place}"
        flags += ["--log-file", str(log), "--relay-proxy", url, "--relay-proxy-username", "shared-user"]
        secret = {"OGW_RELAY_PROXY_PASSWORD": "shared-password"}
        command = [sys.executable, "-m", "ogw", "run", *flags, "--workers", "1"]
        running = subprocess.Popen(command, cwd=ROOT, env=clean(**secret), stderr=subprocess.PIPE)
        try:
            until(lambda: running.poll() is not None or (log.exists() and '"event": 101' in log.read_text()))
            assert running.poll() is None, running.stderr.read()
            with log.open("a") as file:
                file.writelines(f"line {number} of a stranger: {USER} {PASSWORD}\n" for number in range(1500))
            done = ogw("doctor", *flags, "--bundle", bundle, SSL_CERT_FILE=authority_file, **secret)
            assert done.returncode == 0, done.stdout + done.stderr
            again = ogw("doctor", *flags, "--bundle", bundle, SSL_CERT_FILE=authority_file, **secret)
            assert again.returncode == 1 and "is there already" in again.stderr
        finally:
            running.terminate()
            running.communicate(timeout=60)
    assert bundle.stat().st_mode & 0o777 == 0o600
    with tarfile.open(bundle) as archive:
        files = {entry.name: archive.extractfile(entry).read().decode() for entry in archive}
    names = ("about.json", "limits.json", "doctor.json", "configuration.json", "status.json", "metrics.txt", "log.txt")
    assert sorted(files) == sorted(f"ogw-doctor/{name}" for name in names)
    basic = "dXNlci1vZi1yZWxheTpwYXNzIHdvcmQtb2YtcmVsYXk"
    for secret in (USER, PASSWORD, PASSWORD.replace(" ", "%20"), "shared-user", "shared-password", basic):
        assert [name for name, text in files.items() if secret in text] == []
        assert secret not in done.stdout + done.stderr
    parsed = {name: json.loads(text) for name, text in files.items() if name.endswith(".json")}
    assert parsed["ogw-doctor/status.json"]["state"] == "serving"
    assert parsed["ogw-doctor/doctor.json"]["problems"] == 0
    assert NAME in str(parsed["ogw-doctor/configuration.json"]["settings"]["allowed-host"])
    assert parsed["ogw-doctor/about.json"]["kernel"] == os.uname().release
    assert "ogw_tunnels" in files["ogw-doctor/metrics.txt"]
    lines = files["ogw-doctor/log.txt"].splitlines()
    assert len(lines) == 1000
    assert any("(hidden)" in line for line in lines[-10:])  # the gateway may have said something since


def test_hosts_of_lists_from_elsewhere_are_tried_and_what_their_urls_carry_is_hidden(flags, tmp_path, authority_file):
    listed, bundle = tmp_path / "hosts", tmp_path / "bundle.tar.gz"
    listed.write_text(f"{NAME}\n*.listed.example\n")
    flags[1] = "*.doctor.example"
    flags += ["--state-dir", str(tmp_path / "state"), "--allowed-host-source", str(listed)]
    flags += ["--allowed-host-source", "https://lists.example/hosts?token=token-of-list"]
    code, findings = examined(*flags, "--bundle", bundle, SSL_CERT_FILE=authority_file)
    assert code == 0 and one(findings, "hosts", NAME)["state"] == "ok"
    with tarfile.open(bundle) as archive:
        texts = [archive.extractfile(entry).read().decode() for entry in archive]
    assert any("lists.example" in text for text in texts) and not any("token-of-list" in text for text in texts)


def test_a_bundle_that_cannot_be_written_is_told(flags):
    done = ogw("doctor", *flags, "--bundle", "/nowhere/bundle.tar.gz")
    assert done.returncode == 1 and "/nowhere/bundle.tar.gz cannot be written: No such file" in done.stderr


def test_a_log_that_is_a_pipe_is_not_waited_for(flags, server, tmp_path, authority_file):
    log, bundle = tmp_path / "pipe", tmp_path / "bundle.tar.gz"
    os.mkfifo(log)
    ogw("doctor", *flags, "--log-file", log, "--bundle", bundle, SSL_CERT_FILE=authority_file)
    with tarfile.open(bundle) as archive:
        text = archive.extractfile("ogw-doctor/log.txt").read().decode()
    assert text == f"{log}: it is neither a file nor a folder\n"


def test_progress_is_shown_on_a_terminal_and_leaves_no_trace(flags, dns, authority_file):
    command = [*OGW, "doctor", *flags]
    with Terminal(command, columns=150, lines=60, TERM="xterm", SSL_CERT_FILE=authority_file) as terminal:
        shown = "\n".join(terminal.wait_for("0 problems"))
        assert terminal.end() == 0
    assert b"examining" in terminal.raw and "examining" not in shown


def test_ctrl_c_ends_it_at_once(flags, dns):
    dns.names[NAME] = SILENT
    command = [*OGW, "doctor", *flags, "--dns-timeout", "50s"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=clean(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    )
    until(lambda: dns.asked or process.poll() is not None)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output, errors) == (130, "", "")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--timeout", "soon"), "'soon' is no number of seconds from 1 to 3600"),
        (("--timeout", "000001000000"), "'000001000000' is no number of seconds from 1 to 3600"),
        (("--host", "https://www.example.com/"), "is a URL or has a path"),
        (("--host",), "expected one argument"),
    ],
)
def test_a_command_line_that_is_wrong_is_told(words, says):
    done = ogw("doctor", *words)
    assert (done.returncode, done.stdout) == (2, "") and says in done.stderr


@pytest.mark.parametrize("old", [b"\xa0\x03\x02\x01\x02", b"\x0c\x06till-7"])
def test_a_certificate_that_its_parser_fails_on_is_a_finding_and_no_traceback(old):
    new = {b"\xa0\x03\x02\x01\x02": b"\xa0\x03\x02\x01\x05", b"\x0c\x06till-7": b"\x03\x06till-7"}[old]
    probed = Probed(certificate=with_common_names("till-7").replace(old, new), version="TLSv1.3")
    finding = Outside(load(["--allowed-host", NAME], {}), [], [])._with_certificate("there", probed)
    assert "its certificate cannot be read" in finding.what and finding.state.value == "warning"


def test_what_a_relay_proxy_offers_is_told_and_a_better_way_than_the_one_that_is_used(flags, server, authority_file):
    with Offering(DIGEST, "Basic realm=x", takes=f"{USER}:{PASSWORD}") as proxy:
        words = ("--relay-proxy", proxy.url, "--relay-proxy-username", USER, "--host", NAME)
        _code, findings = examined(*flags, *words, OGW_RELAY_PROXY_PASSWORD=PASSWORD)
    found = one(findings, "relay proxy")
    assert found["state"] == "warning" and "with the credentials (Basic)" in found["what"]
    assert "it offers Digest and Basic" in found["what"] and "unencrypted" in found["what"]
    assert found["do"] == "set relay-proxy-auth = digest"


def test_credentials_that_are_refused_are_sent_once_for_all_relay_proxies_and_hosts(flags):
    with Offering("Basic realm=x") as first, Offering("Basic realm=x") as second:
        words = ("--relay-proxy", f"{first.url}, {second.url}", "--relay-proxy-username", USER)
        code, findings = examined(*flags, *words, "--host", "other.example", OGW_RELAY_PROXY_PASSWORD=PASSWORD)
    assert (code, len(first.shown) + len(second.shown)) == (1, 1)
    assert one(findings, "relay proxy", first.url)["state"] == "problem"
    assert "were refused already" in one(findings, "relay proxy", second.url)["what"]
    assert "a relay proxy refused the credentials" in one(findings, "hosts")["what"]


def test_one_that_wants_credentials_where_there_are_none_is_told_what_to_name(flags):
    with Offering("Negotiate", "NTLM") as proxy:
        code, findings = examined(*flags, "--relay-proxy", proxy.url)
    found = one(findings, "relay proxy")
    assert (code, found["state"]) == (1, "problem") and "offers Negotiate and NTLM" in found["what"]
    assert "--auth negotiate --keytab FILE" in found["do"]


@pytest.mark.parametrize(
    ("line", "token"),
    [
        ("Proxy-Authorization: Negotiate YIIZxgYGKwYBBQUCoIIZujCCGbag", "YIIZxg"),
        ("NTLM TlRMTVNTUAADAAAAGAAYAIAAAAA=", "TlRMTVNT"),
        ('Digest username="x", response="6629fae49393a05397450978507c4ef1"', "6629fae4"),
    ],
)
def test_tokens_of_others_are_not_in_a_bundle(line, token):
    told = without_secrets(f"before {line} behind\n", load(["--allowed-host", NAME], {}))
    assert token not in told and "(hidden)" in told and told.startswith("before ") and told.endswith(" behind\n")


def test_what_others_log_shows_no_name_of_a_domain_or_of_kerberos():
    flags = ("--relay-proxy-username", "CORP\\till", "--relay-proxy-principal", "ogw/gw1@REALM.EXAMPLE")
    environment = {"OGW_RELAY_PROXY_PASSWORD": 'a"b\\ü'}
    config = load(["--allowed-host", NAME, "--relay-proxy", "http://p.example", *flags], environment)
    lines = ["CORP\\till, till: ogw/gw1@REALM.EXAMPLE", 'a"b\\ü', "stilled"]
    told = without_secrets("\n".join([*lines, *map(json.dumps, lines)]), config)
    assert told.count("(hidden)") == 8 and "stilled" in told
    assert not any(word in told.replace("stilled", "") for word in ("till", "gw1", "CORP", "REALM", 'a"b', "u00fc"))


def test_a_host_that_is_not_ascii_is_told_with_the_name_that_clients_ask_for():
    done = ogw("doctor", "--host", "b\u00fccher.example:8443")
    assert done.returncode == 2 and "its A-label form is xn--bcher-kva.example" in done.stderr


def test_of_a_bundle_that_does_not_fit_on_the_disk_nothing_is_left(tmp_path):
    (tmp_path / "ogw.ini").write_text("[ogw]\nallowed-host = 192.0.2.1\n")
    few = [peer("prlimit"), "--fsize=100", *OGW, "doctor", "--config", tmp_path / "ogw.ini"]
    done = subprocess.run([*few, "--timeout", "1", "--bundle", tmp_path / "b.tgz"], cwd=ROOT, env=clean(),
                          capture_output=True, text=True, timeout=60 * PATIENCE)  # fmt: skip
    assert "b.tgz cannot be written: File too large" in done.stderr and not (tmp_path / "b.tgz").exists(), done


def test_an_entry_of_a_relay_proxy_that_has_ended_is_told_as_that():
    entry = f"http://{address()}:3128 for=www.example.com until=2020-01-01T00:00:00Z"
    done = ogw("doctor", "--json", "--allowed-host", "www.example.com", "--relay-proxy", entry, "--timeout", "1")
    (found,) = [one for one in json.loads(done.stdout)["findings"] if one["area"] == "relay proxy"]
    assert (found["state"], "has ended" in found["what"]) == ("warning", True)


def test_with_a_wrong_configuration_a_bundle_has_what_can_be_had_and_says_so(tmp_path):
    wrong, bundle = tmp_path / "wrong.ini", tmp_path / "bundle.tar.gz"
    with Gateway("--allowed-host", NAME) as gateway:
        wrong.write_text(f"[ogw]\nrun-dir = {gateway.run_dir}\nno-such-setting = 1\n")
        flags = ("--config", wrong, "--run-dir", gateway.run_dir)
        code, found = examined(*flags, "--bundle", bundle)
        assert code == 2
        (mistake,) = [one for one in found if one["area"] == "configuration"]
        assert "no-such-setting" in mistake["what"] and f"`ogw check --config {wrong}`" in mistake["do"]
        done = ogw("doctor", *flags, "--bundle", tmp_path / "again.tar.gz")
        assert "so its settings and its log are not in it" in done.stderr
    with tarfile.open(bundle) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        assert names == {"about.json", "limits.json", "doctor.json", "status.json", "metrics.txt"}
        status = json.loads(archive.extractfile("ogw-doctor/status.json").read())
        assert (
            status["state"] == "serving"
            and b"ogw_tunnels_active" in archive.extractfile("ogw-doctor/metrics.txt").read()
        )


def test_what_to_do_about_a_mistake_in_a_flag_is_not_to_check_the_file(tmp_path):
    (tmp_path / "ogw.ini").write_text("[ogw]\nallowed-host = a.example\n")
    code, found = examined("--config", tmp_path / "ogw.ini", "--head-timeout", "soon")
    (mistake,) = [one for one in found if one["area"] == "configuration"]
    assert code == 2 and mistake["do"] == "correct the flag or the variable that gives it"


def test_a_bundle_is_written_in_english(tmp_path):
    done = ogw("doctor", "--allowed-host", "192.0.2.0/24", "--bundle", tmp_path / "b.tgz", OGW_LANGUAGE="de")
    with tarfile.open(tmp_path / "b.tgz") as archive:
        told = archive.extractfile("ogw-doctor/doctor.json").read().decode()
    assert "there is no mistake in it" in told and "problem" in done.stdout
    assert "enthält keinen Fehler" in ogw("doctor", "--allowed-host", "192.0.2.0/24", OGW_LANGUAGE="de").stdout


def test_a_bundle_is_no_output():
    done = ogw("doctor", "--allowed-host", "192.0.2.0/24", "--bundle", "-")
    assert done.returncode == 1 and "--bundle: name a file" in done.stderr


def test_a_host_to_which_no_session_can_pass_is_not_called_well(server, authority_file):
    flags = ("--allowed-target-network", "127.0.0.0/8", "--admin-address", "")
    for more, states in (("", "warning"), (" no-server-name", "ok warning")):
        rule = f"{server.host}:{server.port}{more}"
        _code, found = examined("--allowed-host", rule, *flags, SSL_CERT_FILE=authority_file)
        (host,) = [one for one in found if one["area"] == "hosts"]
        assert host["state"] in states.split() and ("no session can pass" in host["what"]) is not more, host


@pytest.mark.parametrize("name", ["admin-tls", "listen-tls"])
@pytest.mark.parametrize("apart", [True, False], ids=["key", "key in the certificate's file"])
def test_keys_that_everybody_can_read_are_a_problem_wherever_they_stand(tmp_path, authority, name, apart):
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    issued = authority.issue_cert("gate.example")
    secret, public = issued.private_key_pem.bytes(), b"".join(one.bytes() for one in issued.cert_chain_pems)
    certificate.write_bytes(public if apart else secret + public)
    key.write_bytes(secret)
    for file in (certificate, key):
        file.chmod(0o644)
    flags = [f"--{name}-certificate", str(certificate), *([f"--{name}-key", str(key)] if apart else [])]
    flags += (
        ["--listen-address", f"tls://{address()}:8080"] if name == "listen-tls" else ["--admin-address", "127.0.0.1"]
    )
    code, found = examined("--allowed-host", "192.0.2.0/24", *flags)
    told = [one for one in found if one["where"] == str(key if apart else certificate) and one["area"] == "files"]
    assert code == 1 and [one["state"] for one in told] == ["problem"]


@pytest.mark.parametrize("kind", ["folder", "no folder"])
def test_what_to_do_about_a_log_fits_what_is_wrong_with_it(tmp_path, kind):
    path = tmp_path / "log" if kind == "folder" else tmp_path / "no" / "log"
    (tmp_path / "log").mkdir()
    _code, found = examined("--allowed-host", "192.0.2.0/24", "--log-file", path)
    (log,) = [one for one in found if one["where"] == str(path)]
    assert log["do"] == "mend that, or name another file in log-file"
