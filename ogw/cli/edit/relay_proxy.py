"""`ogw relay-proxy get|set|clear`: the relay proxies and their credentials."""

import argparse
import getpass
import json
import os
import sys
from gettext import gettext as _
from typing import Optional

from ogw.cli.edit.change import CODES, add_config, add_flags, make
from ogw.cli.edit.config import must, text_of
from ogw.cli.exits import FAILED, OK, Failed
from ogw.cli.live.gateway import file_of
from ogw.cli.parser import Parser, parser_of
from ogw.settings import password_file as kept
from ogw.settings.editing import Editor, WrongValue
from ogw.settings.ini.file import EditError
from ogw.settings.setting import shown_as
from ogw.settings.settings import SETTINGS
from ogw.wire.relay_proxy import credentials

URL, USER, PASSWORD, FILE = (
    SETTINGS[name]
    for name in ("relay-proxy", "relay-proxy-username", "relay-proxy-password", "relay-proxy-password-file")
)


def parser(verb: str) -> Parser:
    return {"get": _get_parser, "set": _set_parser, "clear": _clear_parser}[verb]()


def run(asked: argparse.Namespace) -> int:
    code: int = asked.do(asked)
    return code


def _get_parser() -> Parser:
    made = parser_of(
        "relay-proxy get",
        _("Show the relay proxies of the INI file; credentials are hidden."),
        examples=["ogw relay-proxy get", "ogw relay-proxy get --json"],
        codes={OK: _("there is one"), FAILED: _("there is none: targets are dialed straight")},
    )
    made.add_argument("--json", action="store_true", help=_("as JSON"))
    add_config(made)
    made.set_defaults(do=_get)
    return made


def _get(asked: argparse.Namespace) -> int:
    return show(file_of(asked), asked.json)


def show(path: str, as_json: bool = False) -> int:
    """Print what this INI file says of relay proxies; the exit code."""
    text = text_of(path)
    found = {
        setting.name: [shown_as(setting, one) for _line, one in text.texts(setting.name)]
        for setting in (URL, USER, PASSWORD, FILE)
    }
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        for name, values in found.items():
            for value in values:
                print(f"{name} = {value}")
        if not found[URL.name]:
            print(_("ogw: no relay proxy: targets are dialed straight"), file=sys.stderr)
    return OK if found[URL.name] else FAILED


def _set_parser() -> Parser:
    made = parser_of(
        "relay-proxy set",
        _(
            "Go out through a proxy; further ones are for when it fails. The password is read from standard input, or "
            "stands in a file, and goes into a file of its own beside the INI file that only its owner can read."
        ),
        examples=[
            "ogw relay-proxy set http://proxy.example.com:3128 --reload",
            "ogw relay-proxy set https://proxy.example.com:3129 --username gateway --password-stdin < password",
            "ogw relay-proxy set http://proxy.example.com:3128 --username gateway --password-file /etc/ogw/password",
        ],
        codes=CODES,
    )
    made.add_argument("url", nargs="+", metavar="URL")
    made.add_argument("--username", default="", metavar="NAME")
    made.add_argument("--password-stdin", action="store_true", help=_("read the password from standard input"))
    made.add_argument("--password-file", default="", metavar="FILE", help=_("the password is in this file"))
    add_flags(made)
    made.set_defaults(do=_set)
    return made


def _set(asked: argparse.Namespace) -> int:
    if asked.password_stdin and asked.password_file:
        parser("set").error(_("--password-stdin and --password-file do not go together"))
    if (asked.password_stdin or asked.password_file) and not asked.username:
        parser("set").error(_("--username: name it, too"))
    password = from_stdin() if asked.password_stdin else None
    file = asked.password_file and os.path.abspath(asked.password_file)
    return make(asked, lambda editor: use(editor, beside(asked), asked.url, asked.username, password, file))


def from_stdin() -> str:
    """The password: the first line, without its end; asked for where a person types. Raises Failed."""
    if sys.stdin is None:
        raise Failed(_("there is no standard input to read the password from; nothing was changed"))
    try:
        if sys.stdin.isatty():
            password = getpass.getpass(_("Password of the relay proxy: "))
        else:
            password = kept.password_in(sys.stdin.buffer.readline(2 * kept.LARGEST))
        if not password:
            raise ValueError(_("is empty"))
        return password
    except (EOFError, ValueError) as error:
        why = error if isinstance(error, ValueError) else _("is missing")
        raise Failed(_("standard input: the password {why}; nothing was changed").format(why=why)) from None


def _clear_parser() -> Parser:
    made = parser_of(
        "relay-proxy clear",
        _("Dial targets straight: take the relay proxies and their credentials out of the INI file."),
        examples=["ogw relay-proxy clear --reload"],
        codes={**CODES, FAILED: _("there was none, or nothing could be changed")},
    )
    add_flags(made)
    made.set_defaults(do=_clear)
    return made


def _clear(asked: argparse.Namespace) -> int:
    return must(asked, lambda editor: forget(editor, beside(asked)))


def beside(asked: argparse.Namespace) -> str:
    """The path of the INI file itself, which a password's file lies beside."""
    return os.path.realpath(file_of(asked))


def use(
    editor: Editor,
    ini: str,
    urls: list[str],
    user: str = "",
    password: Optional[str] = None,
    password_file: str = "",
) -> None:
    """Make these the relay proxies, with these credentials for those whose URL has none; without a user, with none.

    ini       the INI file's own path, beside which a password goes into a file
    """
    if password is not None:
        password_file = _keep(editor, ini, password)
    _forget_file(editor, ini, password_file)
    editor.set(URL, urls)
    for setting, value in ((USER, user), (FILE, password_file), (PASSWORD, "")):
        if value:
            editor.set(setting, [value])
        elif editor.entries(setting):
            editor.unset(setting)


def forget(editor: Editor, ini: str) -> bool:
    """No relay proxies any more; False where there were none."""
    there = [setting for setting in (URL, USER, PASSWORD, FILE) if editor.entries(setting)]
    if not there:
        return editor.unset(URL)  # which says that it is not there
    _forget_file(editor, ini, "")
    for setting in there:
        editor.unset(setting)
    return True


def _forget_file(editor: Editor, ini: str, other: str) -> None:
    """A password's file that we made goes when it is used no more; somebody else's stays."""
    ours = kept.beside(ini)
    for entry in editor.entries(FILE):
        if entry.text == other:
            continue
        if entry.text in (ours, kept.NAME):
            editor.when_done(lambda: kept.delete(ours))
        else:
            editor.say(_("{file} with the password stays; delete it if nobody else needs it").format(file=entry.text))


def _keep(editor: Editor, ini: str, password: str) -> str:
    """Write the password into a file beside the INI file; its path. Raises EditError."""
    path = kept.beside(ini)
    try:
        credentials("", password)
        data = password.encode() + b"\n"
        if not password or len(data) > kept.LARGEST:
            raise ValueError(_("is empty or too long"))
    except ValueError as error:
        raise WrongValue(_("the password {error}").format(error=error)) from None
    try:
        before = kept.data_of(path)
        if before != data:
            # It must be there when the new configuration is checked; where that fails, or was only tried, it goes back.
            editor.if_not_done(lambda: kept.put_back(path, before, ini))
            kept.write(path, data, ini)
            editor.note(PASSWORD, "" if before is None else "before", password)
    except OSError as error:
        raise EditError(_("{path} cannot be written: {error}").format(path=path, error=error.strerror)) from None
    return path
