"""The package of these sources and the next one, built once for all tests of a run."""

import fcntl
import os

from harness.clones import clone, package
from harness.commands import ROOT
from harness.peers import peer, without
from harness.roots import run

THIS, NEXT = "0.1.0", "0.2.0"  # as docs/fleet.md and conf/ansible name them
OF_THE_VERSION = {
    "DEBIAN/control": "\nVersion: ",
    "usr/lib/python3/dist-packages/ogw/__init__.py": '\n__version__ = "',
}


def debs(factory):
    """The folder of both. The first who asks builds them, and others wait. `factory` is pytest's tmp_path_factory."""
    own = factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "debs"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path(folder, NEXT).exists():
            _build(folder, factory.mktemp("tree"))
            _follow(folder, factory.mktemp("unpacked"))
    return folder


def path(folder, version):
    return folder / f"ogw_{version}_all.deb"


def _build(folder, place):
    lacks = run([peer("dpkg-checkbuilddeps"), str(ROOT / "conf/debian/control")], check=False).stderr
    if lacks:
        without(f"{lacks.strip()}; tools/test --long installs it when it runs as root on Debian")
    package(clone(place / "ogw", THIS), "deb", "--output", folder)


def _follow(folder, unpacked):
    """The same under the next version's number: a tenth of a build."""
    run([peer("dpkg-deb"), "--raw-extract", str(path(folder, THIS)), str(unpacked)])
    for name, begin in OF_THE_VERSION.items():
        text = (unpacked / name).read_text()
        assert text.count(begin + THIS) == 1
        (unpacked / name).write_text(text.replace(begin + THIS, begin + NEXT))
    (unpacked / "DEBIAN/md5sums").unlink()
    run([peer("dpkg-deb"), "--root-owner-group", "--build", str(unpacked), str(path(folder, NEXT))])
