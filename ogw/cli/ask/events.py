"""`ogw events`: what a numbered event or a reason means, and what to do about it; and why a tunnel was refused."""

import argparse
import difflib
import json
import logging
import os
import re
import sys
from typing import Any, Optional

from rich.console import RenderableType
from rich.text import Text

from ogw.cli.exits import FAILED, NO_GATEWAY, OK, WRONG, Failed, Wrong
from ogw.cli.live.gateway import gateway_of
from ogw.cli.live.sockets import NO_GATEWAY_MEANS, NoGateway, add_gateway
from ogw.cli.parser import Parser, parser_of
from ogw.cli.screen import BOLD, DIM, clean, duration, indented, show, table
from ogw.cli.words import offer
from ogw.language.conventions import count
from ogw.language.messages import gettext as _
from ogw.language.messages import ngettext, pgettext
from ogw.language.phrases import with_hint
from ogw.policy.advice import REASONS, Advice
from ogw.policy.decision import Reason
from ogw.policy.event_advice import EVENTS
from ogw.policy.list_advice import LIST_REASONS
from ogw.report.events import CATALOGUE, Event
from ogw.report.recent import MOST, TUNNEL_ID
from ogw.service.admin.shapes import FoundTunnel, OpenTunnel, ToldRefusal
from ogw.service.log import search_command
from ogw.settings.loader import ConfigError, load

NUMBER = re.compile(r"(?:ogw-?)?([0-9]{1,4})\Z", re.IGNORECASE)


def parser() -> Parser:
    made = parser_of(
        "events",
        _(
            "Say what a numbered event, or a reason in a log line or an answer, means and what to do. Of a tunnel, by "
            "the id that its client was told, say why it was refused, also where the log has only a count of it: only "
            "that is asked of the running gateway, which remembers the last {most} of each worker."
        ).format(most=count(MOST)),
        examples=[
            "ogw events",
            "ogw events 105",
            "ogw events OGW-105",
            "ogw events host-not-allowed",
            "ogw events 3fa1c2-17",
            "ogw events --json",
        ],
        codes={
            OK: _("done"),
            FAILED: _("the gateway knows no tunnel with this id; the message says where else to look"),
            WRONG: _("there is no such event or reason, or the command line is wrong"),
            NO_GATEWAY: _(NO_GATEWAY_MEANS),
        },
    )
    add_gateway(made)
    made.add_argument("--json", action="store_true", help=_("answer as JSON"))
    about = _("the event, reason or tunnel; without it, a table of all events")
    offer(
        made.add_argument("event", metavar="NUMBER|REASON|ID", nargs="?", help=about),
        [*map(str, CATALOGUE), *REASONS, *LIST_REASONS],
    )
    return made


def run(asked: argparse.Namespace) -> int:
    tunnel = (asked.event or "").strip(" \"'.,;:").lower()  # as it is copied from an answer, or a line
    if TUNNEL_ID.match(tunnel):
        return _tell_of_tunnel(asked, tunnel)
    if tunnel in LIST_REASONS:
        return _tell_of_list_reason(tunnel, asked.json)
    number, reason = (None, None) if asked.event is None else _meant(asked.event)
    if asked.json:
        events = [_told(one) for one in CATALOGUE if number in (None, one)]
        print(json.dumps(_told_of(reason) if reason else events[0] if number else events, indent=2))
    elif reason is not None:
        show(*_reason(reason))
    else:
        show(*(_all() if number is None else _event(number)))
    return OK


def reasons_of(number: int) -> list[Reason]:
    """Those that this event reports."""
    return [reason for reason in Reason if reason.event == number and reason is not Reason.ALLOWED]


def _list_reasons(number: int) -> list[str]:
    """The tokens of why a list is not trusted, if this event reports that."""
    return list(LIST_REASONS) if number == Event.SOURCE_REFUSED else []


def _tell_of_list_reason(token: str, as_json: bool) -> int:
    if as_json:
        print(json.dumps(_told_of_list(token), indent=2))
    else:
        number = int(Event.SOURCE_REFUSED)
        message = _("reported by OGW-{number} {name}").format(number=number, name=CATALOGUE[number][1])
        show(Text(token, style=BOLD), *_advice(LIST_REASONS[token]), indented(Text(message, style=DIM)))
    return OK


