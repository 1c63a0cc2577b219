"""Step 3 of the path, its other way: reach the target through a relay proxy, or through the next one.

A relay proxy that cannot be reached, stalls, closes, talks garbage or answers 5xx whatever it is asked for rests for a
growing while. Once that is over, real traffic tries it again, one tunnel at a time.
"""

import _socket
import http
import re
import ssl
import time
from collections.abc import Iterator, Sequence
from typing import Optional

from gevent.hub import get_hub

from ogw.policy.decision import ALLOW, Decision, Reason
from ogw.report.events import Event
from ogw.report.log import Log
from ogw.report.metrics import MOST_RELAYS, RELAY_FAILED, RELAY_OPENED, RELAY_STATE, RelayState
from ogw.tunnel.connector import Connector
from ogw.tunnel.encrypted import Leg
from ogw.tunnel.local import OwnPlaces
from ogw.tunnel.loop import READ, Deadline, Expired
from ogw.tunnel.mailbox import Mailbox
from ogw.tunnel.password import PasswordSource
from ogw.tunnel.upstream import DialError, Upstream
from ogw.wire.connect import (
    BadResponse,
    Fields,
    HeadTooLarge,
    Response,
    ResponseReader,
    Target,
    connect_request,
)
from ogw.wire.relay_proxy import Credentials, RelayProxy

LARGEST_HEAD = 64 * 1024
MOST_INTERIM = 16  # answers before the answer (RFC 9110, section 15.2)
RECEIVE_SIZE = 16 * 1024
FIRST_REST, LONGEST_REST = 1.0, 60.0  # seconds
MOST_DOUBTS = 5  # refusals in a row that tell of the relay proxy, not of a target
SEVERAL = 3  # of so many targets it is not one of them that is the matter
MOST_PASSWORDS = 3  # that a tunnel tries, each read since the one before was refused

WHY = {  # it is not up, in words that are ours
    Reason.RELAY_UNREACHABLE: "it cannot be reached",
    Reason.RELAY_LOOP: "it is this gateway itself",
    Reason.RELAY_UNTRUSTED: "its certificate is not to be trusted",
    Reason.RELAY_TIMEOUT: "it does not answer in time",
    Reason.RELAY_CLOSED: "it closes without an answer",
    Reason.RELAY_MALFORMED: "what it says is not what a proxy says",
    Reason.RELAY_HEAD_TOO_LARGE: "it answers too much",
}

# The registered ones (RFC 9110, section 16.4.1) and those of practice. Another word may be anything, even our password.
SCHEMES = {
    *("basic", "bearer", "concealed", "digest", "dpop", "gnap", "hoba", "kerberos", "mutual", "negotiate", "ntlm"),
    *("oauth", "privatetoken", "scram-sha-1", "scram-sha-256", "vapid"),
}
_SCHEME = re.compile(rb"(?:\A|,)[ \t]*([A-Za-z][A-Za-z0-9-]*)(?=[ \t]|,|\Z)")  # RFC 9110, section 11.6.1


class _Failed(Exception):
    """One relay proxy did not open the tunnel.

    at_fault  it is the relay proxy's own fault, so it rests
    go_on     the next one may do better
    """

    def __init__(self, error: DialError, at_fault: bool, go_on: bool = True) -> None:
        super().__init__(error.detail)
        self.error = error
        self.at_fault = at_fault
        self.go_on = go_on

    @property
    def why(self) -> str:
        status = self.error.status
        return WHY[self.error.reason] if status is None else f"it answers {status} ({_words(status)})"


