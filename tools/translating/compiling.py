"""Catalogs as ogw reads them, beside those that people edit. setup.py does this when a package is built."""

import os
import pathlib

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

FOLDER = pathlib.Path(__file__).parent.parent.parent / "ogw" / "language" / "catalogs"


def compile_stale() -> list[pathlib.Path]:
    """Compile those that changed since. Whole files take the place of whole files, as others may be reading them."""
    made = []
    for path in sorted(FOLDER.glob("*.po")):
        compiled = path.with_suffix(".mo")
        if compiled.exists() and compiled.stat().st_mtime_ns >= path.stat().st_mtime_ns:
            continue
        part = compiled.with_name(f".{compiled.name}.{os.getpid()}")
        with path.open("rb") as file:
            catalog = read_po(file, path.stem, "ogw")
        for message in [one for one in catalog if one.id and not one.string]:
            catalog.delete(message.id, message.context)  # English is better than nothing
        with part.open("wb") as packed:
            write_mo(packed, catalog)
        part.replace(compiled)
        made.append(compiled)
    return made
