"""`ogw relay-proxy get|set|clear`: the relay proxies and their credentials."""

import argparse
import getpass
import json
import os
import sys

from ogw.cli.edit.change import add_config, add_flags, codes, make
from ogw.cli.edit.config import must, text_of
from ogw.cli.edit.relay_wish import AUTH, OF_RELAYS, URL, Wish, forget
from ogw.cli.exits import FAILED, OK, Failed
from ogw.cli.live.gateway import file_of
from ogw.cli.parser import Parser, parser_of
from ogw.language.messages import gettext as _
from ogw.policy.relay_entry import WORDS
from ogw.settings import password_file as kept
from ogw.settings.kinds import Choice
from ogw.settings.setting import shown_as

AUTHS = AUTH.read.words if isinstance(AUTH.read, Choice) else ()
BY_PASSWORD = ("basic", "digest", "ntlm")  # these cannot be without a user name


def parser(verb: str) -> Parser:
    return {"get": _get_parser, "set": _set_parser, "clear": _clear_parser}[verb]()


def run(asked: argparse.Namespace) -> int:
    code: int = asked.do(asked)
    return code


def _get_parser() -> Parser:
    made = parser_of(
        "relay-proxy get",
        _("Show the relay proxies of the INI file; credentials are hidden."),
        examples=["ogw relay-proxy get", "ogw relay-proxy get --json"],
        codes={OK: _("there is a relay proxy"), FAILED: _("there is no relay proxy: targets are dialed directly")},
    )
    made.add_argument("--json", action="store_true", help=_("as JSON"))
    add_config(made)
    made.set_defaults(do=_get)
    return made


def _get(asked: argparse.Namespace) -> int:
    return show(file_of(asked), asked.json)


def show(path: str, as_json: bool = False) -> int:
    """Print what this INI file says of relay proxies; the exit code."""
    text = text_of(path)
    found = {setting.name: [shown_as(setting, one) for _line, one in text.texts(setting.name)] for setting in OF_RELAYS}
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        for name, values in found.items():
            for value in values:
                print(f"{name} = {value}")
        if not found[URL.name]:
            print(_("ogw: there is no relay proxy: targets are dialed directly"), file=sys.stderr)
    return OK if found[URL.name] else FAILED


def _set_parser() -> Parser:
    made = parser_of(
        "relay-proxy set",
        _(
            "Let the gateway dial targets through a relay proxy; further ones are for when the first one fails, or for "
            "the hosts that a for= behind a URL names. Each is asked what it offers, without credentials, and then "
            "tried; without --auth the strongest scheme is used that the credentials named here allow. The password "
            "is read from standard input or from a file, and goes into a file of its own beside the INI file, which "
            "only its owner can read."
        ),
        examples=[
            "ogw relay-proxy set http://proxy.example.com:3128 --reload",
            "ogw relay-proxy set https://proxy.example.com:3129 --username gateway --password-stdin < password",
            "ogw relay-proxy set http://proxy.example.com:3128 --username 'CORP\\gateway' --password-file password",
            "ogw relay-proxy set http://proxy.example.com:3128 --auth negotiate --keytab /etc/ogw/gateway.keytab",
            "ogw relay-proxy set 'socks5h://socks.example.com:1080 for=.azure-automation.net' http://proxy.example.com",
        ],
        codes=codes(),
    )
    made.add_argument(
        "url",
        nargs="+",
        metavar="URL",
        help=_("http://, https://, socks5:// or socks5h://; with for=RULES behind it for these targets alone"),
    )
    made.add_argument(
        "--auth", choices=AUTHS, default="", help=_("how the gateway authenticates itself to the relay proxy")
    )
    made.add_argument("--username", default="", metavar="NAME", help=_("DOMAIN\\NAME for NTLM"))
    made.add_argument("--password-stdin", action="store_true", help=_("read the password from standard input"))
    made.add_argument("--password-file", default="", metavar="FILE", help=_("the password is in this file"))
    made.add_argument("--keytab", default="", metavar="FILE", help=_("the gateway's key for Kerberos is in this file"))
    made.add_argument(
        "--principal", default="", metavar="NAME", help=_("the principal in the keytab (default: the first one)")
    )
    made.add_argument(
        "--ticket-cache", default="", metavar="CACHE", help=_("the gateway's tickets for Kerberos are in this cache")
    )
    made.add_argument("--no-try", action="store_true", help=_("do not ask or try the relay proxies"))
    add_flags(made)
    made.set_defaults(do=_set)
    return made