class Relay:
    """One relay proxy, and how it fares. `number`: its place in the list, by which it is counted."""

    def __init__(self, proxy: RelayProxy, number: int = 0) -> None:
        self.proxy = proxy
        self.number = number
        self.rest = 0.0  # seconds; 0 while it works
        self.rests_until = 0.0
        self.tried = False  # a tunnel is trying it, now that its rest is over
        self.answered = 0.0  # when it last answered anything readable
        self.state = RelayState.NEVER_TRIED
        self.since = 0.0  # when it last did what its state says
        self.why = ""  # it is not up
        self._is_ill = False  # its refusals in a row are 5xx
        self._doubts = 0
        self._doubted: set[Target] = set()

    def is_due(self, now: float) -> bool:
        return not self.rest or (now >= self.rests_until and not self.tried)

    def has_failed(self, now: float, why: str = "") -> bool:
        """Let it rest, for longer than the last time; False if it rests already."""
        self._is_now(RelayState.RESTING, now, why)
        if self.rest and now < self.rests_until:
            return False
        self.rest = min(LONGEST_REST, self.rest * 2 or FIRST_REST)
        self.rests_until = now + self.rest
        return True

    def has_worked(self) -> bool:
        """It answered. Whether that is news."""
        was_resting, self.rest = bool(self.rest), 0.0
        return was_resting

    def has_opened(self, now: float) -> None:
        self._is_now(RelayState.UP, now, "")
        self._doubts = 0
        self._doubted.clear()

    def has_refused(self, now: float, why: str, status: int, target: Target, others_open_it: bool = False) -> None:
        """It answered with something else than 2xx. One target's own trouble changes nothing about one that is up."""
        is_ill = status >= 500
        if is_ill is not self._is_ill:
            self._is_ill = is_ill
            self._doubts = 0
            self._doubted.clear()
        tells = others_open_it or target not in self._doubted or len(self._doubted) >= SEVERAL
        if tells and self._doubts < MOST_DOUBTS:
            self._doubts += 1
            self._doubted.add(target)
        if status == 407 or self._doubts >= MOST_DOUBTS or self.state is not RelayState.UP:
            self._is_now(RelayState.REFUSES_US, now, why)

    @property
    def is_given_up(self) -> bool:
        """It answers 5xx whatever it is asked for."""
        return self._is_ill and self._doubts >= MOST_DOUBTS

    def _is_now(self, state: RelayState, now: float, why: str) -> None:
        self.state, self.since, self.why = state, now, why


