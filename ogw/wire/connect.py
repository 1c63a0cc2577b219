"""CONNECT heads, both ways: bytes to a Request or a Response, and our answers to bytes.

Readers take all that came so far and say a value, None for "need more", or one HeadError. They judge in the order of
the bytes, so the same bytes cut anywhere give the same outcome. What stands behind a head is its `rest`.
"""

import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple, Optional

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
LONGEST_NAME = 253  # RFC 1035, section 2.3.4, as text without the final dot

Fields = list[tuple[bytes, bytes]]

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110, section 5.6.2
_LINE = re.compile(rb"[\t -~\x80-\xff]*+")
_FIELD = re.compile(rb"(" + _TOKEN + rb"):(.*+)\Z", re.DOTALL)
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-~]+) HTTP/1\.([01])\Z")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: (.*+))?\Z", re.DOTALL)
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


class BadTarget(HeadError):
    """The request-target is not `host:port`."""


class BadResponse(HeadError):
    """Not an HTTP/1 response head."""


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
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Request(NamedTuple):
    """A CONNECT request: header names in lower case, values without the white space around them."""

    target: Target
    version: str
    headers: Fields
    rest: bytes


class Response(NamedTuple):
    """A relay proxy's answer; `phrase` is printable ASCII."""

    status: int
    phrase: str
    headers: Fields
    rest: bytes


def read_request(data: bytes, limit: int) -> Optional[Request]:
    """The CONNECT request that `data` begins with (RFC 9112, sections 2 to 6; RFC 9110, section 9.3.6).

    None while it is incomplete. Raises NotConnect, BadRequest, BadTarget, or HeadTooLarge when its first `limit` bytes
    hold no blank line.
    """
    lines = _lines(data[:limit], BadRequest)
    target: Optional[Target] = None
    version = b""
    headers: Fields = []
    for line, end in lines:
        if target is not None:
            if not line:
                return Request(target, f"1.{version.decode()}", headers, data[end:])
            field = _field(line, BadRequest)
            _judge_field(field, headers)
            headers.append(field)
        elif line or end > 2:  # one empty line before the request is nothing (RFC 9112, section 2.2)
            target, version = _request_line(line)
    if len(data) >= limit:
        raise HeadTooLarge(f"the head is larger than {limit} bytes (head-max-size)")
    return None


def read_response(data: bytes, limit: int) -> Optional[Response]:
    """The response head that `data` begins with; None while it is incomplete. Raises BadResponse or HeadTooLarge."""
    status_line: Optional[re.Match[bytes]] = None
    headers: Fields = []
    for line, end in _lines(data[:limit], BadResponse):
        if status_line is None:
            status_line = _STATUS_LINE.match(line)
            if status_line is None:
                raise BadResponse(f"not an HTTP/1 status line: {quoted(line)}")
        elif line:
            headers.append(_field(line, BadResponse))
        else:
            phrase = (status_line[2] or b"").decode("ascii", "replace").replace("\ufffd", "?").replace("\t", " ")
            return Response(int(status_line[1]), phrase.strip()[:100], headers, data[end:])
    if len(data) >= limit:
        raise HeadTooLarge(f"the answer's head is larger than {limit} bytes")
    return None


def _lines(data: bytes, error: type[HeadError]) -> Iterator[tuple[bytes, int]]:
    """Each complete line without its CRLF, and where the next one begins. A forbidden byte raises where it stands."""
    begin = 0
    while True:
        stop = _LINE.match(data, begin).end()  # type: ignore[union-attr]  # it matches nothing, too
        mark = data[stop : stop + 2]
        if mark == b"\r\n":
            yield data[begin:stop], stop + 2
            begin = stop + 2
        elif mark in (b"", b"\r"):
            return
        else:
            raise error(_forbidden(mark[0], stop))


def _forbidden(byte: int, position: int) -> str:
    if position == 0 and byte == 0x16:
        return (
            "a TLS handshake instead of an HTTP request: the client must be given the gateway as http://, not https://"
        )
    if byte == 0x0A:
        return f"a line feed without a carriage return at byte {position}"
    if byte == 0x0D:
        return f"a carriage return without a line feed at byte {position}"
    return f"a control character (0x{byte:02x}) at byte {position}"


def _request_line(line: bytes) -> tuple[Target, bytes]:
    parts = _REQUEST_LINE.match(line)
    if parts is None:
        raise BadRequest(_what_instead(line))
    method, target, minor = parts.groups()
    if method != b"CONNECT":
        if method.upper() == b"CONNECT":
            raise NotConnect(f"the method is {quoted(method)}; CONNECT is written in capitals")
        raise NotConnect(
            f"the method is {quoted(method)}; only CONNECT is served: use the gateway for https, not for http"
        )
    return parse_target(target), minor


