"""A step of a set-up: it knows what it does, whether it is so already, and which commands do the same."""

import os
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Optional

from ogw.cli.setup.firewall import CallFailed, call
from ogw.cli.setup.place import Place
from ogw.language.messages import gettext as _
from ogw.settings.files import replace
from ogw.settings.ini.file import EditError


@dataclass(frozen=True)
class Step:
    """One thing to be done.

    name     what it does: "write /etc/ogw/ogw.ini"
    details  lines to show below it
    do       raises CallFailed, EditError, OSError; None: it is for the operator to do
    by_hand  command lines that do the same
    """

    name: str
    is_so: Callable[[], bool]
    do: Optional[Callable[[], None]]
    by_hand: tuple[str, ...] = ()
    details: tuple[str, ...] = ()


def by_commands(
    place: Place,
    name: str,
    is_so: Callable[[], bool],
    commands: Sequence[Sequence[str]],
    details: tuple[str, ...] = (),
    needs_systemd: bool = False,
) -> Step:
    """The step that these commands are, each a list of words; for the operator where they cannot be called here."""

    def do() -> None:
        for words in commands:
            call(*words)

    can = not place.root and (place.systemd or not needs_systemd)
    by_hand = tuple(place.by_hand(*words) for words in commands)
    return Step(name, is_so if can else lambda: False, do if can else None, by_hand, details)


def write(path: str, text: str) -> None:
    """A file of systemd's, which everybody may read, and its folder."""
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    replace(path, text.encode(), mode=0o644)


def contents(path: str) -> str:
    """Of a file, as text; "" where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def removing(path: str) -> Step:
    """With all that is in it, if it is a folder."""
    is_folder = os.path.isdir(path) and not os.path.islink(path)
    details = tuple(sorted(os.listdir(path))) if is_folder else ()

    def do() -> None:
        shutil.rmtree(path) if is_folder else os.unlink(path)

    by_hand = shlex.join(["rm", *(["-r"] if is_folder else []), path])
    return Step(_("remove {file}").format(file=path), lambda: not os.path.lexists(path), do, (by_hand,), details)


def removing_with_folder(path: str) -> Step:
    """With its folder, where nothing else is in there."""
    folder, name = os.path.split(path)
    return removing(folder if os.listdir(folder) == [name] else path)


def show(steps: Sequence[Step]) -> list[Step]:
    """Say what will be done; those that are not so already."""
    todo = [step for step in steps if step.do is not None and not step.is_so()]
    for step in steps:
        if step.do is None:
            continue
        told = step.name if step in todo else _("{step}: nothing to do").format(step=step.name)
        print(f"  {told}")
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
            return _failed(todo, number, _("ended by Ctrl-C"))
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            return _failed(todo, number, f"{where}{error.strerror}")
        except (EditError, CallFailed) as error:
            return _failed(todo, number, str(error))
        print(_("done: {step}").format(step=step.name))
    return None


def _failed(todo: Sequence[Step], number: int, why: str) -> str:
    done = [_("done: {step}").format(step=step.name) for step in todo[:number]]
    not_done = [_("not done: {step}").format(step=step.name) for step in todo[number:]]
    failed = _("failed: {step}: {why}").format(step=todo[number].name, why=why)
    return "\n".join([failed, *(f"  {line}" for line in (*done, *not_done))])
