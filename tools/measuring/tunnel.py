"""The begin of a tunnel, as a client makes it: in steps for a Loop."""

import errno
import re
import socket
from collections.abc import Generator
from typing import Any, NamedTuple, Optional

from measuring.session import receive, send

IP_BIND_ADDRESS_NO_PORT = 24  # ip(7): the port is chosen when the destination is known, so that it may serve several
LONGEST_HEAD = 16 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ?([ -~]*)")


class Refused(Exception):
    """The gateway's answer is no 200."""


class Way(NamedTuple):
    """Where the gateway listens, and the target of the CONNECT; None: it leads to its server without being asked.

    tls  it speaks TLS there
    """

    gateway: tuple[str, int]
    target: Optional[str]
    tls: bool = False


def new_socket(way: Way) -> socket.socket:
    """One that does not block. Raises OSError."""
    family = socket.AF_INET6 if ":" in way.gateway[0] else socket.AF_INET
    return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


def connect(sock: socket.socket, way: Way, own: str = "") -> None:
    """Begin to, from `own` if that is an address. Raises OSError."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if own:
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((own, 0))
    error = sock.connect_ex(way.gateway)
    if error not in (0, errno.EINPROGRESS):
        raise OSError(error, "")


def open_tunnel(sock: Any, way: Way) -> Generator[None, None, bytes]:
    """What came behind the gateway's 200, which the socket, or a Leg over it, leads to. Raises OSError, Refused."""
    if way.target is None:
        return b""
    yield from send(sock, f"CONNECT {way.target} HTTP/1.1\r\nHost: {way.target}\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        if len(head) > LONGEST_HEAD:
            raise Refused("the gateway answers something that is no head of HTTP")
        head += yield from receive(sock)
    status = _STATUS.match(head)
    if status is None or status[1] != b"200":
        line = head.split(b"\r\n")[0][:100].decode("ascii", "backslashreplace")
        raise Refused(f"the gateway answered {line.partition(' ')[2] if status else line}")
    return head.partition(b"\r\n\r\n")[2]
