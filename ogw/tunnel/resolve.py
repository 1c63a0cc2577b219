"""Step 3 of the path, its first half: names to addresses.

/etc/hosts first, then DNS through c-ares, never through a thread. Names are absolute: a search domain that answers
everything (Kubernetes' ndots:5) must not come first, and a final dot would skip /etc/hosts in c-ares, hence NOSEARCH.
A and AAAA are asked separately, so that a server which is silent on one does not delay the other.
"""

import _socket
import os
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any, Optional

from gevent.hub import get_hub
from gevent.resolver.cares import channel

from ogw.policy.decision import Reason

HOSTS, RESOLV_CONF = "/etc/hosts", "/etc/resolv.conf"
LOOK_AGAIN = 1.0  # seconds between two looks at whether those files changed
# ares.h: no search domains, no HOSTALIASES from the environment, EDNS as by default.
NOSEARCH, NOALIASES, EDNS = 1 << 5, 1 << 6, 1 << 8
ARES_ECONNREFUSED, ARES_ETIMEOUT = 11, 12
TRIES = 3
# c-ares keeps an answer for its TTL, without a bound on how many: a client asking for random names under a `*.` rule
# would fill it, so the channel is made anew after this many look-ups.
LOOKUPS_PER_CHANNEL = 20_000
FAMILIES = (_socket.AF_INET6, _socket.AF_INET)


class WatchedFile:
    """Whether a file changed since the last look; looked at once per LOOK_AGAIN at the most."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._looked = -LOOK_AGAIN
        self._seen: Any = ()

    def changed(self) -> bool:
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


class Hosts:
    """/etc/hosts (hosts(5)), read again when it changes.

    Ours rather than c-ares', which goes on to ask DNS for the address family that the file does not have.
    """

    def __init__(self, path: str = HOSTS) -> None:
        self._file = WatchedFile(path)
        self._addresses: dict[str, list[str]] = {}

    def look_up(self, name: str) -> Optional[list[str]]:
        if self._file.changed():
            self._addresses = self._read()
        return self._addresses.get(name)

    def _read(self) -> dict[str, list[str]]:
        addresses: dict[str, list[str]] = {}
        try:
            with open(self._file.path, "rb") as file:
                lines = file.read().split(b"\n")
        except OSError:
            return addresses
        for line in lines:
            words = line.split(b"#", 1)[0].split()
            try:
                address = str(ip_address(words[0].decode("ascii")))
            except (IndexError, ValueError):
                continue
            for name in words[1:]:
                known = addresses.setdefault(name.decode("ascii", "replace").lower().removesuffix("."), [])
                if address not in known:
                    known.append(address)
        return addresses


class Lookup:
    """What is known so far of one name's addresses; it grows until `done`.

    addresses  IPv6 and IPv4 texts in turn, IPv6 first (RFC 8305, section 4)
    failure    once done without any address: the reason, DNS_ERROR or DNS_TIMEOUT, and a sentence in `detail`
    unheard    no server said anything, not even that there is no such name
    """

    def __init__(self, name: str, known: Optional[Sequence[str]] = None) -> None:
        self.name = name
        self.by_family: dict[int, list[str]] = {}
        self.done = known is not None
        self.detail = ""
        self.failure = Reason.DNS_ERROR
        self.unheard = False
        self._watchers: list[Callable[[], object]] = []
        if known is not None:
            self.by_family = {
                _socket.AF_INET6: [a for a in known if ":" in a],
                _socket.AF_INET: [a for a in known if ":" not in a],
            }

    @property
    def addresses(self) -> list[str]:
        six, four = (self.by_family.get(family, []) for family in FAMILIES)
        if not six or not four:
            return six or four
        both = [address for pair in zip(six, four, strict=False) for address in pair]
        shorter = min(len(six), len(four))
        return both + six[shorter:] + four[shorter:]

    def watch(self, changed: Callable[[], object]) -> None:
        """Call `changed` from the hub whenever more is known."""
        self._watchers.append(changed)

    def unwatch(self, changed: Callable[[], object]) -> None:
        self._watchers.remove(changed)

    def answered(self, family: int, found: list[str], error: Optional[OSError]) -> None:
        """One family's answer is here."""
        self.by_family[family] = found
        if error is not None:
            timed_out = error.errno == ARES_ETIMEOUT
            self.unheard = timed_out or error.errno == ARES_ECONNREFUSED
            self.failure = Reason.DNS_TIMEOUT if timed_out else Reason.DNS_ERROR
            self.detail = f"{self.name}: {error.strerror}"
        self.done = len(self.by_family) == len(FAMILIES)
        for changed in tuple(self._watchers):
            changed()


