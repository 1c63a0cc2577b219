"""The original's cmdlets, as they stand in its manual, behind the word `ogw`: `ogw Add-OMSGatewayAllowedHost HOST`.

PowerShell's way to name parameters, which argparse cannot: any case, -Name value or -Name:value, unique beginnings of
names, values by their place.
"""

import argparse
import difflib
import shlex
import sys
from collections.abc import Sequence
from gettext import gettext as _
from typing import NamedTuple

from ogw.cli import lists, orders, relay_proxy
from ogw.cli.change import CODES, NOT_DONE, OK, WRONG, add_flags, file_of
from ogw.cli.edit import must, text_of, values_of
from ogw.cli.parser import parser_of
from ogw.cli.powershell import CONSTANTS, DASHES, Word, statements
from ogw.settings.editing import Editor
from ogw.settings.settings import SETTINGS
from ogw.wire.relay_proxy import HIDDEN, without_credentials

SERVICES = ("omsgatewayservice", "oms gateway", "ogw")
KEYS = {"listenport": SETTINGS["listen-port"]}  # of the original's configuration
SWITCHES = ("Force", "WhatIf", "Confirm", "Verbose", "Debug", "PassThru")  # of any cmdlet
VALUED = ("ErrorAction", "WarningAction")
PASSWORD_WARNING = _(
    "a password in a command line can be read by every user of this machine, and stays in the history of the shell; "
    "`ogw relay-proxy set --password-stdin` is the better way"
)


class Cmdlet(NamedTuple):
    """One of the original.

    takes   its parameters, in the order of values without a name
    needs   how many of them it cannot do without
    edits   it changes the INI file
    ogw     what ogw calls it
    """

    name: str
    takes: tuple[str, ...]
    needs: int
    edits: bool
    ogw: str


CMDLETS = [
    Cmdlet("Set-OMSGatewayConfig", ("Name", "Value"), 2, True, "config set"),
    Cmdlet("Get-OMSGatewayConfig", ("Name",), 0, False, "config get"),
    Cmdlet("Set-OMSGatewayRelayProxy", ("Address", "Username", "Password"), 1, True, "relay-proxy set"),
    Cmdlet("Get-OMSGatewayRelayProxy", (), 0, False, "relay-proxy get"),
    Cmdlet("Add-OMSGatewayAllowedHost", ("Host",), 1, True, "allowed-host add"),
    Cmdlet("Remove-OMSGatewayAllowedHost", ("Host",), 1, True, "allowed-host remove"),
    Cmdlet("Get-OMSGatewayAllowedHost", (), 0, False, "allowed-host list"),
    Cmdlet("Add-OMSGatewayAllowedClientCertificate", ("Subject",), 1, True, "allowed-client-certificate add"),
    Cmdlet("Remove-OMSGatewayAllowedClientCertificate", ("Subject",), 1, True, "allowed-client-certificate remove"),
    Cmdlet("Get-OMSGatewayAllowedClientCertificate", (), 0, False, "allowed-client-certificate list"),
    Cmdlet("Restart-Service", ("Name",), 1, False, "reload"),
    Cmdlet("Import-Module", ("Name",), 1, False, ""),
]
BY_NAME = {cmdlet.name.lower(): cmdlet for cmdlet in CMDLETS}


class NotUnderstood(Exception):
    """The sentence says what of a line is wrong, and what is right."""


class Call(NamedTuple):
    """A cmdlet with its values, by the names of its parameters; `only_if` is what -WhatIf asks for: change nothing."""

    cmdlet: Cmdlet
    values: dict[str, str]
    only_if: bool = False

    @property
    def ogw(self) -> str:
        """The same as ogw's own command; "" where there is nothing to do."""
        words = self.cmdlet.ogw.split()
        values = dict(self.values)
        if self.cmdlet.ogw == "relay-proxy set" and not values["Address"]:
            words, values = ["relay-proxy", "clear"], {}
        if self.cmdlet.ogw.startswith("config"):
            words += [KEYS[values.pop("Name", "ListenPort").lower()].name]
        if self.cmdlet.ogw == "relay-proxy set" and values:
            words += [without_credentials(values.pop("Address"))]
            words += ["--username", values.pop("Username")] if values.get("Username") else []
            words += ["--password-stdin"] if values.get("Password") else []
            values = {}
        if not self.cmdlet.edits:
            values = {}
        words += values.values()
        return shlex.join(["ogw", *words]) if self.cmdlet.ogw else ""

    def __str__(self) -> str:
        """As the original writes it, without passwords."""
        shown = {**self.values}
        if shown.get("Password"):
            shown["Password"] = HIDDEN
        if "Address" in shown:
            shown["Address"] = without_credentials(shown["Address"])
        return " ".join([self.cmdlet.name, *(f"-{name} {_quoted(value)}" for name, value in shown.items())])

    def change(self, editor: Editor, password_file: str = "") -> bool:
        """Do it to the INI file; False where it removes what is not there. Raises EditError, or Failed."""
        values = self.values
        verb, _dash, noun = self.cmdlet.name.partition("-OMSGateway")
        if noun == "Config":
            editor.set(KEYS[values["Name"].lower()], [values["Value"]])
        elif noun == "RelayProxy" and not values["Address"]:
            relay_proxy.forget(editor)
        elif noun == "RelayProxy":
            relay_proxy.use(editor, [values["Address"]], values.get("Username", ""), password_file)
        else:
            setting = SETTINGS["allowed-host" if noun == "AllowedHost" else "allowed-client-certificate"]
            found = values_of(setting, list(values.values()))
            if verb == "Remove":
                return all([editor.remove(setting, value) for value in found])
            for value in found:
                editor.add(setting, value)
        return True