def _all() -> list[RenderableType]:
    shown = table(_("event"), _("name"), _("level"), _("reasons"), folds=(1, 3))
    for number, (level, name) in CATALOGUE.items():
        tokens = ", ".join([*(reason.token for reason in reasons_of(number)), *_list_reasons(number)])
        shown.add_row(Text(f"OGW-{number}"), Text(name), Text(_level(level)), Text(tokens))
    return [shown, Text(), Text(_("`ogw events NUMBER` and `ogw events REASON` say what one means and what to do"))]


def _meant(asked: str) -> tuple[Optional[int], Optional[Reason]]:
    """The number of an event, or a reason. Raises Wrong."""
    number = NUMBER.match(asked)
    if number is not None:
        return _known(int(number[1])), None
    token = asked.lower()
    if token in REASONS:
        return None, next(reason for reason in Reason if reason.token == token)
    near = difflib.get_close_matches(token, [*REASONS, *LIST_REASONS], n=1)
    message = _("{asked} is neither the number of an event nor a reason, nor the id of a tunnel")
    raise Wrong(with_hint(message.format(asked=ascii(asked)), near))


def _known(number: int) -> int:
    if number in CATALOGUE:
        return number
    message = _("there is no event {number}; `ogw events` lists all")
    if reasons := _of_answer(number):
        message = _("there is no event {number}; the status {number} of an answer comes with the reasons {reasons}")
    raise Wrong(message.format(number=number, reasons=reasons))


def _of_answer(number: int) -> str:
    """The reasons whose HTTP status has the same number, which it may be mixed up with; "" for none."""
    return ", ".join(reason.token for reason in Reason if reason.status == number)


# A tunnel, by its id.


def _tell_of_tunnel(asked: argparse.Namespace, tunnel: str) -> int:
    """Say what the gateway knows of it; the exit code. Raises NoGateway, Failed."""
    try:
        answer = gateway_of(asked).ask(f"/tunnel?id={tunnel}", FoundTunnel)
    except NoGateway as error:
        raise NoGateway(f"{error}\n{_elsewhere(tunnel, _search_without_gateway(asked, tunnel))}") from None
    is_known = bool(answer["open"] or answer["refusals"])
    if missing := answer["workers_missing"]:
        told = ngettext("{number} worker did not answer in time", "{number} workers did not answer in time", missing)
        print(f"ogw: {told.format(number=missing)}", file=sys.stderr)
    if asked.json:
        print(json.dumps(answer, indent=2))
    elif is_known:
        show(*_tunnel(clean(answer)))
    else:
        raise Failed(_not_known(answer))
    return OK if is_known else FAILED


def _not_known(answer: FoundTunnel) -> str:
    told = [
        _(
            "the gateway knows no tunnel {tunnel}: none with this id is open, and none is among the last {most} "
            "refusals of a worker that runs."
        ).format(tunnel=answer["tunnel"], most=count(MOST))
    ]
    if deaths := answer.get("deaths"):
        message = ngettext(
            "{number} process of the gateway has died since the start: what it knew is forgotten, but may be in "
            "the log.",
            "{number} processes of the gateway have died since the start: what they knew is forgotten, but may be in "
            "the log.",
            deaths,
        )
        told.append(message.format(number=count(deaths)))
    return "\n".join([*told, _elsewhere(answer["tunnel"], answer.get("search", ""))])


def _elsewhere(tunnel: str, search: str) -> str:
    """Where else it may be found; `search` is a line for a shell, or empty."""
    told = _("The log of the gateway may tell more: {command}")
    if not search:
        told = _("The log of the gateway may tell more: search it for {tunnel} (in its log-file, in the journal, or "
                 "wherever it goes).")  # fmt: skip
    counted = _("A refusal that was only counted has no line with its id; the line of the count names the client")
    return f"{told.format(command=search, tunnel=tunnel)}\n{counted}"


def _search_without_gateway(asked: argparse.Namespace, tunnel: str) -> str:
    try:
        config = load([] if asked.config is None else ["--config", asked.config], os.environ)
    except ConfigError:
        return ""
    return search_command(config, tunnel) if config.log_file else ""


def _tunnel(answer: FoundTunnel) -> list[RenderableType]:
    parts: list[RenderableType] = [Text(_("tunnel {tunnel}").format(tunnel=answer["tunnel"]), style=BOLD)]
    for one in answer["refusals"]:
        parts += [Text(), *_refusal(one)]
    if answer["open"] is not None:
        parts += [Text(), _open(answer["open"])]
    return parts


