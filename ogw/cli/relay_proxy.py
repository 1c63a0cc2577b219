"""`ogw relay-proxy get|set|clear`: the relay proxies and their credentials."""

import grp
import json
import os
import sys
from gettext import gettext as _

from ogw.cli.change import CODES, NOT_DONE, OK, add_config, add_flags, file_of, make
from ogw.cli.edit import text_of
from ogw.cli.parser import parser_of
from ogw.settings.editing import Editor, meaning
from ogw.settings.ini_file import EditError
from ogw.settings.settings import SETTINGS, shown_as

URL, USER, PASSWORD, FILE = (
    SETTINGS[name]
    for name in ("relay-proxy", "relay-proxy-username", "relay-proxy-password", "relay-proxy-password-file")
)
DEFAULT_PASSWORD_FILE = "relay-proxy.password"  # beside the INI file
SERVICE_GROUP = "ogw"  # of the service that `ogw setup` makes


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
    password = sys.stdin.readline().rstrip("\r\n") if asked.password_stdin else None
    path = os.path.realpath(file_of(asked))
    file = asked.password_file and os.path.abspath(asked.password_file)

    def change(editor: Editor) -> None:
        use(editor, path, asked.url, asked.username, password, file, asked.dry_run)

    return make(asked, change)


def clear(words: list[str]) -> int:
    """`ogw relay-proxy clear`; the exit code."""
    parser = parser_of(
        "relay-proxy clear",
        _("Dial targets straight: take the relay proxies and their credentials out of the INI file."),
        examples=["ogw relay-proxy clear --reload"],
        codes=CODES,
    )
    add_flags(parser)
    return make(parser.parse_args(words), forget)


def use(
    editor: Editor,
    ini: str,
    urls: list[str],
    user: str = "",
    password: "str | None" = None,
    password_file: str = "",
    dry_run: bool = False,
) -> None:
    """Make these the relay proxies, with these credentials for those whose URL has none; without a user, with none.

    ini       the INI file's path, beside which a password goes into a file
    """
    if password is not None:
        password_file = DEFAULT_PASSWORD_FILE  # which is meant from the folder of the INI file
        meaning(PASSWORD, password)
        if not dry_run:
            _write_password(os.path.join(os.path.dirname(ini), password_file), password, ini)
    editor.set(URL, urls)
    for setting, value in ((USER, user), (FILE, password_file), (PASSWORD, "")):
        if value:
            editor.set(setting, [value])
        elif editor.entries(setting):
            editor.unset(setting)


def forget(editor: Editor) -> None:
    """No relay proxies any more."""
    there = [setting for setting in (URL, USER, PASSWORD, FILE) if editor.entries(setting)]
    if not there:
        editor.unset(URL)  # which says that it is not there
    for setting in there:
        editor.unset(setting)


def has_password(path: str, password: str) -> bool:
    """Whether this password stands in the file."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read() == password + "\n"
    except (OSError, UnicodeDecodeError):
        return False


def _write_password(path: str, password: str, ini: str) -> None:
    """For the owner of the INI file alone, and for the service where that reads the INI file; raises EditError."""
    if has_password(path, password):
        return
    fresh = f"{path}.new"
    try:
        if os.path.exists(fresh):
            os.unlink(fresh)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(handle, "w", encoding="utf-8") as file:
            file.write(password + "\n")
            file.flush()
            if os.path.exists(ini):
                owner = os.stat(ini)
                os.fchown(handle, owner.st_uid, owner.st_gid)
                if is_of_service(owner.st_gid):
                    os.fchmod(handle, 0o640)
            os.fsync(handle)
        os.rename(fresh, path)
    except OSError as error:
        raise EditError(f"{path}: {error.strerror}") from None


def is_of_service(group: int) -> bool:
    """Whether only the service is in this group."""
    try:
        return grp.getgrgid(group).gr_name == SERVICE_GROUP
    except KeyError:
        return False
