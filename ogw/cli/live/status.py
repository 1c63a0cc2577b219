"""`ogw status`: whether the gateway serves, and what an administrator asks next, on one screen."""

import argparse
import json
import math
import time
from datetime import datetime

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ogw.cli.exits import FAILED, NO_GATEWAY, OK
from ogw.cli.live.gateway import gateway_of
from ogw.cli.live.sockets import NO_GATEWAY_MEANS, add_gateway
from ogw.cli.parser import Parser, parser_of
from ogw.cli.screen import (
    BAD,
    BOLD,
    DIM,
    GOOD,
    INDENT,
    WARN,
    clean,
    duration,
    indented,
    moment,
    show,
    size,
    table,
    whole,
)
from ogw.language.conventions import count
from ogw.language.messages import gettext as _
from ogw.language.messages import ngettext, pgettext
from ogw.report.status import (
    LATEST_REFUSALS,
    PredecessorStatus,
    RefusedReload,
    RelayProxyStatus,
    SourceStatus,
    Status,
    doors,
    state_of,
)
from ogw.settings.renewal import soon_over

NAMES = 12  # columns of the facts' names
MOST_RULES = 5  # of the targets that a relay proxy is for


def parser() -> Parser:
    made = parser_of(
        "status",
        _("Say whether the gateway serves clients, and show its state and its counts, which are since its start."),
        examples=[
            "ogw status",
            "ogw status --json | jq .counters",
            "ogw status >/dev/null && echo serving",
            "sudo ogw status --run-dir /run/ogw",
        ],
        codes={
            OK: _("the gateway serves"),
            FAILED: _(
                "the gateway runs, but does not serve all clients: it starts or drains, or a worker does not answer"
            ),
            NO_GATEWAY: _(NO_GATEWAY_MEANS),
        },
    )
    add_gateway(made)
    made.add_argument("--json", action="store_true", help=_("what the gateway answers to GET /status, as it is"))
    return made


def run(asked: argparse.Namespace) -> int:
    gateway = gateway_of(asked)
    if asked.json:
        answer = gateway.value("/status")
        print(json.dumps(answer, indent=2))
        return OK if answer.get("state") == "serving" else FAILED
    status: Status = clean(gateway.status())
    show(*screen(status))
    return OK if status["state"] == "serving" else FAILED


def headline(status: Status) -> Text:
    """Whether it serves, and why not."""
    said = {
        "serving": (_("{gateway} is serving"), GOOD),
        "draining": (_("{gateway} is draining: it takes no new tunnels, and ends when the open ones have ended"), WARN),
        "starting": (_("{gateway} is starting: no worker is ready yet"), WARN),
        "partly": (_("{gateway} serves in part: a worker does not answer, and its share of the clients waits"), BAD),
    }
    if serves_on := status.get("serves_on"):
        told = _("{gateway} is draining: it takes new tunnels for {duration} more, and readiness says no (drain-delay)")
        said["draining"] = told.replace("{duration}", duration(math.ceil(serves_on))), WARN
    told, style = said.get(status["state"], (f"{{gateway}} {status['state']}", BAD))
    name = name_of(status)
    before, _name, behind = told.partition("{gateway}")
    return Text.assemble((before, f"{BOLD} {style}"), (name, BOLD), (behind, f"{BOLD} {style}"))


def name_of(status: Status) -> str:
    """Its version, and its machine where it says that."""
    version, machine = status["version"], status.get("machine")
    return _("ogw {version} on {machine}").format(version=version, machine=machine) if machine else f"ogw {version}"


def mode_line(status: Status) -> str:
    """That the policy only reports, and until when; "" while it is enforced."""
    mode = status.get("policy_mode")
    if mode is None or mode["mode"] != "report":
        return ""
    number = status["counters"].get("reported", 0)
    told = ngettext(
        "policy-mode = report until {time}: what no rule allows passes, {number} request so far; see "
        "`ogw suggest{flags}`",
        "policy-mode = report until {time}: what no rule allows passes, {number} requests so far; see "
        "`ogw suggest{flags}`",
        number,
    )
    return told.format(time=mode["until"], number=count(number), flags=status.get("flags", ""))


