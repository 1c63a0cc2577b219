"""`ogw sources` and `ogw sources rollback`: how the lists from elsewhere stand, and the last good one but one."""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from typing import Optional

from rich.console import RenderableType
from rich.text import Text

from ogw.cli.configuration import load_or_tell
from ogw.cli.exits import FAILED, NO_GATEWAY, OK, WRONG, Failed
from ogw.cli.live.gateway import Gateway, flags_of, gateway_of, query_of
from ogw.cli.live.orders import RELOAD_SECONDS
from ogw.cli.live.sockets import NotRunning, add_gateway
from ogw.cli.live.status import refused_reload
from ogw.cli.parser import Parser, parser_of
from ogw.cli.screen import BAD, BOLD, DIM, WARN, clean, duration, indented, moment, show
from ogw.cli.who import who
from ogw.language.conventions import count
from ogw.language.messages import gettext as _
from ogw.language.messages import gettext_noop as N_
from ogw.language.messages import ngettext
from ogw.report.status import RefusedReload, SourceStatus
from ogw.service.admin.shapes import RolledBack, Sources
from ogw.service.sources import rows_of
from ogw.settings.elsewhere.rollback import CannotRollBack, Lists
from ogw.settings.elsewhere.source import is_url, meant, not_one
from ogw.settings.settings import Config

SILENT = N_("a gateway is there that does not answer, or that this user may not ask")


def parser(verb: str) -> Parser:
    return {"list": _list_parser, "rollback": _rollback_parser}[verb]()


def run(asked: argparse.Namespace) -> int:
    code: int = asked.do(asked)
    return code


def _list_parser() -> Parser:
    made = parser_of(
        "sources",
        _(
            "Show the state of the files, folders and URLs of allowed-host-source: what is in force of each, when its "
            "server last had that, its serial, when its signature expires and which key made it, why the last download "
            "was not taken, and what is rolled back. Where no gateway runs, it is what the next one would start with."
        ),
        examples=["ogw sources", "ogw sources --json | jq '.sources[] | select(.overdue)'"],
        codes={
            OK: _("each source has a list in force, and nothing is wrong with it"),
            FAILED: _(
                "a source has no list in force, its last download was not taken, its signature has expired, it is "
                "rolled back, or the last reload was refused"
            ),
            WRONG: _("the command line, or, where no gateway runs, the configuration is wrong"),
            NO_GATEWAY: _(SILENT),
        },
    )
    add_gateway(made)
    made.add_argument("--json", action="store_true", help=_("what the gateway answers to GET /sources, as it is"))
    made.set_defaults(do=_list)
    return made


def _list(asked: argparse.Namespace) -> int:
    refused: Optional[RefusedReload] = None
    try:
        gateway = gateway_of(asked)
        answer: Sources = gateway.ask("/sources", Sources)
        refused = clean(gateway.status().get("reload_refused"))
    except NotRunning:
        config = load_or_tell(_words(asked))
        if config is None:
            return WRONG
        answer = {"sources": rows_of(config, {})}
        print(_("ogw: no gateway runs here; this is what the next one starts with"), file=sys.stderr)
    rows: list[SourceStatus] = clean(answer["sources"])
    if asked.json:
        print(json.dumps(answer, indent=2))
    else:
        show(*_screen(rows, flags_of(asked)), *(_waiting(refused, flags_of(asked)) if refused else ()))
    return FAILED if refused or any(map(_is_wrong, rows)) else OK


def _words(asked: argparse.Namespace) -> list[str]:
    return [] if asked.config is None else ["--config", asked.config]


def _is_wrong(one: SourceStatus) -> bool:
    return one["rules"] is None or bool(one["failing"] or one["overdue"] or one["rolled_back"])


def _screen(rows: Sequence[SourceStatus], flags: str) -> list[RenderableType]:
    parts: list[RenderableType] = [] if rows else [Text(_("allowed-host-source names no list"))]
    for one in rows:
        parts += [Text(one["source"], style=BOLD), *(indented(line) for line in _lines(one, flags))]
    return parts


def _waiting(refused: RefusedReload, flags: str) -> list[RenderableType]:
    """What is in force is of the reload before: newer lists wait."""
    said, *mistakes = refused_reload(refused, flags, len(refused["mistakes"]))
    return [Text(), Text(said, style=f"{BOLD} {BAD}"), *(indented(Text(one)) for one in mistakes)]


