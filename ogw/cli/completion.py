"""`ogw completion bash|zsh|fish`: a script that completes commands, their flags, names of settings, and choices."""

import contextlib
import io
import re
import shlex
from gettext import gettext as _

from ogw.cli.commands import COMMANDS, Command
from ogw.cli.parser import parser_of
from ogw.settings.kinds import Choice
from ogw.settings.settings import SETTINGS

NAMES_BEHIND = ("config get", "config set", "config unset", "config add", "config remove")
SHELLS = ("bash", "zsh", "fish")
_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")

_BASH = """# Completion of ogw for bash: `source <(ogw completion bash)`, or a file in /etc/bash_completion.d.
_ogw() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} words
    local one=${{COMP_WORDS[1]}} two=${{COMP_WORDS[2]}}
    COMPREPLY=()
    case $before in
{choices}    esac
    if [ "$COMP_CWORD" = 1 ]; then
        words={first}
    elif [ "$COMP_CWORD" -gt 2 ]; then
        case "$one $two" in
{pairs}        esac
        [ -n "$words" ] || case $one in
{singles}        esac
    else
        case $one in
{singles}{groups}        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _ogw ogw
"""


def completion(words: list[str]) -> int:
    """Print the script; the exit code."""
    parser = parser_of(
        "completion",
        _("Print a script that lets the shell complete commands, flags, names of settings and their choices."),
        examples=["source <(ogw completion bash)", "ogw completion fish > ~/.config/fish/completions/ogw.fish"],
        codes={0: _("printed")},
    )
    parser.add_argument("shell", choices=SHELLS)
    shell = parser.parse_args(words).shell
    print({"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](), end="")
    return 0


def flags_of(command: Command) -> list[str]:
    """Those that its help names: what it shows can never differ from what is completed."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        command.run(["--help"])
    return sorted(set(_FLAG.findall(shown.getvalue())) | {"--help"})


def _choices() -> dict[str, tuple[str, ...]]:
    """Flag -> the words that it takes."""
    return {setting.flag: setting.read.words for setting in SETTINGS.values() if isinstance(setting.read, Choice)}


def _behind(command: Command) -> list[str]:
    more = sorted(SETTINGS) if command.words in NAMES_BEHIND else []
    more += command.takes.split("|") if re.fullmatch(r"[a-z]+(\|[a-z]+)+", command.takes) else []
    return more + flags_of(command)


def _bash() -> str:
    def case(words: str, offered: list[str], indent: int = 12) -> str:
        return f"{' ' * indent}{shlex.quote(words)}) words={shlex.quote(' '.join(offered))};;\n"

    groups: dict[str, list[str]] = {}
    for command in COMMANDS:
        group, _space, verb = command.words.partition(" ")
        if verb:
            groups.setdefault(group, []).append(verb)
    choices = "".join(
        f'        {flag}) COMPREPLY=($(compgen -W {shlex.quote(" ".join(words))} -- "$current")); return;;\n'
        for flag, words in _choices().items()
    )
    return _BASH.format(
        choices=choices,
        first=shlex.quote(" ".join(dict.fromkeys([command.words.split()[0] for command in COMMANDS] + ["--help"]))),
        pairs="".join(case(command.words, _behind(command)) for command in COMMANDS if " " in command.words),
        singles="".join(case(command.words, _behind(command)) for command in COMMANDS if " " not in command.words),
        groups="".join(case(group, verbs) for group, verbs in groups.items()),
    )


def _zsh() -> str:
    return "#compdef ogw\nautoload -Uz bashcompinit && bashcompinit\n" + _bash()


def _fish() -> str:
    lines = ["# Completion of ogw for fish: ~/.config/fish/completions/ogw.fish", "complete -c ogw -f"]
    for command in COMMANDS:
        first, _space, second = command.words.partition(" ")
        if second:
            lines.append(f"complete -c ogw -n __fish_use_subcommand -a {first}")
            seen = f"__fish_seen_subcommand_from {first}"
            lines.append(f"complete -c ogw -n {shlex.quote(seen)} -a {second} -d {_fish_text(command.does)}")
            seen += f"; and __fish_seen_subcommand_from {second}"
        else:
            lines.append(f"complete -c ogw -n __fish_use_subcommand -a {first} -d {_fish_text(command.does)}")
            seen = f"__fish_seen_subcommand_from {first}"
        offered = _behind(command)
        for word in offered:
            what = f"-l {word[2:]}" if word.startswith("--") else f"-a {word}"
            if word in _choices():
                what += f" -x -a {shlex.quote(' '.join(_choices()[word]))}"
            lines.append(f"complete -c ogw -n {shlex.quote(seen)} {what}")
    return "\n".join(dict.fromkeys(lines)) + "\n"


def _fish_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
