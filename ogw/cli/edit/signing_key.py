"""Private keys that lists are signed with: Ed25519 in a PEM file (PKCS 8), as openssl reads and makes them, too."""

import getpass
import os
import sys
from contextlib import suppress
from typing import Optional

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ogw.cli.exits import Failed
from ogw.language.messages import gettext as _
from ogw.machine.files import read_file, shown
from ogw.settings.elsewhere.public_key import word_of
from ogw.settings.password_file import read_password

LARGEST = 1 << 14  # bytes


def make_key(path: str, passphrase: Optional[bytes]) -> str:
    """A new one, in a new file for its owner alone; the word of its public key. Raises Failed."""
    key = Ed25519PrivateKey.generate()
    protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        protection = serialization.BestAvailableEncryption(passphrase)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        told = _("{path} is there already, and a key is never written over; name another file")
        raise Failed(told.format(path=shown(path))) from None
    except OSError as error:
        raise Failed(f"{shown(path)}: {error.strerror}") from None
    try:
        with open(handle, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(handle)
    except OSError as error:
        with suppress(OSError):
            os.unlink(path)
        raise Failed(f"{shown(path)}: {error.strerror}") from None
    return public_word(key)


def read_key(path: str, passphrase_file: str) -> Ed25519PrivateKey:
    """The one in a file, whose passphrase, if it has one, is asked for or stands in another file. Raises Failed."""
    try:
        data = read_file(path, LARGEST)
    except OSError as error:
        raise Failed(f"{shown(path)}: {error.strerror}") from None
    try:
        key: object = serialization.load_pem_private_key(data, None)
    except TypeError:  # it has a passphrase
        key = _unlocked(data, path, read_passphrase(passphrase_file, path))
    except (ValueError, UnsupportedAlgorithm):
        raise Failed(_not_a_key(path)) from None
    if not isinstance(key, Ed25519PrivateKey):
        told = _("{path} has a key of another kind; lists are signed with Ed25519: `ogw sign --new-key FILE` makes one")
        raise Failed(told.format(path=shown(path)))
    return key


def _unlocked(data: bytes, path: str, passphrase: bytes) -> object:
    try:
        return serialization.load_pem_private_key(data, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        told = _("{path}: the passphrase is not that of this key, or the file is damaged")
        raise Failed(told.format(path=shown(path))) from None


def _not_a_key(path: str) -> str:
    told = _("{path} is not a private key (PEM); `ogw sign --new-key FILE` makes one")
    return told.format(path=shown(path))


def read_passphrase(file: str, path: str, twice: bool = False) -> bytes:
    """Of the key in `path`: what a file says, or somebody types. Raises Failed."""
    try:
        if file:
            typed = read_password(file)
        elif sys.stdin is not None and sys.stdin.isatty():
            first, again = _("Passphrase of {path}:").format(path=shown(path)), _("The passphrase once more:")
            typed = getpass.getpass(f"{first} ")
            if twice and getpass.getpass(f"{again} ") != typed:
                raise Failed(_("the two passphrases are not the same; no key was made"))
        else:
            told = _(
                "{path} needs a passphrase, and there is no terminal to type it at; name a file: --passphrase-file FILE"
            )
            raise Failed(told.format(path=shown(path)))
    except EOFError:
        raise Failed(_("no passphrase was typed")) from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise Failed(f"{shown(file)}: {why}") from None
    if not typed:
        raise Failed(_("the passphrase is empty"))
    return typed.encode()


def public_word(key: Ed25519PrivateKey) -> str:
    """The public key to it, as the settings take it."""
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return word_of(raw)
