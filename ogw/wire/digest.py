"""Digest authentication (RFC 7616) of a CONNECT: a challenge and a password to the value of Proxy-Authorization.

Those of requests and urllib3 are no fit: they own the connection. Checked against the examples of RFC 7616, section
3.9 (with erratum 4897), and in the tests against squid's digest_file_auth.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple, Optional
from urllib.parse import quote

from ogw.wire.challenges import Challenge, params_of
from ogw.wire.connect import Fields

LONGEST = 1024  # characters of a realm, a nonce and an opaque text, which go back to the proxy

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f]")
_ASCII = re.compile(r"[\x20-\x7e]*\Z")


class BadDigest(Exception):
    """A challenge that cannot be answered; `detail` goes on in a sentence that begins with the proxy."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class UnknownAlgorithm(BadDigest):
    """It wants a hash that is not known here."""


class UnknownQop(BadDigest):
    """It wants more, or less, than qop=auth."""


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sha512_256(data: bytes) -> str:
    return hashlib.new("sha512_256", data).hexdigest()


# By strength, the weakest first.
_HASHES: dict[str, Callable[[bytes], str]] = {"md5": _md5, "sha-256": _sha256}
if "sha512_256" in hashlib.algorithms_available:
    _HASHES["sha-512-256"] = _sha512_256
# Of the registry of hashes for Digest (RFC 7616, section 6.1), and of practice.
_KNOWN_WORDS = {
    f"{name}{session}" for name in ("md5", "sha", "sha-256", "sha-512", "sha-512-256") for session in ("", "-sess")
} | {"sha3-256", "token", "auth", "auth-int"}
_STRENGTH = {name: number for number, name in enumerate(_HASHES, 1)}


class Demand(NamedTuple):
    """What a Digest challenge wants. Texts are Latin-1, a byte a character, as they came.

    algorithm  as it was written; "" where it was not, which means MD5
    userhash   the user name is to be hashed, too
    is_utf8    it says that it takes UTF-8 (RFC 7616, section 4)
    stale      the password was right, and only the nonce is too old
    """

    realm: str
    nonce: str
    opaque: Optional[str]
    algorithm: str
    userhash: bool
    is_utf8: bool
    stale: bool

    @property
    def hash(self) -> Callable[[bytes], str]:
        return _HASHES[_base(self.algorithm)]

    @property
    def is_session(self) -> bool:
        return self.algorithm.lower().endswith("-sess")


def strength(challenge: Challenge) -> int:
    """By which the best of several is taken; 0 for what is no Digest, or of an algorithm that is not known here."""
    return _STRENGTH.get(_base(challenge.params.get("algorithm", "")), 0) if challenge.scheme == "digest" else 0


def can_be_answered(challenge: Challenge) -> bool:
    """False for a Digest of which `demand_of` would raise."""
    if challenge.scheme == "digest":
        try:
            demand_of(challenge)
        except BadDigest:
            return False
    return True


def demand_of(challenge: Challenge) -> Demand:
    """Raises BadDigest."""
    params = challenge.params
    for name in ("realm", "nonce"):
        if name not in params:
            raise BadDigest(f"wants Digest and gives no {name}")
    for name in ("realm", "nonce", "opaque", "algorithm"):
        if len(params.get(name, "")) > LONGEST:
            length = len(params[name])
            raise BadDigest(f"wants Digest with a {name} of {length} bytes; {LONGEST} are the most that is sent back")
        if _FORBIDDEN.search(params.get(name, "")):
            raise BadDigest(f"wants Digest with a control character in its {name}")
    algorithm = params.get("algorithm", "")
    if _base(algorithm) not in _HASHES:
        known = ", ".join(sorted((name.upper() for name in _HASHES), reverse=True))
        raise UnknownAlgorithm(f"wants Digest with an algorithm {_shown(algorithm)}; {known} are spoken")
    offered = [one.strip(" \t").lower() for one in params.get("qop", "").split(",")]
    if "auth" not in offered:
        what = f"a qop {_shown(params['qop'])}" if "qop" in params else "no qop (RFC 2069)"
        raise UnknownQop(f"wants Digest with {what}; qop=auth is spoken")
    return Demand(
        params["realm"],
        params["nonce"],
        params.get("opaque"),
        algorithm,
        params.get("userhash", "").lower() == "true",
        params.get("charset", "").lower() == "utf-8",
        params.get("stale", "").lower() == "true",
    )


def authorization(
    demand: Demand, user: str, password: str, uri: str, count: int, cnonce: str, method: str = "CONNECT"
) -> bytes:
    """The value of Proxy-Authorization.

    uri     of a CONNECT, the target
    count   how often the nonce was used with that, from 1 on; up to 99,999,999
    cnonce  of ours; the same as long as the nonce is the same
    """
    name, secret = (_octets(text, demand.is_utf8) for text in (user, password))
    realm, nonce = (text.encode("latin-1") for text in (demand.realm, demand.nonce))
    of, turn = demand.hash, f"{count:08x}"
    first = of(b":".join((name, realm, secret)))
    if demand.is_session:
        first = of(b":".join((first.encode(), nonce, cnonce.encode())))
    second = of(f"{method}:{uri}".encode())
    response = of(b":".join((first.encode(), nonce, turn.encode(), cnonce.encode(), b"auth", second.encode())))
    fields = [
        _username(demand, user, name),
        b"realm=" + _in_quotes(realm),
        b"nonce=" + _in_quotes(nonce),
        f'uri="{uri}", response="{response}"'.encode(),
    ]
    if demand.algorithm:
        fields.append(f"algorithm={demand.algorithm}".encode("latin-1"))
    fields.append(f'qop=auth, nc={turn}, cnonce="{cnonce}"'.encode())
    if demand.opaque is not None:
        fields.append(b"opaque=" + _in_quotes(demand.opaque.encode("latin-1")))
    if demand.userhash:
        fields.append(b"userhash=true")
    return b"Digest " + b", ".join(fields)


def next_nonce(headers: Fields) -> str:
    """The nonce to go on with that an answer names (RFC 7616, section 3.5); "" for none, or none that can be used."""
    for name, value in headers:
        if name == b"proxy-authentication-info":
            found = params_of(value).get("nextnonce", "")
            return found if len(found) <= LONGEST and not _FORBIDDEN.search(found) else ""
    return ""


def _username(demand: Demand, user: str, name: bytes) -> bytes:
    if demand.userhash:
        return f'username="{demand.hash(name + b":" + demand.realm.encode("latin-1"))}"'.encode()
    if demand.is_utf8 and not _ASCII.match(user):
        return f"username*=UTF-8''{quote(name, safe='')}".encode()
    return b"username=" + _in_quotes(name)


def _octets(text: str, is_utf8: bool) -> bytes:
    return (unicodedata.normalize("NFC", text) if is_utf8 else text).encode()


def _in_quotes(raw: bytes) -> bytes:
    return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _base(algorithm: str) -> str:
    return algorithm.lower().removesuffix("-sess") if algorithm else "md5"


def _shown(text: str) -> str:
    """As a log may have it: another word may be anything, even the password that it got as Basic."""
    return f'"{text}"' if text.lower() in _KNOWN_WORDS else "that is not known"
