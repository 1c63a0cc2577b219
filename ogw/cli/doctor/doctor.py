"""`ogw doctor`: what is wrong with this machine, this configuration and the way out, and what to do about it."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Optional

from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from ogw import __version__
from ogw.cli.ask.explanation import connect_target
from ogw.cli.configuration import configuration_file, gateway_parser
from ogw.cli.doctor.bundle import require_new, write_bundle
from ogw.cli.doctor.findings import Finding, State, count_of, ok, problem, warning
from ogw.cli.doctor.libraries import of_libraries
from ogw.cli.doctor.machine import (
    of_certificates,
    of_clock,
    of_files,
    of_gateway,
    of_limits,
    of_listeners,
    status_of,
)
from ogw.cli.doctor.reach import Outside, wanted_host, wanted_of
from ogw.cli.exits import FAILED, OK, WRONG, Failed
from ogw.cli.live.gateway import Gateway
from ogw.cli.live.meant import meant_by
from ogw.cli.live.named_file import gateway_of_config
from ogw.cli.parser import Parser
from ogw.cli.screen import BAD, BOLD, DIM, GOOD, WARN, clean, console_of, show, table
from ogw.cli.spoken import last
from ogw.language.messages import gettext as _
from ogw.language.messages import ngettext, pgettext
from ogw.settings.loader import ConfigError, load
from ogw.settings.named import flags
from ogw.settings.settings import Config
from ogw.settings.usual import DEFAULT_FILE
from ogw.wire.connect import BadTarget, Target, parse_target
from ogw.wire.host_mistakes import target_mistake

SECONDS = 60.0
MARKS = {State.OK: GOOD, State.UNTESTED: DIM, State.WARNING: WARN, State.PROBLEM: BAD}


def parser() -> Parser:
    made = gateway_parser(
        "doctor",
        _(
            "Examine this machine, the configuration and the network: ports, limits, files, clock, DNS servers, relay "
            "proxies, and each allowed host that is a plain name, which is dialed as the gateway would, up to a TLS "
            "session of the doctor's own. Run it as the gateway's user, on its machine."
        ),
        examples=[
            "ogw doctor",
            "ogw doctor --host www.example.com --host build.example.com:8443",
            "ogw doctor --json | jq '.findings[] | select(.state == \"problem\")'",
            "sudo -u ogw ogw doctor --bundle ogw-doctor.tar.gz",
        ],
        codes={
            OK: _("no problem; there may be warnings"),
            FAILED: _("there is a problem"),
            WRONG: _("the command line or the configuration is wrong"),
        },
    )
    about = _("try only this host, not those of the rules; may be repeated")
    made.add_argument("--host", metavar="HOST[:PORT]", type=_target, action="append", help=about)
    about = _("time limit for all that is tried outside this machine (default: {seconds:g})").format(seconds=SECONDS)
    made.add_argument("--timeout", metavar="SECONDS", type=_seconds, default=SECONDS, help=about)
    about = _("also pack what was found, configuration, versions, metrics and the end of log-file, without secrets")
    made.add_argument("--bundle", metavar="FILE", help=about)
    made.add_argument("--json", action="store_true", help=_("answer as JSON"))
    return made


def run(asked: argparse.Namespace) -> int:
    if asked.bundle:
        require_new(asked.bundle)
    config: Optional[Config] = None
    file = configuration_file(asked.flags)
    try:
        config = load(asked.flags, os.environ)
    except ConfigError as error:
        found = [problem("configuration", "", mistake, _correct(mistake, file)) for mistake in error.mistakes]
    else:
        running, why = status_of(Gateway(gateway_of_config(config)))
        found = [*_of_configuration(config, file), *of_gateway(running, why, config.policy.hash)]
        found += [*of_listeners(config, running), *of_certificates(config)]
        found += [*of_limits(config, running), *of_files(config, file), *of_clock()]
        found += of_libraries()
        found += _outside(config, asked.host, asked.timeout)
    report = {
        "version": __version__,
        "problems": count_of(found, State.PROBLEM),
        "warnings": count_of(found, State.WARNING),
        "findings": [finding.as_dict() for finding in found],
    }
    if asked.bundle:
        # Of a configuration that is wrong, the flags that name a gateway still do.
        by_flags = last(asked.flags, "--config") or None, last(asked.flags, "--run-dir")
        meant = meant_by(*by_flags) if config is None else gateway_of_config(config)
        write_bundle(asked.bundle, report, config, Gateway(meant))
    if asked.json:
        print(json.dumps(report, indent=2))
    else:
        show(*_screen(found))
    if asked.bundle:
        told_of = _("ogw: {path} has all of this for support: host names and addresses, but no password")
        if config is None:
            told_of = _("ogw: {path} has this for support; the configuration is wrong, so its settings and its log are "
                        "not in it: run this again once that is mended")  # fmt: skip
        print(told_of.format(path=ascii(asked.bundle)[1:-1]), file=sys.stderr)
    if config is None:
        return WRONG
    return FAILED if report["problems"] else OK


def _correct(mistake: str, file: Optional[str]) -> str:
    """What to do about a mistake of the configuration: the file's own can be looked for without the rest."""
    if file is None or not mistake.startswith(f"{file}:"):
        return _("correct the flag or the variable that gives it")
    told = _("correct the mistake; `ogw check{flags}` tells of it, too")
    return told.format(flags=flags(file if file != DEFAULT_FILE else ""))


