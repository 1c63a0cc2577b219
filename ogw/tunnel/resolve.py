"""Step 3 of the path, its first half: names to addresses.

/etc/hosts first, then DNS, never through a thread. Names are absolute: a search domain that answers everything
(Kubernetes' ndots:5) must not come first. A and AAAA are asked separately, so that a server which is silent on one does
not delay the other. What was learned is kept as long as the DNS says (RFC 2308 for what is not there), within bounds.
"""

import _socket
import time
from collections.abc import Sequence
from functools import partial
from typing import Optional

from ogw.policy.decision import Reason
from ogw.tunnel.descriptors import NO_DESCRIPTORS
from ogw.tunnel.lookup import FAMILIES, Found, Lookup
from ogw.tunnel.name_files import RESOLV_CONF, Hosts, ResolvConf, WatchedFile, read_resolv_conf
from ogw.tunnel.question import Servers
from ogw.wire.dns import AAAA, A

KINDS = {_socket.AF_INET6: AAAA, _socket.AF_INET: A}
LOCALHOST = ("::1", "127.0.0.1")
NO_DNS_SERVER = ("127.0.0.1", 53)  # who is asked where resolv.conf names nobody (resolv.conf(5))
# A client that asks for random names under a `*.` rule may fill what is bounded, and no more.
MOST_KEPT = 10_000  # names
MOST_KEPT_BYTES = 8 * 1024 * 1024
NAME_BYTES, ADDRESS_BYTES = 1500, 110  # about what a name costs, and each of its addresses
MOST_FLYING = 10_000  # names that are being looked up
LONGEST = 3600.0  # seconds for which addresses are kept, whatever their TTL
LONGEST_NOTHING = 300.0  # the same for what is not there
SHORT = 5.0  # the same where one family has addresses and nothing says how long the other has none


class Kept:
    """Look-ups that are done, for as long as they hold; where there are too many, the one used longest ago goes."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._kept: dict[str, tuple[float, int, Lookup]] = {}
        self._bytes = 0

    def find(self, name: str) -> Optional[Lookup]:
        entry = self._kept.get(name)
        if entry is None:
            return None
        self._drop(name)
        if entry[0] <= time.monotonic():
            return None
        self._kept[name] = entry  # now it is the one used last
        self._bytes += entry[1]
        return entry[2]

    def keep(self, lookup: Lookup, seconds: float) -> None:
        if seconds <= 0:
            return
        if lookup.name in self._kept:
            self._drop(lookup.name)
        size = NAME_BYTES + ADDRESS_BYTES * sum(map(len, lookup.by_family.values()))
        self._kept[lookup.name] = time.monotonic() + seconds, size, lookup
        self._bytes += size
        while len(self._kept) > self._most or self._bytes > self._most_bytes:
            self._drop(next(iter(self._kept)))

    def clear(self) -> None:
        self._kept.clear()
        self._bytes = 0

    def _drop(self, name: str) -> None:
        self._bytes -= self._kept.pop(name)[1]

    def __len__(self) -> int:
        return len(self._kept)


def kept_for(found: Sequence[Found]) -> float:
    """For how many seconds what was found of all families holds. What failed is not kept: it may work at once."""
    some = any(one.addresses for one in found)
    times = []
    for one in found:
        if one.addresses and one.seconds is not None:
            times.append(min(float(one.seconds), LONGEST))
        elif one.failure is None and one.seconds is not None:
            times.append(min(float(one.seconds), LONGEST_NOTHING))
        else:
            times.append(SHORT if some else 0.0)
    return min(times)


class Resolver:
    """Looks names up; many who want the same name wait for one look-up.

    servers     (IP text, port) pairs; empty: those of /etc/resolv.conf, which is read again when it changes
    timeout     seconds; the caller's own deadline, from which the times of all tries follow
    most        names that are kept, and the bytes that they may take
    """

    def __init__(
        self,
        servers: Sequence[tuple[str, int]],
        timeout: float,
        hosts: Optional[Hosts] = None,
        most: tuple[int, int] = (MOST_KEPT, MOST_KEPT_BYTES),
    ) -> None:
        self._timeout = timeout
        self._hosts = hosts or Hosts()
        self._resolv_conf = None if servers else WatchedFile(RESOLV_CONF)
        self._servers = Servers(ResolvConf(list(servers) or [NO_DNS_SERVER]), timeout)
        self._flying: dict[str, Lookup] = {}
        self._closed = False
        self.kept = Kept(*most)

    def look_up(self, name: str) -> Lookup:
        """`name` is a canonical DNS name, never anything that looks like an address (inet_aton forms)."""
        known = self._hosts.look_up(name)
        if known is not None:
            return known
        if self._resolv_conf is not None and self._resolv_conf.poll():
            self._read_resolv_conf(self._resolv_conf)
        kept = self.kept.find(name)
        if kept is not None:
            return kept
        flying = self._flying.get(name)
        if flying is not None:
            return flying
        if name == "localhost" or name.endswith(".localhost"):
            return Lookup(name, LOCALHOST)  # RFC 6761, section 6.3
        return self._ask(Lookup(name))

    def _ask(self, lookup: Lookup) -> Lookup:
        if lookup.name.endswith(".onion") or len(self._flying) >= MOST_FLYING:  # RFC 7686, section 2
            onion = lookup.name.endswith(".onion")
            failure = Reason.DNS_ERROR if onion else Reason.DNS_TIMEOUT
            detail = "there is no such name in DNS" if onion else f"{MOST_FLYING} other names wait for an answer"
            for family in FAMILIES:
                lookup.answered(family, Found([], None, failure, detail))
            return lookup
        self._flying[lookup.name] = lookup
        servers = self._servers
        all_found: list[Found] = []

        def answered(family: int, found: Found) -> None:
            all_found.append(found)
            lookup.answered(family, found)
            if lookup.done:
                if self._flying.get(lookup.name) is lookup:  # else resolv.conf changed, and a younger one flies
                    del self._flying[lookup.name]
                if servers is self._servers and not self._closed:
                    self.kept.keep(lookup, kept_for(all_found))
                else:
                    # They retired while this was asked of them, and asking went on: from ports that they had, or opened
                    # since, of which one is current and would stay open for ever. What they say is not kept: another
                    # server may know better, or know other names.
                    servers.rest()

        for family in FAMILIES:
            servers.ask(lookup.name, KINDS[family], partial(answered, family))
        return lookup

    def _read_resolv_conf(self, file: WatchedFile) -> None:
        try:
            conf = read_resolv_conf(file.path)
        except OSError as error:
            if error.errno in NO_DESCRIPTORS:
                file.look_again()
                return
            conf = ResolvConf([])
        self._servers.rest()
        self._servers = Servers(conf._replace(servers=conf.servers or [NO_DNS_SERVER]), self._timeout)
        self._flying.clear()  # who waits goes on waiting, but nobody else for what another server says
        self.kept.clear()

    @property
    def keeps_case(self) -> bool:
        """No DNS server was seen to change letters, so that a forged answer has to guess them."""
        return self._servers.keep_case

    def close(self) -> None:
        """It is replaced by another. Who has it still may go on to look names up, but it keeps nothing any more."""
        self._closed = True
        self.kept.clear()
        self._servers.rest()
