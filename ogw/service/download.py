"""One download of a list of host rules, in a child that does nothing else: it asks, checks, and writes the copy.

https only, the server verified, through the relay proxy if there is one. Whatever comes back is hostile until its
signature was found good, where one is asked for, and it has been read as a list (service/intake.py); until then the
last good copy stays.
"""

import http.client
import ssl
import time
from http import HTTPStatus
from typing import Optional
from urllib.parse import urljoin

import gevent
from gevent.hub import get_hub

from ogw import __version__
from ogw.service.https import AnswerTooLarge, Https, Unreached
from ogw.service.intake import LONGEST_SENTENCE, DownloadFailed, Fetched, Result, take
from ogw.settings.elsewhere.copies import Copy, plain_url, set_aside
from ogw.settings.elsewhere.kept import BadCopy, DistrustedCopy, GoodCopy, read_good_copy
from ogw.settings.elsewhere.signature import (
    LARGEST,
    Distrusted,
    ListReason,
    Signature,
    fits,
    name_of,
    read_signature,
    require_fitting,
    require_good,
    signature_url,
)
from ogw.settings.elsewhere.source import parse_source
from ogw.settings.settings import Config
from ogw.tunnel.tried import Tried
from ogw.wire.url import shown_url

MOST_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
_OF_NO_AUTHORITY = (18, 19, 20, 21)  # OpenSSL's numbers: self-signed, alone and in a chain; and its issuer is unknown


def download(url: str, config: Config, tried: Optional[Tried] = None) -> Result:
    """Do it, within source-timeout. Only for a process of its own, which may make a hub."""
    good, aside = _last_good(url, config)
    number = 0 if good is None else len(good.rules)
    try:
        result = take(url, _fetch(url, config, good, tried), config, good)
    except DownloadFailed as failed:
        result = Result(str(failed), rules=number)
    except Distrusted as error:
        result = Result(str(error), rules=number, reason=error.reason.value)
    return result._replace(aside=aside)


