"""Step 3 of the path, its other way: how the gateway authenticates itself over HTTP. No gevent here."""

from collections.abc import Callable, Sequence
from typing import Any, Optional, Protocol

from ogw.policy.decision import Reason
from ogw.report.metrics import RELAY_AUTH
from ogw.tunnel.looks import Looks
from ogw.tunnel.relay import Relay
from ogw.tunnel.tried import Tried, Turn, WasRefused
from ogw.wire.challenges import Challenge, challenges_of
from ogw.wire.connect import Fields, Target
from ogw.wire.digest import can_be_answered, strength
from ogw.wire.relay_proxy import Credentials, offered

WITHHELD = (
    "refused these credentials before; they are not sent again before they change or the gateway reloads, "
    "since that could lock an account"
)
NEEDS_USER = "needs a user name"  # of what a scheme may lack


class AuthFailed(Exception):
    """It cannot be answered: the reason, and what goes on in a sentence that begins with the relay proxy.

    refused   the relay proxy, or who knows its users, does not accept the credentials
    withheld  it did so before, and they were not sent
    go_on     the next relay proxy may do better
    """

    def __init__(
        self, reason: Reason, what: str, refused: bool = False, withheld: bool = False, go_on: bool = False
    ) -> None:
        super().__init__(what)
        self.reason = reason
        self.what = what
        self.refused = refused
        self.withheld = withheld
        self.go_on = go_on


class Exchange(Protocol):
    """One tunnel authenticates itself to one relay proxy. What it gives is the value of Proxy-Authorization.

    Both ways of getting one may block the greenlet, within a limit of their own, never the loop.
    """

    def first(self) -> Optional[bytes]:
        """What may be sent unasked; None where it has to be asked for. Raises AuthFailed."""

    def answer(self, challenge: Challenge) -> bytes:
        """What answers this, the relay proxy's latest. Raises AuthFailed, `refused` where that says so."""

    def accepted(self, headers: Fields) -> None:
        """It took what was sent last; these stood in its answer."""


class Scheme(Protocol):
    """A way of authenticating.

    name               as a Challenge has it, and metrics and status
    rank               of those that are offered, the one with the highest is taken
    on_one_connection  its messages must be, so an exchange that has begun cannot go on over another
    remembers          what it sends unasked rests on what the relay proxy said before and may have forgotten (a nonce):
                       that this is refused says nothing of the credentials yet
    afresh             what follows a refusal goes over another connection: of this one it is the last word
    """

    name: str
    rank: int
    on_one_connection: bool
    remembers: bool
    afresh: bool

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
    """The schemes that the settings name.

    tried      what became of credentials, in all workers
    cells      where it is counted
    setting    the value of relay-proxy-auth, for sentences
    strongest  the best of those that are offered is taken, and nothing sent unasked before one has worked; else there
               is one, which is begun with
    """

    def __init__(
        self, schemes: Sequence[Scheme], tried: Tried, cells: Any, setting: str = "basic", strongest: bool = False
    ) -> None:
        self._schemes = schemes
        self.tried = tried
        self.looks = Looks()
        self._cells = cells
        self._setting = setting
        self._strongest = strongest

    def unasked(self, relay: Relay) -> Optional[Scheme]:
        """The one to begin with."""
        if not self._strongest:
            return self._schemes[0]
        return next((scheme for scheme in self._schemes if scheme.name == relay.scheme), None)

    def choose(
        self, relay: Relay, known: Optional[Credentials], headers: Fields, current: Optional[Scheme]
    ) -> tuple[Scheme, Challenge]:
        """What to answer of a 407: in an exchange that has begun with that, else with the best of those that can be
        answered (RFC 7616, section 3.3). Where none can be, it is the best that tells why. Raises AuthFailed."""
        challenges = challenges_of(headers)
        pairs = [(scheme, one) for one in challenges for scheme in self._schemes if scheme.name == one.scheme]
        usable = [pair for pair in pairs if not pair[0].lacks(relay, known)]
        going_on = [pair for pair in usable if pair[0] is current]
        if not usable:
            raise self._nothing_to_choose(relay, known, [pair[0] for pair in pairs], offered(headers))
        return max(going_on or usable, key=lambda pair: (can_be_answered(pair[1]), pair[0].rank, strength(pair[1])))

    def count(self, scheme: str, result: str) -> None:
        """That the one of this name came to this."""
        cell = RELAY_AUTH.get((scheme, result))
        if cell is not None:
            self._cells[cell] += 1

    def _nothing_to_choose(
        self, relay: Relay, known: Optional[Credentials], lacking: Sequence[Scheme], names: Sequence[str]
    ) -> AuthFailed:
        if not names:
            return AuthFailed(Reason.RELAY_AUTH_NO_SCHEME, "does not say what it wants (Proxy-Authenticate)")
        for scheme in lacking:
            lacks = scheme.lacks(relay, known)
            if known is None and lacks == NEEDS_USER:
                what = "wants credentials: set relay-proxy-username and relay-proxy-password-file"
                return AuthFailed(Reason.RELAY_REFUSED, what)
            return AuthFailed(Reason.RELAY_AUTH_NOT_OFFERED, f"offers nothing else; {scheme.name.title()} {lacks}")
        spoken = ", ".join(scheme.name.title() for scheme in self._schemes)
        what = (
            f"offers nothing else; {spoken} is spoken with relay-proxy-auth = {self._setting}: set that to what the "
            "proxy offers"
        )
        return AuthFailed(Reason.RELAY_AUTH_NOT_OFFERED, what)


