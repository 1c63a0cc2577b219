"""The last good copy of a list that was downloaded, in state-dir: a line of JSON about it, then the list itself."""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from typing import NamedTuple, Optional

HEAD_SIZE = 1 << 14


class Copy(NamedTuple):
    """One.

    etag, modified   what the server said for the next, conditional request; "" for nothing
    fetched          Unix seconds
    """

    url: str
    etag: str
    modified: str
    fetched: float
    body: bytes


def default_state_dir(environment: Mapping[str, str]) -> str:
    """The folder for what outlives the gateway: systemd's, the system's for root, or the user's."""
    if state := environment.get("STATE_DIRECTORY"):
        return state.split(":")[0]  # systemd.exec(5)
    if os.geteuid() == 0:
        return "/var/lib/ogw"
    home = environment.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(home, "ogw")


def place_of(state_dir: str, url: str) -> str:
    """The file of a URL's copy."""
    return os.path.join(state_dir, "lists", hashlib.sha256(url.encode()).hexdigest()[:32])


def read_copy(state_dir: str, url: str, max_size: int) -> Optional[Copy]:
    """The copy, or None where there is none. Raises OSError, or ValueError where it is damaged or too large."""
    try:
        with open(place_of(state_dir, url), "rb") as file:
            data = file.read(HEAD_SIZE + max_size + 1)
    except FileNotFoundError:
        return None
    line, newline, body = data.partition(b"\n")
    if len(body) > max_size:
        raise ValueError(f"larger than {max_size} bytes (source-max-size)")
    try:
        head = json.loads(line)
        copy = Copy(head["url"], str(head["etag"]), str(head["modified"]), float(head["fetched"]), body)
        whole = newline and copy.url == url and head["sha256"] == hashlib.sha256(body).hexdigest()
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise ValueError("it is damaged")
    return copy


def write_copy(state_dir: str, copy: Copy) -> None:
    """Put it there in one step, for its owner alone. Raises OSError."""
    place = place_of(state_dir, copy.url)
    folder = os.path.dirname(place)
    os.makedirs(folder, 0o700, exist_ok=True)
    head = {
        "url": copy.url,
        "etag": copy.etag,
        "modified": copy.modified,
        "fetched": copy.fetched,
        "sha256": hashlib.sha256(copy.body).hexdigest(),
    }
    descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=folder)
    try:
        with open(descriptor, "wb") as file:
            file.write(json.dumps(head).encode() + b"\n" + copy.body)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, place)
    except BaseException:
        os.unlink(temporary)
        raise
