"""`ogw run`: the gateway itself. And `ogw version`."""

import argparse
import json
import os
import sys

from ogw import __version__
from ogw.cli.configuration import BareParser, load_or_tell
from ogw.cli.exits import FAILED, OK, WRONG
from ogw.cli.parser import Parser, parser_of
from ogw.language.messages import gettext as _
from ogw.report.events import Event
from ogw.report.standard import say
from ogw.service.handover.predecessor import channel_of, refuse
from ogw.service.notify import notify, wrong
from ogw.settings.loader import load


def parser(verb: str) -> Parser:
    if verb == "version":
        made = parser_of(
            "version", _("Print the version."), examples=["ogw version", "ogw version --json"], codes={OK: _("printed")}
        )
        made.add_argument("--json", action="store_true", help=_("answer as JSON"))
        made.set_defaults(do=_version)
        return made
    made = BareParser(
        "run",
        _(
            "Run the gateway: clients may go to the hosts that are listed, on the ports that are listed, and nowhere "
            "else. SIGTERM and Ctrl-C drain it, SIGHUP reloads its configuration. Each setting is a flag, a variable "
            "and a line of the INI file; a flag overrides a variable, which overrides the file, and the values of "
            "lists are added together. Where no log-file is set the log goes to standard output. A service that is "
            "enabled before it is set up is started with --only-with-rules: where no host is allowed it ends at once "
            "with exit code 0, and says what to do."
        ),
        examples=[
            "ogw run --allowed-host www.example.com",
            "ogw run --allowed-host '*.example.com' --allowed-client 10.0.0.0/8",
            "ogw run --relay-proxy http://proxy.example.com:3128 --preset azure-arc",
            "ogw run --config /etc/ogw/ogw.ini --log-format text",
            "OGW_ALLOWED_HOST=www.example.com OGW_LISTEN_PORT=3128 ogw run",
        ],
        codes={
            OK: _("the gateway was stopped, and has drained; or no host is allowed, with --only-with-rules"),
            FAILED: _("the gateway could not start, or had to end; the last line of the log says why"),
            WRONG: _("the command line or the configuration is wrong; every mistake is told"),
        },
        switches=("--only-with-rules",),
    )
    made.set_defaults(do=_run)
    return made


def run(asked: argparse.Namespace) -> int:
    code: int = asked.do(asked)
    return code


def _version(asked: argparse.Namespace) -> int:
    print(json.dumps({"version": __version__}) if asked.json else f"ogw {__version__}")
    return OK


def _run(asked: argparse.Namespace) -> int:
    """Run the gateway until it is stopped."""
    channel = channel_of(os.environ)
    config = load_or_tell(asked.flags, log=True, also=lambda mistakes: refuse(channel, wrong(mistakes)))
    if config is None:
        return WRONG
    if asked.only_with_rules and channel is None and not config.allows_any:
        _tell_of_no_rules()
        return OK
    from ogw.service import start  # here, so that a wrong configuration is told without a wait for gevent

    environment = dict(os.environ)
    return start.run(config, lambda before: load(asked.flags, environment, before), channel)


def _tell_of_no_rules() -> None:
    message = _(
        "no host is allowed yet, so the gateway does not serve; one of these two starts it: `ogw setup`, or "
        "`ogw allowed-host add www.example.com && systemctl start ogw`"
    )
    say(f"ogw: {message}", sys.stderr)
    if not sys.stdout.isatty():
        from ogw.report.log import one_line

        say(one_line(Event.INFORMATION, message), sys.stdout)
    # Else systemd would call it a failure that it ends; last, as it is ready in name only.
    notify("READY=1", f"STATUS={message}")
