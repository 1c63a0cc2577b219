"""The role for Ansible on a machine that is booted, over ssh: from a fresh one to the next version."""

import json
import re
import shutil
from typing import NamedTuple

import pytest
import yaml
from harness.ansible import PAGE, REACHED, ROLES, Playbook, program, without_debian
from harness.booted import Booted
from harness.debs import NEXT, THIS, debs
from harness.gateway import read_exactly
from harness.pages import rows
from harness.roots import Copy
from harness.service import INI, Service
from harness.upstreams import Server, echo
from harness.waiting import until

from ogw.settings.settings import SETTINGS

HOST = "gw-1.example.com"
TARGET, CANARIES, NEITHER = "www.example.com:443", "next.example.com:443", "www.example.org:443"
NAMES = "127.0.0.1 localhost www.example.com next.example.com www.example.org\n"
# No TLS, and the hosts are on its own loopback.
OF_THE_TEST = {"tls-rules": False, "allowed-target-network": ["127.0.0.0/8"]}
PASSWORD = "a secret that nobody is shown"


# What it says of itself.


def _options():
    return yaml.safe_load((ROLES / "ogw/meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]


def test_every_variable_is_described_and_has_the_default_that_is_told():
    options = _options()
    assert yaml.safe_load((ROLES / "ogw/defaults/main.yml").read_text()) == {
        name: option["default"] for name, option in options.items()
    }
    told = [[name.strip("`"), means] for name, _default, means in rows(PAGE, "Variables")]
    assert told == [[name, option["description"]] for name, option in options.items()]


def test_what_it_knows_of_the_settings_is_so():
    """Those that are off where YAML says false, and those without which nobody may pass; others may come first."""
    known = yaml.safe_load((ROLES / "ogw/vars/main.yml").read_text())
    off = {name for name, setting in SETTINGS.items() if re.search(r"\boff\b", setting.placeholder)}
    assert off and off <= {*known["ogw_settings_with_off"]}
    assert {*known["ogw_settings_that_allow"]} == {name for name, setting in SETTINGS.items() if setting.allows}


# What it does.


class Site(NamedTuple):
    machine: Booted
    service: Service
    playbook: Playbook

    def of_host(self, version, secrets=(), ogw_restart=False, **settings):
        self.playbook.of_host(
            HOST, ogw_install_from="deb", ogw_deb=f"files/ogw_{version}_all.deb", ogw_secrets=dict(secrets),
            ogw_restart=ogw_restart,
            ogw_settings_of_host={**OF_THE_TEST, **{name.replace("_", "-"): one for name, one in settings.items()}},
        )  # fmt: skip

    def runs(self, *flags):
        """Well: how many tasks changed something, and what was said."""
        done = self.playbook.run(HOST, *flags)
        assert not done.failed and PASSWORD not in done.said, done.said
        return done.changed, done.said

    def refuses(self, told, *flags):
        done = self.playbook.run(HOST, *flags)
        assert done.failed and told in done.said and ":secret@" not in done.said, done.said

    def allows(self, target):
        sock, head = self.service.ask(target)
        sock.close()
        assert head.split()[1] in (b"200", b"403"), head
        return head.split()[1] == b"200"

    def status(self):
        return json.loads(self.machine.run("ogw", "status", "--json").stdout)


@pytest.fixture
def site(tmp_path, tmp_path_factory):
    """A machine on which ogw never was, and the playbook of the page with the packages beside it."""
    program()  # while there is a way to it
    files = debs(tmp_path_factory)
    with Copy("bookworm", REACHED) as copy:
        without_debian(copy)
        copy.write("/etc/hosts", NAMES)
        with Booted(copy.folder) as machine, machine.network(), Server(echo, host="127.0.0.1"):
            playbook = Playbook(tmp_path, machine, copy)
            shutil.copytree(files, playbook.folder / "files")
            yield Site(machine, Service(machine, copy), playbook)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_from_a_fresh_machine_to_the_next_version(site):
    _fresh(site)
    tunnel, _head = site.service.ask(TARGET)
    with tunnel:
        _another_host(site, tunnel)
        _mistakes(site)
        _next_version(site, tunnel)
        _workers(site, tunnel)


def _fresh(site):
    site.of_host(THIS)
    before = site.machine.run("find", "/etc", "/opt", "/usr").stdout
    changed, said = site.runs("--check", "--diff")
    assert changed > 0 and "    *.ods.opinsights.azure.com note=" in said, said
    assert site.machine.run("find", "/etc", "/opt", "/usr").stdout == before
    assert site.runs()[0] > 0
    assert (site.allows(TARGET), site.allows(CANARIES), site.allows(NEITHER)) == (True, True, False)
    assert site.status()["version"] == THIS and site.machine.unit("ogw", "UnitFileState")["UnitFileState"] == "enabled"
    assert site.machine.sh("ls /tmp/ogw-* /root/ogw-* 2>/dev/null || true").stdout == ""
    for flags in ((), ("--check", "--diff")):
        changed, said = site.runs(*flags)
        assert changed == 0, said


def _another_host(site, tunnel):
    """And a password, which come by a reload."""
    pid = site.service.pid
    site.of_host(
        THIS, {"relay-proxy-password-file": PASSWORD}, allowed_host=["www.example.org"], relay_proxy_username="gateway"
    )
    changed, said = site.runs("--diff", "--tags", "configure,serve")
    assert changed > 0 and "+    www.example.org" in said, said
    assert site.allows(NEITHER) and site.service.pid == pid
    _exchange(tunnel)
    assert site.machine.run("cat", "/etc/ogw/relay-proxy-password").stdout == PASSWORD
    modes = site.machine.run("stat", "--format=%U:%G %a", INI, "/etc/ogw/relay-proxy-password").stdout
    assert modes == "root:ogw 640\n" * 2


def _mistakes(site):
    """What is refused leaves all as it was, the secret, too."""
    pid, before = site.service.pid, site.machine.run("cat", INI).stdout
    site.of_host(THIS, {"relay-proxy-password-file": "another"}, allowed_hosts=["www.example.net"])
    site.refuses("there is no setting 'allowed-hosts'", "--check")
    site.refuses("there is no setting 'allowed-hosts'")
    site.of_host(THIS, relay_proxy="http://gateway:secret@proxy.example.com:3128")
    site.refuses("relay-proxy-password-file")
    assert site.machine.run("cat", INI, "/etc/ogw/relay-proxy-password").stdout == before + PASSWORD
    assert site.allows(NEITHER) and site.service.pid == pid


def _next_version(site, tunnel):
    pid = site.service.pid
    site.of_host(NEXT)
    assert site.runs()[0] > 0
    assert site.status()["version"] == NEXT and site.service.pid != pid and site.allows(TARGET)
    _exchange(tunnel)


def _workers(site, tunnel):
    """Which only a successor takes: for now the gateway refuses one, as the process before still has a tunnel."""
    site.of_host(NEXT, workers=3)
    site.refuses("still drains")
    assert site.allows(TARGET)
    _exchange(tunnel)
    tunnel.close()
    until(lambda: site.status()["predecessor"] is None)
    pid = site.service.pid
    with site.service.ask(TARGET)[0] as other:
        assert site.runs()[0] > 0
        assert site.service.pid != pid and len(site.status()["workers"]) == 3
        _exchange(other)
        site.of_host(NEXT, ogw_restart=True, workers=2, drain_timeout="0s")
        assert site.runs()[0] > 0
        assert len(site.status()["workers"]) == 2 and site.allows(TARGET)
        assert read_exactly(other, 1) == b""
    assert site.machine.sh("ls /run/ogw.*", check=False).stdout == ""


def _exchange(sock):
    sock.sendall(b"still")
    assert read_exactly(sock, 5) == b"still"
