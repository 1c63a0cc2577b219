"""Messages for people. A catalog is read when the first message is asked for in its language; English has none.

A text that is made when its module is imported is marked by N_ there, and looked up by _ where it is shown: by then it
is known who reads it.
"""

import functools
import pathlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from ogw.language.known import ENGLISH

FOLDER = pathlib.Path(__file__).parent / "catalogs"
_of_process = ENGLISH
_of_this_answer: ContextVar[str] = ContextVar("language", default="")


class Catalog(Protocol):
    """As gettext.NullTranslations."""

    def gettext(self, message: str) -> str: ...

    def ngettext(self, one: str, many: str, number: int) -> str: ...

    def pgettext(self, context: str, message: str) -> str: ...


class _English:
    """What the messages are written in."""

    def gettext(self, message: str) -> str:
        return message

    def ngettext(self, one: str, many: str, number: int) -> str:
        return one if number == 1 else many

    def pgettext(self, context: str, message: str) -> str:
        return message


def use(language: str) -> None:
    """From now on, in this process."""
    global _of_process
    _of_process = language


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """In this block, and of this thread alone; "" for the process' own language."""
    token = _of_this_answer.set(language)
    try:
        yield
    finally:
        _of_this_answer.reset(token)


def language() -> str:
    """The one that is spoken here (known.LANGUAGES): English, where the one asked for has no catalog."""
    asked = _asked()
    return ENGLISH if isinstance(_catalog(asked), _English) else asked


def _asked() -> str:
    return _of_this_answer.get() or _of_process


def gettext(message: str) -> str:
    return _catalog(_asked()).gettext(message)


def ngettext(one: str, many: str, number: int) -> str:
    """The form for so many; the number itself is filled in by who asks."""
    return _catalog(_asked()).ngettext(one, many, number)


def pgettext(context: str, message: str) -> str:
    """Of a message with several meanings, or one that would not be understood alone: `context` says which."""
    return _catalog(_asked()).pgettext(context, message)


def gettext_noop(message: str) -> str:
    """Itself: it is looked up where it is shown."""
    return message


@functools.cache
def _catalog(name: str) -> Catalog:
    if name == ENGLISH:
        return _English()
    from gettext import GNUTranslations

    try:
        with (FOLDER / f"{name}.mo").open("rb") as file:
            return GNUTranslations(file)
    except OSError:
        return _English()  # a clone whose catalogs were not compiled
