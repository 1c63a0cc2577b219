"""`ogw sign`: signs a list of host rules, checks a signature, and makes the keys for that."""

import argparse
import base64
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Optional

from ogw.cli.edit.signing_key import make_key, public_word, read_key, read_passphrase
from ogw.cli.exits import FAILED, OK, WRONG, Failed, Wrong
from ogw.cli.parser import Parser, parser_of
from ogw.cli.screen import clean
from ogw.language.messages import gettext as _
from ogw.machine.files import read_file, shown
from ogw.policy.rules import parse_time, time_text
from ogw.settings.elsewhere.host_list import BadList, prove, read_list
from ogw.settings.elsewhere.public_key import parse_key
from ogw.settings.elsewhere.signature import (
    GREATEST_SERIAL,
    LARGEST,
    NAME,
    SUFFIX,
    Distrusted,
    Signature,
    fits,
    read_signature,
    require_fitting,
    require_good,
    sha256_of,
    text_to_sign,
)
from ogw.settings.elsewhere.source import is_url
from ogw.settings.files import replace
from ogw.settings.kinds import duration, number
from ogw.settings.password_file import is_open_to_all
from ogw.settings.settings import SETTINGS
from ogw.wire.url import shown_url

USUAL = "30d"  # until a signature expires
LONGEST = 10 * 366 * 86400.0  # seconds


def parser() -> Parser:
    made = parser_of(
        "sign",
        _(
            "Sign a list of host rules for gateways with allowed-host-source-key: LIST.sig is written, which belongs "
            "beside the list on its server. The list is read first as a gateway would read it, and one that would be "
            "refused is not signed. Sign each version of it, and the same one again before its signature expires. "
            "Asks no gateway."
        ),
        examples=[
            "ogw sign --new-key lists.key",
            "ogw sign hosts.txt --key lists.key",
            "ogw sign hosts.txt --key lists.key --expires 7d --name shops",
            "ogw sign --check hosts.txt --with ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
        ],
        codes={
            OK: _("the list was signed, the key was made, or the signature is good"),
            FAILED: _("not done, or the signature is not good; the message says why, and nothing was written"),
            WRONG: _("the command line is wrong"),
        },
        usage="ogw sign LIST --key FILE [--name NAME] [--serial N]\n"
        "            [--expires TIME]\n"
        "       ogw sign --check LIST --with KEY [--name NAME]\n"
        "       ogw sign --new-key FILE | --show-key FILE",
    )
    made.add_argument("list", metavar="LIST", nargs="?", help=_("the file with the list"))
    what = made.add_mutually_exclusive_group()
    what.add_argument("--key", metavar="FILE", help=_("sign with the private key in this file"))
    what.add_argument("--check", action="store_true", help=_("say whether LIST.sig is a good signature of LIST"))
    what.add_argument(
        "--new-key", metavar="FILE", help=_("make a key: the private one goes into this file, the public one is shown")
    )
    what.add_argument("--show-key", metavar="FILE", help=_("show the public key of the private one in this file"))
    about = _("the name that gateways know the list by: the last part of its URL, or what stands behind the # "
              "in it (default: the name of the file)")  # fmt: skip
    made.add_argument("--name", default="", help=about)
    about = _("the serial number, higher than that of every version before (default: the seconds since 1970)")
    made.add_argument("--serial", type=_serial, metavar="NUMBER", help=about)
    about = _("when the signature expires: 7d, or 2027-01-31T18:00:00Z (default: {usual})")
    made.add_argument("--expires", type=_expiry, default=USUAL, metavar="TIME", help=about.format(usual=USUAL))
    about = _("--check: a public key that may have signed it; may be repeated")
    made.add_argument("--with", dest="keys", type=_key, action="append", default=[], metavar="KEY", help=about)
    about = _("source-max-size of the gateways (default: {default})")
    size = SETTINGS["source-max-size"]
    made.add_argument(
        "--max-size", type=_size, default=size.default, metavar="SIZE", help=about.format(default=size.default)
    )
    about = _("--new-key: protect the private key with a passphrase, which is asked for")
    made.add_argument("--passphrase", action="store_true", help=about)
    made.add_argument("--passphrase-file", default="", metavar="FILE", help=_("the passphrase stands in this file"))
    return made


def run(asked: argparse.Namespace) -> int:
    makes = asked.new_key or asked.show_key
    if makes and asked.list:
        parser().error(_("{list}: no list is needed with --new-key or --show-key").format(list=asked.list))
    if not makes and not asked.list:
        parser().error(_("name the list, or --new-key FILE"))
    if not makes and not asked.check and not asked.key:
        parser().error(_("name the key to sign with: --key FILE; `ogw sign --new-key FILE` makes one"))
    if asked.check and not asked.keys:
        parser().error(_("name the public key: --with KEY"))
    if asked.list and is_url(asked.list):
        told = _("{list} is a URL; name the file with the list")
        raise Wrong(told.format(list=shown(shown_url(asked.list))))
    if asked.new_key:
        return _make_key(asked)
    if asked.show_key:
        print(_line(public_word(read_key(asked.show_key, asked.passphrase_file))))
        return OK
    return _check(asked) if asked.check else _sign(asked)


def _make_key(asked: argparse.Namespace) -> int:
    protects = asked.passphrase or asked.passphrase_file
    word = make_key(
        asked.new_key, read_passphrase(asked.passphrase_file, asked.new_key, twice=True) if protects else None
    )
    print(_line(word))
    told = _("ogw: {path} has the private key: whoever has it can sign lists. Its public key is the line above, for "
             "the INI file of each gateway")  # fmt: skip
    print(told.format(path=shown(asked.new_key)), file=sys.stderr)
    return OK


