"""Step 3 of the path, its other way: a user name, and a proof of its password (RFC 7616). No gevent here.

A nonce is used by one tunnel at a time, and again by the next, so that nearly every tunnel costs one round trip, and
none comes to the relay proxy with a count that is lower than one that has overtaken it.
"""

import secrets
from typing import NamedTuple, Optional

from ogw.policy.decision import Reason
from ogw.tunnel.authentication import NEEDS_USER, AuthFailed
from ogw.tunnel.basic import NOT_ACCEPTED, identity_of
from ogw.tunnel.relay import Relay
from ogw.wire.challenges import Challenge
from ogw.wire.connect import Fields, Target
from ogw.wire.digest import BadDigest, Demand, UnknownAlgorithm, UnknownQop, authorization, demand_of, next_nonce
from ogw.wire.relay_proxy import Credentials, RelayProxy

MOST_NONCES = 256  # of a relay proxy that wait for their next tunnel
MOST_USES = 10_000  # of one: a relay proxy may keep an account of them

REASONS = {UnknownAlgorithm: Reason.RELAY_AUTH_ALGORITHM, UnknownQop: Reason.RELAY_AUTH_QOP}


class Nonce(NamedTuple):
    """One that was used so often, always with this of ours."""

    demand: Demand
    cnonce: str
    uses: int


class Digest:
    name = "digest"
    rank = 2
    on_one_connection = False
    remembers = True
    afresh = False

    def __init__(self) -> None:
        self._nonces: dict[RelayProxy, tuple[Credentials, list[Nonce]]] = {}  # that wait, of the latest credentials

    def lacks(self, _relay: Relay, known: Optional[Credentials]) -> str:
        return NEEDS_USER if known is None else ""

    def identity(self, relay: Relay, known: Optional[Credentials]) -> bytes:
        return identity_of(relay, known)

    def begin(self, relay: Relay, target: Target, known: Optional[Credentials]) -> "DigestExchange":
        assert known is not None
        latest, nonces = self._nonces.get(relay.proxy, (None, []))
        if latest != known:
            nonces = []
            self._nonces[relay.proxy] = known, nonces
        return DigestExchange(known, str(target), nonces)


class DigestExchange:
    """`nonces`: those that wait; one is taken from there, and given back when it was good."""

    def __init__(self, known: Credentials, uri: str, nonces: list[Nonce]) -> None:
        self._known = known
        self._uri = uri
        self._nonces = nonces
        self._nonce: Optional[Nonce] = None
        self._is_new = False  # the nonce is of this very conversation, so that it cannot be too old

    def first(self) -> Optional[bytes]:
        return self._use(self._nonces.pop()) if self._nonces else None

    def answer(self, challenge: Challenge) -> bytes:
        try:
            demand = demand_of(challenge)
        except BadDigest as error:
            raise AuthFailed(REASONS.get(type(error), Reason.RELAY_AUTH_MALFORMED), error.detail) from None
        if self._nonce is not None and (self._is_new or not demand.stale):
            raise AuthFailed(Reason.RELAY_REFUSED, NOT_ACCEPTED, refused=True)
        self._is_new = True
        return self._use(Nonce(demand, secrets.token_hex(16), 0))

    def accepted(self, headers: Fields) -> None:
        nonce, self._nonce = self._nonce, None
        if nonce is None or len(self._nonces) >= MOST_NONCES:
            return
        following = next_nonce(headers)
        if following:
            nonce = Nonce(nonce.demand._replace(nonce=following), secrets.token_hex(16), 0)
        if nonce.uses < MOST_USES:
            self._nonces.append(nonce)

    def _use(self, nonce: Nonce) -> bytes:
        self._nonce = nonce = nonce._replace(uses=nonce.uses + 1)
        user, password = self._known.user.reveal(), self._known.password.reveal()
        return authorization(nonce.demand, user, password, self._uri, nonce.uses, nonce.cnonce)
