"""Step 2 of the path: which client may go to which host and port. Deny beats allow; the order never matters."""

import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_address
from typing import Optional

from ogw.policy.addresses import AddressGuard, carried
from ogw.policy.decision import ALLOW, Decision, Reason
from ogw.policy.networks import Address, Network, Networks
from ogw.policy.rules import Kind, Rule
from ogw.wire.connect import Target


class Policy:
    """Everything that may refuse a tunnel before it is open. Ten thousand rules cost as much as ten.

    ports            those a rule without a port of its own allows
    clients          networks that clients may come from; empty: all
    target_networks  networks that any target's addresses may lie in although the address guard would refuse them
    """

    def __init__(
        self,
        allowed: Sequence[Rule],
        denied: Sequence[Rule] = (),
        ports: Collection[int] = (443,),
        clients: Collection[Network] = (),
        target_networks: Collection[Network] = (),
    ) -> None:
        self._allowed = _Index(allowed)
        self._denied = _Index(denied)
        self._ports = frozenset(ports)
        self._clients: Optional[Networks[bool]] = Networks((network, True) for network in clients) if clients else None
        self.guard = AddressGuard(target_networks)
        self.hash = _hash(allowed, denied, sorted(ports), sorted(map(str, clients)), sorted(map(str, target_networks)))

    def judge_client(self, client: str) -> Decision:
        """May this client (IP text, as the socket says it) ask at all?"""
        if self._clients is None or self._clients.find(parse_client(client)):
            return ALLOW
        return Decision(
            False, Reason.CLIENT_NOT_ALLOWED, f"{client} is in no network of allowed-client; add it there to let it in"
        )

    def judge_target(self, target: Target, client: str, now: Optional[float] = None) -> Decision:
        """May this client go to this target? `now` is in Unix seconds; None reads the clock where a rule has until=."""
        clock = time.time if now is None else lambda: now
        for rule in self._denied.find(target, in_any_form=True):
            if (rule.port is None or rule.port == target.port) and _holds(rule, client, clock):
                return Decision(False, Reason.HOST_NOT_ALLOWED, f"{target} is denied by {rule} ({rule.source})")
        rules = self._allowed.find(target)
        holding = [rule for rule in rules if self._port_fits(rule, target.port) and _holds(rule, client, clock)]
        if not holding:
            return self._refusal(target, client, rules, clock)
        if len(holding) == 1 and not holding[0].to and not holding[0].no_server_name:
            return ALLOW
        to = tuple(dict.fromkeys(network for rule in holding for network in rule.to))
        return Decision(True, Reason.ALLOWED, "", to, any(rule.no_server_name for rule in holding))

    def _port_fits(self, rule: Rule, port: int) -> bool:
        return port in self._ports if rule.port is None else rule.port == port

    def _refusal(self, target: Target, client: str, rules: list[Rule], clock: Callable[[], float]) -> Decision:
        """Why none of the rules that match the host allows the target, and what would."""
        host = f"[{target.host}]" if ":" in target.host else target.host
        if not rules:
            near = self._allowed.just_above(target)
            hint = f"allowed-host = {target.host} would allow it"
            if near is not None:
                hint = f"{near} ({near.source}) covers only names below it; .{near.name} would cover both"
            return Decision(False, Reason.HOST_NOT_ALLOWED, f"{target.host} is not in the allowed hosts; {hint}")
        for rule in rules:
            if self._port_fits(rule, target.port):
                continue
            if _holds(rule, client, clock):
                ports = sorted({port for rule in rules for port in ((rule.port,) if rule.port else self._ports)})
                allowed = ", ".join(str(port) for port in ports)
                return Decision(
                    False,
                    Reason.PORT_NOT_ALLOWED,
                    f"port {target.port} of {target.host} is not allowed, only {allowed}; "
                    f"allowed-host = {host}:{target.port} would allow it",
                )
        rule = rules[0]
        if rule.until is not None and clock() >= rule.until:
            ended = datetime.fromtimestamp(rule.until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            why = f"its rule {rule} ({rule.source}) ended at {ended}"
        else:
            why = f"its rule {rule} ({rule.source}) is for other clients than {client}"
        return Decision(False, Reason.HOST_NOT_ALLOWED, f"{target.host} is not allowed: {why}")


class _Index:
    """Rules by what they match. No look-up goes through a list that grows with the number of different patterns."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._names: dict[str, list[Rule]] = {}
        self._below: dict[str, list[Rule]] = {}
        # Name behind the first label -> lengths of the affixes -> the affixes -> rules.
        self._starred: dict[str, dict[tuple[int, int], dict[tuple[str, str], list[Rule]]]] = {}
        self._networks: Networks[Rule] = Networks()
        for rule in rules:
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
            found = self._networks.find(address)
            inside = carried(address) if in_any_form else None
            return found if inside is None else found + self._networks.find(inside)
        host = target.host
        found = list(self._names.get(host, ()))
        dot = host.find(".")
        if dot > 0 and self._starred:
            found += self._find_starred(host[:dot], host[dot + 1 :])
        while dot > 0 and self._below:
            found += self._below.get(host[dot + 1 :], ())
            dot = host.find(".", dot + 1)
        return found

    def _find_starred(self, label: str, name: str) -> list[Rule]:
        found: list[Rule] = []
        for (before, behind), by_affixes in self._starred.get(name, {}).items():
            if before + behind <= len(label):
                affixes = label[:before], label[len(label) - behind :]
                found += by_affixes.get(affixes, ())
        return found

    def just_above(self, target: Target) -> Optional[Rule]:
        """A `*.name` rule for exactly the target's host: what somebody wrote who meant the name as well."""
        return next(iter(self._below.get(target.host, ())), None)


def _holds(rule: Rule, client: str, clock: Callable[[], float]) -> bool:
    if rule.until is not None and clock() >= rule.until:
        return False
    if not rule.clients:
        return True
    address = parse_client(client)
    return any(address in network for network in rule.clients)


@lru_cache(maxsize=4096)
def parse_client(client: str) -> Address:
    """The address of a peer from its text; an interface behind % is left out, and IPv4 is IPv4 in any form."""
    address = ip_address(client.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def _hash(allowed: Iterable[Rule], denied: Iterable[Rule], *lists: Sequence[object]) -> str:
    """Eight hexadecimal digits that name a policy, whatever the order and the notes of its rules."""
    texts = [sorted(f"{rule.port} {_without_note(rule)}" for rule in rules) for rules in (allowed, denied)]
    return hashlib.sha256(repr([*texts, *lists]).encode()).hexdigest()[:8]


def _without_note(rule: Rule) -> str:
    return str(rule).partition(" note=")[0]
