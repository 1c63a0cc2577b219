"""Step 3 of the path: which way leads to a target, straight or through which relay proxies. No relay proxy's health
matters here: that one failed is no reason to go straight."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Optional

from ogw.policy.index import HostIndex, holds, obstacle
from ogw.policy.relay_entry import RelayEntry
from ogw.policy.rules import Rule
from ogw.wire.connect import Target
from ogw.wire.relay_proxy import RelayProxy

Clock = Callable[[], float]  # Unix seconds


class Way(NamedTuple):
    """Through relay proxies, each by its place in Ways.proxies; straight where there is none.

    named    those whose entry names the target; they are asked first
    general  those that take any target
    """

    named: tuple[int, ...] = ()
    general: tuple[int, ...] = ()


STRAIGHT = Way()


class Ways:
    """Those that entries of relay-proxy and relay-proxy-bypass say, of the gateway's own stage.

    proxies  the relay proxies, in order of preference; each once
    """

    def __init__(self, entries: Sequence[RelayEntry], bypass: Sequence[Rule] = ()) -> None:
        self.proxies: tuple[RelayProxy, ...] = tuple(dict.fromkeys(entry.proxy for entry in entries))
        self._entries = [
            (entry, self.proxies.index(entry.proxy), HostIndex(entry.rules)) for entry in entries if entry.rules
        ]
        takes_any = dict.fromkeys(entry.proxy for entry in entries if not entry.rules)
        self._all = Way((), tuple(self.proxies.index(proxy) for proxy in takes_any))
        self._bypass = HostIndex(bypass) if bypass else None

    def of(self, target: Target, client: str, clock: Clock = time.time) -> Way:
        """The way of this client (IP text) to the target."""
        if self._bypass is not None and self._bypass.covers(target, client, clock):
            return STRAIGHT
        if not self._entries:
            return self._all
        naming = (place for _, place, index in self._entries if _naming(index, target, client, clock))
        named = tuple(dict.fromkeys(naming))
        if not named:
            return self._all
        return Way(named, tuple(place for place in self._all.general if place not in named))

    def bypassing(self, target: Target, client: str, clock: Clock = time.time) -> Optional[Rule]:
        """The rule of relay-proxy-bypass by which it goes straight."""
        return None if self._bypass is None else _holding(self._bypass, target, client, clock)

    def naming(self, target: Target, client: str, clock: Clock = time.time) -> list[tuple[RelayEntry, Rule]]:
        """The entries that name it, and by which rule."""
        found = ((entry, _naming(index, target, client, clock)) for entry, _, index in self._entries)
        return [(entry, rule) for entry, rule in found if rule is not None]

    def passing_by(self, target: Target, client: str, clock: Clock = time.time) -> list[tuple[RelayEntry, Rule, str]]:
        """Entries with a rule that covers it, of which none holds: the first such rule, and what its obstacle is."""
        found = []
        for entry, _, index in self._entries:
            covering = index.find(target, in_any_form=True)
            obstacles = [obstacle(rule, rule.port in (None, target.port), client, clock) for rule in covering]
            if obstacles and all(obstacles):
                found.append((entry, covering[0], obstacles[0]))
        return found

    def named_for(self, place: int) -> list[str]:
        """The host rules of the targets that this relay proxy is for; none where it is for any."""
        if place in self._all.general:
            return []
        return [rule.text for entry, by, _ in self._entries if by == place for rule in entry.rules]

    def is_over(self, proxy: RelayProxy, clock: Clock = time.time) -> bool:
        """Whether it is for targets that entries name, and all of these have ended."""
        rules = [rule for entry, _by, _index in self._entries if entry.proxy == proxy for rule in entry.rules]
        is_general = self.proxies.index(proxy) in self._all.general
        return not is_general and all(rule.until is not None and rule.until <= clock() for rule in rules)

    def may_lead(self, place: int, target: Target) -> bool:
        """Whether tunnels of some client to the target go through this relay proxy, before any other."""
        if self._bypass is not None and _covering(self._bypass, target):
            return False
        naming = [by for _, by, index in self._entries if _covering(index, target, in_any_form=True)]
        return place in naming if naming else place in self._all.general


def _covering(index: HostIndex, target: Target, in_any_form: bool = False) -> list[Rule]:
    return [rule for rule in index.find(target, in_any_form) if rule.port in (None, target.port)]


def _holding(
    index: HostIndex, target: Target, client: str, clock: Callable[[], float], in_any_form: bool = False
) -> Optional[Rule]:
    covering = _covering(index, target, in_any_form)
    return next((rule for rule in covering if holds(rule, client, clock)), None)


def _naming(index: HostIndex, target: Target, client: str, clock: Callable[[], float]) -> Optional[Rule]:
    """Of an entry. An IPv4 address in a form of IPv6 is named, too: no way of writing it leads past its relay proxy."""
    return _holding(index, target, client, clock, in_any_form=True)
