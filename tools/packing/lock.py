"""Lock the versions that bundles are made of, and made with, to the hash of every wheel.

It asks the package index that pip is set up for, takes the newest versions that setup.py allows, and writes conf/lock/.
Each must be there for every Python and architecture. Then look at the difference, build, run the tests, and commit.
"""

import argparse
import importlib.metadata
import json
import pathlib
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ogw.cli.exits import OK
from packing.calls import NotBuilt, called
from packing.machines import GLIBC, MACHINES, OLDEST, PYTHONS, Machine
from packing.source import ROOT
from packing.toolbox import BUILD, HOOK, pip, toolbox

GATEWAY = pathlib.Path("conf") / "lock" / "gateway.txt"
BUILT_WITH = ("Babel", "cyclonedx-bom", "pip", "setuptools")
SEPARATORS = re.compile(r"[-_.]+")  # one and the same in names


class Wheel(NamedTuple):
    """One that pip would install."""

    name: str
    version: str
    sha256: str


def parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        "tools/package lock", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def run(asked: argparse.Namespace) -> int:
    write(GATEWAY, "What a bundle installs beside ogw", needs())
    write(BUILD, "What a bundle is made with; pip goes into it, too", BUILT_WITH)
    return OK


def needs() -> list[str]:
    """What setup.py of this tree asks for, tests and tools left out."""
    with tempfile.TemporaryDirectory() as folder:
        said = called([toolbox(), "-c", HOOK, "prepare_metadata_for_build_wheel", folder], ROOT)
        found = importlib.metadata.Distribution.at(pathlib.Path(folder) / said.splitlines()[-1])
        return [text for text in found.requires or () if "extra ==" not in text]


def write(path: pathlib.Path, what: str, needed: Sequence[str]) -> None:
    wheels = {wheel for machine in MACHINES for wheel in resolved(machine, needed)}
    head = [
        f"# {what}. `tools/package lock` writes this.",
        f"# For Python {PYTHONS[0]} to {PYTHONS[-1]} on {' and '.join(OLDEST)}, with glibc 2.{GLIBC} or newer.",
    ]
    pins = [pinned(name, version, wheels) for name, version in versions(wheels).items()]
    (ROOT / path).write_text("\n".join([*head, *pins, ""]), encoding="utf-8")
    print(path)


def resolved(machine: Machine, needed: Sequence[str]) -> list[Wheel]:
    """What would be installed there. Raise NotBuilt with pip's words."""
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report"
        flags = ["--quiet", "--dry-run", "--ignore-installed", "--target", folder, "--report", str(report)]
        called([*pip(), "install", *flags, *machine.flags(), *needed])
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    return [
        Wheel(
            SEPARATORS.sub("-", entry["metadata"]["name"]).lower(),
            entry["metadata"]["version"],
            entry["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for entry in found
    ]


def versions(wheels: Iterable[Wheel]) -> Mapping[str, str]:
    """By name, in order. Raise NotBuilt where there are two of a name."""
    found: dict[str, str] = {}
    for name, version, _hash in sorted(wheels):
        if found.setdefault(name, version) != version:
            raise NotBuilt(
                f"{name}: the newest version is {version} for one Python or architecture, and {found[name]} for "
                "another; give it an upper bound in setup.py"
            )
    return found


def pinned(name: str, version: str, wheels: Iterable[Wheel]) -> str:
    hashes = sorted(wheel.sha256 for wheel in wheels if wheel.name == name)
    return " \\\n".join([f"{name}=={version}", *(f"    --hash=sha256:{one}" for one in hashes)])
