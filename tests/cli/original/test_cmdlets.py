"""The original's cmdlets behind the word `ogw`: each example of its manual does what it did there."""

import os
import pathlib
import shlex
import subprocess

import pytest
from harness.commands import OGW, ROOT, clean
from harness.edits import Edited
from harness.gateway import Gateway
from harness.waiting import until

# Every example of the original's manual, in its order, and what the file says afterwards.
PROXY = "relay-proxy = http://www.myproxy.com:8080\n"
HOSTS = [f"{code}.azure-automation.net" for code in ("we-jobruntimedata-prod-su1", "ncus-agentservice-prod-1")]
EXAMPLES = [
    ("Set-OMSGatewayConfig -Name ListenPort -Value 8080", "listen-port = 8080\n"),
    ("Get-OMSGatewayConfig", None),
    ("Get-OMSGatewayConfig -Name ListenPort", None),
    (
        "Set-OMSGatewayRelayProxy -Address http://www.myproxy.com:8080 -Username user1 -Password 123",
        f"{PROXY}relay-proxy-username = user1\nrelay-proxy-password-file = FOLDER/relay-proxy.password\n",
    ),
    ("Set-OMSGatewayRelayProxy -Address http://www.myproxy.com:8080", PROXY),
    ('Set-OMSGatewayRelayProxy -Address ""', ""),
    ("Get-OMSGatewayRelayProxy", None),
    ("Add-OMSGatewayAllowedHost -Host www.test.com", "allowed-host = www.test.com\n"),
    ("Remove-OMSGatewayAllowedHost -Host www.test.com", ""),
    ("Get-OMSGatewayAllowedHost", None),
    ("Add-OMSGatewayAllowedClientCertificate -Subject mycert", "allowed-client-certificate = mycert\n"),
    ("Remove-OMSGatewayAllowedClientCertificate -Subject mycert", ""),
    ("Get-OMSGatewayAllowedClientCertificate", None),
    (f"Add-OMSGatewayAllowedHost {HOSTS[0]}", f"allowed-host = {HOSTS[0]}\n"),
    (f"Add-OMSGatewayAllowedHost {HOSTS[1]}", f"allowed-host = {HOSTS[0]}\n    {HOSTS[1]}\n"),
    ("Restart-Service OMSGatewayService", None),
]
PORT = "listen-port = 8080\n"


@pytest.fixture
def file(tmp_path):
    return Edited(tmp_path)


def test_every_example_of_the_originals_manual_in_its_order(file):
    with Gateway("--allowed-host", "a.example") as gateway:
        for typed, _after in EXAMPLES:
            end = file.run(*shlex.split(typed), OGW_RUN_DIR=gateway.run_dir)
            assert end.returncode == 0, (typed, end)
            assert end.stderr.startswith("ogw: that is `ogw "), (typed, end)
            _assert_says(file, typed, _after)
        gateway.wait_for(event=109)


def _assert_says(file, typed, after):
    """The setting that a line is about stands in the file so; the port, which came first, stays."""
    if after is None:
        return
    expected = after if after == PORT else PORT + after
    assert file.text == "[ogw]\n" + expected.replace("FOLDER", str(file.folder)), typed


def test_what_is_shown_is_what_was_set(file):
    assert file.done("Get-OMSGatewayConfig", "-Name", "ListenPort") == "8080\n"  # the default
    file.write("[ogw]\nlisten-port = 8081\nallowed-host = a.example, b.example\n    *.c.example\n")
    assert file.done("Get-OMSGatewayConfig") == "ListenPort = 8081\n"
    assert file.done("Get-OMSGatewayConfig", "-Name", "ListenPort") == "8081\n"
    assert file.done("Get-OMSGatewayAllowedHost").splitlines() == ["a.example", "b.example", "*.c.example"]
    assert file.done("Get-OMSGatewayAllowedClientCertificate") == ""
    file.done("Add-OMSGatewayAllowedClientCertificate", "-Subject", "CN=a, O=b")
    assert file.done("Get-OMSGatewayAllowedClientCertificate") == "CN=a, O=b\n"
    file.done("Set-OMSGatewayRelayProxy", "-Address", "http://u:secret@proxy.example:3128")
    shown = file.run("Get-OMSGatewayRelayProxy")
    assert "proxy.example:3128" in shown.stdout and "secret" not in shown.stdout + shown.stderr


