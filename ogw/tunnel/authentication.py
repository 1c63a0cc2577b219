"""Step 3 of the path, its other way: how the gateway authenticates itself to relay proxies over HTTP."""

from collections.abc import Sequence
from typing import Optional, Protocol

from ogw.policy.decision import Reason
from ogw.tunnel.relay import Relay
from ogw.wire.challenges import Challenge
from ogw.wire.connect import Fields, Target
from ogw.wire.relay_proxy import Credentials


class AuthFailed(Exception):
    """It cannot be answered: the reason, and a sentence that begins with the relay proxy ("wants ...").

    go_on  the next relay proxy may do better
    """

    def __init__(self, reason: Reason, what: str, go_on: bool = False) -> None:
        super().__init__(what)
        self.reason = reason
        self.what = what
        self.go_on = go_on


class Exchange(Protocol):
    """One tunnel authenticates itself to one relay proxy. What it gives is the value of Proxy-Authorization.

    Both ways of getting one may block the greenlet, within a limit of their own, never the loop.
    """

    def first(self) -> Optional[bytes]:
        """What may be sent unasked; None where it has to be asked for. Raises AuthFailed."""

    def answer(self, challenge: Challenge) -> bytes:
        """What answers this, the relay proxy's latest. Raises AuthFailed."""

    def accepted(self, headers: Fields) -> None:
        """The tunnel is open; these stood in the answer."""


class Scheme(Protocol):
    """A way of authenticating.

    name               as a Challenge has it
    rank               of those that are offered, the one with the highest is taken
    on_one_connection  its messages must be, so an exchange that has begun cannot go on over another
    """

    name: str
    rank: int
    on_one_connection: bool

    # `known`: user name and password for this relay proxy; None where there are none.

    def lacks(self, relay: Relay, known: Optional[Credentials]) -> str:
        """Why it cannot be used with this relay proxy, as "needs ..."; "" where it can."""

    def identity(self, relay: Relay, known: Optional[Credentials]) -> bytes:
        """What it authenticates with there, by which it is known again once it was refused; b"" for nothing to refuse.

        It may hold secrets: only its keyed hash is kept.
        """

    def begin(self, relay: Relay, target: Target, known: Optional[Credentials]) -> Exchange:
        """For a tunnel to this target."""


class Authentication:
    """The schemes that the settings name."""

    def __init__(self, schemes: Sequence[Scheme]) -> None:
        self._schemes = schemes

    def begin(self, relay: Relay, target: Target, known: Optional[Credentials]) -> Exchange:
        """With the one that is tried first."""
        return self._schemes[0].begin(relay, target, known)
