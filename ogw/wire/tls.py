"""The few TLS messages that the rules look at, and their grammar. No I/O, no decrypting.

Lengths are bounded by what holds them and must be used up. Sources: RFC 8446 (TLS 1.3), RFC 5246 (1.2), RFC 6066
(server name), RFC 7301 (ALPN).
"""

from enum import IntEnum
from struct import Struct, unpack
from typing import NamedTuple, Optional

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23  # content types of records
FATAL = 2
# The random of a ServerHello that is a HelloRetryRequest (RFC 8446, section 4.1.3): SHA-256 of those words.
HELLO_RETRY_REQUEST = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")

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


class Extension(IntEnum):
    """Extensions that the rules look at."""

    SERVER_NAME = 0
    ALPN = 16
    EARLY_DATA = 42
    SUPPORTED_VERSIONS = 43
    ENCRYPTED_CLIENT_HELLO = 0xFE0D


class Alert(IntEnum):
    """Descriptions of alerts that are sent or named here (RFC 8446, section 6)."""

    HANDSHAKE_FAILURE = 40
    ACCESS_DENIED = 49
    DECODE_ERROR = 50
    PROTOCOL_VERSION = 70
    INTERNAL_ERROR = 80
    UNRECOGNIZED_NAME = 112


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
        return max(filter(VERSIONS.__contains__, self.versions), default=0)


class ServerHello(NamedTuple):
    """What the rules look at in a ServerHello."""

    version: int
    session_id: bytes
    retry: bool  # it is a HelloRetryRequest


class _Cursor:
    """Reads vectors out of a body; what is short or left over is Malformed."""

    __slots__ = ("_at", "_data", "_end", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data, self._at, self._end, self._what = data, 0, len(data), what

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > self._end:
            raise Malformed(f"{self._what} ends too soon")
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int, least: int = 0) -> bytes:
        """The bytes behind their length, a number of `size` bytes; all in one step, since hellos are full of them."""
        begin = self._at + size
        length = int.from_bytes(self._data[self._at : begin], "big")
        end = begin + length
        if begin > self._end or end > self._end:
            raise Malformed(f"{self._what} ends too soon")
        if length < least:
            raise Malformed(f"a vector of {length} bytes in {self._what}")
        self._at = end
        return self._data[begin:end]

    @property
    def empty(self) -> bool:
        return self._at == self._end

    def finish(self) -> None:
        if self._at != self._end:
            raise Malformed(f"{self._end - self._at} bytes behind the end of {self._what}")


_EXTENSION = Struct(">HH").unpack_from  # type, length


def read_client_hello(body: bytes) -> ClientHello:
    """From the body of its message. Raises Malformed."""
    cursor = _Cursor(body, "the ClientHello")
    legacy_version = cursor.number(2)
    cursor.take(32)
    session_id = cursor.vector(1)
    if len(session_id) > 32:
        raise Malformed("a session id of more than 32 bytes")
    if len(cursor.vector(2, 2)) % 2:
        raise Malformed("an odd number of bytes of cipher suites")
    cursor.vector(1, 1)
    extensions = _extensions(cursor, "the ClientHello")
    # TLS 1.3 is offered in supported_versions alone; without it, this is "1.2 or less" (RFC 8446, section 4.2.1).
    versions: tuple[int, ...] = (0x0303 if legacy_version == 0x0304 else legacy_version,)
    offered = extensions.get(Extension.SUPPORTED_VERSIONS)
    if offered is not None:
        versions = _versions(offered)
    names = extensions.get(Extension.SERVER_NAME)
    alpn = extensions.get(Extension.ALPN)
    return ClientHello(
        versions,
        session_id,
        None if names is None else _server_names(names),
        () if alpn is None else _protocols(alpn),
        Extension.ENCRYPTED_CLIENT_HELLO in extensions,
        Extension.EARLY_DATA in extensions,
    )


