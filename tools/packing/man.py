"""Write the man pages, made from the parsers: python3 -m packing.man FOLDER, in tools/.

ogw(1) has what `ogw --help` shows, ogw-COMMAND(1) the help of a command, and ogw.ini(5) all settings.
"""

import argparse
import datetime
import itertools
import os
import pathlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from gettext import gettext as _

from ogw import __version__
from ogw.cli.commands import COMMANDS, Command
from ogw.cli.completion import parser_for
from ogw.cli.exits import FAILED, INTERRUPTED, NO_GATEWAY, OK, OWN_ERROR, UNWRITTEN, WRONG
from ogw.cli.parser import Parser
from ogw.cli.usage import usage
from ogw.settings.settings import SETTINGS
from ogw.settings.usual import DEFAULT_FILE

WIDTH = "5000"  # columns of the screen that helps are made for: man breaks the lines
ABOUT = _("a CONNECT-only gateway for machines that may not reach the internet")
HEADINGS = {
    "positional arguments": "ARGUMENTS",
    "options": "OPTIONS",
    "examples": "EXAMPLES",
    "exit codes": "EXIT STATUS",
}
ENTRY = re.compile(r"  (?! )(.+?)(?:  +(.*))?")
CODES = {
    OK: _("done; or the answer is yes"),
    FAILED: _("not done; or the answer is no"),
    WRONG: _("the command line or the configuration is wrong"),
    NO_GATEWAY: _("no gateway was found, it may not be asked, or it does not answer"),
    OWN_ERROR: _("an error of ogw itself"),
    UNWRITTEN: _("done, but the output could not be written"),
    INTERRUPTED: _("Ctrl-C"),
}


def pages() -> Iterator[tuple[str, str]]:
    """The name of each file, and what stands in it."""
    yield "ogw.1", _page("ogw", 1, ABOUT, _of_all())
    for command in COMMANDS:
        yield f"{_name(command)}.1", _page(_name(command), 1, command.does, _of_one(parser_for(command)))
    yield "ogw.ini.5", _page("ogw.ini", 5, _("the configuration of ogw"), _of_settings())


def _name(command: Command) -> str:
    return f"ogw-{command.words.replace(' ', '-')}"


def _page(name: str, section: int, does: str, body: Iterable[str]) -> str:
    made = datetime.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), datetime.UTC)
    head = f'.TH "{_plain(name.upper())}" {section} "{made:%Y-%m-%d}" "ogw {__version__}" "ogw"'
    return "\n".join([head, ".SH NAME", rf"{_plain(name)} \- {_plain(does)}", *body, ""])


# ogw(1)


def _of_all() -> Iterator[str]:
    about = usage().split("\n\n")[1]
    yield from (".SH SYNOPSIS", _plain("ogw COMMAND [FLAGS]"), ".SH DESCRIPTION", _plain(about))
    yield ".SH COMMANDS"
    for heading, group in itertools.groupby(COMMANDS, lambda command: command.group):
        yield f".SS {_plain(heading)}"
        for command in group:
            yield from _entry(f"{_strong(f'ogw {command.words}')} {_plain(command.takes)}".rstrip(), command.does)
    yield ".SH FILES"
    yield from _entry(_strong(DEFAULT_FILE), _("the configuration: see ogw.ini(5)"))
    yield ".SH ENVIRONMENT"
    yield from _entry(_strong("OGW_CONFIG"), _("another INI file"))
    yield from _entry(_strong("OGW_..."), _("each setting: see ogw.ini(5)"))
    yield ".SH EXIT STATUS"
    for code, meaning in CODES.items():
        yield from _entry(_strong(str(code)), meaning)
    yield ".SH SEE ALSO"
    yield _plain(", ".join([*(f"{_name(command)}(1)" for command in COMMANDS), "ogw.ini(5)"]))


# The page of a command


def _of_one(parser: Parser) -> Iterator[str]:
    verbs = _verbs(parser)
    if verbs:
        yield from (".SH SYNOPSIS", _plain(f"{parser.prog} {'|'.join(verbs)} ..."))
        yield from (".SH DESCRIPTION", _plain(parser.description or ""))
    else:
        yield from _told(parser.format_help())
    for verb, lower in verbs.items():
        yield f'.SH "{_plain(f"{parser.prog} {verb}".upper())}"'
        yield from _told(lower.format_help(), ".SS")
    yield from (".SH SEE ALSO", "ogw(1), ogw.ini(5)")


