"""The dialer that the settings ask for: for workers, and for commands that ask what a worker would do."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Optional

from ogw.policy.hosts import Policy
from ogw.policy.rules import Kind, of_stage
from ogw.policy.ways import Ways
from ogw.report.events import Event
from ogw.report.log import Log
from ogw.report.metrics import MOST_RELAYS
from ogw.report.slots import OTHERS
from ogw.service.kerberos import negotiate_of, ntlm
from ogw.settings.password_file import read_password
from ogw.settings.settings import Config
from ogw.settings.trust import relay_context
from ogw.tunnel.authentication import Authentication, Scheme
from ogw.tunnel.basic import Basic
from ogw.tunnel.burst import Burst
from ogw.tunnel.connector import Connector
from ogw.tunnel.dial import Dialer
from ogw.tunnel.digest import Digest
from ogw.tunnel.local import OwnPlaces
from ogw.tunnel.mailbox import Mailbox
from ogw.tunnel.password import PasswordSource
from ogw.tunnel.relay import Relay
from ogw.tunnel.relays import Relays
from ogw.tunnel.resolve import Resolver
from ogw.tunnel.tried import Tried
from ogw.wire.connect import Target
from ogw.wire.relay_proxy import credentials

OWN_CLIENT = "127.0.0.1"  # whose requests those of the gateway itself are


def dialer_of(
    config: Config,
    policy: Policy,
    log: Log,
    via: bytes,
    own: Iterable[tuple[str, int]],
    burst: Optional[Burst] = None,
    tried: Optional[Tried] = None,
    slot_of: Callable[[str], int] = lambda _url: OTHERS,
    rests: Callable[[], object] = int,
) -> Dialer:
    """Ready to dial. Raises OSError or ValueError where a file that the settings name cannot be read.

    via    how the gateway names itself to relay proxies
    own    (IP text, port) of all that it listens on
    burst  what goes out at the end of the turn; None: it has one of its own
    tried  what became of credentials, as all processes know it; None: nothing is known of them

    Of a worker alone:

    slot_of  the slot of a relay proxy's URL
    rests    called when a relay proxy begins to rest
    """
    connector = Connector(
        Resolver(config.dns_servers, config.dns_timeout),
        config.dial_timeout,
        config.dns_timeout,
        config.tcp_keepalive,
        log.cells,
        burst,
    )
    places = OwnPlaces(own)
    ways = config.ways
    if not ways.proxies:
        return Dialer(connector, policy, places)
    guard = Dialer(connector, policy, places)
    relays = _relays(config, ways, policy, guard, connector, log, via, places, tried or Tried(), slot_of, rests)
    return Dialer(connector, policy, places, relays, ways)


def own_places(config: Config) -> list[tuple[str, int]]:
    """Where a gateway with these settings listens, as far as they say."""
    places = (*config.listen, config.admin_address, config.health_address)
    return [place for place in places if place is not None]


def _relays(
    config: Config,
    ways: Ways,
    policy: Policy,
    guard: Dialer,
    connector: Connector,
    log: Log,
    via: bytes,
    own: OwnPlaces,
    tried: Tried,
    slot_of: Callable[[str], int],
    rests: Callable[[], object],
) -> Relays:
    user, password = config.relay_proxy_username.reveal(), config.relay_proxy_password.reveal()
    file = config.relay_proxy_password_file
    given = credentials(user, password) if user else None
    encrypted = any(proxy.encrypted for proxy in ways.proxies)
    context = relay_context(config.relay_proxy_ca_file) if encrypted else None

    def tell(sentence: str) -> None:
        log.event(Event.WRONG_CONFIGURATION, f"relay-proxy-password-file: {file}: {sentence}")

    source = PasswordSource(given, partial(read_password, file) if file else None, tell)
    relays = [
        Relay(
            proxy,
            min(place, MOST_RELAYS - 1),
            slot_of(str(proxy)),
            _wanted(config, ways, policy, place),
            ways.named_for(place),
        )
        for place, proxy in enumerate(ways.proxies)
    ]
    spreads = config.relay_proxy_order == "least-tunnels"
    authentication, timeout = _authentication(config, log, tried), config.dial_timeout
    choose = partial(_choose, policy, guard)
    return Relays(relays, connector, log, via, source, context, own, timeout, authentication, spreads, rests, choose)


def _authentication(config: Config, log: Log, tried: Tried) -> Authentication:
    """What relay-proxy-auth names."""
    auth = config.relay_proxy_auth
    if auth == "negotiate":
        return Authentication([negotiate_of(config, log, tried)], tried, log.cells, auth)
    if auth == "ntlm":
        return Authentication([ntlm()], tried, log.cells, auth)
    with_tickets = auth == "auto" and (config.relay_proxy_keytab or config.relay_proxy_ticket_cache)
    return by_password(auth, tried, log.cells, [negotiate_of(config, log, tried)] if with_tickets else [])


def by_password(auth: str, tried: Tried, cells: Any, more: Sequence[Scheme] = ()) -> Authentication:
    """What a value of relay-proxy-auth means for which a password is enough. `more`: what auto may take instead."""
    if auth == "auto":
        return Authentication([*more, Digest(), Basic(only_encrypted=True)], tried, cells, auth, strongest=True)
    return Authentication([Digest() if auth == "digest" else Basic()], tried, cells, auth)


def _choose(policy: Policy, guard: Dialer, target: Target, mailbox: Mailbox) -> list[str]:
    """The addresses that a trial may ask a relay proxy for: those that some client may go to."""
    rules = [match.rule for match in policy.matches(target, OWN_CLIENT) if not match.denies]
    return guard.choose(target, tuple(network for rule in rules for network in rule.to), OWN_CLIENT, mailbox)


def _wanted(config: Config, ways: Ways, policy: Policy, place: int) -> Optional[Target]:
    """What a relay proxy is asked for when it is tried: a target that is allowed, by its name, and goes through it."""
    for rule in of_stage((*config.allowed_host, *config.sourced_hosts), config.stage):
        if rule.kind is Kind.NAME and rule.until is None:
            target = Target(rule.name, rule.port or config.allowed_port[0], None)
            if ways.may_lead(place, target) and not policy.denying(target, OWN_CLIENT):
                return target
    return None
