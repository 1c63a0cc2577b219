"""Yes and no, as people type them: in their language or in English, in any case, and without accents in haste."""

import unicodedata
from typing import Optional

from ogw.language.messages import pgettext


def agreed(said: str) -> Optional[bool]:
    """Whether that is a yes; None where it is neither yes nor no."""
    agreeing = ("y", "yes", pgettext("answer to a question", "y"), pgettext("answer to a question", "yes"))
    refusing = ("n", "no", pgettext("answer to a question", "n"), pgettext("answer to a question", "no"))
    plain = _plain(said)
    return True if plain in map(_plain, agreeing) else False if plain in map(_plain, refusing) else None


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", text.strip().lower())
    return "".join(char for char in decomposed if not unicodedata.combining(char))