class Relays:
    """The relay proxies, in order of preference.

    via      how this gateway names itself to them, so that a loop is seen
    context  what an encrypted one is verified with
    """

    def __init__(
        self,
        proxies: Sequence[RelayProxy],
        connector: Connector,
        log: Log,
        via: bytes,
        shared: PasswordSource,
        context: Optional[ssl.SSLContext],
        own: OwnPlaces,
        timeout: float,
    ) -> None:
        self.relays = [Relay(proxy, min(number, MOST_RELAYS - 1)) for number, proxy in enumerate(proxies)]
        self._connector = connector
        self._log = log
        self._cells = log.cells
        self._via = via
        self._shared = shared
        self._context = context
        self._own = own
        self._timeout = timeout

    def dial(self, target: Target, mailbox: Mailbox, via: Sequence[bytes] = ()) -> Upstream:
        """A tunnel to the target through the first relay proxy that opens one. Raises DialError or ClientGone.

        via  what the request says of the proxies that it came through
        """
        failures: list[DialError] = []
        ill: list[tuple[Relay, _Failed]] = []
        for relay in self._in_turn():
            retry = bool(relay.rest)
            relay.tried = relay.tried or retry
            try:
                upstream = self._through(relay, target, mailbox, via)
            except _Failed as failed:
                failures.append(failed.error)
                self._cells[RELAY_FAILED + relay.number] += 1
                self._judge_failure(relay, failed, target, ill)
                if not failed.go_on:
                    break
            else:
                self._cells[RELAY_OPENED + relay.number] += 1
                self._works(relay)
                relay.has_opened(time.monotonic())
                self._cells[RELAY_STATE + relay.number] = RelayState.UP
                self._doubt(ill, target, others_open_it=True)
                return upstream
            finally:
                if retry:
                    relay.tried = False
        self._doubt(ill, target)
        raise _told(failures)

    def _judge_failure(self, relay: Relay, failed: _Failed, target: Target, ill: list[tuple[Relay, _Failed]]) -> None:
        status = failed.error.status
        if failed.at_fault or (status is not None and status >= 500 and relay.is_given_up):
            self._rest(relay, failed)
        elif status is not None:
            self._works(relay)
            if status >= 500:
                ill.append((relay, failed))  # whose fault that is, the others may tell
            else:
                self._refuses(relay, failed, status, target)

    def _doubt(self, ill: list[tuple[Relay, _Failed]], target: Target, others_open_it: bool = False) -> None:
        """These answered 5xx."""
        for relay, failed in ill:
            self._refuses(relay, failed, failed.error.status or 0, target, others_open_it)
            if relay.is_given_up:
                self._rest(relay, failed)

    def _refuses(
        self, relay: Relay, failed: _Failed, status: int, target: Target, others_open_it: bool = False
    ) -> None:
        relay.has_refused(time.monotonic(), failed.why, status, target, others_open_it)
        self._cells[RELAY_STATE + relay.number] = relay.state

    def _in_turn(self) -> Iterator[Relay]:
        """Those that are due; if none is, all of them: a tunnel that may fail is better than one that must."""
        now = time.monotonic()
        yield from [relay for relay in self.relays if relay.is_due(now)] or self.relays

    def _rest(self, relay: Relay, failed: _Failed) -> None:
        is_news = relay.has_failed(time.monotonic(), failed.why)
        self._cells[RELAY_STATE + relay.number] = relay.state
        if is_news:
            error, told = failed.error, failed.error.detail
            if error.status is not None:
                told = f"relay proxy {relay.proxy}: {failed.why}, whatever it is asked for"
            self._log.event(Event.NETWORK_ERROR, f"{told}; it rests for {relay.rest:g} s", error.reason.token, count=1)

    def _works(self, relay: Relay) -> None:
        if relay.has_worked():
            self._log.event(Event.INFORMATION, f"relay proxy {relay.proxy} answers again")

    def remember(self, before: "Relays") -> None:
        """How those fare that were set before, too; their rest is over, since what was wrong may have been mended."""
        before._shared.given = self._shared.given  # for tunnels that are dialing with what is no longer right
        known = {relay.proxy: relay for relay in before.relays}
        for place, relay in enumerate(self.relays):
            old = known.pop(relay.proxy, None)
            if old is not None:
                old.number, old.rests_until = relay.number, 0.0
                self.relays[place] = old
                self._cells[RELAY_STATE + old.number] = old.state

    # Through one of them.

    def _through(self, relay: Relay, target: Target, mailbox: Mailbox, via: Sequence[bytes]) -> Upstream:
        own = relay.proxy.credentials
        tries = 0
        while True:
            sent = own or self._shared.given
            tries += 1
            try:
                return self._ask(relay, target, mailbox, via, sent)
            except _Failed as failed:
                # A rotated password needs nobody; another tunnel may have read the file while this one waited. What was
                # refused is not sent again: that would lock an account.
                if failed.error.status != 407 or own is not None or tries == MOST_PASSWORDS:
                    raise
                if self._shared.given == sent and not self._shared.changed():
                    raise

    def _ask(
        self,
        relay: Relay,
        target: Target,
        mailbox: Mailbox,
        via: Sequence[bytes],
        known: Optional[Credentials],
    ) -> Upstream:
        proxy = relay.proxy
        plain = self._connect(proxy, mailbox)
        leg: Optional[Leg] = None
        sock = plain.socket
        sent = time.monotonic()
        try:
            with Deadline(self._timeout):
                if proxy.encrypted:
                    leg, sock = self._encrypt(proxy, sock)
                answer = self._converse(relay, sock, _asking(target, via, self._via, known), mailbox)
        except BaseException as error:
            sock.close()
            if leg is not None:
                leg.end()
            if isinstance(error, Expired):
                # While it answers others, the silence is more likely that of the target.
                raise _failure(
                    Reason.RELAY_TIMEOUT,
                    proxy,
                    f"did not answer within {self._timeout:g} s (dial-timeout)",
                    at_fault=relay.answered < sent,
                ) from None
            if isinstance(error, OSError):
                raise _failure(
                    Reason.RELAY_CLOSED, proxy, f"closed without an answer: {error.strerror}", relay.answered < sent
                ) from None
            raise
        if 200 <= answer.status < 300:
            return Upstream(sock, plain.address, answer.rest, None if leg is None else leg.end)
        sock.close()
        if leg is not None:
            leg.end()
        raise self._refusal(proxy, answer)

    def _connect(self, proxy: RelayProxy, mailbox: Mailbox) -> Upstream:
        try:
            return self._connector.connect(proxy.target, lambda address: self._judge(proxy, address), mailbox)
        except DialError as error:
            if error.reason is Reason.NO_DESCRIPTORS:
                raise
            reason = error.reason if error.reason is Reason.RELAY_LOOP else Reason.RELAY_UNREACHABLE
            raise _failure(reason, proxy, f"cannot be reached: {error.detail}", at_fault=True) from None

    def _judge(self, proxy: RelayProxy, address: str) -> Decision:
        """The address guard leaves the operator's own choice alone, unless it is a loop."""
        if self._own.hold(address, proxy.target.port):
            return Decision(False, Reason.RELAY_LOOP, f"{address}:{proxy.target.port} is this gateway itself")
        return ALLOW

    def _encrypt(self, proxy: RelayProxy, sock: _socket.socket) -> tuple[Leg, _socket.socket]:
        assert self._context is not None
        self._connector.keep_alive(sock)
        leg = Leg(sock, self._context, proxy.target.host)
        try:
            leg.handshake()
            return leg, leg.start()
        except ssl.SSLCertVerificationError as error:
            leg.close()
            what = f"is not to be trusted: {error.verify_message} (relay-proxy-ca-file)"
            raise _failure(Reason.RELAY_UNTRUSTED, proxy, what, at_fault=True) from None
        except ssl.SSLError as error:
            leg.close()
            what = f"does not speak TLS as it should: {error.reason or error.strerror}; http:// is without TLS"
            raise _failure(Reason.RELAY_MALFORMED, proxy, what, at_fault=True) from None
        except BaseException:
            leg.close()
            raise

    def _converse(self, relay: Relay, sock: _socket.socket, request: bytes, mailbox: Mailbox) -> Response:
        """Say CONNECT and read the answer. Raises _Failed, or OSError where the connection broke."""
        sent = time.monotonic()
        readable = get_hub().loop.io(sock.fileno(), READ)
        readable.start(mailbox.tell, readable)
        try:
            sock.send(request)  # on a fresh connection: it fits into its buffer
            reader = ResponseReader(LARGEST_HEAD)
            heard = False
            interim = 0
            while True:
                while mailbox.wait() is not readable:
                    pass
                try:
                    more = sock.recv(RECEIVE_SIZE)
                except BlockingIOError:
                    continue
                if not more:
                    what = "in the middle of its answer" if heard else "without an answer"
                    raise _failure(Reason.RELAY_CLOSED, relay.proxy, f"closed {what}", relay.answered < sent)
                heard = True
                answer = reader.feed(more)
                while answer is not None:
                    if answer.status >= 200:
                        relay.answered = time.monotonic()
                        return answer
                    interim += 1
                    if interim > MOST_INTERIM:
                        raise BadResponse(f"more than {MOST_INTERIM} interim answers")
                    reader = ResponseReader(LARGEST_HEAD)
                    answer = reader.feed(answer.rest)
        except HeadTooLarge as error:
            raise _failure(
                Reason.RELAY_HEAD_TOO_LARGE, relay.proxy, f"answers too much: {error.detail}", True
            ) from None
        except BadResponse as error:
            raise _failure(Reason.RELAY_MALFORMED, relay.proxy, f"is no HTTP proxy: {error.detail}", True) from None
        finally:
            readable.stop()
            readable.close()

    def _refusal(self, proxy: RelayProxy, answer: Response) -> _Failed:
        """An answer that is no 2xx. The relay proxy's own words stay here: they are not ours to pass on."""
        status = answer.status
        if status == 407:
            return _refused(proxy, status, self._about_credentials(proxy, answer.headers), go_on=False)
        words = _words(status)
        if status >= 500:
            return _refused(proxy, status, f"answers {status} ({words}): it does not reach the target", go_on=True)
        what = f"answers {status} ({words}); allow the target there, or set relay-proxy-bypass for it"
        return _refused(proxy, status, what, go_on=False)

    def _about_credentials(self, proxy: RelayProxy, headers: Fields) -> str:
        schemes = offered(headers)
        listed = ", ".join(schemes) or "no scheme"
        if schemes and "basic" not in [scheme.lower() for scheme in schemes]:
            return (
                f"answers 407 and offers only {listed}, which ogw does not speak; let it offer Basic to this gateway, "
                "or put a local proxy in between that speaks them (such as cntlm)"
            )
        if proxy.credentials is None and self._shared.given is None:
            return (
                f"answers 407 and wants credentials ({listed}): set relay-proxy-username and relay-proxy-password-file"
            )
        return (
            f"answers 407: it does not accept the user name or the password ({listed}); "
            "check relay-proxy-username and relay-proxy-password-file"
        )


