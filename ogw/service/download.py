"""One download of a list of host rules, in a child that does nothing else: it asks, checks, and writes the copy.

https only, the server verified, through the relay proxy if there is one. Whatever comes back is hostile until it has
been read as a list; until then the last good copy stays.
"""

import http.client
import json
import signal
import ssl
import time
from collections import Counter
from http import HTTPStatus
from typing import Any, NamedTuple, NoReturn, Optional
from urllib.parse import urljoin, urlsplit

from ogw import __version__
from ogw.policy.index import HostIndex
from ogw.settings.copies import Copy, read_copy, write_copy
from ogw.settings.lists import BadList, read_list
from ogw.settings.settings import Config
from ogw.settings.sources import parse_source, without_query
from ogw.tunnel.password import read_password
from ogw.wire.connect import Target, parse_host
from ogw.wire.relay_proxy import RelayProxy, credentials

MOST_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
LONGEST_TOLD = 600


class Result(NamedTuple):
    """What came of it.

    why      what went wrong; "" for nothing
    changed  there is a new copy
    rules    how many the list has, or, where something went wrong, the last good copy; -1 where that is unknown
    added    and removed: beside the last good copy
    """

    why: str = ""
    changed: bool = False
    rules: int = 0
    added: int = 0
    removed: int = 0

    def packed(self) -> bytes:
        return json.dumps(self._replace(why=self.why[:LONGEST_TOLD])).encode()


def unpacked(data: bytes) -> Optional[Result]:
    """None where it is not whole."""
    try:
        return Result(*json.loads(data))
    except (ValueError, TypeError):
        return None


class _Failed(Exception):
    """The download failed; the sentence says why."""


def download(url: str, config: Config) -> Result:
    """Do it, within source-timeout. Only for a process of its own: it sets an alarm."""
    result = _download(url, config)
    return result._replace(rules=len(_rules(_last_good(url, config), config))) if result.why else result


def _download(url: str, config: Config) -> Result:
    signal.signal(signal.SIGALRM, _too_late)
    signal.setitimer(signal.ITIMER_REAL, config.source_timeout)
    try:
        before = _last_good(url, config)
        fresh = _ask(url, config, before)
        rules = _rules(before, config)
        if fresh is None:
            return Result(rules=len(rules))
        new = read_list(fresh.body, without_query(url), config.source_max_size)
        if not new:
            raise _Failed("the list has no host rule in it")
        changed = before is None or before.body != fresh.body
        try:
            write_copy(config.state_dir, fresh)
        except OSError as error:
            raise _Failed(f"its copy cannot be kept: {error.filename or config.state_dir}: {error.strerror}") from None
        were, are = Counter(map(str, rules)), Counter(map(str, new))
        return Result("", changed, len(new), (are - were).total(), (were - are).total())
    except BadList as bad:
        return Result("; ".join(bad.mistakes))
    except _Failed as failed:
        return Result(str(failed))
    except TimeoutError:
        return Result(f"no whole answer within {config.source_timeout:g} s (source-timeout)")
    except ssl.SSLCertVerificationError as error:
        return Result(f"the certificate of the server is not trusted: {error.verify_message}")
    except http.client.RemoteDisconnected:
        return Result("the server closed the connection without an answer")
    except http.client.HTTPException as error:
        return Result(f"the answer is not proper HTTP ({type(error).__name__})")
    except OSError as error:
        return Result(error.strerror or str(error))
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)


def _too_late(_number: int, _frame: Any) -> NoReturn:
    raise TimeoutError


def _last_good(url: str, config: Config) -> Optional[Copy]:
    try:
        return read_copy(config.state_dir, url, config.source_max_size)
    except (OSError, ValueError):
        return None


def _rules(copy: Optional[Copy], config: Config) -> tuple[Any, ...]:
    try:
        return read_list(copy.body, "", config.source_max_size) if copy is not None else ()
    except BadList:
        return ()


def _ask(url: str, config: Config, before: Optional[Copy]) -> Optional[Copy]:
    """The list as it is now, or None where the server says that it is the one of before."""
    headers = {
        "User-Agent": f"ogw/{__version__}",
        "Accept": "text/plain, application/json",
        "Accept-Encoding": "identity",
    }
    usable = before if _rules(before, config) else None
    if usable is not None and usable.etag:
        headers["If-None-Match"] = usable.etag
    elif usable is not None and usable.modified:
        headers["If-Modified-Since"] = usable.modified
    here = url
    for _turn in range(MOST_REDIRECTS + 1):
        connection = _connected(here, config)
        try:
            parts = urlsplit(here)
            connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), headers=headers)
            answer = connection.getresponse()
            if answer.status in REDIRECTS:
                here = _next(here, answer)
                continue
            if answer.status == HTTPStatus.NOT_MODIFIED and usable is not None:
                return None
            if answer.status != HTTPStatus.OK:
                raise _Failed(f"the server answered {answer.status}{_phrase(answer.status)}")
            body = _body(answer, config.source_max_size)
            etag, modified = (_validator(answer.getheader(name)) for name in ("ETag", "Last-Modified"))
            return Copy(url, etag, modified, time.time(), body)
        finally:
            connection.close()
    raise _Failed(f"more than {MOST_REDIRECTS} redirects")


