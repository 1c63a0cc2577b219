"""Lines of PowerShell as far as the original's scripts need them: cmdlets with plain values, quotes and comments."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from gettext import gettext as _
from typing import NamedTuple

DASHES = "-\u2013\u2014\u2015"  # what word processors make of a hyphen is one for PowerShell, too
SINGLE, DOUBLE = "'\u2018\u2019\u201a\u201b", '"\u201c\u201d\u201e'
ESCAPES = {"0": "\0", "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
CONSTANTS = ("$true", "$false")


class Word(NamedTuple):
    """A word; one that began with a quote is a value, whatever it looks like."""

    text: str
    quoted: bool = False


@dataclass
class Statement:
    """A command of a script.

    line     the number of its first line
    text     as it stands there, on one line
    words    what it consists of
    mistake  why it is not understood; "" where it is
    """

    line: int
    text: str = ""
    words: list[Word] = field(default_factory=list)
    mistake: str = ""


class _Wrong(Exception):
    """What is not understood."""


def statements(script: str) -> list[Statement]:
    """The commands of a script, in order; comments are none."""
    return list(_Reader(script.replace("\r\n", "\n")).read())


class _Reader:
    def __init__(self, script: str) -> None:
        self._script = script
        self._at = 0

    def read(self) -> Iterator[Statement]:
        while self._at < len(self._script):
            start = self._at
            statement = Statement(self._script.count("\n", 0, start) + 1)
            try:
                while (word := self._word(statement)) is not None:
                    statement.words.append(word)
            except _Wrong as wrong:
                statement.mistake = str(wrong)
                end = self._script.find("\n", self._at)
                self._at = len(self._script) if end < 0 else end
            if statement.words or statement.mistake:
                begin = start + len(self._script[start : self._at]) - len(self._script[start : self._at].lstrip())
                statement.text = " ".join(self._script[begin : self._at].replace("`\n", " ").split())
                yield statement
            self._at += 1

    def _word(self, statement: Statement) -> "Word | None":
        """The next word of this command; None at its end."""
        self._skip_blanks()
        if self._char() in ("", "\n", ";"):
            return None
        if not statement.words:
            statement.line = self._script.count("\n", 0, self._at) + 1
        quoted = self._char() in SINGLE + DOUBLE
        text = ""
        while (char := self._char()) and char not in " \t\r\n;":
            if char in SINGLE:
                text += self._until_quote(SINGLE, expands=False)
            elif char in DOUBLE:
                text += self._until_quote(DOUBLE, expands=True)
            elif char == "`":
                text += self._escaped()
            elif char in "|&(){}<>@":
                raise _Wrong(_("{sign} is not understood here, only cmdlets with plain values").format(sign=char))
            elif char == "$":
                text += self._constant()
            else:
                text += char
                self._at += 1
        return Word(text, quoted)

    def _char(self) -> str:
        return self._script[self._at : self._at + 1]

    def _skip_blanks(self) -> None:
        while True:
            if self._char() and self._char() in " \t\r\u00a0\ufeff":
                self._at += 1
            elif self._script.startswith("`\n", self._at):
                self._at += 2
            elif self._script.startswith("<#", self._at):
                end = self._script.find("#>", self._at)
                if end < 0:
                    self._at = len(self._script)
                    raise _Wrong(_("a comment that begins with <# is not closed with #>"))
                self._at = end + 2
            elif self._char() == "#":
                end = self._script.find("\n", self._at)
                self._at = len(self._script) if end < 0 else end
            else:
                return

    def _until_quote(self, quotes: str, expands: bool) -> str:
        """What stands in quotes; twice the quote is one."""
        self._at += 1
        text = ""
        while (char := self._char()) != "":
            if char in quotes:
                self._at += 1
                if self._char() == "" or self._char() not in quotes:
                    return text
                text += self._char()
                self._at += 1
            elif expands and char == "`":
                text += self._escaped()
            elif expands and char == "$" and self._script[self._at + 1 : self._at + 2].isidentifier():
                raise _Wrong(_("a variable in a value is not understood, only the value itself"))
            elif expands and self._script.startswith(("$(", "${"), self._at):
                raise _Wrong(_("an expression in a value is not understood, only the value itself"))
            else:
                text += char
                self._at += 1
        raise _Wrong(_("a quote is not closed"))

    def _escaped(self) -> str:
        char = self._script[self._at + 1 : self._at + 2]
        self._at += 2
        return ESCAPES.get(char, "" if char == "\n" else char)

    def _constant(self) -> str:
        for constant in CONSTANTS:
            end = self._at + len(constant)
            if self._script[self._at : end].lower() == constant and not self._script[end : end + 1].isalnum():
                self._at = end
                return constant
        raise _Wrong(_("a variable is not understood, only the value itself"))
