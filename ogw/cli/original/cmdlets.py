"""The original gateway's cmdlets behind the word `ogw`: understood, named as ogw calls them, and done.

PowerShell's rules: names in any case, parameters as `-Name value` or `-Name:value`, cut short as long as they are
unique, or left out for values in order. argparse knows none of these.
"""

import argparse
import difflib
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ogw.cli.commands import whole_name
from ogw.cli.edit.change import make
from ogw.cli.edit.config import text_of
from ogw.cli.edit.relay_proxy import show
from ogw.cli.edit.relay_wish import URL, Wish, forget
from ogw.cli.exits import FAILED, OK, Wrong
from ogw.cli.live.gateway import file_of, gateway_of
from ogw.cli.live.orders import reloaded, tell_of_reload
from ogw.cli.original.powershell import Unreadable, Word, statements
from ogw.cli.parser import Parser
from ogw.language.messages import gettext as _
from ogw.language.phrases import either, every, with_hint
from ogw.settings.editing import Editor
from ogw.settings.setting import Setting, shown_as
from ogw.settings.settings import SETTINGS
from ogw.settings.value import split
from ogw.wire.url import shown_url

SERVICE = "OMSGatewayService"
KEYS = {"listenport": ("ListenPort", SETTINGS["listen-port"])}  # of its configuration
SWITCHES = ("Force", "Confirm", "Verbose", "WhatIf")  # of any cmdlet; only the last means anything here
# What scripts have beside the original's own, for people or for PowerShell itself.
IDLE = ("Import-Module", "Get-Module", "Remove-Module", "Get-Command", "Get-Help", "Get-Service", "Set-ExecutionPolicy",
        "Write-Host", "Write-Output", "Clear-Host")  # fmt: skip
VALUED = ("ErrorAction", "EA", "WarningAction", "WA")  # of any, too, with a value; and their short names
_PARAMETER = re.compile(r"[-\u2013-\u2015]([A-Za-z?][A-Za-z]*)(?:(:)(.*))?\Z", re.DOTALL)  # PowerShell takes any dash
_SWITCHED = {"": True, "$true": True, "$false": False}


class NotUnderstood(Exception):
    """Why a line is none of the original's."""


@dataclass
class Call:
    """A cmdlet and its values by parameter; empty ones are given, None are not.

    tries  a relay proxy is asked and tried
    """

    cmdlet: "Cmdlet"
    values: dict[str, str] = field(default_factory=dict)
    what_if: bool = False
    tries: bool = False

    def get(self, parameter: str) -> str:
        return self.values.get(parameter, "")

    def meant(self) -> str:
        """The command of ogw that does the same, with no secret in it; "" where there is nothing to do."""
        words = self.cmdlet.meant(self)
        return shlex.join(["ogw", *words]) if words else ""


class Cmdlet(NamedTuple):
    """A cmdlet of the original.

    parameters  in their order; those with a ! must be given
    meant       what it is in ogw: words
    change      its edit, given the path of the INI file; True where it found what it is about. None: it edits nothing
    show        prints what it shows from the file at this path
    anything    it means nothing here, whatever stands behind it
    """

    name: str
    parameters: tuple[str, ...]
    meant: Callable[[Call], list[str]]
    change: Callable[[Call, Editor, str], bool] | None = None
    show: Callable[[Call, str], int] | None = None
    anything: bool = False

    @property
    def usage(self) -> str:
        if self.anything:
            return f"{self.name} ..."
        words = [f"-{one[:-1]} {one[:-1].upper()}" if one.endswith("!") else f"[-{one} {one.upper()}]"
                 for one in self.parameters]  # fmt: skip
        return " ".join([self.name, *words])


def key_of(call: Call) -> tuple[str, Setting]:
    """The original's name of a key, and the setting that it is. Raises NotUnderstood."""
    found = KEYS.get(call.get("Name").lower())
    if found is None:
        message = _(
            "ogw does not know the key {key}; of the original's keys it knows {known}; `ogw config show` lists its own"
        )
        known = every([name for name, _setting in KEYS.values()])
        raise NotUnderstood(message.format(key=ascii(call.get("Name")), known=known))
    return found


def _get_config(call: Call) -> list[str]:
    return ["config", "get", key_of(call)[1].name] if call.values else ["config", "show"]


def _show_config(call: Call, path: str) -> int:
    text = text_of(path)
    for name, setting in [key_of(call)] if call.values else KEYS.values():
        value = next((one for _line, one in text.texts(setting.name)), setting.default)
        print(value if call.values else f"{name} = {value}")
    return OK


def _set_config(call: Call) -> list[str]:
    value = call.get("Value")
    return ["config", "set", key_of(call)[1].name, *([value] if value else [])]


def _change_config(call: Call, editor: Editor, _path: str) -> bool:
    value = call.get("Value")
    setting = key_of(call)[1]
    if value:
        editor.set(setting, [value])
    else:
        editor.unset(setting)
    return True


