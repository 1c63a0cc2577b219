"""All messages of ogw, as its sources mark them: the template that every catalog is filled by."""

import pathlib

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir

ROOT = pathlib.Path(__file__).parent.parent.parent
KEYWORDS = {"_": None, "N_": None, "ngettext": (1, 2), "pgettext": ((1, "c"), 2)}


def template() -> Catalog:
    """Each with the files that have it; the lines would change with every change of a file."""
    found = Catalog()
    house = ROOT / "ogw"
    for name, _line, message, comments, context in extract_from_dir(
        house, [("**.py", "python")], keywords=KEYWORDS, comment_tags=["Translators:"], strip_comment_tags=True
    ):
        found.add(message, None, [(f"ogw/{name}", 1)], auto_comments=comments, context=context)
    return found
