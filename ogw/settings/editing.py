"""Edits of settings in the INI file: values are added, removed or set, and the file is checked before it is replaced.

Values are compared by what they mean: `WWW.Test.com` is found where `www.test.com` stands, whatever its note.
"""

import difflib
import os
import shlex
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Optional

from ogw.language.messages import gettext as _
from ogw.language.phrases import with_hint
from ogw.policy.rules import Rule
from ogw.settings.elsewhere.source import meant, not_one
from ogw.settings.ini.file import EditError, IniFile
from ogw.settings.ini.text import IniText
from ogw.settings.loader import ConfigError, load
from ogw.settings.mistakes import of_no_file, those_new
from ogw.settings.renames import name_now
from ogw.settings.setting import Setting, shown_as
from ogw.settings.settings import SETTINGS, Config
from ogw.settings.value import WrongValue, meaning, meaning_or_none
from ogw.settings.value_list import ValueList, texts_of


class NoEnd(EditError):
    """A rule was to be added with an end, and is there without: the two would unite, and the end do nothing.

    rule     as it stands there
    command  lets it end then, without a gap
    """

    def __init__(self, name: str, rule: str, command: str) -> None:
        told = _("{name} {rule} is there already, and without an end; `{command}` lets it end then")
        super().__init__(told.format(name=name, rule=rule, command=command))
        self.rule = rule


@dataclass
class Outcome:
    """What an edit did to the file.

    added, removed  "allowed-host www.example.com"; secrets are hidden
    said            sentences for whoever edits: what was there already, what was not
    asked           host rules that were to be added or removed, done or not: the list, the rule, and whether added
    whole           names of lists that were to have these values alone, or none
    policies        the policy's hash before and after; "" where the file was or is wrong
    remaining       mistakes that the file had before, and still has
    warnings        what the gateway will warn of, and did not before
    made            the file was not there
    config          what the file says now, or would say; None where it is wrong
    """

    path: str
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    asked: list[tuple[str, Rule, bool]] = field(default_factory=list)
    whole: list[str] = field(default_factory=list)
    policies: tuple[str, str] = ("", "")
    remaining: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    made: bool = False
    config: Optional[Config] = None

    @property
    def changed(self) -> bool:
        return bool(self.added or self.removed)

    @property
    def names(self) -> list[str]:
        """Of the settings that were changed."""
        return list(dict.fromkeys(text.split(" ", 1)[0] for text in (*self.added, *self.removed)))

    @property
    def needs_restart(self) -> list[str]:
        """The names of those among them that a gateway takes at its start alone."""
        return sorted(name for name in self.names if SETTINGS[name].restart)


