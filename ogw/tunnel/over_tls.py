"""A tunnel whose client speaks TLS to the gateway: it is told at the plain end of the client's leg, as any other."""

import _socket
from collections.abc import Callable
from typing import Any, Optional

from ogw.policy.decision import Reason
from ogw.policy.identity import Authorities, Identity
from ogw.policy.names import NOBODY, named
from ogw.tunnel.encrypted import Leg, await_all
from ogw.tunnel.introduced import Introduced
from ogw.tunnel.shared import Shared
from ogw.tunnel.tunnel import Tunnel
from ogw.tunnel.upstream import Upstream


class Trust:
    """Whose certificates clients must have, None for nobody's; another configuration changes it for all at once."""

    def __init__(self, authorities: Optional[Authorities] = None) -> None:
        self.authorities = authorities


class OverTls(Introduced):
    """It ends the leg, and the leg it.

    identity  of its client; None where nobody asked for that
    """

    __slots__ = ("_trust", "identity", "leg", "names", "subject")

    def __init__(
        self,
        client: _socket.socket,
        address: tuple[Any, ...],
        tunnel_id: str,
        shared: Shared,
        network: str,
        via: str,
        accepted: float,
        leg: Leg,
        trust: Trust,
        identity: Optional[Identity],
    ) -> None:
        self.names = identity.names if identity is not None else NOBODY
        self.subject = "" if identity is None else identity.subject or named(self.names)
        super().__init__(client, address, tunnel_id, shared, self.subject or network, via, accepted)
        self._trust = trust
        self.identity = identity
        self.leg = leg
        leg.lost = self._lost

    def run(self) -> None:
        """As any other; then the leg sends what is still there."""
        try:
            super().run()
        finally:
            self.leg.end()

    def still_sends(self, closed: Callable[[Tunnel], object]) -> bool:
        return await_all([self.leg, self.relay_leg], lambda: closed(self))

    def policy_changed(self, recheck_open: bool) -> None:
        """The client must be one that could come in now, too."""
        authorities = self._trust.authorities
        objection = authorities.objection(self.identity) if authorities is not None else None
        if objection and not self.is_over and (recheck_open or self.duplex is None):
            self.end_now(Reason.CLIENT_TLS_CERTIFICATE_WITHDRAWN, objection[1])
        else:
            super().policy_changed(recheck_open)

    def _lost(self) -> None:
        self.end(Reason.CLIENT_RESET)

    def _close_upstream(self, upstream: Upstream, reason: Optional[Reason]) -> None:
        self.leg.breaks_off = reason is Reason.UPSTREAM_RESET
        super()._close_upstream(upstream, reason)
