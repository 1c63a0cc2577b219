"""The command line of one command: an argparse parser whose help ends with examples and exit codes.

Every module of a command has a pair of functions: `parser()` gives its Parser, and `run(asked)` does what was asked,
given what the parser made of the words; its value is the exit code. Of several commands, `parser(verb)` gives that of
one, and what it makes of the words has the function of that one as `do`.
"""

import argparse
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, Optional

from ogw.cli import argparse_texts
from ogw.cli.exits import WRONG
from ogw.language.messages import gettext as _
from ogw.language.wrapping import cells, wrap

argparse_texts.translate()
_BLANKS = re.compile("[ \t\n]+")  # a no-break space is none


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Breaks lines between words only."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        whole = _BLANKS.sub(" ", text).strip().replace("[env var: ", "[env\0var:\0")
        return [line.replace("\0", " ") for line in wrap(whole, width)]

    def _format_usage(self, usage, actions, groups, prefix):  # type: ignore[no-untyped-def]
        head = _(argparse_texts.USAGE) if prefix is None else prefix
        wider = cells(head) - len(head)
        self._width -= wider
        try:
            return super()._format_usage(usage, actions, groups, head)
        finally:
            self._width += wider


class Parser(argparse.ArgumentParser):
    """Its mistakes look like those of all commands."""

    intermixed = False  # whether flags may stand among the words

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """What the words behind the command ask for. Exits where they are wrong, and when help was asked for."""
        if self.intermixed and self.usage is None:
            # By itself argparse would cut as much off it as "usage: " takes, in any language.
            self.usage = self.format_usage().removeprefix(_(argparse_texts.USAGE))
        return self.parse_intermixed_args(words) if self.intermixed else self.parse_args(words)

    def error(self, message: str) -> NoReturn:
        """The command line is wrong; the message says why. Exits with 2."""
        self.print_usage(sys.stderr)
        told = _("{mistake} (`{program} --help` says more)").format(mistake=message, program=self.prog)
        self.exit(WRONG, f"ogw: {told}\n")


class VerbParser(Parser):
    """Of a word behind a command's own: what it does not know is its own mistake, not that of the command above it."""

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        asked, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(_("unrecognized arguments: {words}").format(words=" ".join(unknown)))
        return asked, unknown


def parser_of(
    words: str,
    does: str,
    examples: Sequence[str] = (),
    codes: Mapping[int, str] | None = None,
    kind: type[Parser] = Parser,
    usage: Optional[str] = None,
) -> Parser:
    """The parser of a command.

    words     as they are typed behind ogw: "tunnel kill"
    does      what the command does: a sentence or a few
    examples  command lines
    codes     what its exit codes mean; 2 and 130, which all commands share, need not be said
    usage     where argparse's own would be hard to read
    """
    return kind(
        prog=f"ogw {words}",
        description=filled(does),
        epilog=epilog(examples, codes or {}) or None,
        formatter_class=Formatter,
        allow_abbrev=False,
        usage=usage,
    )


def epilog(examples: Sequence[str], codes: Mapping[int, str]) -> str:
    """The end of a command's help."""
    parts = []
    if examples:
        parts += [_("examples:"), *map(_example, examples), ""]
    if codes:
        parts.append(_("exit codes:"))
        for code, meaning in sorted({WRONG: _("the command line or the configuration is wrong"), **codes}.items()):
            parts.append(filled(meaning, f"  {code}  ".ljust(5)))
    return "\n".join(parts).rstrip()


def _example(text: str) -> str:
    """On one line, or on several that the shell takes for one."""
    whole = re.sub("'[^']*'", lambda quoted: quoted[0].replace(" ", "\0"), f"  {text}")
    return " \\\n      ".join(wrap(whole, columns() - 6)).replace("\0", " ")


def columns() -> int:
    """How long lines of text may be."""
    return max(shutil.get_terminal_size().columns - 2, 40)


def wrapped(text: str) -> list[str]:
    """Its lines on this terminal, which break between words only."""
    return wrap(text, columns())


def filled(text: str, begin: str = "") -> str:
    """In lines of this terminal, which break between words only; the later ones begin below the text of the first."""
    return "\n".join(wrap(text, columns(), begin, " " * len(begin)))


def branches(parser: argparse.ArgumentParser, dest: str) -> Callable[[str, str, argparse.ArgumentParser], object]:
    """A function that hangs a whole parser below this one: by the word that leads to it, and what it does."""
    made: Any = {"parser_class": lambda **given: given["whole"]}  # argparse would make it itself
    branch = parser.add_subparsers(dest=dest, required=True, **made)
    return lambda word, does, whole: branch.add_parser(word, help=does, whole=whole)
