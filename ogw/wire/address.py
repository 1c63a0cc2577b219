"""IP addresses, of which IPv4's have two forms."""

from ipaddress import IPv4Address, IPv6Address
from typing import Union

Address = Union[IPv4Address, IPv6Address]


def unmapped(address: Address) -> Address:
    """IPv4 as IPv4, also where it came inside IPv6 (RFC 4291, section 2.5.5.2)."""
    return getattr(address, "ipv4_mapped", None) or address
