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

REFUSED = (
    "does not accept the Kerberos ticket; look that its keytab has the newest key of HTTP/{host}, that the account may "
    "use it, and that its clock is right"
)


class Negotiate:
    """With the gateway's own ticket, not with the user name and the password."""

    name = "negotiate"
    rank = 4
    on_one_connection = False
    remembers = False
    afresh = True

    def __init__(self, tickets: Tickets) -> None:
        self.tickets = tickets

    def lacks(self, _relay: Relay, _known: Optional[Credentials]) -> str:
        return ""

    def identity(self, _relay: Relay, _known: Optional[Credentials]) -> bytes:
        """Nothing: a ticket that is refused locks no account, and the next one may be taken."""
        return b""

    def begin(self, relay: Relay, _target: Target, _known: Optional[Credentials]) -> "NegotiateExchange":
        return NegotiateExchange(relay.proxy.target.host, self.tickets)


class NegotiateExchange:
    """One token answers for the gateway; where it is refused, so may another one be that is made of a newer ticket."""

    def __init__(self, host: str, tickets: Tickets) -> None:
        self._host = host
        self._tickets = tickets
        self._sent: Optional[Held] = None

    def first(self) -> Optional[bytes]:
        """Without a ticket the relay proxy is asked all the same: it may want none."""
        try:
            return self._token()
        except KerberosFailed:
            return None

    def answer(self, _challenge: Challenge) -> bytes:
        """The challenge of a refusal may have a token in it, which does not say why in words that may be trusted."""
        try:
            if self._sent is not None and not self._tickets.renewed(self._sent, self._host):
                raise AuthFailed(Reason.RELAY_TICKET_REFUSED, REFUSED.format(host=self._host), refused=True)
            return self._token()
        except KerberosFailed as error:
            # Another relay proxy may want no Kerberos.
            raise AuthFailed(error.reason, error.what, refused=error.is_refusal, go_on=True) from None

    def _token(self) -> bytes:
        token, self._sent = self._tickets.token(self._host)
        return b"Negotiate " + base64.b64encode(token)

    def accepted(self, _headers: Fields) -> None:
        if self._sent is not None:
            self._sent.accepted.add(self._host)
