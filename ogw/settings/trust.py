"""Files with certificates and keys, and what encrypted relay proxies are verified with."""

import codecs
import errno
import os
import ssl
from typing import Optional

from ogw.machine.files import read_file

LARGEST = 16 << 20  # bytes of a file


class PemFile(str):
    """The path of a file, and what was in it: who needs that later must not need the file. Another content is another.

    It is shown as its path alone.
    """

    data: bytes

    def __eq__(self, other: object) -> bool:
        same = not isinstance(other, PemFile) or self.data == other.data
        return same and str.__eq__(self, other) is True

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


def read_pem_file(path: str) -> PemFile:
    """Raises OSError."""
    found = PemFile(path)
    found.data = read_file(path, LARGEST)
    if len(found.data) > LARGEST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    return found


def relay_context(ca_file: Optional[str]) -> ssl.SSLContext:
    """With this file, or the system's store. Raises OSError; ssl.SSLError, which is one, where it has no certificates.

    A byte order mark would hide the first certificate of a file from OpenSSL.
    """
    if not ca_file:
        context = ssl.create_default_context()
    else:
        data = (ca_file if isinstance(ca_file, PemFile) else read_pem_file(ca_file)).data
        text = data.removeprefix(codecs.BOM_UTF8).decode("ascii", "replace").replace("\ufffd", "?")
        context = ssl.create_default_context(cadata=text or "\n")  # "" would mean the system's store
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context
