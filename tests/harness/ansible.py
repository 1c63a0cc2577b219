"""The real ansible-playbook, installed once and kept; machines that are reached by ssh; and what a run came to."""

import fcntl
import functools
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from typing import NamedTuple

from harness.commands import ROOT
from harness.pages import blocks
from harness.peers import peer, without
from harness.roots import CLEAN, KEPT, Layer
from harness.waiting import PATIENCE

ROLES = ROOT / "conf" / "ansible" / "roles"
CORE = "ansible-core==2.19.14"  # the newest that runs on Python 3.11
PAGE = "../conf/ansible/README.md"
# What the blocks of its example are, in their order.
FILES = ("inventory.yml", "group_vars/gateways.yml", "group_vars/canaries.yml", "gateways.yml", "ansible.cfg")
SSH = """Host *
HostName 127.0.0.1
User {user}
IdentityFile {key}
StrictHostKeyChecking no
UserKnownHostsFile /dev/null
LogLevel ERROR
ControlMaster auto
ControlPersist 20s
"""
NEEDED = ("openssh-server", "python3-apt", "sudo")
USER = "admin"  # of the machine, who may become root


@functools.cache
def program():
    """The path of ansible-playbook. The first who asks installs it, and others wait for it."""
    made = KEPT / f"{CORE.replace('==', '-')}-py{sys.version_info.major}.{sys.version_info.minor}"
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "ansible.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (made / "whole").exists():
            _install(made)
    return made / "bin" / "ansible-playbook"


def _install(made):
    shutil.rmtree(made, ignore_errors=True)
    pip = [made / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet", CORE]
    for words in ([sys.executable, "-m", "venv", made], pip):
        done = subprocess.run(words, capture_output=True, text=True, timeout=300 * PATIENCE)
        if done.returncode:
            without(f"{CORE} cannot be installed here: {done.stderr}")
    (made / "whole").touch()


def _add(copy):
    for path in ("/etc/resolv.conf", "/etc/hosts"):
        copy.write(path, pathlib.Path(path).read_text())
    copy.run("apt-get", "update", "-qq", timeout=120 * PATIENCE)
    copy.run("apt-get", "install", "-qq", "--no-install-recommends", "--yes", *NEEDED, timeout=400 * PATIENCE)
    copy.run("apt-get", "clean")
    copy.run("useradd", "--create-home", "--shell", "/bin/sh", USER)
    copy.write(f"/etc/sudoers.d/{USER}", f"{USER} ALL=(ALL) NOPASSWD: ALL\n", 0o440)


REACHED = Layer("reached", " ".join(NEEDED), _add)


def without_debian(copy):
    """It asks no repository of Debian's: there is no way to them."""
    for path in copy.folder.glob("etc/apt/sources.list*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (copy.folder / "etc/apt/sources.list.d").mkdir()


class Run(NamedTuple):
    """
    failed   whether anything of it did
    changed  how many tasks did something, or, in check mode, would
    said     all that was printed
    """

    failed: bool
    changed: int
    said: str


class Playbook:
    """The example of conf/ansible as it stands there, and a machine (harness/booted.py) that is all its hosts.

    machine  its root, `copy`, has REACHED
    folder   `fleet`, with the playbook
    """

    def __init__(self, folder, machine, copy):
        self.folder = folder / "fleet"
        self._leader = machine.leader
        (folder / "roles").symlink_to(ROLES)
        for path, text in zip(FILES, blocks(PAGE, "A whole example"), strict=False):
            self.write(path, text)
        subprocess.run([peer("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", self.folder / "key"], check=True)
        copy.write(f"/home/{USER}/.ssh/authorized_keys", (self.folder / "key.pub").read_text())
        self.write("ssh", SSH.format(user=USER, key=self.folder / "key"))

    def write(self, path, text):
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def of_host(self, name, **variables):
        """What is true of this host alone."""
        self.write(f"host_vars/{name}.yml", json.dumps(variables))

    def run(self, name, *flags):
        """`ansible-playbook gateways.yml` for this host, over ssh on the machine's network."""
        inside = [peer("nsenter"), f"--target={self._leader}", "--net", "--"]
        with tempfile.TemporaryDirectory(prefix="ogw-") as short:  # a socket's path is
            environment = {
                **CLEAN, "HOME": short, "ANSIBLE_SSH_ARGS": f"-F {self.folder}/ssh", "ANSIBLE_PIPELINING": "1",
                "ANSIBLE_SSH_CONTROL_PATH_DIR": short,
            }  # fmt: skip
            done = subprocess.run(
                [*inside, program(), "gateways.yml", "--limit", name, *flags], cwd=self.folder, env=environment,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                timeout=300 * PATIENCE,
            )  # fmt: skip
        changed = re.findall(r" changed=(\d+)", done.stdout.rpartition("PLAY RECAP")[2])
        return Run(done.returncode != 0, sum(map(int, changed)), done.stdout)
