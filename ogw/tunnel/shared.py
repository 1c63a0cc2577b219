"""What all tunnels of a process share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ogw.policy.hosts import Policy
from ogw.tunnel.budget import Budget
from ogw.tunnel.burst import Burst
from ogw.tunnel.dial import Dialer
from ogw.tunnel.greenlets import Greenlets
from ogw.tunnel.ledger import Ledger
from ogw.tunnel.loop import Limit
from ogw.tunnel.pipes import Pipes


class Draining:
    """Whether the gateway drains: told to all tunnels, whatever configuration they began with."""

    def __init__(self) -> None:
        self.now = False


@dataclass
class Shared:
    """What all tunnels of a process share: objects to ask, and limits in seconds and bytes.

    A new configuration changes what is in it, so whoever decides asks for what is in force then.

    lingers  told of a tunnel that was refused, and only lets its client finish
    """

    policy: Policy
    dialer: Dialer
    pipes: Pipes
    greenlets: Greenlets
    ledger: Ledger
    head_timeout: float
    head_max_size: int
    handshake_timeout: float
    draining: Draining
    lingers: Callable[[Any], None]
    via: bytes = b""  # how the gateway names itself to relay proxies, if it has any
    budget: Budget = field(default_factory=Budget)  # what all unfinished handshakes may hold
    burst: Burst = field(default_factory=Burst)  # what goes out at the end of the turn

    def __post_init__(self) -> None:
        self.handshake_limit = Limit(self.handshake_timeout)

    def become(self, other: "Shared") -> None:
        """Take a new configuration."""
        vars(self).update(vars(other))
