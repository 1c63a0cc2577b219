"""The script with which fish completes our commands, made from their parsers as completion.py furnishes them."""

import argparse
import shlex
from collections.abc import Iterator, Sequence

_HEAD = """# For all shells to come: ogw completion fish > ~/.config/fish/completions/ogw.fish
function _ogw_file  # what a list of the INI file has
    set -l words (commandline -opc)
    set -l more
    set -l place (contains -i -- --config $words)
    and set more --config $words[(math $place + 1)]
    $words[1] $argv[1] list $more 2>/dev/null
end
complete -c ogw -f
"""
_FILES = {"file": "-F", "directory": "-x -a '(__fish_complete_directories)'"}


def script(root: argparse.ArgumentParser) -> str:
    """Of the program that this parser is of."""
    lines = [f"complete -c ogw -n {shlex.quote(where)} {what}" for where, what in _lines(root, ())]
    return _HEAD + "\n".join(dict.fromkeys(lines)) + "\n"


def _lines(parser: argparse.ArgumentParser, typed: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The condition, and what is offered where it holds."""
    seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in typed)
    for argument in parser._actions:
        if argument.help == argparse.SUPPRESS:
            continue
        if isinstance(argument, argparse._SubParsersAction):
            behind = " ".join(argument.choices)
            here = f"{seen}; and not __fish_seen_subcommand_from {behind}" if seen else "__fish_use_subcommand"
            for choice in argument._get_subactions():
                yield here, f"-a {choice.dest} -d {_quoted(choice.help or '')}"
                yield from _lines(argument.choices[choice.dest], [*typed, choice.dest])
            continue
        about = parser._get_formatter()._expand_help(argument) if argument.help else ""
        for flag in argument.option_strings:
            kind = "-l" if flag.startswith("--") else "-s"
            yield seen or "__fish_use_subcommand", f"{kind} {flag.lstrip('-')}{_behind(argument)} -d {_quoted(about)}"
        if not argument.option_strings and (offered := _behind(argument)):
            yield seen, offered.strip().removeprefix("-x ")


def _behind(argument: argparse.Action) -> str:
    """What is offered as a flag's value, or as a word."""
    if argument.choices:
        return f" -x -a {_quoted(' '.join(map(str, argument.choices)))}"
    pattern = getattr(argument, "complete", None)
    if isinstance(pattern, dict):
        return f" -x -a {_quoted(pattern['fish'])}"
    if pattern is not None:
        return f" -r {_FILES[pattern]}" if argument.option_strings else f" {_FILES[pattern]}"
    return "" if argument.nargs == 0 or not argument.option_strings else " -x"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
