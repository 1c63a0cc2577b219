"""`ogw run`: the gateway itself."""

import os

from ogw.cli.configuration import load_or_tell
from ogw.cli.exits import OK, WRONG
from ogw.settings.loader import help_text, load


def run(words: list[str]) -> int:
    """Run the gateway until it is stopped; the exit code."""
    if "-h" in words or "--help" in words:
        print(help_text("ogw run"), end="")
        return OK
    config = load_or_tell(words, log=True)
    if config is None:
        return WRONG
    from ogw.service import supervisor  # here, so that a wrong configuration is told without a wait for gevent

    environment = dict(os.environ)
    return supervisor.run(config, lambda before: load(words, environment, before))
