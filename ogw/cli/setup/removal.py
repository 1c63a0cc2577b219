"""The steps that take a set-up away again."""

import os
from collections.abc import Callable

from ogw.cli.setup.firewall import succeeds
from ogw.cli.setup.place import Place
from ogw.cli.setup.port import closing
from ogw.cli.setup.service_unit import LOW_PORTS_FILE
from ogw.cli.setup.step import Step, by_commands, removing, removing_with_folder
from ogw.cli.setup.user import USER, has_user
from ogw.language.messages import gettext as _

# Of the configuration, and what systemd makes for the service: links, and under private/ what they lead to.
FOLDERS = ("/etc/ogw", "/var/lib/ogw", "/var/lib/private/ogw", "/var/log/ogw", "/var/log/private/ogw")


def undo(place: Place, purge: bool) -> list[Step]:
    """The steps that take it away again. Raises EditError, CallFailed."""
    unit, steps = place.unit, []
    if place.systemd and not place.root:

        def stopped() -> bool:
            return not any(succeeds("systemctl", asks, "--quiet", "ogw") for asks in ("is-active", "is-enabled"))

        steps.append(by_commands(place, _("stop the service"), stopped, [["systemctl", "disable", "--now", "ogw"]]))
    low_ports = place.root + LOW_PORTS_FILE
    there = os.path.exists(unit) or os.path.exists(low_ports)
    steps.append(removing(unit))
    if os.path.exists(low_ports):
        steps.append(removing_with_folder(low_ports))
    if place.systemd and not place.root:
        steps.append(_forget(place, lambda: not there))
    if place.firewall is not None and place.port:
        steps.append(closing(place.firewall, place.port))
        if place.firewall.keeper and os.path.exists(place.firewall.keeper):
            steps += [removing_with_folder(place.firewall.keeper), _forget(place)]
    if purge:
        paths = (f"{unit}.old", *(place.root + path for path in FOLDERS))
        steps += [removing(path) for path in paths if os.path.lexists(path)]
        if not place.root:
            steps.append(
                by_commands(
                    place, _("remove the user {user}").format(user=USER), lambda: not has_user(), [["userdel", USER]]
                )
            )
    return steps


def _forget(place: Place, is_so: Callable[[], bool] = lambda: False) -> Step:
    return by_commands(place, _("let systemd read its units again"), is_so, [["systemctl", "daemon-reload"]])
