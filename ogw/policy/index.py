"""The rules that cover a target, found without going through them."""

import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import IPv6Network, ip_address
from typing import Optional

from ogw.policy.addresses import carried
from ogw.policy.names import NOBODY, Names
from ogw.policy.networks import Networks
from ogw.policy.rules import Kind, Rule
from ogw.wire.address import Address, unmapped
from ogw.wire.connect import Target


class HostIndex:
    """Rules by what they match. No look-up goes through a list that grows with the number of different patterns."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._names: dict[str, list[Rule]] = {}
        self._below: dict[str, list[Rule]] = {}
        # Name behind the first label -> lengths of the affixes -> the affixes -> rules.
        self._starred: dict[str, dict[tuple[int, int], dict[tuple[str, str], list[Rule]]]] = {}
        self._networks: Networks[Rule] = Networks()
        self._rules = tuple(rules)
        for rule in self._rules:
            self._add(rule)

    def _add(self, rule: Rule) -> None:
        if rule.network is not None:
            self._networks.add(rule.network, rule)
        if rule.kind in (Kind.NAME, Kind.BOTH):
            self._names.setdefault(rule.name, []).append(rule)
        if rule.kind in (Kind.BELOW, Kind.BOTH):
            self._below.setdefault(rule.name, []).append(rule)
        if rule.kind is Kind.STARRED:
            prefix, postfix = rule.affixes
            by_affixes = self._starred.setdefault(rule.name, {}).setdefault((len(prefix), len(postfix)), {})
            by_affixes.setdefault(rule.affixes, []).append(rule)

    def find(self, target: Target, in_any_form: bool = False) -> list[Rule]:
        """The rules whose pattern covers the target's host, whatever their port and attributes.

        in_any_form  an IPv6 address that carries an IPv4 one is covered by rules for either
        """
        address = target.address
        if address is not None:
            return self.find_networks(address) if in_any_form else self._networks.find(address)
        host = target.host
        rules = list(self._names.get(host, ()))
        label, dot, name = host.partition(".")
        if dot and self._starred:
            rules += self._find_starred(label, name)
        while dot and self._below:
            rules += self._below.get(name, ())
            _label, dot, name = name.partition(".")
        return rules

    def find_allowing(self, target: Target) -> list[Rule]:
        """The same of rules that allow: IPv4 inside IPv6 (::ffff:192.0.2.1) is that IPv4 address, which is where it
        leads, and as which a rule is read that names it. What carries one otherwise (NAT64) may lead elsewhere."""
        rules = self.find(target)
        if target.address is None or (plain := unmapped(target.address)) is target.address:
            return rules
        return rules + self._networks.find(plain)

    def find_networks(self, address: Address) -> list[Rule]:
        """The rules that cover an address, or the IPv4 address that it carries."""
        inside = carried(address)
        rules = self._networks.find(address)
        return rules if inside is None else rules + self._networks.find(inside)

    def _find_starred(self, label: str, name: str) -> list[Rule]:
        rules: list[Rule] = []
        for (before, behind), by_affixes in self._starred.get(name, {}).items():
            if before + behind <= len(label):
                affixes = label[:before], label[len(label) - behind :]
                rules += by_affixes.get(affixes, ())
        return rules

    def covers(
        self, target: Target, client: str, clock: Callable[[], float] = time.time, in_any_form: bool = False
    ) -> bool:
        """Whether a rule that holds for this client covers the target, its port included; `clock` gives Unix seconds"""
        rules = self.find(target, in_any_form)
        return any(rule.port in (None, target.port) and holds(rule, client, clock) for rule in rules)

    def texts(self) -> list[str]:
        """What every rule says, sorted, for the policy's hash."""
        return sorted(rule.text for rule in self._rules)

    def just_above(self, target: Target) -> Optional[Rule]:
        """A `*.name` rule for exactly the target's host: what somebody wrote who meant the name as well."""
        return next(iter(self._below.get(target.host, ())), None)


def holds(rule: Rule, client: str, clock: Callable[[], float], names: Names = NOBODY) -> bool:
    """Whether its time and its clients fit: one of this address (IP text), with these names in its certificate."""
    if rule.until is not None and clock() >= rule.until:
        return False
    if rule.names:
        if not names.isdisjoint(rule.names):
            return True
    elif not rule.clients:
        return True
    address = parse_client(client)
    return any(address in network for network in rule.clients)


def obstacle(rule: Rule, port_fits: bool, client: str, clock: Callable[[], float], names: Names = NOBODY) -> str:
    """Why a rule whose pattern covers a target does not hold for a request: "port", "until", "from"; "": it does."""
    if not port_fits:
        return "port"
    if rule.until is not None and clock() >= rule.until:
        return "until"
    return "" if holds(rule, client, clock, names) else "from"


@lru_cache(maxsize=4096)
def parse_client(client: str) -> Address:
    """The address of a peer from its text; an interface behind % is left out, and IPv4 is IPv4 in any form."""
    return unmapped(ip_address(client.partition("%")[0]))


def client_network(client: str, ipv6_prefix: int) -> str:
    """As what a client is counted: its address, and for IPv6 the network that one machine has for itself.

    ipv6_prefix  its length, 64 as a rule. Link-local addresses share one network, so each is a client of its own.
    """
    return client if ":" not in client else _ipv6_network(client, ipv6_prefix)


@lru_cache(maxsize=4096)
def _ipv6_network(client: str, prefix: int) -> str:
    address = parse_client(client)
    if address.version == 4:
        return str(address)
    if address.is_link_local or prefix == 128:
        return client
    return str(IPv6Network((int(address), prefix), strict=False))
