"""A file that somebody else keeps, read whole, within a limit, and only if it is a file: no pipe makes anybody wait."""

import errno
import os
import stat
from gettext import gettext as _


def read_file(path: str, most: int) -> bytes:
    """At most `most` bytes and one more, which says that there are more. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, _("is neither a file nor a folder"), path)
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(most + 1)
    finally:
        os.close(descriptor)
