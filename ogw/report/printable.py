"""The one place that makes text fit to be read: for log lines, for standard error, for what commands show.

Whatever comes from outside (names of files, notes, subjects, a relay proxy's words) may hold characters that cannot be
encoded or that do something to a terminal. Here they are written out; nothing raises, and nothing is without a bound.
"""

import math
from collections.abc import Callable, Mapping, Set
from itertools import islice
from typing import Any

MOST_ITEMS = 1000  # of a list or a mapping
BLANKS = "\u00a0\u202f\u3000"
DEEPEST = 4  # lists and mappings in each other
MOST_DETAIL = 2048  # characters of what is said about one refusal


def printable(text: str) -> str:
    r"""Control characters, direction marks, lone surrogates and the like written out: \x1b, \u202e.

    A byte of a file's name that is no UTF-8 is \xff.
    """
    return text if text.isprintable() else "".join(_written_out(char) for char in text)


def readable(text: str) -> str:
    """As `printable`, but with the blanks that languages have beside the common one: in messages for people."""
    return text if text.isprintable() else "".join(char if char in BLANKS else _written_out(char) for char in text)


def printable_lines(text: str) -> str:
    """The same, but for the ends of lines and what they are indented with."""
    return text if text.isprintable() else "".join(char if char in "\n\t" else _written_out(char) for char in text)


def encodable(text: str) -> str:
    """Only what UTF-8 does not have is written out: for what is quoted as JSON anyway."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join(_written_out(char) if "\ud800" <= char <= "\udfff" else char for char in text)
    return text


def _written_out(char: str) -> str:
    if char.isprintable():
        return char
    if "\udc80" <= char <= "\udcff":
        return f"\\x{ord(char) - 0xDC00:02x}"
    return ascii(char)[1:-1]


def cut(text: str, most: int) -> str:
    """Its begin, and how much more there was; `most` are the characters that stay."""
    return text if len(text) <= most else f"{text[:most]} ... and {len(text) - most} more characters"


def cut_front(text: str, most: int) -> str:
    """Its end, and how much there was before."""
    return text if len(text) <= most else f"{len(text) - most} characters and ... {text[len(text) - most :]}"


def detail_of(text: str) -> str:
    """What is said about a refusal, fit to be read and to be kept."""
    return cut(printable(text[: MOST_DETAIL * 2]) if len(text) > MOST_DETAIL * 2 else printable(text), MOST_DETAIL)


def plain(value: Any, write: Callable[[str], str] = printable, depth: int = 0) -> Any:
    """The same as JSON has it: texts that are printable, numbers that every reader takes, lists, mappings.

    Never raises. What is none of these is its text, or the name of its type where it has none.

    write  makes texts readable
    """
    kind = type(value)
    if kind is str:
        return write(value)
    if kind is int:
        return value if -(1 << 63) <= value < 1 << 64 else hex(value)
    if value is None or kind is bool:
        return value
    if kind is float:
        return value if math.isfinite(value) else str(value)
    try:
        return _plain(value, write, depth)
    except Exception:
        return f"<{kind.__name__}>"


def _plain(value: Any, write: Callable[[str], str], depth: int) -> Any:
    if isinstance(value, str):
        return write(str.__str__(value))
    if isinstance(value, int):
        return plain(int.__int__(value))
    if isinstance(value, float):
        return plain(float.__float__(value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return write(bytes(value).decode("utf-8", "surrogateescape"))
    if isinstance(value, (Mapping, Set, list, tuple)):
        if depth == DEEPEST:
            return "..."
        first = list(islice(value, MOST_ITEMS))
        if isinstance(value, Mapping):
            return {str(plain(name)): plain(value[name], write, depth + 1) for name in first}
        more = [f"and {len(value) - MOST_ITEMS} more"] if len(value) > MOST_ITEMS else []
        return [plain(one, write, depth + 1) for one in first] + more
    return write(str(value))
