"""What is wrong with a translation, beside its words: what no reader could use, or paste."""

import re
from collections import Counter
from collections.abc import Iterator

from babel.messages.catalog import Catalog, Message

from ogw.settings.settings import SETTINGS
from translating.glossary import Glossary

PLACEHOLDER = re.compile(r"\{[^{}]*\}|%\(\w+\)[a-z]|%[srd]")
# What is typed, or stands in a file, a log or an answer as it is here: the same in every language.
TYPED = re.compile(
    r"`[^`]*`|(?<![\w-])--?[a-z][a-z-]*\b|\b(?:OGW_[A-Z_]+|OGW-\d+)\b|\bhttps?://\S*[\w/]|(?<![\w.])/(?:[\w.-]+/?)+"
)
NAMES = sorted((name for name in SETTINGS if "-" in name), key=len, reverse=True)
SETTING = re.compile(rf"(?<![\w-])(?:{'|'.join(NAMES)})(?![\w-])")
COLONS = (":", "\N{FULLWIDTH COLON}")


def faults(catalog: Catalog, template: Catalog, glossary: Glossary) -> Iterator[str]:
    """A sentence for each, with the message that it is about."""
    for message in template:
        if not message.id:
            continue
        found = catalog.get(message.id, message.context)
        for why in _of(message, found, glossary, catalog.num_plurals):
            yield f"{_ids(message)[0][:70]!r}: {why}"
    for message in catalog:
        if message.id and template.get(message.id, message.context) is None:
            yield f"{_ids(message)[0][:70]!r}: ogw says this no more"


def _of(message: Message, found: Message | None, glossary: Glossary, plurals: int) -> Iterator[str]:
    forms = _forms(found)
    if found is None or not all(forms) or len(forms) != (plurals if message.pluralizable else 1):
        yield "not translated"
        return
    if found.fuzzy:
        yield "fuzzy"
    singular, plural = _ids(message)
    every, least = set(PLACEHOLDER.findall(plural)), set(PLACEHOLDER.findall(singular))
    for form in forms:
        filled = set(PLACEHOLDER.findall(form))
        if not (every & least) <= filled <= (every | least):
            yield f"placeholders {sorted(filled)} instead of {sorted(every)}"
        yield from _kept(plural, form)
        for term in glossary.missed(plural, form):
            yield f"the glossary has other words for {term}"


def _kept(text: str, form: str) -> Iterator[str]:
    for pattern in (TYPED, SETTING):
        lost = Counter(pattern.findall(text)) - Counter(pattern.findall(form))
        if really := [word for word in lost if form.count(word) < text.count(word)]:
            yield f"{', '.join(really)} stands there no more"
    if text.count("`") != form.count("`"):
        yield "another number of backticks"
    if (text[:1].isspace(), text[-1:].isspace()) != (form[:1].isspace(), form[-1:].isspace()):
        yield "blanks at its begin or end"
    if text.count("\n") != form.count("\n"):
        yield "another number of lines"
    if text.rstrip().endswith(":") != form.rstrip().endswith(COLONS):
        yield "a colon at the end"
    if any(not char.isprintable() and char not in "\n\u00a0\u202f" for char in form):
        yield "a character that cannot be seen"


def _forms(message: Message | None) -> list[str]:
    if message is None:
        return []
    return [form or "" for form in ([message.string] if isinstance(message.string, str) else message.string or [])]


def _ids(message: Message) -> tuple[str, str]:
    """Of one, and of many."""
    return (message.id, message.id) if isinstance(message.id, str) else (message.id[0], message.id[1])
