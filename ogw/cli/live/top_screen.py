"""The screen of `ogw top`: what it draws for a status of the gateway, at a given size."""

from gettext import gettext as _
from typing import Optional

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ogw.cli.live.rates import Counter, Rates
from ogw.cli.live.status import refused_reload
from ogw.cli.screen import BAD, BOLD, DIM, GOOD, WARN, count, duration, size, table
from ogw.report.status import Status

LISTED = 10  # clients and hosts
MISTAKES = 2  # of a refused reload
WIDE = 120  # columns, from which on there is room for more of everything
BAD_ONES: tuple[Counter, ...] = ("refused", "tls_rejections", "errors")
MARKS = {"serving": GOOD, "draining": WARN, "starting": WARN, "partly": BAD}


def screen(status: Status, rates: Rates, note: str, width: int, height: Optional[int]) -> RenderableType:
    """For a clean status.

    rates   by the name of what is counted, a second (rates.py)
    note    what stands out: that the gateway does not answer, that it was restarted; "" for nothing
    height  in lines; None where there is no limit
    """
    left = 10_000 if height is None else height
    head: list[RenderableType] = [_headline(status, note), *_refused_reload(status)]
    head += [_totals(status), Text(), _rates(rates), Text()]
    left -= len(head) + 2  # the rates are a heading and a line; the last line is kept free
    workers = min(len(status["workers"]), max(1, left // 5))
    refusals = min(len(status["refusals"]), max(0, (left - workers - 4) // 3))
    lists = max(1, min(LISTED, left - workers - 3 - (refusals + 2 if refusals else 0)))
    body: list[RenderableType] = [_lists(status, lists, width), Text(), _workers(status, workers)]
    if refusals:
        body += [Text(), _refusals(status, refusals, width)]
    return Group(*head, *body)


def _headline(status: Status, note: str) -> Text:
    where = _("on {machine}").format(machine=status["machine"]) + " " if status.get("machine") else ""
    told = Text.assemble(
        (f"ogw {status['version']} {where}", BOLD),
        (status["state"], f"{BOLD} {MARKS.get(status['state'], BAD)}"),
        f"  {', '.join(status['listen'])}  ",
        (_("up {uptime}  policy {policy}").format(uptime=duration(status["uptime"]), policy=status["policy"]), DIM),
    )
    mode = status.get("policy_mode")
    if mode is not None and mode["mode"] == "report":
        said = _("policy-mode = report until {until}").format(until=mode["until"])
        told = Text.assemble((said, f"{BOLD} {BAD}"), "  ", told)
    if note:
        told = Text.assemble((note, f"{BOLD} {BAD}"), "  ", told)
    return _one_line(told)


def _refused_reload(status: Status) -> list[Text]:
    """What `ogw status` says of it, with the first mistakes."""
    refused = status.get("reload_refused")
    if not refused:
        return []
    said, *lines = refused_reload(refused, status.get("flags", ""), MISTAKES)
    return [_one_line(Text(said, style=f"{BOLD} {BAD}")), *(_one_line(Text(f"  {line}")) for line in lines)]


def _totals(status: Status) -> Text:
    counted = status["counters"]
    told = _("tunnels {open} of {most}, clients {clients}, refused {refused}, rejected {rejected}, errors {errors}")
    return _one_line(
        Text(
            told.format(
                open=count(counted["tunnels"]),
                most=count(status["max_tunnels"]),
                clients=count(counted["clients"]),
                refused=count(counted["refused"]),
                rejected=count(counted["tls_rejections"]),
                errors=count(counted["errors"]),
            )
        )
    )


def _rates(rates: Rates) -> Table:
    names = (_("each second"), _("tunnels"), _("up"), _("down"), _("refused"), _("rejected"), _("errors"))
    shown = table(*names, numbers=range(1, 7))
    bad = [Text(f"{rates[name]:,.1f}", style=WARN if rates[name] else "") for name in BAD_ONES]
    fine = [f"{rates['allowed']:,.1f}", size(rates["bytes_up"]), size(rates["bytes_down"])]
    shown.add_row(Text(), *(Text(told.rjust(9)) for told in fine), *bad)
    return shown


def _lists(status: Status, lines: int, width: int) -> Table:
    """The clients and the hosts with most tunnels, beside each other."""
    names = (_("top clients"), _("tunnels"), _("top hosts"), _("tunnels"))
    shown = table(*names, numbers=(1, 3))
    clients, hosts = status["top_clients"][:lines], status["top_hosts"][:lines]
    # An address has at most 39 characters, a host 253: the columns keep their places while names come and go.
    shown.columns[0].width = 39 if width >= WIDE else 20
    shown.columns[2].width = max(10, min(60, width - shown.columns[0].width - 2 * 9 - 4))
    for place in range(max(len(clients), len(hosts), 1)):
        client = clients[place] if place < len(clients) else None
        host = hosts[place] if place < len(hosts) else None
        shown.add_row(
            Text(client["client"] if client else ""),
            Text(count(client["tunnels"]) if client else ""),
            Text(host["host"] if host else ""),
            Text(count(host["tunnels"]) if host else ""),
        )
    return shown


def _workers(status: Status, lines: int) -> Table:
    shown = table(_("worker"), _("pid"), _("tunnels"), _("open files"), "", numbers=(1, 2, 3))
    workers = status["workers"]
    for worker in workers[:lines]:
        used = _("{used} of {most}").format(used=count(worker["descriptors"]), most=count(status["max_descriptors"]))
        cells = (str(worker["number"]), str(worker["pid"]), count(worker["tunnels"]), used)
        more = len(workers) - lines if worker is workers[:lines][-1] else 0
        told = _("and {number} more").format(number=more) if more else ""
        shown.add_row(*map(Text, cells), Text(told, style=DIM))
    return shown


def _refusals(status: Status, lines: int, width: int) -> Table:
    """The target gives way where there is no room."""
    names = (_("refused at"), _("client"), _("target"), _("reason"), _("times"))
    shown = table(*names, numbers=(4,))
    rows = [
        (one["last"][11:19], one["client"], one["target"] or "?", one["reason"], count(one["count"]))
        for one in status["refusals"][:lines]
    ]
    for row in rows:
        shown.add_row(*map(Text, row))
    left = width - 2 * len(names)
    for place, column in enumerate(shown.columns):
        if place != 2:
            column.min_width = max(len(names[place]), *(len(row[place]) for row in rows))
            left -= column.min_width
    shown.columns[2].max_width = max(10, left)
    return shown


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
