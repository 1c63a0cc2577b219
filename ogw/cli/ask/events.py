"""`ogw events`: what a numbered event or a reason means, and what to do about it."""

import argparse
import difflib
import json
import logging
import re
from gettext import gettext as _
from typing import Any, Optional

from rich.console import RenderableType
from rich.text import Text

from ogw.cli.exits import OK, WRONG, Wrong
from ogw.cli.parser import Parser, offer, parser_of
from ogw.cli.screen import BOLD, DIM, indented, show, table
from ogw.policy.advice import EVENTS, REASONS, Advice
from ogw.policy.decision import Reason
from ogw.report.events import CATALOGUE

NUMBER = re.compile(r"(?:ogw-?)?([0-9]{1,4})\Z", re.IGNORECASE)


def parser() -> Parser:
    made = parser_of(
        "events",
        _("Say what a numbered event, or a reason in a log line or an answer, means and what to do. Asks no gateway."),
        examples=[
            "ogw events",
            "ogw events 105",
            "ogw events OGW-105",
            "ogw events host-not-allowed",
            "ogw events --json",
        ],
        codes={OK: _("done"), WRONG: _("there is no such event or reason, or the command line is wrong")},
    )
    made.add_argument("--json", action="store_true", help=_("answer as JSON"))
    about = _("which one; without it, a table of all")
    offer(made.add_argument("event", metavar="NUMBER|REASON", nargs="?", help=about), [*map(str, CATALOGUE), *REASONS])
    return made


def run(asked: argparse.Namespace) -> int:
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


def _all() -> list[RenderableType]:
    shown = table(_("event"), _("name"), _("level"), _("reasons"), folds=(1, 3))
    for number, (level, name) in CATALOGUE.items():
        tokens = ", ".join(reason.token for reason in reasons_of(number))
        shown.add_row(Text(f"OGW-{number}"), Text(name), Text(_level(level)), Text(tokens))
    return [shown, Text(), Text(_("`ogw events NUMBER` and `ogw events REASON` say what it means and what to do"))]


def _meant(asked: str) -> tuple[Optional[int], Optional[Reason]]:
    """The number of an event, or a reason. Raises Wrong."""
    number = NUMBER.match(asked)
    if number is not None:
        return _known(int(number[1])), None
    token = asked.lower()
    if token in REASONS:
        return None, next(reason for reason in Reason if reason.token == token)
    near = difflib.get_close_matches(token, REASONS, n=1)
    meant = _("; did you mean {token}?").format(token=near[0]) if near else ""
    message = _("{asked} is neither the number of an event nor a reason{meant}")
    raise Wrong(message.format(asked=ascii(asked), meant=meant))


def _known(number: int) -> int:
    if number in CATALOGUE:
        return number
    message, answer = _("there is no event {number}").format(number=number), _of_answer(number)
    raise Wrong(f"{message}; {answer}" if answer else message + _("; `ogw events` lists all"))


def _of_answer(number: int) -> str:
    """What the number may be mixed up with; "" for nothing."""
    tokens = [reason.token for reason in Reason if reason.status == number]
    message = _("as the status of an answer, {number} comes with the reasons {tokens}")
    return message.format(number=number, tokens=", ".join(tokens)) if tokens else ""


# As JSON.


def _told(number: int) -> dict[str, Any]:
    level, name = CATALOGUE[number]
    said = {"event": number, "name": name, "level": _level(level), **EVENTS[number]._asdict()}
    return {**said, "reasons": [_told_of(reason) for reason in reasons_of(number)]}


def _told_of(reason: Reason) -> dict[str, Any]:
    status = reason.status or None
    return {"reason": reason.token, "event": reason.event, "status": status, **REASONS[reason.token]._asdict()}


# For people.


def _event(number: int) -> list[RenderableType]:
    level, name = CATALOGUE[number]
    parts: list[RenderableType] = [
        Text.assemble((f"OGW-{number} {name}", BOLD), (f"  ({_level(level)})", DIM)),
        *_advice(EVENTS[number]),
    ]
    for reason in reasons_of(number):
        parts += [Text(), _headline(reason), *_advice(REASONS[reason.token])]
    if answer := _of_answer(number):
        parts += [Text(), Text(_("Not to be mixed up: {told}.").format(told=answer), style=DIM)]
    return parts


def _reason(reason: Reason) -> list[RenderableType]:
    message = _("reported by OGW-{number} {name}").format(number=reason.event, name=CATALOGUE[reason.event][1])
    return [_headline(reason), *_advice(REASONS[reason.token]), indented(Text(message, style=DIM))]


def _headline(reason: Reason) -> Text:
    answer = _("  (the client's answer is {status})").format(status=reason.status) if reason.status else ""
    return Text.assemble((reason.token, BOLD), (answer, DIM))


def _advice(advice: Advice) -> list[RenderableType]:
    do = Text.assemble((_("What to do: "), DIM), f"{advice.do}.")
    return [indented(Text(advice.means)), indented(do)]


def _level(level: int) -> str:
    return logging.getLevelName(level).lower()
