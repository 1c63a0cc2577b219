"""The PROXY protocol, versions 1 and 2: the header with which a load balancer says for whom it connects.

Its specification is doc/proxy-protocol.txt of HAProxy. A header stands alone in front of all else that is sent, so what
comes behind it is the `rest`. Who may send one is decided elsewhere: nothing here says that it is true.
"""

import re
from collections.abc import Callable
from functools import cache
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple, Optional

from ogw.wire.address import Address, unmapped

LONGEST_LINE = 107  # bytes of a header of version 1, its CRLF included
LARGEST = 16 * 1024  # bytes of one of version 2; those with a client's certificate in them have a few thousand

_LINE = b"PROXY "
_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED = 16  # bytes up to the addresses: the signature, version and command, family and transport, length
_LOCAL, _PROXY = 0, 1
# Bytes of the addresses, by family and transport; no other of those is valid.
_ADDRESSES = {0x00: 0, 0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}
_CRC32C = 0x03  # the type of a TLV (a type, two bytes of length, a value)

_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: |\Z)")  # whatever stands behind it is to be ignored
_PORT = rb"(0|[1-9][0-9]{0,4})"
_TCP = re.compile(rb"PROXY TCP([46]) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) " + _PORT + rb" " + _PORT + rb"\Z")


class BadHeader(Exception):
    """It is no PROXY header, or a wrong one. `detail` is a part of a sentence for the log; it quotes nothing."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NoHeader(BadHeader):
    """What comes begins otherwise."""

    def __init__(self) -> None:
        super().__init__("it begins with no PROXY header")


class Header(NamedTuple):
    """
    client  (IP text, port) of whom the connection is made for; IPv4 is IPv4 in any form. None where the header leaves
            that to the connection itself: it is the balancer's own (LOCAL), or the family is another than IP
    rest    what came behind it
    """

    client: Optional[tuple[str, int]]
    rest: bytes


def read_header(data: bytes) -> Optional[Header]:
    """The header that `data`, all that came so far, begins with; None while it is incomplete.

    Raises BadHeader, or NoHeader at the first byte that none has there.
    """
    if data[: len(_SIGNATURE)] == _SIGNATURE:
        return _binary(data)
    if data[: len(_LINE)] == _LINE:
        return _text(data)
    if _SIGNATURE.startswith(data) or _LINE.startswith(data):
        return None
    raise NoHeader


def _text(data: bytes) -> Optional[Header]:
    """Version 1 (section 2.1): a line."""
    end = data.find(b"\r\n", 0, LONGEST_LINE)
    if end < 0:
        if len(data) < LONGEST_LINE:
            return None
        raise BadHeader(f"its header of version 1 has no end in its first {LONGEST_LINE} bytes")
    line, rest = data[:end], data[end + 2 :]
    if _UNKNOWN.match(line):
        return Header(None, rest)
    parts = _TCP.match(line)
    if parts is None:
        raise BadHeader("its header of version 1 is not TCP4 or TCP6, two addresses and two ports")
    family, *addresses, port, other_port = (part.decode() for part in parts.groups())
    if int(port) > 65535 or int(other_port) > 65535:
        raise BadHeader("a port in its header is larger than 65535")
    kind: Callable[[str], Address] = IPv4Address if family == "4" else IPv6Address
    try:
        source, _destination = map(kind, addresses)
    except ValueError:
        raise BadHeader(f"an address in its header is not one of IPv{family}") from None
    return Header((str(unmapped(source)), int(port)), rest)


def _binary(data: bytes) -> Optional[Header]:
    """Version 2 (section 2.2). It is judged in the order of its bytes, so the same bytes cut anywhere fare the same."""
    if len(data) <= len(_SIGNATURE):
        return None
    version, command = data[12] >> 4, data[12] & 15
    if version != 2:
        raise BadHeader(f"its header is of version {version}; 1 and 2 are read")
    if command not in (_LOCAL, _PROXY):
        raise BadHeader(f"the command of its header is {command}, which is neither LOCAL nor PROXY")
    if len(data) < _FIXED:
        return None
    family, end = data[13], _FIXED + int.from_bytes(data[14:16])
    tlvs = _FIXED + _ADDRESSES.get(family, LARGEST)
    if end > LARGEST:
        raise BadHeader(f"its header has {end} bytes; at most {LARGEST} are read")
    if command == _PROXY and family not in _ADDRESSES:
        raise BadHeader(f"the family and transport of its header are 0x{family:02x}, which are none")
    if command == _PROXY and end < tlvs:
        raise BadHeader(f"its header has {end} bytes, too few for its addresses")
    if len(data) < end:
        return None
    header = data[:end]
    client = _client(family, header) if command == _PROXY else None
    _check_sum(header, tlvs, client is not None)
    return Header(client, data[end:])


def _client(family: int, header: bytes) -> Optional[tuple[str, int]]:
    if family >> 4 == 1:
        return str(IPv4Address(header[16:20])), int.from_bytes(header[24:26])
    if family >> 4 == 2:
        return str(unmapped(IPv6Address(header[16:32]))), int.from_bytes(header[48:50])
    return None


# The checksum of a header of version 2, where it has one (section 2.2.4).


def _check_sum(header: bytes, tlvs: int, is_strict: bool) -> None:
    """
    tlvs       where they begin
    is_strict  they must be well formed. What a header without a client has behind its fixed part is to be ignored
    """
    try:
        place = _place_of_sum(header, tlvs)
    except BadHeader:
        if is_strict:
            raise
        return
    if place and int.from_bytes(header[place : place + 4]) != crc32c(header[:place] + bytes(4) + header[place + 4 :]):
        raise BadHeader("the checksum (CRC32c) of its header is wrong: it was changed on the way")


def _place_of_sum(header: bytes, begin: int) -> int:
    """Where its four bytes are; 0 for none."""
    place = 0
    while begin < len(header):
        value = begin + 3
        end = value + int.from_bytes(header[begin + 1 : value])
        if value > len(header) or end > len(header):
            raise BadHeader("a field (TLV) of its header is longer than the header")
        if header[begin] == _CRC32C:
            if place or end - value != 4:
                raise BadHeader("its header has two checksums (CRC32c), or one that is not of four bytes")
            place = value
        begin = end
    return place


def crc32c(data: bytes) -> int:
    """The checksum of RFC 9260, appendix A. A library would be a dependency more, for some sixty bytes a connection."""
    table, register = _table(), 0xFFFFFFFF
    for byte in data:
        register = table[(register ^ byte) & 0xFF] ^ register >> 8
    return register ^ 0xFFFFFFFF


@cache
def _table() -> list[int]:
    table = []
    for number in range(256):
        for _bit in range(8):
            number = number >> 1 ^ 0x82F63B78 * (number & 1)
        table.append(number)
    return table
