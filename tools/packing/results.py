"""Where what was built goes: a folder, and whole files in it."""

import argparse
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterable
from typing import Optional

from packing.calls import NotBuilt
from packing.source import ROOT


def flags(kind: str, text: Optional[str], examples: str = "") -> argparse.ArgumentParser:
    """The parser of a kind, with what all have: `output`, the folder that the results go to."""
    made = argparse.ArgumentParser(
        f"tools/package {kind}",
        description=text,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--output", type=pathlib.Path, default=ROOT / "dist", metavar="FOLDER", help="where to put it (dist/)"
    )
    return made


def deliver(made: Iterable[pathlib.Path], folder: pathlib.Path) -> None:
    """Put files into `folder`, each whole or not at all, and say where. Raise NotBuilt where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in made:
            with tempfile.TemporaryDirectory(prefix=".part-", dir=folder) as part:
                os.replace(shutil.copy2(path, part), folder / path.name)
            print(folder / path.name)
    except OSError as error:
        raise NotBuilt(f"cannot write to {folder}: {error.strerror}") from error
