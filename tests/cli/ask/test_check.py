"""`ogw check` finds what `ogw run` would refuse to start with, and says where it stands."""

import json
import os
import pathlib
import socket
import subprocess
import time

import pytest
from harness.commands import OGW, ROOT, clean, ogw
from harness.gateway import Gateway, free_port
from harness.netns import Namespace
from harness.peers import peer, without
from harness.waiting import until


@pytest.fixture
def file(tmp_path):
    return tmp_path / "ogw.ini"


def test_a_right_configuration_is_one_line(file):
    file.write_text("[ogw]\nallowed-host =\n    www.example.com\n    *.example.net\ndenied-host = bad.example.net\n")
    done = ogw("check", "--config", file)
    assert (done.returncode, done.stderr) == (0, "")
    policy = json.loads(ogw("check", "--config", file, "--json").stdout)["policy"]
    assert done.stdout == f"fine: 2 allowed hosts and 1 denied host; policy {policy}, {file}\n"


def test_its_policy_is_the_one_that_the_gateway_runs_with(file):
    file.write_text("[ogw]\nallowed-host = www.example.com\ntls-min-version = 1.3\n")
    told = json.loads(ogw("check", "--json", OGW_CONFIG=str(file)).stdout)
    with Gateway("--config", str(file), tls_rules=None) as gateway:
        assert gateway.wait_for(event=101)["policy"] == told["policy"]
    assert told == {
        "file": str(file),
        "mistakes": [],
        "warnings": [],
        "policy": told["policy"],
        "rules": {"allowed-host": 1, "denied-host": 0},
    }


def test_every_mistake_of_every_source_is_told_with_where_it_stands(file):
    file.write_text("[ogw]\nallowed-host =\n    www.example.com\n    *.com\nlog-levl = debug\nlisten-port = 0\n")
    words = ("--config", file, "--idle-timeout", "soon", "--nope", "1")
    done = ogw("check", *words, OGW_WORKERS="many")
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    for place in (f"{file}:4: ", f"{file}:5: ", f"{file}:6: ", "--idle-timeout: ", "--nope: ", "OGW_WORKERS: "):
        assert sum(line.startswith(f"ogw: {place}") for line in lines) == 1, place
    assert lines[-1].startswith("ogw: 6 mistakes: no gateway starts with this") and str(file) in lines[-1]
    told = json.loads(ogw("check", *words, "--json", OGW_WORKERS="many").stdout)
    assert [f"ogw: {mistake}" for mistake in told["mistakes"]] == lines[:-1]


@pytest.mark.parametrize(
    "flags",
    [
        ("--allowed-host", "a.example"),
        ("--allowed-host", "*"),
        ("--config", "/nowhere/ogw.ini"),
        ("--tls-rules", "off", "--allowed-client-certificate", "x"),
        ("--relay-proxy-password-file", "/nowhere/password"),
    ],
)
def test_it_is_as_right_or_wrong_as_starting_the_gateway(flags, tmp_path):
    with socket.create_server(("127.0.0.1", free_port("127.0.0.1"))) as taken:  # so that it does not start
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [*OGW, "run", *flags, "--listen-address", place, "--run-dir", str(tmp_path)]
        ran = subprocess.run(command, cwd=ROOT, env=clean(), capture_output=True, text=True, timeout=60)
        checked = ogw("check", *flags, "--listen-address", place)
    assert ran.returncode == 2
    assert checked.returncode == (0 if "cannot listen" in ran.stderr else 2)
    if checked.returncode:
        mistakes = [line.partition("wrong configuration: ")[2] for line in ran.stderr.splitlines()]
        assert [line.partition("ogw: ")[2] for line in checked.stderr.splitlines()[:-1]] == mistakes


def test_warnings_are_no_mistakes():
    done = ogw("check", "--tls-rules", "off")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "ogw: warning: allowed-host is empty: every target is denied",
        "ogw: warning: tls-rules = off: anything passes to an allowed target, TLS or not",
    ]
    assert done.stdout.startswith("fine: 0 allowed hosts; policy ")


