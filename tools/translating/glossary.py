"""The words that a language has for the things of ogw: tools/glossary/LANGUAGE.txt.

A line is `term = words | other words   # why`; an English message with the term must have one of the words in its
translation, whatever its ending: words that are inflected are given by their stems. A line `! beginning of a message`
leaves that message out: it says the same in another way.
"""

import re
from typing import NamedTuple

from translating.messages import ROOT

FOLDER = ROOT / "tools" / "glossary"
QUOTED = re.compile(r"`[^`]*`|\{[^{}]*\}|--[a-z-]+")  # no words of a sentence


class Glossary(NamedTuple):
    """
    terms  in English, in lower case, to the words that stand for it
    but    beginnings of messages that are left out
    """

    terms: dict[str, tuple[str, ...]]
    but: tuple[str, ...]

    def missed(self, text: str, form: str) -> list[str]:
        """The terms of the English text that the translation has none of the words for."""
        if self.but and text.startswith(self.but):
            return []
        plain, there = QUOTED.sub(" ", text).lower(), form.lower()
        return [
            term
            for term, words in self.terms.items()
            if re.search(rf"(?<![\w-]){re.escape(term)}(?:s|es)?(?![\w-])", plain)
            and not any(word.lower() in there for word in words)
        ]


def glossary(language: str) -> Glossary:
    path = FOLDER / f"{language}.txt"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return parsed([line.partition("#")[0].strip() for line in lines])


def parsed(lines: list[str]) -> Glossary:
    """Raises ValueError."""
    terms: dict[str, tuple[str, ...]] = {}
    for line in filter(None, lines):
        if line.startswith("!"):
            continue
        term, equals, words = line.partition("=")
        found = tuple(word.strip() for word in words.split("|") if word.strip())
        if not equals or not term.strip() or not found:
            raise ValueError(f"{line!r} is not TERM = WORDS")
        terms[term.strip().lower()] = found
    return Glossary(terms, tuple(line[1:].strip() for line in lines if line.startswith("!")))
