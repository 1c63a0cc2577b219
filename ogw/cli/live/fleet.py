"""`ogw fleet status`: many gateways in one table, and whether they are the same and serve."""

import argparse
import json
import queue
import ssl
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Optional

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ogw.cli.exits import FAILED, OK, Wrong
from ogw.cli.live.fleet_answer import PORT, FleetMember, ask_member, parse_url, silent
from ogw.cli.parser import Parser, parser_of
from ogw.cli.screen import BAD, GOOD, WARN, clean, duration, indented, show, table
from ogw.language.conventions import count
from ogw.language.messages import gettext as _
from ogw.language.messages import ngettext, pgettext
from ogw.machine.files import read_file
from ogw.settings.tokens import read_tokens
from ogw.wire.url import shown_url

SECONDS = 5.0
AT_A_TIME = 32  # gateways that are asked
MOST = 2000
LARGEST = 1 << 20  # bytes of a file of URLs
NAMED = 5  # gateways in a sentence; the table has them all


class Finding(NamedTuple):
    """What is wrong with the fleet.

    what      a sentence
    do        what to do about it
    gateways  URLs of those that it is about
    """

    what: str
    do: str
    gateways: list[str]


def parser() -> Parser:
    made = parser_of(
        "fleet status",
        _(
            "Ask many gateways for their state, by /readyz and /metrics of their admin-address, and show them in one "
            "table: whether all have the same version and policy, are ready, and when their lists were fetched. Many "
            "are asked at the same time, each for --timeout at most. A URL without a port means port 9180, and one "
            "without a path means the root."
        ),
        examples=[
            "ogw fleet status http://10.1.0.5:9180 http://10.2.0.5:9180",
            "ogw fleet status --file gateways.txt --token-file token --ca authority.pem",
            "ogw fleet status --file gateways.txt --json | jq -r '.findings[].what'",
        ],
        codes={
            OK: _("all answer, are ready, and have the same version and policy"),
            FAILED: _("policies or versions differ, or a gateway does not answer or is not ready; lines below the "
                      "table say which, and what to do"),
        },
    )  # fmt: skip
    made.add_argument("urls", metavar="URL", nargs="*", help=_("the admin-address of a gateway: http[s]://HOST[:PORT]"))
    told = _("a file with more URLs, one on each line; # begins a comment")
    made.add_argument("--file", metavar="FILE", default="", help=told)
    told = _("the token to send, in a file that not every user may read; of several the first is sent")
    made.add_argument("--token-file", metavar="FILE", default="", help=told)
    told = _("the authorities (PEM) that certificates are verified with; without it, those of the system")
    made.add_argument("--ca", metavar="FILE", default="", help=told)
    told = _("how long each gateway has to answer (default: {seconds:g})").format(seconds=SECONDS)
    made.add_argument("--timeout", metavar="SECONDS", type=_seconds, default=SECONDS, help=told)
    made.add_argument("--json", action="store_true", help=_("answer as JSON"))
    return made


def run(asked: argparse.Namespace) -> int:
    gateways = _gateways(asked)
    token, context = _token(asked.token_file), _context(asked.ca)
    plain = [one for one in gateways if parse_url(one).scheme == "http"]
    if token and plain:
        told = _("ogw: the token is sent over http:// to {gateways}: whoever sees it on the way can use it")
        print(told.format(gateways=_named(plain)), file=sys.stderr)
    fleet: list[FleetMember] = clean(
        asked_all(gateways, lambda one: ask_member(one, token, context, asked.timeout), asked.timeout)
    )
    found = findings(fleet)
    if asked.json:
        print(json.dumps({"gateways": fleet, "findings": [one._asdict() for one in found]}, indent=2))
    else:
        show(_table(fleet))
        told = ngettext("{number} gateway, ready", "{number} gateways, all ready, with the same version and policy",
                        len(fleet))  # fmt: skip
        same = Text(told.format(number=count(len(fleet))), style=GOOD)
        show(Text(), *([line for one in found for line in _lines(one)] or [same]))
    return FAILED if found else OK


