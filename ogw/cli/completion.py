"""`ogw completion bash|zsh|fish`: a script, made from the parsers of all commands, with which a shell completes them.

shtab writes it for bash and zsh. That for fish is our own (fish.py): shtab knows that shell only since lately.
"""

import argparse
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Optional

import shtab

from ogw.cli import fish
from ogw.cli.commands import COMMANDS, Command
from ogw.cli.configuration import GatewayParser
from ogw.cli.exits import OK
from ogw.cli.parser import Parser, branches, parser_of
from ogw.language.messages import gettext as _
from ogw.settings.elsewhere.preset import presets
from ogw.settings.kinds import Choice
from ogw.settings.setting import Setting
from ogw.settings.settings import SETTINGS

SHELLS = ("bash", "zsh", "fish")
PATHS = {"FILE": "file", "LOG": "file", "PATH": "file", "FOLDER": "directory"}  # words of a placeholder

# What a list of the INI file has by then: no text of it is ever evaluated by the shell.
_BASH = r"""
_ogw_file() {  # $1: the list, $2: what was typed of a value
    local typed=${2#[\"\']} value place more=()
    for place in "${!COMP_WORDS[@]}"; do
        [ "${COMP_WORDS[place]}" != --config ] || more=(--config "${COMP_WORDS[place+1]}")
    done
    "${COMP_WORDS[0]}" "$1" list "${more[@]}" 2>/dev/null | while IFS= read -r value; do
        [[ $value != "${typed//\\/}"* ]] || printf '%s\n' "$value"
    done
}
"""
# Its shtab (1.5) offers the first of several words only.
_BASH_OF_DEBIAN_12 = {
    '_choices_var="${current_action}_choices"\n': '_choices_var="${current_action}_choices[@]"\n',
    '-W "${current_action_choices}"': '-W "${current_action_choices// /$IFS}"',
}
_ZSH = r"""
_ogw_file() {
    local list=$1 values more
    shift
    [[ -z $opt_args[--config] ]] || more=(--config ${(Q)opt_args[--config]})
    values=(${(f)"$(ogw $list list $more 2>/dev/null)"})
    compadd "$@" -a values
}
"""


def parser() -> Parser:
    made = parser_of(
        "completion",
        _("Print a script that lets the shell complete commands, flags, names of settings and their choices."),
        examples=[
            "source <(ogw completion bash)",
            "source <(ogw completion zsh)",
            "ogw completion fish > ~/.config/fish/completions/ogw.fish",
        ],
        codes={OK: _("printed")},
    )
    made.add_argument("shell", choices=SHELLS)
    return made


def run(asked: argparse.Namespace) -> int:
    print({"bash": _bash, "zsh": _zsh, "fish": fish.script}[asked.shell](tree()), end="")
    return OK


def tree() -> argparse.ArgumentParser:
    """All commands below one parser, which is only to be read: each flag has all that may be completed behind it."""
    root = Parser(prog="ogw", description=_("A CONNECT gateway: only to listed hosts, only on listed ports."))
    below: dict[str, Callable[[str, str, argparse.ArgumentParser], object]] = {"": branches(root, "command")}
    for command in COMMANDS:
        group, _space, verb = command.words.rpartition(" ")
        if group not in below:
            above = Parser(prog=f"ogw {group}", description=_("Commands that begin with {word}.").format(word=group))
            below[""](group, above.description or "", above)
            below[group] = branches(above, "verb")
        whole = parser_for(command)
        whole.description = _(command.does)
        _furnish(whole)
        below[group](verb, _(command.does), whole)
        if any(other.words.startswith(f"{command.words} ") for other in COMMANDS):
            below[command.words] = branches(whole, "verb")
    return root


def parser_for(command: Command) -> Parser:
    """As its module makes it."""
    name, _colon, verb = command.where.partition(":")
    module = import_module(f"ogw.cli.{name}")
    made: Parser = module.parser(verb) if verb else module.parser()
    return made


def _furnish(whole: argparse.ArgumentParser) -> None:
    if isinstance(whole, GatewayParser):
        _add_flags(whole)
    for argument in whole._actions:
        if isinstance(argument, argparse._SubParsersAction):
            for lower in argument.choices.values():
                _furnish(lower)
            continue
        words, pattern = _words(argument), _pattern(argument)
        if words:
            argument.choices = words
        elif pattern:
            argument.complete = pattern  # type: ignore[attr-defined]


def _add_flags(whole: argparse.ArgumentParser) -> None:
    """Those of `ogw run`."""
    flags: dict[str, Any] = {"--config": {"metavar": "FILE", "help": _("the INI file")}}
    for setting in SETTINGS.values():
        about = {"metavar": setting.placeholder, "help": setting.help.replace("%", "%%")}
        flags[setting.flag] = about | ({"action": "append"} if setting.listed else {})
    for flag, about in flags.items():
        if flag not in whole._option_string_actions:
            whole.add_argument(flag, **about)


def _words(argument: argparse.Action) -> Optional[Sequence[str]]:
    offered = getattr(argument, "offered", ())
    if offered and not isinstance(offered, Setting):
        return list(offered)
    for flag in argument.option_strings:
        setting = SETTINGS.get(flag.removeprefix("--"))
        if setting is not None and setting.name == "preset":
            return list(presets())
        if setting is not None and isinstance(setting.read, Choice):
            return setting.read.words
    return list(argument.choices) if argument.choices else None


def _pattern(argument: argparse.Action) -> Any:
    """What shtab takes: a word of its own, or functions of the shells."""
    offered = getattr(argument, "offered", ())
    if isinstance(offered, Setting):
        return dict.fromkeys(("bash", "zsh"), f"_ogw_file_{offered.attribute}") | {
            "fish": f"(_ogw_file {offered.name})"
        }
    placeholder = argument.metavar if isinstance(argument.metavar, str) else ""
    return next((PATHS[word] for word in placeholder.split("|") if word in PATHS), None)


def _bash(root: argparse.ArgumentParser) -> str:
    more = "".join(f'_ogw_file_{one.attribute}() {{ _ogw_file {one.name} "$1"; }}\n' for one in _lists())
    script = shtab.complete(root, "bash", preamble=_BASH + more)
    for old, new in _BASH_OF_DEBIAN_12.items():
        script = script.replace(old, new)
    return f"# For this shell: source <(ogw completion bash); for all, a file in /etc/bash_completion.d.\n{script}\n"


def _zsh(root: argparse.ArgumentParser) -> str:
    more = "".join(f'_ogw_file_{one.attribute}() {{ _ogw_file {one.name} "$@" }}\n' for one in _lists())
    script = shtab.complete(root, "zsh", preamble=_ZSH + more)
    # As shtab writes it, `source` would complete at once instead of keeping it for later.
    return script.replace("$zsh_eval_context[-1] == eval ", "$zsh_eval_context[-1] == (eval|file|filecode) ")


def _lists() -> list[Setting]:
    """Those that have a command of their own, with verbs."""
    names = [command.words for command in COMMANDS]
    return [setting for name, setting in SETTINGS.items() if name in names]
