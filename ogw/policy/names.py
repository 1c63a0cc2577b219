"""The names in a client's verified certificate, each as a rule writes it, `cn:till-17`: who it is, beside its address.

They are compared exactly, letter by letter: what an authority wrote into a certificate is not read otherwise here.
"""

import re
from collections.abc import Iterable

from ogw.language.messages import gettext as _

Names = frozenset[str]

NOBODY: Names = frozenset()  # of a client that has shown no certificate to the gateway
COMMON_NAME, ALTERNATIVE_NAME = "cn:", "san:"  # of its subject; of all kinds: DNS name, e-mail, URI or IP text
LONGEST = 256  # characters of a name
MOST_SHOWN = 4  # names in a sentence

_LABEL = re.compile(r"DNS:|IP:|IP Address:|email:|URI:|CN ?= ?")  # as OpenSSL shows them
_KINDS = (COMMON_NAME, ALTERNATIVE_NAME)


def is_name(text: str) -> bool:
    """It is meant as a name, in quotes or not; no address begins like that."""
    return text.replace('"', "").startswith(_KINDS)


def parse_name(text: str) -> str:
    """A name as a rule has it, its quotes left out. Raises ValueError with a sentence on what is wrong."""
    name = text.replace('"', "")
    kind, _colon, value = name.partition(":")
    if not name.startswith(_KINDS) or not value:
        raise ValueError(_("a name of a certificate is written cn:till-17 or san:till-17.example.com"))
    if len(name) > LONGEST:
        raise ValueError(_("a name has at most {most} characters").format(most=LONGEST))
    if label := _LABEL.match(value):
        told = _("a name is written as it is in the certificate, without {label} before it")
        raise ValueError(told.format(label=label[0]))
    if "*" in value.removeprefix("*."):
        raise ValueError(_("a name is compared letter by letter, so a * in it stands for nothing else"))
    for character in value:
        if not character.isprintable():
            raise ValueError(
                _("a name has printable characters only, and U+{code:04X} is none").format(code=ord(character))
            )
    return f"{kind}:{value}"


def name_of_word(text: str) -> str:
    """A word of a command line as a name: quotes around it, or around its value, are left out; others are its own.

    Raises ValueError, as parse_name does.
    """
    word = _unquoted(text)
    kind, colon, value = word.partition(":")
    parse_name(word)
    return f"{kind}{colon}{_unquoted(value)}"


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def name_text(name: str) -> str:
    """The same, in quotes where it could not be read without."""
    return f'"{name}"' if " " in name or "," in name else name


def writable(names: Iterable[str]) -> str:
    """The one of them to write into a rule, a common name if there is one; "" where none can be written."""
    for name in sorted(names):
        try:
            if parse_name(name) == name:
                return name
        except ValueError:
            continue
    return ""


def shown(client: str, names: Names) -> str:
    """A client in a sentence: its address, and the first of its names."""
    if not names:
        return client
    return f"{client} ({named(names)})"


def named(names: Names) -> str:
    """The first of them, for a sentence; "" for none."""
    first = [name_text(name) for name in sorted(names)[:MOST_SHOWN]]
    more = "" if len(names) <= MOST_SHOWN else f" and {len(names) - MOST_SHOWN} more"
    return ", ".join(first) + more
