"""Connections at tls:// places, until their TLS handshake is done: then the plain ends of their legs go to the tunnels.

A handshake is no tunnel yet. How long it may take (head-timeout, from accept on, the head included) and how many there
may be is bounded here; its memory is by OpenSSL, which takes no message above 100 KiB.
"""

import _socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from ssl import SSLContext
from typing import Any, Optional

from gevent.hub import get_hub
from greenlet import getcurrent

from ogw.policy.decision import Reason
from ogw.policy.identity import Authorities, Identity, identity_of
from ogw.report.log import Log
from ogw.report.metrics import CLIENT_TLS, CLIENT_TLS_VERSIONS
from ogw.service.tunnels import Tunnels
from ogw.settings.listen_tls import authorities_of, listen_context, revocations_of
from ogw.settings.settings import Config
from ogw.tunnel.encrypted import Leg
from ogw.tunnel.introduced import Introduced
from ogw.tunnel.leg_failure import HANDSHAKE, REVOKED_OR_NOT, not_tls, why_failed
from ogw.tunnel.loop import READ, Deadline, Expired
from ogw.tunnel.over_tls import OverTls, Trust
from ogw.tunnel.refusal import Refused
from ogw.wire.protocols import is_settled

RECEIVE_SIZE = 16 * 1024
# A context remembers sessions up to TLS 1.2, which clients may take up again; that cannot be switched off in Python.
MOST_SESSIONS, LONGEST_CONTEXT = 1000, 300.0  # of one context; seconds


class Round:
    """A context, and what is to be known of the sessions that it remembers.

    chains  that were verified, by the certificates that they begin with
    """

    __slots__ = ("chains", "context", "left", "until")

    def __init__(self, context: SSLContext) -> None:
        self.context = context
        self.chains: dict[bytes, tuple[bytes, ...]] = {}
        self.left, self.until = MOST_SESSIONS, time.monotonic() + LONGEST_CONTEXT


class Terms:
    """On which clients come in under a configuration.

    make         makes the context
    authorities  whose certificates they must have; None: they need none
    """

    def __init__(self, make: Callable[[], SSLContext], authorities: Optional[Authorities]) -> None:
        self._make = make
        self.authorities = authorities
        self._round = Round(make())

    def round(self) -> Round:
        """For one more client, whose handshake ends with the one that it began with. What it remembers is bounded."""
        if self._round.left <= 0 or time.monotonic() >= self._round.until:
            with suppress(OSError):  # no descriptor is to be had just now: the last one goes on
                self._round = Round(self._make())
        self._round.left -= 1
        return self._round


def terms_of(config: Config) -> Optional[Terms]:
    """None where there is no certificate. Raises OSError (of ssl) or ValueError."""
    if not config.listen_tls_certificate:
        return None
    required = config.listen_client_certificate == "required"
    ca, crl = config.listen_client_ca, config.listen_client_crl
    make = partial(listen_context, config.listen_tls_certificate, config.listen_tls_key, ca, crl, required)
    return Terms(make, Authorities(authorities_of(ca), revocations_of(crl)) if required else None)


class GaveWay(BaseException):
    """It is to end. Not an Exception: nothing on the way may swallow it."""

    def __init__(self, refused: Refused) -> None:
        self.refused = refused


class _Handshake:
    """One that goes on, with what is known of its client.

    heard  the first bytes that it said
    via    as in tunnel/introduced.py
    """

    __slots__ = ("accepted", "address", "client", "greenlet", "heard", "via")

    def __init__(
        self, client: _socket.socket, address: tuple[Any, ...], heard: bytes, via: str, accepted: float
    ) -> None:
        self.client = client
        self.address = address
        self.heard = heard
        self.via = via
        self.accepted = accepted
        self.greenlet: Any = None

    @property
    def is_no_tls(self) -> bool:
        """It is none, whatever follows."""
        return self.heard[:1] not in (b"", HANDSHAKE)


