"""Which host rules would have let pass what was refused: the smallest set, and never wider than what was asked for."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import collapse_addresses, ip_network
from typing import Optional

from ogw.policy.decision import Decision, Reason
from ogw.policy.hosts import Policy
from ogw.policy.index import parse_client
from ogw.policy.names import COMMON_NAME, is_name, writable
from ogw.policy.networks import Network
from ogw.policy.rules import Kind, Rule, parse_rules
from ogw.policy.subjects import common_names
from ogw.wire.address import unmapped
from ogw.wire.connect import BadTarget, Target, parse_target

MOST = 200_000  # pairs of a client and a target that are looked at
MANY = 5  # names below one name, from which on a star rule is worth a word


@dataclass
class Tally:
    """What was refused, how often, whom, and when.

    clients  address, or a name of the client's certificate -> how often
    seen     (one of these, gateway) -> how often it saw that; nothing where nobody says which it was
    first    Unix seconds of the first and of the last; None where nothing says it
    detail   what was said of the last
    """

    clients: Counter[str] = field(default_factory=Counter)
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)
    first: Optional[float] = None
    last: Optional[float] = None
    detail: str = ""

    @property
    def count(self) -> int:
        return self.clients.total()

    @property
    def gateways(self) -> Counter[str]:
        """Which gateways saw it, and how often."""
        counts: Counter[str] = Counter()
        for (_client, gateway), count in self.seen.items():
            counts[gateway] += count
        return counts

    def add(
        self,
        client: str,
        count: int,
        first: Optional[float],
        last: Optional[float],
        detail: str = "",
        gateway: str = "",
    ) -> None:
        self.clients[client] += count
        if gateway:
            self.seen[client, gateway] += count
        self._widen(first, last)
        self.detail = detail

    def _widen(self, first: Optional[float], last: Optional[float]) -> None:
        if first is not None:
            self.first = first if self.first is None else min(self.first, first)
        if last is not None:
            self.last = last if self.last is None else max(self.last, last)

    def of(self, clients: Iterable[str]) -> "Tally":
        """The same of these clients alone."""
        chosen = Counter({client: self.clients[client] for client in clients})
        seen = Counter({pair: count for pair, count in self.seen.items() if pair[0] in chosen})
        return Tally(chosen, seen, self.first, self.last)

    def __or__(self, other: "Tally") -> "Tally":
        both = Tally(self.clients + other.clients, self.seen + other.seen, self.first, self.last)
        both._widen(other.first, other.last)
        return both


@dataclass(frozen=True)
class Suggestion:
    """A rule, and the refusals that it would have prevented."""

    rule: Rule
    refused: Tally


@dataclass
class Suggestions:
    """What follows from all that was refused.

    rules      to be added to the allowed hosts; the most often refused first
    denied     targets that the denied hosts name: no rule would let them pass
    allowed    how many refusals were of what is allowed by now
    addresses  targets whose addresses the guard refuses; a rule needs to=
    clients    addresses of clients that may not ask at all
    several    more than one gateway saw all this
    """

    rules: list[Suggestion] = field(default_factory=list)
    denied: dict[str, Tally] = field(default_factory=dict)
    allowed: int = 0
    addresses: dict[str, Tally] = field(default_factory=dict)
    clients: dict[str, Tally] = field(default_factory=dict)
    several: bool = False

    def families(self) -> dict[str, int]:
        """Names of which a star rule would cover many of these, and how many."""
        names = {one.rule.name for one in self.rules if one.rule.kind is Kind.NAME}
        parents = Counter(name.partition(".")[2] for name in names)
        return {parent: count for parent, count in parents.most_common() if count >= MANY and "." in parent}


class Learner:
    """Gathers refusals, and makes suggestions of them.

    policy   the one in force: what it allows by now is not suggested
    denied   its denied hosts, and `ports` those that a rule without a port allows
    strange  refusals that name no target or client that there could be
    beyond   those that came when MOST were known
    """

    def __init__(self, policy: Policy, denied: Sequence[Rule] = (), ports: Collection[int] = (443,)) -> None:
        self._policy = policy
        self._denied = denied
        self._ports = frozenset(ports)
        self._targets: dict[Target, Tally] = {}
        self._addresses: dict[Target, Tally] = {}
        self._clients: dict[str, Tally] = {}
        self._places: dict[str, str] = {}  # name of a certificate -> the last address that it came from
        self._gateways: set[str] = set()
        self._pairs = 0
        self.strange = 0
        self.beyond = 0

    def add(
        self,
        reason: str,
        client: str,
        target: str,
        count: int = 1,
        first: Optional[float] = None,
        last: Optional[float] = None,
        detail: str = "",
        subject: str = "",
        gateway: str = "",
    ) -> bool:
        """One or several equal refusals, as a log tells them; whether they are of a kind that matters here.

        subject  of the client's certificate
        gateway  that saw it
        """
        of_targets = {
            Reason.HOST_NOT_ALLOWED.token: self._targets,
            Reason.PORT_NOT_ALLOWED.token: self._targets,
            Reason.ADDRESS_NOT_ALLOWED.token: self._addresses,
        }.get(reason)
        if of_targets is None and reason != Reason.CLIENT_NOT_ALLOWED.token:
            return False
        try:
            address = _address_of(client)
            parsed = None if of_targets is None else _plain(parse_target(target.encode()))
        except (ValueError, BadTarget):
            self.strange += count
            return True
        if of_targets is None:
            known = self._clients.get(address)
        else:
            assert parsed is not None
            known = of_targets.get(parsed)
            address = self._named(address, subject)
        if known is None or address not in known.clients:
            if self._pairs >= MOST:
                self.beyond += count
                return True
            self._pairs += 1
        if known is None:
            known = Tally()
            if of_targets is None:
                self._clients[address] = known
            else:
                assert parsed is not None
                of_targets[parsed] = known
        known.add(address, count, first, last, detail, gateway)
        self._gateways.add(gateway)
        return True

    def _named(self, address: str, subject: str) -> str:
        """As what the client is known here: by a common name that a rule can have, else by its address."""
        name = writable(f"{COMMON_NAME}{one}" for one in common_names(subject)) if subject else ""
        if not name:
            return address
        self._places[name] = address
        return name

    def _judge(self, policy: Policy, target: Target, client: str) -> Decision:
        place = self._places.get(client)
        if place is None:
            return policy.judge_target(target, client)
        return policy.judge_target(target, place, None, frozenset((client,)))

    def suggestions(self, per_client: bool = False) -> Suggestions:
        """What follows. `per_client`: rules hold for the clients that asked, and for no others."""
        suggestions = Suggestions(several=len(self._gateways) > 1)
        candidates = {target: _rule_for(target, target.port, False) for target in self._targets}
        if_added = Policy([rule for rule in candidates.values() if _can_be_written(rule)], self._denied, self._ports)
        by_host: dict[Target, dict[int, Tally]] = {}
        for target, refused in self._targets.items():
            still = [client for client in refused.clients if not self._is_allowed(target, client)]
            suggestions.allowed += refused.count - refused.of(still).count
            helped = dict.fromkeys(client for client in still if self._judge(if_added, target, client).allowed)
            if len(helped) < len(still):
                suggestions.denied[str(target)] = refused.of(client for client in still if client not in helped)
            guarded = self._guarded(target)
            if guarded and helped:
                suggestions.addresses[str(target)] = replace(refused.of(helped), detail=guarded)
            elif helped:
                by_host.setdefault(target._replace(port=0), {})[target.port] = refused.of(helped)
        for host, ports in by_host.items():
            suggestions.rules += self._rules_of(host, ports, per_client)
        suggestions.rules.sort(key=lambda one: (-one.refused.count, str(one.rule)))
        suggestions.addresses |= {str(target): refused for target, refused in self._addresses.items()}
        suggestions.clients = {
            client: refused
            for client, refused in self._clients.items()
            if not self._policy.judge_client(client).allowed
        }
        return suggestions

    def _is_allowed(self, target: Target, client: str) -> bool:
        decision = self._judge(self._policy, target, client)
        passes = decision.no_server_name or not self._policy.needs_no_server_name(target)
        return decision.allowed and decision.reported is None and passes

    def _guarded(self, target: Target) -> str:
        """Why the address guard refuses a target that is an address, whatever rule it has; "" where it does not."""
        return "" if target.address is None else self._policy.guard.judge(target.host).detail

    def _rules_of(self, host: Target, ports: dict[int, Tally], per_client: bool) -> list[Suggestion]:
        """A rule without a port allows all the allowed ports: it is right only where each of them was asked for."""
        made: list[Suggestion] = []
        nameless = self._policy.needs_no_server_name(host)
        usual = [ports[port] for port in self._ports if port in ports]
        alike = not per_client or len({frozenset(refused.clients) for refused in usual}) == 1
        if usual and len(usual) == len(self._ports) and alike:
            together = usual[0]
            for refused in usual[1:]:
                together |= refused
            made.append(Suggestion(_rule_for(host, None, nameless, together if per_client else None), together))
            ports = {port: refused for port, refused in ports.items() if port not in self._ports}
        for port, refused in ports.items():
            made.append(Suggestion(_rule_for(host, port, nameless, refused if per_client else None), refused))
        return made


def _plain(target: Target) -> Target:
    """IPv4 as IPv4, also where it was asked for inside IPv6: the rule for both is one."""
    address = target.address and unmapped(target.address)
    return target if address is target.address else Target(str(address), target.port, address)


def _rule_for(target: Target, port: Optional[int], nameless: bool, refused: Optional[Tally] = None) -> Rule:
    """For all, or for those alone that were refused; with no-server-name, where it is `nameless`."""
    clients = () if refused is None else _networks(client for client in refused.clients if not is_name(client))
    names = () if refused is None else tuple(sorted(filter(is_name, refused.clients)))
    if target.address is not None:
        network = ip_network(target.address)
        return Rule(Kind.NETWORK, network=network, port=port, clients=clients, names=names, no_server_name=nameless)
    return Rule(Kind.NAME, target.host, port=port, clients=clients, names=names)


def _can_be_written(rule: Rule) -> bool:
    """What is read back is what was meant."""
    return parse_rules(str(rule), "") == ([rule], [])


def _networks(clients: Iterable[str]) -> tuple[Network, ...]:
    """Networks that hold the clients and nobody else."""
    networks = [ip_network(client) for client in clients]
    return tuple(sorted(
        (network for version in (4, 6) for network in collapse_addresses(
            [one for one in networks if one.version == version]  # type: ignore[type-var]
        )), key=str,
    ))  # fmt: skip


def _address_of(client: str) -> str:
    """The canonical address of a client from its text, with a port or without. Raises ValueError."""
    if client[:1] == "[":
        client = client[1:].partition("]")[0]
    elif client.count(":") == 1:
        client = client.partition(":")[0]
    return str(parse_client(client))
