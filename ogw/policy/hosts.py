"""Step 2 of the path: which client may go to which host and port. Deny beats allow; the order never matters."""

import hashlib
import math
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from ipaddress import ip_address
from typing import NamedTuple, Optional

from ogw.policy.addresses import AddressGuard
from ogw.policy.decision import ALLOW, Decision, Reason
from ogw.policy.index import HostIndex, holds, obstacle, parse_client
from ogw.policy.names import NOBODY, Names, shown
from ogw.policy.networks import Network, Networks, merged
from ogw.policy.rules import Rule, of_stage, time_text
from ogw.policy.tls_rules import Mode, TlsRules
from ogw.wire.connect import Target


class Match(NamedTuple):
    """A rule whose pattern covers a target's host.

    denies    it is one of the denied hosts
    obstacle  why it does not hold for a request, as index.py has it, or "stage" where the gateway is of another one;
              "" where it holds
    """

    rule: Rule
    denies: bool
    obstacle: str


class Policy:
    """Everything that may refuse a tunnel. Ten thousand rules cost as much as ten.

    ports            those that a rule without a port of its own allows
    clients          networks that clients may come from; empty: all
    target_networks  networks that any target's addresses may lie in although the address guard would refuse them
    tls              what is asked of a TLS session once the tunnel is open
    report_until     until then (Unix seconds) what no rule allows is only reported, and passes; None: never
    stage            of the gateway: rules of other stages are left out; "": of none
    """

    def __init__(
        self,
        allowed: Sequence[Rule],
        denied: Sequence[Rule] = (),
        ports: Collection[int] = (443,),
        clients: Collection[Network] = (),
        target_networks: Collection[Network] = (),
        tls: Optional[TlsRules] = None,
        report_until: Optional[float] = None,
        stage: str = "",
    ) -> None:
        self.stage = stage
        self._allowed_elsewhere = HostIndex(rule for rule in allowed if rule.stage not in ("", stage))
        self._denied_elsewhere = HostIndex(rule for rule in denied if rule.stage not in ("", stage))
        allowed, denied = of_stage(allowed, stage), of_stage(denied, stage)
        self._allowed = HostIndex(allowed)
        self._denied = HostIndex(denied)
        self._denies = bool(denied)
        self._names_hosts = any(rule.network is None for rule in allowed)
        self._denies_networks = any(rule.network is not None for rule in denied)
        self.ports = frozenset(ports)
        self._clients: Optional[Networks[bool]] = Networks((network, True) for network in clients) if clients else None
        self.guard = AddressGuard(target_networks)
        self.tls = tls or TlsRules()
        self._report_until = report_until
        lists: list[Sequence[object]] = [sorted(self.ports), merged(clients), merged(target_networks)]
        lists.append(self.tls.texts())
        if report_until is not None:
            lists.append(["report", report_until])
        self.hash = _hash(allowed, denied, *lists)

    def judge_client(self, client: str) -> Decision:
        """May this client (IP text, as the socket says it) ask at all?"""
        if self._clients is None or self._clients.find(parse_client(client)):
            return ALLOW
        return Decision(
            False, Reason.CLIENT_NOT_ALLOWED, f"{client} is in no network of allowed-client; add it there to let it in"
        )

    def judge_target(self, target: Target, client: str, now: Optional[float] = None, names: Names = NOBODY) -> Decision:
        """May this client go to this target?

        now    in Unix seconds; None reads the clock where an end is set
        names  in the client's certificate
        """
        clock = time.time if now is None else lambda: now
        port = target.port
        for rule in self._denied.find(target, in_any_form=True) if self._denies else ():
            if (rule.port is None or rule.port == port) and holds(rule, client, clock):
                return Decision(False, Reason.HOST_NOT_ALLOWED, f"{target} is denied by {rule} ({rule.source})")
        rules = self._allowed.find_allowing(target)
        usual = port in self.ports
        holding = [r for r in rules if (usual if r.port is None else r.port == port) and holds(r, client, clock, names)]
        if not holding:
            refusal = self._refusal(target, client, rules, clock, names)
            if self._report_until is None or clock() >= self._report_until:
                return refusal
            return Decision(True, Reason.ALLOWED, refusal.detail, reported=refusal, until=self._report_until)
        return _union(holding)

    def needs_no_server_name(self, target: Target) -> bool:
        """No TLS session to it can pass unless a rule of it says no-server-name: an address is no server name."""
        tls = self.tls
        if target.address is None or tls.mode is not Mode.ENFORCE:
            return False
        return not (tls.any_allowed_host and self._names_hosts)

    def dead_end(self, target: Target, client: str, decision: Decision, now: Optional[float] = None) -> Decision:
        """Why no TLS session can pass a tunnel to this target that was opened by this decision; ALLOW where one can."""
        tls, clock = self.tls, time.time if now is None else lambda: now
        if self.needs_no_server_name(target) and not decision.no_server_name:
            detail = f"no session can pass: {target.host} is an address, which is no server name; no-server-name in "
            return Decision(False, Reason.SERVER_NAME_MISSING, f"{detail}its rule would let those without one pass")
        if tls.mode is Mode.ENFORCE and tls.sees_no_certificate and tls.subjects_for(target, client, clock) is not None:
            detail = "no session can pass: TLS 1.3 encrypts client certificates, and tls-min-version allows no older "
            detail += "one; take the target out of client-certificate-hosts, or set unseen-client-certificate = allow"
            return Decision(False, Reason.CLIENT_CERTIFICATE_UNSEEN, detail)
        return ALLOW

    def judge_address(
        self, address: str, port: int, client: str, to: tuple[Network, ...] = (), now: Optional[float] = None
    ) -> Decision:
        """May this address (IP text) of a target that is allowed be dialed?

        The guard and the denied hosts say it; `to` holds networks that the guard allows this time.
        """
        if self._denies_networks:
            decision = self.denied_address(address, port, client, now)
            if not decision.allowed:
                return decision
        return self.guard.judge(address, to)

    def denied_address(self, address: str, port: int, client: str, now: Optional[float] = None) -> Decision:
        """The same, by the denied hosts alone: they name networks, too."""
        rules = self._denying_address(address, port, client, now)
        if not rules:
            return ALLOW
        detail = f"{address} is denied by {rules[0]} ({rules[0].source})"
        return Decision(False, Reason.ADDRESS_NOT_ALLOWED, detail)

    def _denying_address(self, address: str, port: int, client: str, now: Optional[float]) -> list[Rule]:
        clock = time.time if now is None else lambda: now
        rules = self._denied.find_networks(ip_address(address))
        return [rule for rule in rules if rule.port in (None, port) and holds(rule, client, clock)]

    def denying(
        self, target: Target, client: str, addresses: Iterable[str] = (), now: Optional[float] = None
    ) -> list[Rule]:
        """Every rule that denies this target, or one of these addresses of it (IP text): all of them stand in its way.

        One that differs in its source alone is another one.
        """
        rules = [match.rule for match in self.matches(target, client, now) if match.denies and not match.obstacle]
        for address in addresses:
            rules += self._denying_address(address, target.port, client, now)
        return list({(str(rule), rule.source): rule for rule in rules}.values())

    def matches(self, target: Target, client: str, now: Optional[float] = None, names: Names = NOBODY) -> list[Match]:
        """Every rule that judge_target looks at for this target, those that deny first; then those of other stages."""
        clock = time.time if now is None else lambda: now
        denied, allowed = self._denied.find(target, in_any_form=True), self._allowed.find_allowing(target)
        return [
            *(Match(rule, True, obstacle(rule, rule.port in (None, target.port), client, clock)) for rule in denied),
            *(
                Match(rule, False, obstacle(rule, self._port_fits(rule, target.port), client, clock, names))
                for rule in allowed
            ),
            *(Match(rule, True, "stage") for rule in self._denied_elsewhere.find(target, in_any_form=True)),
            *(Match(rule, False, "stage") for rule in self._allowed_elsewhere.find_allowing(target)),
        ]

    def _nameless(self, target: Target) -> str:
        """What a rule for it has at its end, lest it open tunnels that no session can pass."""
        return " no-server-name" if self.needs_no_server_name(target) else ""

    def _to(self, target: Target) -> str:
        """What the rule of an address has to have where the guard would refuse it."""
        is_free = target.address is None or self.guard.judge(target.host).allowed
        return "" if is_free else f" to={target.host}"

    def _port_fits(self, rule: Rule, port: int) -> bool:
        return port in self.ports if rule.port is None else rule.port == port

    def _refusal(
        self, target: Target, client: str, rules: list[Rule], clock: Callable[[], float], names: Names
    ) -> Decision:
        """Why none of the rules that match the host allows the target, and what would."""
        if not rules:
            near = self._allowed.just_above(target)
            wanted = target.host if target.port in self.ports else str(target)
            hint = f"allowed-host = {wanted}{self._to(target)}{self._nameless(target)} would allow it"
            if near is not None:
                hint = f"{near} ({near.source}) covers only names below it; .{near.name} would cover both"
            for rule in self._allowed_elsewhere.find_allowing(target)[:1]:
                hint = f"there is a rule for it, {rule} ({rule.source}), but of stage {rule.stage}, and this gateway "
                hint += f"is of stage {self.stage}" if self.stage else "is of none"
            return Decision(False, Reason.HOST_NOT_ALLOWED, f"{target.host} is not in the allowed hosts; {hint}")
        for rule in rules:
            if self._port_fits(rule, target.port):
                continue
            if holds(rule, client, clock, names):
                alive = [one for one in rules if holds(one, client, clock, names)]
                ports = sorted({port for one in alive for port in ((one.port,) if one.port else self.ports)})
                allowed = ", ".join(str(port) for port in ports)
                return Decision(
                    False,
                    Reason.PORT_NOT_ALLOWED,
                    f"port {target.port} of {target.host} is not allowed, only {allowed}; "
                    f"allowed-host = {target}{self._to(target)}{self._nameless(target)} would allow it",
                )
        fit = [one for one in rules if self._port_fits(one, target.port) and holds(one, client, lambda: 0.0, names)]
        rule = max(fit, key=lambda one: one.until or 0.0, default=rules[0])  # of those that ended, the last one
        if rule.until is not None and clock() >= rule.until:
            why = f"its rule {rule} ({rule.source}) ended at {time_text(rule.until)}"
        else:
            why = f"its rule {rule} ({rule.source}) is for other clients than {shown(client, names)}"
            if rule.names and not names:
                why += ", which showed no certificate"
        return Decision(False, Reason.HOST_NOT_ALLOWED, f"{target.host} is not allowed: {why}")


def _union(rules: list[Rule]) -> Decision:
    """What rules that hold allow together."""
    more = [rule for rule in rules if rule.to or rule.no_server_name or rule.until is not None]  # than to go there
    if not more:
        return ALLOW
    if len(more) == 1:
        (only,) = more
        until = math.inf if only.until is None else only.until
        return Decision(True, Reason.ALLOWED, "", only.to, only.no_server_name, until=until)
    to = tuple(dict.fromkeys(network for rule in more for network in rule.to))
    until = min((rule.until for rule in more if rule.until is not None), default=math.inf)
    return Decision(True, Reason.ALLOWED, "", to, any(rule.no_server_name for rule in more), until=until)


def _hash(allowed: Iterable[Rule], denied: Iterable[Rule], *lists: Sequence[object]) -> str:
    """Eight hexadecimal digits that name a policy, whatever the order, the notes and the stages of its rules."""
    texts = [sorted({f"{rule.port} {rule.text}" for rule in rules}) for rules in (allowed, denied)]
    return hashlib.sha256(repr([*texts, *lists]).encode()).hexdigest()[:8]
