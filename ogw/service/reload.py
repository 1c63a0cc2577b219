"""What a reload says: what changed, what stays as it was, and what needs a restart."""

import logging
from collections.abc import Iterable

from ogw.report.events import Event
from ogw.report.log import Log
from ogw.settings.policy import policy_of
from ogw.settings.settings import SETTINGS, Config

NEEDS_RESTART = (
    "listen-address",
    "listen-port",
    "workers",
    "tcp-keepalive",
    "admin-address",
    "admin-page",
    "health-address",
    "run-dir",
    "log-format",
    "log-file",
    "syslog",
)

SOURCES = ("preset", "allowed-host-source", "agent-config")


def changes(before: Config, config: Config) -> list[str]:
    """The names of the settings that differ, or that now give other hosts than before."""
    given = [{name: [one for one in of.sourced if one.setting == name] for name in SOURCES} for of in (before, config)]
    return [
        name
        for name, setting in SETTINGS.items()
        if getattr(before, setting.attribute) != getattr(config, setting.attribute)
        or (name in SOURCES and given[0][name] != given[1][name])
    ]


def tell_of_change(log: Log, before: Config, config: Config) -> list[str]:
    """Every worker has taken the new configuration; what changed."""
    old, log.policy = log.policy, policy_of(config).hash
    log.set_level(config.log_level)
    changed = changes(before, config)
    log.event(
        Event.CONFIGURATION_RELOADED,
        f"changed: {', '.join(changed)}" if changed else "nothing changed",
        old_policy=old,
        changed=changed,
    )
    for name in changed:
        if name in NEEDS_RESTART:
            log.event(Event.INFORMATION, f"{name} changed; that needs a restart of the gateway", level=logging.WARNING)
    for warning in config.warnings:
        log.event(Event.INFORMATION, warning, level=logging.WARNING)
    return changed


def tell_of_mistakes(log: Log, mistakes: Iterable[str]) -> None:
    """Nothing was reloaded, and why."""
    for mistake in mistakes:
        log.event(Event.WRONG_CONFIGURATION, f"{mistake}; nothing was reloaded, the running configuration stays")
