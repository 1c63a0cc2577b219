"""Presets: the hosts of a known service, as a JSON file, with placeholders for what is the operator's own."""

import errno
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from itertools import product
from typing import Any, NamedTuple

from ogw.language.messages import gettext as _
from ogw.language.phrases import every
from ogw.machine.files import read_file, shown
from ogw.policy.rules import parse_rules

CLOUDS = ("public", "government", "china")
PARAMETERS = ("workspace", "region", "account", "data-collection-endpoint")  # names of settings, each a list
CODE = "code"  # a region's short name, by the preset's own table
LARGEST = 1 << 20
MOST = 1000  # presets of a folder
MOST_MISTAKES = 100  # that are told of one
MOST_RULES = 100_000  # that one gives: every combination of what its parameters are

_PLACEHOLDER = re.compile(r"<([a-z-]+)>")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_SAMPLE = {**{name: "sample" for name in PARAMETERS}, CODE: "sample"}


class BadPreset(ValueError):
    """A preset cannot be read, or does not give rules with these parameters: each mistake a sentence."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = tuple(mistakes)


class Preset(NamedTuple):
    """One.

    does      what it is for, in a line
    date      of the facts in it: "2026-11-24"
    page      where they were taken from
    clouds    cloud -> host rules with placeholders
    optional  parameters that may be missing: the rules that need them are left out then
    codes     region -> the short name that <code> stands for
    place     the file that it was read from
    """

    name: str
    does: str
    date: str
    page: str
    clouds: Mapping[str, tuple[str, ...]]
    optional: frozenset[str]
    codes: Mapping[str, str]
    place: str

    @property
    def source(self) -> str:
        """As it stands in a rule."""
        return f"preset {self.name} of {self.date}"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Those that it can take, in the order of the settings."""
        found = {name for hosts in self.clouds.values() for host in hosts for name in _PLACEHOLDER.findall(host)}
        return tuple(name for name in PARAMETERS if name in found or (name == "region" and CODE in found))

    def expand(self, cloud: str, given: Mapping[str, Sequence[str]], partly: bool = False) -> list[str]:
        """The texts of its host rules. Raises BadPreset.

        given   parameter -> its values, as the settings' readers give them
        partly  keep the placeholders for which nothing is given, instead of calling that a mistake
        """
        if cloud not in self.clouds:
            known = ", ".join(self.clouds)
            raise BadPreset(
                [
                    _("{preset} is not known for cloud = {cloud}; it is there for {known}").format(
                        preset=self.name, cloud=cloud, known=known
                    )
                ]
            )
        values = self._values(given, partly)
        texts: dict[str, None] = {}
        missing: dict[str, None] = {}
        for host in self.clouds[cloud]:
            names = list(dict.fromkeys(_PLACEHOLDER.findall(host)))
            without = [name for name in names if not values.get(name)]
            if without and not partly:
                missing.update((name, None) for name in without if name not in self.optional)
                continue
            choices = [values.get(name) or [f"<{name}>"] for name in names]
            if len(texts) + math.prod(map(len, choices)) > MOST_RULES:
                raise _too_many(self.name)
            for chosen in product(*choices):
                filled = dict(zip(names, chosen, strict=True))
                texts[_PLACEHOLDER.sub(lambda match, filled=filled: filled[match[1]], host)] = None  # type: ignore[misc]
        if missing:
            names = list(dict.fromkeys("region" if name == CODE else name for name in missing))
            raise BadPreset([_("{preset} needs {names}, too").format(preset=self.name, names=every(names))])
        return list(texts)

    def _values(self, given: Mapping[str, Sequence[str]], partly: bool) -> dict[str, list[str]]:
        """Placeholder -> what it stands for."""
        values = {name: list(given.get(name, ())) for name in PARAMETERS}
        regions = values["region"] or (["<region>"] if partly else [])
        # An endpoint's own region may have a number behind it (name.westeurope-1): then it is given with it.
        endpoints = values["data-collection-endpoint"]
        if len(endpoints) * len(regions) > MOST_RULES:
            raise _too_many(self.name)
        values["data-collection-endpoint"] = [
            full for name in endpoints for full in ([name] if "." in name else [f"{name}.{r}" for r in regions])
        ]
        if self.codes:
            strange = [region for region in values["region"] if region not in self.codes]
            if strange:
                raise BadPreset(
                    [
                        _("{preset} does not know region = {region}; it knows {known}").format(
                            preset=self.name, region=region, known=", ".join(sorted(self.codes))
                        )
                        for region in strange
                    ]
                )
            values[CODE] = [self.codes[region] for region in values["region"]]
        return values


def _too_many(name: str) -> BadPreset:
    return BadPreset([_("{preset} gives more than {most} host rules").format(preset=name, most=MOST_RULES)])