class Resolver:
    """Looks names up; many who want the same name wait for one look-up.

    servers  (IP text, port) pairs, one port for all (settings.py sees to it); empty: those of /etc/resolv.conf,
             which is read again when it changes
    timeout  seconds; the caller's own deadline, from which the times of c-ares' tries follow
    """

    def __init__(self, servers: Sequence[tuple[str, int]], timeout: float, hosts: Optional[Hosts] = None) -> None:
        self._servers = servers
        self._timeout = timeout
        self._hosts = hosts or Hosts()
        self._resolv_conf = WatchedFile(RESOLV_CONF)
        self._channel: Any = None
        self._asked = 0  # look-ups on this channel
        self._closed = False
        self._flying: dict[str, Lookup] = {}

    def look_up(self, name: str) -> Lookup:
        """`name` is a canonical DNS name, never anything that looks like an address (inet_aton forms)."""
        known = self._hosts.look_up(name)
        if known is not None:
            return Lookup(name, known)
        flying = self._flying.get(name)
        if flying is not None:
            return flying
        lookup = Lookup(name)
        self._flying[name] = lookup
        asked = self._fresh_channel()
        for family in FAMILIES:
            asked.ask(lookup, family)
        if self._closed:
            self._retire()
        return lookup

    def _fresh_channel(self) -> "_Channel":
        changed = not self._servers and self._resolv_conf.changed()
        if self._channel is None or changed or self._asked >= LOOKUPS_PER_CHANNEL:
            self._retire()
            self._channel = _Channel(self._servers, self._timeout, self._landed)
            self._asked = 0
        self._asked += 1
        channel: _Channel = self._channel
        return channel

    def _landed(self, lookup: Lookup) -> None:
        if lookup.done:
            self._flying.pop(lookup.name, None)

    def _retire(self) -> None:
        if self._channel is not None:
            self._channel.retire()
            self._channel = None

    def close(self) -> None:
        """It is replaced by another. Who has it still may go on to look names up, but it keeps nothing any more."""
        self._closed = True
        self._retire()


class _Channel:
    """One c-ares channel. When it is retired it lives on until what it was asked is answered.

    It must be retired: gevent's destructor fails on one that the garbage collector finds.
    """

    def __init__(self, servers: Sequence[tuple[str, int]], timeout: float, landed: Callable[[Lookup], None]) -> None:
        options: dict[str, Any] = {"timeout": max(timeout / (TRIES + 1), 0.1), "tries": TRIES}
        if servers:
            options["servers"] = [address for address, _ in servers]
            options["udp_port"] = options["tcp_port"] = servers[0][1]
        self._loop = get_hub().loop
        self._ares = channel(self._loop, flags=NOSEARCH | NOALIASES | EDNS, **options)
        self._landed = landed
        self._pending = 0
        self._retired = False

    def ask(self, lookup: Lookup, family: int) -> None:
        def answer(result: Any) -> None:
            self._pending -= 1
            found: list[str] = []
            error = result.exception
            if error is None:
                found = list(dict.fromkeys(entry[4][0] for entry in result.value))
            lookup.answered(family, found, error)
            self._landed(lookup)
            self._destroy_if_idle()

        self._pending += 1
        self._ares.getaddrinfo(answer, lookup.name.encode("ascii"), None, family, _socket.SOCK_STREAM)

    def retire(self) -> None:
        self._retired = True
        self._destroy_if_idle()

    def _destroy_if_idle(self) -> None:
        if self._retired and not self._pending:
            # Not from inside a callback of the channel itself.
            self._loop.run_callback(self._ares.destroy)