def _set_relay_proxy(call: Call) -> list[str]:
    address, user = call.get("Address"), call.get("Username")
    if not address:
        if user or call.get("Password"):
            raise NotUnderstood(_("a user name or a password, but no address of a relay proxy"))
        return ["relay-proxy", "clear"]
    if call.get("Password") and not user:
        raise NotUnderstood(_("a password, but no user name; add -Username NAME"))
    words = ["relay-proxy", "set", shown_as(URL, address)]
    words += ["--username", user] if user else []
    return words + (["--password-stdin"] if call.get("Password") else [])


def _change_relay_proxy(call: Call, editor: Editor, path: str) -> bool:
    from ogw.cli.edit.relay_trial import Trial  # here: it needs the loop, for which no other cmdlet waits

    if call.get("Address"):
        wish = Wish([call.get("Address")], user=call.get("Username"), password=call.get("Password") or None)
        Trial(call.tries).use(editor, path, wish)
    else:
        forget(editor, path)
    return True


def _show_relay_proxy(_call: Call, path: str) -> int:
    show(path)
    return OK


def _list(name: str, words: str, parameter: str) -> list[Cmdlet]:
    """The three cmdlets of a list."""
    setting = SETTINGS[name]

    def show(_call: Call, path: str) -> int:
        for _line, text in text_of(path).texts(name):
            print(*split(setting, text), sep="\n")
        return OK

    def told(act: str) -> Callable[[Call], list[str]]:
        return lambda call: [name, act, shown_url(call.get(parameter))]

    return [
        Cmdlet(f"Add-OMSGateway{words}", (f"{parameter}!",), told("add"),
               change=lambda call, editor, _path: editor.add(setting, call.get(parameter)) or True),
        Cmdlet(f"Remove-OMSGateway{words}", (f"{parameter}!",), told("remove"),
               change=lambda call, editor, _path: editor.remove(setting, call.get(parameter))),
        Cmdlet(f"Get-OMSGateway{words}", (), lambda _call: [name, "list"], show=show),
    ]  # fmt: skip


def _restart(call: Call) -> list[str]:
    if call.get("Name").lower() != SERVICE.lower():
        message = _("the service {name} is not the gateway's, which is {service}")
        raise NotUnderstood(message.format(name=ascii(call.get("Name")), service=SERVICE))
    return ["reload"]


RESTART = Cmdlet("Restart-Service", ("Name!",), _restart)
SET_RELAY_PROXY = Cmdlet("Set-OMSGatewayRelayProxy", ("Address!", "Username", "Password"), _set_relay_proxy,
                         change=_change_relay_proxy)  # fmt: skip
CMDLETS = [
    Cmdlet("Get-OMSGatewayConfig", ("Name",), _get_config, show=_show_config),
    Cmdlet("Set-OMSGatewayConfig", ("Name!", "Value"), _set_config, change=_change_config),
    Cmdlet("Get-OMSGatewayRelayProxy", (), lambda _call: ["relay-proxy", "get"], show=_show_relay_proxy),
    SET_RELAY_PROXY,
    *_list("allowed-host", "AllowedHost", "Host"),
    *_list("allowed-client-certificate", "AllowedClientCertificate", "Subject"),
    RESTART,
    *(Cmdlet(name, (), lambda _call: [], anything=True) for name in IDLE),
]  # fmt: skip


def parsed(words: Sequence[str]) -> Call:
    """A line's words, the cmdlet first; it is one that makes sense. Raises NotUnderstood, which says why not."""
    words = whole_name(words)
    cmdlet = _cmdlet(words[0])
    call = Call(cmdlet)
    if cmdlet.anything:
        return call
    names = [one.rstrip("!") for one in cmdlet.parameters]
    loose: list[str] = []
    rest = list(words[1:])
    while rest:
        word = rest.pop(0)
        match = None if isinstance(word, Word) else _PARAMETER.match(word)
        if match is None:
            loose.append(word)
            continue
        name, value = _parameter(cmdlet, names, match[1]), match[3]
        if name in SWITCHES:
            call.what_if |= _switched(name, value or "") and name == "WhatIf"
            continue
        if name in call.values:
            raise NotUnderstood(_("-{name} is given twice").format(name=name))
        if not value:
            if rest and (isinstance(rest[0], Word) or not _PARAMETER.match(rest[0])):
                value = rest.pop(0)
            elif not match[2]:
                raise NotUnderstood(_("-{name} needs a value").format(name=name))
        if name not in VALUED:
            call.values[name] = value or ""
    open_ = [name for name in names if name not in call.values]
    if len(loose) > len(open_):
        message = _("{word} is too much; the cmdlet is used as {usage}")
        if "Password" in cmdlet.parameters:  # a word that has no place is perhaps one
            message = _("there is a word too much; the cmdlet is used as {usage}")
        raise NotUnderstood(message.format(word=ascii(loose[len(open_)]), usage=cmdlet.usage))
    call.values.update(zip(open_, loose, strict=False))
    for one in cmdlet.parameters:
        if one.endswith("!") and one[:-1] not in call.values:
            raise NotUnderstood(
                _("-{name} is missing; the cmdlet is used as {usage}").format(name=one[:-1], usage=cmdlet.usage)
            )
        if one.endswith("!") and not call.get(one[:-1]) and one != "Address!":
            raise NotUnderstood(_("-{name} is empty").format(name=one[:-1]))
    call.meant()  # raises what is wrong with the values together
    return call


