"""What is allowed by lists from elsewhere: presets, files, downloaded lists, the agent on this machine."""

import os
from collections.abc import Mapping, Sequence, Set
from typing import Any, NamedTuple, Optional

from ogw.language.messages import gettext as _
from ogw.machine.files import shown
from ogw.policy.rules import Rule, parse_rules
from ogw.policy.subjects import Pattern
from ogw.settings import listen_tls
from ogw.settings.elsewhere import agent, preset
from ogw.settings.elsewhere import source as sources
from ogw.settings.elsewhere.host_list import MOST_RULES, BadList
from ogw.settings.elsewhere.kept import Kept, read_url
from ogw.settings.elsewhere.signature import name_of
from ogw.wire.url import shown_url

Seen = tuple[tuple[Any, ...], ...]
OF_TLS = tuple(name.replace("-", "_") for name in listen_tls.NAMES)  # files, watched as well


class Sourced(NamedTuple):
    """The rules that one value of a setting gives.

    setting  "preset", "allowed-host-source" or "agent-config"
    where    the value, as it may be shown
    value    as it is set; "" for all of agent-config
    """

    setting: str
    where: str
    rules: tuple[Rule, ...]
    value: str = ""


class Mistake(NamedTuple):
    """What is wrong with what this value of a setting names."""

    setting: str
    sentence: str
    value: str


class Elsewhere(NamedTuple):
    """All of it.

    certificates   common names of the agents' certificates
    agent_missing  why agent-config gives nothing; "" where it does, or is not set
    kept           by each URL of a list: what there is to tell of its last good copy; None for none
    """

    sourced: tuple[Sourced, ...]
    certificates: tuple[Pattern, ...]
    agent_missing: str
    mistakes: tuple[Mistake, ...]
    warnings: tuple[str, ...]
    kept: Mapping[str, Optional[Kept]]


def gather(values: Mapping[str, Any], wrong: Set[str] = frozenset()) -> Elsewhere:
    """Read all that the settings name.

    values  those of a Config, by the names of its fields
    wrong   names of settings that have a wrong value, which is not among these
    """
    mistakes: list[Mistake] = []
    warnings: list[str] = []
    sourced = _of_presets(values, wrong, mistakes, warnings)
    max_size, keys = values["source_max_size"], values["allowed_host_source_key"]
    kept: dict[str, Optional[Kept]] = {}
    for source in dict.fromkeys(values["allowed_host_source"]):
        try:
            if sources.is_url(source):
                _require_name(source, keys)
                rules, kept[source], told = read_url(source, values["state_dir"], max_size, keys)
                warnings += told
            else:
                rules = sources.read_files(source, max_size)
                empty = _("allowed-host-source: {path}: the file is empty, so nothing is allowed by it")
                warnings += [empty.format(path=shown(path)) for path in sources.empty_files(source)]
        except BadList as bad:
            mistakes += [Mistake("allowed-host-source", one, source) for one in bad.mistakes]
        else:
            place = shown_url(source)
            if sum(len(one.rules) for one in sourced) + len(rules) <= MOST_RULES:
                sourced.append(Sourced("allowed-host-source", place, rules, source))
                continue
            too_many = _(
                "allowed-host-source: {place}: with it there are more than {most} host rules; it is left out"
            ).format(place=place, most=MOST_RULES)
            if sources.is_url(source):  # a list that somebody else made longer stops nothing
                warnings.append(too_many)
            else:
                mistakes.append(Mistake("allowed-host-source", too_many, source))
    found = agent.read_agent(values["agent_config"]) if values["agent_config"] else agent.Agent()
    mistakes += [
        Mistake("agent-config", f"agent-config: {one}", _place_of(one, values["agent_config"]))
        for one in found.mistakes
    ]
    if found.rules:
        sourced.append(Sourced("agent-config", ", ".join(values["agent_config"]), found.rules))
    if keys and not any(map(sources.is_url, values["allowed_host_source"])):
        warnings.append(_("allowed-host-source-key does nothing: it is for lists from URLs, and there is none"))
    return Elsewhere(tuple(sourced), found.certificates, found.missing, tuple(mistakes), tuple(warnings), kept)


