"""`ogw upgrade`: the running gateway hands over to a successor of the version that is installed now."""

import argparse
import json
import sys

from ogw.cli.exits import FAILED, NO_GATEWAY, OK
from ogw.cli.live.gateway import flags_of, gateway_of
from ogw.cli.live.sockets import NO_GATEWAY_MEANS, add_gateway
from ogw.cli.parser import Parser, parser_of
from ogw.cli.screen import clean
from ogw.language.conventions import count
from ogw.language.messages import gettext as _
from ogw.language.messages import ngettext
from ogw.service.admin.shapes import Upgraded

UPGRADE_SECONDS = 130.0  # the gateway gives up its successor before that


def parser() -> Parser:
    made = parser_of(
        "upgrade",
        _(
            "Let a new version take over without a refused client, as SIGUSR2 does: the running gateway starts the "
            "program that its service names, with the same flags, hands it its sockets, and, once that serves, keeps "
            "only the tunnels that are open, which have upgrade-drain-timeout to finish. If the successor does not "
            "become ready, the running gateway goes on as before. As process 1 of a container it refuses: there, start "
            "a new container beside it."
        ),
        examples=["ogw upgrade", "ogw upgrade --now", "ogw upgrade --json"],
        codes={
            OK: _("the successor serves"),
            FAILED: _("the upgrade was refused, or the successor failed; the running gateway goes on as before"),
            NO_GATEWAY: _(NO_GATEWAY_MEANS),
        },
    )
    add_gateway(made)
    told = _("first end the tunnels that the upgrade before has left open, instead of being refused for them")
    made.add_argument("--now", action="store_true", help=told)
    made.add_argument("--json", action="store_true", help=_("what the gateway answers to POST /upgrade, as it is"))
    return made


def run(asked: argparse.Namespace) -> int:
    path = f"/upgrade?now={asked.now:d}"
    answer = gateway_of(asked).ask(path, Upgraded, "POST", UPGRADE_SECONDS)
    if asked.json:
        print(json.dumps(answer, indent=2))
        return FAILED if answer["why"] else OK
    answer = clean(answer)
    if answer["why"]:
        print(f"ogw: {answer['why']}", file=sys.stderr)
        print(_("ogw: nothing was upgraded, the running gateway goes on as before"), file=sys.stderr)
        return FAILED
    told = _("upgraded: ogw {version} serves (process {pid})")
    print(told.format(version=answer["version"], pid=answer["pid"]))
    if answer["tunnels"]:
        told = ngettext("{number} tunnel stays with the old process until its end; `ogw tunnels{flags}` shows it",
                        "{number} tunnels stay with the old process until their end; `ogw tunnels{flags}` shows them",
                        answer["tunnels"])  # fmt: skip
        print(told.format(number=count(answer["tunnels"]), flags=answer.get("flags", flags_of(asked))))
    return OK