def out_line(status: Status) -> str:
    """That it was taken out, and since when; "" where it is not."""
    told = _(
        "taken out at {time}: the gateway is not ready, but serves clients that come; `ogw ready --on{flags}` ends that"
    )
    out = status.get("taken_out")
    return told.format(time=moment(out), flags=status.get("flags", "")) if out else ""


def restart_line(status: Status) -> str:
    """The settings that only a restart takes; "" where there are none."""
    names = status.get("awaits_restart")
    told = _("changed since the start, and in force after a restart: {names}")
    return told.format(names=", ".join(names)) if names else ""


def screen(status: Status) -> list[RenderableType]:
    """All of it, for a clean status."""
    parts: list[RenderableType] = [headline(status)]
    if told := mode_line(status):
        parts.append(Text(told, style=f"{BOLD} {BAD}"))
    if told := out_line(status):
        parts.append(Text(told, style=f"{BOLD} {WARN}"))
    if refused := status.get("reload_refused"):
        parts += _refused_reload(status, refused)
    if told := restart_line(status):
        parts.append(Text(told, style=f"{BOLD} {WARN}"))
    parts += [_facts(status), Text(), _workers(status)]
    if status["workers_missing"]:
        told = ngettext("{number} worker did not answer in time; what it knows is missing below",
                        "{number} workers did not answer in time; what they know is missing below",
                        status["workers_missing"])  # fmt: skip
        parts.append(Text(told.format(number=status["workers_missing"]), style=WARN))
    if status["relay_proxies"]:
        parts += [Text(), _relay_proxies(status)]
    if status.get("sources"):
        parts += [Text(), _sources(status)]
    if status["reasons"]:
        parts += [Text(), _reasons(status)]
    if status["refusals"]:
        parts += [Text(), *_refusals(status)]
    return parts


def refused_reload(refused: RefusedReload, flags: str, most: int) -> list[str]:
    """That it was refused and when, and a line for each of its mistakes, so many of them at most."""
    told = _("the last reload was refused {age} ago, at {time}; the configuration before it stays:")
    if not refused["mistakes"]:
        told = _("the last reload was refused {age} ago, at {time}; the configuration before it stays; "
                 "`ogw check{flags}`")  # fmt: skip
    said = told.format(age=duration(refused["age"]), time=moment(refused["time"]), flags=flags)
    shown = refused["mistakes"][:most]
    more = refused["count"] - len(shown) if shown else 0
    told = ngettext("and {number} more mistake; `ogw check{flags}` tells them all",
                    "and {number} more mistakes; `ogw check{flags}` tells them all", more)  # fmt: skip
    return [said, *shown, *([told.format(number=count(more), flags=flags)] if more > 0 else [])]


def predecessor(before: PredecessorStatus) -> str:
    """What the last upgrade left to drain."""
    number = before["tunnels"]
    told = _("process {pid} drains since the upgrade, with its tunnels, for at most {duration} more")
    if number is not None:
        told = ngettext("process {pid} drains since the upgrade, with {number} tunnel, for at most {duration} more",
                        "process {pid} drains since the upgrade, with {number} tunnels, for at most {duration} more",
                        number)  # fmt: skip
    return told.format(pid=before["pid"], number=count(number or 0), duration=duration(before["seconds"]))


def _refused_reload(status: Status, refused: RefusedReload) -> list[RenderableType]:
    said, *lines = refused_reload(refused, status.get("flags", ""), len(refused["mistakes"]))
    return [Text(said, style=f"{BOLD} {BAD}"), *(indented(Text(line)) for line in lines)]


