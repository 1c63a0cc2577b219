"""Where the password for the relay proxies comes from, and comes from again once it was changed. No gevent here."""

import codecs
import os
from collections.abc import Callable
from gettext import gettext as _
from typing import Optional

from ogw.machine.files import read_file
from ogw.wire.relay_proxy import Credentials, credentials

LARGEST = 4096  # bytes, without a byte order mark and the end of the line


class PasswordSource:
    """The credentials that the settings give for all relay proxies without their own.

    file  the password file, or "" where the password came from elsewhere
    tell  is told in a sentence why a file that was to be read again cannot be used, once for each reason
    """

    def __init__(
        self, given: Optional[Credentials], file: str = "", tell: Callable[[str], object] = lambda sentence: None
    ) -> None:
        self.given = given
        self._file = file
        self._tell = tell
        self._told = ""

    def reread(self) -> bool:
        """Read the file again, and take the password that is in it; whether it is another one."""
        if not self._file or self.given is None:
            return False
        try:
            password = read_password(self._file)
            if not password:
                raise ValueError(_("is empty"))  # as while it is being written
            fresh = credentials(self.given.user.reveal(), password)
        except (OSError, ValueError) as error:
            why = str(error.strerror if isinstance(error, OSError) else error)
            if why != self._told:
                self._tell(f"relay-proxy-password-file: {self._file}: {why}; the password of before stays")
            self._told = why
            return False
        self._told = ""
        if fresh == self.given:
            return False
        self.given = fresh
        return True


def read_password(path: str) -> str:
    """The password in a file. Raises OSError, or ValueError where it is none; neither shows anything of it."""
    return password_in(read_file(path, LARGEST + len(codecs.BOM_UTF8) + len("\r\n")))


def password_in(data: bytes) -> str:
    """The password that a file has, without the byte order mark of some editors and the end of its line.

    Raises ValueError, which says what is wrong with it.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError(_("is a text in UTF-16; save it as UTF-8"))
    line = data.removeprefix(codecs.BOM_UTF8).removesuffix(b"\n").removesuffix(b"\r")
    if len(line) > LARGEST:
        raise ValueError(_("is larger than {most} bytes").format(most=LARGEST))
    if b"\0" in line:
        raise ValueError(_("has a NUL byte in it, as a text in UTF-16 has; save it as UTF-8"))
    if b"\n" in line or b"\r" in line:
        raise ValueError(_("has more than one line"))
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(_("is not a text in UTF-8")) from None


def is_open_to_all(path: str) -> bool:
    """Whether every user of this machine can read the file."""
    return bool(os.stat(path).st_mode & 0o004)