def offered(headers: Fields) -> list[str]:
    """The authentication schemes that an answer offers, in order (RFC 9110, section 11.7.1)."""
    schemes: dict[str, None] = {}
    for name, value in headers:
        if name == b"proxy-authenticate":
            for scheme in _SCHEME.findall(value):
                name = scheme.decode("ascii")
                schemes.setdefault(name if name.lower() in SCHEMES else "another")
    return list(schemes)[:10]


def _asking(target: Target, via: Sequence[bytes], own: bytes, known: Optional[Credentials]) -> bytes:
    """The request for a tunnel: of the client's own headers only Via goes on."""
    fields = [("Via", value) for value in (*via, b"1.1 " + own)]
    if known is not None:
        fields.append(("Proxy-Authorization", known.header))
    return connect_request(target, fields)


def _words(status: int) -> str:
    """What HTTP calls it: what the relay proxy calls it is not ours to tell."""
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "no status that HTTP knows"


def _failure(reason: Reason, proxy: RelayProxy, what: str, at_fault: bool) -> _Failed:
    return _Failed(DialError(reason, f"relay proxy {proxy} {what}"), at_fault)


def _refused(proxy: RelayProxy, status: int, what: str, go_on: bool) -> _Failed:
    return _Failed(DialError(Reason.RELAY_REFUSED, f"relay proxy {proxy} {what}", status), False, go_on)


def _told(failures: list[DialError]) -> DialError:
    """Of several failures an answer says more than none; the log gets them all."""
    first = next((error for error in failures if error.status is not None), failures[0])
    others = [error.detail for error in failures if error is not first]
    return DialError(first.reason, "; ".join([first.detail, *others]), first.status)
