"""The catalog of a language, as a file that people edit."""

import io
import pathlib
from datetime import UTC, datetime

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po

from ogw.language.known import ENGLISH, LANGUAGES
from translating.compiling import FOLDER

OTHERS = tuple(name for name in LANGUAGES if name != ENGLISH)
HEADER = "# What ogw says in {name}. `tools/catalogs.py update` writes this file; people fill in the translations."
NEVER = datetime(2026, 1, 1, tzinfo=UTC)  # git knows when, and the same texts make the same file


def source(language: str) -> pathlib.Path:
    return FOLDER / f"{language}.po"


def read(language: str) -> Catalog:
    """Empty where there is no file yet."""
    path = source(language)
    if not path.exists():
        return Catalog(language, domain="ogw")
    with path.open("rb") as file:
        return read_po(file, language, "ogw", abort_invalid=True)


def write(language: str, catalog: Catalog) -> None:
    catalog.header_comment = HEADER.format(name=LANGUAGES[language].name)
    catalog.project, catalog.version = "ogw", "1"
    catalog.creation_date = catalog.revision_date = NEVER
    catalog.last_translator = catalog.language_team = "ogw"
    catalog.msgid_bugs_address = ""
    catalog.fuzzy = False
    made = io.BytesIO()
    write_po(made, catalog, width=110, sort_by_file=True, include_lineno=False, ignore_obsolete=True)
    lines = [line for line in made.getvalue().splitlines(True) if not line.startswith(b'"Generated-By: ')]
    source(language).write_bytes(b"".join(lines))
