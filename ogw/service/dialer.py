"""The dialer that the settings ask for: for workers, and for commands that ask what a worker would do."""

from collections.abc import Collection
from functools import partial

import gevent

from ogw.policy.hosts import Policy
from ogw.policy.index import HostIndex
from ogw.report.events import Event
from ogw.report.log import Log
from ogw.settings.settings import Config
from ogw.tunnel.connector import Connector
from ogw.tunnel.dial import Dialer
from ogw.tunnel.password import PasswordSource
from ogw.tunnel.relay import Relays
from ogw.tunnel.resolve import Resolver
from ogw.tunnel.trust import relay_context
from ogw.wire.relay_proxy import credentials


def dialer_of(config: Config, policy: Policy, log: Log, via: bytes, own_ports: Collection[int]) -> Dialer:
    """Ready to dial. Raises OSError or ValueError where a file that the settings name cannot be read.

    via        how the gateway names itself to relay proxies
    own_ports  those that it listens on
    """
    connector = Connector(
        Resolver(config.dns_servers, config.dns_timeout),
        config.dial_timeout,
        config.dns_timeout,
        config.tcp_keepalive,
        log.cells,
    )
    relays = _relays(config, connector, log, via, own_ports) if config.relay_proxy else None
    bypass = HostIndex(config.relay_proxy_bypass) if config.relay_proxy_bypass else None
    return Dialer(connector, policy.guard, own_ports, relays, bypass)


def close_at_end(dialer: Dialer) -> None:
    """Close it in a process that has no tunnels and is about to end: the loop turns once more, for c-ares' channels."""
    dialer.close()
    gevent.sleep(0)


def _relays(config: Config, connector: Connector, log: Log, via: bytes, own_ports: Collection[int]) -> Relays:
    user, password = config.relay_proxy_username.reveal(), config.relay_proxy_password.reveal()
    file = config.relay_proxy_password_file
    given = credentials(user, password) if user else None
    encrypted = any(proxy.encrypted for proxy in config.relay_proxy)
    context = relay_context(config.relay_proxy_ca_file) if encrypted else None
    source = PasswordSource(given, file, partial(log.event, Event.WRONG_CONFIGURATION))
    return Relays(config.relay_proxy, connector, log, via, source, context, own_ports, config.dial_timeout)
