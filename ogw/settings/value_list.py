"""The values of one setting in the text of an INI file, as an edit changes them.

Thousands cost little more than one: what a text means is read once, values are found by that, and what changes is
written into the text when somebody looks at it.
"""

from bisect import bisect
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

from ogw.policy.rules import Rule
from ogw.settings.ini.text import IniText
from ogw.settings.setting import Setting
from ogw.settings.value import meaning_or_none, split


def texts_of(setting: Setting, text: IniText) -> list[str]:
    """The values, one by one, as they stand there."""
    return [one for _line, each in text.texts(setting.name) for one in split(setting, each)]


class ValueList:
    """Whoever changes the setting in the text itself settles it first, and makes another one after that."""

    def __init__(self, setting: Setting, text: IniText) -> None:
        self._setting, self._text = setting, text
        self._instead: dict[str, str] = {}  # text -> what is to stand in its place; "" for nothing
        self._fresh: set[str] = set()  # that is to stand somewhere, and stands nowhere yet
        self._count: Counter[str] = Counter()
        self._meant: dict[str, Any] = {}  # text -> what it means; None where it is wrong
        self._like: dict[Any, dict[str, Any]] = {}  # what is meant, whatever its end -> text -> what that means
        self._of_pattern: dict[str, dict[str, Any]] = {}  # a rule's pattern -> text -> what that means
        for one in texts_of(setting, text):
            self._take(one, self._meant[one] if one in self._meant else meaning_or_none(setting, one))

    def __iter__(self) -> Iterator[str]:
        """The texts, each of them once."""
        return iter(self._meant)

    def count(self, text: str) -> int:
        """How often it stands there."""
        return self._count[text]

    def like(self, meant: Any) -> dict[str, Any]:
        """Texts of those that mean this, and what each means; a rule is found whatever its end."""
        return dict(self._like.get(_without_end(meant), {}))

    def of_pattern(self, pattern: str) -> list[str]:
        """Texts of the rules that have this pattern."""
        return list(self._of_pattern.get(pattern, ()))

    def append(self, text: str, meant: Any) -> None:
        """Add one behind the others."""
        if text in self._instead:
            self.settle()
        self._text.add(self._setting.name, text)
        self._take(text, meant)

    def put(self, texts: Collection[str], fresh: str = "", meant: Any = None) -> None:
        """Let one value stand in the place of the first of these, and none in those of the others; "" for none at all.

        meant  what that means
        """
        if not self._fresh.isdisjoint(texts):
            self.settle()
        for text in texts:
            self._instead[text] = fresh
            for found in self._indexes(self._meant.pop(text)):
                del found[text]
            del self._count[text]
        if fresh:
            self._fresh.add(fresh)
            self._take(fresh, meant)

    def settle(self) -> None:
        """Write into the text what was put."""
        if not self._instead:
            return
        lines: dict[int, str] = {}
        apart: list[str] = []
        placed: set[str] = set()
        for line, text in self._text.texts(self._setting.name):
            there = split(self._setting, text)
            left = []
            for one in there:
                fresh = self._instead.get(one)
                if fresh is None:
                    left.append(one)
                elif fresh and fresh not in placed:
                    left.append(fresh)
                    placed.add(fresh)
            if left != there:
                lines[line], others = self._line(left)
                apart += others
        self._instead, self._fresh = {}, set()
        self._text.replace(lines)
        for one in apart:
            self._text.add(self._setting.name, one)
        if not self._text.texts(self._setting.name):
            self._text.unset(self._setting.name, again=False)

    def _line(self, values: list[str]) -> tuple[str, list[str]]:
        """A line for these, and those that need lines of their own: a network may be read as one more client of the
        rule before it."""

        def reads(count: int) -> bool:
            return split(self._setting, ", ".join(values[:count])) == values[:count]

        # What does not read back does so from some value on.
        good = len(values) if reads(len(values)) else bisect(range(1, len(values)), False, key=lambda n: not reads(n))
        while not reads(good):
            good -= 1
        return ", ".join(values[:good]), values[good:]

    def _take(self, text: str, meant: Any) -> None:
        self._count[text] += 1
        self._meant[text] = meant
        for found in self._indexes(meant):
            found[text] = meant

    def _indexes(self, meant: Any) -> Iterator[dict[str, Any]]:
        """Where it is found by what it means."""
        if meant is not None:
            yield self._like.setdefault(_without_end(meant), {})
        if isinstance(meant, Rule):
            yield self._of_pattern.setdefault(meant.pattern, {})


def _without_end(meant: Any) -> Any:
    return replace(meant, until=None) if isinstance(meant, Rule) else meant
