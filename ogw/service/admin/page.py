"""The page: one HTML file with its styles and script inside. Without the script it is tables of the state now.

Its parts are page.html, page.css and page.js. Whatever comes from strangers, clients and targets, is escaped here, and
is text only in the script; and no script but that one runs, whatever else came to stand in the page.
"""

import base64
import hashlib
import html
import json
import pathlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from string import Template
from typing import Any, Optional

from ogw.language.conventions import conventions, count, date, decimal
from ogw.language.known import LANGUAGES
from ogw.language.messages import language
from ogw.report.status import LatestRefusal, PredecessorStatus, RelayProxyStatus, Status, WorkerStatus, doors, state_of
from ogw.service.admin.history import AT_START, SPAN, Point
from ogw.service.admin.page_texts import texts
from ogw.service.admin.shapes import OpenTunnel, Tunnels

_HERE = pathlib.Path(__file__).parent
PAGE = Template((_HERE / "page.html").read_text(encoding="utf-8"))
STYLE = (_HERE / "page.css").read_text(encoding="utf-8")
SCRIPT = (_HERE / "page.js").read_text(encoding="utf-8")
RELAY_CLASSES = {"never tried": "quiet", "up": "works", "refuses us": "rests", "resting": "rests"}
NONE_OPEN: Tunnels = {"tunnels": [], "total": 0, "workers_missing": 0}
MOST_RULES = 3  # of the targets that a relay proxy is for
SMOOTH = 10.0  # seconds that what happens a second is taken over


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


# Its own styles and script, nothing else's, and it asks nobody but the gateway. No text can be made markup by a script.
POLICY = (
    f"default-src 'none'; style-src {_hash(STYLE)}; script-src {_hash(SCRIPT)}; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types"
)


def rendered(status: Status, points: Sequence[Point], tunnels: Tunnels = NONE_OPEN) -> str:
    """The page for this state of the gateway, its last minutes and its open tunnels, the longest open first."""
    counters = status["counters"]
    now = _now(status)
    said = texts()
    opened = said["tunnels_open"].format(count=count(counters["tunnels"]), most=count(status["max_tunnels"]))
    plain = {
        **said,
        **_values(status, [*points, _point(status)], said),
        "title": f"{said[status['state']]}, {opened} \u2013 ogw {status.get('machine', '')}".rstrip(),
        "open_shown": _shown_of(tunnels, said),
        "state": status["state"],
        "state_text": said[status["state"]],
        "state_more": _listens(status, said),
        "lang": language().replace("_", "-"),
        "still": said["still_of"].format(time=_clock(now, now)),
        "full": f"{min(100.0, 100 * counters['tunnels'] / (status['max_tunnels'] or 1)):.1f}",
    }
    return PAGE.substitute(
        {name: html.escape(text) for name, text in plain.items()},
        style=STYLE,
        script=SCRIPT,
        start=_inert(
            {"status": status, "points": points, "tunnels": tunnels, "texts": said, "numbers": conventions()._asdict()}
        ),
        languages=_languages(),
        attention="".join(f"<li>{html.escape(text)}</li>" for text in status["attention"]),
        attention_hidden="" if status["attention"] else "hidden",
        **_tables(status, tunnels["tunnels"], now, said),
    )


def _languages() -> str:
    """A link to the same page in each other language, under its own name."""
    links = [
        f'<a href="?language={tag}" lang="{tag.replace("_", "-")}" hreflang="{tag.replace("_", "-")}">{one.name}</a>'
        for tag, one in LANGUAGES.items()
        if tag != language()
    ]
    return " ".join(links)


def _shown_of(tunnels: Tunnels, said: dict[str, str]) -> str:
    shown = len(tunnels["tunnels"])
    return said["open_of"].format(count=count(shown), all=count(tunnels["total"])) if shown else ""


def _listens(status: Status, said: dict[str, str]) -> str:
    states = [state_of(one) for one in status["relay_proxies"]]
    name = "listens_untried" if "never tried" in states else "listens_relays" if states else "listens"
    counts = {"up": states.count("up"), "untried": states.count("never tried"), "all": len(states)}
    return said[name].format(listen=_doors(status, said), **counts)


def _doors(status: Status, said: dict[str, str]) -> str:
    absent = status.get("listen_absent", [])
    named = zip(status["listen"], doors(status), strict=True)
    return ", ".join(said["absent"].format(listen=shown) if one in absent else shown for one, shown in named)


def _inert(value: Any) -> str:
    """JSON that ends no script element, whatever stands in it."""
    text = json.dumps(value)
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


# Numbers: the script says them in the same way.


