"""The command that lets pass what was refused: one function of the policy, for the page, status and explain alike.

Its texts are made of what was parsed, never of what strangers sent, and each is quoted: it is pasted into a shell.
"""

import shlex
from collections.abc import Callable, Sequence
from typing import NamedTuple, Optional

from ogw.policy.decision import Reason
from ogw.policy.hosts import Match, Policy
from ogw.policy.index import parse_client
from ogw.policy.names import NOBODY, Names, name_text, writable
from ogw.policy.networks import Network
from ogw.policy.rules import Rule, time_text
from ogw.wire.connect import BadTarget, Target, parse_target

MOST_NETWORKS = 4  # in a command
NOT_IN_A_FILE = ("-", "OGW_")  # how the sources of rules begin that no command can remove: flags and variables

_OF_TARGETS = (
    Reason.HOST_NOT_ALLOWED,
    Reason.PORT_NOT_ALLOWED,
    Reason.ADDRESS_NOT_ALLOWED,
    Reason.SERVER_NAME_MISSING,
)


class Asked(NamedTuple):
    """What was refused.

    reason     its token
    client     IP text
    target     host:port; "" for none, or for many
    addresses  those of the target that may not be dialed, as IP text; none where they are not known: for a refusal
               before that nothing is looked up, unless somebody asks who may (`ogw explain`)
    at         Unix seconds for which it is asked; None: now
    named      what else is to be allowed: as in report/refusals.py
    names      in the certificate that the client has shown
    by_name    the INI file takes rules that name clients so
    """

    reason: str
    client: str
    target: str = ""
    addresses: Sequence[str] = ()
    at: Optional[float] = None
    named: str = ""
    names: Names = NOBODY
    by_name: bool = True


def command_for(
    policy: Policy, asked: Asked, flags: str = "", is_own: Callable[[str, int], bool] = lambda _address, _port: False
) -> Optional[str]:
    """The command, or several joined by &&, that would let such a request pass; None where there is none.

    flags   " --config FILE" and the like, that name the gateway (settings/named.py)
    is_own  whether the gateway itself listens there, which no rule allows
    """
    edits = _edits(policy, asked, is_own)
    return " && ".join(f"ogw {edit}{flags}" for edit in edits) + " --reload" if edits else None


def _edits(policy: Policy, asked: Asked, is_own: Callable[[str, int], bool]) -> list[str]:
    if asked.reason == Reason.CLIENT_NOT_ALLOWED.token:
        return _edits_of_client(policy, asked, is_own)
    if asked.reason == Reason.CLIENT_CERTIFICATE_NOT_ALLOWED.token:
        return [f"allowed-client-certificate add {shlex.quote(asked.named)}"] if asked.named else []
    if asked.reason not in {reason.token for reason in _OF_TARGETS}:
        return []
    try:
        target = parse_target(asked.target.encode())
    except BadTarget:
        return []
    addresses = asked.addresses or ([target.host] if target.address is not None else [])
    reachable = [address for address in addresses if not is_own(address, target.port)]
    if not reachable and (addresses or asked.reason == Reason.ADDRESS_NOT_ALLOWED.token):
        return []
    denying = policy.denying(target, asked.client, reachable, asked.at)
    if any(rule.source.startswith(NOT_IN_A_FILE) for rule in denying):
        return []
    rule = _rule_for(policy, asked, target, reachable)
    if "from=" in rule and writable(asked.names) and not asked.by_name:
        return []  # by its address it would be a rule for others, too
    removals = " ".join(shlex.quote(text) for text in dict.fromkeys(map(str, denying)))
    return [
        *([f"denied-host remove {removals}"] if removals else []),
        *([f"allowed-host add {shlex.quote(rule)}"] if rule else []),
    ]


def _edits_of_client(policy: Policy, asked: Asked, is_own: Callable[[str, int], bool]) -> list[str]:
    """For the client, and for the target that it would be refused next; none where nothing would help with that."""
    edit = f"config add allowed-client {shlex.quote(str(parse_client(asked.client)))}"
    try:
        target = parse_target(asked.named.encode())
    except BadTarget:
        return [edit]
    decision = policy.judge_target(target, asked.client, asked.at, asked.names)
    addresses = asked.addresses or ([target.host] if target.address is not None else [])
    if decision.allowed and addresses:
        judged = [
            policy.judge_address(one, target.port, asked.client, decision.to, asked.at)
            for one in addresses
            if not is_own(one, target.port)
        ]
        if not judged:
            return []
        decision = next((one for one in judged if one.allowed), judged[0])
    if decision.allowed:
        return [edit]
    more = _edits(policy, asked._replace(reason=decision.reason.token, target=asked.named), is_own)
    return [edit, *more] if more else []


def _rule_for(policy: Policy, asked: Asked, target: Target, addresses: Sequence[str]) -> str:
    """The rule that is missing beside those that hold: for this target alone, and where they make a difference between
    clients, for this client alone. "" where they do.

    Where none holds, it gets what those that match would give: one that has ended, is for others or for another port.
    """
    matches = [match for match in policy.matches(target, asked.client, asked.at, asked.names) if not match.denies]
    alive = [match.rule for match in matches if not match.obstacle]
    matching = alive or [match.rule for match in matches]
    to = tuple(dict.fromkeys(network for rule in matching for network in rule.to))
    refused = [address for address in addresses if not policy.guard.judge(address, to).allowed]
    nameless = any(rule.no_server_name for rule in matching)
    is_missed = asked.reason == Reason.SERVER_NAME_MISSING.token
    if alive and not refused and (nameless or not is_missed):
        return ""
    words = [_pattern(policy, asked, target)]
    words += [f"from={_who(asked)}"] if _is_of_clients(matches, alive) else []
    words += [f"to={_text(network)}" for network in (() if alive else to)]
    words += [f"to={address}" for address in refused[:MOST_NETWORKS]]
    ends = [rule.until for rule in alive if rule.until is not None]
    words += [f"until={time_text(max(ends))}"] if ends and len(ends) == len(alive) else []  # what ends goes on to end
    needs_it = is_missed or (nameless and not alive) or (policy.needs_no_server_name(target) and not nameless)
    words += ["no-server-name"] if needs_it else []
    return " ".join(words)


def _who(asked: Asked) -> str:
    """The client, as from= has it: by a name of its certificate, if it has one that can be written."""
    name = writable(asked.names)
    return name_text(name) if name else str(parse_client(asked.client))


def _text(network: Network) -> str:
    return str(network.network_address if network.num_addresses == 1 else network)


def _pattern(policy: Policy, asked: Asked, target: Target) -> str:
    usual = target.port in policy.ports and asked.reason != Reason.PORT_NOT_ALLOWED.token
    return target.host if usual else str(target)


def _is_of_clients(matches: Sequence[Match], alive: Sequence[Rule]) -> bool:
    """The list makes a difference between clients, and goes on doing so."""
    others = [match.rule for match in matches if match.obstacle]
    return any(map(_is_limited, others)) or (bool(alive) and all(map(_is_limited, alive)))


def _is_limited(rule: Rule) -> bool:
    return bool(rule.clients or rule.names)
