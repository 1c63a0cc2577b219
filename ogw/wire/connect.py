"""CONNECT heads, both ways: bytes to a Request or a Response, and what we ask a relay proxy to bytes.

Readers say a value, None for "need more", or one HeadError. They judge in the order of the bytes, so the same bytes cut
anywhere give the same outcome. The functions take all that came so far; the classes take it piece by piece and keep
their place, so that a peer that sends a byte at a time costs no more than its bytes. What stands behind a head is its
`rest`.
"""

import re
from base64 import b64encode
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple, Optional

from ogw.wire.lines import LINE, Lines, forbidden
from ogw.wire.place import place
from ogw.wire.protocols import (
    WEBSOCKET,
    begins_proxy_header,
    begins_tls,
    instead_of_answer,
    instead_of_connect,
    instead_of_request,
)
from ogw.wire.quotation import beginning, carries_user, quoted, target_shown

LONGEST_NAME = 253  # RFC 1035, section 2.3.4, as text without the final dot
MOST_FIELDS = 100  # header lines of a head

Fields = list[tuple[bytes, bytes]]

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110, section 5.6.2
_ANY_LINE = re.compile(rb"[^\r\n]*+")
_FIELD = re.compile(rb"(" + _TOKEN + rb"):(.*+)\Z", re.DOTALL)
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-~]+) HTTP/1\.[01]\Z")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: (.*+))?\Z", re.DOTALL)
# What nearly every peer sends, as a whole: what these take, the classes take in the same way. A request is one in which
# nothing is to be judged: no announced body, one Host at the most. (A repeat around what looks ahead must not be
# possessive: up to Python 3.11.4 it loses its place.)
_LINE = _TOKEN + rb"+:[\t -~\x80-\xff]*+\r\n"
_JUDGED = rb"(?i:host|transfer-encoding|content-length(?!:[\t ]*+0[\t ]*+\r)):"
_OTHERS = rb"(?:(?!%b)%b){0,%d}" % (_JUDGED, _LINE, MOST_FIELDS // 2 - 1)
_REQUEST = re.compile(rb"CONNECT ([!-~]++) HTTP/1\.[01]\r\n(%b(?:(?=(?i:host):)%b%b)?)\r\n" % (_OTHERS, _LINE, _OTHERS))
_RESPONSE = re.compile(
    rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: ([\t -~\x80-\xff]*+))?\r\n((?:%b){0,%d}+)\r\n" % (_LINE, MOST_FIELDS)
)
_FIELD_LINE = re.compile(rb"([^:]++):[ \t]*+([^\r]*+)\r\n")
_UPGRADE = re.compile(rb"upgrade[ \t]*:[ \t]*websocket(?![\w-])", re.IGNORECASE)
_NAME_OF_FIELD = re.compile(_TOKEN + rb"\Z")
_ONLY_CONNECT = "only CONNECT is served"
_TWO_EMPTY_LINES = b"\r\n\r\n"
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\Z")
# What inet_aton(3) would take for an address: its last part is a decimal, octal or hexadecimal number.
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\Z")
_PORT = re.compile(rb"[1-9][0-9]{0,4}\Z")


class HeadError(Exception):
    """A head that is not taken. `detail` is one English sentence for the log; what it quotes is escaped and cut."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NotConnect(HeadError):
    """Well-formed HTTP/1, but another method."""


class BadRequest(HeadError):
    """Not an HTTP/1 request head."""


class ProxyHeader(BadRequest):
    """A header of the PROXY protocol stands where none is read."""


class BadTarget(HeadError):
    """The request-target is not `host:port`."""


class BadResponse(HeadError):
    """Not an HTTP/1 response head."""


class TlsAnswer(BadResponse):
    """It begins as TLS does."""


class SocksAnswer(BadResponse):
    """It begins as the answers of SOCKS 5 do."""


class HeadTooLarge(HeadError):
    """No end of the head within the limit."""


class Target(NamedTuple):
    """Where a client wants to go: made once, then matched, resolved, compared, sent on and logged.

    host     lower-case name without a final dot, or the canonical text of an IP address without brackets
    address  set only where host is an IP address
    """

    host: str
    port: int
    address: Optional[IPv4Address | IPv6Address] = None

    def __str__(self) -> str:
        return place(self.host, self.port)


class Request(NamedTuple):
    """A CONNECT request; its header lines are as they came, each with its CRLF."""

    target: Target
    header_lines: bytes
    rest: bytes

    @property
    def headers(self) -> Fields:
        """Names in lower case, values without the white space around them: made for those few who ask for them."""
        return _fields(self.header_lines)


class Response(NamedTuple):
    """A relay proxy's answer; `phrase` is printable ASCII."""

    status: int
    phrase: str
    headers: Fields
    rest: bytes


