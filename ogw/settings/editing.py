"""Edits of settings in the INI file: values are added, removed or set, and the file is checked before it is replaced.

Values are compared by what they mean: `WWW.Test.com` is found where `www.test.com` stands, whatever its note.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from gettext import gettext as _
from typing import Any, NamedTuple, Optional

from ogw.policy.rules import Rule, parse_rules, split_rules
from ogw.settings.ini_file import EditError, IniFile
from ogw.settings.ini_text import IniText
from ogw.settings.loader import ConfigError, load
from ogw.settings.policy import policy_of
from ogw.settings.settings import SETTINGS, Config, Setting, shown_as


class Entry(NamedTuple):
    """One value of a setting as it stands in the file, and the number of its line."""

    line: int
    text: str


@dataclass
class Outcome:
    """What an edit did to the file.

    added, removed  "allowed-host www.example.com"; secrets are hidden
    said            sentences for whoever edits: what was there already, what was not
    policies        the policy's hash before and after; "" where the file was or is wrong
    remaining       mistakes that the file had before, and still has
    """

    path: str
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    policies: tuple[str, str] = ("", "")
    remaining: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        return bool(self.added or self.removed)


class Editor:
    """The edits of one command: they are noted in the outcome, and nothing is written before `edit` comes back."""

    def __init__(self, text: IniText, outcome: Outcome) -> None:
        self._text = text
        self._outcome = outcome
        self._undo: list[Callable[[], None]] = []

    def say(self, sentence: str) -> None:
        """Tell whoever edits."""
        self._outcome.said.append(sentence)

    def noted(self, setting: Setting, before: str, after: str) -> None:
        """A value was replaced that stands elsewhere than in the file; "" for none."""
        for where, value in ((self._outcome.removed, before), (self._outcome.added, after)):
            if value:
                self._note(where, setting, value)

    def if_not_done(self, undo: Callable[[], None]) -> None:
        """What takes back what was done beside the file, should the file stay as it is."""
        self._undo.append(undo)

    def take_back(self) -> None:
        """The file stays as it was; so does what lies beside it."""
        while self._undo:
            self._undo.pop()()

    def entries(self, setting: Setting) -> list[Entry]:
        """Its values, one by one."""
        return [Entry(line, one) for line, text in self._text.texts(setting.name) for one in split(setting, text)]

    def add(self, setting: Setting, value: str) -> bool:
        """Add a value to a list; False where it is there. Another note takes the place of the old one."""
        wanted = meaning(setting, value)
        for entry in self.entries(setting):
            if meaning_or_none(setting, entry.text) != wanted:
                continue
            note = wanted.note if isinstance(wanted, Rule) else ""
            if not note or note == parse_rules(entry.text, "")[0][0].note:
                self._outcome.said.append(_("{value} is there already").format(value=self._shown(setting, value)))
                return False
            self._take_out(setting, entry)
            self._note(self._outcome.removed, setting, entry.text)
            break
        self._text.add(setting.name, value)
        self._note(self._outcome.added, setting, value)
        return True

    def remove(self, setting: Setting, value: str) -> bool:
        """Remove a value from a list; False where it is not there."""
        wanted = meaning(setting, value)
        found = [entry for entry in self.entries(setting) if meaning_or_none(setting, entry.text) == wanted]
        if not found:
            self._outcome.said.append(self._not_there(setting, value, wanted))
            return False
        for entry in reversed(found):
            self._take_out(setting, entry)
            self._note(self._outcome.removed, setting, entry.text)
        if not self._text.texts(setting.name):
            self._text.unset(setting.name)
        return True

    def set(self, setting: Setting, values: Sequence[str]) -> bool:
        """Make these its only values; False where they are."""
        before = [entry.text for entry in self.entries(setting)] if setting.listed else self._single(setting)
        if before == list(values) and setting.name in self._text:
            self._outcome.said.append(_("{name} is that already").format(name=setting.name))
            return False
        for value in values:
            if value or setting.listed:
                meaning(setting, value)
        self._text.set(setting.name, values)
        self._replaced(setting, before, values)
        return True

    def unset(self, setting: Setting) -> bool:
        """Take it out of the file, so that its default holds; False where it is not in there."""
        if setting.name not in self._text:
            self._outcome.said.append(_("{name} is not set in the file").format(name=setting.name))
            return False
        before = [entry.text for entry in self.entries(setting)] if setting.listed else self._single(setting)
        self._text.unset(setting.name)
        self._replaced(setting, before, ())
        return True

    def _single(self, setting: Setting) -> list[str]:
        return [text for _line, text in self._text.texts(setting.name)][:1]

    def _replaced(self, setting: Setting, before: Iterable[str], after: Iterable[str]) -> None:
        for text in before:
            if text not in after or setting.secret:
                self._note(self._outcome.removed, setting, text)
        for text in after:
            if text not in before or setting.secret:
                self._note(self._outcome.added, setting, text)
        if not self._outcome.changed:  # such as from the default to an empty value
            self._note(self._outcome.added, setting, "")

    def _take_out(self, setting: Setting, entry: Entry) -> None:
        """Take one value out of its line, whose others stay."""
        (text,) = [text for line, text in self._text.texts(setting.name) if line == entry.line]
        others = [one for one in split(setting, text) if one != entry.text]
        self._text.replace(entry.line, ", ".join(others))

    def _not_there(self, setting: Setting, value: str, wanted: Any) -> str:
        shown = self._shown(setting, value)
        if isinstance(wanted, Rule):
            near = [
                entry.text
                for entry in self.entries(setting)
                if isinstance(rule := meaning_or_none(setting, entry.text), Rule) and rule.pattern == wanted.pattern
            ]
            if near:
                return _("{value} is not there as it stands; name the whole rule: {near}").format(
                    value=shown, near="; ".join(near)
                )
        return _("{value} is not there").format(value=shown)

    @staticmethod
    def _shown(setting: Setting, value: str) -> str:
        return f"{setting.name} {shown_as(setting, value)}"

    def _note(self, where: list[str], setting: Setting, value: str) -> None:
        where.append(self._shown(setting, value).rstrip())


def split(setting: Setting, text: str) -> list[str]:
    """The values in one text of a list."""
    if not setting.listed:
        return [text]
    return split_rules(text) if setting.read is None else setting.split(text)


def meaning(setting: Setting, value: str) -> Any:
    """What a value means, to be compared. Raises EditError, which says what is wrong with it."""
    if "\n" in value or "\r" in value:
        raise EditError(_("{name}: a value is one line").format(name=setting.name))
    if setting.read is None:
        rules, mistakes = parse_rules(value, setting.name, setting.denied)
        if mistakes:
            raise EditError(mistakes[0])
        if len(rules) != 1:
            raise EditError(_("{name}: one rule at a time, and not none").format(name=setting.name))
        return rules[0]
    try:
        return setting.read(value if setting.secret else value.strip())
    except ValueError as error:
        raise EditError(f"{setting.name}: {shown_as(setting, value)!a} {error}") from None


def meaning_or_none(setting: Setting, value: str) -> Any:
    """The same of a value that stands in the file; None where it is wrong."""
    try:
        return meaning(setting, value)
    except EditError:
        return None


def edit(path: str, change: Callable[[Editor], None], dry_run: bool = False) -> Outcome:
    """Change the file at `path`, all or nothing; a file that is not there is made. Raises EditError.

    The new file must not have a mistake that the old one did not have.
    """
    with IniFile(path) as file:
        outcome = Outcome(file.path)
        before, old_mistakes = _checked(file.path, file.path)
        editor = Editor(file.text, outcome)
        after = before

        def check(fresh: str) -> None:
            nonlocal after
            after, mistakes = _checked(fresh, file.path)
            known = {_without_line(mistake) for mistake in old_mistakes}
            new = [mistake for mistake in mistakes if _without_line(mistake) not in known]
            if new:
                raise EditError("\n".join(new))
            outcome.remaining = tuple(mistakes)
            if dry_run:
                raise _DryRun

        try:
            change(editor)
            if outcome.changed:
                file.save(check)
        except _DryRun:
            editor.take_back()
        except BaseException:
            editor.take_back()
            raise
        outcome.policies = _hash(before), _hash(after)
    return outcome


class _DryRun(Exception):
    """All is well, and nothing is to be written."""


def _checked(path: str, shown: str) -> tuple[Optional[Config], Sequence[str]]:
    """The configuration of this file alone, or its mistakes, which are told of the path `shown`."""
    try:
        with open(path, "rb"):
            pass
    except FileNotFoundError:
        return load([], {"OGW_CONFIG": "/dev/null"}), ()
    except OSError:
        pass  # load says it
    try:
        return load(["--config", path], {}), ()
    except ConfigError as error:
        return None, [mistake.replace(path, shown) for mistake in error.mistakes]


def _hash(config: Optional[Config]) -> str:
    return "" if config is None else policy_of(config).hash


def _without_line(mistake: str) -> str:
    return re.sub(r":[0-9]+: ", ": ", mistake)


def setting_of(name: str) -> Setting:
    """The setting with this name. Raises EditError, which says what may be meant."""
    found = SETTINGS.get(name)
    if found is None:
        near = difflib.get_close_matches(name.lower().replace("_", "-"), list(SETTINGS), 1, 0.6)
        hint = _("; did you mean {name}?").format(name=near[0]) if near else ""
        raise EditError(_("there is no setting {name}{hint}").format(name=ascii(name), hint=hint))
    return found
