"""Where the gateway itself listens: dialing there is a loop, or opens a door that is not for clients."""

import _socket
import pathlib
from collections.abc import Iterable
from ipaddress import ip_address

from ogw.policy.addresses import carried
from ogw.tunnel.descriptors import NO_DESCRIPTORS
from ogw.wire.address import Address, unmapped

NONLOCAL_BIND = {version: pathlib.Path(f"/proc/sys/net/ipv{version}/ip_nonlocal_bind") for version in (4, 6)}


class OwnPlaces:
    """The (IP text, port) pairs of the gateway's own listeners, the admin's among them."""

    def __init__(self, places: Iterable[tuple[str, int]] = ()) -> None:
        self._by_port: dict[int, list[Address]] = {}
        for host, port in places:
            self._by_port.setdefault(port, []).append(unmapped(ip_address(host)))

    def hold(self, address: str, port: int) -> bool:
        """Whether who dials this address and port comes to the gateway itself, now; addresses come and go."""
        listening = self._by_port.get(port)
        if listening is None:  # as nearly always
            return False
        dialed = ip_address(address)
        inside = carried(dialed)
        return any(_leads_to(form, listening) for form in (dialed, inside) if form is not None)


def _leads_to(dialed: Address, listening: list[Address]) -> bool:
    if dialed.is_unspecified:
        return True  # the kernel takes it for this machine
    if any(int(own) == int(dialed) and own.version == dialed.version for own in listening):
        return True
    return any(own.is_unspecified for own in listening) and is_local(str(dialed))


def is_local(address: str) -> bool:
    """Whether an address is one of this machine's: only those can be bound to. Nothing is sent.

    Where any address can be (net.ipv4.ip_nonlocal_bind, which those who share an address like to set), it is one that
    is reached from itself.
    """
    parsed = unmapped(ip_address(address))
    if parsed.is_unspecified or parsed.is_loopback:
        return True
    try:
        sock = _socket.socket(_socket.AF_INET6 if parsed.version == 6 else _socket.AF_INET, _socket.SOCK_DGRAM)
    except OSError as error:
        return error.errno in NO_DESCRIPTORS  # who knows
    try:
        if _binds_anything(parsed.version):
            sock.connect((str(parsed), 9))
        else:
            sock.bind((str(parsed), 0))
        return int(ip_address(sock.getsockname()[0])) == int(parsed)
    except OSError:
        return False
    finally:
        sock.close()


def _binds_anything(version: int) -> bool:
    try:
        return NONLOCAL_BIND[version].read_text().strip() != "0"
    except (OSError, ValueError):
        return False