@pytest.mark.parametrize(
    "typed",
    [
        "add-omsgatewayallowedhost -host www.test.com",
        "ADD-OMSGATEWAYALLOWEDHOST -HOST www.test.com",
        "Add-OMSGatewayAllowedHost -Host:www.test.com",
        "Add-OMSGatewayAllowedHost -Host: www.test.com",
        "Add-OMSGatewayAllowedHost -H www.test.com",
        "Add-OMSGatewayAllowedHost -ho:www.test.com -Force",
        "Add-OMSGatewayAllowedHost -Force www.test.com -Confirm:$false -Verbose",
        "Add-OMSGatewayAllowedHost \u2013Host www.test.com",
        "Add-OMSGatewayAllowedHost www.test.com --config={path}",
        "Add- OMSGatewayAllowedHost -Host www.test.com",
        "Add -OMSGatewayAllowedHost www.test.com",
        "'add- omsgatewayallowedhost www.test.com'",
        "Add\u2013OMSGatewayAllowedHost www.test.com",
    ],
)
def test_names_are_understood_as_powershell_does(file, typed):
    end = file.run(*shlex.split(typed.replace("$", "\\$").format(path=file.path)))
    assert (end.returncode, end.stdout) == (0, "+ allowed-host www.test.com\n"), end
    assert end.stderr.startswith("ogw: that is `ogw allowed-host add www.test.com`\n")
    assert file.text == "[ogw]\nallowed-host = www.test.com\n"


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("Set-OMSGatewayConfig -Name ListenPort -Value eighty", "listen-port: 'eighty': it is not a whole number"),
        (
            "Set-OMSGatewayConfig -Name Port -Value 1",
            "ogw does not know the key 'Port'; of the original's keys it knows ListenPort",
        ),
        ("Set-OMSGatewayConfig -Name listen-port -Value 1", "ogw does not know the key 'listen-port'"),
        ("Get-OMSGatewayConfig Foo", "ogw does not know the key 'Foo'"),
        ("Set-OMSGatewayConfig -Value 1", "-Name is missing"),
        ("Set-OMSGatewayConfig -Name", "-Name needs a value"),
        ("Set-OMSGatewayConfig -Name -Value 1", "-Name needs a value"),
        ("Set-OMSGatewayConfig -Name ListenPort -name ListenPort", "-Name is given twice"),
        ("Set-OMSGatewayConfig -V 1 ListenPort", "-V may mean -Value or -Verbose; write more of the name"),
        ("Set-OMSGatewayConfig -Port 1", "the cmdlet has no parameter -Port"),
        ("Add-OMSGatewayAllowedHost", "-Host is missing; the cmdlet is used as Add-OMSGatewayAllowedHost -Host HOST"),
        ('Add-OMSGatewayAllowedHost ""', "-Host is empty"),
        ("Add-OMSGatewayAllowedHost a.example b.example", "'b.example' is too much"),
        ("Add-OMSGatewayAllowedHost -Confirm:maybe a.example", "-Confirm takes $true or $false"),
        ("Add-OMSGatewayAllowedHost a.example --relaod", "'--relaod' is not a flag of a cmdlet"),
        ("Add-OMSGatewayAllowedHost a.example --config", "--config needs a value"),
        ("Add-OMSGatewayAllowdHost a.example", "did you mean Add-OMSGatewayAllowedHost"),
        ("Format-Disk c", "'Format-Disk' is none of the original's cmdlets"),
        ("Restart-Service Spooler", "the service 'Spooler' is not the gateway's"),
        ("Set-OMSGatewayRelayProxy -Address http://p.example -Password 5ecret", "a password, but no user name"),
        ('Set-OMSGatewayRelayProxy -Address "" -Password 5ecret', "but no address"),
        ("Set-OMSGatewayRelayProxy http://p.example u 5ecret 5ecret", "there is a word too much"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_changed(file, typed, says):
    file.write("[ogw]\nlisten-port = 8081\n")
    end = file.run(*shlex.split(typed))
    assert end.returncode == 2, end
    assert says in end.stderr
    assert "5ecret" not in end.stderr + end.stdout
    assert file.text == "[ogw]\nlisten-port = 8081\n"
    assert [path.name for path in file.folder.iterdir()] == ["ogw.ini"]


def test_a_host_that_is_there_is_left_and_one_that_is_not_there_is_not_done(file):
    file.write("[ogw]\nallowed-host = a.example\n")
    assert "is there already" in file.told("Add-OMSGatewayAllowedHost", "A.example")
    assert "allowed-host b.example is not there" in file.told("Remove-OMSGatewayAllowedHost", "b.example", code=1)
    assert file.text == "[ogw]\nallowed-host = a.example\n"


def test_a_dry_run_says_what_would_change_and_leaves_everything(file):
    words = ["Set-OMSGatewayRelayProxy", "http://p.example", "u", "5ecret"]
    for flag in ("--dry-run", "-WhatIf"):
        end = file.run(*words, flag)
        assert (end.returncode, list(file.folder.iterdir())) == (0, []), end
        assert "+ relay-proxy http://p.example" in end.stdout and "5ecret" not in end.stdout + end.stderr
    file.done(*words)
    kept = {path: path.read_bytes() for path in file.folder.iterdir()}
    file.done(*words[:3], "other", "--dry-run")
    assert {path: path.read_bytes() for path in file.folder.iterdir()} == kept


def test_a_password_goes_into_a_file_of_its_own_with_a_warning(file):
    end = file.run("Set-OMSGatewayRelayProxy", "-Address", "http://p.example", "-User", "u", "-P:5ecret word")
    assert end.returncode == 0
    assert "ogw: warning: others can read a password on a command line" in end.stderr
    secret = file.folder / "relay-proxy.password"
    assert secret.read_text() == "5ecret word\n"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert "5ecret" not in file.text + end.stdout + end.stderr + file.log.read_text()
    assert "relay-proxy-password (hidden)" in file.changes[-1]["added"]
    # The same with another password is a change, too.
    end = file.run("Set-OMSGatewayRelayProxy", "http://p.example", "u", "0ther")
    assert (end.returncode, secret.read_text()) == (0, "0ther\n")
    assert file.changes[-1]["added"] == file.changes[-1]["removed"] == ["relay-proxy-password (hidden)"]
    end = file.run("Set-OMSGatewayRelayProxy", "http://p.example", "u", "0ther")
    assert len(file.changes) == 2 and "has that value already" in end.stderr


def test_a_password_stays_as_it_was_where_the_edit_fails(file):
    file.done("Set-OMSGatewayRelayProxy", "http://p.example", "u", "5ecret")
    kept = file.text
    end = file.run("Set-OMSGatewayRelayProxy", "nonsense://p.example", "u", "0ther")
    assert end.returncode == 2 and "is none of http://, https://" in end.stderr
    assert (file.folder / "relay-proxy.password").read_text() == "5ecret\n"
    assert file.text == kept and not file.leftovers()


@pytest.mark.parametrize(
    "words",
    [
        ["Set-OMSGatewayRelayProxy", "-Address", "http://p.example", "-Username", "u", "-Password", "5ecret"],
        ["set-omsgatewayrelayproxy", "-a:http://p.example", "-pa:5ecret", "-USER", "u"],
        ["Set-OMSGatewayRelayProxy", "http://p.example", "u", "5ecret"],
        ["Set-", "OMSGatewayRelayProxy", "http://p.example", "u", "5ecret"],
        ["Set-OMSGatewayRelayProxi", "http://p.example", "u", "5ecret"],
    ],
)
def test_a_password_is_wiped_from_the_process_command_line(file, words):
    fifo = file.folder / "ogw.ini"
    os.mkfifo(fifo)  # the command waits in opening it: there is time to look
    with subprocess.Popen(
        [*OGW, *words, "--config", fifo], cwd=ROOT, env=clean(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        shown = pathlib.Path(f"/proc/{process.pid}/cmdline")
        until(lambda: process.poll() is not None or b"(hidden)" in shown.read_bytes())
        if "Proxi" not in words[0]:
            assert b"5ecret" not in shown.read_bytes() and b"(hidden)" in shown.read_bytes()
        process.kill()
        assert b"5ecret" not in process.stderr.read()


def test_restart_service_reloads_and_needs_a_gateway(file):
    assert "no gateway to ask" in file.told("Restart-Service", "OMSGatewayService", code=3)
    file.write("[ogw]\nallowed-host = a.example\n")
    with Gateway("--config", str(file.path)) as gateway:
        file.done("Add-OMSGatewayAllowedHost", "b.example", "--reload", "--run-dir", gateway.run_dir)
        assert gateway.wait_for(event=109)["changed"] == ["allowed-host"]
        file.done("Add-OMSGatewayAllowedHost", "c.example", OGW_RUN_DIR=gateway.run_dir)
        said = file.done("restart-service", "-Name", "omsgatewayservice", "-Force", OGW_RUN_DIR=gateway.run_dir)
        assert said.startswith("reloaded, changed: allowed-host")


@pytest.mark.parametrize("typed", ["Get-Module OMSGateway", "get-module -ListAvailable", "Write-Host 'done; now wait'"])
def test_what_is_for_powershell_itself_means_nothing_here(file, typed):
    end = file.run(*shlex.split(typed))
    assert (end.returncode, end.stdout, end.stderr) == (0, "", "ogw: the cmdlet does nothing here\n")
    assert "usage: ogw Get-Module ..." in file.done("Get-Module", "--help")


def test_each_has_help(file):
    shown = file.done("Add-OMSGatewayAllowedHost", "-?")
    assert shown.startswith("usage: ogw Add-OMSGatewayAllowedHost -Host HOST [--config FILE]")
    assert file.done("help", "Set-OMSGatewayRelayProxy").startswith("usage: ogw Set-OMSGatewayRelayProxy -Address")


def test_a_password_in_a_host_is_not_shown(tmp_path):
    done = Edited(tmp_path, "[ogw]\n").run("Add-OMSGatewayAllowedHost", "http://u:hunter2@p.example/")
    assert done.returncode and "hunter2" not in done.stdout + done.stderr, done


def test_short_names_of_what_any_cmdlet_takes(tmp_path):
    file = Edited(tmp_path, "[ogw]\n")
    file.done("Add-OMSGatewayAllowedHost", "-Host", "a.example", "-ea", "SilentlyContinue", "-WA", "0")
    assert "allowed-host = a.example\n" in file.text