class Authenticating:
    """One tunnel authenticates itself to one relay proxy with one set of credentials. It must be ended.

    known      user name and password; None where there are none
    wait       is called again and again while another tunnel tries these credentials; raises where that is too long
    must_stay  the last answer belongs on the connection that the challenge came over
    must_move  it belongs on another one
    """

    def __init__(
        self,
        ways: Authentication,
        relay: Relay,
        target: Target,
        known: Optional[Credentials],
        wait: Callable[[], None],
    ) -> None:
        self.must_stay = self.must_move = False
        self._ways = ways
        self._relay = relay
        self._target = target
        self._known = known
        self._wait = wait
        self._scheme: Optional[Scheme] = None
        self._exchange: Optional[Exchange] = None
        self._turn: Optional[Turn] = None
        self._has_sent = False
        self._is_unasked = False  # what was sent last

    def first(self) -> Optional[bytes]:
        """What is sent unasked; None for nothing. Raises AuthFailed, and what `wait` does."""
        scheme = self._ways.unasked(self._relay)
        if scheme is None or scheme.lacks(self._relay, self._known):
            return None
        try:
            header = self._begin(scheme).first()
        except AuthFailed as failed:
            raise self._failed(failed) from None
        self._has_sent = self._is_unasked = header is not None
        return header

    def answer(self, headers: Fields) -> bytes:
        """What answers a 407 with these. Raises AuthFailed, and what `wait` does."""
        scheme, challenge = self._ways.choose(self._relay, self._known, headers, self._scheme)
        exchange = self._exchange
        if exchange is None or scheme is not self._scheme:
            exchange = self._begin(scheme)
        self.must_stay = scheme.on_one_connection and self._has_sent
        self.must_move = scheme.afresh and self._has_sent
        may_have_forgotten, self._is_unasked = scheme.remembers and self._is_unasked, False
        try:
            header = exchange.answer(challenge)
        except AuthFailed as failed:
            if not failed.refused or not may_have_forgotten:
                raise self._failed(failed) from None
            if self._turn is not None:
                self._turn.doubted()
            header = self._begin(scheme).answer(challenge)
        self._has_sent = True
        return header

    def took_it(self, headers: Fields, is_proof: bool) -> None:
        """The relay proxy answered, with these, anything but a 407. `is_proof`: that it accepted the credentials."""
        if self._has_sent and self._scheme is not None and self._exchange is not None and self._turn is not None:
            self._exchange.accepted(headers)
            if is_proof:
                self._turn.worked()
                self._relay.scheme = self._scheme.name
                self._ways.count(self._scheme.name, "accepted")

    @property
    def is_alone(self) -> bool:
        """Others wait until it is known what the credentials are worth."""
        return self._turn is not None and self._turn.is_alone

    def let_others_try(self) -> None:
        if self._turn is not None:
            self._turn.end()

    def end(self) -> None:
        self.let_others_try()
        self._turn = None

    def _begin(self, scheme: Scheme) -> Exchange:
        """Once it is this tunnel's turn."""
        self.end()
        self._scheme, self._has_sent, self._is_unasked = scheme, False, False
        identity = scheme.identity(self._relay, self._known)
        try:
            while (turn := self._ways.tried.begin(identity)) is None:
                self._wait()
        except WasRefused:
            self._ways.count(scheme.name, "withheld")
            raise AuthFailed(Reason.RELAY_AUTH_WITHHELD, WITHHELD, withheld=True) from None
        self._turn = turn
        self._exchange = scheme.begin(self._relay, self._target, self._known)
        return self._exchange

    def _failed(self, failed: AuthFailed) -> AuthFailed:
        """What is to be raised, once that is noted."""
        if failed.refused and self._turn is not None:
            self._turn.refused()
        if self._scheme is not None and not failed.withheld:
            self._ways.count(self._scheme.name, "refused" if failed.refused else "failed")
        return failed
