"""Networks: which of many contain an address, at a cost that does not grow with their number."""

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network
from typing import Generic, TypeVar, Union

from ogw.language.messages import gettext as _
from ogw.wire.address import Address, unmapped

Network = Union[IPv4Network, IPv6Network]
Value = TypeVar("Value")

MAPPED = 96  # the prefix length of the IPv6 network that holds IPv4's addresses (RFC 4291, section 2.5.5.2)
_PREFIX = re.compile(r"(?:0|[1-9][0-9]{0,2})\Z")


class Networks(Generic[Value]):
    """Values by network. A look-up is one dictionary access per prefix length in use."""

    def __init__(self, entries: Iterable[tuple[Network, Value]] = ()) -> None:
        self._by_length: dict[tuple[int, int], dict[int, list[Value]]] = {}
        for network, value in entries:
            self.add(network, value)

    def add(self, network: Network, value: Value) -> None:
        shift = network.max_prefixlen - network.prefixlen
        numbers = self._by_length.setdefault((network.version, shift), {})
        numbers.setdefault(int(network.network_address) >> shift, []).append(value)

    def find(self, address: Address) -> list[Value]:
        """The values of all networks that contain the address."""
        number, version = int(address), address.version
        values: list[Value] = []
        for (of_version, shift), numbers in self._by_length.items():
            if of_version == version:
                values.extend(numbers.get(number >> shift, ()))
        return values


def merged(networks: Iterable[Network]) -> list[str]:
    """All that is in them, as the fewest networks: the same texts, however it was written."""
    networks = set(networks)
    four = (network for network in networks if isinstance(network, IPv4Network))
    six = (network for network in networks if isinstance(network, IPv6Network))
    return sorted(map(str, (*collapse_addresses(four), *collapse_addresses(six))))


def parse_network(text: str) -> Network:
    """A network, or an address as a network of one. Raises ValueError with a sentence on what is wrong and right.

    One of IPv4 inside IPv6 (::ffff:10.1.0.0/112) is one of IPv4: clients and targets are looked for as that. A wider
    one (::/0) is one of IPv6 alone.
    """
    address, slash, length = text.partition("/")
    try:
        parsed = ip_address(address.removeprefix("[").removesuffix("]") if address[:1] == "[" else address)
    except ValueError:
        raise ValueError(_("it is not an IP address or network, such as 10.1.0.0/16 or fd00::/8")) from None
    if getattr(parsed, "scope_id", None) is not None:
        raise ValueError(_("an address with a zone is not a network"))
    if slash and (not _PREFIX.match(length) or int(length) > parsed.max_prefixlen):
        raise ValueError(_("the part behind / is a prefix length from 0 to {most}").format(most=parsed.max_prefixlen))
    plain = unmapped(parsed)
    if plain is not parsed and (not slash or int(length) >= MAPPED):
        parsed, length = plain, str(int(length) - MAPPED) if slash else ""
    network = ip_network(f"{parsed}/{length}" if slash else parsed, strict=False)
    if network.network_address != parsed:
        raise ValueError(_("it has bits behind its prefix; {network} is the network").format(network=network))
    return network
