"""A file that somebody else keeps, read whole, within a limit, and only if it is a file: no pipe makes anybody wait."""

import errno
import os
import stat
from gettext import gettext as _


def read_file(path: str, most: int) -> bytes:
    """At most `most` bytes and one more, which says that there are more. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, _("is neither a file nor a folder"), path)
        return file.read(most + 1)
