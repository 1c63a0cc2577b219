"""An INI file that is edited: locked against a second editor, checked as a whole, replaced in one step or not."""

import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Callable
from gettext import gettext as _

from ogw.settings.ini_text import IniText

LOCK_SECONDS = 5.0
PREFIX, SUFFIX = ".ogw-", ".ini"  # of the new file, until it takes its place


class EditError(Exception):
    """The file stays as it was; the sentence says why and what to do."""


class IniFile:
    """Use as a context manager: inside it nobody else who asks for the lock edits a file of its folder.

    path  a link is followed: what it leads to is edited
    text  to be edited; `save` writes it
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.realpath(path)
        self.text = IniText()
        self._folder = os.path.dirname(self.path)
        self._lock = -1
        self._was: tuple[int, ...] = ()

    def __enter__(self) -> "IniFile":
        """Raises EditError."""
        try:
            self._lock = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._take_lock()
            self._clean_up()
            self._was, contents = self._read()
        except OSError as error:
            self.__exit__()
            raise EditError(f"{self.path}: {error.strerror}") from None
        except UnicodeDecodeError:
            self.__exit__()
            raise EditError(_("{path}: not a text file in UTF-8").format(path=self.path)) from None
        except EditError:
            self.__exit__()
            raise
        self.text = IniText(contents)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _take_lock(self) -> None:
        until = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise EditError(
                        _("{path} is being edited by another command; try again when that one is done").format(
                            path=self.path
                        )
                    ) from None
                time.sleep(0.05)

    def _clean_up(self) -> None:
        """Take away what an editor left that was killed in the middle; we hold the lock, so it is nobody's."""
        for entry in os.scandir(self._folder):
            if entry.name.startswith(PREFIX) and entry.name.endswith(SUFFIX):
                os.unlink(entry.path)

    def _read(self) -> tuple[tuple[int, ...], str]:
        try:
            with open(self.path, encoding="utf-8", newline="") as file:
                return _identity(os.fstat(file.fileno())), file.read()
        except FileNotFoundError:
            return (), ""

    def save(self, check: Callable[[str], None]) -> None:
        """Replace the file by the edited text. `check` is given the path of the new file, and raises where it is wrong.

        Owner and mode stay; a new file is for its owner and group. Raises EditError, or what `check` raises.
        """
        try:
            self._replace(check)
        except OSError as error:
            raise EditError(
                _("{path} cannot be written: {error}; it stays as it was").format(path=self.path, error=error.strerror)
            ) from None

    def _replace(self, check: Callable[[str], None]) -> None:
        handle, fresh = tempfile.mkstemp(prefix=PREFIX, suffix=SUFFIX, dir=self._folder)
        try:
            with open(handle, "w", encoding="utf-8", newline="") as file:
                file.write(str(self.text))
                file.flush()
                self._keep_owner_and_mode(handle)
                os.fsync(handle)
            check(fresh)
            if self._read()[0] != self._was:
                raise EditError(
                    _("{path} was changed by somebody else meanwhile; nothing was written, try again").format(
                        path=self.path
                    )
                )
            os.rename(fresh, self.path)
            os.fsync(self._lock)
        except BaseException:
            try:
                os.unlink(fresh)
            except OSError:
                pass
            raise

    def _keep_owner_and_mode(self, handle: int) -> None:
        try:
            was = os.stat(self.path)
        except FileNotFoundError:
            os.fchmod(handle, 0o640)
            return
        now = os.fstat(handle)
        if (was.st_uid, was.st_gid) != (now.st_uid, now.st_gid):
            os.fchown(handle, was.st_uid, was.st_gid)
        os.fchmod(handle, stat.S_IMODE(was.st_mode))


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
