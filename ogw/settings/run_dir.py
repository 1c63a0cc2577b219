"""The folder of the gateway's socket: which ones may be meant, and whether it may be used."""

import os
import stat
from collections.abc import Mapping

from ogw.language.messages import gettext as _

SOCKET = "admin.sock"
LONGEST = 107  # bytes of a socket's path (unix(7))


def default_run_dirs(environment: Mapping[str, str]) -> list[str]:
    """The folders that may be meant, the best first: a gateway takes the first, a command looks into all of them."""
    folders = []
    if runtime := environment.get("RUNTIME_DIRECTORY"):
        folders.append(runtime.split(":")[0])  # systemd.exec(5)
    if os.geteuid() == 0:
        folders.append("/run/ogw")
    if session := environment.get("XDG_RUNTIME_DIR"):
        folders.append(os.path.join(session, "ogw"))
    folders += [of_user(), "/run/ogw"]
    return list(dict.fromkeys(folders))


def of_user() -> str:
    """The folder of last resort; anybody may have made it."""
    return f"/tmp/ogw-{os.geteuid()}"


def is_strange(folder: str) -> bool:
    """Somebody else made it in a place where everybody may: who asks there asks whom he wants."""
    try:
        return folder.startswith("/tmp/") and os.lstat(folder).st_uid not in (0, os.geteuid())
    except OSError:
        return False


def make(folder: str) -> None:
    """Make the folder, for its owner alone; one that is there must be ours, or root's. Raises OSError."""
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        status = os.lstat(folder)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (0, os.geteuid()):
            raise PermissionError(1, _("it is not a folder of this user"), folder) from None


def why_not(folder: str) -> str:
    """Why no gateway of this user could have its socket there; "" where one could."""
    if len(os.fsencode(os.path.join(folder, SOCKET))) > LONGEST:
        return _("it is too long for the path of a socket; at most {most} bytes are possible").format(
            most=LONGEST - len(SOCKET) - 1
        )
    try:
        status = os.lstat(folder)
    except FileNotFoundError:
        parent = os.path.dirname(os.path.abspath(folder))
        if not os.path.isdir(parent):
            return _("there is no folder {folder} to make it in").format(folder=parent)
        writable = os.access(parent, os.W_OK | os.X_OK)
        return "" if writable else _("user {user} cannot make it").format(user=os.geteuid())
    except OSError as error:
        return f"{error.strerror}"
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (0, os.geteuid()):
        return _("it is not a folder of this user")
    if not os.access(folder, os.W_OK | os.X_OK):
        return _("user {user} cannot make the socket there").format(user=os.geteuid())
    return _("{name} in it is a folder, and should be a socket").format(name=SOCKET) if _is_blocked(folder) else ""


def _is_blocked(folder: str) -> bool:
    """What has the socket's name cannot be taken away."""
    path = os.path.join(folder, SOCKET)
    return os.path.isdir(path) and not os.path.islink(path)
