"""A relay proxy is tried before it is configured: asked for a tunnel with its credentials, as workers do it."""

import os
from gettext import gettext as _
from secrets import token_hex
from typing import Optional

from ogw.cli.setup.plan import Place
from ogw.report.log import Log
from ogw.report.sinks import open_sink
from ogw.report.writers import Direct
from ogw.settings.editing import meaning_or_none
from ogw.settings.ini.file import EditError
from ogw.settings.loader import DEFAULT_FILE
from ogw.settings.settings import SETTINGS
from ogw.tunnel.connector import Connector
from ogw.tunnel.local import OwnPlaces
from ogw.tunnel.loop import Interruptible
from ogw.tunnel.mailbox import Mailbox
from ogw.tunnel.password import PasswordSource
from ogw.tunnel.relay import Relays
from ogw.tunnel.resolve import Resolver
from ogw.tunnel.trust import relay_context
from ogw.tunnel.upstream import DialError
from ogw.wire.connect import parse_target
from ogw.wire.relay_proxy import credentials, parse_relay_proxy

SECONDS = 10.0


class TrialFailed(Exception):
    """What is wrong with the relay proxy: a sentence."""


def try_proxy(url: str, user: str, password: str, target: str, place: Optional[Place] = None) -> str:
    """Ask for a tunnel to HOST:PORT; the sentence that says it works. Raises TrialFailed, or EditError for a wrong URL.

    user, password  for a URL that has none of its own; "" for none
    place           where an INI file may name DNS servers and authorities; None: the system's
    """
    try:
        proxy = parse_relay_proxy(url)
        given = credentials(user, password) if user else None
    except ValueError as error:
        raise EditError(f"relay-proxy: {error}") from None
    wanted = parse_target(target.encode())
    log = Log(Direct(open_sink("/dev/null", None)))
    connector = Connector(Resolver(_dns_servers(place) if place else (), SECONDS), SECONDS, SECONDS, 0, log.cells)
    try:
        context = relay_context(_ca_file(place) if place else None) if proxy.encrypted else None
        via = f"ogw-{token_hex(6)}".encode()
        relays = Relays([proxy], connector, log, via, PasswordSource(given), context, OwnPlaces(()), SECONDS)
        with Interruptible():
            upstream = relays.dial(wanted, Mailbox())
    except DialError as error:
        # An address that the URL names need not be told twice.
        told = error.detail.replace(f" cannot be reached: {proxy.target.host}: ", " cannot be reached: ")
        raise TrialFailed(told) from None
    except OSError as error:
        raise TrialFailed(f"relay-proxy-ca-file: {error.filename}: {error.strerror}") from None
    finally:
        connector.close()
    upstream.socket.close()
    if upstream.closed is not None:
        upstream.closed()
    return _("{proxy} opens a tunnel to {target}").format(proxy=proxy, target=wanted)


def _dns_servers(place: Place) -> list[tuple[str, int]]:
    setting = SETTINGS["dns-server"]
    listed = [meaning_or_none(setting, one) for text in place.texts(setting.name) for one in setting.split(text)]
    return [(one[0], one[1] or 53) for one in listed if one is not None]


def _ca_file(place: Place) -> str:
    texts = place.texts("relay-proxy-ca-file")
    if not texts or not texts[0]:
        return ""
    return place.root + os.path.join(os.path.dirname(DEFAULT_FILE), texts[0])
