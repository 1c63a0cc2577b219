"""`ogw run`: the gateway itself. And `ogw version`."""

import argparse
import os
from gettext import gettext as _

from ogw import __version__
from ogw.cli.configuration import BareParser, load_or_tell
from ogw.cli.exits import OK, WRONG
from ogw.cli.parser import Parser, parser_of
from ogw.settings.loader import load


def parser(verb: str) -> Parser:
    if verb == "version":
        made = parser_of("version", _("Print the version."), examples=["ogw version"])
        made.set_defaults(do=_version)
        return made
    made = BareParser("run")
    made.set_defaults(do=_run)
    return made


def run(asked: argparse.Namespace) -> int:
    code: int = asked.do(asked)
    return code


def _version(_asked: argparse.Namespace) -> int:
    print(f"ogw {__version__}")
    return OK


def _run(asked: argparse.Namespace) -> int:
    """Run the gateway until it is stopped."""
    config = load_or_tell(asked.flags, log=True)
    if config is None:
        return WRONG
    from ogw.service import supervisor  # here, so that a wrong configuration is told without a wait for gevent

    environment = dict(os.environ)
    return supervisor.run(config, lambda before: load(asked.flags, environment, before))
