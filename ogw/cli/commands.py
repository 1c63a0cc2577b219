"""The table of commands: their words, what they do in one line, and where they are.

From it follow the usage (usage.py), which command a command line means, and what was meant where it means none. It
imports none of them: any file may look into it, and `ogw run` must not wait for what a terminal needs.
"""

import difflib
import re
from collections.abc import Sequence
from typing import NamedTuple, Optional

from ogw.language.messages import gettext_noop as N_


class Command(NamedTuple):
    """A command.

    group    the heading of the usage that it stands under
    words    as they are typed: "config show"
    takes    what comes behind them, for the usage
    does     one line of help
    where    "module" under ogw.cli, or "module:verb" where it has several commands; parser.py says what it has in it
    """

    group: str
    words: str
    takes: str
    does: str
    where: str


START = N_("Start a gateway")
LISTS = N_("Keep lists for gateways")
SETTINGS = N_("Change the INI file")
QUESTIONS = N_("Ask, and change nothing")
RUNNING = N_("Look after the running gateway")
COMMANDS = [
    Command(START, "run", "[FLAGS]", N_("run the gateway until SIGTERM or Ctrl-C"), "run:run"),
    Command(START, "setup", "[--yes] [FLAGS]", N_("set up a gateway: configuration, service, firewall"), "setup.setup"),
    Command(START, "version", "[--json]", N_("the version"), "run:version"),
    Command(START, "completion", "bash|zsh|fish", N_("a script that lets the shell complete commands"), "completion"),
    Command(
        SETTINGS, "config show", "[--json] [FLAGS]", N_("every setting, its value and where it came from"), "ask.config"
    ),
    Command(SETTINGS, "config get", "NAME", N_("what the INI file says about a setting"), "edit.config:get"),
    Command(SETTINGS, "config set", "NAME VALUE ...", N_("set a setting in the INI file"), "edit.config:set"),
    Command(SETTINGS, "config unset", "NAME", N_("remove a setting: its default holds again"), "edit.config:unset"),
    Command(SETTINGS, "config add", "NAME VALUE ...", N_("add values to a setting that is a list"), "edit.config:add"),
    Command(
        SETTINGS,
        "config remove",
        "NAME VALUE ...",
        N_("remove values from a setting that is a list"),
        "edit.config:remove",
    ),
    Command(SETTINGS, "config path", "", N_("where the INI file is"), "edit.config:path"),
    Command(SETTINGS, "allowed-host", "add|remove|list", N_("hosts that clients may reach"), "edit.lists:allowed-host"),
    Command(
        SETTINGS,
        "denied-host",
        "add|remove|list",
        N_("hosts that clients may not reach, whatever is allowed"),
        "edit.lists:denied-host",
    ),
    Command(
        SETTINGS,
        "allowed-client",
        "add|remove|list",
        N_("networks that clients may come from"),
        "edit.lists:allowed-client",
    ),
    Command(
        SETTINGS,
        "allowed-client-certificate",
        "add|remove|list",
        N_("client certificates that may pass"),
        "edit.lists:allowed-client-certificate",
    ),
    Command(SETTINGS, "relay-proxy get", "", N_("the relay proxies to go out through"), "edit.relay_proxy:get"),
    Command(SETTINGS, "relay-proxy set", "URL ...", N_("go out through these relay proxies"), "edit.relay_proxy:set"),
    Command(
        SETTINGS, "relay-proxy clear", "", N_("use no relay proxy: dial targets directly"), "edit.relay_proxy:clear"
    ),
    Command(
        SETTINGS,
        "import",
        "FILE",
        N_("a script of the original gateway's cmdlets, each of which is a command, too"),
        "original.import_",
    ),
    Command(
        SETTINGS,
        "suggest",
        "[LOG ...] [--apply]",
        N_("the host rules that would allow what was refused"),
        "edit.suggest",
    ),
    Command(
        QUESTIONS, "check", "[--json] [FLAGS]", N_("the whole configuration, and every mistake in it"), "ask.check"
    ),
    Command(
        QUESTIONS,
        "explain",
        "HOST[:PORT] [--client IP]",
        N_("whether a client may go to a host, by which rule, and what happens then"),
        "ask.explain",
    ),
    Command(
        QUESTIONS,
        "doctor",
        "[--bundle FILE]",
        N_("what is wrong on this machine: ports, limits, clock, DNS, hosts"),
        "doctor.doctor",
    ),
    Command(
        QUESTIONS,
        "inspect",
        "FILE|- [--json]",
        N_("what the gateway sees in a recorded TLS handshake, and what it would decide"),
        "ask.inspect",
    ),
    Command(
        QUESTIONS,
        "events",
        "[NUMBER|REASON|ID] [--json]",
        N_("what an event or a reason means and what to do; why a tunnel was refused"),
        "ask.events",
    ),
    Command(
        QUESTIONS,
        "presets",
        "[NAME] [--region NAME]",
        N_("the presets (lists of host rules of known services), or one of them"),
        "ask.presets",
    ),
    Command(LISTS, "sign", "LIST --key FILE", N_("sign a list of host rules; make keys for that"), "edit.sign"),
    Command(RUNNING, "status", "[--json]", N_("whether the gateway serves clients, and its counts"), "live.status"),
    Command(
        RUNNING,
        "ready",
        "[--off|--on]",
        N_("say whether clients should be sent to the gateway, or take it out"),
        "live.ready",
    ),
    Command(RUNNING, "top", "[--interval SECONDS]", N_("the status of the gateway live, with rates"), "live.top"),
    Command(RUNNING, "tunnels", "[--client ADDRESS]", N_("the open tunnels, one by one"), "live.tunnels:list"),
    Command(RUNNING, "tunnel kill", "ID ...", N_("end open tunnels"), "live.tunnels:kill"),
    Command(RUNNING, "sources", "[--json]", N_("the state of the lists from files and servers"), "live.sources:list"),
    Command(
        RUNNING,
        "sources rollback",
        "URL [--undo]",
        N_("go back to the previous list, until a new one comes"),
        "live.sources:rollback",
    ),
    Command(RUNNING, "reload", "[--json]", N_("let the gateway read its configuration again"), "live.orders:reload"),
    Command(
        RUNNING,
        "upgrade",
        "[--now] [--json]",
        N_("let a new version take over, with no client refused"),
        "live.upgrade",
    ),
    Command(
        RUNNING, "fleet status", "URL ...", N_("many gateways in one table, and whether they differ"), "live.fleet"
    ),
    Command(RUNNING, "drain", "[--now]", N_("let the gateway stop, and the open tunnels finish"), "live.orders:drain"),
]
CMDLET = Command("", "", "", "", "original.cmdlets")  # of the original: all words are its own
_CMDLET = re.compile(r"[A-Z][A-Za-z]*-[A-Z]|(?i:[a-z]*-omsgateway|[a-z]+-(?:service|module)(?:\s|\Z))")
# The original's own manual has a blank in "Remove- OMSGatewayAllowedHost", and printers make other dashes of one.
_NAME = re.compile(r"([A-Za-z]+) ?[-\u2010-\u2015] ?(OMSGateway[A-Za-z]+)(?=\s|\Z)", re.IGNORECASE)
LONGEST = max(len(command.words.split()) for command in COMMANDS)