def _quoted(value: str) -> str:
    return value if value.replace(".", "").replace("-", "").isalnum() else "'" + value.replace("'", "''") + "'"


def is_cmdlet(word: str) -> bool:
    """Whether a word looks like one: a verb of the original's, a dash and something."""
    for dash in DASHES[1:]:
        word = word.replace(dash, "-")
    verb, dash, noun = word.partition("-")
    return bool(dash and noun) and verb.lower() in {name.partition("-")[0] for name in BY_NAME}


def parse(words: Sequence[Word]) -> Call:
    """What a line means. Raises NotUnderstood."""
    name = words[0].text
    for dash in DASHES[1:]:
        name = name.replace(dash, "-")
    cmdlet = BY_NAME.get(name.rpartition("\\")[2].lower())  # OMSGateway\Add-... names its module, too
    if cmdlet is None:
        near = difflib.get_close_matches(name.lower(), list(BY_NAME), 1, 0.6)
        hint = _("; did you mean {name}?").format(name=BY_NAME[near[0]].name) if near else ""
        raise NotUnderstood(_("{name} is not one of the original's cmdlets{hint}").format(name=ascii(name), hint=hint))
    return _checked(*_sorted_out(cmdlet, list(words[1:])))


def _sorted_out(cmdlet: Cmdlet, words: list[Word]) -> tuple[Cmdlet, dict[str, str], bool]:
    """The values by name, those without a name included, and whether -WhatIf was there."""
    values: dict[str, str] = {}
    unnamed: list[str] = []
    only_if = False
    while words:
        word = words.pop(0)
        if not _names_parameter(word):
            unnamed.append(word.text)
            continue
        typed, colon, value = word.text[1:].partition(":")
        name = _parameter(cmdlet, typed)
        if name in SWITCHES:
            if colon and value.lower() not in CONSTANTS:
                raise NotUnderstood(_("-{name} takes no value").format(name=name))
            only_if |= name == "WhatIf" and value.lower() != "$false"
            continue
        if not value:
            if not words or _names_parameter(words[0]):
                raise NotUnderstood(_("-{name}: its value is missing").format(name=name))
            value = words.pop(0).text
        if name in values:
            raise NotUnderstood(_("-{name} stands there twice").format(name=name))
        values[name] = value
    for name in cmdlet.takes:
        if name not in values and unnamed:
            values[name] = unnamed.pop(0)
    if unnamed:
        raise NotUnderstood(
            _("{name}: {word} is one value too many").format(name=cmdlet.name, word=ascii(unnamed[0]))
            if "Password" not in cmdlet.takes
            else _("{name}: there is one value too many").format(name=cmdlet.name)
        )
    return cmdlet, {name: values[name] for name in cmdlet.takes if name in values}, only_if


def _names_parameter(word: Word) -> bool:
    return not word.quoted and word.text[:1] in tuple(DASHES) and word.text[1:2].isalpha()


def _parameter(cmdlet: Cmdlet, typed: str) -> str:
    """The parameter that begins with what was typed: one of the cmdlet's own, else one that all have."""
    if typed.lower() in ("ea", "wa"):
        return "ErrorAction" if typed.lower() == "ea" else "WarningAction"
    for names in (cmdlet.takes, (*SWITCHES, *VALUED)):
        exact = [name for name in names if name.lower() == typed.lower()]
        found = exact or [name for name in names if name.lower().startswith(typed.lower())]
        if len(found) == 1:
            return found[0]
        if found:
            raise NotUnderstood(
                _("-{typed} may be {names}").format(typed=typed, names=_(" or ").join(f"-{name}" for name in found))
            )
    known = ", ".join(f"-{name}" for name in cmdlet.takes) or _("none")
    raise NotUnderstood(
        _("{cmdlet} has no parameter -{typed}; its own are: {known}").format(
            cmdlet=cmdlet.name, typed=ascii(typed)[1:-1], known=known
        )
    )


