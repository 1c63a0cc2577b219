"""`ogw relay-proxy get|set|clear`: the relay proxies and their credentials."""

import argparse
import getpass
import json
import os
import sys
import tempfile
from gettext import gettext as _
from typing import Optional

from ogw.cli.change import CODES, NOT_DONE, OK, WRONG, add_config, add_flags, file_of, make
from ogw.cli.commands import Failed
from ogw.cli.edit import must, text_of
from ogw.cli.parser import parser_of
from ogw.settings.editing import Editor
from ogw.settings.loader import DEFAULT_FILE
from ogw.settings.settings import SETTINGS, shown_as
from ogw.tunnel.password import LARGEST
from ogw.wire.relay_proxy import credentials

URL, USER, PASSWORD, FILE = (
    SETTINGS[name]
    for name in ("relay-proxy", "relay-proxy-username", "relay-proxy-password", "relay-proxy-password-file")
)
DEFAULT_PASSWORD_FILE = "relay-proxy.password"  # beside the INI file


def get(words: list[str]) -> int:
    """`ogw relay-proxy get`; the exit code."""
    parser = parser_of(
        "relay-proxy get",
        _("Show the relay proxies of the INI file; credentials are hidden."),
        examples=["ogw relay-proxy get", "ogw relay-proxy get --json"],
        codes={OK: _("there is one"), NOT_DONE: _("there is none: targets are dialed straight")},
    )
    parser.add_argument("--json", action="store_true", help=_("as JSON"))
    add_config(parser)
    asked = parser.parse_args(words)
    text = text_of(file_of(asked))
    found = {
        setting.name: [shown_as(setting, one) for _line, one in text.texts(setting.name)]
        for setting in (URL, USER, PASSWORD, FILE)
    }
    if asked.json:
        print(json.dumps(found, indent=2))
    else:
        for name, values in found.items():
            for value in values:
                print(f"{name} = {value}")
        if not found[URL.name]:
            print(_("ogw: no relay proxy: targets are dialed straight"), file=sys.stderr)
    return OK if found[URL.name] else NOT_DONE


