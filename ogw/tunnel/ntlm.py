"""Step 3 of the path, its other way: NTLM ([MS-NTHT]), for relay proxies that speak nothing better. No gevent here.

It imports pyspnego, which only who wants NTLM has, so it is imported only where the settings ask for it. The messages
are NTLMv2's; the first one has nothing of the account in it.
"""

import base64
from typing import Any, Optional

import spnego

from ogw.policy.decision import Reason
from ogw.tunnel.authentication import AuthFailed
from ogw.tunnel.basic import NOT_ACCEPTED
from ogw.tunnel.relay import Relay
from ogw.wire.challenges import Challenge
from ogw.wire.connect import Fields, Target
from ogw.wire.relay_proxy import Credentials

CHANGED = (
    "does not go on with NTLM where it was: it closed or changed the connection between its messages; let it keep "
    "connections (squid: auth_param ntlm keep_alive on), or use negotiate"
)
GARBLED = "answers NTLM with a message that cannot be read"


class Ntlm:
    name = "ntlm"
    rank = 0
    on_one_connection = True
    remembers = False
    afresh = False

    def lacks(self, _relay: Relay, known: Optional[Credentials]) -> str:
        return "needs relay-proxy-username, as DOMAIN\\user, and relay-proxy-password-file" if known is None else ""

    def identity(self, _relay: Relay, known: Optional[Credentials]) -> bytes:
        return b"" if known is None else known.header

    def begin(self, relay: Relay, _target: Target, known: Optional[Credentials]) -> "NtlmExchange":
        return NtlmExchange(relay.proxy.target.host, known)


class NtlmExchange:
    """Three messages on one connection: ours, the challenge, ours again, which has the proof of the password."""

    def __init__(self, host: str, known: Optional[Credentials]) -> None:
        assert known is not None  # the scheme lacks it
        self._context: Any = _context(host, known)
        self._is_begun = self._is_proved = False

    def first(self) -> Optional[bytes]:
        self._is_begun = True
        return _header(self._context.step())

    def answer(self, challenge: Challenge) -> bytes:
        if not self._is_begun:
            self._is_begun = True
            return _header(self._context.step())
        if self._is_proved:
            raise AuthFailed(Reason.RELAY_REFUSED, NOT_ACCEPTED, refused=True)
        if not challenge.token68:
            raise AuthFailed(Reason.RELAY_CONNECTION_CHANGED, CHANGED, go_on=True)
        self._is_proved = True
        return _header(self._proof(challenge.token68))

    def _proof(self, said: str) -> bytes:
        try:
            return self._context.step(base64.b64decode(said, validate=True))  # type: ignore[no-any-return]
        except Exception:  # whatever pyspnego comes upon in what a stranger said: struct.error, ValueError, ...
            raise AuthFailed(Reason.RELAY_AUTH_MALFORMED, GARBLED, go_on=True) from None

    def accepted(self, _headers: Fields) -> None:
        pass


def _context(host: str, known: Credentials) -> Any:
    user, password = known.user.reveal(), known.password.reveal()
    pure = spnego.NegotiateOptions.use_ntlm  # whatever else of NTLM this machine has
    return spnego.client(user, password, hostname=host, service="HTTP", protocol="ntlm", options=pure)


def _header(message: bytes) -> bytes:
    return b"NTLM " + base64.b64encode(message)
