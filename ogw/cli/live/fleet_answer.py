"""One gateway of many, asked from afar: what its /readyz and /metrics say, or a sentence why they say nothing.

Whatever answers there is hostile until it was read: its time, its size and its characters are bounded.
"""

import http.client
import math
import socket
import ssl
import time
from collections.abc import Iterable
from typing import Any, NamedTuple, Optional, TypedDict
from urllib.parse import SplitResult, urlsplit

from ogw.language.messages import gettext as _
from ogw.wire.date import date_of

LARGEST = 4 << 20  # bytes of an answer
PIECE = 1 << 16
PORT = 9180  # of a URL that names none
_WRONG_NAME = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH: no authority helps
SCHEMES = ("http", "https")


class FleetMember(TypedDict):
    """What one gateway says; None where it does not say, or does not answer.

    gateway      its URL
    why          why nothing is known of it; "" where something is
    version      of ogw
    policy       the hash of the policy in force
    ready        whether clients should be sent there
    not_ready    why not; "" where they should
    tunnels      open ones
    refused      requests that were refused since its start
    reload_age   seconds since the last reload was taken; None for none since its start
    list_age     seconds since the downloaded list that was fetched longest ago was; None where none is downloaded
    certificate  seconds until the certificate ends that its admin-address shows; None for none
    """

    gateway: str
    why: str
    version: Optional[str]
    policy: Optional[str]
    ready: Optional[bool]
    not_ready: str
    tunnels: Optional[int]
    refused: Optional[int]
    reload_age: Optional[float]
    list_age: Optional[float]
    certificate: Optional[float]


class _Answer(NamedTuple):
    status: int
    body: str
    date: float  # Unix seconds by the clock over there
    kind: str  # its media type


class NotAsked(Exception):
    """It says nothing of use, and why."""


def parse_url(text: str) -> SplitResult:
    """http[s]://HOST[:PORT][/PATH], the root of a gateway's admin address. Raises ValueError."""
    url = urlsplit(text if "://" in text else f"http://{text}")
    if url.scheme not in SCHEMES:
        raise ValueError(_("this is no URL of a gateway, such as https://gateway.example.com:9180"))
    if not url.hostname or not text.isprintable() or " " in text:
        raise ValueError(_("this URL has no host, unlike https://gateway.example.com:9180"))
    if url.username is not None:
        raise ValueError(_("this URL has a user name in it; give a token with --token-file"))
    if url.query or url.fragment:
        raise ValueError(_("this URL has more than a path behind its host; name only the root"))
    url.port  # noqa: B018 - raises ValueError for one that there cannot be
    return url


def silent(gateway: str, why: str) -> FleetMember:
    """One of which nothing is known."""
    return {
        "gateway": gateway,
        "why": why,
        "version": None,
        "policy": None,
        "ready": None,
        "not_ready": "",
        "tunnels": None,
        "refused": None,
        "reload_age": None,
        "list_age": None,
        "certificate": None,
    }


def ask_member(gateway: str, token: str, context: ssl.SSLContext, seconds: float) -> FleetMember:
    """Ask it, within so many seconds but for the look-up of its name; whatever goes wrong is its `why`."""
    url = parse_url(gateway)
    until = time.monotonic() + seconds
    try:
        ready = _get(url, "readyz", "", context, until)
        metrics = _get(url, "metrics", token, context, until)
        return _read(gateway, ready, metrics, token)
    except NotAsked as error:
        return silent(gateway, str(error))
    except TimeoutError as error:
        told = _("no answer within {seconds:g} s")
        if "handshake" in str(error):
            told = _("no TLS handshake within {seconds:g} s; if the gateway speaks no TLS there, use http://")
        return silent(gateway, told.format(seconds=seconds))
    except ssl.SSLCertVerificationError as error:
        told = _("the certificate is not trusted: {why}; name its authority with --ca FILE")
        if error.verify_code in _WRONG_NAME:
            told = _("the TLS handshake failed: {why}")
        return silent(gateway, told.format(why=error.verify_message.rstrip(".")))
    except ssl.SSLError as error:
        return silent(gateway, _of_tls(error))
    except (http.client.HTTPException, ValueError) as error:
        told = _(
            "the gateway speaks no HTTP there ({error}); check that this is the admin-address, and http:// or https://"
        )
        return silent(gateway, told.format(error=type(error).__name__))
    except OSError as error:
        return silent(gateway, _("the gateway cannot be reached: {why}").format(why=error.strerror or error))


def _of_tls(error: ssl.SSLError) -> str:
    if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
        return _("the gateway speaks no TLS there; use http://, or set admin-tls-certificate on its machine")
    why = (error.reason or str(error)).lower().replace("_", " ")
    return _("the TLS handshake failed: {why}").format(why=why)


