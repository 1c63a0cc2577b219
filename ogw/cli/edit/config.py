"""`ogw config get|set|unset|add|remove|path`: single settings of the INI file."""

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

from ogw.cli.edit.change import add_config, add_flags, add_replace, adding, codes, make
from ogw.cli.exits import FAILED, OK, Failed, Wrong
from ogw.cli.live.gateway import file_of
from ogw.cli.parser import Parser, parser_of
from ogw.cli.screen import clean
from ogw.cli.words import offer
from ogw.language.messages import gettext as _
from ogw.machine.files import text_in
from ogw.policy.rules import ATTRIBUTES, parse_time
from ogw.settings.editing import Editor, setting_of
from ogw.settings.ini.file import EditError
from ogw.settings.ini.source import read_ini
from ogw.settings.ini.text import IniText
from ogw.settings.setting import Setting, shown_as
from ogw.settings.settings import SETTINGS
from ogw.settings.value import split

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_FROM_NOW = re.compile(r"([1-9][0-9]{0,5})([smhdw])")
_UNTIL = re.compile(r'((?<=[ \t])until=)([0-9]+[smhdw])(?=[ \t]|\Z)(?=(?:[^"]*"[^"]*")*[^"]*\Z)')


def parser(verb: str) -> Parser:
    made = {
        "get": _get_parser,
        "set": _set_parser,
        "unset": _unset_parser,
        "add": _add_parser,
        "remove": _remove_parser,
        "path": _path_parser,
    }
    return made[verb]()


def run(asked: argparse.Namespace) -> int:
    code: int = asked.do(asked)
    return code


def _get_parser() -> Parser:
    made = parser_of(
        "config get",
        _("Print what the INI file says of a setting, one value a line; `ogw config show` says what is in force."),
        examples=["ogw config get listen-port", "ogw config get allowed-host --json"],
        codes={OK: _("the file sets it"), FAILED: _("the file does not set it")},
    )
    offer(made.add_argument("name"), SETTINGS)
    made.add_argument("--json", action="store_true", help=_("as a JSON list"))
    add_config(made)
    made.set_defaults(do=_get)
    return made


def _get(asked: argparse.Namespace) -> int:
    setting = setting_or_fail(asked.name)
    text = text_of(file_of(asked))
    values = [
        clean(shown_as(setting, one)) for _line, there in text.texts(setting.name) for one in split(setting, there)
    ]
    if asked.json:
        print(json.dumps(values))
    else:
        print(*values, sep="\n", end="\n" if values else "")
    return OK if setting.name in text else FAILED


def _set_parser() -> Parser:
    made = parser_of(
        "config set",
        _("Set a setting in the INI file; the values given replace all values of a list."),
        examples=["ogw config set listen-port 8081", "ogw config set allowed-client 10.1.0.0/16 10.2.0.0/16 --reload"],
        codes=codes(),
    )
    offer(made.add_argument("name"), SETTINGS)
    made.add_argument("value", nargs="*", help=_("no value makes the setting empty"))
    add_flags(made)
    made.set_defaults(do=_set)
    return made


def _set(asked: argparse.Namespace) -> int:
    setting = setting_or_fail(asked.name)
    if len(asked.value) > 1 and not setting.listed:
        parser("set").error(_("{name} takes one value").format(name=setting.name))
    if setting.secret and asked.value:
        print(_("ogw: a password in a command line can be read by every user of this machine, and stays in the history "
                "of the shell; `ogw relay-proxy set --password-stdin` is the better way"), file=sys.stderr)  # fmt: skip

    def change(editor: Editor) -> None:
        editor.set(setting, values_of(setting, asked.value))

    return make(asked, change)


def _unset_parser() -> Parser:
    made = parser_of(
        "config unset",
        _("Take a setting out of the INI file, so that its default holds."),
        examples=["ogw config unset idle-timeout --reload"],
        codes={
            **codes(),
            OK: _("done"),
            FAILED: _("the file did not set it, nothing could be changed, or the --reload was refused"),
        },
    )
    offer(made.add_argument("name"), SETTINGS)
    add_flags(made)
    made.set_defaults(do=_unset)
    return made


def _unset(asked: argparse.Namespace) -> int:
    setting = setting_or_fail(asked.name)
    return must(asked, lambda editor: editor.unset(setting))


def _add_parser() -> Parser:
    made = _list_parser(
        "config add",
        _("Add values to a list of the INI file."),
        ["ogw config add allowed-client 10.1.0.0/16 --reload"],
        codes(),
    )
    add_replace(made)
    made.set_defaults(do=_add)
    return made


def _add(asked: argparse.Namespace) -> int:
    setting = _list_or_fail(asked.name, "add")
    values = values_of(setting, asked.value)
    return make(asked, adding(asked, setting, values, f"config add {setting.name}"))


