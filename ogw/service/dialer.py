"""The dialer that the settings ask for: for workers, and for commands that ask what a worker would do."""

from collections.abc import Iterable
from functools import partial
from typing import Optional

from ogw.policy.hosts import Policy
from ogw.policy.index import HostIndex
from ogw.policy.rules import of_stage
from ogw.report.events import Event
from ogw.report.log import Log
from ogw.service.kerberos import negotiate_of, ntlm
from ogw.settings.password_file import read_password
from ogw.settings.settings import Config
from ogw.settings.trust import relay_context
from ogw.tunnel.authentication import Authentication
from ogw.tunnel.basic import Basic
from ogw.tunnel.burst import Burst
from ogw.tunnel.connector import Connector
from ogw.tunnel.dial import Dialer
from ogw.tunnel.local import OwnPlaces
from ogw.tunnel.password import PasswordSource
from ogw.tunnel.relays import Relays
from ogw.tunnel.resolve import Resolver
from ogw.wire.relay_proxy import credentials


def dialer_of(
    config: Config,
    policy: Policy,
    log: Log,
    via: bytes,
    own: Iterable[tuple[str, int]],
    burst: Optional[Burst] = None,
) -> Dialer:
    """Ready to dial. Raises OSError or ValueError where a file that the settings name cannot be read.

    via    how the gateway names itself to relay proxies
    own    (IP text, port) of all that it listens on
    burst  what goes out at the end of the turn; None: it has one of its own
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
    relays = _relays(config, connector, log, via, places) if config.relay_proxy else None
    rules = of_stage(config.relay_proxy_bypass, config.stage)
    bypass = HostIndex(rules) if rules else None
    return Dialer(connector, policy, places, relays, bypass)


def own_places(config: Config) -> list[tuple[str, int]]:
    """Where a gateway with these settings listens, as far as they say."""
    places = (*config.listen, config.admin_address, config.health_address)
    return [place for place in places if place is not None]


def _relays(config: Config, connector: Connector, log: Log, via: bytes, own: OwnPlaces) -> Relays:
    user, password = config.relay_proxy_username.reveal(), config.relay_proxy_password.reveal()
    file = config.relay_proxy_password_file
    given = credentials(user, password) if user else None
    encrypted = any(proxy.encrypted for proxy in config.relay_proxy)
    context = relay_context(config.relay_proxy_ca_file) if encrypted else None

    def tell(sentence: str) -> None:
        log.event(Event.WRONG_CONFIGURATION, f"relay-proxy-password-file: {file}: {sentence}")

    source = PasswordSource(given, partial(read_password, file) if file else None, tell)
    return Relays(
        config.relay_proxy, connector, log, via, source, context, own, config.dial_timeout, _authentication(config, log)
    )


def _authentication(config: Config, log: Log) -> Authentication:
    """What relay-proxy-auth names."""
    if config.relay_proxy_auth == "negotiate":
        return Authentication([negotiate_of(config, log)])
    return Authentication([ntlm() if config.relay_proxy_auth == "ntlm" else Basic()])
