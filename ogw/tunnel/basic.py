"""Step 3 of the path, its other way: a user name and its password, as they are (RFC 7617). No gevent here."""

from typing import Optional

from ogw.policy.decision import Reason
from ogw.tunnel.authentication import NEEDS_USER, AuthFailed
from ogw.tunnel.relay import Relay
from ogw.wire.challenges import Challenge
from ogw.wire.connect import Fields, Target
from ogw.wire.relay_proxy import Credentials

NOT_ACCEPTED = "does not accept the user name or the password; check relay-proxy-username and relay-proxy-password-file"


def identity_of(relay: Relay, known: Optional[Credentials]) -> bytes:
    """Of a user name and a password at a relay proxy, whichever scheme they are sent with."""
    return b"" if known is None else str(relay.proxy).encode() + b" " + known.header


class Basic:
    """Sent unasked, if begun with.

    only_encrypted  not over plain HTTP: whoever stands in the way, or for the relay proxy, could ask for it
    """

    name = "basic"
    rank = 1
    on_one_connection = False
    remembers = False
    afresh = False

    def __init__(self, only_encrypted: bool = False) -> None:
        self._only_encrypted = only_encrypted

    def lacks(self, relay: Relay, known: Optional[Credentials]) -> str:
        if known is None:
            return NEEDS_USER
        if self._only_encrypted and not relay.proxy.encrypted:
            return "is sent only to https:// with relay-proxy-auth = auto; where you trust the way there, name basic"
        return ""

    def identity(self, relay: Relay, known: Optional[Credentials]) -> bytes:
        return identity_of(relay, known)

    def begin(self, _relay: Relay, _target: Target, known: Optional[Credentials]) -> "BasicExchange":
        assert known is not None
        return BasicExchange(known)


class BasicExchange:
    def __init__(self, known: Credentials) -> None:
        self._known = known
        self._is_sent = False

    def first(self) -> bytes:
        self._is_sent = True
        return self._known.header

    def answer(self, _challenge: Challenge) -> bytes:
        if self._is_sent:
            raise AuthFailed(Reason.RELAY_REFUSED, NOT_ACCEPTED, refused=True)
        return self.first()

    def accepted(self, _headers: Fields) -> None:
        pass
