"""A certificate and its key, as a server shows them: read from two files, proved to fit each other, and put to use."""

import codecs
import re
import ssl
from datetime import UTC, datetime
from gettext import gettext as _
from typing import NamedTuple, Optional

from ogw.machine.files import read_file, shown
from ogw.policy.rules import time_text

LARGEST = 1 << 20  # bytes of each file
_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----")
_ENCRYPTED = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED", re.MULTILINE)
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"


class KeyPair(NamedTuple):
    """
    context  with both, for sockets of a server: TLS 1.2 at least, no renegotiation
    begins   of the certificate, Unix seconds
    expires
    """

    context: ssl.SSLContext
    begins: float
    expires: float

    def why_not(self, now: float) -> str:
        """Why nobody would accept it at this moment; "" for nothing."""
        if now >= self.expires:
            return _("it ended at {time}").format(time=time_text(self.expires))
        if now < self.begins:
            return _("it begins only at {time}; is the clock right?").format(time=time_text(self.begins))
        return ""


def read_key_pair(certificate: str, key: str) -> KeyPair:
    """Of two files in PEM; behind the certificate may stand those that lead to its authority.

    Raises ValueError, whose sentence begins with the file that is wrong, and shows nothing of the key.
    """
    data = _read(certificate)
    if _CERTIFICATE not in data:
        raise ValueError(_("{file}: no certificate in it (PEM)").format(file=shown(certificate)))
    secret = _read(key)
    if _ENCRYPTED.search(secret):
        told = _("{file}: the key is encrypted, and nobody is there to type its password; store it without one")
        raise ValueError(told.format(file=shown(key)))
    if not _KEY.search(secret):
        raise ValueError(_("{file}: no private key in it (PEM)").format(file=shown(key)))
    begins, expires = _times(certificate, data)
    return KeyPair(_context(certificate, key), begins, expires)


def _read(path: str) -> bytes:
    """Raises ValueError."""
    try:
        data = read_file(path, LARGEST)
    except OSError as error:
        raise ValueError(f"{shown(path)}: {error.strerror or error}") from None
    if len(data) > LARGEST:
        raise ValueError(_("{file}: is larger than {most} bytes").format(file=shown(path), most=LARGEST))
    return data


def _context(certificate: str, key: str) -> ssl.SSLContext:
    """Raises ValueError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(certificate, key, password=b"")  # with none, OpenSSL would ask for it on the terminal
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            told = _("{key}: is not the key of the certificate in {certificate}; store the pair that was made together")
            raise ValueError(told.format(key=shown(key), certificate=shown(certificate))) from None
        why = (error.reason or str(error)).lower().replace("_", " ")
        told = _("{certificate}: cannot be used with {key} ({why})")
        raise ValueError(told.format(certificate=shown(certificate), key=shown(key), why=why)) from None
    except OSError as error:  # taken away meanwhile
        raise ValueError(f"{shown(certificate)}: {error.strerror or error}") from None
    return context


def _times(path: str, data: bytes) -> tuple[float, float]:
    """When the first certificate of a file begins and ends, in Unix seconds. Raises ValueError."""
    from cryptography import x509  # takes 100 ms, which only who has a certificate waits for

    try:
        found = x509.load_pem_x509_certificate(data.removeprefix(codecs.BOM_UTF8))
        return _unix(found, "not_valid_before"), _unix(found, "not_valid_after")
    except Exception as error:  # whatever a broken one makes of that library, which is another on every system
        why = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise ValueError(
            _("{file}: a certificate that cannot be read ({why})").format(file=shown(path), why=why)
        ) from None


def _unix(certificate: object, name: str) -> float:
    """cryptography before 42 gave times without their zone."""
    found: Optional[datetime] = getattr(certificate, f"{name}_utc", None)
    return (found or getattr(certificate, name).replace(tzinfo=UTC)).timestamp()
