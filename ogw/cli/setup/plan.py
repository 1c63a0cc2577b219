"""What a set-up consists of: steps that know what they do, whether it is so already, and which commands do the same."""

import os
import pwd
import shlex
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from gettext import gettext as _
from typing import Optional

from ogw.cli.edit.relay_proxy import forget, use
from ogw.cli.setup.firewall import CallFailed, Firewall, call, succeeds
from ogw.cli.setup.service_unit import (
    LOW_PORTS_FILE,
    PACKAGED,
    UNIT,
    beside_packaged,
    is_packaged,
    systemd_runs,
    unit_text,
)
from ogw.settings import password_file as kept
from ogw.settings.editing import Editor, Outcome, edit
from ogw.settings.files import replace
from ogw.settings.ini.file import EditError
from ogw.settings.ini.source import read_ini
from ogw.settings.ini.text import IniText
from ogw.settings.settings import SETTINGS
from ogw.settings.usual import DEFAULT_FILE

USER = kept.SERVICE_GROUP  # the service's user has a group of its name
# Of the configuration, and what systemd makes for the service: links, and under private/ what they lead to.
FOLDERS = ("/etc/ogw", "/var/lib/ogw", "/var/lib/private/ogw", "/var/log/ogw", "/var/log/private/ogw")


@dataclass
class Answers:
    """What was asked for.

    values    setting name -> texts; lists are added to, relay-proxy is replaced ([] is none any more)
    username  of the relay proxies; "" for none
    password  None where there is none
    anonymous the relay proxies take no user name, whatever is there
    """

    values: dict[str, list[str]] = field(default_factory=dict)
    username: str = ""
    password: Optional[str] = None
    anonymous: bool = False
    service: bool = True
    firewall: bool = True
    program: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """Where it is set up.

    root      what every path is put behind; "" for this machine itself
    firewall  None where none filters, or it is not this machine
    """

    root: str
    systemd: bool
    firewall: Optional[Firewall]

    @property
    def ini(self) -> str:
        return self.root + DEFAULT_FILE

    @property
    def unit(self) -> str:
        return self.root + UNIT

    @property
    def password_file(self) -> str:
        return kept.beside(self.ini)

    def texts(self, name: str) -> list[str]:
        """What the INI file says of a setting. Raises EditError."""
        return [text for _line, text in _text_of(self.ini).texts(name)]

    @property
    def port(self) -> int:
        """The one of the INI file as it is."""
        text = (self.texts("listen-port") or [SETTINGS["listen-port"].default])[0]
        return int(text) if text.isdigit() else 0


@dataclass(frozen=True)
class Step:
    """One thing to be done.

    details  lines to show below it
    do       raises CallFailed, EditError, OSError; None: it is for the operator to do
    by_hand  command lines that do the same
    """

    does: str
    is_so: Callable[[], bool]
    do: Optional[Callable[[], None]]
    by_hand: tuple[str, ...] = ()
    details: tuple[str, ...] = ()


def change_of(answers: Answers, ini: str) -> Callable[[Editor], None]:
    """The edit of the INI file."""

    def change(editor: Editor) -> None:
        for name, texts in answers.values.items():
            setting = SETTINGS[name]
            if name == "relay-proxy":
                _relay_proxies(editor, answers, texts, ini)
            elif setting.listed:
                for text in texts:
                    editor.add(setting, text)
            else:
                editor.set(setting, texts)

    return change


def _relay_proxies(editor: Editor, answers: Answers, urls: list[str], ini: str) -> None:
    before = [entry.text for entry in editor.entries(SETTINGS["relay-proxy"])]
    if not urls:
        if before:
            forget(editor, ini)
    elif urls != before or answers.username or answers.anonymous:
        # Credentials go to no proxy that they were not given for.
        file = ""
        if answers.password is not None:
            file = kept.NAME  # which is meant from the folder of the INI file
            _write_password(answers.password, ini)
        use(editor, ini, urls, answers.username, password_file=file)


def _write_password(password: str, ini: str) -> None:
    path = kept.beside(ini)
    if kept.has_password(path, password):
        return  # as it stands there, with whatever else its owner decided
    try:
        kept.write(path, password.encode() + b"\n", ini)
    except OSError as error:
        raise EditError(f"{path}: {error.strerror}") from None