def _set(asked: argparse.Namespace) -> int:
    from ogw.cli.edit.relay_trial import Trial  # here: it needs the loop, for which no other command waits

    why = _wrong_with(asked)
    if why:
        parser("set").error(why)
    wish = Wish(
        entries(asked.url),
        asked.auth,
        asked.username,
        from_stdin() if asked.password_stdin else None,
        _absolute(asked.password_file),
        _absolute(asked.keytab),
        asked.principal,
        asked.ticket_cache,
    )
    trial = Trial(tries=not asked.no_try and not asked.dry_run)
    return make(asked, lambda editor: trial.use(editor, beside(asked), wish), trial.told)


def _wrong_with(asked: argparse.Namespace) -> str:
    """With the flags together; "" for nothing."""
    if asked.password_stdin and asked.password_file:
        return _("--password-stdin and --password-file do not go together")
    if (asked.password_stdin or asked.password_file) and not asked.username:
        return _("--username is missing: it is needed with the password")
    if asked.auth in BY_PASSWORD and (asked.keytab or asked.ticket_cache):
        return _("--keytab and --ticket-cache go with --auth negotiate, not with {auth}").format(auth=asked.auth)
    if asked.keytab and asked.ticket_cache:
        return _("--keytab and --ticket-cache do not go together")
    if asked.principal and not (asked.keytab or asked.ticket_cache):
        return _("--keytab is missing: it is needed with --principal")
    return ""


def _absolute(path: str) -> str:
    return path and os.path.abspath(path)


def entries(words: list[str]) -> list[str]:
    """Of relay-proxy, from words of a command line: for= and the like belong to the URL before them."""
    found: list[str] = []
    for word in words:
        if word.partition("=")[0] in WORDS and "=" in word and found:
            found[-1] += f" {word}"
        else:
            found.append(word)
    return found


def from_stdin() -> str:
    """The password: the first line, without its end; asked for where a person types. Raises Failed."""
    if sys.stdin is None:
        raise Failed(_("there is no standard input to read the password from; nothing was changed"))
    try:
        if sys.stdin.isatty():
            prompt = _("Password of the relay proxy:")
            password = getpass.getpass(f"{prompt} ")
        else:
            password = kept.password_in(sys.stdin.buffer.readline(2 * kept.LARGEST))
    except EOFError:
        raise Failed(_("standard input: the password is missing; nothing was changed")) from None
    except ValueError as error:
        message = _("standard input: the password cannot be used: {mistake}; nothing was changed")
        raise Failed(message.format(mistake=error)) from None
    if not password:
        raise Failed(_("standard input: the password is empty; nothing was changed"))
    return password


def _clear_parser() -> Parser:
    made = parser_of(
        "relay-proxy clear",
        _("Dial targets directly: take the relay proxies and their credentials out of the INI file."),
        examples=["ogw relay-proxy clear --reload"],
        codes={
            **codes(),
            OK: _("done"),
            FAILED: _("there was no relay proxy, nothing could be changed, or the --reload was refused"),
        },
    )
    add_flags(made)
    made.set_defaults(do=_clear)
    return made


def _clear(asked: argparse.Namespace) -> int:
    return must(asked, lambda editor: forget(editor, beside(asked)))


def beside(asked: argparse.Namespace) -> str:
    """The path of the INI file itself, which a password's file lies beside."""
    return os.path.realpath(file_of(asked))
