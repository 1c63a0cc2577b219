"""Build the wheel and the sdist, for whoever has an index or a folder of packages of their own."""

import argparse
import pathlib
import tempfile

from ogw.cli.exits import OK
from packing.archive import pack
from packing.calls import called
from packing.results import deliver, flags
from packing.source import Source, clean_tree
from packing.toolbox import HOOK, toolbox

EXAMPLES = """
examples:
  tools/package wheel                            dist/ogw-VERSION-py3-none-any.whl and dist/ogw-VERSION.tar.gz
  pip install dist/ogw-VERSION-py3-none-any.whl  into a virtual environment; it takes the rest from your index
"""


def parser() -> argparse.ArgumentParser:
    return flags("wheel", __doc__, EXAMPLES)


def run(asked: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as folder:
        source = clean_tree(pathlib.Path(folder) / "source")
        deliver([wheel(source, pathlib.Path(folder)), sdist(source, pathlib.Path(folder))], asked.output)
    return OK


def wheel(source: Source, folder: pathlib.Path) -> pathlib.Path:
    """Built from the source, into the folder."""
    return built("build_wheel", source, folder)


def sdist(source: Source, folder: pathlib.Path) -> pathlib.Path:
    """The same; what setuptools packs has the time of now, so it is packed again."""
    archive = built("build_sdist", source, folder)
    name = archive.name.removesuffix(".tar.gz")
    called(["tar", "-x", "-f", archive, "-C", folder])
    pack(folder / name, name, source.epoch, archive)
    return archive


def built(hook: str, source: Source, folder: pathlib.Path) -> pathlib.Path:
    said = called([toolbox(), "-c", HOOK, hook, folder], source.folder, source.environment())
    return folder / said.splitlines()[-1]
