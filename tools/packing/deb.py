"""Build the native package for Debian 12 and newer."""

import argparse
import datetime
import email.utils
import pathlib
import re
import shutil
import tempfile
import textwrap
from collections.abc import Iterator

from ogw.cli.exits import OK
from packing.calls import NotBuilt, called
from packing.results import deliver, flags
from packing.source import Source, clean_tree

EXAMPLES = """
examples:
  tools/package deb                    dist/ogw_VERSION_all.deb
  apt install ./dist/ogw_VERSION_all.deb
"""
MAINTAINER = re.compile(r"^Maintainer: (.+)$", re.MULTILINE)
RELEASE = re.compile(r"^## (\S+) \((.+)\)$", re.MULTILINE)
BEFORE = re.compile(r"\.?(a|b|rc|dev)(?=\d+\Z)")  # of a version, what sorts before the version without it
# Debian's own programs: another Python, first on the path of whoever builds, has other libraries.
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
KEPT = ("HOME", "LC_ALL", "SOURCE_DATE_EPOCH", "TMPDIR", "TZ")  # of the environment; some of the rest changes the bytes


def parser() -> argparse.ArgumentParser:
    return flags("deb", __doc__, EXAMPLES)


def run(asked: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as folder:
        source = clean_tree(pathlib.Path(folder) / "ogw")
        deliver([deb(source, pathlib.Path(folder))], asked.output)
    return OK


def deb(source: Source, folder: pathlib.Path) -> pathlib.Path:
    """Built from the source, beside it in the folder. Raise NotBuilt."""
    debian = source.folder / "debian"
    shutil.copytree(source.folder / "conf" / "debian", debian)
    (debian / "changelog").write_text(changelog(source), encoding="utf-8")
    environment = {name: text for name, text in source.environment().items() if name in KEPT} | {"PATH": PATH}
    try:
        called(["dpkg-checkbuilddeps"], source.folder, environment)
    except NotBuilt as error:
        raise NotBuilt(f"{error}\nas root, on Debian 12 or newer: apt-get build-dep ./conf") from error
    called(["dpkg-buildpackage", "--build=all", "--no-sign"], source.folder, environment)
    return folder / f"ogw_{debian_version(source.version)}_all.deb"


def debian_version(version: str) -> str:
    """As dpkg compares it: 0.2.0rc1 comes before 0.2.0."""
    return BEFORE.sub(r"~\1", version)


def changelog(source: Source) -> str:
    """CHANGELOG.md as Debian has it; the version that is built stands first, whether that tells of it or not."""
    text = (source.folder / "CHANGELOG.md").read_text(encoding="utf-8")
    control = (source.folder / "conf" / "debian" / "control").read_text(encoding="utf-8")
    match = MAINTAINER.search(control)
    assert match is not None, "conf/debian/control has no Maintainer"
    _head, *parts = RELEASE.split(text)
    releases = list(zip(parts[::3], parts[1::3], parts[2::3], strict=True))
    if not releases or releases[0][0] != source.version:
        releases.insert(0, (source.version, "not released", "CHANGELOG.md does not tell of this version."))
    return "\n".join(
        "\n".join([
            f"ogw ({debian_version(version)}) unstable; urgency=medium\n",
            *changes(told),
            f"\n -- {match[1]}  {date_of(remark, source.epoch)}\n",
        ])
        for version, remark, told in releases
    )  # fmt: skip


def changes(told: str) -> Iterator[str]:
    """Each paragraph, and each item of a list."""
    for paragraph in re.split(r"\n\n+|\n(?=- )", told.strip()):
        text = " ".join(paragraph.removeprefix("- ").split())
        yield textwrap.fill(text, 78, initial_indent="  * ", subsequent_indent="    ", break_on_hyphens=False)


def date_of(remark: str, epoch: int) -> str:
    """Of a release, where its heading says it: (2026-12-01); else that of the commit."""
    try:
        day = datetime.datetime.strptime(remark, "%Y-%m-%d").replace(tzinfo=datetime.UTC)
    except ValueError:
        day = datetime.datetime.fromtimestamp(epoch, datetime.UTC)
    return email.utils.format_datetime(day)
