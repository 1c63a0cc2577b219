"""`ogw tunnels` and `ogw tunnel kill`: the open tunnels, one by one."""

import argparse
import json
import sys
from contextlib import suppress
from ipaddress import IPv6Address

from rich.text import Text

from ogw.cli.exits import FAILED, NO_GATEWAY, OK
from ogw.cli.live.gateway import flags_of, gateway_of, query_of
from ogw.cli.live.sockets import NO_GATEWAY_MEANS, add_gateway
from ogw.cli.parser import Parser, parser_of
from ogw.cli.screen import WARN, clean, duration, show, size, table
from ogw.cli.words import client_address
from ogw.language.conventions import count
from ogw.language.messages import gettext as _
from ogw.language.messages import ngettext, pgettext
from ogw.service.admin.shapes import Killed, Tunnels
from ogw.wire.connect import parse_host

MOST = 1000  # that the gateway lists
SHOWN = 50
LONGEST_IPV4 = len("255.255.255.255:65535")


def parser(verb: str) -> Parser:
    return {"list": _list_parser, "kill": _kill_parser}[verb]()


def run(asked: argparse.Namespace) -> int:
    code: int = asked.do(asked)
    return code


def _list_parser() -> Parser:
    made = parser_of(
        "tunnels",
        _("List the open tunnels, the longest open first."),
        examples=[
            "ogw tunnels",
            "ogw tunnels --client 10.1.2.3",
            "ogw tunnels --target www.example.com --most 1000",
            "ogw tunnels --json | jq -r '.tunnels[].tunnel'",
        ],
        codes={OK: _("done"), NO_GATEWAY: _(NO_GATEWAY_MEANS)},
    )
    add_gateway(made)
    made.add_argument("--client", metavar="ADDRESS", type=client_address, help=_("only those of this client"))
    made.add_argument("--target", metavar="HOST[:PORT]", type=_target, help=_("only those to this host"))
    told = _("how many to list at most, from 1 to {most} (default: {default})").format(most=MOST, default=SHOWN)
    made.add_argument("--most", metavar="NUMBER", type=_most, default=SHOWN, help=told)
    made.add_argument("--json", action="store_true", help=_("what the gateway answers to GET /tunnels, as it is"))
    made.set_defaults(do=_list)
    return made


def _list(asked: argparse.Namespace) -> int:
    query = query_of(client=asked.client or "", target=asked.target or "", most=asked.most)
    answer = gateway_of(asked).ask(f"/tunnels?{query}", Tunnels)
    if asked.json:
        print(json.dumps(answer, indent=2))
    else:
        _show(clean(answer))
    return OK


def _kill_parser() -> Parser:
    made = parser_of(
        "tunnel kill",
        _("End tunnels at once. Their ids stand in `ogw tunnels` and in the log, where each gets event 108 (killed)."),
        examples=["ogw tunnel kill 3fa1c2-17", "ogw tunnel kill 3fa1c2-17 3fa1c2-18"],
        codes={
            OK: _("all the tunnels are ended"),
            FAILED: _("one of the tunnels is not open"),
            NO_GATEWAY: _(NO_GATEWAY_MEANS),
        },
    )
    add_gateway(made)
    made.add_argument("ids", metavar="ID", nargs="+", help=_("the id of a tunnel"))
    made.set_defaults(do=_kill)
    return made


def _kill(asked: argparse.Namespace) -> int:
    gateway, code = gateway_of(asked), OK
    for tunnel in asked.ids:
        answer = gateway.ask(f"/kill?{query_of(tunnel=tunnel)}", Killed, "POST")
        if answer["killed"]:
            print(_("killed {tunnel}").format(tunnel=tunnel))
        elif missing := answer.get("workers_missing", 0):
            told = _missing(missing)
            print(f"ogw: {ascii(tunnel)[1:-1]}: {told}", file=sys.stderr)
            code = FAILED
        else:
            told = _("ogw: {tunnel} is no open tunnel; `ogw tunnels{flags}` lists them")
            print(told.format(tunnel=ascii(tunnel)[1:-1], flags=flags_of(asked)), file=sys.stderr)
            code = FAILED
    return code


def _show(answer: Tunnels) -> None:
    rows, total = answer["tunnels"], answer["total"]
    subjects = [one.get("client_subject", "") for one in rows]
    ways = [one.get("via", "") for one in rows]
    columns = [
        (_("tunnel"), [one["tunnel"] for one in rows]),
        (_("client"), [one["client"] for one in rows]),
        *([(pgettext("of a client certificate", "subject"), subjects)] if any(subjects) else []),
        *([(pgettext("the load balancer that a client came through", "via"), ways)] if any(ways) else []),
        (_("target"), [one["target"] for one in rows]),
        (_("upstream"), [one["upstream"] for one in rows]),
        (_("state"), [one["state"] for one in rows]),
        (_("open for"), [duration(one["duration"]) for one in rows]),
        (pgettext("bytes to targets", "up"), [size(one["bytes_up"]) for one in rows]),
        (pgettext("bytes from targets", "down"), [size(one["bytes_down"]) for one in rows]),
    ]
    places = range(len(columns))
    listed = table(*(name for name, _cells in columns), numbers=places[-3:], folds=places[1:-4])
    listed.columns[1].min_width = min(LONGEST_IPV4, max((len(one["client"]) for one in rows), default=0))
    for cells in zip(*(cells for _name, cells in columns), strict=True):
        listed.add_row(*map(Text, cells))
    if rows:
        show(listed)
    if total > len(rows):
        told = ngettext(
            "{shown} of {total} tunnel; --most NUMBER shows more, --client and --target pick some",
            "{shown} of {total} tunnels; --most NUMBER shows more, --client and --target pick some",
            total,
        )
        show(Text(told.format(shown=count(len(rows)), total=count(total)), style=WARN))
    elif not rows:
        show(Text(_("no tunnel is open, or none that was asked for")))
    if missing := answer["workers_missing"]:
        print(f"ogw: {_missing(missing)}", file=sys.stderr)


def _missing(number: int) -> str:
    told = ngettext("{number} worker did not answer in time; its tunnels are missing",
                    "{number} workers did not answer in time; their tunnels are missing", number)  # fmt: skip
    return told.format(number=number)


# Words of the command line.


def _target(text: str) -> str:
    with suppress(ValueError):
        return f"[{IPv6Address(text)}]"
    host, colon, port = text.rpartition(":")
    has_port = colon and not text.endswith("]")
    try:
        if has_port and not (port.isascii() and port.isdigit()):
            raise ValueError
        parse_host((host if has_port else text).encode("utf-8", "replace"))
    except ValueError:
        raise argparse.ArgumentTypeError(_("{text} is no HOST or HOST:PORT").format(text=ascii(text))) from None
    return text.lower().rstrip(".")


def _most(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= MOST):
        raise argparse.ArgumentTypeError(_("{text} is no number from 1 to {most}").format(text=ascii(text), most=MOST))
    return int(text)