def _refusal(one: ToldRefusal) -> list[RenderableType]:
    reason = next((reason for reason in Reason if reason.token == one["reason"]), None)
    notes = []
    if one["folded"]:
        notes.append(_("This refusal has no line of its own in the log: a count of the client's refusals has it."))
    if not one["enforced"]:
        notes.append(_("The request passed all the same: its refusal is only reported."))
    return [
        _headline(reason) if reason is not None and one["enforced"] else Text(one["reason"], style=BOLD),
        _facts(
            (_("time"), one["time"]),
            (_("client"), one["client"]),
            *_via(one),
            (_("target"), one["target"] or _("not known at that time")),
            (_("event"), f"OGW-{one['event']}"),
            (_("why"), one["detail"]),
        ),
        *map(Text, notes),
        *(_advice(REASONS[one["reason"]]) if one["reason"] in REASONS else ()),
    ]


def _open(one: OpenTunnel) -> RenderableType:
    return _facts(
        (_("state"), _("{state}, for {duration}").format(state=one["state"], duration=duration(one["duration"]))),
        (_("client"), one["client"]),
        *_via(one),
        (_("target"), one["target"] or _("not known yet")),
        (_("upstream"), one["upstream"] or _("not dialed yet")),
    )


def _via(one: OpenTunnel | ToldRefusal) -> list[tuple[str, str]]:
    found = (
        (pgettext("of a client certificate", "subject"), one.get("client_subject", "")),
        (pgettext("the load balancer that a client came through", "via"), one.get("via", "")),
    )
    return [(name, value) for name, value in found if value]


def _facts(*rows: tuple[str, str]) -> RenderableType:
    facts = table("", "", folds=(1,))
    for name, value in rows:
        facts.add_row(Text(name, style=DIM), Text(value))
    return facts


# As JSON.


def _told(number: int) -> dict[str, Any]:
    level, name = CATALOGUE[number]
    said = {"event": number, "name": name, "level": _level(level), **EVENTS[number]._asdict()}
    reasons = [_told_of(reason) for reason in reasons_of(number)]
    return {**said, "reasons": reasons + [_told_of_list(token) for token in _list_reasons(number)]}


def _told_of(reason: Reason) -> dict[str, Any]:
    status = reason.status or None
    return {"reason": reason.token, "event": reason.event, "status": status, **REASONS[reason.token]._asdict()}


def _told_of_list(token: str) -> dict[str, Any]:
    return {"reason": token, "event": int(Event.SOURCE_REFUSED), "status": None, **LIST_REASONS[token]._asdict()}


# For people.


def _event(number: int) -> list[RenderableType]:
    level, name = CATALOGUE[number]
    parts: list[RenderableType] = [
        Text.assemble((f"OGW-{number} {name}", BOLD), (f"  ({_level(level)})", DIM)),
        *_advice(EVENTS[number]),
    ]
    for reason in reasons_of(number):
        parts += [Text(), _headline(reason), *_advice(REASONS[reason.token])]
    for token in _list_reasons(number):
        parts += [Text(), Text(token, style=BOLD), *_advice(LIST_REASONS[token])]
    if reasons := _of_answer(number):
        message = _("The status {number} of an answer is something else: it comes with the reasons {reasons}.")
        parts += [Text(), Text(message.format(number=number, reasons=reasons), style=DIM)]
    return parts


def _reason(reason: Reason) -> list[RenderableType]:
    message = _("reported by OGW-{number} {name}").format(number=reason.event, name=CATALOGUE[reason.event][1])
    return [_headline(reason), *_advice(REASONS[reason.token]), indented(Text(message, style=DIM))]


def _headline(reason: Reason) -> Text:
    if not reason.status:
        return Text(reason.token, style=BOLD)
    answer = _("the client is answered {status}").format(status=reason.status)
    return Text.assemble((reason.token, BOLD), (f"  ({answer})", DIM))


def _advice(advice: Advice) -> list[RenderableType]:
    do = Text.assemble((_("What to do:"), DIM), " ", _(advice.do))
    return [indented(Text(_(advice.means))), indented(do)]


def _level(level: int) -> str:
    return logging.getLevelName(level).lower()
