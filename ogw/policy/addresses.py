"""Which resolved addresses may be dialed: the address guard and its one table."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Optional

from ogw.policy.decision import ALLOW, Decision, Reason
from ogw.policy.networks import Network, Networks
from ogw.wire.address import Address

# Not what ipaddress.is_global says: it calls NAT64, 6to4, multicast and ::ffff:100.64.0.1 global.
REFUSED: tuple[tuple[str, str], ...] = (
    ("0.0.0.0/8", "this network"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "shared by a provider"),
    ("127.0.0.0/8", "loopback"),
    ("168.63.129.16/32", "the cloud platform's own"),
    ("169.254.0.0/16", "link-local"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "protocol assignments"),
    ("192.0.2.0/24", "documentation"),
    ("192.88.99.0/24", "6to4 relays"),
    ("192.168.0.0/16", "private"),
    ("198.18.0.0/15", "benchmarks"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("100::/64", "discard only"),
    ("64:ff9b:1::/48", "local NAT64"),
    ("2001::/23", "protocol assignments"),
    ("2001:db8::/32", "documentation"),
    ("3fff::/20", "documentation"),
    ("5f00::/16", "segment routing"),
    ("fc00::/7", "private"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
)

# IPv6 forms that carry an IPv4 address: the network, and how far above the lowest bit that address begins.
CARRIERS: tuple[tuple[IPv6Network, int], ...] = (
    (IPv6Network("::ffff:0:0/96"), 0),  # v4-mapped
    (IPv6Network("::ffff:0:0:0/96"), 0),  # v4-translated (SIIT, RFC 2765)
    (IPv6Network("::/96"), 0),  # v4-compatible
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (IPv6Network("2002::/16"), 80),  # 6to4
)
# The same, by the upper half of the interface identifier, in any network (ISATAP, RFC 5214, section 6.1).
ISATAP = (0x00005EFE, 0x02005EFE)

_carriers = tuple(
    (128 - network.prefixlen, int(network.network_address) >> (128 - network.prefixlen), shift)
    for network, shift in CARRIERS
)
_table: Networks[tuple[str, str]] = Networks((ip_network(entry[0]), entry) for entry in REFUSED)


def carried(address: Address) -> Optional[IPv4Address]:
    """The IPv4 address inside an IPv6 one, or None."""
    if isinstance(address, IPv6Address):
        number = int(address)
        for below, prefix, shift in _carriers:
            if number >> below == prefix:
                return IPv4Address((number >> shift) & 0xFFFFFFFF)
        if (number >> 32) & 0xFFFFFFFF in ISATAP:
            return IPv4Address(number & 0xFFFFFFFF)
    return None


class AddressGuard:
    """Says whether an address may be dialed; `allowed` networks may be although the table refuses them."""

    def __init__(self, allowed: Iterable[Network] = ()) -> None:
        self._allowed: Networks[bool] = Networks((network, True) for network in allowed)
        self._refusing_cached = lru_cache(maxsize=4096)(self._refusing)

    def judge(self, address: str, to: tuple[Network, ...] = ()) -> Decision:
        """`address` is IP text of a resolver or a target; `to` holds more networks that are allowed this time."""
        refusing = self._refusing_cached(address, to)
        return ALLOW if refusing is None else self._refused(address, *refusing)

    @staticmethod
    def _refused(address: str, network: str, what: str) -> Decision:
        advice = f"to={address} in its host rule or allowed-target-network would allow it"
        return Decision(False, Reason.ADDRESS_NOT_ALLOWED, f"{address} is in {network} ({what}); {advice}")

    def _refusing(self, text: str, to: tuple[Network, ...]) -> Optional[tuple[str, str]]:
        """The entry of the table that refuses it.

        Whoever allows an IPv6 network allows what is carried in it; who allows an IPv4 network allows what carries its
        addresses, except where the table refuses the carrier itself.
        """
        address = ip_address(text)
        if self._allows(address, to):
            return None
        refused = _table.find(address)
        if not refused:
            inside = carried(address)
            if inside is not None and not self._allows(inside, to):
                refused = _table.find(inside)
        return refused[0] if refused else None

    def _allows(self, address: Address, to: tuple[Network, ...]) -> bool:
        return bool(self._allowed.find(address)) or any(address in network for network in to)