class Editor:
    """The edits of one command: they are noted in the outcome, and nothing is written before `edit` comes back.

    dry_run  nothing is written then, either
    """

    def __init__(self, text: IniText, outcome: Outcome, dry_run: bool = False) -> None:
        self._text = text
        self._outcome = outcome
        self.dry_run = dry_run
        self._do: list[Callable[[], object]] = []
        self._undo: list[Callable[[], object]] = []
        self._finish: list[Callable[[], object]] = []
        self._lists: dict[str, ValueList] = {}

    def beside(self, do: Callable[[], object], undo: Callable[[], object]) -> None:
        """What must be there beside the file when the new one is checked, such as a password's own file.

        undo  takes it back where the edit fails after all
        """
        self._do.append(do)
        self._undo.append(undo)

    def when_done(self, finish: Callable[[], object]) -> None:
        """What is to be done beside the file once it was changed."""
        self._finish.append(finish)

    def prepare(self) -> None:
        """The file is to be checked now. Raises EditError."""
        for values in self._lists.values():
            values.settle()
        for do in self._do:
            do()

    def finish(self) -> None:
        """The file was changed."""
        for finish in self._finish:
            finish()

    def say(self, sentence: str) -> None:
        """Say something to whoever edits."""
        self._outcome.said.append(sentence)

    def note(self, setting: Setting, before: str, after: str) -> None:
        """Something beside the file changed that belongs to a setting; "" for none."""
        for where, value in ((self._outcome.removed, before), (self._outcome.added, after)):
            if value:
                self._note(where, setting, value)

    def take_back(self) -> None:
        """The edit failed, or was only tried."""
        for undo in reversed(self._undo):
            undo()

    def texts(self, setting: Setting) -> list[str]:
        """Its values, one by one."""
        if (values := self._lists.pop(setting.name, None)) is not None:
            values.settle()
        return texts_of(setting, self._text)

    def _list(self, setting: Setting) -> ValueList:
        if setting.name not in self._lists:
            self._lists[setting.name] = ValueList(setting, self._text)
        return self._lists[setting.name]

    def add(self, setting: Setting, value: str, replaces: bool = False) -> bool:
        """Add a value to a list; False where it is there.

        A host rule that is there with another note or another end gets the new one; one that has no end gets one only
        where it `replaces` that: raises NoEnd, as it raises EditError for a value that cannot be.
        """
        wanted = meaning(setting, value)
        self._rename(setting)
        if isinstance(wanted, Rule):
            return self._add_rule(setting, value, wanted, replaces)
        if self._list(setting).like(wanted):
            self._outcome.said.append(_("{value} is there already").format(value=self._shown(setting, value)))
            return False
        self._append(setting, value, wanted)
        return True

    def _add_rule(self, setting: Setting, value: str, wanted: Rule, replaces: bool) -> bool:
        if wanted.until is not None and wanted.until <= time.time():
            raise WrongValue(_("{name} {rule}: that time is over already").format(name=setting.name, rule=wanted))
        self._outcome.asked.append((setting.name, wanted, True))
        found = self._list(setting).like(wanted)
        if not found:
            self._append(setting, value, wanted)
            return True
        endless = [text for text, rule in found.items() if rule.until is None]
        if endless and wanted.until is not None and not replaces:
            command = f"ogw config add --replace {setting.name} {shlex.quote(value.strip())}"
            raise NoEnd(setting.name, endless[0], command)
        first, note = next(iter(found)), next((rule.note for rule in found.values() if rule.note), "")
        ends = any(rule.until != wanted.until for rule in found.values())
        if not ends and wanted.note in ("", note):
            self._outcome.said.append(_("{value} is there already").format(value=self._shown(setting, first)))
            return False
        fresh = replace(wanted, note=wanted.note or note)
        self._put(setting, found, str(fresh), fresh)
        told = _("{value} was there; its end was replaced") if ends else _("{value} was there; its note was replaced")
        self._outcome.said.append(told.format(value=self._shown(setting, first)))
        return True

    def _append(self, setting: Setting, value: str, meant: Any) -> None:
        self._list(setting).append(value.strip(), meant)
        self._note(self._outcome.added, setting, value.strip())

    def _put(self, setting: Setting, texts: Collection[str], fresh: str = "", meant: Any = None) -> None:
        values = self._list(setting)
        for text in texts:
            for _time in range(values.count(text)):
                self._note(self._outcome.removed, setting, text)
        values.put(texts, fresh, meant)
        if fresh:
            self._note(self._outcome.added, setting, fresh)

    def remove(self, setting: Setting, value: str) -> bool:
        """Remove a value from a list; False where it is not there. A host rule without an end is meant with any."""
        self._rename(setting)
        values, text = self._list(setting), value.strip()
        wanted = meaning_or_none(setting, value)
        if isinstance(wanted, Rule):
            self._outcome.asked.append((setting.name, wanted, False))
        found = [one for one, there in values.like(wanted).items() if _is_meant(there, wanted)]
        if wanted is None and values.count(text):
            found = [text]  # what is wrong in the file must be removable by its text
        shown_so = [] if found else self._shown_so(setting, text)
        if not found and len(shown_so) != 1:
            meaning(setting, value)  # which says what is wrong with it
            why = not_one(shown_so, text, shown_so) if shown_so else self._not_there(setting, value, wanted)
            self._outcome.said.append(why)
            return False
        self._put(setting, found or shown_so)
        return True

    def _shown_so(self, setting: Setting, text: str) -> list[str]:
        """Those that are shown as this text: whoever takes one out may not know what is hidden of it."""
        if setting.shown is str:
            return []
        texts = list(self._list(setting))
        if setting.name == "allowed-host-source":
            return meant(texts, text)
        return [one for one in texts if shown_as(setting, one) == text]

    def set(self, setting: Setting, values: Sequence[str]) -> bool:
        """Make these its only values; False where they are."""
        self._rename(setting)
        before = self.texts(setting)
        for value in values:
            if value or setting.listed:
                meaning(setting, value)
        values = [value if setting.secret else value.strip() for value in values]
        values = [] if values == [""] else values
        if not values and not setting.takes_empty:
            told = _("{name} cannot be empty; without it in the file its default holds: {default}")
            self._outcome.said.append(told.format(name=setting.name, default=setting.default))
            return self.unset(setting)
        if before == values and setting.name in self._text:
            self._outcome.said.append(_("{name} has that value already").format(name=setting.name))
            return False
        before += self._text.texts_again(setting.name)
        self._text.set(setting.name, values)
        self._replaced(setting, before, values)
        return True

    def unset(self, setting: Setting) -> bool:
        """Take it out of the file, so that its default holds; False where it is not in there."""
        before = self.texts(setting)
        if setting.name not in self._text:
            self._outcome.said.append(_("{name} is not set in the file").format(name=setting.name))
            return False
        before += self._text.texts_again(setting.name)
        self._text.unset(setting.name)
        self._replaced(setting, before, ())
        return True

    def _rename(self, setting: Setting) -> None:
        """What is edited has its new name from then on."""
        old = self._text.rename(setting.name)
        if old:
            told = _("{old} is called {new} now, and was renamed in the file").format(old=old, new=setting.name)
            self.when_done(lambda: self.say(told))

    def _replaced(self, setting: Setting, before: Iterable[str], after: Iterable[str]) -> None:
        self._outcome.whole += [setting.name] if setting.listed else []
        for text in before:
            if text not in after or setting.secret:
                self._note(self._outcome.removed, setting, text)
        for text in after:
            if text not in before or setting.secret:
                self._note(self._outcome.added, setting, text)
        if not self._outcome.changed:  # such as from the default to an empty value
            self._note(self._outcome.added, setting, "")

    def _not_there(self, setting: Setting, value: str, wanted: Any) -> str:
        shown = self._shown(setting, value)
        if isinstance(wanted, Rule):
            near = self._list(setting).of_pattern(wanted.pattern)
            if near:
                return _("{value} is not there in this form; name the whole rule: {near}").format(
                    value=shown, near="; ".join(near)
                )
        return _("{value} is not there").format(value=shown)

    @staticmethod
    def _shown(setting: Setting, value: str) -> str:
        return f"{setting.name} {shown_as(setting, value)}"

    def _note(self, where: list[str], setting: Setting, value: str) -> None:
        where.append(self._shown(setting, value).rstrip())


