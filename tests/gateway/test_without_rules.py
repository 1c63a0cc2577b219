"""A service that is enabled before it is set up: with --only-with-rules it refuses nobody, as it does not serve."""

import datetime
import json
import socket
import sys

import pytest
from harness.commands import ogw
from harness.gateway import Gateway
from harness.handover import Upgraded

from ogw.settings.loader import load
from ogw.settings.settings import SETTINGS

SWITCH = "--only-with-rules"
SAYS = "no host is allowed yet, so the gateway does not serve; one of these two starts it: `ogw setup`, or "
ALLOWING = {"allowed-host": "www.example.com", "allowed-host-source": "hosts", "preset": "azure-arc",
            "agent-config": "auto"}  # fmt: skip


def test_it_ends_well_and_says_what_to_do_to_systemd_to_the_log_and_to_people(tmp_path):
    (tmp_path / "ogw.ini").write_text("[ogw]\nallowed-host =\ndenied-host = www.example.com\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        told = {"OGW_CONFIG": str(tmp_path / "ogw.ini"), "NOTIFY_SOCKET": str(tmp_path / "notify")}
        done = ogw("run", SWITCH, **told)
        ready, status = systemd.recv(4096).decode().split("\n")
    assert done.returncode == 0
    assert ready == "READY=1", "it would be a failure that it ends"
    assert status.startswith(f"STATUS={SAYS}") and done.stderr.startswith(f"ogw: {SAYS}")
    line = json.loads(done.stdout)
    assert (line["event"], line["level"]) == (100, "info") and line["message"].startswith(SAYS)


def test_with_a_rule_it_serves():
    with Gateway("--allowed-host", "www.example.com", program=[sys.executable, "-m", "ogw", "run", SWITCH]) as gateway:
        assert gateway.stop() == 0


def test_what_is_wrong_is_told_first(tmp_path):
    done = ogw("run", SWITCH, "--no-such-flag", OGW_CONFIG=str(tmp_path / "missing.ini"))
    assert done.returncode == 2 and "--no-such-flag: there is no such flag" in done.stderr


@pytest.mark.parametrize("name", [name for name, setting in SETTINGS.items() if setting.allows])
def test_whatever_names_hosts_is_a_rule(name, tmp_path):
    (tmp_path / "hosts").write_text("")
    value = str(tmp_path / "hosts") if name == "allowed-host-source" else ALLOWING[name]
    assert load([f"--{name}", value], {}).allows_any
    assert not load(["--denied-host", "www.example.com"], {}).allows_any


def test_who_only_reports_serves():
    soon = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)).isoformat()
    assert load(["--policy-mode", "report", "--report-until", soon], {}).allows_any


def test_a_successor_serves_whatever_is_allowed_by_then(tmp_path):
    """A handover that fails would keep rules in force that were taken away."""
    ini = tmp_path / "ogw.ini"
    ini.write_text("[ogw]\nallowed-host = www.example.com\n")
    words = [sys.executable, "-m", "ogw", "run", SWITCH]
    with Upgraded("--config", str(ini), program=words) as gateway:
        ini.write_text("[ogw]\n")
        gateway.upgrade()
        gateway.wait_for_end_of(gateway.pids[0])