def preview(answers: Answers, place: Place) -> Outcome:
    """What the edit would do, tried on a copy. Raises EditError with every mistake that it would make."""
    with tempfile.TemporaryDirectory(prefix="ogw-setup-") as folder:
        copy = os.path.join(folder, os.path.basename(place.ini))
        try:
            for path in (place.ini, place.password_file, ca_file(answers, place)):
                if os.path.exists(path):
                    _copy_beside(path, place, folder)
            return edit(copy, change_of(answers, copy), dry_run=True)
        except EditError as error:
            raise EditError(str(error).replace(os.path.realpath(folder), os.path.dirname(place.ini))) from None
        except OSError as error:
            raise EditError(f"{place.ini}: {error.strerror}") from None


def ca_file(answers: Answers, place: Place) -> str:
    """The file with authorities that the settings will name; "" for none."""
    texts = answers.values.get("relay-proxy-ca-file") or place.texts("relay-proxy-ca-file")
    if not texts or not texts[0]:
        return ""
    return place.root + os.path.join(os.path.dirname(DEFAULT_FILE), texts[0])


def _copy_beside(path: str, place: Place, folder: str) -> None:
    """So that a relative path in the copy leads to it; what lies elsewhere is found where it is."""
    beside = os.path.relpath(path, os.path.dirname(place.ini))
    if not beside.startswith(os.pardir):
        copy = os.path.join(folder, beside)
        os.makedirs(os.path.dirname(copy), exist_ok=True)
        shutil.copy(path, copy)


def plan(answers: Answers, place: Place) -> list[Step]:
    """The steps of a set-up. Raises EditError, CallFailed."""
    old, new = place.port, int((answers.values.get("listen-port") or [str(place.port)])[0])
    steps = []
    if answers.service:
        steps.append(_user(place))
    steps.append(_ini(answers, place))
    if answers.service:
        steps.append(_readable(answers, place))
        steps += _beside_packaged(place, new) if is_packaged(answers.program, place.root) else [
            _unit(answers, place, new)]  # fmt: skip
    if answers.firewall:
        steps += _firewall(place, new)
        if place.firewall and old != new and place.firewall.is_open(old) and os.path.exists(place.ini):
            steps.append(_close(place.firewall, old))
    if answers.service:
        steps.append(_start(place, steps))
    return steps


def _user(place: Place) -> Step:
    words = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/", "--shell",
             "/usr/sbin/nologin", USER]  # fmt: skip
    return _command(place, _("make the service's user {user}").format(user=USER), _has_user, [words])


def _has_user() -> bool:
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return False
    return True


def _ini(answers: Answers, place: Place) -> Step:
    outcome = preview(answers, place)
    password = answers.password if answers.values.get("relay-proxy") else None
    fresh = password is not None and not kept.has_password(place.password_file, password)
    details = [f"- {text}" for text in outcome.removed] + [f"+ {text}" for text in outcome.added]
    if fresh:
        details.append(_("+ the password, in {file}, for root and the service alone").format(file=place.password_file))

    def do() -> None:
        os.makedirs(os.path.dirname(place.ini), 0o755, exist_ok=True)
        edit(place.ini, change_of(answers, place.ini))

    if not os.path.exists(place.ini) and not details:
        return Step(_("write {file}").format(file=place.ini), lambda: True, do)
    does = _("change {file}") if os.path.exists(place.ini) else _("write {file}")
    return Step(does.format(file=place.ini), lambda: not outcome.changed and not fresh, do, details=tuple(details))


def _readable(answers: Answers, place: Place) -> Step:
    """A service that cannot read its configuration would go on without it, and deny everything."""
    files = [place.ini, place.password_file]
    inside = [path.removeprefix(place.root) for path in files if os.path.exists(path)]
    if place.ini.removeprefix(place.root) not in inside:
        inside.insert(0, DEFAULT_FILE)
    if answers.password is not None and place.password_file.removeprefix(place.root) not in inside:
        inside.append(place.password_file.removeprefix(place.root))

    def is_so() -> bool:
        return all(_reads(path) for path in inside if os.path.exists(path)) and os.path.exists(inside[0])

    def do() -> None:
        group = pwd.getpwnam(USER).pw_gid
        for path in inside:
            if os.path.exists(path) and not _reads(path):
                mode = os.stat(path).st_mode & 0o7777
                os.chown(path, -1, group)
                os.chmod(path, mode | 0o040)

    by_hand = (shlex.join(["chgrp", USER, *inside]), shlex.join(["chmod", "g+r", *inside]))
    return Step(
        _("let {user} read {files}").format(user=USER, files=" ".join(inside)),
        is_so if not place.root else lambda: False,
        None if place.root else do,
        by_hand,
    )