def _next(here: str, answer: http.client.HTTPResponse) -> str:
    there = urljoin(here, answer.getheader("Location") or "")
    try:
        if not there.lower().startswith("https://"):
            raise ValueError("is not https://")
        return parse_source(there)
    except ValueError as error:
        raise _Failed(f"the server redirects to {without_query(there[:200])!a}, which {error}") from None


def _body(answer: http.client.HTTPResponse, max_size: int) -> bytes:
    """The whole list, or nothing: a list that ends too early would be another list."""
    if answer.getheader("Content-Encoding", "identity").lower() != "identity":
        raise _Failed("the answer is compressed, although that was not asked for")
    length = answer.length
    if length is not None and length > max_size:
        raise _Failed(f"larger than {max_size} bytes (source-max-size)")
    if length is None and not answer.chunked:
        raise _Failed("the answer says neither how long it is nor where it ends")
    body = answer.read(max_size + 1)
    if len(body) > max_size:
        raise _Failed(f"larger than {max_size} bytes (source-max-size)")
    if length is not None and len(body) != length:
        raise _Failed(f"the answer ended after {len(body)} of {length} bytes")
    if "html" in answer.getheader("Content-Type", "").lower():
        raise _Failed("the answer is a page in HTML, not a list of host rules")
    return body


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""


def _validator(value: Optional[str]) -> str:
    """What goes back to the server as it came, if it is short and plain."""
    return value if value is not None and len(value) < 1000 and value.isascii() and value.isprintable() else ""


def _connected(url: str, config: Config) -> http.client.HTTPSConnection:
    parts = urlsplit(url)
    name, port = parts.hostname or "", parts.port or 443
    host, address = parse_host(f"[{name}]".encode() if ":" in name else name.encode())
    target = Target(host, port, address)
    proxies = _relay_proxies(target, config)
    context = ssl.create_default_context()
    if not proxies:
        return _connect(target, None, context, config.source_timeout, config)
    for proxy in proxies:
        try:
            return _connect(target, proxy, context, config.source_timeout / len(proxies), config)
        except _Failed as failed:
            last = failed
    raise last


def _connect(
    target: Target, proxy: Optional[RelayProxy], context: ssl.SSLContext, timeout: float, config: Config
) -> http.client.HTTPSConnection:
    """timeout  of each wait, in seconds"""
    first = target if proxy is None else proxy.target
    connection = http.client.HTTPSConnection(first.host, first.port, timeout=timeout, context=context)
    if proxy is not None:
        connection.set_tunnel(target.host, target.port, headers=_proxy_headers(proxy, config))
    where = str(target) if proxy is None else f"through the relay proxy {proxy}"
    try:
        connection.connect()
    except ssl.SSLCertVerificationError:
        raise
    except TimeoutError:
        raise _Failed(f"{where}: no connection in time (source-timeout)") from None
    except (OSError, http.client.HTTPException) as error:
        told = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        raise _Failed(f"{where}: {told}") from None
    return connection


def _relay_proxies(target: Target, config: Config) -> list[RelayProxy]:
    """Those that can be used, in order of preference; none where the server is asked straight."""
    if not config.relay_proxy or HostIndex(config.relay_proxy_bypass).covers(target, "127.0.0.1"):
        return []
    plain = [proxy for proxy in config.relay_proxy if not proxy.encrypted]
    if not plain:
        raise _Failed(
            f"lists cannot be downloaded through {config.relay_proxy[0]}; name an http:// relay proxy as well, "
            f"or let relay-proxy-bypass cover {target.host}"
        )
    return plain


def _proxy_headers(proxy: RelayProxy, config: Config) -> dict[str, str]:
    own = proxy.credentials
    if own is None and config.relay_proxy_username.reveal():
        password, file = config.relay_proxy_password.reveal(), config.relay_proxy_password_file
        try:
            own = credentials(config.relay_proxy_username.reveal(), read_password(file) if file else password)
        except (OSError, ValueError) as error:
            raise _Failed(f"relay-proxy-password-file: {error}") from None
    return {} if own is None else {"Proxy-Authorization": own.header.decode("latin-1")}
