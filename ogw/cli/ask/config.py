"""`ogw config show`: what the gateway would run with, and who said so."""

import argparse
import json
import sys

from ogw.cli.configuration import BareParser, load_or_tell, with_all_flags
from ogw.cli.exits import OK, WRONG
from ogw.cli.parser import Parser
from ogw.language.messages import gettext as _
from ogw.language.messages import ngettext
from ogw.settings.settings import SETTINGS

MOST_LEFT_OUT = 20  # rules of other stages that are shown


def parser() -> Parser:
    return BareParser(
        "config show",
        with_all_flags(
            _("Show every setting as `ogw run` would take it, and where it comes from; secrets are hidden.")
        ),
        examples=["ogw config show", "ogw config show --config new.ini", "ogw config show --json"],
        codes={OK: _("shown"), WRONG: _("the command line or the configuration is wrong; every mistake is told")},
        switches=("--json",),
    )


def run(asked: argparse.Namespace) -> int:
    """Print every setting."""
    config = load_or_tell(asked.flags)
    if config is None:
        return WRONG
    shown = {name: [(given.text, given.source) for given in config.origins[name]] for name in SETTINGS}
    if asked.json:
        print(
            json.dumps({name: [{"value": v, "source": s} for v, s in rows] for name, rows in shown.items()}, indent=2)
        )
    else:
        for name, rows in shown.items():
            for value, source in rows:
                print(f"{name} = {value}".ljust(60), f"({source})")
        for rule in config.left_out[:MOST_LEFT_OUT]:
            print(_("left out, of another stage: {rule}").format(rule=rule).ljust(60), f"({rule.source})")
        if (more := len(config.left_out) - MOST_LEFT_OUT) > 0:
            told = ngettext("left out, of another stage: {number} more rule",
                            "left out, of another stage: {number} more rules", more)  # fmt: skip
            print(told.format(number=more))
    for warning in config.warnings:
        print(f"ogw: {warning}", file=sys.stderr)
    return OK