def _what_instead(line: bytes) -> str:
    """Why a line is no HTTP/1 request line."""
    if line.startswith(b"SSH-"):
        return "an SSH client, not an HTTP request"
    words = line.split(b" ")
    if len(words) == 3 and words[2].startswith(b"HTTP/"):
        if words[2] in (b"HTTP/2.0", b"HTTP/2", b"HTTP/3"):
            return f"{words[2].decode()} is not spoken here, HTTP/1.0 and HTTP/1.1 are"
        if not re.match(rb"HTTP/1\.[01]\Z", words[2]):
            return f"the version is {quoted(words[2])}; HTTP/1.0 and HTTP/1.1 are spoken here"
    if len(words) in (1, 2) and re.match(rb"[A-Z]+\Z", words[0]):
        return "a request line without a version (HTTP/0.9)"
    return f"not a request line: {quoted(line)}"


def _field(line: bytes, error: type[HeadError]) -> tuple[bytes, bytes]:
    parts = _FIELD.match(line)
    if parts is not None:
        return parts[1].lower(), parts[2].strip(b" \t")
    if line[0] in b" \t":
        raise error("a header line that continues the one before it (obs-fold, RFC 9112, section 5.2)")
    name = line.split(b":", 1)[0]
    if name != line and name[-1:] in (b" ", b"\t"):
        raise error(f"white space before the colon of a header: {quoted(line)}")
    raise error(f"not a header line: {quoted(line)}")


def _judge_field(field: tuple[bytes, bytes], before: Fields) -> None:
    name, value = field
    if name == b"host":
        if any(name == b"host" for name, _ in before):
            raise BadRequest("two Host headers")
    elif name == b"content-length":
        if value != b"0":
            raise BadRequest(f"a CONNECT request has no body, but Content-Length is {quoted(value)}")
    elif name == b"transfer-encoding":
        raise BadRequest(f"a CONNECT request has no body, but Transfer-Encoding is {quoted(value)}")


@lru_cache(maxsize=4096)
def parse_target(text: bytes) -> Target:
    """An authority-form request-target (RFC 9112, section 3.2.3). Raises BadTarget."""
    host, colon, port = text.rpartition(b":")
    if text[:1] == b"/" or text == b"*":
        raise BadTarget(f"the target is {quoted(text)}; CONNECT wants host:port (authority-form)")
    if b"/" in text:
        raise BadTarget(f"the target {quoted(text)} is a URL or has a path; CONNECT wants host:port (authority-form)")
    if b"@" in text:
        raise BadTarget("the target carries user information; CONNECT wants host:port alone")
    if not colon or text.endswith(b"]"):
        raise BadTarget(f"the target {quoted(text)} has no port")
    if not _PORT.match(port) or int(port) > 65535:
        raise BadTarget(f"the port of the target {quoted(text)} is not a number from 1 to 65535")
    try:
        name, address = parse_host(host)
    except ValueError as error:
        raise BadTarget(f"the host of the target {quoted(text)} {error}") from None
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


def quoted(raw: bytes, longest: int = 80) -> str:
    """Foreign bytes as a log line may show them: in quotes, escaped and cut."""
    shown = raw[:longest].decode("latin-1").encode("unicode_escape").decode("ascii").replace('"', '\\"')
    return f'"{shown}"' + ("..." if len(raw) > longest else "")


def basic_credentials(user: str, password: str) -> bytes:
    """The value of Proxy-Authorization (RFC 7617, UTF-8)."""
    return b"Basic " + b64encode(f"{user}:{password}".encode())


def connect_request(target: Target, fields: Sequence[tuple[str, bytes]]) -> bytes:
    """The head of a CONNECT to a relay proxy (RFC 9110, section 9.3.6)."""
    lines = [f"CONNECT {target} HTTP/1.1".encode(), f"Host: {target}".encode()]
    lines += [name.encode() + b": " + value for name, value in fields]
    return b"\r\n".join([*lines, b"", b""])


def answer(status: int, phrase: str, headers: Sequence[tuple[str, str]], body: str) -> bytes:
    """A whole response of ours, after which the connection is closed.

    Raises ValueError for a phrase or a header that would break out of its line.
    """
    content = body.encode()
    lines = [
        f"HTTP/1.1 {status} {phrase}",
        *(f"{name}: {value}" for name, value in headers),
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(content)}",
        "Connection: close",
    ]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a line break in a phrase or header")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + content


def proxy_status(error: str, reason: str, event: int, tunnel: str, received_status: Optional[int] = None) -> str:
    """The value of Proxy-Status (RFC 9209): its error type, our reason token, event number and tunnel id.

    received_status  the status of the relay proxy's answer (section 2.1.5)
    """
    received = "" if received_status is None else f"; received-status={received_status}"
    return f'ogw; error={error}{received}; reason={reason}; event={event}; tunnel="{tunnel}"'
