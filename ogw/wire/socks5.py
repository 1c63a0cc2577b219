"""SOCKS 5, the client's side: what we say to such a proxy, and what its answers say (RFC 1928, RFC 1929).

Readers take all that came so far, and say a value, None for "need more", or one BadAnswer. They judge in the order of
the bytes, so the same bytes cut anywhere give the same outcome. What stands behind an answer is its `rest`.

Written here: socksio 1.0.0, the last one since 2020, takes an answer that comes in two pieces, or with bytes of the
target behind it, for malformed, and so a code that is not in the RFC; a method's answer of version 4, and a name that
is cut, it takes for good. What it would spare is the few bytes that are put together below.
"""

from typing import NamedTuple, Optional

from ogw.language.messages import gettext as _
from ogw.wire.address import unmapped
from ogw.wire.connect import Target
from ogw.wire.protocols import begins_tls

VERSION = 5
NO_LOGIN, LOGIN, NONE_OF_THEM = 0x00, 0x02, 0xFF  # methods
MOST_BYTES = 255  # of a user name, of a password, and of a name: their length is one byte
SUCCEEDED = 0

_CONNECT = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_LENGTHS = {_IPV4: 4, _IPV6: 16}
_HTTP = b"HTTP/"
_LOGIN_VERSIONS = (1, VERSION)  # it is 1; some servers say that of SOCKS, and nothing depends on it
_FIRST_OF_SOCKS_4 = (0x00, 0x04)


class BadAnswer(Exception):
    """Not what a SOCKS 5 proxy says. `detail` is part of a sentence for the log, and quotes nothing."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class OtherVersion(BadAnswer):
    """It speaks another protocol, or another version of SOCKS."""


class HttpAnswer(OtherVersion):
    """It answers as an HTTP proxy does."""


class TlsAnswer(OtherVersion):
    """It begins as TLS does."""


class Answer(NamedTuple):
    """code: of the method, of the login's outcome, or of the reply."""

    code: int
    rest: bytes = b""


def hello(*methods: int) -> bytes:
    """The first thing that is said: by which methods we can authenticate."""
    return bytes((VERSION, len(methods), *methods))


def login(user: str, password: str) -> bytes:
    """A user name and its password (RFC 1929). Raises ValueError for those that it cannot carry."""
    require_login(user, password)
    return b"\x01" + b"".join(bytes((len(part),)) + part for part in (user.encode(), password.encode()))


def require_login(user: str, password: str) -> None:
    """Raises ValueError, for what is empty or too long for SOCKS 5."""
    if not user:
        raise ValueError(_("the user name is empty, which SOCKS 5 cannot carry (RFC 1929)"))
    if not password:
        raise ValueError(_("the password is empty, which SOCKS 5 cannot carry (RFC 1929)"))
    if max(len(user.encode()), len(password.encode())) > MOST_BYTES:
        raise ValueError(
            _("the user name or the password has more than {most} bytes, which SOCKS 5 cannot carry (RFC 1929)").format(
                most=MOST_BYTES
            )
        )


def connect_to(target: Target) -> bytes:
    """The request for a tunnel: a name goes as it is, for the proxy to resolve."""
    if target.address is None:
        name = target.host.encode("ascii")
        where = bytes((_NAME, len(name))) + name
    else:
        address = unmapped(target.address)
        where = bytes((_IPV4 if address.version == 4 else _IPV6,)) + address.packed
    return bytes((VERSION, _CONNECT, 0)) + where + target.port.to_bytes(2, "big")


def read_method(data: bytes, offered: bytes) -> Optional[Answer]:
    """Which of the `offered` methods it chose, or NONE_OF_THEM; the first answer of all."""
    if not data or (data != _HTTP and _HTTP.startswith(data)):
        return None
    if data.startswith(_HTTP):
        raise HttpAnswer("it answers in HTTP")
    _require_version(data[0])
    if len(data) < 2:
        return None
    if data[1] not in (*offered, NONE_OF_THEM):
        raise BadAnswer(f"it chooses a way to authenticate that it was not offered ({data[1]})")
    return Answer(data[1], data[2:])


def read_login(data: bytes) -> Optional[Answer]:
    """The outcome of a login: 0 where it is accepted."""
    if not data:
        return None
    if data[0] not in _LOGIN_VERSIONS:
        raise BadAnswer(f"its answer to the user name is of version {data[0]}, not 1")
    return None if len(data) < 2 else Answer(data[1], data[2:])


def read_reply(data: bytes) -> Optional[Answer]:
    """The reply to the request. Where it is not SUCCEEDED, nothing that stands behind its code is waited for."""
    if not data:
        return None
    _require_version(data[0])
    if len(data) < 2:
        return None
    if data[1] != SUCCEEDED:
        return Answer(data[1])
    # The third byte is reserved, and decides nothing. The address is what it connects from, which nobody needs; but
    # where it ends, the tunnel begins.
    if len(data) < 4:
        return None
    if data[3] not in (_IPV4, _NAME, _IPV6):
        raise BadAnswer(f"its reply has an address of an unknown type ({data[3]})")
    if data[3] == _NAME and len(data) < 5:
        return None
    end = 4 + (1 + data[4] if data[3] == _NAME else _LENGTHS[data[3]]) + 2
    return None if len(data) < end else Answer(SUCCEEDED, data[end:])


def _require_version(first: int) -> None:
    """Raises OtherVersion where the first byte of an answer is not that of SOCKS 5."""
    if first == VERSION:
        return
    if first in _FIRST_OF_SOCKS_4:
        raise OtherVersion("it answers in SOCKS 4")
    if begins_tls(first):
        raise TlsAnswer("it answers in TLS")
    raise OtherVersion(f"its answer begins with the byte 0x{first:02x}")
