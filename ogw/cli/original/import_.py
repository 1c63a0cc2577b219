"""`ogw import FILE`: a script of the original's cmdlets, line by line, all of it or nothing."""

import codecs
import os
import re
import sys
from collections.abc import Iterator
from gettext import gettext as _

from ogw.cli.edit.change import add_flags, file_of, make
from ogw.cli.exits import FAILED, NO_GATEWAY, OK, Failed
from ogw.cli.live.gateway import NO_GATEWAY_MEANS
from ogw.cli.original.cmdlets import RESTART, Call, NotUnderstood, Word, parsed, warn_of_password
from ogw.cli.parser import parser_of
from ogw.cli.screen import clean
from ogw.settings.editing import Editor
from ogw.settings.ini.file import EditError

MOST = 1 << 20  # characters: no script of settings is longer
SINGLE, DOUBLE = "'\u2018\u2019\u201a\u201b", '"\u201c\u201d\u201e'  # PowerShell takes printers' quotes for quotes
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "0": "\0"}
BLANK = " \t\u00a0\ufeff"
NOT_OURS = "|&(){}<>@,"  # what programs are made of
_SWITCH = re.compile(r"-[A-Za-z]+:\$(?:true|false)\Z", re.IGNORECASE)


def import_(words: list[str]) -> int:
    """The exit code."""
    parser = parser_of(
        "import",
        _(
            "Do what a script of the original's cmdlets does, to the INI file. What becomes of each line is shown, and "
            "all of them are done or none. Lines that restart the service are what --reload does, at the end."
        ),
        examples=["ogw import gateway.ps1 --dry-run", "ogw import gateway.ps1 --reload"],
        codes={
            OK: _("every line was understood and done"),
            FAILED: _("one was not, and nothing was changed; the message says where and why"),
            NO_GATEWAY: _("the file was changed, but there is no gateway to --reload: {what}").format(
                what=NO_GATEWAY_MEANS
            ),
        },
    )
    parser.add_argument("file", metavar="FILE", help=_("the script; - is standard input"))
    add_flags(parser)
    asked = parser.parse_args(words)
    calls = _calls(asked.file, text_of(asked.file))
    lines = [{"line": line, "cmdlet": call.cmdlet.name, "becomes": _becomes(call)} for line, call in calls]
    for line, call in calls:
        if not asked.json:
            print(clean(f"{line}: {call.cmdlet.name} -> {_becomes(call)}"))
        warn_of_password(call)
    path = os.path.realpath(file_of(asked))

    def change(editor: Editor) -> None:
        mistakes = []
        for line, call in calls:
            if call.cmdlet.change is None or call.what_if:
                continue
            try:
                call.cmdlet.change(call, editor, path)
            except EditError as error:
                mistakes.append(f"{asked.file}:{line}: {error}")
        if mistakes:
            raise EditError("\n".join(mistakes))

    return make(asked, change, {"lines": lines})


def _becomes(call: Call) -> str:
    if call.what_if:
        return _("nothing: -WhatIf only shows")
    if call.cmdlet is RESTART:
        return _("{command}, at the end, with --reload").format(command=call.meant())
    if call.cmdlet.show is not None:
        return _("nothing: it only shows ({command})").format(command=call.meant())
    return call.meant() or _("nothing")


def _calls(name: str, text: str) -> list[tuple[int, Call]]:
    """The cmdlets of the script, each with the number of its line. Raises Failed with all that are not understood."""
    calls, mistakes = [], []
    try:
        for line, words in statements(text):
            try:
                calls.append((line, parsed(words)))
            except NotUnderstood as error:
                mistakes.append(f"{name}:{line}: {error}")
    except Unreadable as error:
        mistakes.append(f"{name}:{error.line}: {error}")
    if mistakes:
        told = _("{mistakes}\nogw: nothing was changed; take out what is not ogw's, and try again")
        raise Failed(told.format(mistakes="\nogw: ".join(mistakes)))
    return calls


def text_of(name: str) -> str:
    """The script, in whatever PowerShell wrote it. Raises Failed."""
    try:
        if name == "-":
            contents = sys.stdin.buffer.read(4 * MOST)
        else:
            with open(name, "rb") as file:
                contents = file.read(4 * MOST)
    except OSError as error:
        raise Failed(f"{name}: {error.strerror}") from None
    wide = contents.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = contents.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise Failed(_("{path}: not a text file in UTF-8, nor in UTF-16 with its mark").format(path=name)) from None
    if len(text) > MOST or "\0" in text:
        raise Failed(_("{path}: not a script of cmdlets").format(path=name))
    return text.replace("\r\n", "\n")


class Unreadable(Exception):
    """The script cannot be read on from here."""

    def __init__(self, line: int, told: str) -> None:
        super().__init__(told)
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
        self._text = text + "\n"
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
                    raise Unreadable(self._line, _("the comment <# has no end #>"))
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
        if char in NOT_OURS:
            told = _("{char} is for programs; ogw understands lines of cmdlets and their values")
            raise Unreadable(self._line, told.format(char=char))
        if char == "$":
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
                pieces.append(self._escaped() if self._at + 1 < len(self._text) else "")
            elif char == "$" and quotes == DOUBLE:
                raise Unreadable(self._line, _("variables are not understood; write the value itself"))
            else:
                pieces.append(char)
                self._step()
        raise Unreadable(begun, _("a quote is not closed"))