def _point(status: Status) -> Point:
    c = status["counters"]
    refused = c["refused"] + c["tls_rejections"]
    return Point(status["uptime"], c["tunnels"], c["allowed"], refused, c["bytes_up"], c["bytes_down"])


def _values(status: Status, points: Sequence[Point], said: dict[str, str]) -> dict[str, str]:
    """What changes all the time, by its name in the HTML; the last point is now."""
    c, uptime = status["counters"], status["uptime"]
    refused = points[-1].refused
    since = AT_START if uptime <= SPAN else points[0]
    return {
        "uptime": said["up_for"].format(time=_lasting(uptime, said)),
        "machine": status.get("machine", said["gateway"]),
        "version": said["version_is"].format(version=status["version"]),
        "policy": said["policy_is"].format(policy=status["policy"]),
        "tunnels": count(c["tunnels"]),
        "tunnels_of": said["of"].format(most=count(status["max_tunnels"])),
        "clients": said["from_clients"].format(count=count(c["clients"])),
        "opened": _rate(_speed([(at.uptime, at.opened) for at in points])),
        "opened_total": said["opened_in_all"].format(count=count(c["allowed"])),
        "up": _size(_speed([(at.uptime, at.bytes_up) for at in points])),
        "down": _size(_speed([(at.uptime, at.bytes_down) for at in points])),
        "bytes_total": said["bytes_in_all"].format(up=_size(c["bytes_up"]), down=_size(c["bytes_down"])),
        "refused": count(refused - since.refused),
        "refused_span": said["in_the_last"].format(time=_span(uptime - since.uptime, said)),
        "refused_total": said["refused_in_all"].format(count=count(refused)),
        "rejected_total": said["rejected_in_all"].format(count=count(c["tls_rejections"])),
        "errors_total": said["errors_in_all"].format(count=count(c["errors"])),
        "predecessor": _predecessor(status.get("predecessor"), said),
    }


def _predecessor(one: Optional[PredecessorStatus], said: dict[str, str]) -> str:
    if one is None:
        return ""
    tunnels = "?" if one["tunnels"] is None else count(one["tunnels"])
    return said["predecessor_drains"].format(pid=one["pid"], count=tunnels, time=_lasting(one["seconds"], said))


def _speed(counts: Sequence[tuple[float, int]]) -> float:
    """How much a count grew a second, lately: from what it was at which time."""
    now, last = counts[-1]
    then, before = next((one for one in reversed(counts) if now - one[0] >= SMOOTH), counts[0])
    return max(0.0, (last - before) / max(now - then, SMOOTH))


def _rate(number: float) -> str:
    return count(number) if number >= 100 else decimal(number)


def _size(number: float) -> str:
    units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while number >= 1024 and len(units) > 1:
        number /= 1024
        units.pop(0)
    return f"{count(number) if units[0] == 'B' or number >= 100 else decimal(number)} {units[0]}"