def _get(url: SplitResult, path: str, token: str, context: ssl.SSLContext, until: float) -> _Answer:
    """Raises NotAsked, TimeoutError, ssl.SSLError, OSError, http.client.HTTPException or ValueError."""
    place = url.hostname or "", url.port or PORT
    connection: http.client.HTTPConnection
    if url.scheme == "https":
        connection = http.client.HTTPSConnection(*place, timeout=_left(until), context=context)
    else:
        connection = http.client.HTTPConnection(*place, timeout=_left(until))
    try:
        headers = {"Accept": "text/plain", "Connection": "close"}
        connection.request("GET", f"{url.path.rstrip('/')}/{path}", None, headers | _credentials(token))
        assert connection.sock is not None
        sock = connection.sock
        sock.settimeout(_left(until))
        answer = connection.getresponse()
        body = _body(answer, sock, until)
        date = date_of([(b"date", (answer.getheader("Date") or "").encode("latin-1", "replace"))])
        kind = (answer.getheader("Content-Type") or "").partition(";")[0].strip().lower()
        return _Answer(answer.status, body.decode("utf-8", "replace"), time.time() if date is None else date, kind)
    finally:
        connection.close()


def _body(answer: http.client.HTTPResponse, sock: socket.socket, until: float) -> bytes:
    """All of it, however it drips. Raises NotAsked, TimeoutError, OSError or http.client.HTTPException."""
    body = bytearray()
    while not answer.isclosed():
        sock.settimeout(_left(until))
        piece = answer.read1(PIECE)
        if not piece:
            break
        body += piece
        if len(body) > LARGEST:
            raise NotAsked(_("the answer has more than {most} bytes: it is not that of a gateway").format(most=LARGEST))
    return bytes(body)


def _credentials(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _left(until: float) -> float:
    """Raises TimeoutError."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _read(gateway: str, ready: _Answer, metrics: _Answer, token: str) -> FleetMember:
    """Raises NotAsked or ValueError."""
    if metrics.status == 401:
        if token:
            raise NotAsked(_("the gateway does not accept this token (401); see admin-token-file on its machine"))
        raise NotAsked(_("the gateway wants a token (401); give one with --token-file FILE"))
    if metrics.status in (301, 302, 303, 307, 308):
        raise NotAsked(
            _("the answer is a redirect ({status}); name the URL that it leads to").format(status=metrics.status)
        )
    if metrics.status == 400 and "https" in metrics.body.lower():
        raise NotAsked(_("the gateway speaks TLS there; use https://"))
    if metrics.status != 200:
        told = _("the answer to /metrics is {status}: is this the admin-address of a gateway?")
        raise NotAsked(told.format(status=metrics.status))
    if metrics.kind == "text/html" or metrics.body.lstrip()[:1] == "<":
        raise NotAsked(_("the answer is a page in HTML: this is not the admin-address of a gateway"))
    known = _Samples(metrics.body)
    if known.info("ogw_build_info", "version") is None:
        raise NotAsked(_("the metrics are not those of a gateway"))
    is_ready = (ready.status, ready.body.strip()) == (200, "ok")
    return {
        "gateway": gateway,
        "why": "",
        "version": known.info("ogw_build_info", "version"),
        "policy": known.info("ogw_policy_info", "policy"),
        "ready": is_ready,
        "not_ready": "" if is_ready else ready.body.strip()[:200] or str(ready.status),
        "tunnels": known.count("ogw_tunnels_active"),
        "refused": known.count("ogw_requests_total", decision="refused"),
        "reload_age": known.age("ogw_reload_time_seconds", metrics.date),
        "list_age": known.age("ogw_source_fetched_time_seconds", metrics.date),
        "certificate": known.left("ogw_admin_certificate_expiry_time_seconds", metrics.date),
    }


class _Samples:
    """The samples of an exposition, by their names. Raises ValueError where it is none."""

    def __init__(self, text: str) -> None:
        from prometheus_client.parser import text_string_to_metric_families  # which only this command needs

        self._known: dict[str, list[Any]] = {}
        try:
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    self._known.setdefault(sample.name, []).append(sample)
        except Exception:  # of what is no exposition it makes errors of many kinds
            raise NotAsked(_("the answer is not metrics but something else")) from None

    def _values(self, name: str, labels: dict[str, str]) -> Iterable[float]:
        for sample in self._known.get(name, ()):
            if labels.items() <= sample.labels.items() and math.isfinite(sample.value):
                yield sample.value

    def info(self, name: str, label: str) -> Optional[str]:
        found = (sample.labels[label] for sample in self._known.get(name, ()) if label in sample.labels)
        return next((text[:80] for text in found), None)

    def count(self, name: str, **labels: str) -> Optional[int]:
        """The sum; None where there is none, or none that is finite."""
        total = sum(found := list(self._values(name, labels)))
        return int(total) if found and math.isfinite(total) else None

    def age(self, name: str, now: float) -> Optional[float]:
        """Seconds since then, by the clock over there, of several the longest ago; None for never."""
        when = min((value for value in self._values(name, {}) if value > 0), default=0.0)
        return max(0.0, now - when) if when else None

    def left(self, name: str, now: float) -> Optional[float]:
        """Seconds until then; None for never."""
        when = max(self._values(name, {}), default=0.0)
        return when - now if when else None