def presets(folder: str = "") -> dict[str, Preset]:
    """All by name: those that came with ogw, and those of a folder, which beat them. Raises BadPreset, or OSError."""
    found = {}
    for entry in sorted(resources.files("ogw.settings.elsewhere.presets").iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".json"):
            preset = parse_preset(entry.name.removesuffix(".json"), entry.read_bytes(), "ogw")
            found[preset.name] = preset
    mistakes: list[str] = []
    for path in files_of(folder) if folder else ():
        try:
            preset = parse_preset(os.path.basename(path).removesuffix(".json"), read_file(path, LARGEST), shown(path))
            found[preset.name] = preset
        except OSError as error:
            mistakes.append(f"{shown(path)}: {error.strerror}")
        except BadPreset as bad:
            mistakes += [f"{shown(path)}: {mistake}" for mistake in bad.mistakes]
    if mistakes:
        raise BadPreset(mistakes)
    return dict(sorted(found.items()))


def files_of(folder: str) -> list[str]:
    """The presets in a folder. Raises OSError."""
    names = sorted(name for name in os.listdir(folder) if name.endswith(".json") and not name.startswith("."))
    if len(names) > MOST:
        raise OSError(errno.EMFILE, _("more than {most} presets are in it").format(most=MOST), folder)
    return [os.path.join(folder, name) for name in names]


def parse_preset(name: str, body: bytes, place: str) -> Preset:
    """A preset from its file. Raises BadPreset."""
    if len(body) > LARGEST:
        raise BadPreset([_("it is larger than {size} bytes").format(size=LARGEST)])
    if not _NAME.match(name):
        raise BadPreset([_("its name must have lower-case letters, digits and hyphens only, as in my-service.json")])
    try:
        data = json.loads(body.decode("utf-8-sig"))
    except RecursionError:
        raise BadPreset([_("it is not JSON that can be read: too many brackets in one another")]) from None
    except ValueError as error:
        raise BadPreset([_("it is not JSON in UTF-8: {error}").format(error=error)]) from None
    if not isinstance(data, dict):
        raise BadPreset([_("it is not a JSON object")])
    mistakes: list[str] = []
    known = {"does": str, "date": str, "page": str, "clouds": dict, "optional": list, "codes": dict}
    for key, value in data.items():
        if key not in known:
            mistakes.append(
                _("{key} is not known; a preset has {known}").format(key=ascii(key), known=", ".join(known))
            )
        elif not isinstance(value, known[key]):
            mistakes.append(_("{key} is of the wrong kind").format(key=ascii(key)))
    mistakes += [_("{key} is missing").format(key=key) for key in ("does", "date", "page", "clouds") if key not in data]
    if mistakes:
        raise BadPreset(mistakes)
    preset = Preset(
        name,
        data["does"],
        data["date"],
        data["page"],
        {cloud: tuple(hosts) if isinstance(hosts, list) else () for cloud, hosts in data["clouds"].items()},
        frozenset(map(str, data.get("optional", []))),
        data.get("codes", {}),
        place,
    )
    mistakes = _mistakes_in(preset)
    if mistakes:
        raise BadPreset(mistakes)
    return preset


def _mistakes_in(preset: Preset) -> list[str]:
    mistakes = []
    if not _DATE.match(preset.date):
        mistakes.append(_("date is not written as in 2026-11-24"))
    if not preset.clouds:
        mistakes.append(_("clouds is empty"))
    for parameter in preset.optional - set(PARAMETERS):
        mistakes.append(_("optional: {name} is no parameter").format(name=ascii(parameter)))
    for region, code in preset.codes.items():
        if not (isinstance(code, str) and _NAME.match(code) and _NAME.match(region)):
            mistakes.append(_("codes: {region} has no short name of letters and digits").format(region=ascii(region)))
    for cloud, hosts in preset.clouds.items():
        if cloud not in CLOUDS or not hosts:
            mistakes.append(
                _("clouds: {cloud} is none of {known}, or has no list of host rules").format(
                    cloud=ascii(cloud), known=", ".join(CLOUDS)
                )
            )
        for host in hosts:
            if len(mistakes) < MOST_MISTAKES:
                mistakes += _mistakes_of(host, preset)
    return mistakes


def _mistakes_of(host: Any, preset: Preset) -> list[str]:
    if not isinstance(host, str):
        return [_("a host rule is not a text")]
    for name in _PLACEHOLDER.findall(host):
        if name not in _SAMPLE or (name == CODE and not preset.codes):
            known = ", ".join(f"<{known}>" for known in PARAMETERS)
            return [
                _("{host}: <{name}> is none of {known}, or <code> with codes").format(
                    host=ascii(host), name=name, known=known
                )
            ]
    rules, mistakes = parse_rules(_PLACEHOLDER.sub(lambda match: _SAMPLE[match[1]], host), preset.name)
    if not mistakes and len(rules) != 1:
        mistakes = [_("{host} is not one host rule").format(host=ascii(host))]
    return mistakes
