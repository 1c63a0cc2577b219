"""Step 3 of the path, its other way: a user name and its password, as they are (RFC 7617). No gevent here."""

from typing import Optional

from ogw.tunnel.relay import Relay
from ogw.wire.challenges import Challenge
from ogw.wire.connect import Fields, Target
from ogw.wire.relay_proxy import Credentials


class Basic:
    """Sent unasked, as it always was."""

    name = "basic"
    rank = 1
    on_one_connection = False

    def lacks(self, _relay: Relay, known: Optional[Credentials]) -> str:
        return "" if known is not None else "needs a user name"

    def identity(self, relay: Relay, known: Optional[Credentials]) -> bytes:
        return b"" if known is None else str(relay.proxy).encode() + b" " + known.header

    def begin(self, _relay: Relay, _target: Target, known: Optional[Credentials]) -> "BasicExchange":
        return BasicExchange(known)


class BasicExchange:
    def __init__(self, known: Optional[Credentials]) -> None:
        self._known = known

    def first(self) -> Optional[bytes]:
        return None if self._known is None else self._known.header

    def answer(self, _challenge: Challenge) -> bytes:
        assert self._known is not None
        return self._known.header

    def accepted(self, _headers: Fields) -> None:
        pass
