"""Headers of the PROXY protocol, made by hand from its specification: another writer than the reader that is tested."""

import socket
import struct

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
LOCAL, PROXY = 0x20, 0x21
UNSPEC, TCP4, UDP4, TCP6, UDP6, UNIX = 0x00, 0x11, 0x12, 0x21, 0x22, 0x31
CRC32C, NOOP, UNIQUE_ID, AWS = 0x03, 0x04, 0x05, 0xEA


def line(source, destination="127.0.0.1", port=50001, other=8080):
    """Of version 1."""
    family = "TCP6" if ":" in source else "TCP4"
    return f"PROXY {family} {source} {destination} {port} {other}\r\n".encode()


def addresses(source, destination=None, port=50001, other=8080):
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    destination = destination or ("::1" if ":" in source else "127.0.0.1")
    packed = socket.inet_pton(family, source) + socket.inet_pton(family, destination)
    return packed + struct.pack(">HH", port, other)


def tlv(kind, value):
    return struct.pack(">BH", kind, len(value)) + value


def binary(block=b"", family=TCP4, command=PROXY, size=None):
    """Of version 2: `block` is what stands behind the fixed part, the addresses first."""
    return SIGNATURE + struct.pack(">BBH", command, family, len(block) if size is None else size) + block


def for_client(source, *tlvs, port=50001):
    """Of version 2, as a load balancer sends it for this client."""
    return binary(addresses(source, port=port) + b"".join(tlvs), TCP6 if ":" in source else TCP4)


def with_sum(header, spoiled=0):
    """Of version 2, with the checksum of all of it as one more TLV; `spoiled` is added to it."""
    begin, block = header[:14], header[16:]
    whole = begin + struct.pack(">H", len(block) + 7) + block + tlv(CRC32C, bytes(4))
    return whole[:-4] + struct.pack(">I", (bitwise_crc32c(whole) + spoiled) & 0xFFFFFFFF)


def bitwise_crc32c(data):
    """By its definition, a bit at a time (RFC 9260, appendix A)."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _bit in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF
