"""The steps of a set-up."""

import os
import shlex
import shutil
from collections.abc import Sequence

from ogw.cli.setup.answers import Answers, allows_any, change_of, preview
from ogw.cli.setup.firewall import succeeds
from ogw.cli.setup.place import Place
from ogw.cli.setup.port import closing, opening
from ogw.cli.setup.service_unit import LOW_PORTS_FILE, PACKAGED, beside_packaged, is_packaged, unit_text
from ogw.cli.setup.step import Step, by_commands, contents, removing_with_folder, write
from ogw.cli.setup.user import letting_it_read, letting_it_read_keytab, making_user
from ogw.language.messages import gettext as _
from ogw.settings import password_file as kept
from ogw.settings.editing import Outcome, edit
from ogw.settings.ini.file import EditError


def plan(answers: Answers, place: Place) -> list[Step]:
    """The steps of a set-up. Raises EditError, CallFailed."""
    old, new = place.port, int((answers.values.get("listen-port") or [str(place.port)])[0])
    steps = []
    if answers.service:
        steps.append(making_user(place))
    outcome = preview(answers, place)
    if outcome.remaining:
        raise EditError("\n".join(outcome.remaining))
    steps.append(_ini(answers, place, outcome))
    if answers.service:
        steps += letting_it_read(answers, place, outcome.config, outcome.changed)
        steps += letting_it_read_keytab(answers, place)
        steps += _beside_packaged(place, new) if is_packaged(answers.program, place.root) else [
            _unit(answers, place, new)]  # fmt: skip
    if answers.firewall:
        steps += opening(place, new)
        if place.firewall and old != new and place.firewall.is_open(old) and os.path.exists(place.ini):
            steps.append(closing(place.firewall, old))
    if answers.service:
        steps.append(_start(place, steps, allows_any(answers, place)))
    return steps


def _ini(answers: Answers, place: Place, outcome: Outcome) -> Step:
    password = answers.password if answers.values.get("relay-proxy") else None
    fresh = password is not None and not kept.has_password(place.password_file, password)
    details = [f"- {text}" for text in outcome.removed] + [f"+ {text}" for text in outcome.added]
    if fresh:
        password_line = _("the password, in {file}, which only root and the service can read")
        details.append(f"+ {password_line.format(file=place.password_file)}")

    def do() -> None:
        os.makedirs(os.path.dirname(place.ini), 0o755, exist_ok=True)
        edit(place.ini, change_of(answers, place.ini))

    if not os.path.exists(place.ini) and not details:
        return Step(_("write {file}").format(file=place.ini), lambda: True, do)
    name = _("change {file}") if os.path.exists(place.ini) else _("write {file}")
    return Step(name.format(file=place.ini), lambda: not outcome.changed and not fresh, do, details=tuple(details))


def _unit(answers: Answers, place: Place, port: int) -> Step:
    text = unit_text(answers.program, port)
    there = contents(place.unit)
    details: tuple[str, ...] = ()
    if there not in ("", text):
        details = (_("the present file differs; it is kept as {file}.old").format(file=place.unit),)

    def do() -> None:
        if os.path.islink(place.unit):
            # What it leads to is somebody else's, or, of a unit that was masked, /dev/null.
            os.rename(place.unit, f"{place.unit}.old")
        elif details:
            shutil.copy2(place.unit, f"{place.unit}.old")
        write(place.unit, text)

    return Step(_("write {file}").format(file=place.unit), lambda: contents(place.unit) == text, do, details=details)


def _beside_packaged(place: Place, port: int) -> list[Step]:
    path, text = place.root + LOW_PORTS_FILE, beside_packaged(port)
    packaged = Step(_("the unit of the package: {file}").format(file=PACKAGED), lambda: True, lambda: None)
    if not text:
        return [packaged, removing_with_folder(path)] if os.path.exists(path) else [packaged]
    name = _("write {file}").format(file=path)
    return [packaged, Step(name, lambda: contents(path) == text, lambda: write(path, text))]


def _start(place: Place, before: Sequence[Step], may_serve: bool) -> Step:
    reload = ["systemctl", "daemon-reload"]
    changes = [step for step in before if step.do is not None]
    was_so = all(step.is_so() for step in changes)
    running = place.systemd and succeeds("systemctl", "is-active", "--quiet", "ogw")
    enable = ["systemctl", "enable", "ogw"]
    start = [enable, ["systemctl", "restart", "ogw"]] if running else [[*enable[:2], "--now", "ogw"]]
    if place.root:
        return Step(_("enable the service in the image"), lambda: False, None,
                    (shlex.join(["systemctl", f"--root={place.root}", "enable", "ogw"]),))  # fmt: skip

    def is_so() -> bool:
        return was_so and (running or not may_serve) and succeeds("systemctl", "is-enabled", "--quiet", "ogw")

    if not (running or may_serve):
        name = _("enable the service, which starts with the machine as soon as a host is allowed")
        return by_commands(place, name, is_so, [reload, enable], needs_systemd=True)
    name = _("restart the service") if running else _("start the service, now and with the machine")
    return by_commands(place, name, is_so, [reload, *start], needs_systemd=True)