def _reads(path: str) -> bool:
    status = os.stat(path)
    if status.st_mode & 0o004:
        return True
    try:
        entry = pwd.getpwnam(USER)
    except KeyError:
        return False
    return bool(
        (status.st_gid == entry.pw_gid and status.st_mode & 0o040)
        or (status.st_uid == entry.pw_uid and status.st_mode & 0o400)
    )


def _unit(answers: Answers, place: Place, port: int) -> Step:
    text = unit_text(answers.program, port)
    there = _contents(place.unit)
    details: tuple[str, ...] = ()
    if there not in ("", text):
        details = (_("the one that is there differs; it is kept as {file}.old").format(file=place.unit),)

    def do() -> None:
        if os.path.islink(place.unit):
            # What it leads to is somebody else's, or, of a unit that was masked, /dev/null.
            os.rename(place.unit, f"{place.unit}.old")
        elif details:
            shutil.copy2(place.unit, f"{place.unit}.old")
        _write(place.unit, text)

    return Step(_("write {file}").format(file=place.unit), lambda: _contents(place.unit) == text, do, details=details)


def _beside_packaged(place: Place, port: int) -> list[Step]:
    path, text = place.root + LOW_PORTS_FILE, beside_packaged(port)
    packaged = Step(_("{file} of the package").format(file=PACKAGED), lambda: True, lambda: None)
    if not text:
        return [packaged, _remove_with_folder(path)] if os.path.exists(path) else [packaged]
    does = _("write {file}").format(file=path)
    return [packaged, Step(does, lambda: _contents(path) == text, lambda: _write(path, text))]


def _write(path: str, text: str) -> None:
    """A file of systemd's, which everybody may read, and its folder."""
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    replace(path, text.encode(), mode=0o644)


