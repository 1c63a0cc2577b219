"""TLS as it goes by: records to handshake messages, and the few messages that the rules look at. No I/O, no decrypting.

A Reader takes one direction's bytes, cut anywhere, and gives its messages in order. Lengths are bounded by what holds
them and must be used up. Sources: RFC 8446 (TLS 1.3), RFC 5246 (1.2), RFC 6066 (server name), RFC 7301 (ALPN).
"""

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct, unpack
from typing import NamedTuple, Optional, Union

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23  # content types of records
LARGEST_RECORD = (1 << 14) + 2048  # RFC 5246, section 6.2.3; a plain one is at most 1 << 14
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


class Message(NamedTuple):
    """What a direction said.

    type  content type of its record; for HANDSHAKE `kind` is the type of the message and `body` its body, for ALERT
          the body is level and description; the bodies of other records are left out
    """

    type: int
    kind: int
    body: bytes


class Reader:
    """Records of one direction to messages, up to its ChangeCipherSpec: what follows in TLS 1.2 is encrypted.

    It holds the bytes as they came, and holds them once: until they are read, and taken. All places are counted from
    the first byte of the stream.

    limit     the largest handshake message, in bytes
    position  where the last record ends that was read and behind which no handshake message is unfinished
    """

    __slots__ = (
        "_at",
        "_begun",
        "_first",
        "_have",
        "_head",
        "_held",
        "_limit",
        "_skip",
        "_start",
        "_taken",
        "position",
    )

    def __init__(self, limit: int = 65536) -> None:
        self._limit = limit
        self.position = 0
        self._held: Union[bytes, bytearray] = b""
        self._start = 0  # where what is held begins
        self._taken = 0  # up to where it was taken
        self._at = 0  # where the first record begins that is not read yet
        self._first = True
        # The handshake message that is not finished yet, if there is one:
        self._head = b""  # its first bytes, four at the most
        self._have = 0  # how many bytes of it were read
        self._begun, self._skip = 0, 0  # where the record begins that it begins in, and how far behind its header

    @property
    def end(self) -> int:
        """Where what came so far ends."""
        return self._start + len(self._held)

    @property
    def held(self) -> int:
        """How many bytes are held."""
        return len(self._held)

    @property
    def unfinished(self) -> bool:
        """The record of the last message ends in the middle of another one."""
        return bool(self._head)

    def hold(self, data: bytes) -> None:
        """Bytes that are not to be read, but to be taken."""
        if not self._held:
            self._held = data
            return
        if isinstance(self._held, bytes):
            self._held = bytearray(self._held)  # grows in place: a hello may come byte by byte
        self._held += data

    def take(self, until: int) -> bytes:
        """The bytes up to there that were not taken yet. What is not read yet is held on to."""
        if until <= self._taken:
            return b""
        held, start = self._held, self._start
        done = min(until, self._begun if self._head else self._at) - start
        if done == len(held) and self._taken == start and isinstance(held, bytes):
            self._taken, self._start, self._held = until, until, b""  # all of it, as nearly always
            return held
        piece = bytes(memoryview(held)[self._taken - start : until - start])
        self._taken = until
        if done == len(held):
            self._held = b""
        elif isinstance(held, bytearray):
            del held[:done]
        else:
            self._held = held[done:]
        self._start += done
        return piece

    def let_go(self) -> None:
        """Hold nothing any more. It is the end of the reader."""
        self._held = b""

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that these bytes complete, in order; an error comes where it stands, behind those before it.

        Raises NotTls, OldVersion, Malformed or TooLarge. To be used up, unless nothing is fed any more.
        """
        if self._held:
            self.hold(data)
        else:
            self._held = data
        if self._first and data:
            self._judge_first(self._held)
        while True:
            held, begin = self._held, self._at - self._start
            if len(held) - begin < 5:
                return
            kind = held[begin]
            length = held[begin + 3] << 8 | held[begin + 4]
            self._judge_record(kind, held[begin + 1], held[begin + 2], length)
            body, end = begin + 5, begin + 5 + length
            if end > len(held):
                if kind == HANDSHAKE and (too_large := self._too_large(self._head + held[body : body + 4])):
                    raise too_large
                return
            self._first = False
            self._at += 5 + length
            if kind == HANDSHAKE:
                size = int.from_bytes(held[body + 1 : body + 4], "big")
                if size + 4 == length and size <= self._limit and not self._head:
                    self.position = self._at  # one message fills its record, as nearly all do
                    yield Message(HANDSHAKE, held[body], bytes(held[body + 4 : end]))
                else:
                    yield from self._messages(body, end)
                continue
            if self._head:
                what = "an alert" if kind == ALERT else "another record"
                raise Malformed(f"{what} in the middle of a handshake message")
            self.position = self._at
            yield self._other(kind, bytes(held[body:end]) if length <= 2 else b"", length)

    @staticmethod
    def _judge_first(data: Union[bytes, bytearray]) -> None:
        """Say what the very first bytes are, if not TLS, as soon as they say it."""
        first = data[0]
        if first in (HANDSHAKE, ALERT):
            if len(data) > 1 and data[1] != 3:
                raise NotTls("the first bytes are no TLS record")
            return
        if first & 0x80:  # an SSL 2.0 record: two bytes of length, then CLIENT-HELLO
            if len(data) < 3:
                return
            if data[2] == 1:
                raise OldVersion("SSL 2.0")
        raise NotTls(f"the first byte is 0x{first:02x}{_guess(first)}, which begins no TLS record")

    @staticmethod
    def _judge_record(kind: int, major: int, minor: int, length: int) -> None:
        # Which 3.x it is, is to be ignored (RFC 5246, appendix E.1; RFC 8446, section 5.1).
        if not CHANGE_CIPHER_SPEC <= kind <= APPLICATION_DATA or major != 3:
            raise Malformed(f"a record with the header {kind:02x} {major:02x} {minor:02x}")
        if length > LARGEST_RECORD or (length > 1 << 14 and kind == HANDSHAKE):
            raise Malformed(f"a record of {length} bytes, more than a record can hold")
        if length == 0 and kind != APPLICATION_DATA:
            raise Malformed("an empty record")

    def _too_large(self, head: Union[bytes, bytearray]) -> Optional[TooLarge]:
        """A message that is too large is refused when its header is here, not when all of it is."""
        if len(head) >= 4:
            length = head[1] << 16 | head[2] << 8 | head[3]
            if length > self._limit:
                return TooLarge(f"a handshake message of {length} bytes, more than {self._limit}")
        return None

    @staticmethod
    def _other(kind: int, body: bytes, length: int) -> Message:
        if kind == ALERT and length != 2:
            raise Malformed(f"an alert of {length} bytes")
        if kind == CHANGE_CIPHER_SPEC and body != b"\1":
            raise Malformed("a change of the cipher that is not the one byte 1")
        return Message(kind, 0, body if kind == ALERT else b"")

    def _messages(self, first: int, stop: int) -> Iterator[Message]:
        """Those that the record completes whose body lies there in what is held."""
        size = stop - first
        record = self._at - 5 - size
        data, begin, end = self._held, first, stop
        if self._head:
            self._head = (self._head + data[first : min(first + 4, stop)])[:4]
            self._have += size
            too_large = self._too_large(self._head)
            if too_large is not None:
                raise too_large
            if len(self._head) < 4 or self._have < 4 + int.from_bytes(self._head[1:], "big"):
                return
            data = self._gathered(stop)
            begin, end = 0, len(data)
        messages: list[Message] = []
        too_large = None
        while end - begin >= 4:
            length = data[begin + 1] << 16 | data[begin + 2] << 8 | data[begin + 3]
            until = begin + 4 + length
            if until > end or length > self._limit:
                too_large = self._too_large(data[begin : begin + 4])
                break
            messages.append(Message(HANDSHAKE, data[begin], bytes(data[begin + 4 : until])))
            begin = until
        self._head = bytes(data[begin : min(begin + 4, end)])
        if self._head:
            self._have = end - begin
            self._begun, self._skip = record, size - self._have
        else:
            self.position = self._at
        yield from messages
        if too_large is not None:
            raise too_large

    def _gathered(self, stop: int) -> bytes:
        """The bodies of the records that an unfinished message goes over, from its first byte on."""
        held, at = self._held, self._begun - self._start
        bodies = []
        while at < stop:
            end = at + 5 + (held[at + 3] << 8 | held[at + 4])
            bodies.append(held[at + 5 : end])
            at = end
        return b"".join(bodies)[self._skip :]


def _guess(first: int) -> str:
    if first in b"GPHDOTC":
        return " (plain HTTP?)"
    if first == ord("S"):
        return " (SSH?)"
    return ""


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
    """Raises Malformed."""
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
    """Raises Malformed."""
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