def _is_meant(there: Any, wanted: Any) -> bool:
    """A rule without an end means those with any."""
    if isinstance(there, Rule) and isinstance(wanted, Rule) and wanted.until is None:
        there = replace(there, until=None)
    return bool(there == wanted)


Judge = Callable[[Config], Sequence[str]]


def edit(path: str, change: Callable[[Editor], None], dry_run: bool = False, judge: Optional[Judge] = None) -> Outcome:
    """Change the file at `path`, all or nothing; a file that is not there is made. Raises EditError.

    The new file must not have a mistake that the old one did not have.

    judge  what else would let no gateway start with a configuration here, as sentences; None: it is not known whether
           one starts here, so that nothing is looked at of what only a start needs
    """
    with IniFile(path) as file:
        # Three checks. The file as it was: its mistakes are not those of this edit, which may be one of several that
        # mend it. The file as it will be, alone: a service has other variables than this shell. And only where that has
        # a new mistake, the same with this shell's variables, which in a container are the gateway's, too.
        outcome = Outcome(file.path, made=not os.path.exists(file.path))
        before, old_mistakes = _checked(file.path, file.path)
        was = str(file.text).split("\n")
        editor = Editor(file.text, outcome, dry_run)
        after = before

        def check(fresh: str) -> None:
            nonlocal after
            after, mistakes = _checked(fresh, file.path)
            new = those_new(mistakes, old_mistakes)
            if new:
                new = those_new(_checked(fresh, file.path, os.environ)[1], old_mistakes)
            elif judge is not None and outcome.needs_restart:
                new = _new_of_start(fresh, file.path)
                if not new and after is not None and not (before is not None and judge(before)):
                    new = list(judge(after))
            if new:
                raise EditError("\n".join(of_no_file(new, file.path, was, str(file.text).split("\n"))))
            outcome.remaining = tuple(mistakes)
            if dry_run:
                raise _DryRun  # here, so that all was done as it would be, but the writing

        try:
            change(editor)
            if outcome.changed:
                editor.prepare()
                file.save(check)
                editor.finish()
        except _DryRun:
            editor.take_back()
        except BaseException:
            editor.take_back()
            raise
        outcome.policies, outcome.config = (_hash(before), _hash(after)), after
        if after is not None:
            outcome.warnings = tuple(those_new(after.warnings, () if before is None else before.warnings))
    return outcome


def _new_of_start(fresh: str, path: str) -> list[str]:
    """What would let no gateway start with the file `fresh` that does with the one in its place."""
    old = _checked(path, path, to_start=True)[1]
    new = those_new(_checked(fresh, path, to_start=True)[1], old)
    return new and those_new(_checked(fresh, path, os.environ, to_start=True)[1], old)


class _DryRun(Exception):
    """All is well, and nothing is to be written."""


def _checked(
    path: str, shown: str, environment: Mapping[str, str] = MappingProxyType({}), to_start: bool = False
) -> tuple[Optional[Config], Sequence[str]]:
    """The configuration of this file, or its mistakes; they and its warnings are told of the path `shown`."""
    there = path if os.path.exists(path) else os.devnull
    try:
        config = load(["--config", there], environment, to_start=to_start)
        told = tuple(warning.replace(path, shown) for warning in config.warnings)
        return replace(config, warnings=told), ()
    except ConfigError as error:
        return None, [mistake.replace(path, shown) for mistake in error.mistakes]


def _hash(config: Optional[Config]) -> str:
    return "" if config is None else config.policy.hash


def setting_of(name: str) -> Setting:
    """The setting with this name, or with this old one. Raises EditError, which says what may be meant."""
    found = SETTINGS.get(name_now(name))
    if found is None:
        near = difflib.get_close_matches(name.lower().replace("_", "-"), list(SETTINGS), 1, 0.6)
        raise EditError(with_hint(_("there is no setting {name}").format(name=ascii(name)), near))
    return found
