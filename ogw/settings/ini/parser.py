"""The INI file: one section, `key = value`, further values of a list on indented lines. Every value keeps its line."""

import re
from collections import OrderedDict
from collections.abc import Iterable
from gettext import gettext as _
from typing import Any

from configargparse import ConfigFileParser

SECTION = "ogw"
HEADER = re.compile(r"\[([^\]]*)\]\s*\Z")
_NO_KEY = re.compile(r"[\s\[#;]|\Z")  # what no key begins with


class IniParser(ConfigFileParser):  # type: ignore[misc]
    """The reader that configargparse is given: it cuts no value at # or ;, and % and [::1] are text like any other.

    values    key -> (line number, text) of each of its values
    keys      key -> number of the line that it stands in
    mistakes  (line number, sentence)
    """

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, list[tuple[int, str]]] = {}
        self.keys: dict[str, int] = {}
        self.mistakes: list[tuple[int, str]] = []
        self._section = ""
        self._key = ""

    def get_syntax_description(self) -> str:
        return _("The file has one section, [ogw]; lists have one value a line, further ones indented.")

    def parse(self, stream: Iterable[str]) -> "OrderedDict[str, str]":
        for number, line in enumerate(stream, start=1):
            self._read_line(number, line.rstrip("\r\n"))
        return OrderedDict((key, "\n".join(text for _line, text in values)) for key, values in self.values.items())

    def serialize(self, items: "OrderedDict[str, Any]") -> str:
        raise NotImplementedError("ogw never writes a file through configargparse")

    def _read_line(self, number: int, line: str) -> None:
        text = line.strip()
        if not text or text[0] in "#;":
            return
        if line[0] in " \t":
            self._continue(number, text)
            return
        header = HEADER.match(line)
        if header is not None:
            self._open(number, header[1].strip())
            return
        key, equals, value = line.partition("=")
        self._key = ""
        if not equals or _NO_KEY.match(key):
            self._wrong(number, _("neither `key = value` nor a comment; further values of a list are indented"))
        elif not self._section:
            self._wrong(number, _("stands before any section; the file begins with [ogw]"))
        elif self._section == SECTION:
            self._take(number, key.rstrip(" \t"), value.strip())

    def _open(self, number: int, name: str) -> None:
        self._section = name
        self._key = ""
        if name != SECTION:
            self._wrong(number, _("the section [{name}] is unknown; the only one is [ogw]").format(name=name))

    def _take(self, number: int, key: str, text: str) -> None:
        if key in self.values:
            first = self.values[key][0][0]
            self._wrong(
                number, _("{key} stands in line {first} already; more values go below it").format(key=key, first=first)
            )
            return
        self._key = key
        self.keys[key] = number
        self.values[key] = [(number, text)]

    def _continue(self, number: int, text: str) -> None:
        if self._key:
            values = self.values[self._key]
            if values[0][1] == "":
                values.clear()
            values.append((number, text))
        elif self._section in ("", SECTION):
            self._wrong(number, _("an indented line continues a list, but there is none above it"))

    def _wrong(self, number: int, sentence: str) -> None:
        self.mistakes.append((number, sentence))
