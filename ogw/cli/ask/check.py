"""`ogw check`: the whole configuration, and every mistake in it, before a gateway is started or reloaded with it."""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from ogw.cli.configuration import configuration_file, gateway_parser
from ogw.cli.exits import OK, WRONG
from ogw.cli.parser import Parser
from ogw.cli.screen import clean
from ogw.language.conventions import count
from ogw.language.messages import gettext as _
from ogw.language.messages import ngettext
from ogw.language.phrases import every
from ogw.policy.rules import alive, time_text
from ogw.service.limits import StartError, limits_of, workers_of
from ogw.settings import run_dir
from ogw.settings.elsewhere.source import is_url
from ogw.settings.loader import ConfigError, load
from ogw.settings.settings import Config


def parser() -> Parser:
    made = gateway_parser(
        "check",
        _(
            "Check the whole configuration as `ogw run` does, and tell every mistake with where it stands. Whether the "
            "port is free and hosts can be reached is what `ogw doctor` finds out."
        ),
        examples=["ogw check", "ogw check --config new.ini", "ogw check --json", "ogw check && ogw reload"],
        codes={
            OK: _("nothing is wrong; there may be warnings"),
            WRONG: _("something is wrong: no gateway would start"),
        },
    )
    made.add_argument("--json", action="store_true", help=_("answer as JSON"))
    return made


def run(asked: argparse.Namespace) -> int:
    file = configuration_file(asked.flags)
    answer: dict[str, Any] = {"file": file, "mistakes": [], "warnings": [], "policy": None, "rules": None}
    try:
        config = load(asked.flags, os.environ, to_start=True)
        limits_of(config, workers_of(config))
    except ConfigError as error:
        answer["mistakes"] = list(error.mistakes)
    except StartError as error:
        answer["mistakes"] = [str(error)]
    else:
        warnings = [*config.warnings, *_reporting(config), *_missing(config)]
        answer |= {"warnings": warnings, "policy": config.policy.hash, "rules": rules_of(config)}
        answer |= {"stages": sorted({rule.stage for rule in config.left_out})} if config.left_out else {}
    if asked.json:
        print(json.dumps(answer, indent=2))
    else:
        _tell(clean(answer))
    return WRONG if answer["mistakes"] else OK


def rules_of(config: Config) -> dict[str, int]:
    """How many rules are in force, by list; those of lists from elsewhere count, too. left-out: of other stages."""
    now = time.time()
    rules = {
        "allowed-host": len(alive((*config.allowed_host, *config.sourced_hosts), config.stage, now)),
        "denied-host": len(alive(config.denied_host, config.stage, now)),
    }
    return rules | ({"left-out": len(config.left_out)} if config.left_out else {})


def _reporting(config: Config) -> Iterator[str]:
    """A gateway tells of it every hour."""
    until = config.reports_until
    if until is not None and until > time.time():
        told = _("policy-mode = report: until {until} what no rule allows is only logged, and passes")
        yield told.format(until=time_text(until))


def _missing(config: Config) -> Iterator[str]:
    """What a gateway goes on without, and tells of at its start or when it would need it."""
    if config.agent_missing:
        yield f"agent-config: {config.agent_missing}"
    folder = run_dir.default_run_dirs(os.environ)[0]
    if config.is_default("run-dir") and (why := run_dir.why_not(folder)):
        told = _(
            "run-dir: {folder}: {why}; the gateway would go on without the socket that commands such as ogw status ask"
        )
        yield told.format(folder=folder, why=why)
    if any(is_url(source) for source in config.allowed_host_source) and not _is_writable(config.state_dir):
        told = _("state-dir: {folder}: user {user} cannot write there: lists that are downloaded would be forgotten at "
                 "the end")  # fmt: skip
        yield told.format(folder=config.state_dir, user=os.geteuid())


def _is_writable(folder: str) -> bool:
    """Or can be made."""
    there = os.path.realpath(folder)
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    return os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK)


def _tell(answer: dict[str, Any]) -> None:
    for mistake in answer["mistakes"]:
        print(f"ogw: {mistake}", file=sys.stderr)
    for warning in answer["warnings"]:
        print(_("ogw: warning: {warning}").format(warning=warning), file=sys.stderr)
    file = answer["file"] or _("no INI file")
    if answer["mistakes"]:
        number = len(answer["mistakes"])
        told = ngettext(
            "ogw: {number} mistake: no gateway starts with this, and a running one keeps what it has ({file})",
            "ogw: {number} mistakes: no gateway starts with this, and a running one keeps what it has ({file})",
            number,
        )
        print(told.format(number=count(number), file=file), file=sys.stderr)
        return
    allowed, denied = answer["rules"]["allowed-host"], answer["rules"]["denied-host"]
    rules = [ngettext("{number} allowed host", "{number} allowed hosts", allowed).format(number=count(allowed))]
    if denied:
        rules.append(ngettext("{number} denied host", "{number} denied hosts", denied).format(number=count(denied)))
    if left_out := answer["rules"].get("left-out"):
        told = ngettext("{number} rule left out (stage {stages})", "{number} rules left out (stage {stages})", left_out)
        rules.append(told.format(number=count(left_out), stages=", ".join(answer["stages"])))
    told = _("fine: {rules}; policy {policy}, {file}")
    print(told.format(rules=every(rules), policy=answer["policy"], file=file))