def _line(word: str) -> str:
    return f"allowed-host-source-key = {word}"


def _sign(asked: argparse.Namespace) -> int:
    name, body = _name(asked), _list(asked)
    key = read_key(asked.key, asked.passphrase_file)
    if is_open_to_all(asked.key):
        told = _("ogw: every user of this machine can read {path}, and so sign lists; protect it: chmod 600 {path}")
        print(told.format(path=shown(asked.key)), file=sys.stderr)
    expires = asked.expires()
    if expires <= time.time():
        raise Wrong(_("--expires: {time} is in the past").format(time=time_text(expires)))
    path = asked.list + SUFFIX
    word = public_word(key)
    serial = _serial_of(path, body, word, asked.serial)
    text = text_to_sign(name, serial, expires, sha256_of(body), word)
    signature = read_signature(text + b"signature: " + base64.b64encode(key.sign(text)) + b"\n")
    try:
        replace(path, signature.text, mode=0o644)
    except OSError as error:
        raise Failed(f"{shown(path)}: {error.strerror}") from None
    print(f"{shown(path)}: {_told(signature)}")
    return OK


def _name(asked: argparse.Namespace) -> str:
    """Raises Wrong."""
    name = asked.name or os.path.basename(asked.list)
    if not NAME.match(name):
        told = _("--name: {name} is no name of a list; a name has at most 100 letters, digits, dots, - and _")
        raise Wrong(told.format(name=ascii(name)))
    return str(name)


def _list(asked: argparse.Namespace) -> bytes:
    """Its bytes, once they were read as a gateway would. Raises Failed."""
    place = shown(asked.list)
    try:
        body = read_file(asked.list, asked.max_size)
        if b"PRIVATE KEY-----" in body:
            raise Failed(_("{place}: it is a private key, and no list").format(place=place))
        rules = read_list(body, place, asked.max_size)
        prove(rules, place)
    except OSError as error:
        raise Failed(f"{place}: {error.strerror}") from None
    except BadList as bad:
        lines = "\n".join(clean(one) for one in bad.mistakes)
        told = _("no gateway would take this list; nothing was signed")
        raise Failed(f"{lines}\n{told}") from None
    if not rules:
        raise Failed(_("{place}: the list has no host rule in it; nothing was signed").format(place=place))
    return body


def _serial_of(path: str, body: bytes, key: str, asked: Optional[int]) -> int:
    """Higher than that of the signature that is there, which gateways have seen. Raises Failed."""
    try:
        before = read_signature(read_file(path, LARGEST))
    except (OSError, Distrusted):
        return int(time.time()) if asked is None else asked
    if before.serial >= GREATEST_SERIAL and not fits(before, body):
        if before.key != key:
            return int(time.time()) if asked is None else asked
        told = _("{path} has the highest serial that there is: make another key, `ogw sign --new-key FILE`, which all "
                 "gateways must be given in the place of this one; nothing was signed")  # fmt: skip
        raise Failed(told.format(path=shown(path)))
    if asked is None:
        return max(int(time.time()), min(before.serial + 1, GREATEST_SERIAL))
    if asked < before.serial or (asked == before.serial and not fits(before, body)):
        told = _("--serial: {path} has {serial} already, and gateways take a changed list only with a higher one; "
                 "nothing was signed")  # fmt: skip
        raise Failed(told.format(path=shown(path), serial=before.serial))
    return asked


def _check(asked: argparse.Namespace) -> int:
    name, body, path = _name(asked), _list(asked), asked.list + SUFFIX
    try:
        signature = read_signature(read_file(path, LARGEST))
        require_good(signature, name, asked.keys)
        require_fitting(signature, body)
    except OSError as error:
        raise Failed(f"{shown(path)}: {error.strerror}") from None
    except Distrusted as error:
        raise Failed(f"{shown(asked.list)}: {error}") from None
    if signature.expires <= time.time():
        told = _("{list}: its signature expired at {time}")
        raise Failed(told.format(list=shown(asked.list), time=time_text(signature.expires)))
    print(_("the signature is good: {about}").format(about=_told(signature)))
    return OK


def _told(signature: Signature) -> str:
    told = _("name {name}, serial {serial}, until {time}, by {key}")
    return told.format(
        name=signature.name, serial=signature.serial, time=time_text(signature.expires), key=signature.key
    )


# What flags take.


def _serial(text: str) -> Any:
    return _taken(number(0, GREATEST_SERIAL), text)


def _size(text: str) -> Any:
    read = SETTINGS["source-max-size"].read
    assert read is not None
    return _taken(read, text)


def _key(text: str) -> Any:
    return _taken(parse_key, text)


def _expiry(text: str) -> Callable[[], float]:
    """A function that gives Unix seconds, whole ones: a time from now on counts from when it is signed."""
    if text[:1].isdigit() and "T" not in text:
        seconds = _taken(duration(1, LONGEST), text)
        return lambda: float(int(time.time() + seconds))
    try:
        until = float(int(_taken(parse_time, text)))
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(
            _("{error}; a time from now on is written as 30d").format(error=error)
        ) from None
    return lambda: until


def _taken(read: Callable[[str], Any], text: str) -> Any:
    """What a reader of settings makes of it. Raises ArgumentTypeError."""
    try:
        return read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!a}: {error}") from None
