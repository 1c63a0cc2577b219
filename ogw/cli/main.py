"""The command `ogw` and its sub-commands."""

import json
import os
import sys
from collections.abc import Sequence
from gettext import gettext as _
from typing import Optional

from ogw import __version__
from ogw.cli.inspect import inspect
from ogw.report.events import Event
from ogw.report.log import one_line
from ogw.settings.loader import ConfigError, help_text, load
from ogw.settings.settings import SETTINGS, Config, shown_as

USAGE = _("""usage: ogw COMMAND [FLAGS]

  ogw run [FLAGS]                   run the gateway until SIGTERM or Ctrl-C
  ogw config show [--json] [FLAGS]  every setting, its value and where it came from
  ogw inspect FILE|- [--json]       what the gateway sees in a recorded TLS handshake, and would decide
  ogw version                       the version

`ogw run --help` lists all flags. A first gateway: ogw run --allowed-host www.example.com
""")
OK, FAILED, WRONG = 0, 1, 2  # exit codes: done; not done; the command line or the configuration is wrong


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run a command line; the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    hide_passwords(words)
    try:
        return _command(words)
    except BrokenPipeError:
        # The reader of our output left (`ogw ... | head`): nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        return 130


def hide_passwords(words: Sequence[str]) -> None:
    """Take passwords among the flags out of the process's command line, which every user of the machine can read."""
    shown: list[str] = []
    secret = {setting.flag: setting for setting in SETTINGS.values() if shown_as(setting, "u:p@h") != "u:p@h"}
    before = ""
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in secret and equals:
            shown.append(f"{flag}={shown_as(secret[flag], value)}")
        else:
            shown.append(shown_as(secret[before], word) if before in secret else word)
        before = word
    if shown != list(words):
        import setproctitle  # here: few need it, and the wait for it is the time that the password can be read

        setproctitle.setproctitle(" ".join(["ogw", *shown]))


def _command(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return OK if words else WRONG
    if words[0] in ("version", "--version"):
        print(f"ogw {__version__}")
        return OK
    if words[0] == "run":
        return run(words[1:])
    if words[:2] == ["config", "show"]:
        return config_show(words[2:])
    if words[0] == "inspect":
        return inspect(words[1:])
    print(_("ogw: {word} is not a command").format(word=ascii(" ".join(words[:2]))), file=sys.stderr)
    print(USAGE, end="", file=sys.stderr)
    return WRONG


def run(words: list[str]) -> int:
    """`ogw run`: the gateway itself."""
    if _wants_help(words):
        print(help_text("ogw run"), end="")
        return OK
    config = _load(words, log=True)
    if config is None:
        return WRONG
    from ogw.service import supervisor  # here, so that other commands start without gevent

    environment = dict(os.environ)
    return supervisor.run(config, lambda: load(words, environment))


def config_show(words: list[str]) -> int:
    """`ogw config show`: what the gateway would run with, and who said so."""
    if _wants_help(words):
        print(help_text("ogw config show [--json]"), end="")
        return OK
    as_json = "--json" in words
    config = _load([word for word in words if word != "--json"])
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


def _wants_help(words: list[str]) -> bool:
    return "-h" in words or "--help" in words


def _load(words: list[str], log: bool = False) -> Optional[Config]:
    """The configuration, or None after every mistake in it was told.

    log  standard output is the log of a gateway: the mistakes go there, too, unless a person reads it
    """
    try:
        return load(words, os.environ)
    except ConfigError as error:
        for mistake in error.mistakes:
            message = _("wrong configuration: {mistake}").format(mistake=mistake)
            print(f"ogw: OGW-{Event.WRONG_CONFIGURATION:d} {message}", file=sys.stderr)
            if log and not sys.stdout.isatty():
                print(one_line(Event.WRONG_CONFIGURATION, mistake))
        return None
