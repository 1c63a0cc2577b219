"""Step 3 of the path, its outcome: a connected socket, or why there is none."""

import _socket
from collections.abc import Callable
from typing import NamedTuple, Optional

from ogw.policy.decision import Reason
from ogw.tunnel.encrypted import Leg
from ogw.wire.connect import Target
from ogw.wire.place import place


class DialError(Exception):
    """The target was not reached: the reason, and for the log a sentence in `detail`.

    status     that of the relay proxy's answer, if it was one that refused
    addresses  the first of those that are not allowed (IP text), where that is the reason
    offered    the schemes of the relay proxy's 407
    """

    def __init__(
        self,
        reason: Reason,
        detail: str,
        status: Optional[int] = None,
        addresses: tuple[str, ...] = (),
        offered: tuple[str, ...] = (),
    ) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.status = status
        self.addresses = addresses
        self.offered = offered


class UnknownName(DialError):
    """A DNS server knows that the name does not exist, or has no address."""


class Upstream(NamedTuple):
    """An open upstream: a connected, non-blocking socket, the caller's from now on.

    address  "address:port" of the other end
    rest     what came behind the relay proxy's answer: the tunnel's first bytes down
    closed   to be called after the socket was closed, where somebody wants to know
    judged   the target's own address, which the guard has judged; "" where a relay proxy resolved its name
    leg      encrypts it; it may still send for some seconds after the socket was closed
    """

    socket: _socket.socket
    address: str
    rest: bytes = b""
    closed: Optional[Callable[[], None]] = None
    judged: str = ""
    leg: Optional[Leg] = None


def reached(sock: _socket.socket, address: str, port: int) -> Upstream:
    """A target that was dialed straight, at this address."""
    return Upstream(sock, place(address, port), judged=address)


def too_slow(target: Target, seconds: float, story: str = "") -> DialError:
    """How a dial ends at its deadline; `story` goes on in the sentence."""
    return DialError(Reason.CONNECTION_TIMEOUT, f"{target} did not answer within {seconds:g} s (dial-timeout){story}")