def _facts(status: Status) -> Table:
    counted = status["counters"]
    facts = table("", "", folds=(1,))
    since = duration(status["uptime"])
    if status["started"]:
        since = _("{duration}, since {time}").format(duration=since, time=moment(status["started"]))
    of_clients = ngettext("{open} of {most}, from {clients} client", "{open} of {most}, from {clients} clients",
                          counted["clients"])  # fmt: skip
    limit = of_clients.format(
        open=count(counted["tunnels"]), most=count(status["max_tunnels"]), clients=count(counted["clients"])
    )
    passed = _("{allowed} allowed, {refused} refused, {rejected} rejected by the TLS rules, {errors} errors").format(
        allowed=count(counted["allowed"]),
        refused=count(counted["refused"]),
        rejected=count(counted["tls_rejections"]),
        errors=count(counted["errors"]),
    )
    copied = pgettext("bytes to and from targets", "{up} up, {down} down")
    copied = copied.format(up=size(counted["bytes_up"]), down=size(counted["bytes_down"]))
    reloads = _("{policy}; reloads: {taken} taken, {refused} refused").format(
        policy=status["policy"], taken=count(counted["reloads"]), refused=count(counted["reloads_refused"])
    )
    health = status.get("health")
    rows = [
        (pgettext("for how long", "running"), since),
        (_("listens on"), ", ".join(doors(status))),
        *_listen_tls(status),
        *_absent(status),
        (pgettext("address", "admin"), status["admin"] or _("only this socket")),
        *([(pgettext("address", "health"), health)] if health else []),
        *_admin_files(status),
        (_("policy"), reloads),
        (_("tunnels"), limit),
        (_("requests"), passed),
        (pgettext("bytes to and from targets", "copied"), copied),
    ]
    if before := status.get("predecessor"):
        rows.append((_("predecessor"), predecessor(before)))
    log = status.get("log")
    if log and log["trouble"]:
        rows.append((_("log"), _("the log cannot be written: {why}").format(why=log["trouble"])))
    if counted["log_lines_lost"]:
        said = counted["log_lines"] + counted["log_lines_lost"]
        lost = ngettext("{lost} of {lines} line lost: {why}", "{lost} of {lines} lines lost: {why}", said)
        why = log["lost_why"] if log else _("the log did not take them")
        rows.append((_("log"), lost.format(lost=count(counted["log_lines_lost"]), lines=count(said), why=why)))
    for name, told in rows:
        facts.add_row(Text(name.ljust(NAMES), style=DIM), Text(told))
    return facts


def _listen_tls(status: Status) -> list[tuple[str, str]]:
    of_tls = status.get("listen_tls")
    if not of_tls:
        return []
    named = [
        (_("certificate"), "listen-tls-certificate", of_tls["certificate_until"]),
        (_("CRL"), "listen-client-crl", of_tls["crl_until"]),
    ]
    return [(shown, _until(name, until)) for shown, name, until in named if until]


def _until(name: str, until: str) -> str:
    """When what this setting names ends, and, soon before and behind that, what to do."""
    seconds = datetime.fromisoformat(until).timestamp()
    if seconds <= time.time():
        told = _("expired at {time}: put a new one in its place ({setting})")
    elif soon_over(name, seconds):
        told = _("to be renewed before {time} ({setting})")
    else:
        told = _("valid until {time} ({setting})")
    return told.format(time=moment(until), setting=name)


def _absent(status: Status) -> list[tuple[str, str]]:
    told = _("{place}: this machine does not have that address now; clients come once it has it")
    return [(pgettext("listen address", "absent"), told.format(place=one)) for one in status.get("listen_absent", [])]


def _admin_files(status: Status) -> list[tuple[str, str]]:
    """When the certificate of admin-address expires; and files that were not taken."""
    until = status.get("admin_tls_until")
    rows = [(_("certificate"), _until("admin-tls-certificate", until))] if until else []
    told = _("{mistake}; what was in force before stays")
    return rows + [
        (pgettext("files", "refused"), told.format(mistake=one)) for one in status.get("admin_files_refused", [])
    ]


def _workers(status: Status) -> Table:
    shown = table(_("worker"), _("pid"), _("tunnels"), _("open files"), numbers=(1, 2, 3), folds=(3,))
    for worker in status["workers"]:
        used = _("{used} of {most}").format(used=count(worker["descriptors"]), most=count(status["max_descriptors"]))
        cells = [str(worker["number"]).ljust(NAMES), str(worker["pid"]), count(worker["tunnels"]), used]
        full = worker["descriptors"] > 0.9 * status["max_descriptors"] > 0
        shown.add_row(*(Text(cell, style=BAD if full else "") for cell in cells))
    if status["worker_deaths"]:
        told = ngettext("{number} worker died", "{number} workers died", status["worker_deaths"])
        shown.add_row(Text(told.format(number=count(status["worker_deaths"])), style=BAD))
    return shown


