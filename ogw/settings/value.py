"""One value of a setting as it is typed, or stands in a list: where it ends, what it means, what no file can hold."""

import re
from typing import Any

from ogw.language.messages import gettext as _
from ogw.policy.rule_list import split_rules
from ogw.policy.rules import parse_rules
from ogw.settings.ini.file import EditError
from ogw.settings.setting import Setting, quoted, with_commas

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class WrongValue(EditError):
    """A value that cannot be, whatever stands in the file."""


def split(setting: Setting, text: str) -> list[str]:
    """The values in one text of a list."""
    if not setting.listed:
        return [text]
    return split_rules(text) if setting.read is None else setting.split(text)


def meaning(setting: Setting, value: str) -> Any:
    """What a value means, to be compared. Raises WrongValue, which says what is wrong with it."""
    _require_one_line(setting, value)
    if setting.read is None:
        rules, mistakes = parse_rules(value, setting.name, setting.denied)
        if mistakes:
            raise WrongValue(mistakes[0])
        if len(rules) != 1:
            raise WrongValue(_("{name}: exactly one rule at a time is taken").format(name=setting.name))
        return rules[0]
    if setting.listed and not value.strip():
        raise WrongValue(_("{name}: an empty value cannot be in a list").format(name=setting.name))
    try:
        return setting.read(value if setting.secret else value.strip())
    except ValueError as error:
        told = with_commas(f"{setting.name}: {quoted(setting, value)!a}: {error}", setting, value)
        raise WrongValue(told) from None


def _require_one_line(setting: Setting, value: str) -> None:
    """What the INI file cannot hold, so that its reader would find something else there. Raises WrongValue."""
    why = ""
    if _CONTROL.search(value):
        why = _("a value is one line without control characters")
    elif setting.listed and value.strip()[:1] in ("#", ";"):
        why = _("a line that begins with # or ; is a comment")
    elif setting.secret and value != value.strip():
        why = _("a value in the INI file neither begins nor ends with a blank; put it into a file or a variable")
    else:
        try:
            value.encode()
        except UnicodeEncodeError:
            why = _("the value has characters that UTF-8 does not have")
    if why:
        raise WrongValue(f"{setting.name}: {why}")


def meaning_or_none(setting: Setting, value: str) -> Any:
    """The same of a value that stands in the file; None where it is wrong."""
    try:
        return meaning(setting, value)
    except EditError:
        return None