def _last_good(url: str, config: Config) -> tuple[Optional[GoodCopy], str]:
    """The copy, and what was done with it where it cannot be used: it is in nobody's way any more."""
    try:
        return read_good_copy(url, config.state_dir, config.source_max_size, config.allowed_host_source_key), ""
    except OSError:
        return None, ""  # whoever starts or reloads is told, and keeping the next one fails the same way
    except DistrustedCopy:
        return None, ""  # they are told, too
    except BadCopy as bad:
        why = str(bad)[: LONGEST_SENTENCE // 2]
    try:
        aside = set_aside(config.state_dir, url)
    except OSError:
        return None, ""
    return None, f"its last good copy cannot be used: {why}; it was set aside as {aside}"


def _fetch(url: str, config: Config, good: Optional[GoodCopy], tried: Optional[Tried]) -> Fetched:
    """The list as it is now, and its signature. Raises DownloadFailed or Distrusted."""
    get_hub().loop.update_now()  # its timers count from when it last looked at the clock
    max_size = config.source_max_size
    try:
        seconds = config.source_timeout
        with gevent.Timeout(seconds), Https(config, seconds, _most(max_size), tried) as https:
            return _ask_for_all(https, url, config, good)
    except gevent.Timeout:
        why = f"no whole answer within {config.source_timeout:g} s (source-timeout)"
    except AnswerTooLarge:
        why = f"larger than {max_size} bytes (source-max-size)"
    except ssl.SSLCertVerificationError as error:
        why = f"the certificate of the server is not trusted: {error.verify_message}"
        if error.verify_code in _OF_NO_AUTHORITY:
            why += "; trusted are the authorities of the system, or those in the file that SSL_CERT_FILE names"
    except http.client.RemoteDisconnected:
        why = "the server closed the connection without an answer"
    except (http.client.HTTPException, ValueError) as error:  # ValueError: a chunk of a negative size
        why = f"the answer is not proper HTTP ({type(error).__name__})"
    except Unreached as error:
        why = str(error)
    except OSError as error:
        why = error.strerror or str(error)
    raise DownloadFailed(why)


def _most(max_size: int) -> int:
    """Bytes of an answer with a list of this size: its head, and the frames of its chunks."""
    return 8 * max_size + (1 << 20)


def _ask_for_all(https: Https, url: str, config: Config, good: Optional[GoodCopy]) -> Fetched:
    """The signature is asked for each time: it tells whether a list that has not changed is still meant."""
    keys, before = config.allowed_host_source_key, good and good.copy
    copy = _ask(https, plain_url(url), config.source_max_size, before)
    if not keys:
        return Fetched(copy, None)
    signature = _ask_for_signature(https, url, keys)
    kept = copy or before
    assert kept is not None
    if not fits(signature, kept.body):  # the server may have been changing the two
        copy = _ask(https, plain_url(url), config.source_max_size, None)
        signature = _ask_for_signature(https, url, keys)
        assert copy is not None
        require_fitting(signature, copy.body)
    return Fetched(copy, signature)


def _ask_for_signature(https: Https, url: str, keys: tuple[str, ...]) -> Signature:
    """One of these keys made it for a list of this name. Raises DownloadFailed or Distrusted."""
    try:
        copy = _ask(https, signature_url(url), LARGEST, None, limit="")
    except DownloadFailed as failed:
        told = f"there is no signature at {shown_url(signature_url(url))}: {failed}"
        raise Distrusted(ListReason.MISSING, told) from None
    assert copy is not None
    signature = read_signature(copy.body)
    require_good(signature, name_of(url) or "", keys)
    return signature


def _ask(
    https: Https, url: str, max_size: int, before: Optional[Copy], limit: str = " (source-max-size)"
) -> Optional[Copy]:
    """What is there, or None where the server says that it is the one of before."""
    headers = {
        "User-Agent": f"ogw/{__version__}",
        "Accept": "text/plain, application/json",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    if before is not None and _validator(before.etag):
        headers["If-None-Match"] = before.etag
    elif before is not None and _validator(before.modified):
        headers["If-Modified-Since"] = before.modified
    here = url
    for _turn in range(MOST_REDIRECTS + 1):
        with https.get(here, headers) as answer:
            if answer.status in REDIRECTS:
                here = _next(here, answer)
                continue
            if answer.status == HTTPStatus.NOT_MODIFIED and before is not None:
                return None
            if answer.status != HTTPStatus.OK:
                raise DownloadFailed(f"the server answered {answer.status}{_phrase(answer.status)}")
            body = _body(answer, max_size, limit)
            etag, modified = (_validator(answer.getheader(name)) for name in ("ETag", "Last-Modified"))
            return Copy(url, etag, modified, time.time(), body)
    raise DownloadFailed(f"more than {MOST_REDIRECTS} redirects")


def _next(here: str, answer: http.client.HTTPResponse) -> str:
    there = answer.getheader("Location") or ""
    try:
        there = urljoin(here, there)
        if not there.lower().startswith("https://"):
            raise ValueError("it is not https://")
        return parse_source(there)
    except ValueError as error:
        raise DownloadFailed(f"the server redirects to {shown_url(there[:200])!a}: {error}") from None


def _body(answer: http.client.HTTPResponse, max_size: int, limit: str) -> bytes:
    """The whole list, or nothing: a list that ends too early would be another list."""
    if answer.getheader("Content-Encoding", "identity").lower() != "identity":
        raise DownloadFailed("the answer is compressed, although that was not asked for")
    length = answer.length
    if length is not None and length > max_size:
        raise DownloadFailed(f"larger than {max_size} bytes{limit}")
    if length is None and not answer.chunked:
        raise DownloadFailed("the answer says neither how long it is nor where it ends")
    body = answer.read(max_size + 1)
    if len(body) > max_size:
        raise DownloadFailed(f"larger than {max_size} bytes{limit}")
    if length is not None and len(body) != length:
        raise DownloadFailed(f"the answer ended after {len(body)} of {length} bytes")
    if "html" in answer.getheader("Content-Type", "").lower():
        raise DownloadFailed("the answer is a page in HTML, not a list of host rules")
    return body


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""


def _validator(value: Optional[str]) -> str:
    """What goes back to the server as it came, if it is short and plain."""
    return value if value is not None and len(value) < 1000 and value.isascii() and value.isprintable() else ""