def _verbs(parser: Parser) -> Mapping[str, Parser]:
    """The parsers behind the last word of the command; {} for most, which have none."""
    found = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return found[0] if found else {}


def _told(text: str, level: str = ".SH") -> Iterator[str]:
    """A help, section by section."""
    settings = "[env var: " in text
    usage, _empty, rest = text.partition("\n\n")
    yield from (f"{level} SYNOPSIS", _plain(usage.removeprefix("usage: ")), f"{level} DESCRIPTION")
    for block in rest.strip().split("\n\n"):
        heading, _newline, lines = block.partition(":\n")
        if not lines:
            yield from (".PP", _plain(block))
        elif heading in HEADINGS:
            yield f"{level} {HEADINGS[heading]}"
            yield from _literal(lines) if heading == "examples" else _entries(lines)
        # Any other is a group of settings.
        if settings and heading == "options":
            yield from (".PP", _plain(_("Each setting of ogw.ini(5) is a flag, too, such as --listen-port 8080.")))


def _entries(lines: str) -> Iterator[str]:
    """Words and what they mean: on one line, or, where the words are many, on two."""
    for line in lines.splitlines():
        match = ENTRY.fullmatch(line)
        if match is None:
            yield _plain(line.strip())
            continue
        yield from _entry(_plain(match[1]), match[2] or "")


def _literal(lines: str) -> Iterator[str]:
    yield from (".nf", *(_plain(line.removeprefix("  ")) for line in lines.splitlines()), ".fi")


# ogw.ini(5)


def _of_settings() -> Iterator[str]:
    form = _(
        "The file has one section, [ogw], and lines such as `listen-port = 8080`. A value ends with its line: a "
        "comment has a line of its own, which begins with #. Lists take one value a line, further ones on indented "
        "lines below. Durations are written 10s, 500ms, 5m, 1h, sizes 16384, 16KiB, 1MiB."
    )
    around = _(
        "Each setting is also a flag of `ogw run`, such as --listen-port, and an environment variable, such as "
        "OGW_LISTEN_PORT. Flags beat variables beat the file; lists add up over all three. `ogw config show` says what "
        "is in force and where it came from, `ogw check` what is wrong, `ogw config set` and the like change the file, "
        "and `ogw reload` lets the running gateway take it."
    )
    yield from (".SH DESCRIPTION", _plain(form), ".PP", _plain(around))
    for heading, group in itertools.groupby(SETTINGS.values(), key=lambda setting: setting.group):
        yield f'.SH "{_plain(heading.upper())}"'
        for setting in group:
            default = _("default: {default}").format(default=setting.default) if setting.default else ""
            kind = _("a list, one a line") if setting.by_line else _("a list") * setting.listed
            remarks = [kind, default, _("needs a restart") * setting.restart]
            told = "; ".join(filter(None, remarks))
            words = f"{_strong(setting.name)} = {_plain(setting.placeholder)}"
            yield from _entry(words, f"{setting.help} ({told})" if told else setting.help)
    yield ".SH FILES"
    yield from _entry(_strong(DEFAULT_FILE), _("the configuration, unless --config or OGW_CONFIG names another"))
    yield from _entry(_strong("/usr/share/ogw/ogw.ini"), _("one with every setting, explained"))
    yield from (".SH SEE ALSO", "ogw(1), ogw-check(1), ogw-config-show(1), ogw-config-set(1), ogw-reload(1)")


# What groff reads


def _entry(words: str, means: str) -> Iterator[str]:
    yield from (".TP", words, _plain(means) or r"\&")


def _strong(text: str) -> str:
    return rf"\fB{_plain(text)}\fP"


def _plain(text: str) -> str:
    """Text as such: a backslash is one, a hyphen can be copied, and no line begins with a request."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return re.sub(r"^(?=[.'])", r"\\&", text, flags=re.MULTILINE)


if __name__ == "__main__":
    os.environ["COLUMNS"] = WIDTH
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages():
        (folder / name).write_text(text, encoding="utf-8")
