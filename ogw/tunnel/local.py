"""Which addresses are this machine's own: dialing the gateway's own port there is a loop."""

import _socket
from ipaddress import ip_address


def is_local(address: str) -> bool:
    """Whether an address is one of this machine's: only those can be bound to. Nothing is sent."""
    parsed = ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
    if mapped is not None:
        parsed = mapped
    if parsed.is_unspecified:
        return True
    try:
        with _Bound(_socket.AF_INET6 if parsed.version == 6 else _socket.AF_INET) as sock:
            sock.bind((str(parsed), 0))
    except OSError:
        return False
    return True


class _Bound:
    """A UDP socket that is closed after use; `_socket` has no context manager of its own."""

    def __init__(self, family: int) -> None:
        self._sock = _socket.socket(family, _socket.SOCK_DGRAM)

    def __enter__(self) -> _socket.socket:
        return self._sock

    def __exit__(self, *exception: object) -> None:
        self._sock.close()
