"""The programs that packages are built with: of locked versions, in a virtual environment of their own."""

import hashlib
import pathlib
import shutil
import sys

from packing.calls import called
from packing.source import ROOT

BUILD = pathlib.Path("conf") / "lock" / "build.txt"
# For the Python that has them, in a folder of sources: a name of PEP 517, and where its result goes; its name is said.
HOOK = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"


def pip(python: pathlib.Path = pathlib.Path(sys.executable)) -> list[str]:
    """The words that call that of a Python."""
    return [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input"]


def toolbox() -> pathlib.Path:
    """The Python that has them; made once for a lock file, in build/. Raise NotBuilt."""
    lock = ROOT / BUILD
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    folder = ROOT / "build" / f"toolbox-{digest}-py{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / "bin" / "python"
    if not (folder / "whole").exists():
        print("setting up the tools to build with (once; this takes a moment) ...", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        called([sys.executable, "-m", "venv", folder])
        called(
            [
                *pip(python),
                "install",
                "--quiet",
                "--no-compile",
                "--no-deps",
                "--only-binary=:all:",
                "--require-hashes",
                "-r",
                lock,
            ]
        )
        (folder / "whole").touch()
    return python
