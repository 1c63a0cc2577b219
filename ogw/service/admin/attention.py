"""What about the gateway an operator should look at: sentences for people, made from what /status says."""

import time
from collections.abc import Sequence
from datetime import datetime

from ogw.language.conventions import count
from ogw.language.messages import gettext as _
from ogw.language.messages import ngettext
from ogw.report.status import Status, state_of
from ogw.settings.renewal import soon_over

NEARLY_FULL = 0.9  # of max-tunnels
MOST_MISTAKES = 5  # of a refused reload


def attention(status: Status) -> list[str]:
    """A sentence for each thing that is wrong or soon will be; also of the status that an older gateway gives."""
    told = []
    counters, most = status["counters"], status["max_tunnels"]
    flags = status.get("flags", "")
    mode = status.get("policy_mode")
    if mode is not None and mode["mode"] == "report":
        text = ngettext(
            "policy-mode = report until {until}: what no rule allows passes, {count} request so far. "
            "{command} makes rules of them.",
            "policy-mode = report until {until}: what no rule allows passes, {count} requests so far. "
            "{command} makes rules of them.",
            counters["reported"],
        )
        reported = count(counters["reported"])
        told.append(text.format(until=mode["until"], count=reported, command=f"ogw suggest{flags}"))
    if out := status.get("taken_out"):
        text = _("Taken out by ogw ready --off at {time}: readiness says no. {command} takes it back.")
        told.append(text.format(time=out, command=f"ogw ready --on{flags}"))
    if refused := status.get("reload_refused"):
        told.append(_of_reload(refused["time"], refused["mistakes"], refused["count"], f"ogw check{flags}"))
    if names := status.get("awaits_restart"):
        text = _("Changed since the start of the gateway, and in force after a restart: {names}.")
        told.append(text.format(names=", ".join(names)))
    told += _of_certificates(status)
    told += _of_admin_files(status)
    if (absent := status.get("listen_absent")) and not status.get("listen_freebind"):
        text = _("This machine does not have the address of {places} any more: no client reaches it there.")
        told.append(text.format(places=", ".join(absent)))
    for relay in status["relay_proxies"]:
        why, state = relay.get("why"), state_of(relay)
        if state == "resting":
            text = (
                _("Relay proxy {proxy} rests: it failed, and is tried again soon ({why}).")
                if why
                else _("Relay proxy {proxy} rests: it failed, and is tried again soon.")
            )
        elif state == "refuses us":
            text = (
                _("Relay proxy {proxy} opens no tunnel for this gateway ({why}).")
                if why
                else _("Relay proxy {proxy} opens no tunnel for this gateway.")
            )
        else:
            continue
        told.append(text.format(proxy=relay["proxy"], why=why))
    told += _of_sources(status)
    if most and counters["tunnels"] >= most * NEARLY_FULL:
        text = _("{tunnels} of {most} tunnels are open; beyond that, new ones are refused (max-tunnels, open files).")
        told.append(text.format(tunnels=count(counters["tunnels"]), most=count(most)))
    if status["workers_missing"]:
        text = _(
            "Workers that did not answer in time: {count}. Their part is missing in the lists of tunnels, clients, "
            "hosts and refusals."
        )
        told.append(text.format(count=status["workers_missing"]))
    if status["worker_deaths"]:
        text = _("Processes that died and were replaced since the start: {count}. The log has more (event 405).")
        told.append(text.format(count=count(status["worker_deaths"])))
    log = status.get("log")
    if log and log["trouble"]:
        text = _("The log cannot be written: {why}.")
        told.append(text.format(why=log["trouble"]))
    if counters["log_lines_lost"]:
        why = log["lost_why"] if log else None
        text = (
            _("Log lines that were lost since the start: {count} ({why}).")
            if why
            else _("Log lines that were lost since the start: {count}.")
        )
        told.append(text.format(count=count(counters["log_lines_lost"]), why=why))
    return told


def _of_reload(when: str, mistakes: Sequence[str], number: int, command: str) -> str:
    """A reload that was refused.

    mistakes  the first of so many
    command   says all of them
    """
    first = mistakes[:MOST_MISTAKES]
    if not first:
        text = _("The last reload was refused at {time}, and the configuration before it stays. {command} says why.")
        return text.format(time=when, command=command)
    more = max(number - MOST_MISTAKES, 0)
    text = (
        ngettext(
            "The last reload was refused at {time}, and the configuration before it stays: {mistakes}; "
            "and {count} mistake more.",
            "The last reload was refused at {time}, and the configuration before it stays: {mistakes}; "
            "and {count} mistakes more.",
            more,
        )
        if more
        else _("The last reload was refused at {time}, and the configuration before it stays: {mistakes}.")
    )
    return text.format(time=when, mistakes="; ".join(first), count=count(more))


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
                "The signature of the list {source} expired at {time}; the list stays in force. Is the next signature "
                "withheld?"
            )
            told.append(text.format(source=one["source"], time=one["expires"]))
        if one["rolled_back"]:
            text = _("The list {source} was rolled back at {time} by {by}: the list before it is in force until "
                     "another one comes.")  # fmt: skip
            told.append(text.format(source=one["source"], time=one["rolled_back"], by=one["by"]))
    return told


def _of_certificates(status: Status) -> list[str]:
    """And of revocation lists: what is over, or soon will be."""
    of_tls = status.get("listen_tls") or {"listen": [], "certificate_until": None, "crl_until": None}
    # What is over, and what soon will be.
    named = {
        "listen-tls-certificate": (
            of_tls["certificate_until"],
            _("The gateway's certificate for {places} expired at {until}: clients do not connect there any more. "
              "Put a new one in its place ({name})."),
            _("The gateway's certificate for {places} is to be renewed before {until} ({name})."),
        ),
        "listen-client-crl": (
            of_tls["crl_until"],
            _("A list of revoked certificates of clients at {places} is out of date since {until}: clients of its "
              "authority are not let in any more. Put a new one in its place ({name})."),
            _("A list of revoked certificates of clients at {places} is to be renewed before {until} ({name})."),
        ),
        "admin-tls-certificate": (
            status.get("admin_tls_until"),
            _("The certificate of admin-address expired at {until}: nobody who verifies it connects there any more. "
              "Put a new one in its place ({name})."),
            _("The certificate of admin-address is to be renewed before {until} ({name})."),
        ),
    }  # fmt: skip
    told = []
    for name, (until, over, soon) in named.items():
        if until is None or not soon_over(name, moment := datetime.fromisoformat(until).timestamp()):
            continue
        text = over if moment <= time.time() else soon
        told.append(text.format(places=", ".join(of_tls["listen"]), until=f"{until[:19]}Z", name=name))
    return told


def _of_admin_files(status: Status) -> list[str]:
    """Those that were not taken."""
    return [
        _("{why}. What was in force before stays.").format(why=why) for why in status.get("admin_files_refused", [])
    ]