def _contents(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _firewall(place: Place, port: int) -> list[Step]:
    if place.firewall is None:
        does = _("if another firewall guards this machine, open TCP port {port} in it")
        return [Step(does.format(port=port), lambda: False, None)]
    firewall = place.firewall
    details = (forgets,) if (forgets := firewall.forgets(port)) else ()
    does = _("open TCP port {port} in {firewall}").format(port=port, firewall=firewall.name)
    opening = _command(place, does, lambda: firewall.is_open(port), firewall.opening(port), details)
    return [opening, _keeper(firewall, text)] if (text := firewall.keeping(port)) else [opening]


def _keeper(firewall: Firewall, text: str) -> Step:
    path = firewall.keeper

    def do() -> None:
        _write(path, text)
        call("systemctl", "daemon-reload")

    does = _("let that last beyond a reboot: write {file}").format(file=path)
    return Step(does, lambda: _contents(path) == text, do, details=tuple(text.splitlines()))


def _close(firewall: Firewall, port: int) -> Step:
    does = _("close TCP port {port} in {firewall}").format(port=port, firewall=firewall.name)
    commands = firewall.closing(port)
    return _command(
        Place("", True, firewall), does, lambda: not commands or not firewall.is_open(port), commands
    )  # fmt: skip


def _start(place: Place, before: Sequence[Step]) -> Step:
    reload = ["systemctl", "daemon-reload"]
    changes = [step for step in before if step.do is not None]
    was_so = all(step.is_so() for step in changes)
    running = place.systemd and succeeds("systemctl", "is-active", "--quiet", "ogw")
    start = [["systemctl", "enable", "ogw"], ["systemctl", "restart", "ogw"]] if running else [
        ["systemctl", "enable", "--now", "ogw"]]  # fmt: skip
    if place.root:
        return Step(_("enable the service in the image"), lambda: False, None,
                    (shlex.join(["systemctl", f"--root={place.root}", "enable", "ogw"]),))  # fmt: skip

    def is_so() -> bool:
        return was_so and running and succeeds("systemctl", "is-enabled", "--quiet", "ogw")

    does = _("restart the service") if running else _("start the service, now and with the machine")
    return _command(place, does, is_so, [reload, *start], needs_systemd=True)


def _command(
    place: Place,
    does: str,
    is_so: Callable[[], bool],
    commands: Sequence[Sequence[str]],
    details: tuple[str, ...] = (),
    needs_systemd: bool = False,
) -> Step:
    def do() -> None:
        for words in commands:
            call(*words)

    can = not place.root and (place.systemd or not needs_systemd)
    return Step(does, is_so if can else lambda: False, do if can else None, tuple(map(shlex.join, commands)), details)


def undo(place: Place, purge: bool) -> list[Step]:
    """The steps that take it away again. Raises EditError, CallFailed."""
    unit, steps = place.unit, []
    if place.systemd and not place.root:

        def stopped() -> bool:
            return not any(succeeds("systemctl", asks, "--quiet", "ogw") for asks in ("is-active", "is-enabled"))

        steps.append(_command(place, _("stop the service"), stopped, [["systemctl", "disable", "--now", "ogw"]]))
    low_ports = place.root + LOW_PORTS_FILE
    there = os.path.exists(unit) or os.path.exists(low_ports)
    steps.append(_remove(unit))
    if os.path.exists(low_ports):
        steps.append(_remove_with_folder(low_ports))
    if place.systemd and not place.root:
        steps.append(_forget(place, lambda: not there))
    if place.firewall is not None and place.port:
        steps.append(_close(place.firewall, place.port))
        if place.firewall.keeper and os.path.exists(place.firewall.keeper):
            steps += [_remove_with_folder(place.firewall.keeper), _forget(place)]
    if purge:
        paths = (f"{unit}.old", *(place.root + path for path in FOLDERS))
        steps += [_remove(path) for path in paths if os.path.lexists(path)]
        if not place.root:
            steps.append(
                _command(
                    place, _("remove the user {user}").format(user=USER), lambda: not _has_user(), [["userdel", USER]]
                )
            )
    return steps


def _forget(place: Place, is_so: Callable[[], bool] = lambda: False) -> Step:
    return _command(place, _("let systemd forget it"), is_so, [["systemctl", "daemon-reload"]])


def _remove(path: str) -> Step:
    """With all that is in it, if it is a folder."""
    is_folder = os.path.isdir(path) and not os.path.islink(path)
    details = tuple(sorted(os.listdir(path))) if is_folder else ()

    def do() -> None:
        shutil.rmtree(path) if is_folder else os.unlink(path)

    by_hand = shlex.join(["rm", *(["-r"] if is_folder else []), path])
    return Step(_("remove {file}").format(file=path), lambda: not os.path.lexists(path), do, (by_hand,), details)


def _remove_with_folder(path: str) -> Step:
    """With its folder, where nothing else is in there."""
    folder, name = os.path.split(path)
    return _remove(folder if os.listdir(folder) == [name] else path)


def _text_of(path: str) -> IniText:
    try:
        return IniText(read_ini(path).decode())
    except FileNotFoundError:
        return IniText()
    except OSError as error:
        raise EditError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise EditError(_("{path}: not a text file in UTF-8").format(path=path)) from None


def show(steps: Sequence[Step]) -> list[Step]:
    """Say what will be done; those that are not so already."""
    todo = [step for step in steps if step.do is not None and not step.is_so()]
    for step in steps:
        if step.do is None:
            continue
        print(_("  {does}").format(does=step.does) if step in todo else _("  {does}: is so").format(does=step.does))
        if step in todo:
            for line in (*step.details, *step.by_hand):
                print(f"      {line}")
    return todo


def perform(todo: Sequence[Step]) -> Optional[str]:
    """Do them in turn. None, or what to tell: which one failed, and what was done and what not."""
    for number, step in enumerate(todo):
        assert step.do is not None
        try:
            step.do()
        except KeyboardInterrupt:
            return _failed(todo, number, _("Ctrl-C"))
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            return _failed(todo, number, f"{where}{error.strerror}")
        except (EditError, CallFailed) as error:
            return _failed(todo, number, str(error))
        print(_("done: {does}").format(does=step.does))
    return None


def _failed(todo: Sequence[Step], number: int, why: str) -> str:
    lines = [_("could not {does}: {why}").format(does=todo[number].does, why=why)]
    lines += [_("  done: {does}").format(does=step.does) for step in todo[:number]]
    lines += [_("  not done: {does}").format(does=step.does) for step in todo[number:]]
    return "\n".join(lines)


def place_of(root: str, firewall: Optional[Firewall]) -> Place:
    """The machine, or the image under `root`."""
    root = "" if root in ("", "/") else os.path.abspath(root)
    return Place(root, systemd_runs() and not root, None if root else firewall)
