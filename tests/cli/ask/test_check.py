"""`ogw check` finds what `ogw run` would refuse to start with, and says where it stands."""

import json
import subprocess

import pytest
from harness.commands import OGW, ROOT, clean, ogw
from harness.gateway import Gateway


@pytest.fixture
def file(tmp_path):
    return tmp_path / "ogw.ini"


def test_a_right_configuration_is_one_line(file):
    file.write_text("[ogw]\nallowed-host =\n    www.example.com\n    *.example.net\ndenied-host = bad.example.net\n")
    done = ogw("check", "--config", file)
    assert (done.returncode, done.stderr) == (0, "")
    policy = json.loads(ogw("check", "--config", file, "--json").stdout)["policy"]
    assert done.stdout == f"fine: 2 allowed hosts, 1 denied, policy {policy}, {file}\n"


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
    command = [*OGW, "run", *flags, "--listen-address", "192.0.2.1", "--run-dir", str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, env=clean(), capture_output=True, text=True, timeout=60)
    assert ran.returncode == 2  # that address is nobody's
    checked = ogw("check", *flags)
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
    assert done.stdout.startswith("fine: 0 allowed hosts, policy ")


def test_no_password_is_shown():
    flags = ("--relay-proxy", "http://user7:secret7@p.example:0", "--relay-proxy-password", "secr\tet7")
    for words in (flags, (*flags, "--json")):
        done = ogw("check", *words)
        assert done.returncode == 2 and "relay-proxy" in done.stdout + done.stderr
        assert not any(text in done.stdout + done.stderr for text in ("user7", "secret7", "secr\tet7"))
