"""A root of Debian that is booted: a systemd of its own with its own network, as on a machine."""

import contextlib
import ctypes
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile

from harness.peers import peer, root, without
from harness.roots import CLEAN, run
from harness.waiting import PATIENCE, until

CGROUPS = [pathlib.Path("/sys/fs/cgroup/unified"), pathlib.Path("/sys/fs/cgroup")]
NEW_NETWORK = 0x40000000  # CLONE_NEWNET of setns(2)
HALT = signal.SIGRTMIN + 4  # "power off", as systemd takes it (systemd(1))
_libc = ctypes.CDLL(None, use_errno=True)


class Booted:
    """Boots the folder of a root. Use as a context manager: it is powered off at the end. Needs root.

    leader  the process id of its process 1, as this machine numbers it
    """

    def __init__(self, folder, *flags):
        root()
        self._folder = folder
        self._flags = flags
        self._nspawn = peer("systemd-nspawn")
        self._nsenter = peer("nsenter")
        self._name = f"ogw-{os.urandom(4).hex()}"
        # Two that boot in one control group would take each other's processes for their own.
        groups = [path for path in CGROUPS if (path / "cgroup.procs").exists()]
        if not groups:
            without("there are no control groups of version 2 here")
        self._group = groups[0] / self._name

    def __enter__(self):
        self._console = tempfile.TemporaryFile()
        self._group.mkdir()
        self.boot()
        return self

    def __exit__(self, *exception):
        try:
            self.off()
        finally:
            for group in sorted(self._group.rglob("*"), reverse=True):
                if group.is_dir():
                    group.rmdir()
            self._group.rmdir()
            self._console.close()

    def boot(self):
        """Until all that starts with the machine has started."""
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
            heard.bind(f"{folder}/notify")
            heard.settimeout(60 * PATIENCE)
            words = [self._nspawn, "--quiet", "--boot", f"--directory={self._folder}", f"--machine={self._name}",
                     "--register=no", "--keep-unit", "--private-network", "--link-journal=no", "--console=pipe",
                     "--notify-ready=yes", *self._flags]  # fmt: skip
            enter = f'echo $$ > {self._group}/cgroup.procs && exec "$@"'
            self._process = subprocess.Popen(
                ["sh", "-c", enter, "sh", *words],
                env={**CLEAN, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", "NOTIFY_SOCKET": f"{folder}/notify"},
                stdin=subprocess.DEVNULL,
                stdout=self._console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self.leader = 0
            told = {}
            while told.get("READY") != "1":
                try:
                    told.update(line.split("=", 1) for line in heard.recv(4096).decode().split("\n") if "=" in line)
                except TimeoutError:
                    raise AssertionError(f"it did not boot: {self.said()}") from None
                self.leader = int(told.get("X_NSPAWN_LEADER_PID", self.leader))
        state = self.run("systemctl", "is-system-running", "--wait", check=False).stdout.strip()
        assert state == "running", (state, self.run("systemctl", "--failed").stdout)

    def off(self):
        """Power it off. nspawn is never killed: its process 1 would live on."""
        if self._process.poll() is not None:
            return
        os.kill(self.leader, HALT)
        try:
            self._process.wait(60 * PATIENCE)
        except subprocess.TimeoutExpired:
            os.kill(self.leader, signal.SIGKILL)  # and with it all that lives in there
            self._process.wait(60 * PATIENCE)
            raise AssertionError(f"it did not power off: {self.said()}") from None

    def reboot(self):
        """What a reboot leaves of it is its files."""
        self.off()
        self.boot()

    def said(self):
        """What it wrote on its console."""
        self._console.seek(0)
        return self._console.read().decode(errors="replace")

    @property
    def inside(self):
        """What to put in front of a command line so that it runs in there."""
        spaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
        return [self._nsenter, f"--target={self.leader}", *spaces, "--root", "--wd", "--"]

    def run(self, *words, check=True, **more):
        """A command in it; `more` is subprocess.run's."""
        return run([*self.inside, *map(str, words)], check, **more)

    def sh(self, script, **more):
        return self.run("sh", "-c", script, **more)

    def network(self):
        """Sockets that this thread opens meanwhile, and those of threads that it starts, are on its network."""
        return network_of(self.leader)

    def unit(self, name, *properties):
        """What systemd knows of a unit: {property: text}."""
        shown = self.run("systemctl", "show", name, *(f"--property={one}" for one in properties)).stdout
        return dict(line.split("=", 1) for line in shown.splitlines())

    def journal(self, *flags):
        """The journal's entries: dictionaries of its fields (systemd.journal-fields(7))."""
        self.run("journalctl", "--sync")
        return [json.loads(line) for line in self.run("journalctl", "--output=json", *flags).stdout.splitlines()]

    def until(self, script, what="it did not come to that"):
        """Until the script ends with 0."""
        until(
            lambda: self.sh(script, check=False).returncode == 0, what=lambda: f"{what}: {self.sh(script, check=False)}"
        )


@contextlib.contextmanager
def network_of(pid):
    """Sockets that this thread opens meanwhile, and those of threads that it starts, are on a process' network."""
    with open("/proc/thread-self/ns/net") as own, open(f"/proc/{pid}/ns/net") as theirs:
        _enter_network(theirs)
        try:
            yield
        finally:
            _enter_network(own)


def _enter_network(file):
    if _libc.setns(file.fileno(), NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "setns")
