"""Containers for tests: podman with a store of its own, on a network of its own that has nothing but a loopback."""

import json
import pathlib
import resource
import shutil
import subprocess
import tempfile
import uuid

from harness.booted import network_of
from harness.commands import clean
from harness.netns import Namespace
from harness.peers import peer, root
from harness.waiting import PATIENCE, until

# With what root of a small machine may do: no systemd, and limits that nobody may raise.
CONTAINERS = """
[containers]
default_ulimits = ["nofile={files}:{files}", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
lock_type = "file"
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{folder}/tmp"
[network]
network_config_dir = "{folder}/networks"
"""
STORAGE = """
[storage]
driver = "overlay"
graphroot = "{folder}/store"
runroot = "{folder}/run"
"""


class Podman:
    """Use as a context manager; all of it is gone at the end. Needs root.

    environment  with which podman, whoever calls it, uses this store
    """

    def __init__(self):
        root()
        self._program = peer("podman")
        peer("runc")
        # Short: with a `runroot` of more than 50 characters what tidies up after a container fails, unheard, and each
        # end of one is waited for in vain, for 20 s.
        self._folder = folder = pathlib.Path(tempfile.mkdtemp(prefix="ogw-podman-", dir="/tmp"))
        files = min(20000, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        (folder / "containers.conf").write_text(CONTAINERS.format(folder=folder, files=files))
        (folder / "storage.conf").write_text(STORAGE.format(folder=folder))
        self.environment = {
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        }
        self._namespace = Namespace(folder, "nameserver 127.0.0.1\n")

    def __enter__(self):
        self._namespace.__enter__()
        return self

    def __exit__(self, *exception):
        self("system", "reset", "--force", check=False)
        self._namespace.__exit__(*exception)
        shutil.rmtree(self._folder, ignore_errors=True)

    def network(self):
        """Sockets that this thread opens meanwhile, and those of threads that it starts, are on the network."""
        return network_of(self._namespace.pid)

    def inside(self, *words, check=True):
        """A program on the network: its end, as text."""
        done = subprocess.run(
            [*self._namespace.command, *map(str, words)],
            env=clean(**self.environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60 * PATIENCE,
        )
        assert not check or done.returncode == 0, (words, done)
        return done

    def __call__(self, *words, check=True):
        """A command of podman's, on the network: its end."""
        return self.inside(self._program, *words, check=check)


class Container:
    """One that runs in the background, on the network of its podman. Use as a context manager: it is removed.

    flags  those of `podman run`
    name   of one that somebody else runs
    """

    def __init__(self, podman, image, *flags, name=""):
        self._podman = podman
        self._name = name or f"test-{uuid.uuid4().hex[:8]}"
        self._words = ["--detach", "--name", self._name, "--network", "host", *flags, image]

    def __enter__(self):
        self._podman("run", *self._words)
        return self

    def __exit__(self, *exception):
        self._podman("rm", "--force", "--time", "0", self._name)

    def run(self, *words, check=True):
        """A command in it: its end."""
        return self._podman("exec", self._name, *words, check=check)

    def signal(self, name):
        self._podman("kill", "--signal", name, self._name)

    def known(self):
        """What podman knows of it: a dictionary."""
        (known,) = json.loads(self._podman("inspect", self._name).stdout)
        return known

    def state(self):
        return self.known()["State"]

    def check_health(self):
        """As a timer of the engine would: what comes of it."""
        self._podman("healthcheck", "run", self._name, check=False)
        return self.state()["Health"]["Status"]

    def children(self):
        """Of its process 1, zombies among them, as this machine numbers them."""
        pid = self.state()["Pid"]
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return {int(child) for child in file.read().split()}

    def lines(self):
        """Of its standard output, which is its log."""
        return [json.loads(line) for line in self._podman("logs", self._name).stdout.splitlines()]

    def wait_for(self, event):
        """The first line of its log with this event."""
        return until(lambda: next((line for line in self.lines() if line["event"] == event), None), what=self.lines)

    def wait(self):
        """Until it ends: its exit code."""
        return int(self._podman("wait", self._name).stdout)


def is_zombie(pid):
    """Of this machine; one that is gone is none."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


def numbers_of(pid):
    """The process ids of a process, from this machine's to the innermost."""
    with open(f"/proc/{pid}/status") as file:
        return next([int(one) for one in line.split()[1:]] for line in file if line.startswith("NSpid:"))
