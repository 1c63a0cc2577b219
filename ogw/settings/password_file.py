"""The file with the relay proxy's password that `ogw setup` writes: what stands in it stays untouched."""

import grp
import os

from ogw.settings.ini.file import EditError
from ogw.tunnel.password import read_password

SERVICE_GROUP = "ogw"  # of the service that `ogw setup` makes


def has_password(path: str, password: str) -> bool:
    """Whether this password stands in the file."""
    try:
        return read_password(path) == password
    except (OSError, ValueError):
        return False


def write_password(path: str, password: str, ini: str) -> None:
    """For the owner of the INI file alone, and for the service where that reads the INI file; raises EditError."""
    if has_password(path, password):
        return
    fresh = f"{path}.new"
    try:
        if os.path.exists(fresh):
            os.unlink(fresh)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(handle, "w", encoding="utf-8") as file:
            file.write(password + "\n")
            file.flush()
            if os.path.exists(ini):
                owner = os.stat(ini)
                os.fchown(handle, owner.st_uid, owner.st_gid)
                if is_of_service(owner.st_gid):
                    os.fchmod(handle, 0o640)
            os.fsync(handle)
        os.rename(fresh, path)
    except OSError as error:
        raise EditError(f"{path}: {error.strerror}") from None


def is_of_service(group: int) -> bool:
    """Whether only the service is in this group."""
    try:
        return grp.getgrgid(group).gr_name == SERVICE_GROUP
    except KeyError:
        return False
