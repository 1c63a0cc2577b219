"""What a list from a URL is signed with: a few lines beside it, at the URL with .sig behind its path.

    signed-list: ogw 1
    name: hosts.txt
    serial: 1795714000
    expires: 2026-12-26T18:00:00Z
    sha256: (of the list, 64 hexadecimal digits)
    key: ed25519:(base64)
    signature: (base64)

Signed are the bytes of all lines but the last, with Ed25519 (RFC 8032). The name keeps a signature from being put
beside another list, the serial an old list from coming back, the expiry one from being kept from changing.
"""

import base64
import enum
import hashlib
import re
from collections.abc import Collection
from typing import NamedTuple, Optional
from urllib.parse import urlsplit, urlunsplit

from ogw.language.messages import gettext as _
from ogw.policy.rules import parse_time, time_text
from ogw.settings.elsewhere.public_key import has_signed, parse_key

SUFFIX = ".sig"
LARGEST = 1024  # bytes of a signature
GREATEST_SERIAL = 10**15 - 1
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
_LINES = (
    r"(?P<signed>signed-list: ogw 1\n"
    r"name: (?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,99})\n"
    r"serial: (?P<serial>0|[1-9][0-9]{0,14})\n"
    r"expires: (?P<expires>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)\n"
    r"sha256: (?P<sha256>[0-9a-f]{64})\n"
    r"key: (?P<key>ed25519:[A-Za-z0-9+/]{43}=)\n)"
    r"signature: (?P<signature>[A-Za-z0-9+/]{86}==)\n"
)
_WHOLE = re.compile(_LINES.encode())  # fullmatch: nothing before it, nothing behind it, no line twice


class ListReason(enum.Enum):
    """Why a list is not taken that is to be signed: what stands in the log. Tokens are public and never renamed."""

    MISSING = "list-signature-missing"
    MALFORMED = "list-signature-malformed"
    UNKNOWN_KEY = "list-key-unknown"
    FORGED = "list-signature-wrong"
    FOREIGN = "list-name-wrong"
    MISMATCH = "list-signature-mismatch"
    EXPIRED = "list-signature-expired"
    REPLAYED = "list-serial-old"


class Distrusted(Exception):
    """The list is not to be taken; a sentence says why, which goes on from the name of its source."""

    def __init__(self, reason: ListReason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class Signature(NamedTuple):
    """One that was read; whether it is good is to be asked (`require_good`).

    expires  Unix seconds
    key      the word of the public key
    signed   the bytes that were signed
    proof    the signature of them
    """

    name: str
    serial: int
    expires: float
    sha256: str
    key: str
    signed: bytes
    proof: bytes

    @property
    def text(self) -> bytes:
        """All of it, as it stands beside the list."""
        return self.signed + b"signature: " + base64.b64encode(self.proof) + b"\n"


def text_to_sign(name: str, serial: int, expires: float, sha256: str, key: str) -> bytes:
    """The bytes that are signed."""
    lines = ("signed-list: ogw 1", f"name: {name}", f"serial: {serial}", f"expires: {time_text(expires)}")
    return "\n".join([*lines, f"sha256: {sha256}", f"key: {key}", ""]).encode("ascii")


def read_signature(data: bytes) -> Signature:
    """Raises Distrusted where it is anything but one, whole and written as `ogw sign` writes it."""
    found = _WHOLE.fullmatch(data) if len(data) <= LARGEST else None
    try:
        if found is None:
            raise ValueError
        signed, proof = found["signed"], base64.b64decode(found["signature"])
        name, serial, expires, sha256, key = (found[one].decode("ascii") for one in
                                              ("name", "serial", "expires", "sha256", "key"))  # fmt: skip
        read = Signature(name, int(serial), parse_time(expires), sha256, parse_key(key), signed, proof)
        if read.text != data:
            raise ValueError
        return read
    except ValueError:
        told = _("its signature cannot be read: it is not one, or is cut short; `ogw sign` makes them")
        raise Distrusted(ListReason.MALFORMED, told) from None


def require_good(signature: Signature, name: str, keys: Collection[str]) -> None:
    """Raises Distrusted where it is not that of one of these keys, for a list of this name. Whose list is asked apart.

    keys  words; none of which means that nobody is trusted
    """
    if signature.key not in keys:
        told = _("it is signed with the key {key}, which is not in allowed-host-source-key")
        raise Distrusted(ListReason.UNKNOWN_KEY, told.format(key=signature.key))
    if not has_signed(signature.key, signature.proof, signature.signed):
        told = _("its signature is forged or damaged: the key {key} did not make it")
        raise Distrusted(ListReason.FORGED, told.format(key=signature.key))
    if signature.name != name:
        told = _("its signature is that of a list named {other}, and not of {name}")
        raise Distrusted(ListReason.FOREIGN, told.format(other=signature.name, name=name))


def fits(signature: Signature, body: bytes) -> bool:
    """Whether the signature is that of this list."""
    return signature.sha256 == sha256_of(body)


def require_fitting(signature: Signature, body: bytes) -> None:
    """Raises Distrusted where it is that of another."""
    if not fits(signature, body):
        told = _("its signature is that of another content (serial {serial})")
        raise Distrusted(ListReason.MISMATCH, told.format(serial=signature.serial))


def sha256_of(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


# Where it stands, and what it is to be for.


def name_of(url: str) -> Optional[str]:
    """The name that the signature of this URL's list must hold; None where it needs one (`URL#NAME`).

    It is what stands behind the #, or else the last part of the path.
    """
    parts = urlsplit(url)
    name = parts.fragment or parts.path.rpartition("/")[2]
    return name if NAME.match(name) else None


def signature_url(url: str) -> str:
    """Where the signature stands: beside the list, so the suffix belongs to the path, and a query is kept."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=(parts.path or "/") + SUFFIX, fragment=""))
