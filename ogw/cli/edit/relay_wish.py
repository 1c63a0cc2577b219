"""What somebody wants of relay proxies, and the edit of the INI file that makes it so."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Optional

from ogw.language.messages import gettext as _
from ogw.settings import password_file as kept
from ogw.settings.editing import Editor
from ogw.settings.ini.file import EditError
from ogw.settings.settings import SETTINGS
from ogw.settings.value import WrongValue
from ogw.wire.relay_proxy import credentials

URL, AUTH, USER, PASSWORD, FILE, KEYTAB, PRINCIPAL, TICKETS = OF_RELAYS = tuple(
    SETTINGS[f"relay-proxy{name}"]
    for name in ("", "-auth", "-username", "-password", "-password-file", "-keytab", "-principal", "-ticket-cache")
)


@dataclass(frozen=True)
class Wish:
    """Relay proxies, and how they know the gateway.

    urls           as relay-proxy has them
    auth           a value of relay-proxy-auth; "" where nobody said which
    user           for those whose URL has none; "" for none
    password       goes into a file beside the INI file; None where there is none
    password_file  or it is in this file already
    tickets        the name of a ticket cache, instead of a keytab
    """

    urls: Sequence[str]
    auth: str = ""
    user: str = ""
    password: Optional[str] = None
    password_file: str = ""
    keytab: str = ""
    principal: str = ""
    tickets: str = ""


def use(editor: Editor, ini: str, wish: Wish) -> None:
    """Make it so; what it does not name, there is none of. Raises EditError.

    ini  the INI file's own path, beside which a password goes into a file
    """
    password_file = wish.password_file if wish.password is None else _keep(editor, ini, wish.password)
    _forget_files(editor, ini, {FILE.name: password_file, KEYTAB.name: wish.keytab})
    editor.set(URL, wish.urls)
    values = {AUTH: wish.auth, USER: wish.user, FILE: password_file, PASSWORD: "", KEYTAB: wish.keytab}
    for setting, value in {**values, PRINCIPAL: wish.principal, TICKETS: wish.tickets}.items():
        if value:
            editor.set(setting, [value])
        elif editor.texts(setting):
            editor.unset(setting)


def forget(editor: Editor, ini: str) -> bool:
    """No relay proxies any more; False where there were none."""
    there = [setting for setting in OF_RELAYS if editor.texts(setting)]
    if not there:
        return editor.unset(URL)  # which says that it is not there
    _forget_files(editor, ini, {})
    for setting in there:
        editor.unset(setting)
    return True


def _forget_files(editor: Editor, ini: str, needed: dict[str, str]) -> None:
    """A password's file that we made goes when it is used no more; somebody else's stays, and so does a keytab."""
    ours = kept.beside(ini)
    told = {FILE: _("the file {file} with the password stays; delete it if nobody else needs it"),
            KEYTAB: _("the keytab {file} stays; delete it if nobody else needs it")}  # fmt: skip
    for setting, sentence in told.items():
        for text in editor.texts(setting):
            if text == needed.get(setting.name, ""):
                continue
            if setting is FILE and text in (ours, kept.NAME):
                editor.when_done(lambda: kept.delete(ours))
            else:
                editor.say(sentence.format(file=text))


def _keep(editor: Editor, ini: str, password: str) -> str:
    """Let the password be written into a file beside the INI file; its path. Raises EditError."""
    path = kept.beside(ini)
    try:
        credentials("", password)
        data = password.encode() + b"\n"
    except ValueError as error:
        raise WrongValue(_("the password cannot be used: {mistake}").format(mistake=error)) from None
    if not password or len(data) > kept.LARGEST:
        raise WrongValue(_("the password is empty or too long"))
    with _writing(path):
        before = kept.data_of(path)
    if before != data:
        editor.note(PASSWORD, "" if before is None else "before", password)
    # It must be there when the new configuration is checked, but not while relay proxies are tried: whoever ends that
    # leaves nothing. A running gateway may read it at any time, so what is only tried leaves one alone that will do.
    if not (editor.dry_run and kept.has_one(path)):
        editor.beside(lambda: _write(path, data, ini), lambda: kept.put_back(path, before, ini))
    return path


def _write(path: str, data: bytes, ini: str) -> None:
    """Raises EditError."""
    with _writing(path):
        if kept.data_of(path) != data:
            kept.write(path, data, ini)


@contextmanager
def _writing(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EditError(_("{path} cannot be written: {error}").format(path=path, error=error.strerror)) from None