def _target(text: str) -> Target:
    if mistake := target_mistake(text):
        raise argparse.ArgumentTypeError(mistake)
    try:
        return parse_target(connect_target(text))
    except BadTarget as error:
        raise argparse.ArgumentTypeError(error.detail) from None


def _seconds(text: str) -> float:
    if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= 3600):
        raise argparse.ArgumentTypeError(_("{text} is no number of seconds from 1 to 3600").format(text=ascii(text)))
    return float(text)


def _of_configuration(config: Config, file: Optional[str]) -> list[Finding]:
    found = [
        warning("configuration", "", message, _("change the configuration if this is not intended"))
        for message in config.warnings
    ]
    return found or [ok("configuration", file or "", _("there is no mistake in it"))]


def _outside(config: Config, hosts: Optional[list[Target]], seconds: float) -> list[Finding]:
    wanted, wide = wanted_of(config)
    if hosts is not None:
        wanted, wide = [wanted_host(config, target) for target in dict.fromkeys(hosts)], []
    try:
        outside = Outside(config, wanted, wide)
    except (OSError, ValueError) as error:
        raise Failed(str(error)) from None
    is_seen = sys.stderr is not None and sys.stderr.isatty()
    progress = Progress(
        TextColumn(_("examining")),
        BarColumn(),
        MofNCompleteColumn(),
        console=console_of(sys.stderr),
        transient=True,
        auto_refresh=False,
        disable=not is_seen,
    )
    with progress if is_seen else nullcontext():  # Debian 12's ends with an empty line, seen or not
        bar = progress.add_task("", total=outside.number)

        def finished() -> None:
            progress.advance(bar)
            progress.refresh()

        return outside.examine(seconds, finished)


def _screen(found: Sequence[Finding]) -> list[RenderableType]:
    words = {
        State.OK: pgettext("what was found", "ok"),
        State.UNTESTED: pgettext("what was found", "untested"),
        State.WARNING: pgettext("what was found", "warning"),
        State.PROBLEM: pgettext("what was found", "problem"),
    }
    rows = table("", "", "", folds=(2,))
    for finding in found:
        area, where, what, do = clean([finding.area, finding.where, finding.what, finding.do])
        style = MARKS[finding.state]
        rows.add_row(
            Text(words[finding.state], style=style),
            Text(area),
            Text.assemble((f"{where}: " if where else "", BOLD), what),
        )
        if do and finding.state is not State.OK:
            rows.add_row("", "", Text.assemble((_("what to do:"), DIM), " ", do))
    problems, warnings = count_of(found, State.PROBLEM), count_of(found, State.WARNING)
    said = [
        ngettext("{number} problem", "{number} problems", problems).format(number=problems),
        ngettext("{number} warning", "{number} warnings", warnings).format(number=warnings),
    ]
    return [rows, Text(), Text(", ".join(said), style=f"{BOLD} {BAD if problems else WARN if warnings else GOOD}")]
