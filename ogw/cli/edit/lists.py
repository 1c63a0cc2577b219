"""`ogw allowed-host|denied-host|allowed-client|allowed-client-certificate add|remove|list`."""

import argparse
import json
import shlex
import time

from ogw.cli.configuration import load_or_tell
from ogw.cli.edit.change import add_config, add_flags, add_replace, adding, codes, make
from ogw.cli.edit.config import codes_of_remove, remove_all, text_of, until, values_of
from ogw.cli.exits import OK, WRONG, Wrong
from ogw.cli.live.gateway import file_of
from ogw.cli.parser import Parser, VerbParser, branches, parser_of
from ogw.cli.screen import clean
from ogw.cli.words import offer
from ogw.language.messages import gettext as _
from ogw.policy.names import is_name, name_of_word, name_text
from ogw.policy.networks import parse_network
from ogw.policy.rules import alive
from ogw.settings.setting import Setting
from ogw.settings.settings import SETTINGS
from ogw.settings.value import split

EXAMPLES = {
    "allowed-host": ("www.example.com", "'*.example.com' --from 10.1.0.0/16 --until 2h --note 'ticket 7'"),
    "denied-host": ("ads.example.com", "bad.example.com --note 'asked for by nobody'"),
    "allowed-client": ("10.1.0.0/16", "192.0.2.7"),
    "allowed-client-certificate": ("'CN=till-7,O=Shop'", "till-7"),
}


def parser(name: str) -> Parser:
    """Of the list of this setting; `asked.verb` is what is to be done to it."""
    made = parser_of(name, _("Edit the list {name} of the INI file, or show it.").format(name=name),
                     examples=[f"ogw {name} {verb}" for verb in ("add ...", "remove ...", "list")])  # fmt: skip
    branch = branches(made, "verb")
    branch("add", _("add to the list"), _add_parser(SETTINGS[name]))
    branch("remove", _("remove from the list"), _remove_parser(SETTINGS[name]))
    branch("list", _("show the list"), _list_parser(SETTINGS[name]))
    return made


def run(asked: argparse.Namespace) -> int:
    code: int = asked.do(asked.setting, asked)
    return code


def _add_parser(setting: Setting) -> Parser:
    plain, rich = EXAMPLES[setting.name]
    made = parser_of(
        f"{setting.name} add",
        _("Add to the list {name} of the INI file. Values that are there already are reported and left.").format(
            name=setting.name
        ),
        examples=[f"ogw {setting.name} add {plain} --reload", f"ogw {setting.name} add {rich}"],
        codes=codes(),
        kind=VerbParser,
    )
    made.add_argument("value", nargs="+", metavar=setting.placeholder)
    if setting.read is None:
        add_attributes(made, setting.denied)
        add_replace(made)
    add_flags(made)
    made.set_defaults(do=_add, setting=setting, **({} if setting.read is None else {"replace": False}))
    return made


def _add(setting: Setting, asked: argparse.Namespace) -> int:
    more = attributes(asked, setting.denied) if setting.read is None else ""
    values = [value + more for value in values_of(setting, asked.value)]
    return make(asked, adding(asked, setting, values, f"{setting.name} add"))


def add_attributes(parser: argparse.ArgumentParser, denied: bool) -> None:
    """The attributes of a host rule as flags."""
    clients = _("only for clients of this network (may be repeated)")
    if not denied:
        clients = _("only for clients of this network, or with this name in their certificate (may be repeated)")
    parser.add_argument("--from", dest="clients", action="append", default=[], help=clients,
                        metavar="NETWORK" if denied else "NETWORK|cn:NAME|san:NAME")  # fmt: skip
    if not denied:
        parser.add_argument("--to", action="append", default=[], metavar="NETWORK",
                            help=_("the host may lie in this private network (may be repeated)"))  # fmt: skip
        parser.add_argument("--no-server-name", action="store_true",
                            help=_("allow TLS sessions without a server name"))  # fmt: skip
    parser.add_argument("--until", default="", metavar="TIME",
                        help=_("when the rule ends: 2h, 3d, or 2027-01-31T18:00:00Z"))  # fmt: skip
    parser.add_argument("--stage", default="", metavar="NAME", help=_("only for gateways of this stage"))
    parser.add_argument("--note", default="", metavar="TEXT", help=_("why the rule is there"))


