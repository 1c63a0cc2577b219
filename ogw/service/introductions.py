"""Connections of load balancers, until their PROXY header has said who the client is: then they go to the tunnels.

A header is believed of those alone that proxy-protocol-from names, and of them nothing is taken without one: with both
allowed, one would have to guess what comes. All others go to the tunnels at once.
"""

import _socket
import time
from functools import partial
from typing import Any, Optional

from gevent.hub import get_hub

from ogw.policy.decision import Reason
from ogw.policy.index import parse_client
from ogw.policy.networks import Networks
from ogw.service.handshakes import Handshakes
from ogw.service.listener import RECEIVE_SIZE, Take
from ogw.service.tunnels import Tunnels
from ogw.settings.settings import Config
from ogw.tunnel.introduced import Introduced
from ogw.tunnel.loop import READ
from ogw.tunnel.refusal import Refused
from ogw.wire.place import place
from ogw.wire.proxy_protocol import BadHeader, Header, NoHeader, read_header


class _Introduction:
    """A connection of a balancer, with what came of it so far."""

    __slots__ = ("accepted", "address", "client", "data", "readable", "timer")

    def __init__(self, client: _socket.socket, address: tuple[Any, ...], data: bytes) -> None:
        self.client = client
        self.address = address
        self.data = data
        self.accepted = time.monotonic()
        self.readable: Any = None
        self.timer: Any = None


class Introductions:
    """Those of one worker. Nearly all have said their header when they are accepted, and never wait here.

    handshakes  where clients go at a tls:// place: the header comes before the TLS
    door        what the listener gives connections to under the configuration in force; where that names no balancer it
                is the tunnels themselves, or the handshakes, and nobody pays for what is here
    """

    def __init__(self, tunnels: Tunnels, handshakes: Optional[Handshakes] = None) -> None:
        self._tunnels = tunnels
        self._handshakes = handshakes
        self._next: Take = tunnels.take if handshakes is None else handshakes.take
        self._loop = get_hub().loop
        self._waiting: dict[_Introduction, None] = {}  # the oldest first
        self.door: Take
        self.go_on_under(tunnels.config)

    def go_on_under(self, config: Config) -> None:
        """For connections that are accepted from now on."""
        self._head_timeout = config.head_timeout
        self._balancers = Networks((network, True) for network in config.proxy_protocol_from)
        self.door = self.take if config.proxy_protocol == "required" else self._next

    @property
    def are_waiting(self) -> bool:
        return bool(self._waiting)

    def take(self, client: _socket.socket, address: tuple[Any, ...], first: bytes) -> None:
        """Somebody is here, a balancer or not. Called in the hub, as all that follows."""
        if not self._balancers.find(parse_client(address[0])):
            self._next(client, address, first)
            return
        one = _Introduction(client, address, first)
        if not self._is_settled(one):
            self._wait(one)

    def end(self, reason: Reason, detail: str) -> None:
        """Nobody is waited for any longer. Who has begun a header is refused so; who has said nothing asks nothing."""
        for one in tuple(self._waiting):
            if one.data:
                self._refuse(one, reason, detail)
            else:
                self._close(one)

    def _is_settled(self, one: _Introduction) -> bool:
        """Whether what came says what becomes of it. Then it is no more of ours."""
        try:
            header = read_header(one.data)
        except NoHeader:
            ip = one.address[0]
            detail = (
                f"{ip} is in proxy-protocol-from, but sent no PROXY header: switch it on in that load balancer "
                f"(haproxy: send-proxy-v2; nginx: proxy_protocol on), or take {ip} out of proxy-protocol-from"
            )
            self._refuse(one, Reason.PROXY_HEADER_MISSING, detail)
        except BadHeader as error:
            self._refuse(one, Reason.PROXY_HEADER_MALFORMED, error.detail)
        else:
            if header is None:
                return False
            self._introduce(one, header)
        return True

    def _introduce(self, one: _Introduction, header: Header) -> None:
        rest: Optional[bytes] = header.rest
        if not rest:
            # Probes leave behind their header. Of the others most have sent the head by now, too, which would be waited
            # for next.
            try:
                rest = one.client.recv(RECEIVE_SIZE) or None
            except BlockingIOError:
                pass
            except OSError:
                rest = None
        if rest is None:
            self._close(one)
        elif header.client is None:
            self._hand_on(one, one.address, rest)
        else:
            self._hand_on(one, header.client, rest, via=place(*one.address[:2]))

    # How one leaves.

    def _hand_on(
        self,
        one: _Introduction,
        address: tuple[Any, ...],
        rest: bytes,
        via: str = "",
        objection: Optional[Refused] = None,
    ) -> None:
        self._forget(one)
        if self._handshakes is not None and objection is None:
            self._handshakes.take(one.client, address, rest, via, one.accepted)
            return
        kind = partial(Introduced, via=via, accepted=one.accepted)
        self._tunnels.take(one.client, address, rest, kind, objection)

    def _refuse(self, one: _Introduction, reason: Reason, detail: str) -> None:
        """As a client of its own, which has the answer and a line like any other."""
        self._hand_on(one, one.address, b"", objection=Refused(reason, detail))

    def _close(self, one: _Introduction) -> None:
        self._forget(one)
        one.client.close()

    def _forget(self, one: _Introduction) -> None:
        if one in self._waiting:
            del self._waiting[one]
            for watcher in (one.readable, one.timer):
                watcher.stop()
                watcher.close()
            if not self._waiting:
                self._tunnels.empty.set()

    # What is not complete is waited for.

    def _wait(self, one: _Introduction) -> None:
        if len(self._waiting) >= self._tunnels.spare_sockets() // 2 and self._waiting:
            detail = "too many connections of load balancers wait for the rest of their PROXY header"
            self._refuse(next(iter(self._waiting)), Reason.NO_DESCRIPTORS, detail)
        one.readable = self._loop.io(one.client.fileno(), READ)
        one.timer = self._loop.timer(self._head_timeout)
        self._waiting[one] = None
        one.readable.start(self._hear, one)
        one.timer.start(self._expire, one)

    def _hear(self, one: _Introduction) -> None:
        try:
            more = one.client.recv(RECEIVE_SIZE)
        except BlockingIOError:
            return
        except OSError:
            self._close(one)
            return
        one.data += more
        if more:
            self._is_settled(one)
        elif one.data:
            detail = "the connection was closed in the middle of its PROXY header"
            self._refuse(one, Reason.PROXY_HEADER_MALFORMED, detail)
        else:
            self._close(one)

    def _expire(self, one: _Introduction) -> None:
        if one.data:
            seconds = f"{self._head_timeout:g} s"
            detail = f"the PROXY header was not complete after {seconds} (head-timeout)"
            self._refuse(one, Reason.HEAD_TIMEOUT, detail)
        else:
            self._close(one)
