"""PROXY headers of both versions: whole, cut anywhere, with a tail, wrong in every part, and any bytes at all."""

import pytest
from harness.cuts import every_way, outcome
from harness.proxy_headers import (
    AWS,
    CRC32C,
    LOCAL,
    NOOP,
    PROXY,
    SIGNATURE,
    TCP4,
    TCP6,
    UDP4,
    UDP6,
    UNIQUE_ID,
    UNIX,
    UNSPEC,
    addresses,
    binary,
    for_client,
    line,
    tlv,
    with_sum,
)
from hypothesis import example, given
from hypothesis import strategies as st

from ogw.wire.proxy_protocol import LARGEST, LONGEST_LINE, BadHeader, Header, NoHeader, crc32c, read_header

CONNECT = b"CONNECT a.example:443 HTTP/1.1\r\n\r\n"
UNIQUE = tlv(UNIQUE_ID, b"7F000001:C351_7F000001:1F90_6A5B0000_0001")
# The specification's own longest lines of version 1 (section 2.1), and how HAProxy, nginx and AWS write theirs.
FOUR = b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"
SIX = b"PROXY TCP6 " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535\r\n"
UNKNOWN = SIX.replace(b"TCP6", b"UNKNOWN")
SPOKEN = {
    "1: IPv4": (line("192.0.2.1"), ("192.0.2.1", 50001)),
    "1: the longest IPv4": (FOUR, ("255.255.255.255", 65535)),
    "1: IPv6": (line("2001:DB8::1", "::1"), ("2001:db8::1", 50001)),
    "1: the longest IPv6": (SIX, ("ffff:" * 7 + "ffff", 65535)),
    "1: IPv4 in IPv6": (line("::ffff:192.0.2.1", "::ffff:192.0.2.2"), ("192.0.2.1", 50001)),
    "1: port 0": (line("192.0.2.1", port=0), ("192.0.2.1", 0)),
    "1: unknown": (b"PROXY UNKNOWN\r\n", None),
    "1: unknown, the longest of all": (UNKNOWN, None),
    "1: unknown, with anything": (b"PROXY UNKNOWN \x00\xff\n\r x\r\n", None),
    "2: IPv4": (for_client("192.0.2.1"), ("192.0.2.1", 50001)),
    "2: IPv6": (for_client("2001:db8::1"), ("2001:db8::1", 50001)),
    "2: IPv4 in IPv6": (for_client("::ffff:192.0.2.1"), ("192.0.2.1", 50001)),
    "2: UDP": (binary(addresses("192.0.2.1"), UDP4), ("192.0.2.1", 50001)),
    "2: UDP, IPv6": (binary(addresses("2001:db8::1"), UDP6), ("2001:db8::1", 50001)),
    "2: UNIX": (binary(b"/run/a".ljust(108, b"\0") * 2, UNIX), None),
    "2: UNSPEC": (binary(b"", UNSPEC), None),
    "2: UNSPEC, with anything": (binary(b"\x01\xff\xff anything", UNSPEC), None),
    "2: LOCAL": (binary(b"", UNSPEC, LOCAL), None),
    "2: LOCAL, with addresses": (binary(addresses("192.0.2.1"), TCP4, LOCAL), None),
    "2: LOCAL, of no family": (binary(b"anything", 0xFF, LOCAL), None),
    "2: LOCAL, too short for its family": (binary(b"\x01", TCP6, LOCAL), None),
    "2: TLVs": (for_client("192.0.2.1", UNIQUE, tlv(NOOP, bytes(9)), tlv(AWS, b"\x01vpce-1")), ("192.0.2.1", 50001)),
    "2: an empty TLV": (for_client("192.0.2.1", tlv(NOOP, b"")), ("192.0.2.1", 50001)),
    "2: a checksum": (with_sum(for_client("192.0.2.1")), ("192.0.2.1", 50001)),
    "2: a checksum behind TLVs": (with_sum(for_client("2001:db8::1", UNIQUE)), ("2001:db8::1", 50001)),
    "2: a checksum of LOCAL": (with_sum(binary(b"", UNSPEC, LOCAL)), None),
    "2: the largest": (for_client("192.0.2.1", tlv(NOOP, bytes(LARGEST - 16 - 12 - 3))), ("192.0.2.1", 50001)),
}
WRONG = {
    "1: no family": (b"PROXY \r\n", "not TCP4 or TCP6"),
    "1: another family": (b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n", "not TCP4 or TCP6"),
    "1: a small letter": (b"PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n", "not TCP4 or TCP6"),
    "1: nearly unknown": (b"PROXY UNKNOWNS\r\n", "not TCP4 or TCP6"),
    "1: two blanks": (b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", "not TCP4 or TCP6"),
    "1: a blank at its end": (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", "not TCP4 or TCP6"),
    "1: no port": (b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", "not TCP4 or TCP6"),
    "1: a zero in front of a port": (b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", "not TCP4 or TCP6"),
    "1: a plus": (b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", "not TCP4 or TCP6"),
    "1: a port too large": (b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", "larger than 65535"),
    "1: the other port too large": (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 99999\r\n", "larger than 65535"),
    "1: a zone": (b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "not TCP4 or TCP6"),
    "1: a short address": (b"PROXY TCP4 127.1 192.0.2.2 1 2\r\n", "not one of IPv4"),
    "1: a zero in front of a number": (b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", "not one of IPv4"),
    "1: IPv6 as IPv4": (b"PROXY TCP4 ::1 192.0.2.2 1 2\r\n", "not one of IPv4"),
    "1: IPv4 as IPv6": (b"PROXY TCP6 ::1 192.0.2.2 1 2\r\n", "not one of IPv6"),
    "1: a wrong destination": (b"PROXY TCP4 192.0.2.1 192.0.2.256 1 2\r\n", "not one of IPv4"),
    "1: without an end": (b"PROXY TCP4 " + b"1" * 200, "no end in its first 107 bytes"),
    "1: unknown, without an end": (b"PROXY UNKNOWN " + b"\r" * 200, "no end in its first 107 bytes"),
    "1: a byte too long": (UNKNOWN[:-2] + b"x\r\n", "no end in its first 107 bytes"),
    "2: version 1": (binary(addresses("192.0.2.1"), command=0x11), "of version 1"),
    "2: version 3": (binary(addresses("192.0.2.1"), command=0x31), "of version 3"),
    "2: another command": (binary(addresses("192.0.2.1"), command=0x22), "the command of its header is 2"),
    "2: another family": (binary(bytes(300), 0x41), "0x41, which are none"),
    "2: another transport": (binary(bytes(300), 0x13), "0x13, which are none"),
    "2: a family without a transport": (binary(bytes(300), 0x10), "0x10, which are none"),
    "2: IPv4, too short": (binary(bytes(11)), "28 bytes.* than|27 bytes, too few"),
    "2: IPv6, too short": (binary(bytes(35), TCP6), "too few for its addresses"),
    "2: UNIX, too short": (binary(bytes(215), UNIX), "too few for its addresses"),
    "2: a byte too large": (binary(b"", size=LARGEST - 15), f"at most {LARGEST}"),
    "2: as large as can be said": (binary(b"", size=0xFFFF), f"at most {LARGEST}"),
    "2: a TLV without a length": (for_client("192.0.2.1", b"\x04\x00"), "longer than the header"),
    "2: a TLV that is cut": (for_client("192.0.2.1", tlv(NOOP, bytes(9))[:-1]), "longer than the header"),
    "2: a wrong checksum": (with_sum(for_client("192.0.2.1", UNIQUE), spoiled=1), "checksum .* is wrong"),
    "2: a wrong checksum of LOCAL": (with_sum(binary(b"", UNSPEC, LOCAL), spoiled=1), "checksum .* is wrong"),
    "2: a short checksum": (for_client("192.0.2.1", tlv(CRC32C, bytes(3))), "not of four bytes"),
    "2: two checksums": (with_sum(with_sum(for_client("192.0.2.1"))), "two checksums"),
}
# How other things begin; the last byte is the first that no header has there.
OTHERS = [b"C", b"\x16", b"X", b"PO", b"PROXX", b"PROXY\r", b"p", b"\r\n\n", b"\r\n\r\nC", b"\r\n\r\n\x00\r\nQUIT\r"]


@pytest.mark.parametrize("case", SPOKEN)
@pytest.mark.parametrize("rest", [b"", CONNECT, b"\x00" * 300], ids=["alone", "with a head", "with anything"])
def test_its_client_is_told_however_it_is_cut(case, rest):
    data, client = SPOKEN[case]
    if len(data) < 1000:
        assert every_way(read_header, data + rest) == Header(client, rest)
    else:
        assert read_header(data[:-1]) is None
    assert read_header(data + rest) == Header(client, rest)
    assert all(read_header(data[:cut]) is None for cut in range(0, len(data), 1 + len(data) // 500))


def test_the_longest_lines_are_as_long_as_the_specification_says():
    assert (len(FOUR), len(SIX), len(UNKNOWN)) == (56, 104, LONGEST_LINE)


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("rest", [b"", CONNECT], ids=["alone", "with a head"])
def test_a_wrong_one_is_told_so_however_it_is_cut(case, rest):
    data, says = WRONG[case]
    kind, _text = every_way(read_header, data + rest)
    assert kind is BadHeader
    with pytest.raises(BadHeader, match=says) as raised:
        read_header(data + rest)
    assert raised.value.detail.isascii() and raised.value.detail.isprintable()


@pytest.mark.parametrize("data", OTHERS)
def test_what_is_none_is_told_at_its_first_wrong_byte(data):
    assert every_way(read_header, data + CONNECT)[0] is NoHeader
    assert read_header(data[:-1]) is None
    with pytest.raises(NoHeader):
        read_header(data)


def test_the_checksum_is_that_of_the_standards_test_vectors():
    """RFC 3720, appendix B.4."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(b"") == 0


def test_no_changed_bit_passes_a_checksum():
    header = with_sum(for_client("192.0.2.1", UNIQUE))
    its_type = len(header) - 7  # changed, it is no checksum any more
    for bit in (bit for bit in range(8 * len(header)) if bit // 8 != its_type):
        changed = bytearray(header)
        changed[bit // 8] ^= 1 << bit % 8
        kind_or_value = outcome(read_header, bytes(changed))
        assert not isinstance(kind_or_value, Header), bit


ADDRESSES = st.ip_addresses().map(str)
PORTS = st.integers(0, 65535)


@given(ADDRESSES, PORTS, st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40)), max_size=4), st.booleans())
def test_what_was_written_is_read(source, port, tlvs, summed):
    made = for_client(source, *(tlv(kind, value) for kind, value in tlvs if kind != CRC32C), port=port)
    written = with_sum(made) if summed else made
    expected = source.removeprefix("::ffff:") if "." in source else source
    for header in (written, line(source, "::1" if ":" in source else "127.0.0.1", port)):
        found = read_header(header + CONNECT)
        assert found is not None and found.rest == CONNECT
        client, its_port = found.client
        assert its_port == port and (client == expected or source.startswith("::ffff:"))


BEGINNINGS = st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ::1 ", b"PROXY UNKNOWN", SIGNATURE])
FAMILIES, COMMANDS = st.sampled_from([TCP4, TCP6, UNIX, UNSPEC]), st.sampled_from([LOCAL, PROXY])
BINARY = st.builds(binary, st.binary(max_size=260), FAMILIES, COMMANDS).map(lambda one: one[len(SIGNATURE) :])
WORDS = st.lists(st.sampled_from([b" ", b"\r\n", b"192.0.2.1", b"::1", b"1", b"65536", b"TCP4", b"\r"])).map(b"".join)
TAILS = st.one_of(st.binary(max_size=260), BINARY, WORDS)


@given(BEGINNINGS, TAILS)
@example(SIGNATURE, b"\x21\x11\x00\x0c" + bytes(12))
def test_any_bytes_are_a_header_or_a_documented_error_however_they_are_cut(begin, tail):
    every_way(read_header, begin + tail)
