"""The screen of `ogw top`: what it draws for a status of the gateway, at a given size.

Nothing is cut: what is too long for its column, or for the screen, goes on below, and there are fewer rows. Only on a
screen of very few lines the head is.
"""

from collections.abc import Sequence
from typing import Optional

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ogw.cli.live.rates import Counter, Rates
from ogw.cli.live.status import name_of, out_line, predecessor, refused_reload, restart_line
from ogw.cli.screen import BAD, BOLD, DIM, GOOD, WARN, duration, indented, plain, size, table
from ogw.language.conventions import count
from ogw.language.messages import gettext as _
from ogw.language.messages import gettext_noop as N_
from ogw.language.messages import ngettext, pgettext
from ogw.report.status import Status

LISTED = 10  # clients and hosts
FEW = 6  # lines for the tables, for which the head is cut rather than folded
MISTAKES = 2  # of a refused reload
WIDE = 120  # columns, from which on there is room for more of everything
CLIENT, HOST = 39, 60  # characters of an address at most, and of most hosts
LEAST = 10  # of a column that gives way
STEADY = 9  # of one whose numbers change all the time
BAD_ONES: tuple[Counter, ...] = ("refused", "tls_rejections", "errors")
STATES = {  # as the page has them
    "serving": N_("Serving"),
    "draining": N_("Draining"),
    "starting": N_("Starting"),
    "partly": N_("Serving in part: a worker does not answer"),
}
MARKS = {"serving": GOOD, "draining": WARN, "starting": WARN, "partly": BAD}


