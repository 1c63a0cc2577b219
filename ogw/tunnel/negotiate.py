"""Step 3 of the path, its other way: Kerberos, as HTTP's Negotiate (RFC 4559)."""

import base64
from typing import Optional

from ogw.policy.decision import Reason
from ogw.tunnel.authentication import AuthFailed
from ogw.tunnel.kerberos import KerberosFailed
from ogw.tunnel.relay import Relay
from ogw.tunnel.tickets import Held, Tickets
from ogw.wire.challenges import Challenge
from ogw.wire.connect import Fields, Target
from ogw.wire.relay_proxy import Credentials


class Negotiate:
    name = "negotiate"
    rank = 4
    on_one_connection = False

    def __init__(self, tickets: Tickets) -> None:
        self.tickets = tickets

    def begin(self, relay: Relay, _target: Target, _known: Optional[Credentials]) -> "NegotiateExchange":
        return NegotiateExchange(relay, self.tickets)


class NegotiateExchange:
    """A token answers for itself: each tunnel sends one, unasked where the operator named this scheme."""

    def __init__(self, relay: Relay, tickets: Tickets) -> None:
        self._host = relay.proxy.target.host
        self._tickets = tickets
        self._sent: Optional[Held] = None

    def first(self) -> Optional[bytes]:
        try:
            token, self._sent = self._tickets.token(self._host)
        except KerberosFailed as error:
            raise AuthFailed(error.reason, error.what, go_on=True) from None
        return b"Negotiate " + base64.b64encode(token)

    def answer(self, challenge: Challenge) -> bytes:
        header = self.first() if self._sent is None or self._is_renewed(self._sent) else None
        if header is None:
            raise AuthFailed(Reason.RELAY_REFUSED, REFUSED)
        return header

    def accepted(self, _headers: Fields) -> None:
        pass
