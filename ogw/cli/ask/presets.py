"""`ogw presets`: the host lists of known services, and what one expands to."""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from ogw.cli.exits import OK, WRONG, Wrong
from ogw.cli.parser import Parser, parser_of
from ogw.cli.screen import BOLD, clean, indented, show, table
from ogw.cli.words import offer
from ogw.language.messages import gettext as _
from ogw.settings.elsewhere.preset import CLOUDS, PARAMETERS, BadPreset, Preset, presets
from ogw.settings.loader import ConfigError, load
from ogw.settings.settings import SETTINGS


def parser() -> Parser:
    made = parser_of(
        "presets",
        _(
            "List the presets, or show the host rules that one expands to. Parameters that are not given here stay "
            "placeholders; of the configuration only presets-folder is read. No gateway is asked."
        ),
        examples=[
            "ogw presets",
            "ogw presets azure-arc",
            "ogw presets azure-monitor-agent --workspace 01234567-89ab-cdef-0123-456789abcdef --region westeurope",
        ],
        codes={OK: _("done"), WRONG: _("there is no such preset, or a parameter or the command line is wrong")},
    )
    about = _("the preset; without it, a table of all")
    offer(made.add_argument("preset", metavar="NAME", nargs="?", help=about), presets())
    for name in PARAMETERS:
        setting = SETTINGS[name]
        made.add_argument(setting.flag, metavar=setting.placeholder, action="append", default=[], help=setting.help)
    made.add_argument("--cloud", choices=CLOUDS, default=SETTINGS["cloud"].default, help=SETTINGS["cloud"].help)
    made.add_argument("--presets-folder", metavar="FOLDER", help=SETTINGS["presets-folder"].help)
    made.add_argument("--json", action="store_true", help=_("answer as JSON"))
    return made


def run(asked: argparse.Namespace) -> int:
    known = _known(asked.presets_folder)
    if asked.preset is None:
        _show_all(known, asked.json)
        return OK
    if asked.preset not in known:
        message = _("there is no preset {name}; there are {known}")
        raise Wrong(message.format(name=ascii(asked.preset), known=", ".join(known)))
    preset = known[asked.preset]
    try:
        rules = preset.expand(asked.cloud, _given(vars(asked)), partly=True)
    except BadPreset as bad:
        raise Wrong("; ".join(bad.mistakes)) from None
    if asked.json:
        print(json.dumps({**_told(preset), "cloud": asked.cloud, "hosts": rules}, indent=2))
    else:
        show(*_one(preset, asked.cloud, rules))
    return OK


def _known(folder: Any) -> Mapping[str, Preset]:
    if folder is None:
        try:
            folder = load([], os.environ).presets_folder
        except ConfigError:
            folder = ""
            message = _("ogw: the configuration is wrong (`ogw check` says where): these are ogw's own presets alone")
            print(message, file=sys.stderr)
    try:
        return presets(folder)
    except OSError as error:
        raise Wrong(f"presets-folder: {folder}: {error.strerror}") from None
    except BadPreset as bad:
        raise Wrong("; ".join(bad.mistakes)) from None


def _given(asked: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    """The parameters as the settings' own readers take them."""
    given: dict[str, Sequence[str]] = {}
    for name in PARAMETERS:
        setting, values = SETTINGS[name], []
        assert setting.read is not None
        for text in asked[setting.attribute]:
            for one in setting.split(text):
                try:
                    values.append(setting.read(one))
                except ValueError as error:
                    raise Wrong(f"{setting.flag}: {one!a}: {error}") from None
        given[name] = values
    return given


def _told(preset: Preset) -> dict[str, Any]:
    return {
        "name": preset.name,
        "date": preset.date,
        "does": preset.does,
        "page": preset.page,
        "clouds": list(preset.clouds),
        "parameters": list(preset.parameters),
        "optional": sorted(preset.optional),
        "regions": sorted(preset.codes),
        "from": preset.place,
    }


def _parameters(preset: Preset) -> str:
    return ", ".join(f"[{name}]" if name in preset.optional else name for name in preset.parameters)


def _show_all(known: Mapping[str, Preset], as_json: bool) -> None:
    if as_json:
        print(json.dumps([_told(preset) for preset in known.values()], indent=2))
        return
    shown = table(_("preset"), _("date"), _("clouds"), _("parameters"), folds=(2, 3))
    for preset in known.values():
        shown.add_row(*map(Text, (preset.name, preset.date, ", ".join(preset.clouds), _parameters(preset))))
    show(shown, Text(), Text(_("parameters in brackets may be left out; `ogw presets NAME` shows the host rules")))


def _one(preset: Preset, cloud: str, rules: Sequence[str]) -> list[RenderableType]:
    lines: list[RenderableType] = [
        Text(f"{preset.name} ({preset.date}, {cloud})", style=BOLD),
        indented(Text(clean(f"{preset.does}."))),
        indented(Text(clean(_("From: {page}.").format(page=preset.page)))),
    ]
    if preset.parameters:
        lines.append(indented(Text(_("Parameters: {names}.").format(names=_parameters(preset)))))
    if preset.codes:
        lines.append(indented(Text(_("Regions: {names}.").format(names=", ".join(sorted(preset.codes))))))
    return [*lines, Text(), *(Text(rule, no_wrap=True, overflow="ignore") for rule in rules)]
