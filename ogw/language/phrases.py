"""Parts that many messages have, put together as each language does."""

from collections.abc import Sequence
from typing import Literal

from ogw.language.known import ENGLISH
from ogw.language.messages import gettext as _
from ogw.language.messages import language


def either(names: Sequence[str]) -> str:
    """One of them: "a, b, or c"."""
    return _listed(names, "or")


def every(names: Sequence[str]) -> str:
    """All of them: "a, b, and c"."""
    return _listed(names, "standard")


def _listed(names: Sequence[str], style: Literal["or", "standard"]) -> str:
    if len(names) < 2:
        return "".join(names)
    if language() != ENGLISH:
        from babel.lists import format_list

        return format_list(names, style, language())
    word = "or" if style == "or" else "and"
    if len(names) == 2:
        return f"{names[0]} {word} {names[1]}"
    return f"{', '.join(names[:-1])}, {word} {names[-1]}"


def with_hint(mistake: str, near: Sequence[str]) -> str:
    """A mistake with what may be meant instead, if anything is."""
    return _("{mistake}; did you mean {near}?").format(mistake=mistake, near=either(near)) if near else mistake