class Handshakes:
    """Those of one worker, and the legs that came of them.

    terms  on which clients come in; None where there is no place for them
    """

    def __init__(self, tunnels: Tunnels, log: Log, terms: Optional[Terms]) -> None:
        self._tunnels = tunnels
        self._log = log
        self._trust = Trust()
        self._waiting: dict[_Handshake, None] = {}  # the oldest first
        self._legs: set[Leg] = set()
        self._terms: Optional[Terms] = None
        self.go_on_under(tunnels.config, terms)

    def go_on_under(self, config: Config, terms: Optional[Terms]) -> None:
        """For connections that are accepted from now on. Without a certificate there is no going on: the last stays."""
        self._head_timeout = config.head_timeout
        if terms is not None:
            self._terms, self._trust.authorities = terms, terms.authorities

    @property
    def are_open(self) -> bool:
        """Handshakes, or legs that still have something to send."""
        return bool(self._waiting or self._legs)

    def take(
        self,
        client: _socket.socket,
        address: tuple[Any, ...],
        first: bytes,
        via: str = "",
        accepted: Optional[float] = None,
    ) -> None:
        """Somebody is here. Called in the hub."""
        if len(self._waiting) >= max(1, self._tunnels.spare_sockets() // 2):
            detail = "too many TLS handshakes of clients are not done"
            self._end(next(iter(self._waiting)), Refused(Reason.CLIENT_TLS_TOO_MANY, detail))
        one = _Handshake(client, address, first, via, time.monotonic() if accepted is None else accepted)
        self._waiting[one] = None
        self._tunnels.greenlets.run(self._run, one)

    def end(self, reason: Reason, detail: str) -> None:
        """Nobody is waited for any longer. Called in the hub."""
        for one in tuple(self._waiting):
            self._end(one, Refused(reason, detail))

    def _end(self, one: _Handshake, refused: Refused) -> None:
        if one.greenlet is not None:
            one.greenlet.throw(GaveWay(refused))

    # The handshake, in a greenlet of its own.

    def _run(self, one: _Handshake) -> None:
        one.greenlet = getcurrent()
        leg: Optional[Leg] = None
        refused: Optional[Refused] = None
        identity: Optional[Identity] = None
        try:
            with Deadline(one.accepted + self._head_timeout - time.monotonic()):
                one.heard = one.heard or _hear(one.client)
                if one.is_no_tls:
                    while not is_settled(one.heard) and (more := _hear(one.client)):
                        one.heard += more
                    raise not_tls(one.heard, one.address[0])
                if one.heard:
                    terms = self._terms
                    assert terms is not None
                    known = terms.round()
                    leg = Leg(one.client, known.context, heard=one.heard)
                    leg.handshake()
                    if terms.authorities is not None:
                        identity = _identity(leg, known.chains, terms.authorities)
        except Expired:
            detail = f"its TLS handshake was not done after {self._head_timeout:g} s (head-timeout)"
            late = Refused(Reason.CLIENT_TLS_TIMEOUT, detail)
            refused = not_tls(one.heard, one.address[0]) if one.is_no_tls else late
        except GaveWay as gave_way:
            refused = gave_way.refused
        except Refused as told:
            refused = told.with_traceback(None)
        except OSError as error:
            refused = why_failed(error)
        except Exception as error:
            refused = Refused(
                Reason.INTERNAL_ERROR, f"{type(error).__name__}: {error}; this is an error of the gateway"
            )
        one.greenlet = None
        get_hub().loop.run_callback(self._settle, one, leg, identity, refused)

    # What becomes of it, in the hub, where tunnels are started.

    def _settle(
        self, one: _Handshake, leg: Optional[Leg], identity: Optional[Identity], refused: Optional[Refused]
    ) -> None:
        del self._waiting[one]
        if refused is None and leg is not None:
            refused = self._objection(identity)
        if not one.heard:
            one.client.close()  # a probe, or somebody who says nothing: nobody asked anything
        elif refused is None and leg is not None:
            self._admit(one, leg, identity)
        else:
            assert refused is not None
            kind = partial(Introduced if leg is None else Unanswered, via=one.via, accepted=one.accepted)
            client = one.client if leg is None else leg.give_back()
            self._tunnels.take(client, one.address, b"", kind, refused)
        self._wake()

    def _objection(self, identity: Optional[Identity]) -> Optional[Refused]:
        """What was asked of it was in force when its handshake began, or the session that it resumes: ask it now."""
        authorities = self._trust.authorities
        objection = authorities.objection(identity) if authorities is not None else None
        return None if objection is None else Refused(*objection)

    def _admit(self, one: _Handshake, leg: Leg, identity: Optional[Identity]) -> None:
        try:
            plain = leg.start()
        except OSError as error:
            unanswered = partial(Unanswered, via=one.via, accepted=one.accepted)
            told = Refused(
                Reason.CLIENT_TLS_TOO_MANY, f"{error.strerror}: raise the limit of open files (LimitNOFILE=)"
            )
            self._tunnels.take(leg.give_back(), one.address, b"", unanswered, told)
            return
        self._log.cells[CLIENT_TLS + CLIENT_TLS_VERSIONS.index(leg.version)] += 1
        self._legs.add(leg)
        leg.closed.append(partial(self._closed, leg))
        kind = partial(OverTls, via=one.via, accepted=one.accepted, leg=leg, trust=self._trust, identity=identity)
        self._tunnels.take(plain, one.address, b"", kind)

    def _closed(self, leg: Leg) -> None:
        self._legs.discard(leg)
        self._wake()

    def _wake(self) -> None:
        if not self.are_open:
            self._tunnels.empty.set()


class Unanswered(Introduced):
    """A client whose TLS leg was not made: it would understand no HTTP answer, and has had its alert."""

    __slots__ = ()

    def _answer(self, _refused: Refused) -> bytes:
        return b""


def _hear(client: _socket.socket) -> bytes:
    """What the client says next; b"" where it leaves, or is gone."""
    readable = get_hub().loop.io(client.fileno(), READ)
    try:
        while True:
            try:
                return client.recv(RECEIVE_SIZE)
            except BlockingIOError:
                get_hub().wait(readable)
            except OSError:
                return b""
    finally:
        readable.close()


def _identity(leg: Leg, chains: dict[bytes, tuple[bytes, ...]], authorities: Authorities) -> Identity:
    """Raises Refused."""
    own = leg.certificate
    chain = chains.get(own) if leg.is_resumed else leg.chain
    try:
        if not chain:
            raise ValueError("nothing is known of the session that it resumes")
        identity = identity_of(chain)
    except ValueError as error:
        raise Refused(Reason.CLIENT_TLS_CERTIFICATE_INVALID, f"its certificate cannot be read: {error}") from None
    chains[own] = chain
    if authorities.unknown(identity):
        told = f"{REVOKED_OR_NOT}: an authority of its chain has no list that is still to be used"
        raise Refused(Reason.CLIENT_TLS_CRL, told)
    return identity
