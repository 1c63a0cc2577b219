"""What an edit of a list leaves as it was: another rule has the last word, or the gateway has a value of its own."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Optional

from ogw.language.messages import gettext as _
from ogw.policy.index import HostIndex
from ogw.policy.rules import Kind, Rule, of_stage
from ogw.service.admin.shapes import GivenValue
from ogw.settings.editing import Outcome
from ogw.settings.loader import LONGEST_SHOWN, NOTHING_ALLOWED, ConfigError, load
from ogw.settings.setting import DEFAULT, PREFIX, Setting
from ogw.settings.settings import SETTINGS, Config
from ogw.settings.value import meaning_or_none, split
from ogw.wire.connect import Target

Own = Mapping[str, Sequence[GivenValue]]  # by the setting's name

_LISTS_OF_HOSTS = ("allowed-host", "denied-host")
_RULES = (*_LISTS_OF_HOSTS, "allowed-port", "stage", "policy-mode", "report-until")
_GROUPS = {SETTINGS[name].group for name in ("allowed-host", "preset")}
_OF_HOSTS = tuple(name for name, setting in SETTINGS.items() if setting.group in _GROUPS)

ANY = "any-name"  # stands for the names that a star or a dot covers


def in_force(outcome: Outcome, own: Optional[Own]) -> Optional[Config]:
    """What decides with the file as it is now; None where that is wrong, and where nothing is to be said of it.

    own  what the running gateway has from flags and variables of its own; None where none said it: then the variables
         of this shell count, which in a container are the gateway's, too
    """
    if not outcome.asked and not outcome.warnings:
        return None
    file = ["--config", outcome.path if os.path.exists(outcome.path) else os.devnull]
    others = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    # What a list from elsewhere names may not be there for whoever edits: the rules themselves are there.
    for names in (_OF_HOSTS, _RULES):
        flags, variables = ([], os.environ) if own is None else _given(own, names)
        try:
            return load([*file, *flags], variables if own is None else {**others, **variables})
        except ConfigError:
            continue
    return None


def _given(own: Own, names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """These settings, as flags and variables give them again."""
    given = [one for name in names for one in own.get(name, ())]
    flags = [f"{one['source']}={one['value']}" for one in given if one["source"].startswith("--")]
    return flags, {one["source"]: one["value"] for one in given if not one["source"].startswith("--")}


def warnings_in_force(outcome: Outcome, own: Optional[Own], config: Optional[Config]) -> list[str]:
    """Those of the edit, but for the one that the running gateway's own values make untrue."""
    nothing = _(NOTHING_ALLOWED)
    is_untrue = own is not None and config is not None and nothing not in config.warnings
    return [warning for warning in outcome.warnings if not (is_untrue and warning == nothing)]


def told_of_others(outcome: Outcome, own: Optional[Own], config: Optional[Config]) -> list[str]:
    """A sentence for each rule that was to be added or removed, and of which another one has the last word.

    config  what decides (`in_force`)
    """
    asked = [one for one in outcome.asked if one[0] in _LISTS_OF_HOSTS]
    if not asked or config is None:
        return []  # mistakes are told
    allowed = HostIndex(of_stage([*config.allowed_host, *config.sourced_hosts], config.stage))
    denied = HostIndex(of_stage(config.denied_host, config.stage))
    is_told = own is not None
    return list(dict.fromkeys(_sentences(asked, outcome.path, config, allowed, denied, is_told)))


def told_of_own(outcome: Outcome, own: Own) -> list[str]:
    """A sentence for each flag and variable of the running gateway that has a value which the edit took away."""
    told = _("the running gateway goes on with {name} = {values}: it has that from {source}")
    sentences = []
    for name in outcome.names:
        setting = SETTINGS[name]
        if not setting.listed or (name in _LISTS_OF_HOSTS and name not in outcome.whole):
            continue  # of hosts, `told_of_others` knows more
        gone = [text.partition(" ")[2] for text in outcome.removed if text.startswith(f"{name} ")]
        for given in own.get(name, ()):
            values = [one for one in split(setting, given["value"]) if _stays(setting, one, gone, outcome)]
            if values:
                shown = ", ".join(values)
                shown = shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}..."
                sentences.append(told.format(name=name, values=shown, source=given["source"]))
    return sentences


def _stays(setting: Setting, value: str, gone: Sequence[str], outcome: Outcome) -> bool:
    """The edit was to take this away."""
    if setting.name not in outcome.whole:
        return any(_holds(setting, value, one) for one in gone)
    given = () if outcome.config is None else outcome.config.origins[setting.name]
    left = [one for text in given if text.source != DEFAULT for one in split(setting, text.text)]
    return not any(_means(setting, one) == _means(setting, value) for one in left)


def _holds(setting: Setting, value: str, gone: str) -> bool:
    """With this value, the other one holds on: it is the same, or a network around it."""
    there, taken = _means(setting, value), _means(setting, gone)
    if isinstance(there, (IPv4Network, IPv6Network)) and isinstance(taken, (IPv4Network, IPv6Network)):
        return there.version == taken.version and taken.subnet_of(there)  # type: ignore[arg-type]
    return there is not None and bool(there == taken)


def _means(setting: Setting, value: str) -> Any:
    there = meaning_or_none(setting, value)
    return replace(there, until=None) if isinstance(there, Rule) else there


def _sentences(
    asked: list[tuple[str, Rule, bool]],
    path: str,
    config: Config,
    allowed: HostIndex,
    denied: HostIndex,
    of_gateway: bool,
) -> Iterator[str]:
    for name, rule, added in asked:
        removed_from = "" if added else path
        denying, allowing = (_other(index, rule, config, removed_from) for index in (denied, allowed))
        # Whoever allows, or takes back what denies, wants it to pass; whoever takes back what allows, that it does not.
        if denying is not None and (name == "allowed-host") == added:
            told = _("{pattern} is denied, by {rule} ({source}); denied hosts take precedence over allowed ones")
            yield told.format(pattern=rule.pattern, rule=denying, source=_place(denying, of_gateway))
        elif denying is None and allowing is not None and name == "allowed-host" and not added:
            told = _("{pattern} is still allowed, by {rule} ({source})")
            yield told.format(pattern=rule.pattern, rule=allowing, source=_place(allowing, of_gateway))


def _place(rule: Rule, of_gateway: bool) -> str:
    """Where it stands; of a flag or a variable, whose it is."""
    if of_gateway and rule.source.startswith(("--", PREFIX)) and ":" not in rule.source:
        return _("{source} of the running gateway").format(source=rule.source)
    return rule.source


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
