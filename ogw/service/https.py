"""GET requests to https servers, which are reached as targets are: by the same resolver and relay proxies.

The address guard does not hold here: who set the URL chose the server, which may well stand in a private network.
"""

import http.client
import io
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_network
from secrets import token_hex
from typing import Any, Optional
from urllib.parse import urlsplit

from ogw.policy.hosts import Policy
from ogw.report.log import Log
from ogw.report.sinks import open_sink
from ogw.report.writers import Direct
from ogw.service.dialer import OWN_CLIENT, dialer_of
from ogw.settings.settings import Config
from ogw.tunnel.dial import Dialer
from ogw.tunnel.encrypted import Leg
from ogw.tunnel.tried import Tried
from ogw.tunnel.upstream import DialError, Upstream
from ogw.wire.connect import Target, parse_host
from ogw.wire.place import in_brackets

EVERYWHERE = (ip_network("0.0.0.0/0"), ip_network("::/0"))


class Unreached(Exception):
    """No connection to the server; the sentence says why."""


class Https:
    """Use as a context manager. `with https.get(...)` gives the answer; its body is still to be read.

    seconds  that all of it has: a look-up and each dial get their part, so that the next relay proxy has its turn, and
             it is told what was too slow
    tried    credentials for relay proxies that were refused, where somebody remembers them
    most     bytes of an answer, its head and all, after which it is AnswerTooLarge
    """

    def __init__(self, config: Config, seconds: float, most: int, tried: Optional[Tried] = None) -> None:
        part = seconds / (len(config.ways.proxies) + 1.5)
        limited = replace(
            config, dial_timeout=min(config.dial_timeout, part), dns_timeout=min(config.dns_timeout, part)
        )
        log = Log(Direct(open_sink("/dev/null", None)))
        try:
            policy = Policy((), target_networks=EVERYWHERE)
            self._dialer = dialer_of(limited, policy, log, f"ogw-{token_hex(6)}".encode(), (), tried=tried)
        except (OSError, ValueError) as error:
            why = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
            raise Unreached(why) from None
        self._context = ssl.create_default_context()
        self._most = most

    def __enter__(self) -> "Https":
        return self

    def __exit__(self, *_exception: object) -> None:
        self._dialer.close()

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str]) -> Iterator[http.client.HTTPResponse]:
        """Raises Unreached, AnswerTooLarge, http.client.HTTPException, or OSError, of which ssl.SSLError is one."""
        parts = urlsplit(url)
        name = parts.hostname or ""
        host, address = parse_host(in_brackets(name).encode())
        target = Target(host, parts.port or 443, address)
        upstream = _dial(self._dialer, target)
        leg = Leg(upstream.socket, self._context, target.host)
        try:
            leg.handshake()
            connection = http.client.HTTPSConnection(target.host, target.port, context=self._context)
            connection.auto_open = 0  # it looks up and dials nothing itself
            connection.sock = _Stream(leg, self._most)
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", path, headers=dict(headers))
            yield connection.getresponse()
        finally:
            leg.close()
            if upstream.closed is not None:
                upstream.closed()


class AnswerTooLarge(Exception):
    """The answer is larger than whoever asked wants to read."""


class _Stream(io.RawIOBase):
    """A leg as http.client takes it for a socket."""

    def __init__(self, leg: Leg, most: int) -> None:
        self._leg = leg
        self._left = most

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def sendall(self, data: Any) -> None:
        self._leg.write(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._leg.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise AnswerTooLarge
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Nothing: http.client closes it where the answer is still to be read. The leg is its owner's."""


def _dial(dialer: Dialer, target: Target) -> Upstream:
    try:
        return dialer.dial(target, EVERYWHERE, None, OWN_CLIENT)
    except DialError as error:
        straight = dialer.goes_straight(target, OWN_CLIENT)
        where = str(target) if straight else "no connection through the relay proxy"
        raise Unreached(f"{where}: {error.detail}") from None