def set_(words: list[str]) -> int:
    """`ogw relay-proxy set`; the exit code."""
    parser = parser_of(
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
    parser.add_argument("url", nargs="+", metavar="URL")
    parser.add_argument("--username", default="", metavar="NAME")
    parser.add_argument("--password-stdin", action="store_true", help=_("read the password from standard input"))
    parser.add_argument("--password-file", default="", metavar="FILE", help=_("the password is in this file"))
    add_flags(parser)
    asked = parser.parse_args(words)
    if asked.password_stdin and asked.password_file:
        parser.error(_("--password-stdin and --password-file do not go together"))
    if (asked.password_stdin or asked.password_file) and not asked.username:
        parser.error(_("--username: name it, too"))
    if asked.password_stdin:
        return make_with_password(asked, asked.url, asked.username, _from_stdin())
    file = asked.password_file and os.path.abspath(asked.password_file)
    return make(asked, lambda editor: use(editor, asked.url, asked.username, file))


def _from_stdin() -> str:
    """The first line, without its end; asked for where a person types. Raises Failed."""
    if sys.stdin is None:
        raise Failed(_("there is no standard input to read the password from; nothing was changed"))
    try:
        if sys.stdin.isatty():
            return getpass.getpass(_("Password of the relay proxy: "))
        return sys.stdin.readline(LARGEST).rstrip("\r\n")
    except (EOFError, UnicodeDecodeError):
        raise Failed(_("standard input has no password in UTF-8; nothing was changed")) from None


def clear(words: list[str]) -> int:
    """`ogw relay-proxy clear`; the exit code."""
    parser = parser_of(
        "relay-proxy clear",
        _("Dial targets straight: take the relay proxies and their credentials out of the INI file."),
        examples=["ogw relay-proxy clear --reload"],
        codes={**CODES, NOT_DONE: _("there was none, or nothing could be changed")},
    )
    add_flags(parser)
    return clear_all(parser.parse_args(words))


def clear_all(asked: argparse.Namespace) -> int:
    """The same for whoever has parsed already; a password file that we made goes, too. The exit code."""
    ours = os.path.join(os.path.dirname(os.path.realpath(file_of(asked))), DEFAULT_PASSWORD_FILE)
    named: list[str] = []

    def change(editor: Editor) -> bool:
        named.extend(entry.text for entry in editor.entries(FILE))
        return forget(editor)

    code = must(asked, change)
    if named in ([ours], [DEFAULT_PASSWORD_FILE]) and not asked.dry_run:
        try:
            os.unlink(ours)
        except OSError:
            pass
    return code


def use(editor: Editor, urls: list[str], user: str = "", password_file: str = "") -> None:
    """Make these the relay proxies, with these credentials for those whose URL has none; without a user, with none."""
    editor.set(URL, urls)
    for setting, value in ((USER, user), (FILE, password_file), (PASSWORD, "")):
        if value:
            editor.set(setting, [value])
        elif editor.entries(setting):
            editor.unset(setting)


def forget(editor: Editor) -> bool:
    """No relay proxies any more; False where there were none."""
    there = [setting for setting in (URL, USER, PASSWORD, FILE) if editor.entries(setting)]
    if not there:
        return editor.unset(URL)  # which says that it is not there
    for setting in there:
        editor.unset(setting)
    return True


def make_with_password(asked: argparse.Namespace, urls: list[str], user: str, password: str) -> int:
    """Make these the relay proxies, with this password in a file of its own beside the INI file; the exit code.

    asked  what change.add_flags gives. Raises Failed.
    """
    ini = os.path.realpath(file_of(asked))
    with PasswordFile(ini, password, asked.dry_run) as file:
        code = make(asked, lambda editor: use(editor, urls, user, file.path))
        file.keep()
    return code


class PasswordFile:
    """The file with the relay proxy's password beside an INI file: replaced at once, and put back where all failed.

    Use as a context manager; `keep` says that it is to stay. It is for its owner alone, who is the INI file's owner;
    where that is root and the file belongs to the group of the gateway, the group may read this one, too.
    """

    def __init__(self, ini: str, password: str, dry_run: bool = False) -> None:
        self.path = os.path.join(os.path.dirname(ini), DEFAULT_PASSWORD_FILE)
        self._ini = ini
        self._password = password
        self._dry_run = dry_run
        self._before: Optional[bytes] = None
        self._keeps = False

    def __enter__(self) -> "PasswordFile":
        """Raises Failed."""
        try:
            credentials("", self._password)
            if not self._password or len(self._password.encode()) >= LARGEST:
                raise ValueError(_("is empty or too long"))
        except ValueError as error:
            failed = Failed(_("the password {error}; nothing was changed").format(error=error))
            failed.code = WRONG
            raise failed from None
        if self._dry_run and os.path.exists(self.path):
            return self
        try:
            if self._ini == DEFAULT_FILE and os.geteuid() == 0:
                os.makedirs(os.path.dirname(self._ini), 0o755, exist_ok=True)
            if os.path.exists(self.path):
                with open(self.path, "rb") as file:
                    self._before = file.read(LARGEST + 1)
            self._replace(self._password.encode() + b"\n")
        except OSError as error:
            raise Failed(_("{path} cannot be written: {error}; nothing was changed").format(
                path=self.path, error=error.strerror)) from None  # fmt: skip
        return self

    @property
    def before(self) -> str:
        """The password that was in it; "" for none."""
        return (self._before or b"").decode("utf-8", "replace").removesuffix("\n")

    def keep(self) -> None:
        self._keeps = not self._dry_run

    def __exit__(self, *exception: object) -> None:
        if self._keeps or (self._dry_run and self._before is not None):
            return
        try:
            if self._before is not None:
                self._replace(self._before)
            elif not self._dry_run or os.path.exists(self.path):
                os.unlink(self.path)
        except OSError:
            pass

    def _replace(self, data: bytes) -> None:
        folder = os.path.dirname(self.path)
        handle, fresh = tempfile.mkstemp(prefix=".ogw-password-", dir=folder)  # 0600
        try:
            with open(handle, "wb") as file:
                file.write(data)
                file.flush()
                self._give(handle)
                os.fsync(handle)
            os.rename(fresh, self.path)
        except BaseException:
            os.unlink(fresh)
            raise

    def _give(self, handle: int) -> None:
        for like in (self.path, self._ini):
            if os.path.exists(like):
                owner = os.stat(like)
                if os.geteuid() == 0:
                    os.fchown(handle, owner.st_uid, owner.st_gid)
                if like == self.path:
                    os.fchmod(handle, owner.st_mode & 0o640)
                elif owner.st_uid == 0 and owner.st_gid != 0 and owner.st_mode & 0o040:
                    os.fchmod(handle, 0o640)
                return
