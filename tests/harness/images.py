"""The container image of these sources, built once for all tests of a run."""

import fcntl
import os
import pathlib

from harness.clones import clone, package
from harness.peers import peer


def image(factory, podman):
    """What `tools/package image` said: the name of the image, which this podman has, and the archive of it.

    The first who asks builds it, and others wait for that. `factory` is pytest's tmp_path_factory.
    """
    peer("mmdebstrap")
    own = factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    with (shared / "image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = shared / "image.said"
        if not said.exists():
            folder = factory.mktemp("image")
            tree = clone(folder / "ogw")
            done = package(tree, "image", "--debian", "bookworm", "--output", folder / "dist")
            said.write_text(done.stdout)
    name, archive = said.read_text().split()
    if podman("image", "exists", name, check=False).returncode:
        podman("load", "--input", archive)
    return name, pathlib.Path(archive)
