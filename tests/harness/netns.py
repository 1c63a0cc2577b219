"""A network and mount namespace of a test's own: its loopback, its /etc/resolv.conf, its /etc/hosts."""

import pathlib
import subprocess

from harness.peers import peer, root

ROOT = pathlib.Path(__file__).parent.parent.parent


class Namespace:
    """Run programs in it with `command`. It is gone when its holder is. Needs root; use as a context manager."""

    def __init__(self, folder, resolv_conf, hosts="127.0.0.1 localhost\n"):
        root()
        self._nsenter = peer("nsenter")
        (folder / "resolv.conf").write_text(resolv_conf)
        (folder / "hosts").write_text(hosts)
        script = (
            f"{peer('ip')} link set lo up && mount --bind {folder}/resolv.conf /etc/resolv.conf"
            f" && mount --bind {folder}/hosts /etc/hosts && echo ready && exec cat"
        )
        self._holder = subprocess.Popen(
            [peer("unshare"), "--net", "--mount", "sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        assert self._holder.stdout.readline() == "ready\n", "the namespace could not be made"
        return self

    def __exit__(self, *exception):
        self._holder.communicate("", timeout=10)

    @property
    def pid(self):
        """Of a process in it."""
        return self._holder.pid

    @property
    def command(self):
        """What to put in front of a command line so that it runs in here, and with these sources: it would run in /."""
        return [self._nsenter, "--target", str(self.pid), "--net", "--mount", f"--wdns={ROOT}", "--"]
