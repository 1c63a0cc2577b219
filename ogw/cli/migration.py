"""`ogw import`: a whole script of the original's cmdlets, taken over line by line, all or nothing."""

import argparse
import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from gettext import gettext as _
from gettext import ngettext
from typing import Any, Optional

from ogw.cli.change import CODES, NOT_DONE, OK, add_flags, changed_file, file_of, tell
from ogw.cli.cmdlets import Call, NotUnderstood, parse
from ogw.cli.commands import Failed
from ogw.cli.gateway import NO_GATEWAY
from ogw.cli.parser import parser_of
from ogw.cli.powershell import Statement, statements
from ogw.cli.relay_proxy import PasswordFile
from ogw.cli.screen import clean
from ogw.settings.editing import Editor, Outcome
from ogw.settings.ini_file import EditError

LARGEST = 16 << 20  # bytes of a script


@dataclass
class Line:
    """A command of the script, and what becomes of it.

    shown    as it may be shown: without a password
    call     what it means; None where it is not understood
    results  what it does to the INI file, or why it does nothing
    mistake  why it cannot be done
    """

    number: int
    shown: str
    call: Optional[Call] = None
    results: list[str] = field(default_factory=list)
    mistake: str = ""

    def value(self) -> dict[str, Any]:
        """As JSON has it."""
        ogw = self.call.ogw if self.call is not None else ""
        return {"line": self.number, "text": self.shown, "ogw": ogw, "results": self.results, "mistake": self.mistake}


class _Impossible(EditError):
    """A line cannot be done; it says so itself."""


def take_over(words: list[str]) -> int:
    """Run the command; the exit code."""
    parser = parser_of(
        "import",
        _(
            "Take over a script of the original's cmdlets (conf/powershell/export.ps1 prints an old gateway's settings "
            "as one) into the INI file, and say of each line what becomes of it. All of it is taken over, or nothing. "
            "Restart-Service means that the running gateway reloads."
        ),
        examples=[
            "ogw import --dry-run settings.ps1",
            "ogw import settings.ps1 --reload",
            "ogw import - < settings.ps1",
        ],
        codes={**CODES, NOT_DONE: _("a line is not understood or cannot be done: nothing was changed")},
    )
    parser.add_argument("script", metavar="FILE", help=_("the script; - is standard input"))
    add_flags(parser)
    asked = parser.parse_args(words)
    lines = [_understood(statement) for statement in statements(_text(asked.script))]
    with ExitStack() as passwords:
        outcome = _apply(lines, asked, passwords)
        if not asked.json:
            _show(lines)
        if outcome is None:
            if asked.json:
                tell(_unchanging(asked), Outcome(file_of(asked)), [line.value() for line in lines])
            number = sum(1 for line in lines if line.mistake)
            told = ngettext("{number} line cannot be taken over, so nothing was changed",
                            "{number} lines cannot be taken over, so nothing was changed", number)  # fmt: skip
            raise Failed(told.format(number=number))
        passwords.pop_all()
    restarts = any(line.call and line.call.cmdlet.name == "Restart-Service" for line in lines)
    must_reload = asked.reload
    asked.reload = must_reload or restarts
    code = tell(asked, outcome, [line.value() for line in lines])
    # A script ends with a restart of the service as a matter of form; on a new machine there is none yet.
    return OK if code == NO_GATEWAY and not must_reload else code


def _unchanging(asked: argparse.Namespace) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(asked), "dry_run": True})


def _text(path: str) -> str:
    """Raises Failed. Windows PowerShell writes UTF-16 where nobody asks for another encoding."""
    name = _("standard input") if path == "-" else path
    try:
        with open(os.dup(sys.stdin.fileno()) if path == "-" and sys.stdin else path, "rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise Failed(_("{name}: too large for a script of settings").format(name=name))
        encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        return data.decode(encoding)
    except OSError as error:
        raise Failed(f"{name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Failed(_("{name}: not a text file in UTF-8 or UTF-16").format(name=name)) from None


def _understood(statement: Statement) -> Line:
    """What a command of the script means. What is not understood might hold a password, and is shown in part."""
    line = Line(statement.line, statement.text)
    try:
        if statement.mistake:
            raise NotUnderstood(statement.mistake)
        line.call = parse(statement.words)
        line.shown = str(line.call)
    except NotUnderstood as error:
        line.mistake = str(error)
        if "relay" in statement.text.lower() or "pass" in statement.text.lower():
            line.shown = f"{statement.text.split()[0]} ..."
    return line


def _apply(lines: list[Line], asked: argparse.Namespace, passwords: ExitStack) -> Optional[Outcome]:
    """Do all of it; None where a line cannot be done. Raises Failed where the file cannot be changed."""
    path = file_of(asked)

    def change(editor: Editor) -> None:
        for line in lines:
            if line.call is not None:
                _do(line, line.call, editor, path, asked.dry_run, passwords)
        if any(line.mistake for line in lines):
            raise _Impossible

    try:
        return changed_file(path, change, asked.dry_run)
    except Failed:
        if not any(line.mistake for line in lines):
            raise
        return None


def _do(line: Line, call: Call, editor: Editor, path: str, dry_run: bool, passwords: ExitStack) -> None:
    if not call.cmdlet.edits or call.only_if:
        line.results = [_nothing(call)]
        return
    with editor.noted() as noted:
        try:
            file = ""
            if password := call.values.get("Password"):
                file = passwords.enter_context(PasswordFile(os.path.realpath(path), password, dry_run)).path
            call.change(editor, file)
        except (EditError, Failed) as error:
            line.mistake = str(error)
    line.results = noted


def _nothing(call: Call) -> str:
    if call.only_if:
        return _("-WhatIf: nothing is done")
    if call.cmdlet.name == "Restart-Service":
        return _("the running gateway reloads at the end")
    if call.cmdlet.name == "Import-Module":
        return _("nothing to do: ogw has these commands already")
    return _("nothing to do: it only shows; `{ogw}` shows the same").format(ogw=call.ogw)


def _show(lines: list[Line]) -> None:
    width = len(str(lines[-1].number)) if lines else 1
    for line in lines:
        print(clean(f"{line.number:{width}}  {line.shown}"))
        for result in (
            [_("cannot be taken over: {mistake}").format(mistake=line.mistake)] if line.mistake else line.results
        ):
            print(clean(f"{'':{width}}    {result}"))
    if not lines:
        print(_("ogw: there is no command in it"), file=sys.stderr)
    sys.stdout.flush()
