"""Step 3 of the path: reach the target, straight or through a relay proxy. Only a judged address is dialed."""

import _socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Optional

from ogw.policy.decision import Decision, Reason
from ogw.policy.hosts import Policy
from ogw.policy.ways import STRAIGHT, Way, Ways
from ogw.tunnel.asking_socks import MOST_ADDRESSES
from ogw.tunnel.connector import Connector, Survey
from ogw.tunnel.local import OwnPlaces
from ogw.tunnel.mailbox import ClientWatch, Mailbox
from ogw.tunnel.relays import Relays
from ogw.tunnel.upstream import DialError, Upstream
from ogw.wire.connect import Target
from ogw.wire.place import place


class Dialer:
    """Reaches targets.

    policy  says which addresses may be dialed
    own     where the gateway itself listens, which is never dialed, whatever the policy says
    relays  the relay proxies to go through; None: straight
    ways    which targets go through which of them
    """

    def __init__(
        self,
        connector: Connector,
        policy: Policy,
        own: OwnPlaces,
        relays: Optional[Relays] = None,
        ways: Optional[Ways] = None,
    ) -> None:
        self._connector = connector
        self._policy = policy
        self._own = own
        self.relays = relays
        self._ways = ways

    def go_on_under(self, policy: Policy) -> None:
        """There is a new policy: it judges the addresses of the dials that still go on, too."""
        self._policy = policy

    def close(self) -> None:
        """It is replaced by another; tunnels that have it still may go on with it."""
        self._connector.close()

    def dial(
        self,
        target: Target,
        to: tuple[Any, ...],
        client: Optional[ClientWatch],
        client_ip: str,
        via: Sequence[bytes] = (),
    ) -> Upstream:
        """Connect to the target, whose addresses may also lie in the networks `to`.

        client  sees it leave; None where nobody may
        via     the request's own Via, for a relay proxy

        Raises DialError, or ClientGone when the client resets its connection meanwhile.
        """
        mailbox = Mailbox()
        if client is not None:
            client.tell(mailbox)
        way = STRAIGHT if self._ways is None else self._ways.of(target, client_ip)
        if self.relays is None or way == STRAIGHT:
            return self._connector.connect(target, partial(self._judge, target.port, to, client_ip), mailbox)
        survey = self._survey_behind_relay(target, to, client_ip)
        if survey.failure is not None:
            raise survey.failure
        addresses: list[str] = []
        if self._looks_up(target, way):
            addresses = self.choose(target, to, client_ip, mailbox)
        return self.relays.dial(target, mailbox, via, way, addresses)

    def choose(self, target: Target, to: tuple[Any, ...], client_ip: str, mailbox: Mailbox) -> list[str]:
        """The addresses of a name that a relay proxy may be asked for, in order. Raises DialError or ClientGone."""
        judge = partial(self._judge, target.port, to, client_ip)
        return self._connector.choose(target, judge, mailbox, MOST_ADDRESSES)

    def keep_alive(self, upstream: _socket.socket) -> None:
        """The tunnel lasts: its upstream gets TCP keepalive, as tcp-keepalive says."""
        if upstream.family != _socket.AF_UNIX:  # a TLS leg's, which has got it
            self._connector.keep_alive(upstream)

    def goes_straight(self, target: Target, client_ip: str, clock: Callable[[], float] = time.time) -> bool:
        """Whether a target of this client is dialed past all relay proxies."""
        return self._ways is None or self._ways.of(target, client_ip, clock) == STRAIGHT

    def resolves(self, target: Target, client_ip: str, clock: Callable[[], float] = time.time) -> bool:
        """Whether the target is a name that is looked up here, not by a relay proxy."""
        if target.address is not None:
            return False
        way = STRAIGHT if self._ways is None else self._ways.of(target, client_ip, clock)
        return way == STRAIGHT or self._looks_up(target, way)

    def _looks_up(self, target: Target, way: Way) -> bool:
        """A relay proxy of this way is given addresses. So names are looked up here, whichever of them is asked: the
        guard is in force or it is not, and no relay proxy's health decides that."""
        if self._ways is None or target.address is not None:
            return False
        return any(self._ways.proxies[place].resolves_here for place in (*way.named, *way.general))

    def is_own(self, address: str, port: int) -> bool:
        """The gateway itself listens there."""
        return self._own.hold(address, port)

    def survey(
        self, target: Target, to: tuple[Any, ...], client_ip: str, clock: Callable[[], float] = time.time
    ) -> Survey:
        """What `dial` would find: nothing but names is looked up. No addresses where a relay proxy resolves."""
        if self.resolves(target, client_ip, clock) or self.goes_straight(target, client_ip, clock):
            judge = partial(self._judge, target.port, to, client_ip, now=clock())
            return self._connector.survey(target, judge, Mailbox())
        return self._survey_behind_relay(target, to, client_ip, clock())

    def _survey_behind_relay(
        self, target: Target, to: tuple[Any, ...], client_ip: str, now: Optional[float] = None
    ) -> Survey:
        """A name is resolved by the relay proxy, out of the guard's sight; an address is here to be judged."""
        if target.address is None:
            return Survey([])
        decision = self._judge(target.port, to, client_ip, target.host, now)
        failure = None if decision.allowed else DialError(decision.reason, decision.detail, addresses=(target.host,))
        return Survey([(target.host, decision)], failure)

    def _judge(
        self, port: int, to: tuple[Any, ...], client_ip: str, address: str, now: Optional[float] = None
    ) -> Decision:
        if self.is_own(address, port):  # first, since no rule that another refusal would name helps
            return Decision(False, Reason.ADDRESS_NOT_ALLOWED, f"{place(address, port)} is this gateway itself")
        return self._policy.judge_address(address, port, client_ip, to, now)
