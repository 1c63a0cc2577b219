"""A machine to install a bundle on: this one, without a network and with nothing of ogw on it. Needs root."""

import contextlib
import shlex
import subprocess

from harness.netns import Namespace
from harness.peers import peer
from harness.waiting import PATIENCE, until

EMPTY = ("/opt", "/srv", "/run", "/home", "/usr/local/bin")
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
SOMEBODY = 12345
PYTHON = "/usr/bin/python3"


def python():
    """The version of the machine's own, as bundles are named."""
    said = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([peer(PYTHON), "-c", said], capture_output=True, text=True, check=True).stdout.strip()


class Machine:
    """`call` and `sh` run commands on it, as root or as somebody without rights. Use as a context manager."""

    def __init__(self, folder):
        self._folder = folder
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        self._namespace = self._stack.enter_context(Namespace(self._folder, ""))
        mounts = "; ".join(f"mount -t tmpfs -o mode=755 none {path}" for path in EMPTY)
        self.sh(f"set -e; cp -a /etc {self._folder}/etc; mount --bind {self._folder}/etc /etc; {mounts}")
        self.sh(f"mkdir -p /home/somebody && chown {SOMEBODY}:{SOMEBODY} /home/somebody")
        return self

    def __exit__(self, *exception):
        self._stack.close()

    def unpack(self, bundle):
        """The folder in which it lies there."""
        self.sh(f"tar -xzf {shlex.quote(str(bundle))} -C /srv")
        return "/srv/" + bundle.name.removesuffix(".tar.gz")

    def command(self, *words, root=True, home=None):
        """What starts a command there, for subprocess."""
        who = () if root else (peer("setpriv"), f"--reuid={SOMEBODY}", f"--regid={SOMEBODY}", "--clear-groups")
        home = home or ("/root" if root else "/home/somebody")
        return [*self._namespace.command, *who, "env", "-i", f"PATH={PATH}", f"HOME={home}", *map(str, words)]

    def call(self, *words, root=True):
        """Its end: `returncode`, and `stdout`, which has its errors, too."""
        return subprocess.run(
            self.command(*words, root=root), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=200 * PATIENCE,
        )  # fmt: skip

    def sh(self, script, root=True):
        """What a script prints, which must end well."""
        done = self.call("sh", "-c", script, root=root)
        assert done.returncode == 0, (script, done.stdout)
        return done.stdout

    def state(self):
        """Of all places that something could be installed to: every file and its size."""
        return self.sh("find /opt /home /usr/local/bin -printf '%p %y %s %l\\n' | sort")

    def users(self):
        """Which processes run from what is installed."""
        return self.sh("grep -ls /opt/ogw/ /proc/[0-9]*/maps | xargs -r dirname | xargs -I{} cat {}/cmdline || true")

    def start(self, *words, root=True):
        """A process that reads what `communicate` is given, and that nobody else ends."""
        return subprocess.Popen(
            self.command(*words, root=root), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    @contextlib.contextmanager
    def server(self, address, port):
        """What answers HTTP there until the end of the block."""
        with self.start(PYTHON, "-m", "http.server", "--bind", address, str(port), "--directory", "/srv") as process:
            try:
                until(lambda: self.call("curl", "-s", f"http://{address}:{port}/").returncode == 0)
                yield
            finally:
                process.kill()
