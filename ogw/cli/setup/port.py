"""The port in the firewall: steps that open it, let that last, and close it."""

from ogw.cli.setup.firewall import Firewall, call
from ogw.cli.setup.place import Place
from ogw.cli.setup.step import Step, by_commands, contents, write
from ogw.language.messages import gettext as _


def opening(place: Place, port: int) -> list[Step]:
    """Where no firewall was found it is for the operator. Raises CallFailed."""
    if place.firewall is None:
        name = _("if another firewall guards this machine, open TCP port {port} in it")
        return [Step(name.format(port=port), lambda: False, None)]
    firewall = place.firewall
    details = (forgets,) if (forgets := firewall.forgets(port)) else ()
    name = _("open TCP port {port} in {firewall}").format(port=port, firewall=firewall.name)
    step = by_commands(place, name, lambda: firewall.is_open(port), firewall.opening(port), details)
    return [step, _keeper(firewall, text)] if (text := firewall.keeping(port)) else [step]


def _keeper(firewall: Firewall, text: str) -> Step:
    path = firewall.keeper

    def do() -> None:
        write(path, text)
        call("systemctl", "daemon-reload")

    name = _("keep the port open after a reboot: write {file}").format(file=path)
    return Step(name, lambda: contents(path) == text, do, details=tuple(text.splitlines()))


def closing(firewall: Firewall, port: int) -> Step:
    """Raises CallFailed."""
    name = _("close TCP port {port} in {firewall}").format(port=port, firewall=firewall.name)
    commands = firewall.closing(port)
    return by_commands(Place("", True, firewall), name, lambda: not commands or not firewall.is_open(port), commands)
