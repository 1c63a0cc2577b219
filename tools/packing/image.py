"""Build the container image, with podman, buildah or docker: a bundle on a base that has its Python.

The base is any image that the engine has or can pull; where none can be had, one is made of Debian's packages. What is
built stays with the engine, and is a file, too, for machines that reach no registry (podman load, docker load).
"""

import argparse
import pathlib
import platform
import shutil
import sys
import tempfile

from ogw.cli.exits import OK
from packing.bundle import bundle
from packing.calls import NotBuilt, called
from packing.machines import OLDEST, PYTHONS, Machine
from packing.results import deliver, flags
from packing.source import Source, clean_tree
from packing.wheel import wheel

EXAMPLES = """
examples:
  tools/package image --base python:3.13-slim       on an image that has Python 3.13
  tools/package image --debian trixie               on a base made of Debian's packages, with mmdebstrap
  podman run --read-only --cap-drop all -p 8080:8080 -e OGW_ALLOWED_HOST=www.example.com localhost/ogw:VERSION
"""
ENGINES = ("podman", "buildah", "docker")
DEBIANS = {"bookworm": "3.11", "trixie": "3.13"}  # releases, and their Python
PACKAGES = ("ca-certificates", "libstdc++6", "python3")  # the second is what greenlet is linked with
LEAN = [
    f"--dpkgopt=path-{rule}"
    for rule in ("exclude=/usr/share/doc/*", "include=/usr/share/doc/*/copyright", "exclude=/usr/share/man/*",
                 "exclude=/usr/share/locale/*")
]  # fmt: skip
NO_BASE = (
    "name one that has Python {pythons} with --base IMAGE, or let --debian {debian} make one of Debian's packages "
    "with mmdebstrap"
).format(pythons=f"{PYTHONS[0]} to {PYTHONS[-1]}", debian=list(DEBIANS)[-1])


class Engine:
    """A program that builds images. What it cannot do is NotBuilt, in its own words."""

    def __init__(self, name: str) -> None:
        self.name = name

    def require(self, image: str) -> None:
        """Have it here, or pull it."""
        kind = ["inspect", "--type", "image"] if self.name == "buildah" else ["image", "inspect"]
        try:
            called([self.name, *kind, image])
        except NotBuilt:
            called([self.name, "pull", image])

    def build(self, image: str, context: pathlib.Path, file: pathlib.Path, **arguments: str) -> None:
        # Of their two formats, that which knows HEALTHCHECK.
        format = [] if self.name == "docker" else ["--format", "docker"]
        given = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
        called([self.name, "build", *format, "--network", "none", *given, "-t", image, "-f", file, context])

    def save(self, image: str, archive: pathlib.Path) -> None:
        """As a file that each of them loads."""
        words: dict[str, list[str]] = {
            "podman": ["save", "--format", "docker-archive", "--output", str(archive), image],
            "buildah": ["push", image, f"docker-archive:{archive}:{image}"],
            "docker": ["save", "--output", str(archive), image],
        }
        called([self.name, *words[self.name]])


def parser() -> argparse.ArgumentParser:
    made = flags("image", __doc__, EXAMPLES)
    base = made.add_mutually_exclusive_group()
    base.add_argument("--base", metavar="IMAGE", help="build on this one")
    base.add_argument("--debian", choices=DEBIANS, help="build on a base made of this release's packages")
    made.add_argument("--python", choices=PYTHONS, help=f"that of the base ({PYTHONS[-1]}; of Debian it is known)")
    made.add_argument("--engine", choices=ENGINES, help="what to build with (the first that is there)")
    made.add_argument("--tag", metavar="NAME", help="what the image is called (localhost/ogw:VERSION)")
    return made


def run(asked: argparse.Namespace) -> int:
    if not asked.base and not asked.debian:
        raise NotBuilt(f"an image needs a base: {NO_BASE}")
    engine = engine_of(asked.engine)
    machine = Machine(asked.python or DEBIANS.get(asked.debian, PYTHONS[-1]), architecture())
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        source = clean_tree(folder / "source")
        base = debian(engine, asked.debian, source, folder) if asked.debian else base_of(engine, asked.base)
        image = asked.tag or f"localhost/ogw:{source.version}"
        engine.build(
            image,
            context(source, machine, folder),
            source.folder / "conf" / "container" / "Containerfile",
            BASE=base,
            VERSION=source.version,
        )
        print(image)
        archive = folder / f"ogw-{source.version}-image-{machine.architecture}.tar"
        engine.save(image, archive)
        deliver([archive], asked.output)
    return OK


def engine_of(asked: str) -> Engine:
    """The one that is asked for, or the first that is there. Raise NotBuilt."""
    for name in [asked] if asked else ENGINES:
        if shutil.which(name):
            return Engine(name)
    raise NotBuilt(f"{asked or ' or '.join(ENGINES)} is needed to build an image, and not there: install it")


def architecture() -> str:
    """This machine's: nothing is built for another one."""
    if platform.machine() not in OLDEST:
        raise NotBuilt(f"there is no image for {platform.machine()}, only for {' and '.join(OLDEST)}")
    return platform.machine()


def base_of(engine: Engine, image: str) -> str:
    try:
        engine.require(image)
    except NotBuilt as error:
        raise NotBuilt(f"the base {image} cannot be had: {error}\n{NO_BASE}") from None
    return image


def debian(engine: Engine, release: str, source: Source, folder: pathlib.Path) -> str:
    """An image with Python and what every Debian has; its name."""
    print(f"making a base of Debian {release} (it takes a minute) ...", file=sys.stderr)
    made = folder / "debian"
    made.mkdir()
    called(
        ["mmdebstrap", "--quiet", "--variant=essential", f"--include={','.join(PACKAGES)}", *LEAN, release,
         made / "root.tar"],
        environment=source.environment(),
    )  # fmt: skip
    (made / "Containerfile").write_text("FROM scratch\nADD root.tar /\n", encoding="utf-8")
    image = f"localhost/ogw-base:{release}"
    engine.build(image, made, made / "Containerfile")
    return image


def context(source: Source, machine: Machine, folder: pathlib.Path) -> pathlib.Path:
    """The folder whose files go into the image."""
    made = folder / "context"
    made.mkdir()
    archive, _hashed = bundle(source, wheel(source, folder), machine, folder)
    (folder / archive.name.removesuffix(".tar.gz")).rename(made / "bundle")
    return made
