"""Where the password for the relay proxies comes from, and comes from again once it was changed. No gevent here."""

import os
from typing import Optional

from ogw.wire.relay_proxy import Credentials, credentials

LARGEST = 4096


class PasswordSource:
    """The credentials that the settings give for all relay proxies without their own.

    file  the password file, or "" where the password came from elsewhere
    """

    def __init__(self, given: Optional[Credentials], file: str = "") -> None:
        self.given = given
        self._file = file

    def changed(self) -> bool:
        """Read the file again; whether there is another password in it now."""
        if not self._file or self.given is None:
            return False
        try:
            fresh = credentials(self.given.user.reveal(), read_password(self._file))
        except (OSError, ValueError):
            return False
        if fresh == self.given or not fresh.password.reveal():
            return False  # an empty file is one that is being written
        self.given = fresh
        return True


def read_password(path: str) -> str:
    """The password in a file, without the end of its line. Raises OSError, or ValueError where it is no text."""
    with open(path, encoding="utf-8", newline="") as file:
        return file.read(LARGEST).removesuffix("\n").removesuffix("\r")


def is_open_to_all(path: str) -> bool:
    """Whether every user of this machine can read the file."""
    return bool(os.stat(path).st_mode & 0o004)