def _checked(cmdlet: Cmdlet, values: dict[str, str], only_if: bool) -> Call:
    missing = [name for name in cmdlet.takes[: cmdlet.needs] if name not in values]
    if missing:
        raise NotUnderstood(_("{cmdlet}: -{name} is missing").format(cmdlet=cmdlet.name, name=missing[0]))
    key = values.get("Name", "")
    if cmdlet.ogw.startswith("config") and key and key.lower() not in KEYS:
        raise NotUnderstood(
            _("the key {key} is unknown to ogw, which of the original's understands ListenPort; its own settings are "
              "set with `ogw config set`").format(key=ascii(key))
        )  # fmt: skip
    if cmdlet.name == "Restart-Service" and key.lower() not in SERVICES:
        raise NotUnderstood(_("{name} is not the gateway's service, OMSGatewayService").format(name=ascii(key)))
    if cmdlet.name == "Import-Module" and key.lower() != "omsgateway":
        raise NotUnderstood(_("{name} is not the original's module, OMSGateway").format(name=ascii(key)))
    if values.get("Password") and not values.get("Username"):
        raise NotUnderstood(_("{cmdlet}: -Username is missing; there is a password").format(cmdlet=cmdlet.name))
    return Call(cmdlet, values, only_if)


def words_of(typed: Sequence[str]) -> list[Word]:
    """The words of a command line as the shell cut it; a whole line in quotes is cut here. Raises NotUnderstood."""
    if len(typed) == 1 and " " in typed[0]:
        found = statements(typed[0])
        if len(found) != 1 or found[0].mistake:
            raise NotUnderstood(found[0].mistake if found else _("one line at a time; `ogw import` takes many"))
        return found[0].words
    return [Word(text) for text in typed]


def cmdlet(typed: list[str]) -> int:
    """Run a command line that begins with a cmdlet; the exit code."""
    flags, words = _flags(typed)
    try:
        asked_help = any(word in ("-h", "--help", "-?") for word in (*flags, *words))
        call = None if asked_help else parse(words_of(words))
    except NotUnderstood as error:
        print(f"ogw: {error}", file=sys.stderr)
        return WRONG
    if call is None:
        _parser(words[0]).print_help()
        return OK
    asked = _parser(call.cmdlet.name).parse_args(flags)
    asked.dry_run |= call.only_if
    if call.ogw:
        print(_("ogw: here that is: {command}").format(command=call.ogw), file=sys.stderr)
    return _run(call, asked)


def _run(call: Call, asked: argparse.Namespace) -> int:
    named = ["--config", asked.config] if asked.config else []
    if call.cmdlet.name == "Restart-Service":
        return OK if asked.dry_run else orders.reload(["--run-dir", asked.run_dir] if asked.run_dir else [])
    if call.cmdlet.name == "Import-Module":
        print(_("ogw: there is nothing to import: its commands are there"), file=sys.stderr)
        return OK
    if call.cmdlet.name == "Get-OMSGatewayConfig":
        return _show_config(call, asked)
    if call.cmdlet.name == "Get-OMSGatewayRelayProxy":
        relay_proxy.get([*named, *(["--json"] if asked.json else [])])
        return OK
    if not call.cmdlet.edits:
        name = call.cmdlet.ogw.partition(" ")[0]
        return lists.command(name, ["list", *named, *(["--json"] if asked.json else [])])
    if call.values.get("Password"):
        print(f"ogw: {PASSWORD_WARNING}", file=sys.stderr)
        values = call.values
        return relay_proxy.make_with_password(asked, [values["Address"]], values["Username"], values["Password"])
    if call.cmdlet.ogw == "relay-proxy set" and not call.values["Address"]:
        relay_proxy.clear_all(asked)
        return OK
    return must(asked, call.change)


def _show_config(call: Call, asked: argparse.Namespace) -> int:
    """Of all keys, or of one, what the file says, or else the default."""
    setting = KEYS[call.values.get("Name", "ListenPort").lower()]
    there = text_of(file_of(asked)).texts(setting.name)
    value = there[0][1] if there else setting.default
    print(value if "Name" in call.values else f"ListenPort = {value}")
    return OK


def _flags(typed: list[str]) -> tuple[list[str], list[str]]:
    """ogw's own flags, which begin with two dashes, with their values; and the other words."""
    flags: list[str] = []
    words: list[str] = []
    left = list(typed)
    while left:
        word = left.pop(0)
        if not word.startswith("--") or word == "--":
            words.append(word)
            continue
        flags.append(word)
        if word in ("--config", "--run-dir") and left:
            flags.append(left.pop(0))
    return flags, words


def _parser(name: str) -> argparse.ArgumentParser:
    called = BY_NAME.get(name.lower())
    values = " ".join(f"-{one} VALUE" for one in called.takes) if called else "-PARAMETER VALUE"
    does = _("Understood as in the original. ogw's own name for it: {ogw}.").format(
        ogw=f"`ogw {called.ogw}`" if called and called.ogw else _("none, there is nothing to do")
    )
    parser = parser_of(
        called.name if called else name,
        does,
        examples=[f"ogw {called.name if called else name} {values}".rstrip()],
        codes={
            **CODES,
            NOT_DONE: _("what is to be removed is not there, or nothing could be changed"),
            WRONG: _("the line is not understood, or a value is wrong"),
        },
    )
    add_flags(parser)
    return parser
