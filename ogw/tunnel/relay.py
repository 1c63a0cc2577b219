"""Step 3 of the path, its other way: reach the target through a relay proxy, or through the next one.

A relay proxy that cannot be reached, stalls, closes or talks garbage rests for a growing while. Once that is over, real
traffic tries it again, one tunnel at a time.
"""

import _socket
import http
import re
import ssl
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Optional

from gevent.hub import get_hub

from ogw.policy.decision import ALLOW, Decision, Reason
from ogw.report.events import Event
from ogw.report.log import Log
from ogw.report.metrics import MOST_RELAYS, RELAY_DOWN, RELAY_FAILED, RELAY_OPENED
from ogw.tunnel.connector import READ, Connector, DialError, Mailbox, Upstream
from ogw.tunnel.deadline import Deadline, Expired
from ogw.tunnel.encrypted import Leg
from ogw.tunnel.local import is_local
from ogw.tunnel.password import PasswordSource
from ogw.wire.connect import BadResponse, Fields, HeadTooLarge, Response, Target, connect_request, read_response
from ogw.wire.relay_proxy import RelayProxy

LARGEST_HEAD = 64 * 1024
MOST_INTERIM = 16  # answers before the answer (RFC 9110, section 15.2)
RECEIVE_SIZE = 16 * 1024
FIRST_REST, LONGEST_REST = 1.0, 60.0  # seconds

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


