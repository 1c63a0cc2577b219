"""What was asked for, and the edit of the INI file that it comes to."""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Optional

from ogw.cli.edit.relay_wish import AUTH, KEYTAB, PRINCIPAL, URL, Wish, forget, use
from ogw.cli.setup.place import Place
from ogw.settings import password_file as kept
from ogw.settings.editing import Editor, Outcome, edit
from ogw.settings.ini.file import EditError
from ogw.settings.settings import SETTINGS
from ogw.settings.usual import DEFAULT_FILE

WITH_URL = (AUTH, KEYTAB, PRINCIPAL)  # they go with the relay proxies that they were given for


@dataclass
class Answers:
    """What was asked for.

    values    setting name -> texts; lists are added to, relay-proxy is replaced ([] is none any more)
    username  of the relay proxies; "" for none
    password  None where there is none
    anonymous the relay proxies take no user name, whatever is there
    """

    values: dict[str, list[str]] = field(default_factory=dict)
    username: str = ""
    password: Optional[str] = None
    anonymous: bool = False
    service: bool = True
    firewall: bool = True
    program: list[str] = field(default_factory=list)


def allows_any(answers: Answers, place: Place) -> bool:
    """As Config.allows_any, of what the INI file will say. Raises EditError."""

    def texts(name: str) -> list[str]:
        return answers.values.get(name) or place.texts(name)

    return any(texts(name) for name, setting in SETTINGS.items() if setting.allows) or "report" in texts("policy-mode")


def change_of(answers: Answers, ini: str) -> Callable[[Editor], None]:
    """The edit of the INI file."""

    def change(editor: Editor) -> None:
        done = set()
        for name, texts in answers.values.items():
            setting = SETTINGS[name]
            if setting is URL and _relay_proxies(editor, answers, texts, ini):
                done = {one.name for one in WITH_URL}
            elif setting.listed and setting is not URL:
                for text in texts:
                    editor.add(setting, text)
            elif setting not in (URL, *WITH_URL):
                editor.set(setting, texts)
        for one in WITH_URL:
            if one.name in answers.values and one.name not in done:
                editor.set(one, answers.values[one.name])

    return change


def _relay_proxies(editor: Editor, answers: Answers, urls: list[str], ini: str) -> bool:
    """Whether all that belongs to them is settled, too."""
    before = editor.texts(URL)
    auth, keytab, principal = (answers.values.get(setting.name, [""])[0] for setting in WITH_URL)
    if not urls:
        return bool(before) and forget(editor, ini)
    if urls == before and not (answers.username or answers.anonymous or keytab):
        return False
    # Credentials go to no proxy that they were not given for.
    file = ""
    if answers.password is not None:
        file = kept.NAME  # which is meant from the folder of the INI file
        _write_password(answers.password, ini)
    use(editor, ini, Wish(urls, auth, answers.username, None, file, keytab, principal))
    return True


def _write_password(password: str, ini: str) -> None:
    path = kept.beside(ini)
    if kept.has_password(path, password):
        return  # as it stands there, with whatever else its owner decided
    try:
        kept.write(path, password.encode() + b"\n", ini)
    except OSError as error:
        raise EditError(f"{path}: {error.strerror}") from None


def preview(answers: Answers, place: Place) -> Outcome:
    """What the edit would do, tried on a copy. Raises EditError with every mistake that it would make."""
    with tempfile.TemporaryDirectory(prefix="ogw-setup-") as folder:
        copy = os.path.join(folder, os.path.basename(place.ini))
        try:
            named = [named_file(answers, place, name) for name in ("relay-proxy-ca-file", KEYTAB.name)]
            for path in (place.ini, place.password_file, *named):
                if os.path.exists(path):
                    _copy_beside(path, place, folder)
            return edit(copy, change_of(answers, copy), dry_run=True)
        except EditError as error:
            raise EditError(str(error).replace(os.path.realpath(folder), os.path.dirname(place.ini))) from None
        except OSError as error:
            raise EditError(f"{place.ini}: {error.strerror}") from None


def named_file(answers: Answers, place: Place, name: str) -> str:
    """The file that this setting will name; "" for none."""
    texts = answers.values.get(name) or place.texts(name)
    if not texts or not texts[0]:
        return ""
    return place.root + os.path.join(os.path.dirname(DEFAULT_FILE), texts[0])


def _copy_beside(path: str, place: Place, folder: str) -> None:
    """So that a relative path in the copy leads to it; what lies elsewhere is found where it is."""
    beside = os.path.relpath(path, os.path.dirname(place.ini))
    if not beside.startswith(os.pardir):
        copy = os.path.join(folder, beside)
        os.makedirs(os.path.dirname(copy), exist_ok=True)
        shutil.copy(path, copy)
