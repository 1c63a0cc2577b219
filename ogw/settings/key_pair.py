"""A certificate and its key, as a server shows them: proved to fit each other, and put to use."""

import codecs
import os
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from ogw.language.messages import gettext as _
from ogw.machine.files import shown
from ogw.policy.identity import certificates_in, moment
from ogw.policy.rules import time_text
from ogw.settings.trust import PemFile, read_pem_file

_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----")
_ENCRYPTED = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED", re.MULTILINE)


class KeyPair(NamedTuple):
    """
    context  with both, as `server_context` makes it
    begins   of the certificate, Unix seconds
    expires
    """

    context: ssl.SSLContext
    begins: float
    expires: float

    def why_not(self, now: float) -> str:
        """Why nobody would accept it at this moment; "" for nothing."""
        if now >= self.expires:
            return _("the certificate ended at {time}").format(time=time_text(self.expires))
        if now < self.begins:
            return _("the certificate begins only at {time}; is the clock right?").format(time=time_text(self.begins))
        return ""


def read_key_pair(certificate: str, key: str) -> KeyPair:
    """Of two files in PEM, which may be one; behind the certificate may stand those that lead to its authority.

    Raises ValueError, whose sentence begins with the file that is wrong, and shows nothing of the key.
    """
    return pair_of(_read(certificate), _read(key))


def pair_of(certificate: PemFile, key: PemFile) -> KeyPair:
    """The same, of what was read of them."""
    try:
        found = certificates_in(certificate.data)
    except ValueError as error:
        told = _("{file}: the certificate cannot be read ({why})")
        raise ValueError(told.format(file=shown(certificate), why=error)) from None
    if not found:
        raise ValueError(_("{file}: no certificate in it (PEM)").format(file=shown(certificate)))
    if _ENCRYPTED.search(key.data):
        told = _("{file}: the key is encrypted, and nobody is there to type its password; store it without one")
        raise ValueError(told.format(file=shown(key)))
    if not _KEY.search(key.data):
        raise ValueError(_("{file}: no private key in it (PEM)").format(file=shown(key)))
    begins, expires = moment(found[0], "not_valid_before") or 0.0, moment(found[0], "not_valid_after") or 0.0
    return KeyPair(server_context(certificate, key), begins, expires)


def server_context(certificate: PemFile, key: PemFile) -> ssl.SSLContext:
    """For sockets of a server: TLS 1.2 at least, no renegotiation. Raises ValueError as `read_key_pair` does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    try:
        with named(certificate.data) as chain, named(key.data) as secret:
            context.load_cert_chain(chain, secret, password=b"")  # with none, OpenSSL would ask for it on the terminal
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH" and key == certificate:
            told = _("{key}: the key in it is not that of the first certificate; store the pair that was made together")
            raise ValueError(told.format(key=shown(key))) from None
        if error.reason == "KEY_VALUES_MISMATCH":
            told = _(
                "{key}: it is not the key of the certificate in {certificate}; store the pair that was made together"
            )
            raise ValueError(told.format(key=shown(key), certificate=shown(certificate))) from None
        why = (error.reason or str(error)).lower().replace("_", " ")
        told = _("{certificate}: it cannot be used with {key} ({why})")
        raise ValueError(told.format(certificate=shown(certificate), key=shown(key), why=why)) from None
    return context


@contextmanager
def named(data: bytes) -> Iterator[str]:
    """A path of what was read: OpenSSL is given files only. It is in memory alone, and gone afterwards.

    A byte order mark would hide the first part of a file from it.
    """
    descriptor = os.memfd_create("ogw pem")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data.removeprefix(codecs.BOM_UTF8))
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _read(path: str) -> PemFile:
    """Raises ValueError."""
    try:
        return read_pem_file(path)
    except OSError as error:
        raise ValueError(f"{shown(path)}: {error.strerror or error}") from None
