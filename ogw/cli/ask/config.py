"""`ogw config show`: what the gateway would run with, and who said so."""

import json
import sys

from ogw.cli.configuration import load_or_tell
from ogw.cli.exits import OK, WRONG
from ogw.settings.loader import help_text
from ogw.settings.settings import SETTINGS


def config_show(words: list[str]) -> int:
    """Print every setting; the exit code."""
    if "-h" in words or "--help" in words:
        print(help_text("ogw config show [--json]"), end="")
        return OK
    as_json = "--json" in words
    config = load_or_tell([word for word in words if word != "--json"])
    if config is None:
        return WRONG
    shown = {name: [(given.text, given.source) for given in config.origins[name]] for name in SETTINGS}
    if as_json:
        print(
            json.dumps({name: [{"value": v, "source": s} for v, s in rows] for name, rows in shown.items()}, indent=2)
        )
    else:
        for name, rows in shown.items():
            for value, source in rows:
                print(f"{name} = {value}".ljust(60), f"({source})")
    for warning in config.warnings:
        print(f"ogw: {warning}", file=sys.stderr)
    return OK
