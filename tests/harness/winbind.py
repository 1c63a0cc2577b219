"""A Samba domain of a test's own that judges NTLM: a machine with local accounts, and the winbindd that knows them."""

import os
import pathlib
import shutil
import subprocess
import tempfile

from harness.peers import peer, root
from harness.waiting import until

DOMAIN = "OGWTEST"
USER = "games"  # Samba wants a Unix account behind each of its own: one that every Debian has


class Winbind:
    """Use as a context manager. Needs root. `group`: of those who may hand NTLM's messages to it."""

    def __init__(self, password, group="proxy"):
        root()
        peer("winbindd")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ogw-winbind-"))
        self.folder.chmod(0o755)
        self._group = group
        self._process = None
        places = {
            "private dir": "private",
            "lock directory": "lock",
            "state directory": "state",
            "cache directory": "cache",
            "pid directory": "pid",
            "ncalrpc dir": "ncalrpc",
            "winbindd socket directory": "run/samba/winbindd",  # where its clients look, in /run
        }
        lines = ["[global]", f"  netbios name = {DOMAIN}", "  workgroup = OGWGROUP", "  security = user",
                 "  server role = standalone server", "  interfaces = 127.0.0.1", "  bind interfaces only = yes",
                 "  ntlm auth = ntlmv2-only", "  load printers = no", "  log level = 1",
                 f"  log file = {self.folder}/log"]  # fmt: skip
        for name, place in places.items():
            (self.folder / place).mkdir(parents=True)
            lines.append(f"  {name} = {self.folder / place}")
        self.config = self.folder / "smb.conf"
        self.config.write_text("\n".join(lines) + "\n")
        self.set_password(password, "-a")

    def set_password(self, password, *how):
        """Of USER."""
        words = [peer("smbpasswd"), "-c", str(self.config), "-s", *how, USER]
        done = subprocess.run(words, input=f"{password}\n{password}\n", capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done

    def inside(self, *command):
        """The command line as that of a program that finds this winbindd: its clients know one place alone."""
        script = f'mount --bind {self.folder}/run /run && exec "$@"'
        return [peer("unshare"), "--mount", "sh", "-c", script, "sh", *command]

    def __enter__(self):
        with (self.folder / "output").open("wb") as output:
            self._process = subprocess.Popen(
                [peer("winbindd"), "-F", "--no-process-group", "-s", str(self.config)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0,
            )  # fmt: skip
        until(self._judges, what=lambda: (self.folder / "output").read_text())
        return self

    def _judges(self):
        assert self._process.poll() is None, (self.folder / "output").read_text()
        pipe = self.folder / "state" / "winbindd_privileged"
        done = subprocess.run(self.inside(peer("wbinfo"), "-p"), capture_output=True, timeout=60)
        if done.returncode != 0 or not pipe.exists():
            return False
        shutil.chown(pipe, group=self._group)
        return True

    def __exit__(self, *exception):
        os.killpg(self._process.pid, 9)
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
