"""What every package is built from: an export of the commit that is checked out, with nothing that lies beside it."""

import os
import pathlib
import re
from typing import NamedTuple

from packing.calls import NotBuilt, called

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
VERSION = re.compile(r'^__version__ = "(.+)"$', re.MULTILINE)
SHOWN = 10  # of the changes that no commit has


class Source(NamedTuple):
    """The files of a commit, its version, and its time in seconds since 1970."""

    folder: pathlib.Path
    version: str
    epoch: int

    def environment(self) -> dict[str, str]:
        """For whatever builds from it, so that the same commit gives the same bytes."""
        return {**os.environ, "SOURCE_DATE_EPOCH": str(self.epoch), "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def clean_tree(out: pathlib.Path) -> Source:
    """Export HEAD into the folder `out`, which is made.

    Raise NotBuilt where there are changes that no commit has, and where this is no clone.
    """
    refuse_changes()
    out.mkdir(parents=True)
    archive = out.with_name(f"{out.name}.tar")
    git("-c", "tar.umask=0022", "archive", "--format=tar", f"--output={archive}", "HEAD")
    called(["tar", "-x", "-p", "-f", archive, "-C", out])
    archive.unlink()
    match = VERSION.search((out / "ogw" / "__init__.py").read_text(encoding="utf-8"))
    if match is None:
        raise NotBuilt("ogw/__init__.py has no __version__")
    return Source(out, match[1], int(git("log", "-1", "--format=%ct")))


def refuse_changes() -> None:
    changes = git("status", "--porcelain").splitlines()
    if changes:
        more = [f"and {len(changes) - SHOWN} more"] if len(changes) > SHOWN else []
        lines = "\n  ".join([*changes[:SHOWN], *more])
        raise NotBuilt(
            f"a package is built from a commit, and these changes are in none:\n  {lines}\n"
            "commit them or take them away; `git status` shows them all"
        )


def git(*words: str) -> str:
    """What it says of this clone. Raise NotBuilt with its own words."""
    return called(["git", "-C", ROOT, *words])
