"""What an edit of a list of hosts leaves as it was: another rule has the last word, and still allows or denies it."""

import os
import time
from collections.abc import Iterator
from typing import Optional

from ogw.language.messages import gettext as _
from ogw.policy.index import HostIndex
from ogw.policy.rules import Kind, Rule, of_stage
from ogw.settings.editing import Outcome
from ogw.settings.loader import ConfigError, load
from ogw.settings.settings import Config
from ogw.wire.connect import Target

ANY = "any-name"  # stands for the names that a star or a dot covers


def told_of_others(outcome: Outcome) -> list[str]:
    """A sentence for each rule that was to be added or removed, and of which another one has the last word."""
    asked = [one for one in outcome.asked if one[0] in ("allowed-host", "denied-host")]
    if not asked:
        return []
    try:
        config = load(["--config", outcome.path if os.path.exists(outcome.path) else os.devnull], os.environ)
    except ConfigError:
        return []  # its mistakes are told
    allowed = HostIndex(of_stage([*config.allowed_host, *config.sourced_hosts], config.stage))
    denied = HostIndex(of_stage(config.denied_host, config.stage))
    return list(dict.fromkeys(_sentences(asked, outcome.path, config, allowed, denied)))


def _sentences(
    asked: list[tuple[str, Rule, bool]], path: str, config: Config, allowed: HostIndex, denied: HostIndex
) -> Iterator[str]:
    for name, rule, added in asked:
        removed_from = "" if added else path
        denying, allowing = (_other(index, rule, config, removed_from) for index in (denied, allowed))
        # Whoever allows, or takes back what denies, wants it to pass; whoever takes back what allows, that it does not.
        if denying is not None and (name == "allowed-host") == added:
            told = _("{pattern} is denied, by {rule} ({source}); denied hosts take precedence over allowed ones")
            yield told.format(pattern=rule.pattern, rule=denying, source=denying.source)
        elif denying is None and allowing is not None and name == "allowed-host" and not added:
            told = _("{pattern} is still allowed, by {rule} ({source})")
            yield told.format(pattern=rule.pattern, rule=allowing, source=allowing.source)


def _other(index: HostIndex, rule: Rule, config: Config, removed_from: str) -> Optional[Rule]:
    """One that holds now for what the rule covers; not the rule itself where it is removed from this file."""
    for target in _samples(rule):
        for other in index.find(target, in_any_form=True):
            is_itself = bool(removed_from) and other == rule and other.source.startswith(f"{removed_from}:")
            if not is_itself and _overlap(other, rule, config):
                return other
    return None


def _samples(rule: Rule) -> list[Target]:
    """Targets that stand for all that it covers."""
    if rule.network is not None:
        return [Target(str(rule.network.network_address), 0, rule.network.network_address)]
    before, behind = rule.affixes
    first = {
        Kind.NAME: [""],
        Kind.BELOW: [f"{ANY}."],
        Kind.BOTH: ["", f"{ANY}."],
        Kind.STARRED: [f"{before}{ANY}{behind}."],
    }
    return [Target(prefix + rule.name, 0) for prefix in first[rule.kind]]


def _overlap(other: Rule, rule: Rule, config: Config) -> bool:
    """It holds now, on a port of the rule and for clients of the rule, and covers the whole network."""
    ports = set(config.allowed_port) if rule.port is None else {rule.port}
    if other.port is not None and other.port not in ports:
        return False
    if other.until is not None and other.until <= time.time():
        return False
    if other.network is not None and rule.network is not None and other.network.prefixlen > rule.network.prefixlen:
        return False
    return _share_clients(other, rule)


def _share_clients(other: Rule, rule: Rule) -> bool:
    if not (other.clients or other.names) or not (rule.clients or rule.names):
        return True
    pairs = ((one, two) for one in other.clients for two in rule.clients)
    return bool(set(other.names) & set(rule.names)) or any(
        one.version == two.version and one.overlaps(two) for one, two in pairs
    )