class Relay:
    """One relay proxy, and how it fares. `number`: its place in the list, by which it is counted."""

    def __init__(self, proxy: RelayProxy, number: int = 0) -> None:
        self.proxy = proxy
        self.number = number
        self.rest = 0.0  # seconds; 0 while it works
        self.rests_until = 0.0
        self.tried = False  # a tunnel is trying it, now that its rest is over
        self.answered = 0.0  # when it last answered anything readable

    def is_due(self, now: float) -> bool:
        return not self.rest or (now >= self.rests_until and not self.tried)

    def has_failed(self, now: float) -> bool:
        """Let it rest, for longer than the last time; False if it rests already."""
        if self.rest and now < self.rests_until:
            return False
        self.rest = min(LONGEST_REST, self.rest * 2 or FIRST_REST)
        self.rests_until = now + self.rest
        return True

    def has_worked(self) -> bool:
        """Whether that is news."""
        was_resting, self.rest = bool(self.rest), 0.0
        return was_resting


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
        own_ports: Collection[int],
        timeout: float,
    ) -> None:
        self.relays = [Relay(proxy, min(number, MOST_RELAYS - 1)) for number, proxy in enumerate(proxies)]
        self._connector = connector
        self._log = log
        self._cells = log.cells
        self._via = via
        self._shared = shared
        self._context = context
        self._own_ports = frozenset(own_ports)
        self._timeout = timeout

    def dial(self, target: Target, mailbox: Mailbox) -> Upstream:
        """A tunnel to the target through the first relay proxy that opens one. Raises DialError or ClientGone."""
        failures: list[DialError] = []
        for relay in self._in_turn():
            retry = bool(relay.rest)
            relay.tried = relay.tried or retry
            try:
                upstream = self._through(relay, target, mailbox)
            except _Failed as failed:
                failures.append(failed.error)
                self._cells[RELAY_FAILED + relay.number] += 1
                if failed.at_fault:
                    self._rest(relay, failed.error)
                elif failed.error.status is not None:
                    self._works(relay)
                if not failed.go_on:
                    break
            else:
                self._cells[RELAY_OPENED + relay.number] += 1
                self._works(relay)
                return upstream
            finally:
                if retry:
                    relay.tried = False
        raise _told(failures)

    def _in_turn(self) -> Iterator[Relay]:
        """Those that are due; if none is, all of them: a tunnel that may fail is better than one that must."""
        now = time.monotonic()
        yield from [relay for relay in self.relays if relay.is_due(now)] or self.relays

    def _rest(self, relay: Relay, error: DialError) -> None:
        if relay.has_failed(time.monotonic()):
            self._cells[RELAY_DOWN + relay.number] = 1
            self._log.event(
                Event.NETWORK_ERROR, f"{error.detail}; it rests for {relay.rest:g} s", error.reason.token, count=1
            )

    def _works(self, relay: Relay) -> None:
        if relay.has_worked():
            self._cells[RELAY_DOWN + relay.number] = 0
            self._log.event(Event.INFORMATION, f"relay proxy {relay.proxy} answers again")

    # Through one of them.

    def _through(self, relay: Relay, target: Target, mailbox: Mailbox) -> Upstream:
        try:
            return self._ask(relay, target, mailbox)
        except _Failed as failed:
            # A rotated password needs nobody: the file is read again, once.
            if failed.error.status != 407 or relay.proxy.credentials is not None or not self._shared.changed():
                raise
        return self._ask(relay, target, mailbox)

    def _ask(self, relay: Relay, target: Target, mailbox: Mailbox) -> Upstream:
        proxy = relay.proxy
        plain = self._connect(proxy, mailbox)
        leg: Optional[Leg] = None
        sock = plain.socket
        sent = time.monotonic()
        try:
            with Deadline(self._timeout):
                if proxy.encrypted:
                    leg, sock = self._encrypt(proxy, sock)
                answer = self._converse(relay, sock, target, mailbox)
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
        if proxy.target.port in self._own_ports and is_local(address):
            return Decision(False, Reason.RELAY_LOOP, f"{address}:{proxy.target.port} is this gateway itself")
        return ALLOW

    def _encrypt(self, proxy: RelayProxy, sock: _socket.socket) -> tuple[Leg, _socket.socket]:
        assert self._context is not None
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

    def _converse(self, relay: Relay, sock: _socket.socket, target: Target, mailbox: Mailbox) -> Response:
        """Say CONNECT and read the answer. Raises _Failed, or OSError where the connection broke."""
        fields = [("Via", b"1.1 " + self._via)]
        known = relay.proxy.credentials or self._shared.given
        if known is not None:
            fields.append(("Proxy-Authorization", known.header))
        sent = time.monotonic()
        readable = get_hub().loop.io(sock.fileno(), READ)
        readable.start(mailbox.tell, readable)
        try:
            sock.send(connect_request(target, fields))  # on a fresh connection: it fits into its buffer
            data = b""
            interim = 0
            while True:
                while mailbox.wait() is not readable:
                    pass
                try:
                    more = sock.recv(RECEIVE_SIZE)
                except BlockingIOError:
                    continue
                if not more:
                    what = "in the middle of its answer" if data else "without an answer"
                    raise _failure(Reason.RELAY_CLOSED, relay.proxy, f"closed {what}", relay.answered < sent)
                data += more
                while (answer := read_response(data, LARGEST_HEAD)) is not None:
                    if answer.status >= 200:
                        relay.answered = time.monotonic()
                        return answer
                    interim += 1
                    if interim > MOST_INTERIM:
                        raise BadResponse(f"more than {MOST_INTERIM} interim answers")
                    data = answer.rest
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
        try:
            words = http.HTTPStatus(status).phrase
        except ValueError:
            words = "no status that HTTP knows"
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
                schemes.setdefault(scheme.decode("ascii")[:40])
    return list(schemes)[:10]


def _failure(reason: Reason, proxy: RelayProxy, what: str, at_fault: bool) -> _Failed:
    return _Failed(DialError(reason, f"relay proxy {proxy} {what}"), at_fault)


def _refused(proxy: RelayProxy, status: int, what: str, go_on: bool) -> _Failed:
    return _Failed(DialError(Reason.RELAY_REFUSED, f"relay proxy {proxy} {what}", status), False, go_on)


def _told(failures: list[DialError]) -> DialError:
    """Of several failures an answer says more than none; the log gets them all."""
    first = next((error for error in failures if error.status is not None), failures[0])
    others = [error.detail for error in failures if error is not first]
    return DialError(first.reason, "; ".join([first.detail, *others]), first.status)
