"""A relay proxy as its URL says it, and the credentials for it, which nothing here ever shows."""

import re
from typing import NamedTuple, Optional
from urllib.parse import unquote

from ogw.language.messages import gettext as _
from ogw.wire.challenges import challenges_of
from ogw.wire.connect import Fields, Target, basic_credentials, parse_host
from ogw.wire.host_mistakes import host_mistake
from ogw.wire.socks5 import require_login

HIDDEN = "(hidden)"
PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}  # RFC 1928, section 3

_URL = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*)://)?(?:(.*)@)?([^@/?#]*)/?(.*)\Z", re.DOTALL)
_MISSPELT = re.compile(rf"(?:{'|'.join(PORTS)}):?/", re.IGNORECASE)  # its scheme, which lost a colon or a slash
_PLACE = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?\Z")
# A user name and a password whose host was forgotten: what stands behind the colon is no port.
_NO_PORT = re.compile(
    r"(\A(?:[A-Za-z][A-Za-z0-9+.-]*://)?(?:\[[^\]]*\]|[^:/\[\]]*):)(?!//|[0-9]{1,5}(?:[/?#]|\Z)).+", re.DOTALL
)
_SEPARATOR_BEHIND_PASSWORDS = re.compile(r",\s*(?=(?:https?|socks5h?)://)|\n")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

# The registered ones (RFC 9110, section 16.4.1) and those of practice. Another word may be anything, even our password.
_SCHEMES = (
    *("Basic", "Bearer", "Concealed", "Digest", "DPoP", "GNAP", "HOBA", "Kerberos", "Mutual", "Negotiate", "NTLM"),
    *("OAuth", "PrivateToken", "SCRAM-SHA-1", "SCRAM-SHA-256", "vapid"),
)
_NAMES = {name.lower(): name for name in _SCHEMES}


class Secret:
    """A text that is not shown: neither printed nor in the repr of what holds it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


class Credentials(NamedTuple):
    """A user name and its password for a relay proxy (RFC 7617). Make them with `credentials`, which checks them."""

    user: Secret
    password: Secret

    @property
    def header(self) -> bytes:
        """The value of Proxy-Authorization."""
        return basic_credentials(self.user.reveal(), self.password.reveal())


class RelayProxy(NamedTuple):
    """A proxy to go out through.

    scheme       of its URL: http, https, socks5 or socks5h
    credentials  those of its own URL; None where it has none there
    """

    scheme: str
    target: Target
    credentials: Optional[Credentials] = None

    @property
    def encrypted(self) -> bool:
        """It is spoken to in TLS."""
        return self.scheme == "https"

    @property
    def speaks_socks(self) -> bool:
        return self.scheme in ("socks5", "socks5h")

    @property
    def resolves_here(self) -> bool:
        """It is given addresses: names are looked up by the gateway."""
        return self.scheme == "socks5"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.target}"


def credentials(user: str, password: str) -> Credentials:
    """Raises ValueError for what Basic credentials cannot carry (RFC 7617, section 2)."""
    if ":" in user:
        raise ValueError(_("the user name has a colon in it, which Basic credentials cannot carry"))
    if _CONTROL.search(user) or _CONTROL.search(password):
        raise ValueError(_("there is a control character in the user name or the password"))
    return Credentials(Secret(user), Secret(password))


def parse_relay_proxy(text: str) -> RelayProxy:
    """A relay proxy from [SCHEME://][user[:password]@]host[:port]. Raises ValueError, which never shows a password."""
    match = _URL.match(text)
    assert match is not None  # it takes any text
    scheme, userinfo, rest = (match[1] or "http").lower(), match[2], match[3]
    if scheme not in PORTS or (match[1] is None and _MISSPELT.match(text)):
        raise ValueError(_("it is none of http://, https://, socks5:// and socks5h://"))
    if match[4]:
        raise ValueError(_("it has a path, which a proxy does not have; the whole entry is http://proxy.example:3128"))
    place = _PLACE.match(rest)
    if place is None or not place[1]:
        raise ValueError(_("it has no host, as in http://proxy.example:3128"))
    port = int(place[2]) if place[2] is not None else PORTS[scheme]
    if not 1 <= port <= 65535:
        raise ValueError(_("there is no port from 1 to 65535 behind its colon"))
    try:
        host, address = parse_host(place[1].encode())
    except ValueError as error:
        raise ValueError(host_mistake(error)) from None
    own = None
    if userinfo is not None:
        user, _colon, password = userinfo.partition(":")
        try:
            own = credentials(unquote(user, errors="strict"), unquote(password, errors="strict"))
        except UnicodeDecodeError:
            raise ValueError(_("it has bytes in it that are not UTF-8")) from None
        if scheme.startswith("socks5"):
            require_login(own.user.reveal(), own.password.reveal())
    return RelayProxy(scheme, Target(host, port, address), own)


def split_relay_proxies(text: str) -> list[str]:
    """Several of them: one per line, or separated by commas; a comma in a password is none of those."""
    parts = _SEPARATOR_BEHIND_PASSWORDS.split(text) if "@" in text else re.split(r"[,\n]", text)
    return [part.strip() for part in parts if part.strip()]


def without_credentials(text: str) -> str:
    """The text of a relay proxy, or of what was meant to be one, as it may be shown."""
    front, at, rest = text.rpartition("@")
    if not at:
        return _NO_PORT.sub(rf"\1{HIDDEN}", text)
    scheme, slashes, _userinfo = front.partition("://")
    return f"{scheme}{slashes}{HIDDEN}@{rest}" if slashes else f"{HIDDEN}@{rest}"


def offered(headers: Fields) -> list[str]:
    """The authentication schemes that an answer offers, in order (RFC 9110, section 11.7.1), as they are registered."""
    names = (_NAMES.get(challenge.scheme, "another") for challenge in challenges_of(headers))
    return list(dict.fromkeys(names))[:10]
