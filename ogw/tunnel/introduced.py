"""A tunnel whose client a load balancer has introduced; it took the connection, and makes ours."""

import _socket
from typing import Any

from ogw.tunnel.shared import Shared
from ogw.tunnel.tunnel import Tunnel


class Introduced(Tunnel):
    """As any other, with two things more that only some know: all others do without what these cost.

    via       address:port of the balancer; "" where the client came itself, and only took long to say so
    accepted  when the connection was, by the monotonic clock
    """

    __slots__ = ("via",)

    def __init__(
        self,
        client: _socket.socket,
        address: tuple[Any, ...],
        tunnel_id: str,
        shared: Shared,
        network: str,
        via: str,
        accepted: float,
    ) -> None:
        super().__init__(client, address, tunnel_id, shared, network)
        self.via = via
        self.accepted = accepted