def _relay_proxies(status: Status) -> Table:
    shown = table(_("relay proxy"), _("tunnels"), _("state"), numbers=(1,), folds=(2,))
    for relay in status["relay_proxies"]:
        number = relay.get("tunnels")
        shown.add_row(Text(relay["proxy"]), Text("-" if number is None else count(number)), _relay_state(relay))
    return shown


def _relay_state(relay: RelayProxyStatus) -> Text:
    text, style = {
        "never tried": (_("never tried, may be fine"), ""),
        "up": (_("fine, opened a tunnel {age} ago"), GOOD),
        "refuses us": (_("refuses the gateway: {why}, {age} ago"), BAD),
        "resting": (_("rests after a failure: {why}, {age} ago"), BAD),
    }[state_of(relay)]
    age, scheme = relay.get("age"), relay.get("scheme", "")
    if scheme and state_of(relay) == "up":
        text = _("fine, opened a tunnel {age} ago, authenticated with {scheme}")
    told = text.format(scheme=scheme, why=relay.get("why", "?"), age="?" if age is None else duration(age))
    if rules := relay.get("named_for"):
        named = ", ".join(rules[:MOST_RULES]) + ", ..." * (len(rules) > MOST_RULES)
        told = _("{state}; for {rules}").format(state=told, rules=named)
    return Text(told, style=style)


def _sources(status: Status) -> Table:
    shown = table(pgettext("of host rules", "list"), _("host rules"), _("state"), numbers=(1,), folds=(2,))
    for one in status["sources"]:
        text, style = _source_state(one)
        shown.add_row(
            Text(one["source"]), Text("-" if one["rules"] is None else count(one["rules"])), Text(text, style)
        )
    return shown


def _source_state(one: SourceStatus) -> tuple[str, str]:
    """How it stands, and a colour for that; `ogw sources` tells more."""
    if one["failing"]:
        return _("not taken: {why}").format(why=one["failing"]), BAD
    if one["overdue"]:
        return _("the signature expired at {time}").format(time=moment(one["expires"] or "")), BAD
    if one["rolled_back"]:
        return _("rolled back at {time} by {user}").format(time=moment(one["rolled_back"]), user=one["by"]), WARN
    if one["age"] is None:
        return _("not fetched yet"), WARN
    return _("fetched {age} ago").format(age=duration(one["age"])), GOOD


def _reasons(status: Status) -> Table:
    shown = table(pgettext("reason", "refused for"), pgettext("how often", "times"), numbers=(1,))
    for token, times in sorted(status["reasons"].items(), key=lambda item: -item[1]):
        shown.add_row(Text(token), Text(count(times)))
    return shown


def _refusals(status: Status) -> list[RenderableType]:
    parts: list[RenderableType] = [Text(_("latest refusals"), style=BOLD)]
    for one in status["refusals"]:
        times = ngettext("{number} time", "{number} times", one["count"])
        who = f"{one['client']} ({subject})" if (subject := one.get("client_subject")) else one["client"]
        line = whole(
            (f"{one['last']}  ", DIM),
            f"{who} -> {one['target'] or '?'}  ",
            (f"{one['reason']} (OGW-{one['event']})", WARN),
            *(("  ", times.format(number=count(one["count"]))) if one["count"] > 1 else ()),
            *(("  ", _("let pass, only reported")) if one.get("enforced") is False else ()),
        )
        parts += [line, indented(Text(one["detail"], style=DIM))]
        if one["command"]:
            parts.append(whole(" " * INDENT, (_("to allow it:"), DIM), " ", one["command"]))
    if len(status["refusals"]) >= LATEST_REFUSALS:
        told = _("no more than the latest {number} are listed; `ogw suggest{flags}` and the page know of all")
        parts.append(Text(told.format(number=LATEST_REFUSALS, flags=status.get("flags", "")), style=WARN))
    return parts