def asked_all(
    gateways: Sequence[str], ask: Callable[[str], FleetMember], seconds: float, at_a_time: int = AT_A_TIME
) -> list[FleetMember]:
    """What each says, in their order; so many are asked at a time, and one that takes longer is left to itself."""
    told: queue.SimpleQueue[tuple[int, FleetMember]] = queue.SimpleQueue()
    answers: dict[int, FleetMember] = {}
    until: dict[int, float] = {}  # of those that are asked just now
    waiting = list(enumerate(gateways))[::-1]

    def body(number: int, gateway: str) -> None:
        told.put((number, ask(gateway)))

    while waiting or until:
        while waiting and len(until) < at_a_time:
            number, gateway = waiting.pop()
            until[number] = time.monotonic() + seconds + 1  # whoever asks keeps to the time; a name's look-up may not
            threading.Thread(target=body, args=(number, gateway), daemon=True).start()
        try:
            number, answer = told.get(timeout=max(0.01, min(until.values()) - time.monotonic()))
            if until.pop(number, None) is not None:
                answers[number] = answer
        except queue.Empty:
            for number in [one for one, end in until.items() if time.monotonic() >= end]:
                del until[number]
    why = _("no answer within {seconds:g} s").format(seconds=seconds)
    return [answers.get(number) or silent(gateway, why) for number, gateway in enumerate(gateways)]


def findings(fleet: Sequence[FleetMember]) -> list[Finding]:
    """What is wrong with it; nothing where all is well."""
    found = []
    if dumb := [one["gateway"] for one in fleet if one["why"]]:
        what = _("no usable answer from {gateways}").format(gateways=_named(dumb))
        found.append(Finding(what, _("the table says why; ogw status on the gateway's machine says more"), dumb))
    do = _("let all have the same configuration, and `ogw reload` those that lag behind")
    found += _differ(fleet, "policy", _("the policies differ: {groups}"), do)
    do = _("upgrade those that lag behind, one at a time: `ogw upgrade`")
    found += _differ(fleet, "version", _("the versions differ: {groups}"), do)
    if out := [one["gateway"] for one in fleet if one["ready"] is False]:
        what = _("not ready: {gateways}").format(gateways=_named(out))
        found.append(Finding(what, _("the table says why; ogw status on the gateway's machine says more"), out))
    return found


def _differ(fleet: Sequence[FleetMember], key: str, what: str, do: str) -> list[Finding]:
    groups: dict[str, list[str]] = {}
    for one in fleet:
        if not one["why"]:
            groups.setdefault(one[key] or "-", []).append(one["gateway"])  # type: ignore[literal-required]
    if len(groups) < 2:
        return []
    sizes = sorted(groups.items(), key=lambda group: -len(group[1]))
    told = "; ".join(f"{value} ({_named(of)})" for value, of in sizes)
    # Where most agree, it is about the others; where as many stand against as many, nobody knows who is right.
    clear = len(sizes[0][1]) > len(sizes[1][1])
    return [Finding(what.format(groups=told), do, [one for _value, of in sizes[clear:] for one in of])]


def _named(gateways: Sequence[str]) -> str:
    more = len(gateways) - NAMED
    listed = ", ".join(gateways[:NAMED])
    told = ngettext("{gateways} and {number} more gateway", "{gateways} and {number} more gateways", more)
    return told.format(gateways=listed, number=count(more)) if more > 0 else listed


# Words of the command line.


def _seconds(text: str) -> float:
    try:
        seconds = float(text) if text.isascii() and len(text) < 8 else 0.0
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 600:
        raise argparse.ArgumentTypeError(_("{text} is no number of seconds from 0.1 to 600").format(text=ascii(text)))
    return seconds