def _remove_parser() -> Parser:
    made = _list_parser(
        "config remove",
        _("Remove values from a list of the INI file."),
        ["ogw config remove allowed-client 10.1.0.0/16 --reload"],
        codes_of_remove(),
    )
    made.set_defaults(do=_remove)
    return made


def _remove(asked: argparse.Namespace) -> int:
    setting = _list_or_fail(asked.name, "remove")
    return remove_all(asked, setting, values_of(setting, asked.value))


def codes_of_remove() -> dict[int, str]:
    """What the exit codes of `remove_all` mean."""
    told = _("one of the values was not in the list, nothing could be changed, or the --reload was refused")
    return {**codes(), OK: _("done"), FAILED: told}


def _list_parser(words: str, does: str, examples: list[str], codes: dict[int, str]) -> Parser:
    made = parser_of(words, does, examples=examples, codes=codes)
    offer(made.add_argument("name"), [name for name, setting in SETTINGS.items() if setting.listed])
    made.add_argument("value", nargs="+")
    add_flags(made)
    return made


def _list_or_fail(name: str, verb: str) -> Setting:
    """Exits, or raises Wrong."""
    setting = setting_or_fail(name)
    if not setting.listed:
        parser(verb).error(_("{name} is no list; `ogw config set` sets it").format(name=setting.name))
    return setting


def _path_parser() -> Parser:
    made = parser_of(
        "config path",
        _("Print the path of the INI file that commands edit."),
        examples=["ogw config path"],
        codes={OK: _("the file exists"), FAILED: _("the file does not exist yet")},
    )
    add_config(made)
    made.set_defaults(do=_path)
    return made


def _path(asked: argparse.Namespace) -> int:
    path = file_of(asked)
    print(clean(path))
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        print(_("ogw: the file does not exist yet; the first change makes it"), file=sys.stderr)
        return FAILED
    except OSError as error:
        raise Failed(f"{clean(path)}: {error.strerror}") from None
    return OK


def values_of(setting: Setting, words: list[str]) -> list[str]:
    """The values in words of a command line: for lists, several in a word are separated as they are in the file.

    Words of a host rule's attributes (from=10.1.0.0/16) belong to the rule before them, and the shell took their quotes
    away; a time from now on (until=2h) becomes the time itself. Raises Wrong.
    """
    if not setting.listed:
        return words
    if setting.read is not None:
        return [one for word in words for one in split(setting, word) or [word]]
    texts: list[str] = []
    for word in words:
        name, equals, value = word.partition("=")
        if name in ATTRIBUTES and bool(equals) == (name != "no-server-name") and texts:
            quoted = f'{name}="{value}"' if set(value) & {" ", ","} and '"' not in value else word
            texts[-1] += f" {quoted}"
        else:
            texts += split(setting, word) or [word]
    return [_UNTIL.sub(lambda found: f"{found[1]}{until(found[2])}", text) for text in texts]


def until(text: str) -> str:
    """A time as it is stored; one from now on (2h) becomes the time itself. Raises Wrong."""
    ago = _FROM_NOW.fullmatch(text)
    try:
        seconds = time.time() + int(ago[1]) * UNITS[ago[2]] if ago is not None else parse_time(text)
        return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        message = _("until {text}: neither a time from now on (30m, 2h, 3d, 1w) nor one like 2027-01-31T18:00:00Z")
        raise Wrong(message.format(text=ascii(text))) from None


def remove_all(asked: argparse.Namespace, setting: Setting, values: list[str]) -> int:
    """Remove them; the exit code, which says whether one was not there."""
    missing: list[str] = []

    def change(editor: Editor) -> None:
        missing.extend(value for value in values if not editor.remove(setting, value))

    code = make(asked, change)
    return FAILED if missing and code == OK else code


def must(asked: argparse.Namespace, change: Callable[[Editor], bool]) -> int:
    """Make a change that says whether there was anything to do; the exit code says it, too."""
    done: list[bool] = []
    code = make(asked, lambda editor: done.append(change(editor)))
    return FAILED if not done[0] and code == OK else code


def setting_or_fail(name: str) -> Setting:
    """Raises Wrong."""
    try:
        setting = setting_of(name)
    except EditError as error:
        raise Wrong(str(error)) from None
    if name != setting.name:
        print(_("ogw: {old} is called {new} now").format(old=name, new=setting.name), file=sys.stderr)
    return setting


def text_of(path: str) -> IniText:
    """The file as it is; one that is not there is empty. Raises Wrong: whoever asks it has no answer, not even no."""
    try:
        text = IniText(text_in(read_ini(path), path))
        if text.is_foreign:
            raise Wrong(_("{path}: this is no INI file of ogw, since it has no line [ogw]").format(path=path))
        return text
    except FileNotFoundError:
        return IniText()
    except OSError as error:
        raise Wrong(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise Wrong(str(error)) from None
