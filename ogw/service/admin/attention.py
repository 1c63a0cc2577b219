"""What about the gateway an operator should look at: sentences for people, made from what /status says."""

import time
from datetime import datetime

from ogw.language.messages import gettext as _
from ogw.report.status import Status, state_of
from ogw.settings.renewal import soon_over

NEARLY_FULL = 0.9  # of max-tunnels
MOST_MISTAKES = 5  # of a refused reload


def attention(status: Status) -> list[str]:
    """A sentence for each thing that is wrong or soon will be; also of the status that an older gateway gives."""
    told = []
    counters, most = status["counters"], status["max_tunnels"]
    mode = status.get("policy_mode")
    if mode is not None and mode["mode"] == "report":
        text = _(
            "policy-mode = report until {until}: what no rule allows passes, {count} requests so far. "
            "ogw suggest{flags} makes rules of them."
        )
        count = f"{counters['reported']:,}"
        told.append(text.format(until=mode["until"], count=count, flags=status.get("flags", "")))
    if out := status.get("taken_out"):
        text = _("Taken out by ogw ready --off at {time}: readiness says no. ogw ready --on{flags} takes it back.")
        told.append(text.format(time=out, flags=status.get("flags", "")))
    if refused := status.get("reload_refused"):
        text = _("The last reload was refused at {time}, and the configuration before it stays: {mistakes}.")
        first, more = refused["mistakes"][:MOST_MISTAKES], refused["count"] - MOST_MISTAKES
        listed = [*first, *([_("and {count} more").format(count=f"{more:,}")] if more > 0 else [])]
        told.append(
            text.format(
                time=refused["time"],
                mistakes="; ".join(listed) or _("ogw check{flags} tells why").format(flags=status.get("flags", "")),
            )
        )
    told += _of_certificates(status)
    told += _of_admin_files(status)
    if (absent := status.get("listen_absent")) and not status.get("listen_freebind"):
        text = _("This machine does not have the address of {places} any more: no client reaches it there.")
        told.append(text.format(places=", ".join(absent)))
    for relay in status["relay_proxies"]:
        sentence = {
            "resting": _("Relay proxy {proxy} rests: it failed, and is tried again soon{why}."),
            "refuses us": _("Relay proxy {proxy} opens no tunnel for this gateway{why}."),
        }.get(state_of(relay))
        if sentence is not None:
            why = f" ({relay['why']})" if relay.get("why") else ""
            told.append(sentence.format(proxy=relay["proxy"], why=why))
    told += _of_sources(status)
    if most and counters["tunnels"] >= most * NEARLY_FULL:
        text = _("{tunnels} of {most} tunnels are open; what comes beyond them is refused (max-tunnels, open files).")
        told.append(text.format(tunnels=f"{counters['tunnels']:,}", most=f"{most:,}"))
    if status["workers_missing"]:
        text = _(
            "Workers that did not answer in time: {count}. Lists of tunnels, clients, hosts and refusals lack theirs."
        )
        told.append(text.format(count=status["workers_missing"]))
    if status["worker_deaths"]:
        text = _("Processes that died and were replaced since the start: {count}. The log has more (event 405).")
        told.append(text.format(count=f"{status['worker_deaths']:,}"))
    log = status.get("log")
    if log and log["trouble"]:
        text = _("The log cannot be written: {why}.")
        told.append(text.format(why=log["trouble"]))
    if counters["log_lines_lost"]:
        text = _("Log lines that nobody took since the start: {count}{why}.")
        why = f" ({log['lost_why']})" if log and log["lost_why"] else ""
        told.append(text.format(count=f"{counters['log_lines_lost']:,}", why=why))
    return told


def _of_sources(status: Status) -> list[str]:
    """Lists that are not fetched, overdue or rolled back."""
    told = []
    for one in status.get("sources", []):
        if one["failing"]:
            text = (
                _("The list {source} is not taken since {time}: {why}.")
                if one["rules"] is None
                else _("The list {source} is not taken since {time}, and that of {fetched} stays in force: {why}.")
            )
            told.append(text.format(source=one["source"], time=one["failing_since"], fetched=one["fetched"],
                                    why=one["failing"]))  # fmt: skip
        if one["overdue"]:
            text = _(
                "The signature of the list {source} expired at {time}; it stays in force. Is the next one withheld?"
            )
            told.append(text.format(source=one["source"], time=one["expires"]))
        if one["rolled_back"]:
            text = _("The list {source} was rolled back at {time} by {by}: the one before is in force until another "
                     "comes.")  # fmt: skip
            told.append(text.format(source=one["source"], time=one["rolled_back"], by=one["by"]))
    return told


def _of_certificates(status: Status) -> list[str]:
    """And of revocation lists: what is over, or soon will be."""
    of_tls = status.get("listen_tls") or {"listen": [], "certificate_until": None, "crl_until": None}
    named = {
        "listen-tls-certificate": (of_tls["certificate_until"], _("The gateway's certificate for {places}")),
        "listen-client-crl": (of_tls["crl_until"], _("A list of revoked certificates of clients at {places}")),
        "admin-tls-certificate": (status.get("admin_tls_until"), _("The certificate of admin-address")),
    }
    told = []
    for name, (until, what) in named.items():
        if until is None or not soon_over(name, moment := datetime.fromisoformat(until).timestamp()):
            continue
        text = _("{what} is over since {until}: nobody gets in by it. Put a new one in its place ({name}).") if (
            moment <= time.time()
        ) else _("{what} is to be renewed before {until} ({name}).")  # fmt: skip
        shown = what.format(places=", ".join(of_tls["listen"]))
        told.append(text.format(what=shown, until=f"{until[:19]}Z", name=name))
    return told


def _of_admin_files(status: Status) -> list[str]:
    """Those that were not taken."""
    return [
        _("{why}. What was in force before stays.").format(why=why) for why in status.get("admin_files_refused", [])
    ]