def _gateways(asked: argparse.Namespace) -> list[str]:
    """Their URLs, each gateway's once, however often and in whatever spelling it is named. Raises Wrong."""
    named = [("", one) for one in asked.urls] + (_of_file(asked.file) if asked.file else [])
    if not named:
        raise Wrong(_("name gateways: ogw fleet status http://10.1.0.5:9180 ..., or --file FILE with one URL a line"))
    if len(named) > MOST:
        told = _("{number} gateways are too many: at most {most} can be asked")
        raise Wrong(told.format(number=len(named), most=MOST))
    gateways: dict[object, str] = {}
    for where, text in named:
        try:
            url = parse_url(text)
        except ValueError as error:
            raise Wrong(f"{where}{ascii(shown_url(text))[1:-1][:200]}: {error}") from None
        root = url.scheme, (url.hostname or "").rstrip("."), url.port or PORT, url.path.rstrip("/")
        gateways.setdefault(root, text)
    return list(gateways.values())


def _of_file(path: str) -> list[tuple[str, str]]:
    """(where it stands, URL); "-" is standard input. Raises Wrong."""
    try:
        data = sys.stdin.buffer.read(LARGEST + 1) if path == "-" else read_file(path, LARGEST)
    except OSError as error:
        raise Wrong(f"{ascii(path)[1:-1]}: {error.strerror or error}") from None
    if len(data) > LARGEST:
        raise Wrong(_("{file}: the file is larger than {most} bytes").format(file=ascii(path)[1:-1], most=LARGEST))
    lines = enumerate(data.decode("utf-8-sig", "replace").split("\n"), 1)
    shown = ascii(path)[1:-1]
    stripped = ((number, line.partition("#")[0].strip()) for number, line in lines)
    return [(f"{shown}:{number}: ", line) for number, line in stripped if line]


def _token(path: str) -> str:
    """Raises Wrong."""
    try:
        return read_tokens(path)[0] if path else ""
    except ValueError as error:
        raise Wrong(f"--token-file: {error}") from None


def _context(path: str) -> ssl.SSLContext:
    """Raises Wrong."""
    try:
        context = ssl.create_default_context(cafile=path or None)
    except ssl.SSLError:
        told = _("--ca: {file}: there are no certificates (PEM) in this file")
        raise Wrong(told.format(file=ascii(path)[1:-1])) from None
    except OSError as error:
        raise Wrong(f"--ca: {ascii(path)[1:-1]}: {error.strerror or error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


# The screen.


def _table(fleet: Sequence[FleetMember]) -> Table:
    shown = table(
        _("gateway"),
        _("version"),
        _("policy"),
        pgettext("to serve", "ready"),
        _("tunnels"),
        pgettext("number of requests", "refused"),
        pgettext("how long ago", "reloaded"),
        pgettext("how long ago they were fetched", "lists"),
        numbers=(4, 5, 6, 7),
        folds=(3,),
    )
    for one in fleet:
        cells = [_text(one["version"]), _text(one["policy"]), _state(one), _number(one["tunnels"])]
        cells += [_number(one["refused"]), _age(one["reload_age"]), _age(one["list_age"])]
        shown.add_row(Text(one["gateway"]), *cells)
    return shown


def _state(one: FleetMember) -> Text:
    if one["why"]:
        return Text(one["why"], style=BAD)
    return Text(_("yes"), style=GOOD) if one["ready"] else Text(_("no: {why}").format(why=one["not_ready"]), style=WARN)


def _text(text: Optional[str]) -> Text:
    return Text("-" if text is None else text)


def _number(number: Optional[int]) -> Text:
    return _text(None if number is None else count(number))


def _age(seconds: Optional[float]) -> Text:
    return _text(None if seconds is None else duration(seconds))


def _lines(finding: Finding) -> list[RenderableType]:
    return [Text(finding.what, style=BAD), indented(Text(finding.do))]
