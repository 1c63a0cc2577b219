"""Step 3 of the path, one connection attempt: a socket that begins to connect to an address, and what came of it."""

import _socket
import errno
import os
from typing import Optional

from ogw.policy.decision import Reason
from ogw.tunnel.descriptors import NO_DESCRIPTORS
from ogw.tunnel.ports import IP_LOCAL_PORT_RANGE

KEEPALIVE_PROBES = 4
UNDER_WAY = (0, errno.EINPROGRESS)  # connect(2): it is writable once it is connected, or could not be
NO_PORTS = "every local port is in use for this address; widen net.ipv4.ip_local_port_range (sysctl)"

_REASONS = {
    errno.ECONNREFUSED: Reason.CONNECTION_REFUSED,
    errno.ECONNRESET: Reason.CONNECTION_RESET,
    errno.ETIMEDOUT: Reason.CONNECTION_TIMEOUT,
    **dict.fromkeys(NO_DESCRIPTORS, Reason.NO_DESCRIPTORS),
}


class AttemptFailed(Exception):
    """The attempt failed: the reason, and for the log what stands behind the address."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def open_socket(address: str, ports: Optional[bytes]) -> _socket.socket:
    """A socket that may connect to the address. Raises AttemptFailed.

    ports  the local ports to choose from (tunnel/ports.py); None: those of the kernel
    """
    try:
        family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
        sock = _socket.socket(family, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK)
    except OSError as error:
        if error.errno in NO_DESCRIPTORS:
            raise AttemptFailed(Reason.NO_DESCRIPTORS, f"{error.strerror}: raise the limit of open files") from None
        raise AttemptFailed(Reason.UNREACHABLE, f"{error.strerror}") from None
    sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    if ports is not None:
        sock.setsockopt(_socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, ports)
    return sock


def begin(address: str, port: int, ports: Optional[bytes]) -> _socket.socket:
    """A socket that connects; it is writable once it did, or could not. Raises AttemptFailed."""
    sock = open_socket(address, ports)
    code = connect(sock, address, port)
    if code in UNDER_WAY:
        return sock
    sock.close()
    raise failure(code)


def connect(sock: _socket.socket, address: str, port: int) -> int:
    """What connect(2) says, as an errno. It never raises."""
    try:
        return sock.connect_ex((address, port))
    except _socket.gaierror:
        return errno.ENXIO  # an IPv6 address of the hosts file, with the zone of an interface that is not there


def settle(sock: _socket.socket) -> None:
    """It is writable: it is connected now. Else it is closed, and AttemptFailed raised."""
    code = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
    if code:
        sock.close()
        raise failure(code)


def failure(code: int) -> AttemptFailed:
    """What came of it, where connect(2) or the socket's error says this (an errno)."""
    detail = NO_PORTS if code == errno.EADDRNOTAVAIL else os.strerror(code)
    return AttemptFailed(_REASONS.get(code, Reason.UNREACHABLE), detail)


def keep_alive(sock: _socket.socket, seconds: float) -> None:
    """Let the kernel ask every `seconds` whether the peer is still there; 0: never."""
    if seconds:
        whole = max(1, round(seconds))
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1)
        sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_KEEPIDLE, whole)
        sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_KEEPINTVL, max(1, whole // KEEPALIVE_PROBES))
        sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
