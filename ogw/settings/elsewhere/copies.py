"""The last good copies of a list that was downloaded, in state-dir: a line of JSON about each, then the list itself.

There are up to three: the one in force, the one before it, and the one that was rolled back (rollback.py).
"""

import errno
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, Optional

from ogw.language.messages import gettext as _
from ogw.machine.files import read_file
from ogw.settings.files import replace

HEAD_SIZE = 1 << 14
LAST_SECOND = 253_402_300_799.0  # 9999-12-31T23:59:59Z
IN_FORCE, BEFORE, HELD = "", ".before", ".held"  # which copy: how the name of its file ends
NEW, UNUSABLE = ".new-", ".unusable"  # how names begin or end that are no copies: half written, and set aside
MOST_UNUSABLE = 10  # that are kept for whoever wants to know
HALF_WRITTEN_SECONDS = 3600.0  # then nobody writes it any more
_NO_FILE = (errno.EISDIR, errno.EINVAL, errno.ELOOP)


class Copy(NamedTuple):
    """One.

    url              without what stands behind its #
    etag, modified   what the server said for the next, conditional request; "" for nothing
    fetched          Unix seconds
    signature        what it was signed with (signature.py), as text; "" where nobody asked for that
    """

    url: str
    etag: str
    modified: str
    fetched: float
    body: bytes
    signature: str = ""


def default_state_dir(environment: Mapping[str, str]) -> str:
    """The folder for what outlives the gateway: systemd's, the system's for root, or the user's."""
    if state := environment.get("STATE_DIRECTORY"):
        return state.split(":")[0]  # systemd.exec(5)
    if os.geteuid() == 0:
        return "/var/lib/ogw"
    home = environment.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(home, "ogw")


def place_of(state_dir: str, url: str, which: str = IN_FORCE) -> str:
    """The file of a URL's copy, or another one of that URL."""
    return os.path.join(state_dir, "lists", hashlib.sha256(plain_url(url).encode()).hexdigest()[:32] + which)


def plain_url(url: str) -> str:
    """Without what stands behind its #, which no server is told."""
    return url.partition("#")[0]


def read_copy(state_dir: str, url: str, max_size: int, which: str = IN_FORCE) -> Optional[Copy]:
    """The copy, or None where there is none. Raises OSError, or ValueError where it is damaged or too large."""
    try:
        data = read_file(place_of(state_dir, url, which), HEAD_SIZE + max_size)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in _NO_FILE:
            raise
        raise ValueError(f"{error.filename}: {error.strerror}") from None
    line, newline, body = data.partition(b"\n")
    if len(body) > max_size:
        raise ValueError(_("larger than {size} bytes (source-max-size)").format(size=max_size))
    copy = _copy(line, body) if newline and len(line) <= HEAD_SIZE else None
    if copy is None or copy.url != plain_url(url):
        raise ValueError(_("it is damaged"))
    return copy


def seconds(value: Any) -> float:
    """A time that can be told: Unix seconds up to the year 9999. Raises ValueError or TypeError."""
    told = float(value)
    if not 0 <= told <= LAST_SECOND:
        raise ValueError
    return told


def _copy(line: bytes, body: bytes) -> Optional[Copy]:
    """None where they do not belong together."""
    try:
        head = json.loads(line)
        signature = head.get("signature", "")  # versions before signatures did not have it
        copy = Copy(head["url"], head["etag"], head["modified"], seconds(head["fetched"]), body, signature)
        whole = head["sha256"] == hashlib.sha256(body).hexdigest()
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
    is_text = all(isinstance(text, str) for text in (copy.etag, copy.modified, copy.signature))
    return copy if whole and is_text else None


def set_aside(state_dir: str, url: str) -> str:
    """A copy that cannot be used gets a name that says so, and is not read again: its new place. Raises OSError."""
    place = place_of(state_dir, url)
    aside = f"{place}.{time.time_ns()}{UNUSABLE}"  # no name of before: what stands there may be a folder
    os.rename(place, aside)
    old = sorted(_with_times(os.path.dirname(place), lambda name: name.endswith(UNUSABLE)))
    for _time, path in old[:-MOST_UNUSABLE]:
        with suppress(OSError):
            os.unlink(path)
    return aside


def _with_times(folder: str, wanted: Callable[[str], bool]) -> list[tuple[float, str]]:
    """(Unix seconds of its last change, path) of the files in a folder whose names are wanted."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if wanted(entry.name):
                with suppress(OSError):
                    found.append((entry.stat(follow_symlinks=False).st_ctime, entry.path))
    return found


def write_copy(
    state_dir: str, copy: Copy, keeps_before: bool = False, first: Callable[[], object] = lambda: None
) -> None:
    """Put it there in one step, for its owner alone. Raises OSError, or what `first` raises.

    keeps_before  what is in force stays, as the copy before it
    first         done once the copy is on the disk, and before it takes its place
    """
    place = place_of(state_dir, copy.url)
    folder = os.path.dirname(place)
    os.makedirs(folder, 0o700, exist_ok=True)
    head = {
        "url": copy.url,
        "etag": copy.etag,
        "modified": copy.modified,
        "fetched": copy.fetched,
        "signature": copy.signature,
        "sha256": hashlib.sha256(copy.body).hexdigest(),
    }
    for changed, path in _with_times(folder, lambda name: name.startswith(NEW)):
        if changed < time.time() - HALF_WRITTEN_SECONDS:  # of a download that was killed
            with suppress(OSError):
                os.unlink(path)
    if not os.access(place, os.R_OK):
        with suppress(OSError):
            os.unlink(place)  # such as root's, who ran the gateway once: its owner would be kept
    data = json.dumps(head).encode() + b"\n" + copy.body

    def keep_before(_fresh: str) -> None:
        first()
        if keeps_before:
            also_as(place, place_of(state_dir, copy.url, BEFORE))

    # Not before the new one is on the disk: where that is full, the two that are kept stay what they are.
    replace(place, data, mode=0o600, most=0o600, name=(NEW, ""), check=keep_before)


def also_as(place: str, other: str) -> None:
    """Give a copy a second name, instead of what has that; it keeps its owner. Raises OSError."""
    fresh = os.path.join(os.path.dirname(place), f"{NEW}{os.getpid()}")
    with suppress(FileNotFoundError):
        os.unlink(fresh)
    try:
        os.link(place, fresh)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without second names, as of shares that pods mount
        replace(other, read_file(place, os.stat(place).st_size), mode=0o600, most=0o600, like=place, name=(NEW, ""))
        return
    os.rename(fresh, other)
    with suppress(FileNotFoundError):
        os.unlink(fresh)  # a rename between two names of one file does nothing