def _cmdlet(word: str) -> Cmdlet:
    found = {cmdlet.name.lower(): cmdlet for cmdlet in CMDLETS}
    if word.lower() in found:
        return found[word.lower()]
    near = difflib.get_close_matches(word.lower(), list(found), 3, 0.75)
    mistake = _("{word} is none of the original's cmdlets").format(word=ascii(word))
    raise NotUnderstood(with_hint(mistake, [found[one].name for one in near]))


def _parameter(cmdlet: Cmdlet, names: Sequence[str], typed: str) -> str:
    """Its whole name; a shorter one will do where no other begins with it."""
    known = [*names, *SWITCHES, *VALUED]
    exact = [name for name in known if name.lower() == typed.lower()]
    fitting = exact or [name for name in known if name.lower().startswith(typed.lower())]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        message = _("-{typed} may mean {names}; write more of the name")
        raise NotUnderstood(message.format(typed=typed, names=either([f"-{name}" for name in fitting])))
    message = _("the cmdlet has no parameter -{typed}; it is used as {usage}")
    raise NotUnderstood(message.format(typed=typed, usage=cmdlet.usage))


def _switched(name: str, value: str) -> bool:
    if value.lower() not in _SWITCHED:
        raise NotUnderstood(_("-{name} takes $true or $false").format(name=name))
    return _SWITCHED[value.lower()]


def warn_of_password(call: Call) -> None:
    """A password was typed where others may read it."""
    if call.get("Password"):
        print(
            _(
                "ogw: warning: others can read a password on a command line or in a script; next time use "
                "`ogw relay-proxy set URL --username NAME --password-stdin`"
            ),
            file=sys.stderr,
        )


class CmdletParser(Parser):
    """`asked.call` is the cmdlet; all other flags are ogw's own."""

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Raises Wrong."""
        asked, rest = _own_flags(words)
        try:
            rest = _cut(rest)
            if asked.help:
                cmdlet = _cmdlet(whole_name(rest)[0])
                flags = "" if cmdlet.show else " [--config FILE] [--reload] [--dry-run] [--no-try] [--run-dir FOLDER]"
                print(_("usage: {command}").format(command=f"ogw {cmdlet.usage}{flags}"))
                self.exit()
            asked.call = parsed(rest)
        except NotUnderstood as error:
            raise Wrong(str(error)) from None
        return asked


def parser() -> Parser:
    return CmdletParser(add_help=False)


def run(asked: argparse.Namespace) -> int:
    """Raises Failed."""
    call: Call = asked.call
    asked.dry_run = asked.dry_run or call.what_if
    call.tries = not (asked.dry_run or asked.no_try)
    meant = call.meant()
    message = _("ogw: that is `{command}`").format(command=meant) if meant else _("ogw: the cmdlet does nothing here")
    print(message, file=sys.stderr)
    warn_of_password(call)
    if call.cmdlet.show is not None:
        return call.cmdlet.show(call, file_of(asked))
    if call.cmdlet is RESTART:
        if asked.dry_run:
            return OK
        return tell_of_reload(reloaded(gateway_of(asked)))
    if call.cmdlet.change is None:
        return OK
    found: list[bool] = []
    change = call.cmdlet.change
    path = os.path.realpath(file_of(asked))
    code = make(asked, lambda editor: found.append(change(call, editor, path)))
    return FAILED if code == OK and not all(found) else code


def _cut(words: list[str]) -> list[str]:
    """The words of a line that the shell left whole, in quotes; others as they are. Raises NotUnderstood."""
    if len(words) != 1 or " " not in words[0]:
        return words
    try:
        lines = list(statements(words[0]))
    except Unreadable as error:
        raise NotUnderstood(str(error)) from None
    if len(lines) != 1:
        raise NotUnderstood(_("only one line at a time; `ogw import -` takes many"))
    return lines[0][1]


def _own_flags(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """ogw's flags, which begin with two dashes, and the words that remain. Raises Wrong."""
    asked = argparse.Namespace(config=None, run_dir="", reload=False, dry_run=False, no_try=False,
                               json=False, help=False)  # fmt: skip
    rest: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        flag, equals, value = word.partition("=")
        if flag in ("--config", "--run-dir"):
            if not equals and not left:
                raise Wrong(_("{flag} needs a value").format(flag=flag))
            setattr(asked, flag[2:].replace("-", "_"), value if equals else left.pop(0))
        elif word in ("--reload", "--dry-run", "--no-try", "--help"):
            setattr(asked, word[2:].replace("-", "_"), True)
        elif word in ("-?", "-h") and rest:
            asked.help = True
        elif word.startswith("--"):
            raise Wrong(_("{flag} is not a flag of a cmdlet").format(flag=ascii(flag)))
        else:
            rest.append(word)
    return asked, rest