def attributes(asked: argparse.Namespace, denied: bool) -> str:
    """The same as they stand in a rule. Raises Wrong."""
    words = [f"from={_name(client) if is_name(client) else client}" for client in asked.clients]
    if not denied:
        words += [f"to={network}" for network in asked.to]
        words += ["no-server-name"] if asked.no_server_name else []
    if asked.until:
        words.append(f"until={until(asked.until)}")
    if asked.stage:
        words.append(f"stage={asked.stage}")
    if asked.note:
        if '"' in asked.note or not asked.note.isprintable():
            raise Wrong(_("a note must not have double quotes, line breaks or other control characters in it"))
        words.append(f'note="{asked.note}"')
    return "".join(f" {word}" for word in words)


def _name(text: str) -> str:
    """Of a client's certificate, as a rule writes it. Raises Wrong."""
    try:
        name = name_of_word(text)
    except ValueError as error:
        raise Wrong(f"{text!a}: {error}") from None
    if '"' in name:
        raise Wrong(
            _("{name}: a rule cannot name a client whose name has double quotes in it").format(name=ascii(name))
        )
    first, *others = (part.strip() for part in name.split(","))
    if any(map(_is_client, others)):
        flags = " ".join(f"--from {shlex.quote(one)}" for one in (first, *others))
        raise Wrong(
            _("{name} would be one name with commas in it; right is {flags}").format(name=ascii(name), flags=flags)
        )
    return name_text(name)


def _is_client(text: str) -> bool:
    """A name or a network."""
    try:
        return is_name(text) or bool(parse_network(text))
    except ValueError:
        return False


def _remove_parser(setting: Setting) -> Parser:
    plain, _rich = EXAMPLES[setting.name]
    made = parser_of(
        f"{setting.name} remove",
        _("Remove from the list {name} of the INI file.").format(name=setting.name),
        examples=[f"ogw {setting.name} remove {plain} --reload"],
        codes=codes_of_remove(),
        kind=VerbParser,
    )
    offer(made.add_argument("value", nargs="+", metavar=setting.placeholder), setting)
    add_flags(made)
    made.set_defaults(do=_remove, setting=setting)
    return made


def _remove(setting: Setting, asked: argparse.Namespace) -> int:
    return remove_all(asked, setting, values_of(setting, asked.value))


def _list_parser(setting: Setting) -> Parser:
    made = parser_of(
        f"{setting.name} list",
        _("Show the list {name} of the INI file; with --all all that is in force, and where it came from.").format(
            name=setting.name
        ),
        examples=[f"ogw {setting.name} list", f"ogw {setting.name} list --all --json"],
        codes={OK: _("shown, also if the list is empty")},
        kind=VerbParser,
    )
    made.add_argument("--all", action="store_true", help=_("also from variables, presets and other sources"))
    made.add_argument("--json", action="store_true", help=_("as JSON"))
    add_config(made)
    made.set_defaults(do=_list, setting=setting)
    return made


def _list(setting: Setting, asked: argparse.Namespace) -> int:
    path = file_of(asked)
    rows = _in_force(setting, asked) if asked.all else _in_file(setting, path)
    if rows is None:
        return WRONG
    if asked.json:
        print(json.dumps([{"value": value, "source": source} for value, source in rows], indent=2))
    else:
        for value, source in rows:
            print(clean(f"{value}  ({source})" if asked.all else value))
    return OK


def _in_file(setting: Setting, path: str) -> list[tuple[str, str]]:
    return [(one, f"{path}:{line}") for line, text in text_of(path).texts(setting.name) for one in split(setting, text)]


def _in_force(setting: Setting, asked: argparse.Namespace) -> "list[tuple[str, str]] | None":
    config = load_or_tell([] if asked.config is None else ["--config", asked.config])
    if config is None:
        return None
    if setting.read is None:
        sourced = config.sourced_hosts if setting.name == "allowed-host" else ()
        rules = alive((*getattr(config, setting.attribute), *sourced), config.stage, time.time())
        return [(str(rule), rule.source) for rule in rules]
    rows = [
        (one, given.source)
        for given in config.origins[setting.name]
        for one in split(setting, given.text)
        if given.text
    ]
    if setting.name == "allowed-client-certificate" and rows:  # the agents' are added to a list, and begin none
        source = "agent-config " + ", ".join(config.agent_config)
        rows += [(one.common_name, source) for one in config.agent_certificates]
    return rows