def read_request(data: bytes, limit: int) -> Optional[Request]:
    """The CONNECT request that `data` begins with (RFC 9112, sections 2 to 6; RFC 9110, section 9.3.6).

    None while it is incomplete. Raises NotConnect, BadRequest, ProxyHeader, BadTarget, or HeadTooLarge when its first
    `limit` bytes hold no blank line, or too many header lines.
    """
    whole = _REQUEST.match(data, 0, limit)
    if whole is None:
        return RequestReader(limit).feed(data)
    return Request(parse_target(whole[1]), whole[2], data[whole.end() :])


def read_response(data: bytes, limit: int) -> Optional[Response]:
    """The response head that `data` begins with; None while it is incomplete. Raises BadResponse or HeadTooLarge."""
    return ResponseReader(limit).feed(data)


class RequestReader(Lines):
    """Reads the CONNECT request of one client, piece by piece, as `read_request` does."""

    __slots__ = ("_begin_of_fields", "_headers", "_other", "_target")

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._target: Optional[Target] = None
        self._other: Optional[NotConnect] = None  # what the request is instead, once its first line says so
        self._begin_of_fields = 0
        self._headers: Fields = []

    def feed(self, more: bytes) -> Optional[Request]:
        """What came next; the request once it is complete. Raises as `read_request` does."""
        try:
            return self._read(more)
        except HeadError:
            if self._other is not None:  # whatever is wrong with its other lines
                raise self._other from None
            raise

    def end(self) -> str:
        """Nothing more comes: what the bytes begin as, instead of a request; "" for what is not known.

        Raises NotConnect or ProxyHeader where they are enough to say that.
        """
        if self._other is not None:
            raise self._other
        if self._target is None and begins_proxy_header(self.data):
            raise ProxyHeader(instead_of_request(bytes(self.data)))
        return "" if self._target else instead_of_request(bytes(self.data)) or instead_of_request(self.rest)

    def _read(self, more: bytes) -> Optional[Request]:
        headers = self._headers
        for line in self.lines(more):
            if self._other is not None:
                if not line:
                    raise self._other
                if _UPGRADE.match(line):
                    self._other = NotConnect(f"a WebSocket without TLS (ws://); {_ONLY_CONNECT}: {WEBSOCKET}")
                    raise self._other
            elif self._target is None:
                # One empty line before the request is nothing (RFC 9112, section 2.2). What comes behind two tells
                # what they are: a PROXY header's begin.
                if line or self.begin > len(_TWO_EMPTY_LINES):
                    self._read_first(line)
            elif line:
                if len(headers) == MOST_FIELDS:
                    raise HeadTooLarge(f"the head has more than {MOST_FIELDS} header lines")
                field = _field(line, len(headers) + 1)
                _judge_field(field, headers)
                headers.append(field)
            else:
                return Request(self._target, bytes(self.data[self._begin_of_fields : self.begin - 2]), self.rest)
        if self.is_full:
            raise HeadTooLarge(f"the head is larger than {self.limit} bytes (head-max-size)")
        return None

    def _read_first(self, line: bytes) -> None:
        self._require_one_empty_line()
        try:
            self._target = _request_line(line)
            self._begin_of_fields = self.begin
        except NotConnect as other:
            if not line.startswith(b"GET /"):
                raise
            self._other = other  # it may be a WebSocket, which its headers tell

    def _require_one_empty_line(self) -> None:
        if self.data.startswith(_TWO_EMPTY_LINES):
            raise BadRequest("not a request line, but two empty lines")

    def judge_end(self, line: bytes, byte: int, position: int) -> None:
        if self._target is None and begins_proxy_header(self.data):
            raise ProxyHeader(instead_of_request(bytes(self.data)))
        self._require_one_empty_line()
        instead = instead_of_request(line + bytes((byte,))) if self.begin <= 2 else ""
        raise BadRequest(instead or forbidden(byte, position))


