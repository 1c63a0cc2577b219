"""An upgrade under the systemd of Debian 12 and of Debian 13: it follows the successor, and no client is refused."""

import json
import signal

import pytest
from harness.clients import Steady
from harness.gateway import read_exactly
from harness.waiting import until

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]
TARGET = "127.0.0.1:443"
RATE, HELD = 100, 50
PACKAGE = "usr/lib/python3/dist-packages/ogw/__init__.py"


def steady(service):
    """A client that opens RATE tunnels a second, until the end of the block."""

    def tunnel():
        assert service.passes(TARGET)

    return Steady(tunnel, RATE)


def version(service, copy, text):
    """Install another version: what runs has the old one."""
    file = copy.folder / PACKAGE
    head, _mark, _rest = file.read_text().rpartition("__version__ = ")
    copy.write(f"/{PACKAGE}", f'{head}__version__ = "{text}"\n')
    service.machine.sh("find /usr/lib/python3/dist-packages/ogw -name __pycache__ -exec rm -r {} +")


def status(service):
    return json.loads(service.machine.run("ogw", "status", "--json", check=False).stdout)


def exchange(sock):
    sock.sendall(b"still")
    assert read_exactly(sock, 5) == b"still"


def test_an_upgrade_under_load_refuses_and_loses_nobody_and_systemd_follows(service, copy):
    version(service, copy, "1.0.0")
    service.begin(workers=2)
    old = service.pid
    held = [service.ask(TARGET)[0] for _number in range(HELD)]
    with steady(service) as clients:
        until(lambda: clients.done > RATE)
        version(service, copy, "2.0.0")
        done = service.machine.run("ogw", "upgrade")
        new = service.pid
        assert done.stdout.startswith(f"upgraded: ogw 2.0.0 serves (process {new})") and new != old
        until(lambda enough=clients.done + RATE: clients.done > enough)
        told = status(service)
        assert told["version"] == "2.0.0" and told["state"] == "serving"
        assert told["predecessor"]["pid"] == old and told["predecessor"]["tunnels"] >= HELD
        for sock in held:
            exchange(sock)
            sock.close()
        until(lambda: status(service)["predecessor"] is None)
        until(lambda enough=clients.done + RATE: clients.done > enough)
    assert clients.failed == []
    assert (service.pid, service.state("ActiveState"), service.state("NRestarts")) == (new, "active", "0")
    said = service.said()
    assert "reception only permitted" not in said and "not our child" not in said, said


def test_signs_of_life_stop_and_crash_are_the_successors(service):
    service.begin("WatchdogSec=2", "RestartSec=10ms")
    service.machine.run("ogw", "upgrade")
    new = service.pid
    until(lambda: int(service.state("NFileDescriptorStore")) > 0)
    sign = service.state("WatchdogTimestampMonotonic")
    until(lambda: service.state("WatchdogTimestampMonotonic") != sign)
    assert service.pid == new and service.passes(TARGET)
    service.crash()
    service.becomes("ActiveState", "active")
    assert service.passes(TARGET) and service.state("NRestarts") == "1"


def test_a_stop_gives_tunnels_of_both_their_time(service):
    service.begin(drain_timeout="60s")
    tunnel, _head = service.ask(TARGET)
    service.machine.run("ogw", "upgrade")
    old = status(service)["predecessor"]["pid"]
    service.machine.run("systemctl", "stop", "--no-block", "ogw")
    service.becomes("StatusText", "draining: 1 tunnels are open")
    with tunnel:
        exchange(tunnel)
        assert service.machine.sh(f"kill -0 {old}").returncode == 0
    service.becomes("ActiveState", "inactive")
    assert service.state("Result") == "success"
    assert service.machine.sh(f"kill -0 {old}", check=False).returncode != 0


def test_a_version_that_cannot_start_changes_nothing(service, copy):
    version(service, copy, "1.0.0")
    service.begin()
    old = service.pid
    tunnel, _head = service.ask(TARGET)
    copy.write(f"/{PACKAGE}", "raise SystemExit('broken')\n")
    service.kill(signal.SIGUSR2, old)
    until(lambda: service.lines(event=406))
    assert service.pid == old and service.passes(TARGET)
    with tunnel:
        exchange(tunnel)
    copy.write(f"/{PACKAGE}", '"""ogw: a version."""\n\n__version__ = "3.0.0"\n')
    service.machine.run("ogw", "upgrade")
    assert status(service)["version"] == "3.0.0" and service.passes(TARGET)
