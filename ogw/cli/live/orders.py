"""`ogw reload` and `ogw drain`: what a running gateway is told to do."""

import argparse
import json
import sys
from contextlib import suppress

from ogw.cli.exits import FAILED, NO_GATEWAY, OK, UNWRITTEN
from ogw.cli.live.gateway import Gateway, flags_of, gateway_of
from ogw.cli.live.sockets import NO_GATEWAY_MEANS, NoGateway, add_gateway
from ogw.cli.live.status import headline
from ogw.cli.parser import Parser, parser_of
from ogw.cli.screen import clean
from ogw.language.conventions import count
from ogw.language.messages import gettext as _
from ogw.language.messages import ngettext
from ogw.service.admin.shapes import Reloaded
from ogw.settings.settings import SETTINGS

RELOAD_SECONDS = 80.0  # the gateway gives its workers 60, and other answers a few


def parser(verb: str) -> Parser:
    return {"reload": _reload_parser, "drain": _drain_parser}[verb]()


def run(asked: argparse.Namespace) -> int:
    code: int = asked.do(asked)
    return code


def _reload_parser() -> Parser:
    made = parser_of(
        "reload",
        _(
            "Let the gateway read its configuration again, as SIGHUP does. All of it is taken, or nothing: if there is "
            "a mistake the running configuration stays. No tunnel is dropped."
        ),
        examples=["ogw reload", "ogw reload --run-dir /run/ogw", "ogw reload --json"],
        codes={
            OK: _("reloaded"),
            FAILED: _("the reload was refused, or has not ended yet; every mistake is told"),
            NO_GATEWAY: _(NO_GATEWAY_MEANS),
            UNWRITTEN: _("done, but the output could not be written"),
        },
    )
    add_gateway(made)
    made.add_argument("--json", action="store_true", help=_("what the gateway answers to POST /reload, as it is"))
    made.set_defaults(do=_reload)
    return made


def _reload(asked: argparse.Namespace) -> int:
    gateway = gateway_of(asked)
    if not asked.json:
        return tell_of_reload(reloaded(gateway))
    answer = gateway.ask("/reload", Reloaded, "POST", RELOAD_SECONDS)
    print(json.dumps(answer, indent=2))
    return FAILED if answer["mistakes"] else OK


def reloaded(gateway: Gateway) -> Reloaded:
    """Let it reload; what came of it, clean. Raises NoGateway."""
    answer: Reloaded = clean(gateway.ask("/reload", Reloaded, "POST", RELOAD_SECONDS))
    return answer


def tell_of_reload(answer: Reloaded) -> int:
    """Say what came of a reload; the exit code."""
    if answer["mistakes"]:
        for mistake in answer["mistakes"]:
            print(f"ogw: {mistake}", file=sys.stderr)
        if answer.get("running"):
            return FAILED
        print(_("ogw: nothing was reloaded, the running configuration stays"), file=sys.stderr)
        return FAILED
    changed = answer["changed"]
    told = _("reloaded, nothing changed; policy {policy}")
    if changed:
        told = _("reloaded, changed: {names}; policy {policy}")
    print(told.format(names=", ".join(changed), policy=answer["policy"]))
    # A gateway of before tells only what changed.
    for name in answer.get("restart", [one for one in changed if one in SETTINGS and SETTINGS[one].restart]):
        print(_("ogw: {name} changed; that needs a restart of the gateway").format(name=name), file=sys.stderr)
    return OK


def _drain_parser() -> Parser:
    made = parser_of(
        "drain",
        _(
            "Let the gateway stop, as SIGTERM does: readiness says no, and it serves on for drain-delay; then it takes "
            "no new tunnels, gives the open ones drain-timeout to finish, and ends. Under systemd use `systemctl stop "
            "ogw`, which does the same and starts no new one."
        ),
        examples=["ogw drain", "ogw drain --now"],
        codes={OK: _("the gateway drains"), NO_GATEWAY: _(NO_GATEWAY_MEANS)},
    )
    add_gateway(made)
    told = _("end the open tunnels at once, also those of a gateway that drains already")
    made.add_argument("--now", action="store_true", help=told)
    made.set_defaults(do=_drain)
    return made


def _drain(asked: argparse.Namespace) -> int:
    gateway = gateway_of(asked)
    status = gateway.status()
    number = status["counters"]["tunnels"]
    drains = status["state"] == "draining"
    serves_on = 0.0
    # To a gateway that drains the same order means: end now. Nobody should say that by asking twice.
    if not drains:
        serves_on = gateway.value("/drain", "POST").get("serves_on", 0.0)
    if asked.now:
        with suppress(NoGateway):  # one that had nothing open ended after the first
            gateway.value("/drain", "POST")
        told = ngettext("the gateway ends now; it had {number} tunnel open",
                        "the gateway ends now; it had {number} tunnels open", number)  # fmt: skip
    elif drains:
        told = ngettext(
            "the gateway drains already, with {number} tunnel open; `ogw drain --now{flags}` ends it",
            "the gateway drains already, with {number} tunnels open; `ogw drain --now{flags}` ends them",
            number,
        )
    else:
        told = ngettext("the gateway drains, with {number} tunnel open",
                        "the gateway drains, with {number} tunnels open", number)  # fmt: skip
    print(told.format(number=count(number), flags=flags_of(asked)))
    if serves_on and not asked.now:
        status["state"], status["serves_on"] = "draining", serves_on
        print(headline(clean(status)))
    return OK
