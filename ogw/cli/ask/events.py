"""`ogw events`: what a numbered event or a reason means, and what to do about it."""

import argparse
import difflib
import logging
import re
from gettext import gettext as _

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
        examples=["ogw events", "ogw events 105", "ogw events OGW-105", "ogw events host-not-allowed"],
        codes={OK: _("done"), WRONG: _("there is no such event or reason, or the command line is wrong")},
    )
    about = _("which one; without it, a table of all")
    offer(made.add_argument("event", metavar="NUMBER|REASON", nargs="?", help=about), [*map(str, CATALOGUE), *REASONS])
    return made


def run(asked: argparse.Namespace) -> int:
    show(*(_all() if asked.event is None else _one(asked.event)))
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


def _one(asked: str) -> list[RenderableType]:
    number = NUMBER.match(asked)
    if number is not None:
        return _event(int(number[1]))
    token = asked.lower()
    if token in REASONS:
        return _reason(next(reason for reason in Reason if reason.token == token))
    near = difflib.get_close_matches(token, REASONS, n=1)
    meant = _("; did you mean {token}?").format(token=near[0]) if near else ""
    message = _("{asked} is neither the number of an event nor a reason{meant}")
    raise Wrong(message.format(asked=ascii(asked), meant=meant))


def _event(number: int) -> list[RenderableType]:
    answered = [reason.token for reason in Reason if reason.status == number]
    of_answer = _("as the status of an answer, {number} comes with the reasons {tokens}").format(
        number=number, tokens=", ".join(answered)
    )
    if number not in CATALOGUE:
        message = _("there is no event {number}").format(number=number)
        raise Wrong(f"{message}; {of_answer}" if answered else message + _("; `ogw events` lists all"))
    level, name = CATALOGUE[number]
    parts: list[RenderableType] = [
        Text.assemble((f"OGW-{number} {name}", BOLD), (f"  ({_level(level)})", DIM)),
        *_advice(EVENTS[number]),
    ]
    for reason in reasons_of(number):
        parts += [Text(), _headline(reason), *_advice(REASONS[reason.token])]
    if answered:
        parts += [Text(), Text(_("Not to be mixed up: {told}.").format(told=of_answer), style=DIM)]
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
