"""`ogw import FILE`: a script of the original's cmdlets, line by line, all of it or nothing."""

import argparse
import codecs
import os
import sys

from ogw.cli.edit.change import add_flags, codes, make
from ogw.cli.exits import FAILED, OK, Failed
from ogw.cli.live.gateway import file_of
from ogw.cli.original.cmdlets import RESTART, SET_RELAY_PROXY, Call, NotUnderstood, parsed, warn_of_password
from ogw.cli.original.powershell import Unreadable, statements
from ogw.cli.parser import Parser, parser_of
from ogw.cli.screen import clean
from ogw.language.messages import gettext as _
from ogw.settings.editing import Editor
from ogw.settings.ini.file import EditError

MOST = 1 << 20  # characters: no script of settings is longer


def parser() -> Parser:
    made = parser_of(
        "import",
        _(
            "Make the changes of a script of the original's cmdlets in the INI file. What each line becomes is shown, "
            "and all of them are done or none. Lines that restart the service are done by --reload, at the end."
        ),
        examples=["ogw import gateway.ps1 --dry-run", "ogw import gateway.ps1 --reload"],
        codes={
            **codes(),
            OK: _("every line was understood and done"),
            FAILED: _(
                "a line was not, and nothing was changed; the message says where and why; or the --reload was refused"
            ),
        },
    )
    made.add_argument("file", metavar="FILE", help=_("the script; - is standard input"))
    made.add_argument("--no-try", action="store_true", help=_("do not ask or try the relay proxies"))
    add_flags(made)
    return made


def run(asked: argparse.Namespace) -> int:
    calls = _calls(asked.file, text_of(asked.file))
    lines = [{"line": line, "cmdlet": call.cmdlet.name, "becomes": _becomes(call)} for line, call in calls]
    for line, call in calls:
        if not asked.json:
            print(clean(f"{line}: {call.cmdlet.name} -> {_becomes(call)}"))
        warn_of_password(call)
    path = os.path.realpath(file_of(asked))
    last = next((call for _line, call in reversed(calls) if call.cmdlet is SET_RELAY_PROXY and not call.what_if), None)

    def change(editor: Editor) -> None:
        mistakes = []
        for line, call in calls:
            if call.cmdlet.change is None or call.what_if:
                continue
            try:
                call.tries = call is last and not (asked.dry_run or asked.no_try)
                call.cmdlet.change(call, editor, path)
            except EditError as error:
                mistakes.append(f"{asked.file}:{line}: {error}")
        if mistakes:
            raise EditError("\n".join(mistakes))

    return make(asked, change, {"lines": lines})


def _becomes(call: Call) -> str:
    if call.what_if:
        return _("nothing: -WhatIf only shows")
    if call.cmdlet is RESTART:
        return _("{command}, at the end, with --reload").format(command=call.meant())
    if call.cmdlet.show is not None:
        return _("nothing: the cmdlet only shows something ({command})").format(command=call.meant())
    return call.meant() or _("nothing")


def _calls(name: str, text: str) -> list[tuple[int, Call]]:
    """The cmdlets of the script, each with the number of its line. Raises Failed with all that are not understood."""
    calls, mistakes = [], []
    try:
        for line, words in statements(text):
            try:
                calls.append((line, parsed(words)))
            except NotUnderstood as error:
                mistakes.append(f"{name}:{line}: {error}")
    except Unreadable as error:
        mistakes.append(f"{name}:{error.line}: {error}")
    if mistakes:
        advice = _("nothing was changed; remove what ogw does not understand, and try again")
        raise Failed("\nogw: ".join([*mistakes, advice]))
    return calls


def text_of(name: str) -> str:
    """The script, in whatever PowerShell wrote it. Raises Failed."""
    try:
        if name == "-":
            contents = sys.stdin.buffer.read(4 * MOST)
        else:
            with open(name, "rb") as file:
                contents = file.read(4 * MOST)
    except OSError as error:
        raise Failed(f"{name}: {error.strerror}") from None
    wide = contents.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = contents.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise Failed(
            _("{path}: not a text file in UTF-8, nor in UTF-16 with a byte order mark").format(path=name)
        ) from None
    if len(text) > MOST or "\0" in text:
        raise Failed(_("{path}: not a script of cmdlets").format(path=name))
    return text.replace("\r\n", "\n").replace("\r", "\n")
