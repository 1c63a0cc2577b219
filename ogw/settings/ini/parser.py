"""The INI file: one section, `key = value`, further values of a list on indented lines. Every value keeps its line."""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Optional

from configargparse import ConfigFileParser

from ogw.language.conventions import count
from ogw.language.messages import gettext as _

SECTION = "ogw"
HEADER = re.compile(r"\[([^\]]*)\]\s*\Z")
# What no key begins with, or has in it, as values of lists do; CN= and the like begin a subject.
_NO_KEY = re.compile(r"[\s\[#;]|\Z|[^=]*[.:*/@]|[A-Z]{1,3}[ \t]*\Z")
_QUOTED = re.compile(r'"[^"]*"')
_COMMENT = re.compile(r"(?:\A|\s)[#;]+(?:\s|\Z)")  # "Till #7" is none
_SETTING = re.compile(r"([a-z]+(?:-[a-z0-9]+)*)[ \t]*=")


class IniParser(ConfigFileParser):  # type: ignore[misc]
    """The reader that configargparse is given: it cuts no value at # or ;, and % and [::1] are text like any other.

    values    key -> (line number, text) of each of its values
    again     the same of a key that stands there again, which is a mistake
    repeated  key -> numbers of the lines that it stands in again
    keys      key -> number of the line that it stands in
    sections  names
    indented  number of an indented line that looks like a setting of its own -> its key
    cut       numbers of lines in which blanks around the value were cut off, but for the one that is usual
    mistakes  (line number, sentence); one for a line, and none for those that only follow it
    """

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, list[tuple[int, str]]] = {}
        self.again: dict[str, list[tuple[int, str]]] = {}
        self.repeated: dict[str, list[int]] = {}
        self.keys: dict[str, int] = {}
        self.sections: set[str] = set()
        self.indented: dict[int, str] = {}
        self.cut: set[int] = set()
        self.mistakes: list[tuple[int, str]] = []
        self._section = ""
        self._list: Optional[list[tuple[int, str]]] = None  # that an indented line continues
        self._is_told = False  # why lines that come now are in no list, or in no section
        self._strays, self._told_at = 0, 0  # lines in a row that are nothing, and where in `mistakes` they are told of

    def get_syntax_description(self) -> str:
        return _("The file has one section, [ogw]; lists have one value a line, further ones indented.")

    def parse(self, stream: Iterable[str]) -> "OrderedDict[str, str]":
        for number, line in enumerate(stream, start=1):
            self._read_line(number, line.rstrip("\r\n"))
        return OrderedDict((key, "\n".join(text for _line, text in values)) for key, values in self.values.items())

    def serialize(self, items: "OrderedDict[str, Any]") -> str:
        raise NotImplementedError("ogw never writes a file through configargparse")

    def take_out_indented(self, is_setting: Callable[[str], bool]) -> None:
        """What is a setting of its own is no value of the list above it; that it is indented is a mistake."""
        for values in (*self.values.values(), *self.again.values()):
            taken = {line: key for line, _text in values if is_setting(key := self.indented.get(line, ""))}
            for line, key in taken.items():
                self._wrong(line, _indented(key))
            values[:] = [(line, text) for line, text in values if line not in taken]

    def _read_line(self, number: int, line: str) -> None:
        text = line.strip()
        if not text or text[0] in "#;":
            return
        if line[0] in " \t":
            self._continue(number, line)
            return
        header = HEADER.match(line)
        if header is not None:
            self._open(number, header[1].strip())
            return
        key, equals, value = line.partition("=")
        is_value = bool(equals) and not _NO_KEY.match(key)
        if not self._section:
            self._begin_without_section(number, is_value, line[0] == "[")
        if self._section != SECTION:
            return
        if is_value:
            self._take(number, key.rstrip(" \t"), value)
        elif line[0] == "[":
            self._wrong(number, _("the line of the section is [ogw], and nothing else stands in that line"))
            self._list = None
        else:
            self._stray(number)

    def _stray(self, number: int) -> None:
        """Neither a key nor a comment: a whole list that is not indented is one mistake."""
        if not self._strays:
            self._told_at = len(self.mistakes)
            self._wrong(number, _("neither `key = value` nor a comment; further values of a list are indented"))
        else:
            told = _("neither `key = value` nor a comment, nor is what follows up to line {last} ({count} lines in "
                     "all); values of a list are indented: put blanks before each of them")  # fmt: skip
            first = self.mistakes[self._told_at][0]
            self.mistakes[self._told_at] = first, told.format(last=number, count=count(self._strays + 1))
        self._strays += 1
        self._is_told = True  # the list goes on below it

    def _begin_without_section(self, number: int, is_value: bool, is_header: bool) -> None:
        """What is wrong with the first line is told once; the others are looked at if they can be meant for us."""
        if not self._is_told and not is_header:  # a header that is none is told of by itself
            self._wrong(number, _("this line stands before any section; the file begins with [ogw]"))
            self._is_told = True
        if is_value or is_header:
            self._section = SECTION

    def _open(self, number: int, name: str) -> None:
        self._section = name or "?"
        self.sections.add(name)
        self._list, self._is_told, self._strays = None, False, 0
        if name != SECTION:
            self._wrong(number, _("the section [{name}] is unknown; the only one is [ogw]").format(name=name))

    def _take(self, number: int, key: str, value: str) -> None:
        text = value.strip()
        if text and (value != value.rstrip() or value.removesuffix(text) not in ("", " ")):
            self.cut.add(number)
        self._is_told, self._strays = False, 0
        if key in self.values:
            first = self.values[key][0][0]
            told = _("{key} stands in line {first} already; more values of a list go below it")
            self._wrong(number, told.format(key=key, first=first))
            self.repeated.setdefault(key, []).append(number)
            self._list = self.again.setdefault(key, [])
            self._list += [(number, text)] if text else []
            return
        self.keys[key] = number
        self._list = self.values[key] = [(number, text)]

    def _continue(self, number: int, line: str) -> None:
        text = line.strip()
        if (setting := _SETTING.match(text)) is not None:
            self.indented[number] = setting[1]
        if self._list is not None:
            if self._list and self._list[0][1] == "":
                self._list.clear()
            self._list.append((number, text))
            if line != line.rstrip():
                self.cut.add(number)
        elif self._section in ("", SECTION) and not self._is_told:
            told = _("an indented line continues a list, but there is none above it")
            self._wrong(number, told if setting is None else _indented(setting[1]))
            self._is_told = True

    def _wrong(self, number: int, sentence: str) -> None:
        self.mistakes.append((number, sentence))


def has_comment(text: str) -> bool:
    """Whether a value has something behind it that is a comment in other files; here, it is a part of the value."""
    return _COMMENT.search(_QUOTED.sub("", text)) is not None


def _indented(key: str) -> str:
    return _(
        "{key} is indented, as values of a list are; a setting begins its line: take away the blanks before it"
    ).format(key=key)
