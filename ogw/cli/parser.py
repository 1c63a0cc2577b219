"""The command line of one command: an argparse parser whose help ends with examples and exit codes."""

import argparse
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from gettext import gettext as _
from typing import NoReturn

from ogw.cli.exits import WRONG


class Parser(argparse.ArgumentParser):
    """Its mistakes look like those of all commands."""

    def error(self, message: str) -> NoReturn:
        """The command line is wrong; the message says why. Exits with 2."""
        self.print_usage(sys.stderr)
        told = _("ogw: {message}; `{program} --help` says more").format(message=message, program=self.prog)
        self.exit(WRONG, told + "\n")


def parser_of(
    words: str, does: str, examples: Sequence[str] = (), codes: Mapping[int, str] | None = None
) -> argparse.ArgumentParser:
    """The parser of a command.

    words     as they are typed behind ogw: "tunnel kill"
    does      what the command does: a sentence or a few
    examples  command lines
    codes     what its exit codes mean; 2 and 130, which all commands share, need not be said
    """
    width = max(shutil.get_terminal_size().columns - 2, 40)
    parts = []
    if examples:
        parts += [_("examples:"), *(f"  {example}" for example in examples), ""]
    if codes:
        parts.append(_("exit codes:"))
        for code, meaning in sorted({WRONG: _("the command line is wrong"), **codes}.items()):
            parts.append(
                textwrap.fill(meaning, max(width, 40), initial_indent=f"  {code}  ", subsequent_indent=" " * 5)
            )
    return Parser(
        prog=f"ogw {words}",
        description=textwrap.fill(does, width),
        epilog="\n".join(parts).rstrip() or None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
