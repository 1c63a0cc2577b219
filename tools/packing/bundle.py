"""Build offline bundles: all that installs ogw on a machine without a network, one per Python and architecture.

They are of the versions in conf/lock/, which pip downloads and holds to their hashes. `install` in a bundle puts ogw on
the PATH, in a virtual environment of its own. This is what Red Hat's users take, if not the image: there is no rpm.
"""

import argparse
import hashlib
import pathlib
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Mapping

from ogw.cli.exits import OK
from packing.archive import pack
from packing.calls import NotBuilt, called
from packing.lock import GATEWAY, SEPARATORS
from packing.machines import GLIBC, MACHINES, OLDEST, PYTHONS, Machine
from packing.results import deliver, flags
from packing.sbom import sbom
from packing.source import Source, clean_tree
from packing.toolbox import BUILD, pip, toolbox
from packing.wheel import wheel

EXAMPLES = """
examples:
  tools/package bundle                                          all of them: dist/ogw-VERSION-py3.11-x86_64.tar.gz ...
  tools/package bundle --python 3.11 --architecture x86_64      one
  tools/package lock                                            renews the versions that they are made of
"""
PARTS = ("install", "uninstall", "check.py", "README.md")  # of conf/bundle
COMPILED = 2  # an installed module takes twice the space of its source


def parser() -> argparse.ArgumentParser:
    made = flags("bundle", __doc__, EXAMPLES)
    made.add_argument("--python", action="append", choices=PYTHONS, help="for this one; may be repeated (all)")
    made.add_argument("--architecture", action="append", choices=OLDEST, help="for this one; may be repeated (all)")
    return made


def run(asked: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as folder:
        source = clean_tree(pathlib.Path(folder) / "source")
        ours = wheel(source, pathlib.Path(folder))
        for machine in MACHINES:
            if machine.python in (asked.python or PYTHONS) and machine.architecture in (asked.architecture or OLDEST):
                deliver(bundle(source, ours, machine, pathlib.Path(folder)), asked.output)
    return OK


def bundle(source: Source, ours: pathlib.Path, machine: Machine, folder: pathlib.Path) -> list[pathlib.Path]:
    """The archive, and the file with its hash."""
    made = folder / f"ogw-{source.version}-{machine}"
    wheels = download(source, machine, made / "wheels")
    shutil.copy2(ours, wheels)
    shutil.copy2(source.folder / "LICENSE", made)
    for part in PARTS:
        shutil.copy2(source.folder / "conf" / "bundle" / part, made)
    installed = [path for path in sorted(wheels.iterdir()) if name_of(path) != "pip"]
    (made / "requirements.txt").write_text("".join(map(requirement, installed)), encoding="utf-8")
    (made / "bundle").write_text(facts(source, machine, installed), encoding="utf-8")
    (made / "sbom.cdx.json").write_text(sbom(source, machine, wheels), encoding="utf-8")
    archive = folder / f"{made.name}.tar.gz"
    pack(made, made.name, source.epoch, archive)
    hashed = folder / f"{archive.name}.sha256"
    hashed.write_text(f"{digest(archive)}  {archive.name}\n", encoding="utf-8")
    return [archive, hashed]


def download(source: Source, machine: Machine, wheels: pathlib.Path) -> pathlib.Path:
    """Into the folder `wheels`, which is made: those of the lock file, and pip's. Raise NotBuilt with pip's words."""
    pins = [source.folder / GATEWAY, wheels.with_name(f"{machine}-pip.txt")]
    wheels.mkdir(parents=True)
    pins[1].write_text(pin(source.folder / BUILD, "pip"), encoding="utf-8")
    locked = ["--no-deps", "--require-hashes", "-r", str(pins[0]), "-r", str(pins[1])]
    called([*pip(toolbox()), "download", "--quiet", *machine.flags(), *locked, "--dest", wheels])
    pins[1].unlink()
    return wheels


def pin(lock: pathlib.Path, name: str) -> str:
    """What a lock file says of a name. Raise NotBuilt where that is nothing."""
    match = re.search(rf"^{name}==(.*\\\n)*.*\n", lock.read_text(encoding="utf-8"), re.MULTILINE)
    if match is None:
        raise NotBuilt(f"{lock.name} has no {name}; `tools/package lock` writes it anew")
    return match[0]


def name_of(path: pathlib.Path) -> str:
    return SEPARATORS.sub("-", path.name.partition("-")[0]).lower()


def digest(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def requirement(path: pathlib.Path) -> str:
    """A wheel, as pip wants to be told of it; no other file will do."""
    return f"{name_of(path)}=={path.name.split('-')[1]} --hash=sha256:{digest(path)}\n"


def facts(source: Source, machine: Machine, installed: Iterable[pathlib.Path]) -> str:
    """What `install` has to know, as variables of a shell; `needs` in KiB."""
    told: Mapping[str, object] = {
        "version": source.version,
        "python": machine.python,
        "architecture": machine.architecture,
        "glibc": f"2.{GLIBC}",
        "needs": COMPILED * sum(map(unpacked, installed)) // 1024,
    }
    return "".join(f"{name}={value}\n" for name, value in told.items())


def unpacked(path: pathlib.Path) -> int:
    """Bytes."""
    with zipfile.ZipFile(path) as packed:
        return sum(entry.file_size for entry in packed.infolist())
