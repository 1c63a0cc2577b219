"""`ogw explain`: whether a client may go to a target, which rule says so, and what happens then."""

import argparse
import json
import sys
from typing import Any, Optional

from rich.console import RenderableType
from rich.text import Text

from ogw.cli.ask.explanation import Explainer, connect_target
from ogw.cli.configuration import gateway_parser, load_or_tell
from ogw.cli.exits import FAILED, OK, WRONG, Failed, Wrong
from ogw.cli.live.gateway import Gateway
from ogw.cli.live.named_file import gateway_of_config
from ogw.cli.live.sockets import NoGateway
from ogw.cli.parser import Parser
from ogw.cli.screen import BAD, BOLD, DIM, GOOD, WARN, clean, show, table
from ogw.cli.words import client_address, name_of_client
from ogw.language.conventions import count
from ogw.language.messages import gettext as _
from ogw.language.messages import ngettext, pgettext
from ogw.language.phrases import either
from ogw.policy.names import shown
from ogw.policy.rules import parse_time
from ogw.settings.settings import Config
from ogw.tunnel.loop import Interruptible
from ogw.wire.host_mistakes import target_mistake

GATEWAY_SECONDS = 1.0  # for the question whether it has the same policy
INDENT = 14


def parser() -> Parser:
    made = gateway_parser(
        "explain",
        _(
            "Say whether a client may go to a host, which rule says so and where it stands, and what happens then. "
            "It gives the same decision and reason as a gateway with this configuration; nothing is dialed, so that "
            "limits, and targets that do not answer, are left out (`ogw doctor` dials)."
        ),
        examples=[
            "ogw explain www.example.com",
            "ogw explain build.example.com:8443 --client 10.1.2.3",
            "ogw explain www.example.com --from cn:till-17",
            "ogw explain www.example.com --at 2027-01-31T18:00:00Z --json",
            "ogw explain www.example.com --config new.ini",
        ],
        codes={
            OK: _("the client may go there"),
            FAILED: _("the client is refused, or no TLS session of it can pass"),
            WRONG: _("the command line or the configuration is wrong"),
        },
    )
    made.add_argument("target", metavar="HOST[:PORT]", help=_("where the client wants to go; without a port, port 443"))
    about = _("the client's address, for allowed-client and rules with from= (default: 127.0.0.1)")
    made.add_argument("--client", metavar="IP", type=client_address, default="127.0.0.1", help=about)
    about = _("a name of the client's certificate, cn:NAME or san:NAME, for rules with from= (may be repeated)")
    made.add_argument("--from", dest="names", metavar="NAME", type=name_of_client, action="append", default=[],
                      help=about)  # fmt: skip
    made.add_argument(
        "--at",
        metavar="TIME",
        type=_time,
        help=_("the time to decide for, which matters to rules with until= (default: now)"),
    )
    made.add_argument("--json", action="store_true", help=_("answer as JSON"))
    return made


def run(asked: argparse.Namespace) -> int:
    if mistake := target_mistake(asked.target):
        raise Wrong(mistake)
    config = load_or_tell(asked.flags)
    if config is None:
        return WRONG
    try:
        explainer = Explainer(config)
    except (OSError, ValueError) as error:
        raise Failed(str(error)) from None
    try:
        with Interruptible():
            answer = explainer.explain(connect_target(asked.target), asked.client, asked.at, frozenset(asked.names))
    finally:
        explainer.close()
    if asked.json:
        print(json.dumps(answer, indent=2))
    else:
        show(*_screen(clean(answer)))
    _compare_with_running(config, answer["policy"])
    return OK if answer["decision"] == "allowed" else FAILED


def _time(text: str) -> float:
    try:
        return parse_time(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!a}: {error}") from None


def _compare_with_running(config: Config, policy: str) -> None:
    """Say so where a gateway runs with another policy: this answer is not about that one."""
    try:
        running, flags = Gateway(gateway_of_config(config)).policy_and_flags(GATEWAY_SECONDS)
    except NoGateway:
        return
    if running != policy:
        message = _("ogw: the running gateway has another policy ({running}, here it is {policy}): it was started with "
                    "other flags, or the file changed since; `ogw reload{flags}` takes its file")  # fmt: skip
        print(message.format(running=clean(running), policy=policy, flags=clean(flags)), file=sys.stderr)


# What people see.