def _require_name(url: str, keys: Sequence[str]) -> None:
    """Raises BadList where it is to be signed, and nobody can say as what."""
    if keys and name_of(url) is None:
        told = _("allowed-host-source: {url}: a signed list has a name, which is the last part of its URL, and here is "
                 "none; give it one behind a #, as in https://lists.example.com/#hosts.txt")  # fmt: skip
        raise BadList([told.format(url=shown_url(url))])


def _place_of(mistake: str, places: Sequence[str]) -> str:
    """The one of the places of agents that the file lies in which a mistake begins with."""
    return max((place for place in places if mistake.startswith(shown(place))), key=len, default=agent.AUTO)


def _of_presets(
    values: Mapping[str, Any], wrong: Set[str], mistakes: list[Mistake], warnings: list[str]
) -> list[Sourced]:
    folder, names = values["presets_folder"], list(dict.fromkeys(values["preset"]))
    known: dict[str, preset.Preset] = preset.presets() if names else {}
    count = len(mistakes)
    try:
        known = preset.presets(folder) if folder else known
    except OSError as error:
        mistakes.append(Mistake("presets-folder", f"presets-folder: {folder}: {error.strerror}", folder))
    except preset.BadPreset as bad:
        mistakes += [Mistake("presets-folder", f"presets-folder: {one}", folder) for one in bad.mistakes]
    is_read = len(mistakes) == count  # else what is not known may stand in the folder
    given = {name: values[name.replace("-", "_")] for name in preset.PARAMETERS}
    sourced = []
    used: set[str] = set()
    for name in names:
        if name not in known:
            told = _("preset: {name} is not known; there are {known}").format(name=ascii(name), known=", ".join(known))
            mistakes += [Mistake("preset", told, name)] if is_read else []
            continue
        used.update(known[name].parameters)
        if wrong & {"cloud", *known[name].parameters}:
            continue  # what it gives, or needs, is not known
        try:
            rules, bad_rules = parse_rules("\n".join(known[name].expand(values["cloud"], given)), known[name].source)
            if bad_rules:
                raise preset.BadPreset(
                    [_("{preset} gives no rule with these values: {mistake}").format(preset=name, mistake=bad_rules[0])]
                )
        except preset.BadPreset as bad:
            mistakes += [Mistake("preset", f"preset: {one}", name) for one in bad.mistakes]
        else:
            sourced.append(Sourced("preset", name, tuple(rules), name))
    warnings += [
        _("{name}: no preset that is set uses it").format(name=name)
        for name, texts in given.items()
        if texts and name not in used
    ]
    return sourced


def seen(values: Mapping[str, Any]) -> Seen:
    """What the files of lists and TLS places look like just now, their links followed: it changes when any does."""
    paths: list[str] = []
    for source in values["allowed_host_source"]:
        if not sources.is_url(source):
            paths += _files(sources.files_of, source)
    if values["presets_folder"]:
        paths += _files(preset.files_of, values["presets_folder"])
    paths += agent.files_of(values["agent_config"])[: agent.MOST + 1]
    paths += filter(None, map(values.__getitem__, OF_TLS))
    return tuple(map(look, paths))


def _files(files_of: Any, place: str) -> list[str]:
    try:
        return [place, *files_of(place)]
    except OSError:
        return [place]


def look(path: str) -> tuple[Any, ...]:
    """The same of one file, and of who may read it: one that is made readable is another one."""
    try:
        status = os.stat(path)
    except OSError:
        return path, None
    # A mode stays as it is where a list of access control, an owner or a label is changed; st_ctime does not.
    who = status.st_mode, status.st_ctime_ns
    return path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, *who
