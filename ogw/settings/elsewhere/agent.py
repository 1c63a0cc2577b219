"""What the monitoring agent on this machine is set up with: its endpoints, and the names in its certificates.

The older agent has a file of KEY=value lines for each workspace, the current one JSON files in which endpoints stand as
URLs. Only whole https URLs are taken, and of each its host alone: nothing an agent's file says allows more than a name.
"""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from ogw.language.messages import gettext as _
from ogw.machine.files import read_file, shown, text_in
from ogw.policy.rules import Kind, Rule, parse_rules
from ogw.policy.subjects import Pattern
from ogw.settings.elsewhere.json_text import json_in
from ogw.settings.setting import one_a_line

AUTO = "auto"
PLACES = (
    "/etc/opt/microsoft/omsagent/*/conf/omsadmin.conf",
    "/etc/opt/microsoft/azuremonitoragent/config-cache/configchunks/*.json",
)
INSIDE = ("omsadmin.conf", "*/conf/omsadmin.conf", "*.json")  # of a folder that is given
ENDPOINTS = ("OMS_ENDPOINT", "DSC_ENDPOINT")
LARGEST = 4 << 20
MOST = 1000  # files
MOST_ENDPOINTS = 10_000  # of all files
MOST_MISTAKES = 100  # that are told of all files

GUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_URL = re.compile(r"https://([A-Za-z0-9.-]{1,253})(?::([0-9]{1,5}))?(?:[/?#]\S*)?\Z", re.IGNORECASE)


class Agent(NamedTuple):
    """What was found.

    certificates  each workspace's id, which is one of the common names in its agents' certificates
    missing       why there is nothing; "" where there is
    mistakes      of files that are there but cannot be read
    """

    rules: tuple[Rule, ...] = ()
    certificates: tuple[Pattern, ...] = ()
    missing: str = ""
    mistakes: tuple[str, ...] = ()


def files_of(places: Sequence[str]) -> list[str]:
    """The files that are meant, in a settled order: of `auto`, of folders and of files themselves."""
    patterns: list[str] = []
    for place in places:
        if place == AUTO:
            patterns += PLACES
        elif os.path.isdir(place):
            patterns += [os.path.join(glob.escape(place), inside) for inside in INSIDE]
        else:
            patterns.append(glob.escape(place))
    return [path for pattern in patterns for path in sorted(glob.glob(pattern))]


def read_agent(places: Sequence[str]) -> Agent:
    """Everything that the files say."""
    paths = files_of(places)
    if not paths:
        where = ", ".join(PLACES) if AUTO in places else ", ".join(places)
        told = _("no file of an agent is there: {where}").format(where=where)
        return Agent(missing=one_a_line(told) if any("," in place for place in places) else told)
    if len(paths) > MOST:
        return Agent(mistakes=(_("more than {most} files are there").format(most=MOST),))
    endpoints: dict[str, str] = {}  # URL -> where it stands
    certificates: list[Pattern] = []
    mistakes: list[str] = []
    for path in paths:
        if len(mistakes) >= MOST_MISTAKES:
            mistakes.append(_("the other files are not read"))
            break
        place = shown(path)
        try:
            body = read_file(path, LARGEST)
            if len(body) > LARGEST:
                told = _("larger than {size} bytes").format(size=LARGEST)
                raise ValueError(f"{place}: {told}")
            text = text_in(body, place).removeprefix("\ufeff")
            found: Iterable[tuple[str, str]]
            if path.endswith(".json"):
                found = ((place, url) for url in _texts(json_in(text, place)) if _URL.match(url))
            else:
                found = _endpoints(place, text, certificates, mistakes)
            for source, url in found:
                if url not in endpoints:
                    endpoints[url] = source
                    if len(endpoints) > MOST_ENDPOINTS:
                        told = _("more than {most} endpoints are there").format(most=MOST_ENDPOINTS)
                        raise ValueError(f"{place}: {told}")
        except OSError as error:
            if os.path.lexists(path):  # agents replace their files; one that has just gone is not there
                mistakes.append(f"{place}: {error.strerror}")
        except ValueError as error:
            mistakes.append(str(error))
    rules = {rule: rule for url, source in endpoints.items() for rule in _rules(url, source)}
    missing = (
        "" if rules or mistakes else _("no endpoint stands in {paths}").format(paths=", ".join(map(shown, paths[:5])))
    )
    return Agent(tuple(rules.values()), tuple(dict.fromkeys(certificates)), missing, tuple(mistakes))


def _endpoints(path: str, text: str, certificates: list[Pattern], mistakes: list[str]) -> Iterator[tuple[str, str]]:
    """(where, URL) of each endpoint of the older agent's file."""
    for number, line in enumerate(text.split("\n"), 1):
        if len(mistakes) >= MOST_MISTAKES:
            return
        key, _equals, value = line.strip().partition("=")
        value = value.strip().strip('"')
        if key == "WORKSPACE_ID":
            if GUID.match(value):
                certificates.append(Pattern(common_name=value.lower()))
            else:
                told = _("{path}:{line}: WORKSPACE_ID is not a workspace's id")
                mistakes.append(told.format(path=path, line=number))
        elif key in ENDPOINTS and value:
            if _rules(value, ""):
                yield f"{path}:{number}", value
            else:
                told = _("{path}:{line}: {key} is not an https URL with a host's name")
                mistakes.append(told.format(path=path, line=number, key=key))


def _texts(data: Any) -> Iterator[str]:
    """Every text in a JSON value, in order; names that begin with $ are about the file, not in it."""
    left = [data]  # no recursion: how deep it goes is not ours to say
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, list):
            left += reversed(one)
        elif isinstance(one, dict):
            left += reversed([value for key, value in one.items() if not key.startswith("$")])


def _rules(url: str, source: str) -> list[Rule]:
    """The rule for a URL's host; none where it is no https URL, or its host no name."""
    match = _URL.match(url)
    if match is None or "." not in match[1]:
        return []
    port = f":{match[2]}" if match[2] not in (None, "443") else ""
    rules, _mistakes = parse_rules(f"{match[1]}{port}", f"agent-config {source}")
    return [rule for rule in rules if rule.kind is Kind.NAME]