class ResponseReader(Lines):
    """Reads one answer of a relay proxy, piece by piece.

    Strict in its status line, its size and where it ends; its other lines open nothing and close nothing, so they may
    be as odd as they like: what is no header line is left out, with what continues it; what continues a header is of
    its value, behind a blank (obs-fold, RFC 9112, section 5.2).
    """

    __slots__ = ("_headers", "_phrase", "_pieces", "_status")

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._status = 0
        self._phrase = ""
        self._headers: list[tuple[bytes, list[bytes]]] = []  # values in the pieces that they are folded in
        self._pieces: list[bytes] = []  # of the line before; nobody's where that is no header

    def feed(self, more: bytes) -> Optional[Response]:
        """What came next; the answer once its head is complete. Raises BadResponse, TlsAnswer or HeadTooLarge."""
        whole = None if self.data else _RESPONSE.match(more, 0, self.limit)
        if whole is not None:
            return Response(int(whole[1]), _phrase(whole[2]), _fields(whole[3]), more[whole.end() :])
        for line in self.lines(more):
            if not self._status:
                parts = _STATUS_LINE.match(line)
                if parts is None:
                    raise BadResponse(instead_of_answer(line) or "not an HTTP/1 status line" + beginning(line))
                self._status, self._phrase = int(parts[1]), _phrase(parts[2])
            elif not line:
                headers = [(name, b" ".join(pieces).strip(b" ")) for name, pieces in self._headers]
                return Response(self._status, self._phrase, headers, self.rest)
            elif line.isspace():
                raise BadResponse("a line of white space, which may be the end of the head or not")
            else:
                self._take(line)
        if self.is_full:
            raise HeadTooLarge(f"the answer's head is larger than {self.limit} bytes")
        return None

    def _take(self, line: bytes) -> None:
        """A header line, or what stands in its place."""
        if line[0] in b" \t":
            self._pieces.append(line.strip(b" \t"))
            return
        name, colon, value = line.partition(b":")
        name, self._pieces = name.rstrip(b" \t"), [value.strip(b" \t")]
        if colon and _NAME_OF_FIELD.match(name):
            self._headers.append((name.lower(), self._pieces))

    def end_of_line(self, end: int) -> int:
        line = _ANY_LINE if self._status else LINE
        return line.match(self.data, self.looked, end).end()  # type: ignore[union-attr]  # it may match nothing

    def judge_end(self, line: bytes, byte: int, position: int) -> None:
        if byte == 0x0A and self._status:
            if line:
                return
            raise BadResponse("an empty line without a carriage return, which may be the end of the head or not")
        if position == 0 and begins_tls(byte):
            raise TlsAnswer("it answers in TLS")
        if position == 0 and byte == 5:
            raise SocksAnswer("it is a SOCKS 5 proxy")
        instead = "" if self._status else instead_of_answer(line + bytes((byte,)))
        raise BadResponse(instead or forbidden(byte, position))


def _phrase(raw: Optional[bytes]) -> str:
    return (raw or b"").decode("ascii", "replace").replace("\ufffd", "?").replace("\t", " ").strip()[:100]


def _request_line(line: bytes) -> Target:
    parts = _REQUEST_LINE.match(line)
    if parts is None:
        kind = ProxyHeader if begins_proxy_header(line) else BadRequest
        raise kind(_what_instead(line))
    method, target = parts.groups()
    if method != b"CONNECT":
        if method.upper() == b"CONNECT":
            raise NotConnect(f"the method is {quoted(method)}; CONNECT is written in capitals")
        raise NotConnect(f"the method is {quoted(method)}; {_ONLY_CONNECT}: {instead_of_connect(target)}")
    return parse_target(target)


def _what_instead(line: bytes) -> str:
    """Why a line is no HTTP/1 request line."""
    instead = instead_of_request(line)
    if instead:
        return instead
    words = line.split(b" ")
    if len(words) == 3 and words[2].startswith(b"HTTP/"):
        if words[2] in (b"HTTP/2.0", b"HTTP/2", b"HTTP/3"):
            return f"{words[2].decode()} is not spoken here, HTTP/1.0 and HTTP/1.1 are"
        if not re.match(rb"HTTP/1\.[01]\Z", words[2]):
            version = f" is {quoted(words[2])}" if re.match(rb"HTTP/[0-9.]{1,8}\Z", words[2]) else " is none"
            return f"the version{version}; HTTP/1.0 and HTTP/1.1 are spoken here"
        if words[0] == b"CONNECT" and not words[1].isascii():
            return "the target is not ASCII; its host is written in its A-label form (xn--...)"
    if len(words) in (1, 2) and re.match(rb"[A-Z]+\Z", words[0]):
        return "a request line without a version (HTTP/0.9)"
    return "not a request line" + beginning(line)