def test_no_password_is_shown():
    flags = ("--relay-proxy", "http://user7:secret7@p.example:0", "--relay-proxy-password", "secr\tet7")
    for words in (flags, (*flags, "--json")):
        done = ogw("check", *words)
        assert done.returncode == 2 and "relay-proxy" in done.stdout + done.stderr
        assert not any(text in done.stdout + done.stderr for text in ("user7", "secret7", "secr\tet7"))


FINE = {
    "all by default": "",
    "every family": "listen-address = 127.0.0.9\n    ::1\n",
    "the same address twice": "listen-address = 127.0.0.9, 127.0.0.9:{port}\n",
    "every address, both families": "listen-address = 0.0.0.0, ::\n",
    "two ports": "listen-address = 127.0.0.9:{port}, 127.0.0.9:{other}\n",
    "all on one port": "listen-address = 127.0.0.9\nadmin-address = 127.0.0.8:{port}\nhealth-address = [::1]:{port}\n",
    "a log file": "log-file = {folder}/ogw.log\n",
    "a log file that is there": "log-file = {folder}/there\n",
    "a log file behind a link": "log-file = {folder}/link\n",
    "a device": "log-file = /dev/null\n",
    "a system's log": "syslog = 127.0.0.1:9\n",
    "a run-dir to be made": "run-dir = {folder}/run\n",
    "a run-dir that is there": "run-dir = {folder}\n",
    "a state-dir that cannot be": "state-dir = {folder}/there/state\n",
    "a relay proxy": "relay-proxy = http://proxy.example:3128/\n",
    "a password": "relay-proxy = https://p.example\nrelay-proxy-username = u\nrelay-proxy-password-file = there\n",
    "agents": "agent-config = auto\n    {folder}/no-agent\n",
    "presets": "preset = azure-arc, azure-automation\nregion = West Europe\n",
    "a list": "allowed-host-source = {folder}/list\n    https://lists.example/hosts.txt\n",
    "DNS servers": "dns-server = 127.0.0.1:54, [::1]:54\n",
    "all rules off": "tls-rules = off\n",
    "least": "handshake-memory = 128KiB\nhandshake-max-size = 1024\ntcp-keepalive = 0\n",
    "most": "max-tunnels = 10000000\nidle-timeout = 30d\nclient-ipv6-prefix = 128\n",
}


