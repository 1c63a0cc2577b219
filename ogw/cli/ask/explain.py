"""`ogw explain`: whether a client may go to a target, which rule says so, and what happens then."""

import argparse
import json
import sys
from typing import Any, Optional

from rich.console import RenderableType
from rich.text import Text

from ogw.cli.ask.explanation import Explainer, connect_target
from ogw.cli.configuration import gateway_parser, load_or_tell
from ogw.cli.exits import FAILED, OK, WRONG, Failed
from ogw.cli.live.gateway import Gateway
from ogw.cli.live.sockets import NoGateway
from ogw.cli.parser import Parser
from ogw.cli.screen import BAD, BOLD, DIM, GOOD, WARN, clean, show, table
from ogw.cli.words import client_address, name_of_client
from ogw.language.messages import gettext as _
from ogw.policy.names import shown
from ogw.policy.rules import parse_time
from ogw.settings.settings import Config
from ogw.tunnel.loop import Interruptible

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
            OK: _("allowed"),
            FAILED: _("refused"),
            WRONG: _("the command line or the configuration is wrong"),
        },
    )
    made.add_argument("target", metavar="HOST[:PORT]", help=_("where to; without a port, 443"))
    about = _("the client's address, for allowed-client and rules with from= (default: 127.0.0.1)")
    made.add_argument("--client", metavar="IP", type=client_address, default="127.0.0.1", help=about)
    about = _("a name of the client's certificate, cn:NAME or san:NAME, for rules with from= (may be repeated)")
    made.add_argument("--from", dest="names", metavar="NAME", type=name_of_client, action="append", default=[],
                      help=about)  # fmt: skip
    made.add_argument("--at", metavar="TIME", type=_time, help=_("as it would be then, for rules with until="))
    made.add_argument("--json", action="store_true", help=_("answer as JSON"))
    return made


def run(asked: argparse.Namespace) -> int:
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
        raise argparse.ArgumentTypeError(f"{text!a} {error}") from None


def _compare_with_running(config: Config, policy: str) -> None:
    """Say so where a gateway runs with another policy: this answer is not about that one."""
    try:
        running, flags = Gateway(config.run_dir).policy_and_flags(GATEWAY_SECONDS)
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
    when = _(" at {time}").format(time=answer["at"]) if answer["at"] else ""
    said = Text(_("allowed"), f"{BOLD} {GOOD}") if allowed else Text(_("refused"), f"{BOLD} {BAD}")
    client = shown(answer["client"], frozenset(answer.get("names", ())))
    of_client = _("  for client {client}{when}").format(client=client, when=when)
    parts: list[RenderableType] = [Text.assemble((target, BOLD), "  ", said, (of_client, DIM))]
    facts = table("", "", folds=(1,))

    def fact(name: str, *texts: Any) -> None:
        facts.add_row(Text(name.ljust(INDENT), style=DIM), Text.assemble(*texts))

    if not allowed:
        status = _("  (the client's answer is {status}, event OGW-{event})")
        status = status.format(status=answer["status"], event=answer["event"])
        fact(_("reason"), (answer["reason"], WARN), (status, DIM))
        fact(_("because"), answer["detail"])
    elif answer["reported"]:
        passes = _("  would be refused; it passes, since policy-mode is report")
        fact(_("reason"), (answer["reported"], WARN), (passes, WARN))
        fact(_("because"), answer["detail"])
    if answer["command"]:
        fact(_("to allow it"), answer["command"])
    for number, rule in enumerate(answer["rules"]):
        fact(_("rules") if not number else "", *_rule(rule))
    if answer["way"] is not None:
        fact(_("way"), *_way(answer["way"]))
    for number, one in enumerate(answer["addresses"]):
        verdict = (_("may be dialed"), GOOD) if one["allowed"] else (one["detail"], BAD)
        fact(_("addresses") if not number else "", one["address"], "  ", verdict)
    if answer["more_addresses"]:
        fact("", (_("and {number} more").format(number=f"{answer['more_addresses']:,}"), DIM))
    for number, line in enumerate(_tls(answer["tls"]) if answer["tls"] else ()):
        fact(_("TLS") if not number else "", line)
    return [*parts, facts]


def _rule(rule: dict[str, Any]) -> list[Any]:
    obstacles = {
        "port": _("is for another port"),
        "until": _("has ended"),
        "from": _("is for other clients"),
        "stage": _("is for gateways of another stage"),
    }
    if rule["decides"]:
        note = (_("decides"), GOOD if rule["list"] == "allowed-host" else BAD)
    elif rule["holds"]:
        note = (_("would allow it"), DIM) if rule["list"] == "allowed-host" else (_("denies it, too"), BAD)
    else:
        note = (obstacles[rule["obstacle"]], WARN)
    return [f"{rule['list']} = {rule['rule']}", "  ", note, (f"  {rule['source']}", DIM)]


def _way(way: dict[str, Any]) -> list[Any]:
    if way["through"] == "relay proxy":
        note = _("  which looks the name up itself, out of the address guard's sight")
        by = [_("  for={rule} names it  {source}").format(**one) for one in way["named_by"]]
        if way["resolved_here"]:
            note = _("  the name is looked up here, and only what the address guard allows is asked for")
        return [
            _("through the relay proxy {proxies}").format(proxies=_(", or ").join(way["relay_proxies"])),
            *((one, DIM) for one in by),
            (note, DIM),
        ]
    if way["not_named"]:
        return [_("straight: no entry of relay-proxy names it, and none is for all targets")]
    if way["bypass"] is None:
        return [_("straight")]
    message = _("straight, past the relay proxy: relay-proxy-bypass = {rule}")
    return [message.format(rule=way["bypass"]["rule"]), (f"  {way['bypass']['source']}", DIM)]


def _tls(tls: dict[str, Any]) -> list[str]:
    if tls["rules"] == "off":
        return [_("anything passes, TLS or not (tls-rules = off)")]
    name: Optional[str] = tls["server_name"]
    names = [] if name is None else [name]
    names += [_("any allowed host")] if tls["or_any_allowed_host"] else []
    names += [_("none")] if tls["or_none"] else []
    none_passes = _("no session can pass: an address is no server name; add no-server-name to its rule")
    lines = [
        _("{version} or newer").format(version=tls["min_version"]),
        _("server name: {names}").format(names=_(" or ").join(names)) if names else none_passes,
    ]
    if tls["encrypted_client_hello"] == "deny":
        lines.append(_("no encrypted ClientHello"))
    if tls["client_certificates"] is not None:
        lines.append(_("client certificate: {names}").format(names=_(" or ").join(tls["client_certificates"])))
        unseen = _("one that cannot be seen (TLS 1.3, resumed sessions): {verdict}")
        lines.append(unseen.format(verdict=tls["unseen_client_certificate"]))
    if tls["rules"] == "report":
        lines.append(_("what breaks these rules is logged, and passes all the same (tls-rules = report)"))
    return lines
