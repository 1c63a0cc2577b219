"""Suggestions as people read them and paste them into an INI file, and as JSON."""

from collections.abc import Iterator
from typing import Any, Optional

from ogw.cli.screen import clean, count
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
        yield f"# {_told(one.refused)}{_seen(one.refused) if found.several else ''}"
        yield f"    {one.rule}"
    for parent, number in found.families().items():
        message = _(
            "# {number} of these are below {parent}: *.{parent} would cover them, and every other name below it"
        )
        yield message.format(number=number, parent=parent)
    yield from _others(found)


def _others(found: Suggestions) -> Iterator[str]:
    notes = [
        _("# no rule for {target}: the denied hosts name it; {refused}").format(target=target, refused=_told(refused))
        for target, refused in found.denied.items()
    ]
    notes += [
        _("# no rule for {target}: {detail}. You decide whether it may lead there; {refused}").format(
            target=target, detail=_cut(refused.detail), refused=_told(refused)
        )
        for target, refused in found.addresses.items()
    ]
    notes += [
        _("# no rule for client {client}, allowed-client has it not: allowed-client = {client} would; {times}").format(
            client=client, times=_times(refused)
        )
        for client, refused in found.clients.items()
    ]
    yield from notes[:MOST_LISTED]
    if len(notes) > MOST_LISTED:
        yield _("# and {number} more for which there is no rule; --json has all").format(
            number=len(notes) - MOST_LISTED
        )


def _told(refused: Tally) -> str:
    named = ", ".join(client for client, _count in refused.clients.most_common(NAMED_CLIENTS))
    if (more := len(refused.clients) - NAMED_CLIENTS) > 0:
        named = ngettext("{named} and {more} more client", "{named} and {more} more clients", more).format(
            named=named, more=count(more)
        )
    return _("{times}, by {clients}").format(times=_times(refused), clients=named)


def _seen(refused: Tally) -> str:
    """By which gateways, as the end of a line."""
    counts = refused.gateways
    named = ", ".join(clean(gateway) for gateway, _count in counts.most_common(NAMED_GATEWAYS))
    if (more := len(counts) - NAMED_GATEWAYS) > 0:
        named = _("{named} and {more} more").format(named=named, more=count(more))
    return _("; seen by {gateways}").format(gateways=named) if named else ""


def _times(refused: Tally) -> str:
    times = ngettext("asked for once", "asked for {count} times", refused.count).format(count=count(refused.count))
    first, last = _moment(refused.first), _moment(refused.last)
    if first is None or last is None:
        return times
    if first == last:
        return _("{times}, {first}").format(times=times, first=first)
    return _("{times}, {first} to {last}").format(times=times, first=first, last=last)


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
