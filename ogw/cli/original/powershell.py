"""The words of PowerShell's lines, as far as the original's scripts need them: no programs, no variables."""

import re
from collections.abc import Iterator

from ogw.language.messages import gettext as _

SINGLE, DOUBLE = "'\u2018\u2019\u201a\u201b", '"\u201c\u201d\u201e'  # PowerShell takes printers' quotes for quotes
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "0": "\0"}
BLANK = " \t\u00a0\ufeff"
NOT_OURS = "|&(){}<>,"  # what programs are made of; @ is where a word begins with it
_VARIABLE = re.compile(r"\$[\w?^$:{(]")  # any other dollar is one, also in double quotes: "p$"
_SWITCH = re.compile(r"-[A-Za-z]+:\$(?:true|false)\Z", re.IGNORECASE)


class Word(str):
    """A word in quotes: a value, whatever it begins with."""


class Unreadable(Exception):
    """The script cannot be read on from here."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def statements(text: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, words) of each statement; words in quotes are a Word. Raises Unreadable."""
    words: list[str] = []
    begun = 0
    reader = _Reader(text)
    for line, word in reader.words():
        if word is None:
            if words:
                yield begun, words
            words = []
            continue
        if not words:
            begun = line
        words.append(word)
    if words:
        yield begun, words


class _Reader:
    """Reads words, and None where a statement ends."""

    def __init__(self, text: str) -> None:
        self._text = text + "\n"  # so that another character is behind each one of a word
        self._at = 0
        self._line = 1

    def words(self) -> Iterator[tuple[int, str | None]]:
        text = self._text
        while self._at < len(text):
            char = text[self._at]
            if char in "\n\r;":
                yield self._line, None
                self._step()
            elif char in BLANK:
                self._step()
            elif text.startswith("`\n", self._at):  # the statement goes on in the next line
                self._step(2)
            elif char == "#":
                self._at = text.index("\n", self._at)
            elif text.startswith("<#", self._at):
                end = text.find("#>", self._at)
                if end < 0:
                    raise Unreadable(self._line, _("the comment that begins with <# has no end #>"))
                self._step(end + 2 - self._at)
            else:
                begun = self._line
                yield begun, self._word()

    def _step(self, characters: int = 1) -> None:
        self._line += self._text.count("\n", self._at, self._at + characters)
        self._at += characters

    def _word(self) -> str:
        quoted = self._text[self._at] in SINGLE + DOUBLE
        begun = self._at
        pieces: list[str] = []
        while (char := self._text[self._at]) not in BLANK + "\n\r;":
            if char in SINGLE + DOUBLE:
                pieces.append(self._quoted(SINGLE if char in SINGLE else DOUBLE))
            elif char == "`":
                if self._text[self._at + 1] == "\n":
                    break
                pieces.append(self._escaped())
            else:
                pieces.append(self._plain(char, begun))
        word = "".join(pieces)
        return Word(word) if quoted else word

    def _plain(self, char: str, begun: int) -> str:
        if char in NOT_OURS or (char == "@" and self._at == begun):
            message = _("{char} belongs to programs; ogw understands only lines of cmdlets and their values")
            raise Unreadable(self._line, message.format(char=char))
        if _VARIABLE.match(self._text, self._at):
            end = re.compile(r"[^\s;]*").match(self._text, begun)
            assert end is not None
            if not _SWITCH.match(end[0]):
                raise Unreadable(self._line, _("variables are not understood; write the value itself"))
        self._step()
        return char

    def _escaped(self) -> str:
        char = self._text[self._at + 1]
        self._step(2)
        return ESCAPES.get(char, char)

    def _quoted(self, quotes: str) -> str:
        begun = self._line
        pieces: list[str] = []
        self._step()
        while self._at < len(self._text):
            char = self._text[self._at]
            if char in quotes:
                self._step()
                if self._text[self._at] not in quotes:
                    return "".join(pieces)
                pieces.append(char)
                self._step()
            elif char == "`" and quotes == DOUBLE:
                pieces.append(self._escaped())
            elif quotes == DOUBLE and _VARIABLE.match(self._text, self._at):
                raise Unreadable(self._line, _("variables are not understood; write the value itself"))
            else:
                pieces.append(char)
                self._step()
        raise Unreadable(begun, _("a quote is not closed"))
