"""The INI file as a start and a reload find it: which one is meant, its text, or why it cannot be read.

A file that is in force and cannot be read is not one without settings: its denied hosts and allowed clients would be
gone while hosts from flags stayed allowed.
"""

import errno
import os
from collections.abc import Mapping
from typing import Optional

from ogw.language.messages import gettext as _
from ogw.machine.files import read_file, text_in
from ogw.settings.ini.file import LARGEST
from ogw.settings.kinds import require_printable, require_short, require_utf_8
from ogw.settings.setting import PREFIX, Given
from ogw.settings.settings import Config

LONGEST_SHOWN = 200  # characters of a path that is wrong
VARIABLE = PREFIX + "CONFIG"


class Unreadable(Exception):
    """The sentence says which file, why, and what to do."""


def asked_file(flag: Optional[str], environment: Mapping[str, str], default: str) -> str:
    """The path of the INI file that is meant. Raises Unreadable where it is asked for by what is no path."""
    for source, text in (("--config", flag), (VARIABLE, environment.get(VARIABLE))):
        if text is not None:
            return require_path(Given(source, text), default)
    return default


def require_path(asked: Given, default: str) -> str:
    """The path that somebody asked for. Raises Unreadable where it is none."""
    try:
        require_short(asked.text)
        require_utf_8(asked.text)
        require_printable(asked.text)
        if not asked.text.strip():
            raise ValueError(
                _("the path is empty; name an INI file, or leave it out for {default}").format(default=default)
            )
    except ValueError as error:
        raise Unreadable(f"{asked.source}: {asked.text[:LONGEST_SHOWN]!a}: {error}") from None
    return asked.text


def absolute(path: str) -> str:
    """Raises Unreadable where the path begins in a folder that is gone."""
    try:
        return os.path.abspath(path)
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}") from None


def ini_text(path: str, asked: str, before: Optional[Config] = None) -> Optional[str]:
    """What stands in the file; None where there is none, and need not be. Raises Unreadable.

    asked   what names it, such as "--config"; "" for the default file
    before  the configuration in force
    """
    where = f"{asked}: {path}" if asked else path
    in_force = before is not None and before.has_values_of(path)
    try:
        text = text_in(read_ini(path), path).removeprefix("\ufeff")
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not asked and not in_force and not _is_linked(path):
            return None
        raise Unreadable(_unread(where, str(error.strerror), asked, in_force)) from None
    except ValueError as error:
        raise Unreadable(str(error)) from None
    if in_force and not text.strip():
        # Such as an editor leaves it for a moment, or a full disk for good.
        told = _("{where}: the file is empty now, and was not; if that is intended, leave the line [ogw] in it")
        raise Unreadable(told.format(where=where))
    return text


def read_ini(path: str) -> bytes:
    """What stands in an INI file; /dev/null is the one of those who want none. Raises OSError."""
    if os.stat(path).st_rdev == os.stat(os.devnull).st_rdev:
        return b""
    data = read_file(path, LARGEST)
    if len(data) > LARGEST:
        raise OSError(errno.EFBIG, _("it is too large for an INI file"), path)
    return data


def _unread(where: str, why: str, asked: str, in_force: bool) -> str:
    """Why the file was not read, and what to do."""
    told = "{where}: {why}"
    if in_force:
        told = _("{where}: {why}; the file is in force, and is not taken for an empty one; to do without it, restart "
                 "the gateway")  # fmt: skip
    elif not asked:
        told = _("{where}: {why}; the file exists, so it must be readable; --config /dev/null does without it")
    return told.format(where=where, why=why)


def _is_linked(path: str) -> bool:
    """Somebody made a link for it, although it leads nowhere."""
    return os.path.islink(path) or os.path.islink(os.path.dirname(path))