def _screen(answer: dict[str, Any]) -> list[RenderableType]:
    target = answer["target"] or answer["asked"]
    allowed = answer["decision"] == "allowed"
    said, style = {
        "allowed": (pgettext("of a target", "allowed"), GOOD),
        "refused": (pgettext("of a target", "refused"), BAD),
        "rejected": (pgettext("of a target", "allowed, but no session can pass"), BAD),
    }[answer["decision"]]
    client = shown(answer["client"], frozenset(answer.get("names", ())))
    of_client = _("for client {client} at {time}") if answer["at"] else _("for client {client}")
    of_client = of_client.format(client=client, time=answer["at"])
    parts: list[RenderableType] = [
        Text.assemble((target, BOLD), "  ", (said, f"{BOLD} {style}"), "  ", (of_client, DIM))
    ]
    facts = table("", "", folds=(1,))

    def fact(name: str, *texts: Any) -> None:
        facts.add_row(Text(name.ljust(INDENT), style=DIM), Text.assemble(*texts))

    if not allowed:
        status = _("the client is answered {status}, event OGW-{event}")
        if answer["decision"] == "rejected":
            status = _("the tunnel opens, and its TLS session is ended, event OGW-{event}")
        status = status.format(status=answer["status"], event=answer["event"])
        fact(_("reason"), (answer["reason"], WARN), (f"  ({status})", DIM))
        fact(_("why"), answer["detail"])
    elif answer["reported"]:
        passes = _("the client would be refused, but passes, since policy-mode is report")
        fact(_("reason"), (answer["reported"], WARN), "  ", (passes, WARN))
        fact(_("why"), answer["detail"])
    if answer["command"]:
        fact(_("to allow it"), answer["command"])
    for number, rule in enumerate(answer["rules"]):
        fact(_("rules") if not number else "", *_rule(rule))
    if answer["way"] is not None:
        fact(pgettext("to a target", "way"), *_way(answer["way"]))
    for number, one in enumerate(answer["addresses"]):
        verdict = (_("may be dialed"), GOOD) if one["allowed"] else (one["detail"], BAD)
        fact(_("addresses") if not number else "", one["address"], "  ", verdict)
    if answer["more_addresses"]:
        more = answer["more_addresses"]
        told = ngettext("and {number} more address", "and {number} more addresses", more)
        fact("", (told.format(number=count(more)), DIM))
    for number, line in enumerate(_tls(answer["tls"]) if answer["tls"] else ()):
        fact(_("TLS") if not number else "", line)
    return [*parts, facts]


def _obstacle(word: str) -> str:
    return {
        "port": _("is for another port"),
        "until": _("has ended"),
        "from": _("is for other clients"),
        "stage": _("is for gateways of another stage"),
    }[word]


def _rule(rule: dict[str, Any]) -> list[Any]:
    if rule["decides"]:
        note = (_("decides"), GOOD if rule["list"] == "allowed-host" else BAD)
    elif rule["holds"]:
        note = (_("would allow it"), DIM) if rule["list"] == "allowed-host" else (_("denies it, too"), BAD)
    else:
        note = (_obstacle(rule["obstacle"]), WARN)
    return [f"{rule['list']} = {rule['rule']}", "  ", note, (f"  {rule['source']}", DIM)]


def _way(way: dict[str, Any]) -> list[Any]:
    passing_by: list[Any] = []
    for one in way["passing_by"]:
        passing_by += [f"  relay-proxy = {one['relay_proxy']} for={one['rule']}  ", (_obstacle(one["obstacle"]), WARN)]
        passing_by.append((f"  {one['source']}", DIM))
    if way["through"] == "relay proxy":
        note = _("the relay proxy looks the name up itself, where the address guard does not see it")
        if way["resolved_here"]:
            note = _("the name is looked up here, and the relay proxy is asked only for what the address guard allows")
        by = [(_("for={rule} names the target").format(rule=one["rule"]), one["source"]) for one in way["named_by"]]
        return [
            _("through the relay proxy {proxies}").format(proxies=either(way["relay_proxies"])),
            *((f"  {told}  {source}", DIM) for told, source in by),
            (f"  {note}", DIM),
            *passing_by,
        ]
    if way["not_named"]:
        return [_("directly: no entry of relay-proxy names the target, and none is for all targets"), *passing_by]
    if way["bypass"] is None:
        return [_("directly to the target")]
    message = _("directly, not through a relay proxy: relay-proxy-bypass = {rule}")
    return [message.format(rule=way["bypass"]["rule"]), (f"  {way['bypass']['source']}", DIM)]


def _tls(tls: dict[str, Any]) -> list[str]:
    if tls["rules"] == "off":
        return [_("anything passes, TLS or not (tls-rules = off)")]
    name: Optional[str] = tls["server_name"]
    names = [] if name is None else [name]
    names += [_("any allowed host")] if tls["or_any_allowed_host"] else []
    names += [pgettext("of server names", "none")] if tls["or_none"] else []
    none_passes = _("no session can pass: an address is no server name; add no-server-name to the rule of the target")
    lines = [
        _("{version} or newer").format(version=tls["min_version"]),
        _("server name: {names}").format(names=either(names)) if names else none_passes,
    ]
    if tls["encrypted_client_hello"] == "deny":
        lines.append(_("no encrypted ClientHello"))
    if tls["client_certificates"] is not None:
        lines.append(_("client certificate: {names}").format(names=either(tls["client_certificates"])))
        unseen = _("a client certificate that cannot be seen (TLS 1.3, resumed sessions): {verdict}")
        lines.append(unseen.format(verdict=tls["unseen_client_certificate"]))
    if tls["rules"] == "report":
        lines.append(_("what breaks these rules is logged, and passes all the same (tls-rules = report)"))
    return lines
