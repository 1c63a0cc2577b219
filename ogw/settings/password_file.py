"""Files with secrets: what in one is the password, or another value, and the password file that commands write."""

import codecs
import errno
import grp
import os
from contextlib import suppress
from typing import Optional

from ogw.language.messages import gettext as _
from ogw.machine.files import read_file
from ogw.settings.files import replace

LARGEST = 4096  # bytes, without a byte order mark and the end of the line
LARGEST_LIST = 1 << 16
MOST_KEPT = 1 << 20  # bytes of what somebody put in its place
NAME = "relay-proxy.password"  # of the one beside an INI file
SERVICE_GROUP = "ogw"  # of the service that `ogw setup` makes


def read_password(path: str) -> str:
    """The password in a file. Raises OSError, or ValueError where it is none; neither shows anything of it."""
    return password_in(read_file(path, LARGEST + len(codecs.BOM_UTF8) + len("\r\n")))


def read_values(path: str) -> str:
    """The same of a file with the values of a list, one a line."""
    data = read_file(path, LARGEST_LIST)
    if len(data) > LARGEST_LIST:
        raise ValueError(_("it is larger than {most} bytes").format(most=LARGEST_LIST))
    return "\n".join(password_in(line) for line in data.split(b"\n"))


def password_in(data: bytes) -> str:
    """The password that a file has, without the byte order mark of some editors and the end of its line.

    Raises ValueError, which says what is wrong with it.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError(_("it is a text in UTF-16; save it as UTF-8"))
    line = data.removeprefix(codecs.BOM_UTF8).removesuffix(b"\n").removesuffix(b"\r")
    if len(line) > LARGEST:
        raise ValueError(_("it is larger than {most} bytes").format(most=LARGEST))
    if b"\0" in line:
        raise ValueError(_("it has a NUL byte in it, as a text in UTF-16 has; save it as UTF-8"))
    if b"\n" in line or b"\r" in line:
        raise ValueError(_("it has more than one line"))
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(_("it is not a text in UTF-8")) from None


def has_password(path: str, password: str) -> bool:
    """Whether this password stands in the file."""
    try:
        return read_password(path) == password
    except (OSError, ValueError):
        return False


def has_one(path: str) -> bool:
    """Whether a password stands in the file."""
    try:
        return bool(read_password(path))
    except (OSError, ValueError):
        return False


def is_open_to_all(path: str) -> bool:
    """Whether every user of this machine can read the file."""
    return bool(os.stat(path).st_mode & 0o004)


# The one beside an INI file.


def beside(ini: str) -> str:
    """Its path; `ini` is the INI file itself, not a link to it."""
    return os.path.join(os.path.dirname(ini), NAME)


def data_of(path: str) -> Optional[bytes]:
    """What stands in it, whatever it is, to be put back as a whole; None where there is none. Raises OSError."""
    try:
        data = read_file(path, MOST_KEPT)
    except FileNotFoundError:
        return None
    if len(data) > MOST_KEPT:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    return data


def write(path: str, data: bytes, ini: str) -> None:
    """For the owner of the INI file alone, and for the gateway where that reads the INI file. Raises OSError."""
    replace(path, data, mode=0o640 if _gateway_reads(ini) else 0o600, most=0o640, like=ini)


def put_back(path: str, data: Optional[bytes], ini: str) -> None:
    """Make it what it was, as far as that can be."""
    with suppress(OSError):
        if data is None:
            os.unlink(path)
        elif data_of(path) != data:
            write(path, data, ini)


def delete(path: str) -> None:
    """Nobody needs it any more; somebody may have taken it away."""
    with suppress(OSError):
        os.unlink(path)


def _gateway_reads(ini: str) -> bool:
    """Whether the INI file is for a group, too, and that is the gateway's: by its name, or because root chose it."""
    try:
        status = os.stat(ini)
    except OSError:
        return False
    chosen = status.st_uid == 0 and status.st_gid != 0
    return bool(status.st_mode & 0o040) and (chosen or _is_of_service(status.st_gid))


def _is_of_service(group: int) -> bool:
    try:
        return grp.getgrgid(group).gr_name == SERVICE_GROUP
    except KeyError:
        return False
