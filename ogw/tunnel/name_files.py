"""The system's own files about names: /etc/hosts and /etc/resolv.conf, read again when they change."""

import contextlib
import os
import time
from ipaddress import ip_address
from typing import Any, NamedTuple, Optional

from ogw.machine.files import read_file
from ogw.tunnel.descriptors import NO_DESCRIPTORS
from ogw.tunnel.lookup import Lookup

HOSTS, RESOLV_CONF = "/etc/hosts", "/etc/resolv.conf"
LOOK_AGAIN = 1.0  # seconds between two looks at whether those files changed
MOST_BYTES = 16 * 1024 * 1024  # of a file that are read: whoever blocks hosts by /etc/hosts has some megabytes
MOST_SERVERS = 8
DNS_PORT = 53


class WatchedFile:
    """A file that is read again when it changed; it is looked at once per LOOK_AGAIN at the most."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._looked = -LOOK_AGAIN
        self._seen: Any = ()

    def poll(self) -> bool:
        """Look, if it is time to; whether the file changed since the last look."""
        now = time.monotonic()
        if now - self._looked < LOOK_AGAIN:
            return False
        self._looked = now
        try:
            status = os.stat(self.path)
            seen: Any = (status.st_mtime_ns, status.st_ino, status.st_size)
        except OSError:
            seen = None
        if seen == self._seen:
            return False
        self._seen = seen
        return True

    def look_again(self) -> None:
        """The next poll calls it changed: it could not be read."""
        self._seen = ()


def read_lines(path: str, most: int = MOST_BYTES) -> list[bytes]:
    """The lines of a file, of so many bytes at the most. Raises OSError."""
    text = read_file(path, most)
    lines = text.split(b"\n")
    return lines[:-1] if len(text) > most else lines


class Hosts:
    """/etc/hosts (hosts(5)). A name that stands there is not asked for in DNS, not for the other family either."""

    def __init__(self, path: str = HOSTS) -> None:
        self._file = WatchedFile(path)
        self._addresses: dict[str, dict[str, None]] = {}
        self._looked_up: dict[str, Lookup] = {}  # those of them that were asked for

    def look_up(self, name: str) -> Optional[Lookup]:
        if self._file.poll():
            self._read()
        lookup = self._looked_up.get(name)
        if lookup is None and name in self._addresses:
            lookup = self._looked_up[name] = Lookup(name, list(self._addresses[name]))
        return lookup

    def _read(self) -> None:
        lines: list[bytes] = []
        try:
            lines = read_lines(self._file.path)
        except OSError as error:
            if error.errno in NO_DESCRIPTORS:
                self._file.look_again()  # what was known is better than nothing
                return
        addresses: dict[str, dict[str, None]] = {}
        for line in lines:
            words = line.split(b"#", 1)[0].split()
            try:
                address = str(ip_address(words[0].decode("ascii")))
            except (IndexError, ValueError):
                continue
            for name in words[1:]:
                addresses.setdefault(name.decode("ascii", "replace").lower().removesuffix("."), {})[address] = None
        self._addresses = addresses
        self._looked_up.clear()


class ResolvConf(NamedTuple):
    """What /etc/resolv.conf (resolv.conf(5)) says that matters to absolute names.

    servers   (IP text, port)
    rotate    ask them in turn, not always the first one first
    only_tcp  ask them over TCP alone
    """

    servers: list[tuple[str, int]]
    rotate: bool = False
    only_tcp: bool = False


def read_resolv_conf(path: str = RESOLV_CONF) -> ResolvConf:
    """Raises OSError where something is there that cannot be read."""
    servers: dict[tuple[str, int], None] = {}
    options: set[bytes] = set()
    lines: list[bytes] = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        lines = read_lines(path)
    for line in lines:
        words = line.split()
        if len(words) > 1 and words[0] == b"nameserver" and len(servers) < MOST_SERVERS:
            with contextlib.suppress(ValueError):
                servers[str(ip_address(words[1].decode("ascii"))), DNS_PORT] = None
        elif words and words[0] == b"options":
            options.update(words[1:])
    return ResolvConf(list(servers), b"rotate" in options, b"use-vc" in options)
