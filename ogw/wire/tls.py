"""The few TLS messages that the rules look at, and their grammar. No I/O, no decrypting.

Lengths are bounded by what holds them and must be used up. Sources: RFC 8446 (TLS 1.3), RFC 5246 (1.2), RFC 6066
(server name), RFC 7301 (ALPN).
"""

from enum import IntEnum
from struct import Struct
from struct import error as StructError
from typing import NamedTuple, Optional

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23  # content types of records
FATAL = 2
# Extensions that the rules look at.
SERVER_NAME, ALPN, EARLY_DATA, SUPPORTED_VERSIONS, ENCRYPTED_CLIENT_HELLO = 0, 16, 42, 43, 0xFE0D
# The random of a ServerHello that is a HelloRetryRequest (RFC 8446, section 4.1.3): SHA-256 of those words.
HELLO_RETRY_REQUEST = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")

ALL_GREASE = frozenset(0x0A0A + 0x1010 * step for step in range(16))  # reserved to keep readers tolerant (RFC 8701)
VERSIONS = {0x0300: "SSL 3.0", 0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2", 0x0304: "TLS 1.3"}


class MessageKind(IntEnum):
    """Types of handshake messages, as far as the rules tell them apart."""

    CLIENT_HELLO = 1
    SERVER_HELLO = 2
    NEW_SESSION_TICKET = 4
    CERTIFICATE = 11
    SERVER_KEY_EXCHANGE = 12
    CERTIFICATE_REQUEST = 13
    SERVER_HELLO_DONE = 14


class Alert(IntEnum):
    """Descriptions of alerts that are sent or named here (RFC 8446, section 6)."""

    HANDSHAKE_FAILURE = 40
    ACCESS_DENIED = 49
    DECODE_ERROR = 50
    PROTOCOL_VERSION = 70
    INTERNAL_ERROR = 80
    UNRECOGNIZED_NAME = 112


_NUMBER = Struct(">H").unpack_from
_NUMBERS = Struct(">H").iter_unpack
_EXTENSION = Struct(">HH").unpack_from  # its number, and how long it is


class TlsError(Exception):
    """What came is not what TLS is; `detail` is one English sentence for the log."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NotTls(TlsError):
    """The first bytes are no TLS record."""


class OldVersion(TlsError):
    """SSL 2.0: recognised, named, not read."""


class Malformed(TlsError):
    """It began as TLS, but its lengths or its order are wrong."""


class TooLarge(TlsError):
    """A handshake message is larger than the limit."""


class ClientHello(NamedTuple):
    """What the rules look at in a ClientHello (RFC 8446, section 4.1.2).

    versions      offered ones, GREASE left out; from supported_versions, or legacy_version alone
    server_names  host names of the server_name extension as they came; None where there is no such extension
    encrypted     an encrypted_client_hello extension is there, be it real or GREASE
    """

    versions: tuple[int, ...]
    session_id: bytes
    server_names: Optional[tuple[bytes, ...]]
    alpn: tuple[bytes, ...]
    encrypted: bool
    early_data: bool

    @property
    def best_version(self) -> int:
        """The best of those that exist; 0 if there is none."""
        best = 0
        for version in self.versions:
            if version > best and version in VERSIONS:
                best = version
        return best


class ServerHello(NamedTuple):
    """What the rules look at in a ServerHello."""

    version: int
    session_id: bytes
    retry: bool  # it is a HelloRetryRequest


def read_client_hello(body: bytes) -> ClientHello:
    """From the body of its message. Raises Malformed."""
    what, end = "the ClientHello", len(body)
    id_end = _vector_end(body, 34, 1, end, what)  # behind legacy_version and random
    if id_end > 35 + 32:
        raise Malformed("a session id of more than 32 bytes")
    suites_end = _vector_end(body, id_end, 2, end, what, 2)
    if (suites_end - id_end) % 2:
        raise Malformed("an odd number of bytes of cipher suites")
    extensions = _extensions(body, _vector_end(body, suites_end, 1, end, what, 1), what)
    versions, names, alpn = extensions.get(SUPPORTED_VERSIONS), extensions.get(SERVER_NAME), extensions.get(ALPN)
    return ClientHello(
        _legacy_version(body) if versions is None else _versions(body, versions),
        body[35:id_end],
        None if names is None else _server_names(body, names),
        () if alpn is None else _protocols(body, alpn),
        ENCRYPTED_CLIENT_HELLO in extensions,
        EARLY_DATA in extensions,
    )


def read_server_hello(body: bytes) -> ServerHello:
    """From the body of its message. Raises Malformed."""
    what, end = "the ServerHello", len(body)
    id_end = _vector_end(body, 34, 1, end, what)
    if id_end > 35 + 32:
        raise Malformed("a session id of more than 32 bytes")
    if id_end + 3 > end:  # cipher suite, compression
        raise Malformed(f"{what} ends too soon")
    chosen = _extensions(body, id_end + 3, what).get(SUPPORTED_VERSIONS)
    version = _NUMBER(body, 0)[0]
    if chosen is not None:
        if _NUMBER(body, chosen + 2)[0] != 2:
            raise Malformed("a supported_versions of a server that is not one version")
        version = _NUMBER(body, chosen + 4)[0]
    elif version == 0x0304:
        raise Malformed("a ServerHello of TLS 1.3 without supported_versions")
    return ServerHello(version, body[35:id_end], body[2:34] == HELLO_RETRY_REQUEST)


def read_certificate(body: bytes) -> tuple[bytes, ...]:
    """The chain of a TLS 1.0-1.2 Certificate message as DER, the sender's own first (RFC 5246, section 7.4.2)."""
    end = _vector_end(body, 0, 3, len(body), "the Certificate")
    _finish(end, len(body), "the Certificate")
    certificates: list[bytes] = []
    at = 3
    while at < end:
        begin = at + 3
        at = _vector_end(body, at, 3, end, "the chain of certificates", 1)
        certificates.append(body[begin:at])
    return tuple(certificates)


# Bodies are read by index, in place. A hello has some twenty vectors, and cutting each out of the one around it costs
# nearly twice as much (counted, for one of OpenSSL: 84,000 instructions instead of 48,000).


def _vector_end(data: bytes, at: int, size: int, end: int, what: str, least: int = 0) -> int:
    """Where the vector ends whose length, a number of `size` bytes, stands at `at`, in what goes up to `end`."""
    begin = at + size
    if begin > end:
        raise Malformed(f"{what} ends too soon")
    if size == 1:
        length = data[at]
    elif size == 2:
        length = data[at] << 8 | data[at + 1]  # half the cost of the next line
    else:
        length = int.from_bytes(data[at:begin])
    if begin + length > end:
        raise Malformed(f"{what} ends too soon")
    if length < least:
        raise Malformed(f"a vector of {length} bytes in {what}")
    return begin + length


def _finish(at: int, end: int, what: str) -> None:
    if at != end:
        raise Malformed(f"{end - at} bytes behind the end of {what}")


def _extensions(body: bytes, at: int, what: str) -> dict[int, int]:
    """The extensions that end a hello: number -> where it begins. There may be none at all before TLS 1.3."""
    begins: dict[int, int] = {}
    end = len(body)
    if at == end:
        return begins
    _finish(_vector_end(body, at, 2, end, what), end, what)
    at += 2
    try:
        while at != end:
            number, length = _EXTENSION(body, at)
            behind = at + 4 + length
            if number in begins and behind <= end:
                raise Malformed(f"the extension {number} stands twice in {what}")
            begins[number] = at
            at = behind
    except StructError:  # `at` is too near to the end, or behind it
        raise Malformed(f"the extensions of {what} end too soon") from None
    return begins


def _legacy_version(body: bytes) -> tuple[int, ...]:
    """TLS 1.3 is offered in supported_versions alone; without it, this is "1.2 or less" (RFC 8446, section 4.2.1)."""
    version = _NUMBER(body, 0)[0]
    return (0x0303 if version == 0x0304 else version,)


def _versions(body: bytes, extension: int) -> tuple[int, ...]:
    begin, end = _list_in(body, extension, 1, 2, "supported_versions")
    if (end - begin) % 2:
        raise Malformed("an odd number of bytes of supported_versions")
    versions: list[int] = []
    for (number,) in _NUMBERS(body[begin:end]):
        if number not in ALL_GREASE:
            versions.append(number)
    return tuple(versions)


def _server_names(body: bytes, extension: int) -> tuple[bytes, ...]:
    """RFC 6066, section 3. Types of names other than host_name were never defined and are passed over."""
    at, end = _list_in(body, extension, 2, 1, "server_name")
    names: list[bytes] = []
    while at < end:
        kind, begin = body[at], at + 3
        at = _vector_end(body, at + 1, 2, end, "server_name", 1)
        if kind == 0:
            names.append(body[begin:at])
    return tuple(names)


def _protocols(body: bytes, extension: int) -> tuple[bytes, ...]:
    at, end = _list_in(body, extension, 2, 2, "ALPN")
    protocols: list[bytes] = []
    while at < end:
        begin = at + 1
        at = _vector_end(body, at, 1, end, "ALPN", 1)
        protocols.append(body[begin:at])
    return tuple(protocols)


def _list_in(body: bytes, extension: int, size: int, least: int, what: str) -> tuple[int, int]:
    """Where the list begins and ends that is all of an extension; `size` and `least` are those of its vector."""
    begin = extension + 4
    end = begin + _NUMBER(body, extension + 2)[0]
    _finish(_vector_end(body, begin, size, end, what, least), end, what)
    return begin + size, end


def version_name(version: int) -> str:
    """TLS 1.2, or the bytes of a version without a name."""
    return VERSIONS.get(version, f"version 0x{version:04x}")


def alert(description: int, version: int = 0) -> bytes:
    """A fatal alert in a plain record, for a session of this version; 0 is one that no ServerHello has settled yet."""
    minor = version & 0xFF if version in VERSIONS and version < 0x0303 else 3
    return bytes((ALERT, 3, minor, 0, 2, FATAL, description))
