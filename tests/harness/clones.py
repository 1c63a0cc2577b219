"""A clone of this tree as it lies here, everything committed: packages are built from commits."""

import shutil
import subprocess
import sys

from harness.commands import ROOT, clean
from harness.peers import peer, without
from harness.waiting import PATIENCE

WHO = ["-c", "user.name=A test", "-c", "user.email=test@ogw.example", "-c", "commit.gpgsign=false"]
WHEN = {"GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z"}


def clone(folder, version=None):
    """`folder`, made, with the files that git knows or would; `version` stands in ogw/__init__.py instead of ours."""
    listed = subprocess.run(
        [peer("git"), "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], capture_output=True
    )
    if listed.returncode:
        without("this tree is no clone")
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_symlink() or (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder)
    if version:
        become(folder, version)
    return folder


def become(folder, version):
    """The next commit of a clone is another version."""
    init = folder / "ogw" / "__init__.py"
    lines = init.read_text(encoding="utf-8").splitlines(keepends=True)
    said = [f'__version__ = "{version}"\n' if line.startswith("__version__ = ") else line for line in lines]
    init.write_text("".join(said), encoding="utf-8")
    commit(folder)


def commit(folder):
    git(folder, "add", "--all")
    git(folder, *WHO, "commit", "--quiet", "--allow-empty", "--message", "As it lies here")


def git(folder, *words):
    subprocess.run([peer("git"), "-C", folder, *words], env=clean(**WHEN), check=True, stdout=subprocess.DEVNULL)


def package(tree, *words, check=True):
    """tools/package in a clone: its end, with `stdout` and `stderr`."""
    done = subprocess.run(
        [sys.executable, tree / "tools" / "package.py", *words],
        capture_output=True, text=True, env=clean(), cwd="/", timeout=300 * PATIENCE,
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stderr
    return done
