"""What a tunnel rests on: kept while it lasts, so that it can be judged again."""

import math
import random
from typing import Optional

from ogw.policy.decision import ALLOW, Decision
from ogw.policy.hosts import Policy
from ogw.policy.names import NOBODY, Names
from ogw.policy.recheck import Session, recheck
from ogw.wire.connect import Target

ENDS_SPREAD = 45.0  # seconds over which tunnels end that rest on one rule: their clients all come again


class Grounds:
    """Why a tunnel may be, and all that is known of it by which policy/recheck.py judges.

    policy    that judged it last
    decision  that allows it
    target    what was asked for; None while its head is not read
    address   of the target, as dialed; "" before it is dialed, and behind a relay proxy
    session   None before it is verified
    until     Unix seconds, when what it rests on ends
    """

    __slots__ = ("address", "decision", "policy", "session", "target", "until")

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.decision = ALLOW
        self.target: Optional[Target] = None
        self.address = ""
        self.session: Optional[Session] = None
        self.until = math.inf

    def rest_on(self, decision: Decision) -> None:
        """This allows it, from now on."""
        self.decision = decision
        self.until = decision.until
        if decision.until != math.inf:
            self.until += random.uniform(0, ENDS_SPREAD)

    def recheck(self, policy: Policy, client: str, now: Optional[float] = None, names: Names = NOBODY) -> Decision:
        """What the policy that is in force says of all that is known. It rests on that only once `rest_on` is told.

        now    in Unix seconds; None reads the clock
        names  in the client's certificate
        """
        assert self.target is not None
        self.policy = policy
        return recheck(policy, client, self.target, self.address, self.session, now, names)