def find(words: Sequence[str]) -> Optional[tuple[Command, list[str]]]:
    """The command that these words begin with, and the words behind it."""
    for length in range(LONGEST, 0, -1):
        for command in COMMANDS:
            if command.words.split() == list(words[:length]):
                return command, list(words[length:])
    return None


def is_cmdlet(words: Sequence[str]) -> bool:
    """Whether they begin like one of PowerShell's: Verb-Noun, or the original's in any case."""
    return _CMDLET.match(whole_name(words)[0]) is not None


def whole_name(words: Sequence[str]) -> Sequence[str]:
    """The same words, the name of a cmdlet among the first two in one piece and with a plain dash."""
    match = _NAME.match(" ".join(words[:2]))
    if match is None:
        return words
    name, end = f"{match[1]}-{match[2]}", match.end()
    return [name, *words[2:]] if end > len(words[0]) else [name + words[0][end:], *words[1:]]


def of_group(word: str) -> list[Command]:
    """Those that begin with this word and have another behind it: of "config", among others "config show"."""
    return [command for command in COMMANDS if command.words.startswith(f"{word} ")]


def meant(words: Sequence[str]) -> list[str]:
    """What may have been meant by words that are no command; the likeliest first."""
    typed = [word for word in words[:LONGEST] if not word.startswith("-")]
    known = [command.words for command in COMMANDS]
    found: list[str] = []
    for length in range(len(typed), 0, -1):
        found += difflib.get_close_matches(" ".join(typed[:length]), known, n=3, cutoff=0.6)
    return list(dict.fromkeys(found))[:3]