def _lines(one: SourceStatus, flags: str) -> list[Text]:
    lines = [Text(_("no list of this source is in force"), style=BAD) if one["rules"] is None else Text(_in_force(one))]
    if one["serial"] is not None and one["key"]:
        told = _("signed: serial {serial}, until {time}, by {key}")
        lines.append(Text(told.format(serial=one["serial"], time=_second(one["expires"]), key=one["key"])))
    if one["overdue"]:
        lines.append(Text(_("the signature has expired: is the next list withheld?"), style=BAD))
    if one["failing"]:
        told = _("no download has been taken since {time}: {why}")
        lines.append(Text(told.format(time=_second(one["failing_since"]), why=one["failing"]), style=BAD))
    if one["rolled_back"]:
        told = _("rolled back at {time} by {user}, until another list comes")
        lines.append(Text(told.format(time=_second(one["rolled_back"]), user=one["by"]), style=WARN))
    if one["can_roll_back"]:
        told = _("the previous list is kept: `ogw sources rollback {url}{flags}` brings it back")
        lines.append(Text(told.format(url=shlex.quote(one["source"]), flags=flags), style=DIM))
    return lines


def _in_force(one: SourceStatus) -> str:
    rules = one["rules"] or 0
    if one["age"] is None:
        told = ngettext("{number} host rule in force", "{number} host rules in force", rules)
        return told.format(number=count(rules))
    told = ngettext("{number} host rule in force, which the server had {age} ago, at {time}",
                    "{number} host rules in force, which the server had {age} ago, at {time}", rules)  # fmt: skip
    return told.format(number=count(rules), age=duration(one["age"]), time=_second(one["fetched"]))


def _second(time: Optional[str]) -> str:
    return moment(time) if time else "?"


def _rollback_parser() -> Parser:
    made = parser_of(
        "sources rollback",
        _(
            "Put the previous good list of a URL in force again, for when the newest one is bad. The running gateway "
            "takes it at once; where none runs, the next one starts with it. What was rolled back does not come back "
            "by itself: another list ends the rollback, a signed one with a higher serial."
        ),
        examples=[
            "ogw sources rollback https://lists.example.com/hosts.txt",
            "ogw sources rollback https://lists.example.com/hosts.txt --undo",
        ],
        codes={
            OK: _("done"),
            FAILED: _("not done; the message says why"),
            WRONG: _("the command line, or, where no gateway runs, the configuration is wrong"),
            NO_GATEWAY: _(SILENT),
        },
    )
    made.add_argument("url", metavar="URL", help=_("the URL as `ogw sources` shows it"))
    made.add_argument("--undo", action="store_true", help=_("put what was rolled back in force again"))
    add_gateway(made)
    made.set_defaults(do=_roll_back)
    return made


def _roll_back(asked: argparse.Namespace) -> int:
    try:
        gateway = gateway_of(asked)
        done = _tell(gateway, asked)
    except NotRunning:
        return _change_files(asked)
    for mistake in done["mistakes"]:
        print(f"ogw: {mistake}", file=sys.stderr)
    if done.get("running"):
        return FAILED
    if done["mistakes"]:
        told = _(
            "ogw: the list was changed, but the reload that takes it was refused; correct that, then run "
            "`ogw reload{flags}`"
        )
        print(told.format(flags=flags_of(asked)), file=sys.stderr)
        return FAILED
    print(_done(asked, _("the running gateway has taken it")))
    return OK


def _tell(gateway: Gateway, asked: argparse.Namespace) -> RolledBack:
    """Raises NoGateway or Failed."""
    query = query_of(source=asked.url, undo=int(asked.undo), by=who())
    answer: RolledBack = clean(gateway.ask(f"/roll-back?{query}", RolledBack, "POST", RELOAD_SECONDS))
    if answer["why"]:
        raise Failed(answer["why"])
    return answer


def _change_files(asked: argparse.Namespace) -> int:
    """Where no gateway runs: the next one starts with it. Raises Failed."""
    config = load_or_tell(_words(asked))
    if config is None:
        return WRONG
    lists = _lists_of(config, asked.url)
    try:
        if asked.undo:
            lists.undo()
        else:
            lists.roll_back(who())
    except CannotRollBack as cannot:
        raise Failed(str(cannot)) from None
    except OSError as error:
        told = _("{path}: {why}; run this as the gateway's user, or with sudo")
        raise Failed(told.format(path=error.filename or config.state_dir, why=error.strerror)) from None
    print(_done(asked, _("no gateway runs here; the next one starts with it")))
    return OK


def _lists_of(config: Config, url: str) -> Lists:
    """Raises Failed."""
    urls = [source for source in config.allowed_host_source if is_url(source)]
    found = meant(urls, url)
    if len(found) != 1:
        raise Failed(not_one(urls, url, found))
    return Lists(config.state_dir, found[0], config.source_max_size, config.allowed_host_source_key)


def _done(asked: argparse.Namespace, how: str) -> str:
    if asked.undo:
        return _("undone: {how}").format(how=how)
    return _("rolled back: {how}").format(how=how)
