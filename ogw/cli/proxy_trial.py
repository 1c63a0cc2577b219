"""A relay proxy is tried before it is configured: reached, and asked for a tunnel with its credentials."""

import socket
import ssl
import time
from gettext import gettext as _

from ogw.settings.ini_file import EditError
from ogw.wire.connect import HeadError, ResponseReader, connect_request, parse_target
from ogw.wire.relay_proxy import credentials, parse_relay_proxy

SECONDS = 10.0
LIMIT = 65536


class TrialFailed(Exception):
    """What is wrong with the relay proxy: a sentence."""


def try_proxy(url: str, user: str, password: str, target: str) -> str:
    """Ask for a tunnel to HOST:PORT; the sentence that says it works. Raises TrialFailed, or EditError for a wrong URL.

    user, password  for a URL that has none of its own; "" for none
    """
    try:
        proxy = parse_relay_proxy(url)
        own = proxy.credentials or (credentials(user, password) if user else None)
    except ValueError as error:
        raise EditError(f"relay-proxy: {error}") from None
    try:
        wanted = parse_target(target.encode())
        fields = [("Proxy-Authorization", own.header)] if own else []
        status, phrase = _ask(proxy.target.host, proxy.target.port, proxy.encrypted,
                              connect_request(wanted, fields))  # fmt: skip
    except ssl.SSLError as error:
        raise TrialFailed(_("{proxy}: TLS with it failed: {error}").format(
            proxy=proxy, error=getattr(error, "verify_message", "") or error.reason or error)) from None  # fmt: skip
    except TimeoutError:
        raise TrialFailed(_("{proxy} does not answer within {s:.0f} seconds").format(proxy=proxy, s=SECONDS)) from None
    except OSError as error:
        raise TrialFailed(_("{proxy} cannot be reached: {error}").format(
            proxy=proxy, error=error.strerror or error)) from None  # fmt: skip
    except HeadError as error:
        raise TrialFailed(_("{proxy} does not speak HTTP: {error}").format(proxy=proxy, error=error)) from None
    if 200 <= status < 300:
        return _("{proxy} opens a tunnel to {target}").format(proxy=proxy, target=wanted)
    if status == 407 and own:
        raise TrialFailed(
            _("{proxy} answers 407: it does not accept the user name or the password").format(proxy=proxy)
        )
    if status == 407:
        raise TrialFailed(_("{proxy} answers 407: it wants a user name and a password").format(proxy=proxy))
    raise TrialFailed(_("{proxy} answers {status} {phrase} when asked for {target}").format(
        proxy=proxy, status=status, phrase=phrase, target=wanted))  # fmt: skip


def _ask(host: str, port: int, encrypted: bool, request: bytes) -> tuple[int, str]:
    """The status and the phrase of the answer."""
    with socket.create_connection((host, port), SECONDS) as connection:
        stream = ssl.create_default_context().wrap_socket(connection, server_hostname=host) if encrypted else connection
        with stream:
            stream.sendall(request)
            reader, until = ResponseReader(LIMIT), time.monotonic() + SECONDS
            response = None
            while response is None:
                stream.settimeout(max(0.001, until - time.monotonic()))  # the limit is that of the whole answer
                more = stream.recv(4096)
                if not more:
                    raise ConnectionResetError(0, _("it ends the connection without an answer"))
                response = reader.feed(more)
            return response.status, response.phrase