def _field(line: bytes, number: int) -> tuple[bytes, bytes]:
    """Name and value of the header line with this number; what is wrong with it is told without its value."""
    parts = _FIELD.match(line)
    if parts is not None:
        return parts[1].lower(), parts[2].strip(b" \t")
    if line[0] in b" \t":
        raise BadRequest("a header line that continues the one before it (obs-fold, RFC 9112, section 5.2)")
    name, colon, _value = line.partition(b":")
    if not colon:
        raise BadRequest(f"not a header line: number {number} has no colon")
    bare = name.rstrip(b" \t")
    if not _NAME_OF_FIELD.match(bare):
        raise BadRequest(f"not a header line: number {number} has no valid name in front of its colon")
    raise BadRequest(f"white space before the colon of a header: {quoted(bare)}")


def _judge_field(field: tuple[bytes, bytes], before: Fields) -> None:
    name, value = field
    if name == b"host" and any(name == b"host" for name, _ in before):
        raise BadRequest("two Host headers")
    if name == b"content-length" and value != b"0":
        raise BadRequest("a CONNECT request has no body, but this one has a Content-Length that is not 0")
    if name == b"transfer-encoding":
        raise BadRequest("a CONNECT request has no body, but this one has a Transfer-Encoding")


def _fields(lines: bytes) -> Fields:
    """Of header lines that are well formed."""
    return [(name.lower(), value.rstrip(b" \t")) for name, value in _FIELD_LINE.findall(lines)]


@lru_cache(maxsize=4096)  # each a name's length at most: what is no target raises, and is not kept
def parse_target(text: bytes) -> Target:
    """An authority-form request-target (RFC 9112, section 3.2.3). Raises BadTarget."""
    host, colon, port = text.rpartition(b":")
    if carries_user(text):
        raise BadTarget("the target carries user information; CONNECT wants host:port alone")
    if text[:1] == b"/" or text == b"*":
        raise BadTarget("the target is a path or a star; CONNECT wants host:port (authority-form)")
    if b"/" in text:
        raise BadTarget(f"{target_shown(text)} is a URL or has a path; CONNECT wants host:port (authority-form)")
    if not colon or text.endswith(b"]"):
        raise BadTarget(f"{target_shown(text)} has no port")
    if not _PORT.match(port) or int(port) > 65535:
        raise BadTarget(f"the port of {target_shown(text)} is not a number from 1 to 65535")
    try:
        name, address = parse_host(host)
    except ValueError as error:
        raise BadTarget(f"the host of {target_shown(text)} {error}") from None
    return Target(name, int(port), address)


def parse_host(text: bytes) -> tuple[str, Optional[IPv4Address | IPv6Address]]:
    """The canonical host of a name or an address (IPv6 in brackets), and the address if it is one.

    Nothing is interpreted: no octal, hexadecimal, short or integer form of IPv4, no percent escapes, no zone. Raises
    ValueError with the end of a sentence that begins with "the host ...".
    """
    if text[:1] == b"[" and text[-1:] == b"]":
        try:
            inside = text[1:-1].decode("ascii")
            six = IPv6Address(inside)
        except ValueError:
            raise ValueError("is not an IPv6 address") from None
        if six.scope_id is not None:
            raise ValueError("has a zone")
        return str(six), six
    if b":" in text:
        raise ValueError("has a colon; an IPv6 address stands in brackets")
    try:
        name = text.decode("ascii").lower()
    except UnicodeDecodeError:
        raise ValueError("is not ASCII; write it in its A-label form (xn--...)") from None
    if _NUMERIC.match(name.removesuffix(".")):
        try:
            four = IPv4Address(name)
        except ValueError:
            raise ValueError("is a number, but not an IPv4 address of four decimal parts") from None
        return str(four), four
    name = name.removesuffix(".")
    if not _NAME.match(name) or len(name) > LONGEST_NAME:
        raise ValueError("is not a valid host name")
    return name, None


def basic_credentials(user: str, password: str) -> bytes:
    """The value of Proxy-Authorization (RFC 7617, UTF-8)."""
    return b"Basic " + b64encode(f"{user}:{password}".encode())


def connect_request(target: Target, fields: Sequence[tuple[str, bytes]]) -> bytes:
    """The head of a CONNECT to a relay proxy (RFC 9110, section 9.3.6)."""
    authority = str(target).encode()
    lines = [b"CONNECT " + authority + b" HTTP/1.1", b"Host: " + authority]
    lines += [name.encode() + b": " + value for name, value in fields]
    return b"\r\n".join([*lines, b"", b""])
