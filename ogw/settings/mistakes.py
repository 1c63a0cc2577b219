"""The mistakes of a configuration, each told with where it stands."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, Optional

from ogw.language.messages import gettext as _
from ogw.settings.setting import DEFAULT, PREFIX

_OUTSIDE = re.compile(r"""('[^']*'|"[^"]*")|[0-9]+""")  # of quotes: a number


class Mistakes:
    """Those found so far.

    told   sentences
    wrong  names of settings that have a wrong value: what only follows from that is not told, too
    """

    def __init__(self) -> None:
        self.told: list[str] = []
        self.wrong: set[str] = set()
        self._places: dict[str, list[tuple[str, Any]]] = {}

    def place(self, name: str, source: str, value: Any) -> None:
        """A value of a setting stands there: "--flag", "OGW_NAME", "/etc/ogw/ogw.ini:12" or "default"."""
        self._places.setdefault(name, []).append((source, value))

    def add(self, sentence: str) -> None:
        """One that says itself where it is."""
        self.told.append(sentence)

    def at(self, source: str, name: str, sentence: str) -> None:
        """One of what stands there for a setting."""
        self.wrong.add(name)
        self.told.append(f"{given_at(source, name)}: {sentence}")

    def of(self, name: str, sentence: str, value: Any = None) -> None:
        """One of a setting, or of this value of it."""
        self.wrong.add(name)
        self.near(name, f"{name}: {sentence}", value)

    def near(self, name: str, sentence: str, value: Any = None) -> None:
        """One that says itself what it is about; where it is in the INI file, `name`, or this value of it, says."""
        source = self._source(name, value)
        self.told.append(sentence if source == DEFAULT or source.startswith("--") else f"{source}: {sentence}")

    def in_order(self, path: str, commented: Collection[str]) -> list[str]:
        """All of them, in the order of the lines of the INI file; those of other sources first.

        commented  lines of it with something like a comment behind a value, each as in /etc/ogw/ogw.ini:12
        """
        begin = re.compile(rf"{re.escape(path)}:([0-9]+)(?=: )")
        found = [(begin.match(told), told) for told in self.told]
        found.sort(key=lambda one: int(one[0][1]) if one[0] else 0)
        return [behind_value(told) if at and at[0] in commented else told for at, told in found]

    def is_given(self, name: str) -> bool:
        """Somebody set it."""
        return self._source(name, None) != DEFAULT

    def _source(self, name: str, value: Any) -> str:
        found: Optional[str] = None
        for source, one in self._places.get(name, ()):
            if found is None or value is None or one == value:
                found = source
        return found or DEFAULT


def given_at(source: str, name: str) -> str:
    """Where a setting is given, with its name where that does not say it, as a flag or a variable does."""
    return source if source.startswith(("--", PREFIX)) else f"{source}: {name}"


def behind_value(told: str) -> str:
    """A sentence of a value that has something like a comment behind it, with that."""
    return _("{mistake}; a comment stands in a line of its own, not behind a value").format(mistake=told)


def those_new(mistakes: Sequence[str], old: Sequence[str]) -> list[str]:
    """Those that were not there before, wherever they stand now: an edit moves lines."""
    known = Counter(_without_line(mistake) for mistake in old)
    new = []
    for mistake in mistakes:
        shape = _without_line(mistake)
        if known[shape]:
            known[shape] -= 1
        else:
            new.append(mistake)
    return new


def of_no_file(mistakes: Sequence[str], path: str, was: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Those of a file that is not written after all.

    A line that is in the file as it is has its number there; of one that somebody wanted, what stands in it is told
    alone.

    was, wanted  the lines of the file as it is, and as it was to be
    """
    told = []
    for mistake in mistakes:
        found = re.match(r":([0-9]+): ", mistake.removeprefix(path)) if mistake.startswith(path) else None
        if found is not None:
            number = int(found[1])
            line = wanted[number - 1] if number <= len(wanted) else None
            same = [at for at, one in enumerate(was, 1) if one == line]
            place = f"{path}:{min(same, key=lambda at: abs(at - number))}: " if same else ""
            mistake = place + mistake[len(path) + found.end() :]
        told.append(mistake)
    return told


def _without_line(mistake: str) -> str:
    """Numbers of lines are behind a file's name, and outside of quotes, wherever a language has them."""
    return _OUTSIDE.sub(lambda found: found[1] or "#", re.sub(r":[0-9]+: |\bline [0-9]+", ": ", mistake))
