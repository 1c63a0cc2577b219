"""Suggestions as people read them and paste them into an INI file, and as JSON."""

from collections.abc import Iterator
from typing import Any, Optional

from ogw.cli.screen import clean
from ogw.language.conventions import count
from ogw.language.messages import gettext as _
from ogw.language.messages import ngettext
from ogw.policy.rules import time_text
from ogw.policy.suggestions import Suggestions, Tally

NAMED_CLIENTS = 3
NAMED_GATEWAYS = 5
LONGEST_DETAIL = 300  # characters
MOST_LISTED = 20  # of what is not suggested


def lines(found: Suggestions) -> Iterator[str]:
    """A rule a line, indented as values of allowed-host are; all else is a comment of the INI file."""
    for one in found.rules:
        seen = _seen(one.refused) if found.several else ""
        yield f"# {_told(one.refused)}{seen and '; '}{seen}"
        yield f"    {one.rule}"
    for parent, number in found.families().items():
        message = ngettext(
            "{number} of these rules is below {parent}: *.{parent} would cover it, and every other name there",
            "{number} of these rules are below {parent}: *.{parent} would cover them, and every other name there",
            number,
        )
        yield f"# {message.format(number=number, parent=parent)}"
    yield from (f"# {note}" for note in _others(found))


def _others(found: Suggestions) -> Iterator[str]:
    notes = [
        _("no rule for {target}: the denied hosts name it ({refused})").format(target=target, refused=_told(refused))
        for target, refused in found.denied.items()
    ]
    notes += [
        _("no rule for {target}: {detail}; you decide whether clients may go there ({refused})").format(
            target=target, detail=_cut(refused.detail), refused=_told(refused)
        )
        for target, refused in found.addresses.items()
    ]
    notes += [
        _(
            "no rule for client {client}, which is not in allowed-client: add allowed-client = {client} ({times})"
        ).format(client=client, times=_times(refused))
        for client, refused in found.clients.items()
    ]
    yield from notes[:MOST_LISTED]
    if len(notes) > MOST_LISTED:
        more = len(notes) - MOST_LISTED
        message = ngettext(
            "no rule for {number} more target or client; --json has all",
            "no rule for {number} more targets or clients; --json has all",
            more,
        )
        yield message.format(number=more)


def _told(refused: Tally) -> str:
    named = ", ".join(client for client, _count in refused.clients.most_common(NAMED_CLIENTS))
    clients = _("clients: {clients}")
    if (more := len(refused.clients) - NAMED_CLIENTS) > 0:
        clients = ngettext("clients: {clients} and {number} more", "clients: {clients} and {number} more", more)
    return f"{_times(refused)}; {clients.format(clients=named, number=count(more))}"


def _seen(refused: Tally) -> str:
    """By which gateways; "" where they have no names."""
    counts = refused.gateways
    named = ", ".join(clean(gateway) for gateway, _count in counts.most_common(NAMED_GATEWAYS))
    gateways = _("gateways: {gateways}")
    if (more := len(counts) - NAMED_GATEWAYS) > 0:
        gateways = ngettext("gateways: {gateways} and {number} more", "gateways: {gateways} and {number} more", more)
    return gateways.format(gateways=named, number=count(more)) if named else ""


def _times(refused: Tally) -> str:
    number = refused.count
    first, last = _moment(refused.first), _moment(refused.last)
    if first is None or last is None:
        told = ngettext("asked for once", "asked for {count} times", number)
    elif first == last:
        told = ngettext("asked for once, {time}", "asked for {count} times, {time}", number)
    else:
        told = ngettext("asked for once, {first} to {last}", "asked for {count} times, {first} to {last}", number)
    return told.format(count=count(number), time=first, first=first, last=last)


def _moment(seconds: Optional[float]) -> Optional[str]:
    return None if seconds is None else time_text(int(seconds))


def _cut(detail: str) -> str:
    text: str = clean(detail)
    return text if len(text) <= LONGEST_DETAIL else f"{text[:LONGEST_DETAIL]}..."


def value(found: Suggestions) -> dict[str, Any]:
    """All of it, as JSON."""
    return {
        "rules": [{"rule": str(one.rule), **_value(one.refused)} for one in found.rules],
        "families": [{"name": f"*.{parent}", "rules": number} for parent, number in found.families().items()],
        "denied": [{"target": target, **_value(refused)} for target, refused in found.denied.items()],
        "addresses": [
            {"target": target, "detail": refused.detail, **_value(refused)}
            for target, refused in found.addresses.items()
        ],
        "clients": [{"client": client, **_value(refused)} for client, refused in found.clients.items()],
        "allowed_by_now": found.allowed,
    }


def _value(refused: Tally) -> dict[str, Any]:
    return {
        "count": refused.count,
        "clients": dict(refused.clients.most_common()),
        "gateways": dict(refused.gateways.most_common()),
        "first": _moment(refused.first),
        "last": _moment(refused.last),
    }
