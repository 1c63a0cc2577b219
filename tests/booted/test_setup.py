"""`ogw setup` on a machine: what it made is still so after a reboot, and what it took away is gone."""

import re
import socket

import pytest
from harness.booted import Booted
from harness.roots import RELEASES, Copy
from harness.service import Service
from harness.upstreams import Server, echo

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]
TARGET = "127.0.0.1:443"
# As an administrator has it: nothing comes in that no rule lets in, from this machine either.
RULES = """#!/usr/sbin/nft -f
flush ruleset
table inet filter {
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        tcp dport 443 accept
    }
}
"""
SETUP = (
    *("ogw", "setup", "--yes", "--allowed-host", "127.0.0.0/8", "--allowed-target-network", "127.0.0.0/8"),
    *("--tls-rules", "off"),
)


@pytest.mark.parametrize("release", RELEASES)
def test_service_and_open_port_outlive_a_reboot_and_a_reload_of_the_firewall(release):
    with Copy(release) as copy:
        copy.install_sources()
        (copy.folder / "usr/lib/systemd/system/ogw.service").unlink()
        copy.write("/etc/nftables.conf", RULES)
        with Booted(copy.folder) as machine:
            service = Service(machine, copy)
            machine.run("systemctl", "enable", "--now", "nftables")
            done = machine.run(*SETUP)
            assert "done: open TCP port 8080 in nftables" in done.stdout
            assert "Nothing to do: all of this is done already." in machine.run(*SETUP).stdout
            done = machine.run("systemd-analyze", "verify", "--man=no", "ogw.service", "nftables.service")
            assert (done.stdout, done.stderr) == ("", "")
            assert _passes(service)
            machine.sh("echo lists > /var/lib/ogw/of-the-test; echo lines > /var/log/ogw/of-the-test")
            machine.run("systemctl", "reload", "nftables")
            assert _passes(service) and _rules(machine) == 1
            machine.run("systemctl", "restart", "nftables")
            machine.reboot()
            service.becomes("ActiveState", "active")
            assert _passes(service) and _rules(machine) == 1
            machine.run("ogw", "setup", "--yes", "--listen-port", "8081")
            machine.reboot()
            service.becomes("ActiveState", "active")
            assert _passes(service, 8081) and _rules(machine) == 1
            machine.run("ogw", "setup", "--yes", "--uninstall", "--purge")
            machine.reboot()
            assert _rules(machine) == 0
            with pytest.raises(TimeoutError), machine.network():
                socket.create_connection(("127.0.0.1", 8081), timeout=1)
            left = machine.run("find", "/etc", "/var", "/run", "/usr/lib/systemd", "-name", "ogw*")
            assert left.stdout == ""
            assert not (copy.folder / "etc/systemd/system/nftables.service.d").exists()
            assert machine.run("getent", "passwd", "ogw", check=False).stdout == ""


@pytest.mark.parametrize("release", RELEASES)
def test_it_is_started_by_the_first_rule_and_not_before_at_a_boot_either(release):
    with Copy(release) as copy:
        copy.install_sources()
        with Booted(copy.folder) as machine:
            service = Service(machine, copy)
            machine.run("ogw", "setup", "--yes", "--tls-rules", "off")
            done = machine.run("ogw", "setup", "--yes")
            assert "Nothing to do: all of this is done already." in done.stdout
            assert "no host is allowed yet" in done.stderr and service.state("ActiveState") == "inactive"
            machine.reboot()
            service.becomes("StatusText", "no host is allowed yet...")
            service.becomes("ActiveState", "inactive")
            assert service.state("Result") == "success"
            told = machine.run("ogw", "allowed-host", "add", "127.0.0.1", "--to", "127.0.0.0/8").stderr
            [command] = re.findall("the service is not running; start it with: (.*)", told)
            machine.sh(command)
            assert _passes(service)
            machine.reboot()
            service.becomes("ActiveState", "active")
            assert _passes(service)


def _passes(service, port=8080):
    with service.machine.network(), Server(echo, host="127.0.0.1"):
        return service.passes(TARGET, port)


def _rules(machine):
    return machine.run("nft", "list", "ruleset").stdout.count('accept comment "ogw"')
