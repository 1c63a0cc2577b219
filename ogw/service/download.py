"""One download of a list of host rules, in a child that does nothing else: it asks, checks, and writes the copy.

https only, the server verified, through the relay proxy if there is one. Whatever comes back is hostile until it has
been read as a list, and all was made of it that a gateway makes of one; until then the last good copy stays.
"""

import http.client
import json
import ssl
import time
from collections import Counter
from collections.abc import Sequence
from http import HTTPStatus
from typing import NamedTuple, Optional
from urllib.parse import urljoin

import gevent
from gevent.hub import get_hub

from ogw import __version__
from ogw.policy.rules import Rule
from ogw.service.https import AnswerTooLarge, Https, Unreached
from ogw.settings.elsewhere.copies import Copy, set_aside, write_copy
from ogw.settings.elsewhere.host_list import BadList, prove, read_list
from ogw.settings.elsewhere.source import BadCopy, parse_source, read_good_copy, without_query
from ogw.settings.settings import Config

MOST_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
LONGEST_SENTENCE = 600


class Result(NamedTuple):
    """What came of it.

    why      what went wrong; "" for nothing
    changed  there is a new copy
    rules    how many the list has, or, where something went wrong, the last good copy; -1 where that is unknown
    added    and removed: beside the last good copy
    aside    why the last good copy could not be used, and where it is now; "" where it could be, or there was none
    """

    why: str = ""
    changed: bool = False
    rules: int = 0
    added: int = 0
    removed: int = 0
    aside: str = ""

    def packed(self) -> bytes:
        return json.dumps(self._replace(why=self.why[:LONGEST_SENTENCE], aside=self.aside[:LONGEST_SENTENCE])).encode()


def unpacked(data: bytes) -> Optional[Result]:
    """None where it is not whole."""
    try:
        return Result(*json.loads(data))
    except (ValueError, TypeError):
        return None


class _DownloadFailed(Exception):
    """The download failed; the sentence says why."""


def download(url: str, config: Config) -> Result:
    """Do it, within source-timeout. Only for a process of its own, which may make a hub."""
    before, rules, aside = _last_good(url, config)
    try:
        result = _take(_fetch(url, config, before), config, before, rules)
    except _DownloadFailed as failed:
        result = Result(str(failed), rules=len(rules))
    return result._replace(aside=aside)


def _last_good(url: str, config: Config) -> tuple[Optional[Copy], Sequence[Rule], str]:
    """The copy, its rules, and what was done with it where it cannot be used: it is in nobody's way any more."""
    try:
        copy = read_good_copy(url, config.state_dir, config.source_max_size)
        return (None, (), "") if copy is None else (*copy, "")
    except OSError:
        return None, (), ""  # whoever starts or reloads is told, and keeping the next one fails the same way
    except BadCopy as bad:
        why = str(bad)[: LONGEST_SENTENCE // 2]
    try:
        aside = set_aside(config.state_dir, url)
    except OSError:
        return None, (), ""
    return None, (), f"its last good copy cannot be used: {why}; it was set aside as {aside}"


def _take(fresh: Optional[Copy], config: Config, before: Optional[Copy], rules: Sequence[Rule]) -> Result:
    """Keep what came, if it is a list. Raises _DownloadFailed."""
    if fresh is None:
        return Result(rules=len(rules))
    place = without_query(fresh.url)
    try:
        new = read_list(fresh.body, place, config.source_max_size)
        prove(new, place)
    except BadList as bad:
        raise _DownloadFailed("; ".join(bad.mistakes)) from None
    if not new:
        raise _DownloadFailed("the list has no host rule in it")
    try:
        write_copy(config.state_dir, fresh)
    except OSError as error:
        raise _DownloadFailed(
            f"its copy cannot be kept: {error.filename or config.state_dir}: {error.strerror}"
        ) from None
    were, are = Counter(map(str, rules)), Counter(map(str, new))
    changed = before is None or before.body != fresh.body
    return Result("", changed, len(new), (are - were).total(), (were - are).total())


def _fetch(url: str, config: Config, before: Optional[Copy]) -> Optional[Copy]:
    """The list as it is now, or None where the server says that it is the one of before. Raises _DownloadFailed."""
    get_hub().loop.update_now()  # its timers count from when it last looked at the clock
    max_size = config.source_max_size
    try:
        with gevent.Timeout(config.source_timeout), Https(config, config.source_timeout, _most(max_size)) as https:
            return _ask(https, url, max_size, before)
    except gevent.Timeout:
        why = f"no whole answer within {config.source_timeout:g} s (source-timeout)"
    except AnswerTooLarge:
        why = f"larger than {max_size} bytes (source-max-size)"
    except ssl.SSLCertVerificationError as error:
        why = f"the certificate of the server is not trusted: {error.verify_message}"
    except http.client.RemoteDisconnected:
        why = "the server closed the connection without an answer"
    except (http.client.HTTPException, ValueError) as error:  # ValueError: a chunk of a negative size
        why = f"the answer is not proper HTTP ({type(error).__name__})"
    except Unreached as error:
        why = str(error)
    except OSError as error:
        why = error.strerror or str(error)
    raise _DownloadFailed(why)


def _most(max_size: int) -> int:
    """Bytes of an answer with a list of this size: its head, and the frames of its chunks."""
    return 8 * max_size + (1 << 20)


def _ask(https: Https, url: str, max_size: int, before: Optional[Copy]) -> Optional[Copy]:
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
                raise _DownloadFailed(f"the server answered {answer.status}{_phrase(answer.status)}")
            body = _body(answer, max_size)
            etag, modified = (_validator(answer.getheader(name)) for name in ("ETag", "Last-Modified"))
            return Copy(url, etag, modified, time.time(), body)
    raise _DownloadFailed(f"more than {MOST_REDIRECTS} redirects")


def _next(here: str, answer: http.client.HTTPResponse) -> str:
    there = answer.getheader("Location") or ""
    try:
        there = urljoin(here, there)
        if not there.lower().startswith("https://"):
            raise ValueError("is not https://")
        return parse_source(there)
    except ValueError as error:
        raise _DownloadFailed(f"the server redirects to {without_query(there[:200])!a}, which {error}") from None


def _body(answer: http.client.HTTPResponse, max_size: int) -> bytes:
    """The whole list, or nothing: a list that ends too early would be another list."""
    if answer.getheader("Content-Encoding", "identity").lower() != "identity":
        raise _DownloadFailed("the answer is compressed, although that was not asked for")
    length = answer.length
    if length is not None and length > max_size:
        raise _DownloadFailed(f"larger than {max_size} bytes (source-max-size)")
    if length is None and not answer.chunked:
        raise _DownloadFailed("the answer says neither how long it is nor where it ends")
    body = answer.read(max_size + 1)
    if len(body) > max_size:
        raise _DownloadFailed(f"larger than {max_size} bytes (source-max-size)")
    if length is not None and len(body) != length:
        raise _DownloadFailed(f"the answer ended after {len(body)} of {length} bytes")
    if "html" in answer.getheader("Content-Type", "").lower():
        raise _DownloadFailed("the answer is a page in HTML, not a list of host rules")
    return body


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""


def _validator(value: Optional[str]) -> str:
    """What goes back to the server as it came, if it is short and plain."""
    return value if value is not None and len(value) < 1000 and value.isascii() and value.isprintable() else ""
