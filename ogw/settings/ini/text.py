"""The text of an INI file, edited line by line: what an edit does not name stays as it is, to the byte.

Built on the reader of the gateway itself (ini/parser.py), so that the two can never disagree on what stands in a file;
the parsers of others know comments behind values, `%` and other things that ours does not.
"""

import re
from collections.abc import Mapping, Sequence
from io import StringIO

from ogw.settings.ini.parser import HEADER, SECTION, IniParser
from ogw.settings.renames import names_before

BOM = "\ufeff"
INDENT = "    "
_BEFORE_VALUE = re.compile(r"[^=]*=[ \t]*")
_INDENT = re.compile(r"[ \t]+")


class IniText:
    """Texts of values are what stands in a line: several values of a list, separated by commas, are one text."""

    def __init__(self, contents: str = "") -> None:
        self._bom = BOM if contents.startswith(BOM) else ""
        self._return = "\r" if "\r\n" in contents else ""  # what new lines have before their end
        self._lines = contents.removeprefix(BOM).split("\n")  # each with its own carriage return, if it has one
        if self._lines[-1] == "":
            self._lines.pop()
        self._waiting: dict[str, list[str]] = {}  # key -> texts that were added, and stand in no line yet
        self._read()

    def __str__(self) -> str:
        self._settle()
        return self._bom + "".join(line + "\n" for line in self._lines)

    def _read(self) -> None:
        self._ini = IniParser()
        self._ini.parse(StringIO("\n".join(self._lines)))

    def texts(self, key: str) -> list[tuple[int, str]]:
        """(line number, text) of each of its values that is not empty; they may stand under its old name."""
        self._settle()
        return [(line, text) for line, text in self._ini.values.get(self._key_of(key), []) if text]

    def texts_again(self, key: str) -> list[str]:
        """The same of a key that stands there again, which is a mistake."""
        self._settle()
        return [text for name in self._keys_of(key) for _line, text in self._ini.again.get(name, ())]

    @property
    def is_foreign(self) -> bool:
        """Something stands in it, and no section of ours: it is the file of somebody else, or no INI file."""
        self._settle()
        texts = (line.strip() for line in self._lines)
        return SECTION not in self._ini.sections and any(text and text[0] not in "#;" for text in texts)

    def _keys_of(self, key: str) -> list[str]:
        """What it is called in the file: by its name, or by old ones."""
        return [name for name in (key, *names_before(key)) if name in self._ini.keys]

    def _key_of(self, key: str) -> str:
        return (self._keys_of(key) or [key])[0]

    def rename(self, key: str) -> str:
        """Let it have its new name, where it has an old one in the file: that; "" for none."""
        old = self._key_of(key)
        if old == key:
            return ""
        at = self._ini.keys[old] - 1
        self._lines[at] = key + self._lines[at].removeprefix(old)
        self._read()
        return old

    def set(self, key: str, texts: Sequence[str]) -> None:
        """Make these its values, and no others; [] makes it empty."""
        self._settle()
        if key not in self._ini.keys:
            self._begin(key)
        others = {line for line, _text in self.texts(key)} | self._lines_again(key)
        for line in sorted(others - {self._ini.keys[key]}, reverse=True):
            del self._lines[line - 1]
        self._read()
        at = self._ini.keys[key]
        self._set_behind_key(at, texts[0] if len(texts) == 1 else "")
        if len(texts) > 1:
            self._lines[at:at] = [INDENT + text + self._return for text in texts]
        self._read()

    def add(self, key: str, text: str) -> None:
        """Give it one more value, behind the others."""
        self._waiting.setdefault(key, []).append(text)

    def _settle(self) -> None:
        """Give what was added its lines, all at once: whoever adds thousands does not have the text read for each."""
        waiting, self._waiting = self._waiting, {}
        for key, texts in waiting.items():
            if not self.texts(key):
                self.set(key, [texts.pop(0)])
            if texts:
                last = self.texts(key)[-1][0]
                indent = _INDENT.match(self._lines[last - 1])
                self._lines[last:last] = [(indent[0] if indent else INDENT) + text + self._return for text in texts]
                self._read()

    def replace(self, texts: Mapping[int, str]) -> None:
        """Put other texts of values into lines that have one; "" takes a line away, or leaves its key empty."""
        self._settle()
        for line in sorted(texts, reverse=True):
            self._replace(line, texts[line])
        self._read()

    def _replace(self, line: int, text: str) -> None:
        old = self._lines[line - 1]
        indent = _INDENT.match(old)
        if indent is None:
            self._set_behind_key(line, text)
        elif text:
            self._lines[line - 1] = indent[0] + text + _return_of(old)
        else:
            del self._lines[line - 1]

    def unset(self, key: str, again: bool = True) -> None:
        """Take the key and its values away; comments between them stay.

        again  and where it stands there again; else that is in force from then on
        """
        self._settle()
        lines: set[int] = set()
        for name in self._keys_of(key):
            lines |= {self._ini.keys[name], *(line for line, _text in self._ini.values[name])}
            lines |= self._lines_again(name) if again else frozenset()
        for line in sorted(lines, reverse=True):
            del self._lines[line - 1]
        self._read()

    def _lines_again(self, key: str) -> frozenset[int]:
        """Those of a key that stands there again, which is a mistake, and of its values there."""
        return frozenset({*self._ini.repeated.get(key, ()), *(line for line, _text in self._ini.again.get(key, ()))})

    def __contains__(self, key: str) -> bool:
        self._settle()
        return self._key_of(key) in self._ini.keys

    def _set_behind_key(self, line: int, text: str) -> None:
        old = self._lines[line - 1]
        before = _BEFORE_VALUE.match(old.removesuffix("\r"))
        assert before is not None
        prefix = before[0] if before[0][-1:] in (" ", "\t") else before[0] + " "
        self._lines[line - 1] = (prefix + text).rstrip() + _return_of(old)

    def _begin(self, key: str) -> None:
        """A line for a key that has none: below the comment that shows its default, or at the end of the section."""
        shown = re.compile(rf"#[ \t]*{re.escape(key)}[ \t]*=")
        places = [number for number, line in enumerate(self._lines) if shown.match(line)]
        at = places[-1] + 1 if places else -1
        while places and at < len(self._lines) and re.match(r"#[ \t]{2,}\S", self._lines[at]):
            at += 1
        if not places or not self._is_free(at):
            at = self._end()
        self._lines.insert(at, f"{key} ={self._return}")
        self._read()

    def _is_free(self, place: int) -> bool:
        """Whether a key put there would stand in the section, and take no values from the list above."""
        for line in self._lines[place:]:
            text = line.strip()
            if text and text[0] not in "#;":
                if line[0] in " \t":
                    return False
                break
        headers = [found[1].strip() for line in self._lines[:place] if (found := HEADER.match(line.rstrip("\r")))]
        return bool(headers) and headers[-1] == SECTION

    def _end(self) -> int:
        """The place behind all lines of the section, which is made where there is none."""
        if not self._is_free(len(self._lines)):
            self._lines.append(f"[{SECTION}]{self._return}")
        return len(self._lines)


def _return_of(line: str) -> str:
    return "\r" if line.endswith("\r") else ""