def _lasting(seconds: float, said: dict[str, str]) -> str:
    minutes, hours, days = (int(seconds // length) for length in (60, 3600, 86400))
    if days:
        return said["days_hours"].format(days=days, hours=hours % 24)
    if hours:
        return said["hours_minutes"].format(hours=hours, minutes=minutes % 60)
    return said["minutes"].format(minutes=minutes) if minutes else said["seconds"].format(seconds=int(seconds))


def _span(seconds: float, said: dict[str, str]) -> str:
    if seconds >= 60:
        return said["minutes"].format(minutes=f"{seconds / 60:.0f}")
    return said["seconds"].format(seconds=f"{seconds:.0f}")


def _now(status: Status) -> datetime:
    if status["started"] is None:
        return datetime.now(UTC)
    return datetime.fromisoformat(status["started"]) + timedelta(seconds=status["uptime"])


def _ago(age: float, said: dict[str, str]) -> str:
    seconds = int(age)
    if seconds < 2:
        return said["just_now"]
    units = ((86400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds"))
    length, unit = next((length, unit) for length, unit in units if seconds >= length)
    return said["ago"].format(time=said[unit].format(**{unit: seconds // length}))


def _clock(time: datetime, now: datetime) -> str:
    return f"{time:%H:%M:%S} UTC" if now - time < timedelta(days=1) else f"{date(time)} {time:%H:%M} UTC"


# Tables.


def _tables(status: Status, tunnels: Iterable[OpenTunnel], now: datetime, said: dict[str, str]) -> dict[str, str]:
    """The rows of each table; and NAME_some: what hides the sentence that there are none."""
    reasons = sorted(status["reasons"].items(), key=lambda pair: (-pair[1], pair[0]))
    rows = {
        "refusals": [_refusal(one, now, said) for one in status["refusals"]],
        "open": [_open(one, said) for one in tunnels],
        "relays": [_relay(one, said) for one in status["relay_proxies"]],
        "reasons": _counted(reasons),
        "clients": _counted([(one["client"], one["tunnels"]) for one in status["top_clients"]]),
        "hosts": _counted([(one["host"], one["tunnels"]) for one in status["top_hosts"]]),
        "workers": [_worker(one, status["max_descriptors"], said) for one in status["workers"]],
    }
    some = {f"{name}_some": "hidden" if found else "" for name, found in rows.items()}
    return {f"{name}_rows": "\n".join(found) for name, found in rows.items()} | some


def _row(*cells: str) -> str:
    return f'<tr role="row">{"".join(cells)}</tr>'


def _counted(pairs: Iterable[tuple[str, int]]) -> list[str]:
    listed = list(pairs)
    most = max((number for _label, number in listed), default=1) or 1
    return [
        _row(
            f'<th scope="row"><code>{html.escape(label)}</code>{_bar(number / most)}</th>',
            f'<td class="n">{count(number)}</td>',
        )
        for label, number in listed
    ]


def _bar(share: float) -> str:
    return (
        '<svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{max(0.5, share * 100):.1f}" height="4"/></svg>'
    )


def _relay(one: RelayProxyStatus, said: dict[str, str]) -> str:
    state = state_of(one)
    age = one.get("age")
    rules = one.get("named_for", [])
    shown = ", ".join(rules[:MOST_RULES]) + (", ..." if len(rules) > MOST_RULES else "")
    told = [one.get("why") or "", _ago(age, said) if age is not None else ""]
    told += [said["relay_for"].format(rules=shown)] if rules else []
    more = ", ".join(filter(None, told))
    return _row(
        f'<th scope="row"><code>{html.escape(one["proxy"])}</code></th>',
        f'<td><span class="{RELAY_CLASSES[state]}">{html.escape(said[f"relay {state}"])}</span>',
        f' <span class="quiet">{html.escape(more)}</span></td>' if more else "</td>",
        f'<td class="n">{count(one.get("tunnels", 0))}</td>',
        f'<td class="n">{count(one["opened"])}</td>',
        f'<td class="n">{count(one["failed"])}</td>',
    )


def _open(one: OpenTunnel, said: dict[str, str]) -> str:
    quiet = ' <span class="quiet">{}</span>'
    via, subject = one.get("via"), one.get("client_subject")
    through = quiet.format(html.escape(said["through"].format(balancer=via))) if via else ""
    through = (quiet.format(html.escape(subject)) if subject else "") + through
    return _row(
        f'<th scope="row"><code>{html.escape(one["tunnel"])}</code></th>',
        f"<td>{html.escape(one['client'])}{through}</td>",
        *(f"<td>{html.escape(one[name])}</td>" for name in ("target", "state")),
        f'<td class="n">{_lasting(one["duration"], said)}</td>',
        *(f'<td class="n">{_size(one[name])}</td>' for name in ("bytes_up", "bytes_down")),
    )


def _client(one: LatestRefusal) -> str:
    subject = one.get("client_subject")
    return f"{one['client']} ({subject})" if subject else one["client"]


def _worker(one: WorkerStatus, most: int, said: dict[str, str]) -> str:
    files = said["files_of"].format(files=count(one["descriptors"]), most=count(most))
    return _row(
        f'<th scope="row">{one["pid"] or html.escape(said["not_running"])}</th>',
        f'<td class="n">{count(one["tunnels"])}</td>',
        f'<td class="n">{html.escape(files)}</td>',
    )


def _refusal(one: LatestRefusal, now: datetime, said: dict[str, str]) -> str:
    last = datetime.fromisoformat(one["last"])
    quiet = '<span class="quiet">{}</span>'
    times = " " + quiet.format(html.escape(said["times"].format(count=count(one["count"]))))
    command = f' <span class="command"><code>{html.escape(one["command"])}</code></span>' if one["command"] else ""
    return _row(
        f'<td role="cell"><time datetime="{html.escape(one["last"])}">{html.escape(_ago(one["age"], said))}</time> ',
        quiet.format(_clock(last, now)),
        times if one["count"] > 1 else "",
        f'</td><td role="cell"><b>{html.escape(one["target"] or said["no_target"])}</b> ',
        quiet.format(html.escape(said["from"].format(client=_client(one)))),
        f'</td><td role="cell"><span class="why"><b>{html.escape(one["reason"])}</b> ',
        quiet.format(f"OGW-{one['event']:d}" + ("" if one["enforced"] else f", {html.escape(said['let_pass'])}")),
        f"</span> <span>{html.escape(one['detail'])}</span>{command}</td>",
    )