def read_server_hello(body: bytes) -> ServerHello:
    """From the body of its message. Raises Malformed."""
    cursor = _Cursor(body, "the ServerHello")
    version = cursor.number(2)
    random = cursor.take(32)
    session_id = cursor.vector(1)
    if len(session_id) > 32:
        raise Malformed("a session id of more than 32 bytes")
    cursor.take(3)  # cipher suite, compression
    chosen = _extensions(cursor, "the ServerHello").get(Extension.SUPPORTED_VERSIONS)
    if chosen is not None:
        if len(chosen) != 2:
            raise Malformed("a supported_versions of a server that is not one version")
        version = int.from_bytes(chosen, "big")
    elif version == 0x0304:
        raise Malformed("a ServerHello of TLS 1.3 without supported_versions")
    return ServerHello(version, session_id, random == HELLO_RETRY_REQUEST)


def read_certificate(body: bytes) -> tuple[bytes, ...]:
    """The chain of a TLS 1.0-1.2 Certificate message as DER, the sender's own first (RFC 5246, section 7.4.2)."""
    cursor = _Cursor(body, "the Certificate")
    chain = _Cursor(cursor.vector(3), "the chain of certificates")
    cursor.finish()
    certificates: list[bytes] = []
    while not chain.empty:
        certificates.append(chain.vector(3, 1))
    return tuple(certificates)


def _extensions(cursor: _Cursor, what: str) -> dict[int, bytes]:
    """The extensions that end a hello; there may be none at all before TLS 1.3."""
    extensions: dict[int, bytes] = {}
    if cursor.empty:
        return extensions
    block = cursor.vector(2)
    cursor.finish()
    at, end = 0, len(block)
    while at < end:
        begin = at + 4
        if begin > end:
            raise Malformed(f"the extensions of {what} end too soon")
        number, length = _EXTENSION(block, at)
        at = begin + length
        if at > end:
            raise Malformed(f"the extensions of {what} end too soon")
        if number in extensions:
            raise Malformed(f"the extension {number} stands twice in {what}")
        extensions[number] = block[begin:at]
    return extensions


def _versions(data: bytes) -> tuple[int, ...]:
    cursor = _Cursor(data, "supported_versions")
    listed = cursor.vector(1, 2)
    cursor.finish()
    if len(listed) % 2:
        raise Malformed("an odd number of bytes of supported_versions")
    numbers = unpack(f">{len(listed) // 2}H", listed)
    return tuple([number for number in numbers if not is_grease(number)])


def is_grease(number: int) -> bool:
    """Whether a two-byte value is reserved to keep readers tolerant (RFC 8701)."""
    return number & 0x0F0F == 0x0A0A and number >> 8 == number & 0xFF


def _server_names(data: bytes) -> tuple[bytes, ...]:
    """RFC 6066, section 3. Types of names other than host_name were never defined and are passed over."""
    cursor = _Cursor(data, "server_name")
    listed = _Cursor(cursor.vector(2, 1), "server_name")
    cursor.finish()
    names: list[bytes] = []
    while not listed.empty:
        kind = listed.number(1)
        name = listed.vector(2, 1)
        if kind == 0:
            names.append(name)
    return tuple(names)


def _protocols(data: bytes) -> tuple[bytes, ...]:
    cursor = _Cursor(data, "ALPN")
    listed = _Cursor(cursor.vector(2, 2), "ALPN")
    cursor.finish()
    protocols: list[bytes] = []
    while not listed.empty:
        protocols.append(listed.vector(1, 1))
    return tuple(protocols)


def version_name(version: int) -> str:
    """TLS 1.2, or the bytes of a version without a name."""
    return VERSIONS.get(version, f"version 0x{version:04x}")


def alert(description: int, version: int = 0) -> bytes:
    """A fatal alert in a plain record, for a session of this version; 0 is one that no ServerHello has settled yet."""
    minor = version & 0xFF if version in VERSIONS and version < 0x0303 else 3
    return bytes((ALERT, 3, minor, 0, 2, FATAL, description))
