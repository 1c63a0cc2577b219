"""A file of ours is replaced in one step: whoever reads it finds what stood there or what stands there now, whole."""

import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress

from ogw.machine.files import require_file


def replace(
    path: str,
    data: bytes,
    *,
    mode: int,
    most: int = 0o7777,
    like: str = "",
    name: tuple[str, str] = (".ogw-new-", ""),
    check: Callable[[str], object] = lambda fresh: None,
) -> None:
    """Put these bytes there. Raises OSError, or what `check` raises; then all is as it was.

    Decided here once, for whatever the gateway and its commands write:

    links    are followed: what one leads to is replaced, and the link stays
    files    alone are replaced, or made: never a folder, a device or a pipe
    owner    A file keeps its owner, its group, its access control lists and labels; who may not give them to the new
             one is refused. One that was not there is its maker's; root's goes to owner and group of the file `like`,
             or to the group of the folder, since the group that may look into that is the gateway's, if it has one.
    mode     A file keeps its own, but for what is not in `most`; one that was not there has `mode`.
    disk     The bytes are on it before they take their place. Whether the name is, too, is asked for and not insisted
             on: the file is replaced by then.
    failure  leaves nothing behind. Who is killed leaves the new file in the same folder: its name begins and ends as
             `name` says, and nobody may read it who could not read the old one.

    check  is given the path of the new file before it takes its place
    """
    place = os.path.realpath(path)
    folder = os.path.dirname(place)
    handle, fresh = tempfile.mkstemp(prefix=name[0], suffix=name[1], dir=folder)  # 0600
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            _take_after(handle, place, mode, most, like)
            os.fsync(handle)
        check(fresh)
        os.rename(fresh, place)
    except BaseException:
        with suppress(OSError):
            os.unlink(fresh)
        raise
    with suppress(OSError):
        _sync_folder(folder)


def _take_after(handle: int, place: str, mode: int, most: int, like: str) -> None:
    try:
        was = os.stat(place)
    except FileNotFoundError:
        _be_new(handle, place, mode, like)
        return
    require_file(was, place)
    _give(handle, was.st_uid, was.st_gid)
    with suppress(OSError):
        _keep_attributes(handle, place)
    os.fchmod(handle, stat.S_IMODE(was.st_mode) & most)  # last: a list of access control comes with a mode


def _be_new(handle: int, place: str, mode: int, like: str) -> None:
    if os.geteuid() == 0:
        try:
            other = os.stat(like)
            _give(handle, other.st_uid, other.st_gid)
        except FileNotFoundError:
            _give(handle, 0, os.stat(os.path.dirname(place)).st_gid)
    os.fchmod(handle, mode)


def _give(handle: int, user: int, group: int) -> None:
    now = os.fstat(handle)
    if (user, group) != (now.st_uid, now.st_gid):
        os.fchown(handle, user, group)


def _keep_attributes(handle: int, place: str) -> None:
    """Access control lists and labels, where the file system has them, and lets us."""
    for name in os.listxattr(place):
        with suppress(OSError):
            os.setxattr(handle, name, os.getxattr(place, name))


def _sync_folder(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
