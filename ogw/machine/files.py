"""A file that somebody else keeps, read whole, within a limit, and only if it is a file: no pipe makes anybody wait.

Settings are read through it, and the files of the system about names.
"""

import codecs
import errno
import os
import stat

from ogw.language.messages import gettext as _

PIECE = 1 << 18  # bytes of a read: one of the whole limit would be given that much memory first


def read_file(path: str, most: int) -> bytes:
    """At most `most` bytes and one more, which says that there are more. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        require_file(os.fstat(descriptor), path)
        found = bytearray()
        while len(found) <= most and (piece := os.read(descriptor, min(PIECE, most + 1 - len(found)))):
            found += piece
        return bytes(found)
    finally:
        os.close(descriptor)


def text_in(data: bytes, where: str) -> str:
    """The text that a file has, in UTF-8 and with the mark that some editors put first. Raises ValueError.

    where  the file, with which the sentence of what is wrong begins
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError(_("{where}: a text in UTF-16; save it as UTF-8").format(where=where))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(_("{where}:{line}: not a text in UTF-8").format(where=where, line=line)) from None


def require_file(status: os.stat_result, path: str) -> None:
    """Raises OSError where it is a folder, a pipe, a socket or a device."""
    if stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, _("it is neither a file nor a folder"), path)


def shown(path: str) -> str:
    """A path as a message may show it: a name that is no text in UTF-8, or has line breaks in it, is escaped."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in path)