@pytest.mark.parametrize("name", FINE)
def test_what_is_called_fine_starts(name, tmp_path):
    (tmp_path / "there").write_text("secret")
    (tmp_path / "list").write_text("a.example\n")
    (tmp_path / "link").symlink_to("behind")
    port = 20000 + os.getpid() % 5000  # below those that the kernel gives away, and another one for each run
    file = tmp_path / "gw.ini"
    text = FINE[name].format(folder=tmp_path, port=port, other=port + 5000)
    plain = {"listen-address": "127.0.0.9", "run-dir": tmp_path / "run", "state-dir": tmp_path, "admin-address": ""}
    plain = "".join(f"{key} = {value}\n" for key, value in plain.items() if key not in text)
    file.write_text(f"[ogw]\nlisten-port = {port}\nworkers = 1\n{plain}{text}")
    done = ogw("check", "--config", file)
    assert done.returncode == 0, done.stderr
    command = [*OGW, "run", "--config", str(file)]
    with subprocess.Popen(command, cwd=ROOT, env=clean(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            until(lambda: process.poll() is not None or is_ready(tmp_path))
            assert process.poll() is None, process.stderr.read()
        finally:
            process.terminate()
            process.wait(30)


def is_ready(folder):
    places = [place for place in (folder / "run", folder) if (place / "admin.sock").exists()]
    return any(ogw("status", OGW_RUN_DIR=str(place)).returncode == 0 for place in places)


NOT_FINE = {
    "overlapping": "listen-address = 0.0.0.0, 127.0.0.1\n",
    "admin": "listen-address = 127.0.0.1\nadmin-address = 0.0.0.0:{port}\n",
    "mapped": "listen-address = ::ffff:127.0.0.1\n",
    "link-local": "listen-address = fe80::1\n",
    "no folder": "log-file = {folder}/no/ogw.log\n",
    "a folder": "log-file = {folder}\n",
    "a link to nowhere": "log-file = {folder}/link\n",
    "no system's log": "syslog = {folder}/no\n",
    "no run-dir": "run-dir = {folder}/no/run\n",
    "too long a run-dir": "run-dir = {folder}/" + "x" * 100 + "\n",
    "a folder in the socket's place": "run-dir = {folder}/taken\n",
    "a run-dir of nobody": "run-dir = {folder}/closed\n",
    "a run-dir in what is closed": "run-dir = {folder}/closed/run\n",
    "the name of a folder": "log-file = {folder}/there/\n",
    "a way through what is not there": "log-file = {folder}/no/../ogw.log\n",
    "a log that may not be written": "log-file = {folder}/secret\n",
    "a log where none can be made": "log-file = {folder}/closed/ogw.log\n",
    "authorities that may not be read": "relay-proxy = https://p.example\nrelay-proxy-ca-file = secret\n",
    "a password that may not be read": "relay-proxy = p.example\nrelay-proxy-username = u\n"
    "relay-proxy-password-file = secret\n",
    "tokens that may not be read": "admin-token-file = secret\n",
    "a certificate that may not be read": "admin-tls-certificate = secret\nadmin-tls-key = secret\n",
    "a list that may not be read": "allowed-host-source = {folder}/secret\n",
    "presets that may not be read": "presets-folder = {folder}/closed\npreset = mine\n",
    "another machine's address": "listen-address = 198.51.100.7\n",
    "another machine's address for health": "health-address = 198.51.100.7\n",
    "another machine's address for metrics": "admin-address = [2001:db8::7]:9180\n",
    "root's port": "listen-address = 127.0.0.9:81\n",
    "root's port for every address": "listen-port = 81\n",
    "root's port for health": "health-address = 127.0.0.9:81\n",
}


@pytest.mark.parametrize("name", NOT_FINE)
def test_what_does_not_start_is_not_called_fine(name, tmp_path):
    if "81" in NOT_FINE[name] and UNPRIVILEGED.read_text() == "0\n":
        without("this system lets everybody listen on every port")
    (tmp_path / "link").symlink_to("no/behind")
    (tmp_path / "taken" / "admin.sock").mkdir(parents=True)
    (tmp_path / "there").mkdir()
    (tmp_path / "secret").touch(0)
    (tmp_path / "closed").mkdir(0o500 if "run-dir" in NOT_FINE[name] else 0)
    file = tmp_path / "gw.ini"
    text = NOT_FINE[name].format(folder=tmp_path, port=9999)
    port = "" if "listen-port" in text else "listen-port = 9999\n"
    file.write_text(f"[ogw]\nworkers = 1\n{port}{text}")
    ran, done = (as_anybody(*words, "--config", str(file)) for words in (["run"], ["check"]))
    assert ran.returncode == done.returncode == 2
    (mistake, _sum) = done.stderr.splitlines()
    assert mistake.startswith(f"ogw: {file}:") and mistake.removeprefix("ogw: ") in ran.stderr


UNPRIVILEGED = pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
ROOTS = "dac_override,dac_read_search,net_bind_service"  # what root may and others may not


def as_anybody(*words):
    """The command's end, by a user who may no more than others."""
    less = "-" + ROOTS.replace(",", ",-")
    drop = [peer("setpriv"), f"--bounding-set={less}", f"--inh-caps={less}"] if os.geteuid() == 0 else []
    command = [*drop, *OGW, *words]
    return subprocess.run(command, cwd=ROOT, env=clean(), capture_output=True, text=True, timeout=60)


MEETS = {
    "listen-address": "listen-address = 127.0.0.1:9180\n",
    "every listen-address": "listen-address = 0.0.0.0\nlisten-port = 9180\n",
    "health-address": "listen-address = 127.0.0.9\nhealth-address = 127.0.0.1:9180\n",
}


@pytest.mark.parametrize("name", MEETS)
def test_a_default_admin_address_gives_way_to_what_is_asked_for_and_check_tells_it_as_a_start_does(name, tmp_path):
    file = tmp_path / "gw.ini"
    file.write_text(f"[ogw]\nallowed-host = a.example\nrun-dir = {tmp_path}/run\nworkers = 1\n{MEETS[name]}")
    done = ogw("check", "--config", file)
    ((prefix, told),) = [line.split("warning: ", 1) for line in done.stderr.splitlines()]
    assert done.returncode == 0 and prefix == "ogw: "
    assert (
        told.startswith("admin-address: its default, 127.0.0.1:9180, is left out, since ") and name.split()[-1] in told
    )
    with Namespace(tmp_path, "") as namespace:
        command = [*namespace.command, *OGW, "run", "--config", str(file)]
        with subprocess.Popen(command, cwd=ROOT, env=clean(), stdout=subprocess.PIPE) as process:
            try:
                started, warned = (json.loads(process.stdout.readline()) for _line in range(2))
            finally:
                process.terminate()
                more = process.communicate()[0].decode()
    assert started["event"] == 101 and warned["message"] == told and "warning" not in more
    done = ogw("check", "--config", file, "--admin-address", "")
    assert (done.returncode, done.stderr) == (0, "")
    done = ogw("check", "--config", file, "--admin-address", "127.0.0.1:9180")
    assert done.returncode == 2 and "overlap" in done.stderr


def test_what_a_gateway_goes_on_without_is_told(tmp_path):
    place = ("--config", "/dev/null", "--allowed-host", "a.example")
    done = as_anybody("check", *place, "--allowed-host-source", "https://a.example/x", "--state-dir", "/dev/null/x")
    assert done.returncode == 0 and "warning: state-dir: /dev/null/x: user " in done.stderr
    done = ogw("check", *place, RUNTIME_DIRECTORY=str(tmp_path / ("x" * 120)))
    assert done.returncode == 0 and f"warning: run-dir: {tmp_path}/xxx" in done.stderr
    assert "is too long for the path of a socket" in done.stderr


def test_an_agent_that_is_not_there_is_told():
    done = ogw("check", "--agent-config", "/nowhere/agent", "--allowed-host", "a.example")
    assert done.returncode == 0 and "warning: agent-config: no file of an agent is there: /nowhere/agent" in done.stderr


def test_rules_of_another_stage_are_told_as_left_out(file):
    rules = "www.example.com\n    new.example.com stage=canary\n    newer.example.com stage=pilot\n"
    file.write_text(f"[ogw]\nallowed-host =\n    {rules}denied-host = bad.example.net stage=canary\n")
    told = json.loads(ogw("check", "--config", file, "--json").stdout)
    assert told["rules"] == {"allowed-host": 1, "denied-host": 0, "left-out": 3}
    done = ogw("check", "--config", file)
    assert done.stdout.startswith("fine: 1 allowed host and 3 rules left out (stage canary, pilot); policy ")
    done = ogw("check", "--config", file, "--stage", "canary")
    assert done.stdout.startswith("fine: 2 allowed hosts, 1 denied host, and 1 rule left out (stage pilot); policy ")
    shown = ogw("config", "show", "--config", file, "--stage", "canary").stdout.splitlines()
    (left_out,) = (line.split("  ")[0] for line in shown if line.startswith("left out"))
    assert left_out == "left out, of another stage: newer.example.com stage=pilot"


def test_a_name_that_nobody_can_show_is_a_mistake(file):
    file.write_text("[ogw]\nallowed-host = www.example.com from=cn:till-17\n")
    done = ogw("check", "--config", file)
    assert done.returncode == 2
    assert f"ogw: {file}:2: host rule 'www.example.com from=cn:till-17': from=cn:till-17 names clients" in done.stderr


def test_a_policy_that_only_reports_is_told():
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    done = ogw("check", "--allowed-host", "a.example", "--policy-mode", "report", "--report-until", end)
    assert done.returncode == 0 and done.stdout.startswith("fine: ")
    assert f"policy-mode = report: until {end} what no rule allows is only logged, and passes" in done.stderr


def test_rules_that_have_ended_are_not_counted():
    rules = "a.example, b.example until=2020-01-01T00:00:00Z, c.example until=2099-01-01T00:00:00Z"
    done = ogw("check", "--allowed-host", rules, "--denied-host", "d.example until=2020-01-01T00:00:00Z")
    assert (done.returncode, done.stdout.partition(";")[0]) == (0, "fine: 2 allowed hosts")
