"""Roots of Debian for tests that install or boot: each release's is made once, kept and shared; a test gets a copy."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

from harness.peers import peer, root, without
from harness.waiting import PATIENCE

ROOT = pathlib.Path(__file__).parent.parent.parent
# Ignored by git, and gone with a fresh clone: then the roots have Debian's newest packages again.
KEPT = pathlib.Path(os.environ.get("OGW_TEST_ROOTS") or ROOT / ".tox" / "roots")
RELEASES = ("bookworm", "trixie")
# A small machine with a service manager, and the libraries of ogw as Debian has them.
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "passwd", "nftables", "curl", "openssl", "iproute2", "python3"),
    *("python3-gevent", "python3-configargparse", "python3-pythonjsonlogger", "python3-prometheus-client"),
    *(
        "python3-babel",
        "python3-waitress",
        "python3-rich",
        "python3-cryptography",
        "python3-setproctitle",
        "python3-shtab",
    ),
)
CLEAN = {"HOME": "/root", "LANG": "C.UTF-8", "TERM": "dumb", "DEBIAN_FRONTEND": "noninteractive",
         "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}  # fmt: skip
START = "#!/usr/bin/python3\nimport sys\n\nfrom ogw.cli.main import main\n\nsys.exit(main())\n"  # as pip would write it


def debian(release):
    """The folder of the root, which nobody may change. The first who asks waits for a minute, and others with it."""
    root()
    program = peer("mmdebstrap")
    made = KEPT / f"{release}-{_digest(*PACKAGES)}"
    with _one_by_one(release):
        if not made.exists():
            _clear(f"{release}-*")
            _make(program, release, made)
    return made


@dataclass(frozen=True)
class Layer:
    """What many tests need in a root beyond that, put into it once for each release, kept and shared.

    name    of what it is for
    recipe  a text, in other words for other contents
    add     puts it into a Copy
    """

    name: str
    recipe: str
    add: Callable[["Copy"], None]

    def on(self, release):
        """The folder of what it adds."""
        below = debian(release)
        made = below.with_name(f"{below.name}-{self.name}-{_digest(self.recipe)}")
        with _one_by_one(f"{release}.{self.name}"):
            if not made.exists():
                _clear(f"{below.name}-{self.name}-*")
                with Copy(release) as copy:
                    self.add(copy)
                    copy.keep_as(made)
        return made


def _digest(*texts):
    return hashlib.sha256(" ".join(texts).encode()).hexdigest()[:12]


@contextlib.contextmanager
def _one_by_one(name):
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _clear(pattern):
    for old in KEPT.glob(pattern):  # of another list of packages, or half done
        shutil.rmtree(old)


def _make(program, release, made):
    part = made.with_name(f"{made.name}.part")
    # With mounts of its own, which are gone when it is killed: what is left can be removed.
    words = ["unshare", "--mount", program, "--quiet", "--variant=apt", f"--include={','.join(PACKAGES)}"]
    done = subprocess.run(
        [*words, release, str(part)],
        capture_output=True,
        text=True,
        timeout=400 * PATIENCE,
    )
    if done.returncode:
        without(f"no root of {release} can be made here: {done.stderr}")
    part.rename(made)


class Copy:
    """A root of a test's own, which costs what the test writes. Use as a context manager; `folder` is the root.

    layer  what is in it beyond the packages of every root: a Layer
    """

    def __init__(self, release, layer=None):
        self.release = release
        self._below = [debian(release)] if layer is None else [layer.on(release), debian(release)]
        self._kept = pathlib.Path(tempfile.mkdtemp(prefix="copy-", dir=KEPT))
        self._made = None
        self.folder = self._kept / "root"

    def __enter__(self):
        for name in ("upper", "work", "root"):
            (self._kept / name).mkdir(mode=0o755)
        below = ":".join(map(str, self._below))
        layers = f"lowerdir={below},upperdir={self._kept / 'upper'},workdir={self._kept / 'work'}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, str(self.folder)], check=True)
        return self

    def __exit__(self, *exception):
        subprocess.run(["umount", str(self.folder)], check=True)
        if self._made is not None:
            (self._kept / "upper").rename(self._made)
        shutil.rmtree(self._kept)

    def keep_as(self, made):
        """What was written into it is kept there, once it is over."""
        self._made = made

    def run(self, *words, check=True, **more):
        """A command in it, without a boot, on the network of this machine; `more` is subprocess.run's."""
        return run(["chroot", str(self.folder), *map(str, words)], check, **more)

    def write(self, path, text, mode=0o644):
        """A file, with its folders."""
        file = self.folder / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def install_sources(self):
        """These sources as a package would lay them: `ogw` on the PATH, on Debian's own libraries, and the unit."""
        package = self.folder / "usr/lib/python3/dist-packages/ogw"
        shutil.copytree(ROOT / "ogw", package, ignore=shutil.ignore_patterns("__pycache__"))
        self.write("/usr/bin/ogw", START, 0o755)
        self.write("/usr/lib/systemd/system/ogw.service", (ROOT / "conf/ogw.service").read_text())


def run(words, check=True, **more):
    """A command with an environment that says nothing of this machine, its end as text; a failed one is told whole."""
    given = {"capture_output": True, "text": True, "timeout": 120 * PATIENCE, "env": CLEAN}
    if "input" not in more:
        given["stdin"] = subprocess.DEVNULL
    done = subprocess.run(words, **{**given, **more})
    assert not check or done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done
