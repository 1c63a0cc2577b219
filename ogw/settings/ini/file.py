"""An INI file that is edited: locked against a second editor, checked as a whole, replaced in one step or not."""

import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Callable

from ogw.language.messages import gettext as _
from ogw.machine.files import text_in
from ogw.settings.files import replace
from ogw.settings.ini.text import IniText

LOCK_SECONDS = 5.0
PREFIX, SUFFIX = ".ogw-edit-", ".ini"  # of the new file, until it takes its place
LARGEST = 64 << 20  # bytes
_LEFT = re.compile(re.escape(PREFIX) + r"[a-z0-9_]{8}" + re.escape(SUFFIX))


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
        except OSError as error:
            raise EditError(
                _("{path}: its folder cannot be opened: {error}").format(path=self.path, error=error.strerror)
            ) from None
        try:
            self._take_lock()
            self._clean_up()
            self._was, contents = self._read()
            self.text = IniText(contents)
            if self.text.is_foreign:
                told = _("{path}: it is no INI file of ogw, since no line of it is [ogw], and stays as it was; where "
                         "it is meant to be one, put that line first")  # fmt: skip
                raise EditError(told.format(path=self.path))
        except OSError as error:
            self.__exit__()
            raise EditError(f"{self.path}: {error.strerror}") from None
        except ValueError as error:
            self.__exit__()
            raise EditError(str(error)) from None
        except BaseException:
            self.__exit__()
            raise
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
            if _LEFT.fullmatch(entry.name):
                try:
                    os.unlink(entry.path)
                except OSError:
                    pass  # somebody else's: it harms nobody

    def _read(self) -> tuple[tuple[int, ...], str]:
        """The identity and the contents of the file; ((), "") where there is none."""
        try:
            # A pipe would let us wait for ever, and what is no file cannot be replaced by one.
            with open(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise EditError(_("{path} is not a file that could be edited").format(path=self.path))
                if status.st_size > LARGEST:
                    raise EditError(_("{path} is too large for an INI file").format(path=self.path))
                return _identity(status), text_in(file.read(), self.path)
        except FileNotFoundError:
            return (), ""

    def save(self, check: Callable[[str], None]) -> None:
        """Replace the file by the edited text. `check` is given the path of the new file, and raises where it is wrong.

        A new file is for its owner and group (settings/files.py). Raises EditError, or what `check` raises.
        """
        try:
            if self._was:  # its folder may let us replace what we may not write
                os.close(os.open(self.path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            self._replace(check)
        except OSError as error:
            why = error.strerror
            if error.errno == errno.EBUSY:
                why = _("it is mounted on its own, as containers do it; change it where it comes from")
            raise EditError(
                _("{path} cannot be written: {error}; it stays as it was").format(path=self.path, error=why)
            ) from None

    def _replace(self, check: Callable[[str], None]) -> None:
        try:
            data = str(self.text).encode()
        except UnicodeEncodeError:
            raise EditError(_("a value has characters that UTF-8 does not have")) from None

        def check_both(fresh: str) -> None:
            check(fresh)
            if self._identity_now() != self._was:
                raise EditError(
                    _("{path} was changed by somebody else meanwhile; nothing was written, try again").format(
                        path=self.path
                    )
                )

        replace(self.path, data, mode=0o640, name=(PREFIX, SUFFIX), check=check_both)

    def _identity_now(self) -> tuple[int, ...]:
        try:
            return _identity(os.stat(self.path))
        except FileNotFoundError:
            return ()


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