def screen(status: Status, rates: Rates, note: str, width: int, height: Optional[int]) -> RenderableType:
    """For a clean status.

    rates   by the name of what is counted, a second (rates.py)
    note    what stands out: that the gateway does not answer, that it was restarted; "" for nothing
    height  in lines; None where there is no limit
    """
    left = 10_000 if height is None else height
    head: list[RenderableType] = [_headline(status, note), *_refused_reload(status, width, left // 4)]
    for told in (out_line(status), restart_line(status)):
        if told:
            head.append(Text(told, style=WARN))
    if before := status.get("predecessor"):
        head.append(Text(predecessor(before), style=WARN))
    head += [_totals(status), Text()]
    below: list[RenderableType] = [_rates(rates, folds=range(1, 7)), Text()]
    lines = sum(_lines(part, width) for part in (*head, *below)) + 1  # the last line is kept free
    if left < lines + FEW:
        head = [_one_line(part) if isinstance(part, Text) else part for part in head]
        below = [_rates(rates), Text()]
        lines = sum(_lines(part, width) for part in (*head, *below)) + 1
    left -= lines
    workers = min(len(status["workers"]), max(1, left // 5))
    body: list[RenderableType] = [Text(), _workers(status, workers)]
    if refusals := _refusals(status, (left - workers - 4) // 3, width):
        body += [Text(), refusals]
    lists = _lists(status, left - sum(_lines(part, width) for part in body), width)
    return Group(*head, *below, lists, *body)


def _lines(part: RenderableType, width: int) -> int:
    """That it takes of the screen."""
    return plain(part, width=width).count("\n")


def _widths(rows: Sequence[Sequence[str]], room: int) -> list[int]:
    """Of columns, as their longest text needs; where there is no room for that, the widest give way."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    while sum(widths) > room and max(widths) > LEAST:
        widths[widths.index(max(widths))] -= 1
    return widths


def _folded(shown: Table, places: Sequence[int], widths: Sequence[int]) -> None:
    """Columns with these widths: what is longer goes on below, also in the middle of a word."""
    for place, width in zip(places, widths, strict=True):
        column = shown.columns[place]
        column.width, column.no_wrap, column.overflow = width, False, "fold"


def _number_that_fits(rows: Sequence[Sequence[str]], widths: Sequence[int], lines: int) -> int:
    """How many of the first rows of these columns have no more lines than that."""
    for number, row in enumerate(rows):
        lines -= max(-(-cell_len(text) // width) or 1 for text, width in zip(row, widths, strict=True))
        if lines < 0:
            return number
    return len(rows)


def _headline(status: Status, note: str) -> Text:
    told = Text.assemble(
        (f"{name_of(status)} ", BOLD),
        (_(STATES.get(status["state"], status["state"])), f"{BOLD} {MARKS.get(status['state'], BAD)}"),
        f"  {', '.join(status['listen'])}  ",
        (_("running for {duration}").format(duration=duration(status["uptime"])), DIM),
        "  ",
        (_("policy {policy}").format(policy=status["policy"]), DIM),
    )
    mode = status.get("policy_mode")
    if mode is not None and mode["mode"] == "report":
        said = _("policy-mode = report until {time}").format(time=mode["until"])
        told = Text.assemble((said, f"{BOLD} {BAD}"), "  ", told)
    if note:
        told = Text.assemble((note, f"{BOLD} {BAD}"), "  ", told)
    return told


def _refused_reload(status: Status, width: int, most: int) -> list[RenderableType]:
    """What `ogw status` says of it, with the first mistakes, where they have no more lines than `most`."""
    refused = status.get("reload_refused")
    if not refused:
        return []
    said, *lines = refused_reload(refused, status.get("flags", ""), MISTAKES)
    told = [indented(Text(line)) for line in lines]
    if sum(_lines(one, width) for one in told) > most:
        told = [indented(Text(_("`ogw status{flags}` tells why").format(flags=status.get("flags", ""))))]
    return [Text(said, style=f"{BOLD} {BAD}"), *told]


def _totals(status: Status) -> Text:
    counted = status["counters"]
    told = _("tunnels {open} of {most}, clients {clients}, refused {refused}, rejected {rejected}, errors {errors}")
    return Text(
        told.format(
            open=count(counted["tunnels"]),
            most=count(status["max_tunnels"]),
            clients=count(counted["clients"]),
            refused=count(counted["refused"]),
            rejected=count(counted["tls_rejections"]),
            errors=count(counted["errors"]),
        )
    )


def _rates(rates: Rates, folds: Sequence[int] = ()) -> Table:
    names = (
        _("each second"),
        _("tunnels"),
        pgettext("bytes to targets", "up"),
        pgettext("bytes from targets", "down"),
        pgettext("number of requests", "refused"),
        pgettext("number of sessions", "rejected"),
        _("errors"),
    )
    shown = table(*names, numbers=range(1, 7), folds=folds)
    bad = [Text(f"{rates[name]:,.1f}", style=WARN if rates[name] else "") for name in BAD_ONES]
    fine = [f"{rates['allowed']:,.1f}", size(rates["bytes_up"]), size(rates["bytes_down"])]
    for column in shown.columns[1:4]:
        column.min_width = STEADY
    shown.add_row(Text(), *map(Text, fine), *bad)
    return shown


def _lists(status: Status, lines: int, width: int) -> Table:
    """The clients and the hosts with most tunnels, beside each other; its heading is one of the lines."""
    names = (_("top clients"), _("tunnels"), _("top hosts"), _("tunnels"))
    shown = table(*names, numbers=(1, 3))
    clients = [(one["client"], count(one["tunnels"])) for one in status["top_clients"][:LISTED]]
    hosts = [(one["host"], count(one["tunnels"])) for one in status["top_hosts"][:LISTED]]
    # The columns keep their places while names come and go.
    room = width - 2 * (len(names[1]) + 2) - 2
    client = CLIENT if width >= WIDE else min(20, max(len(names[0]), room // 2))
    host = max(1, min(room - client, max([HOST, *(cell_len(name) for name, _tunnels in hosts)])))
    _folded(shown, (0, 2), (client, host))
    rows = [
        (*(clients[place] if place < len(clients) else ("", "")), *(hosts[place] if place < len(hosts) else ("", "")))
        for place in range(max(len(clients), len(hosts), 1))
    ]
    fit = _number_that_fits([(row[0], row[2]) for row in rows], (client, host), lines - 1)
    for row in rows[: max(1, fit)]:
        shown.add_row(*map(Text, row))
    return shown


def _workers(status: Status, lines: int) -> Table:
    shown = table(_("worker"), _("pid"), _("tunnels"), _("open files"), "", numbers=(1, 2, 3), folds=(3, 4))
    workers = status["workers"]
    for worker in workers[:lines]:
        used = _("{used} of {most}").format(used=count(worker["descriptors"]), most=count(status["max_descriptors"]))
        cells = (str(worker["number"]), str(worker["pid"]), count(worker["tunnels"]), used)
        more = len(workers) - lines if worker is workers[:lines][-1] else 0
        told = ngettext("and {number} more worker", "and {number} more workers", more).format(number=more)
        shown.add_row(*map(Text, cells), Text(told if more else "", style=DIM))
    return shown


def _refusals(status: Status, lines: int, width: int) -> Optional[Table]:
    """The latest, in so many lines beside the heading; None where there are none, or no room for them."""
    names = (_("refused at"), _("client"), _("target"), _("reason"), pgettext("how often", "times"))
    shown = table(*names, numbers=(4,))
    rows = [
        (one["last"][11:19], one["client"], one["target"] or "?", one["reason"], count(one["count"]))
        for one in status["refusals"]
    ]
    room = width - len(names[0]) - max(map(len, (names[4], *(row[4] for row in rows)))) - 2 * (len(names) - 1)
    texts = [row[1:4] for row in rows]
    widths = _widths([names[1:4], *texts], room)
    fit = _number_that_fits(texts, widths, lines)
    if fit <= 0:
        return None
    _folded(shown, (1, 2, 3), widths)
    for row in rows[:fit]:
        shown.add_row(*map(Text, row))
    return shown


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
