"""Step 3 of the path, its other way: one relay proxy is asked for a tunnel."""

import _socket
import http
import ssl
import time
from collections.abc import Sequence
from typing import Optional

from gevent.hub import get_hub

from ogw import __version__
from ogw.policy.decision import ALLOW, Decision, Reason
from ogw.report.metrics import RelayState
from ogw.tunnel.connector import Connector
from ogw.tunnel.encrypted import Leg
from ogw.tunnel.local import OwnPlaces
from ogw.tunnel.loop import READ, Deadline, Expired
from ogw.tunnel.mailbox import Mailbox
from ogw.tunnel.password import PasswordSource
from ogw.tunnel.relay import Relay
from ogw.tunnel.upstream import DialError, UnknownName, Upstream
from ogw.wire.connect import (
    BadResponse,
    Fields,
    HeadTooLarge,
    Response,
    ResponseReader,
    Target,
    TlsAnswer,
    connect_request,
)
from ogw.wire.protocols import begins_tls
from ogw.wire.relay_proxy import Credentials, RelayProxy, offered

LARGEST_HEAD = 64 * 1024
MOST_INTERIM = 16  # answers before the answer (RFC 9110, section 15.2)
RECEIVE_SIZE = 16 * 1024
USER_AGENT = f"ogw/{__version__}".encode()
MAY_WANT_TLS = "it may want TLS"
ASK_FOR_TLS = (400, 426)  # what servers of https answer to plain HTTP, if they answer
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


class NotOpened(Exception):
    """One relay proxy did not open the tunnel.

    at_fault  it is the relay proxy's own fault, so it rests
    go_on     the next one may do better
    hint      what may be the cause
    """

    def __init__(self, error: DialError, at_fault: bool, go_on: bool = True, hint: str = "") -> None:
        super().__init__(error.detail)
        self.error = error
        self.at_fault = at_fault
        self.go_on = go_on
        self.hint = hint

    @property
    def why(self) -> str:
        status = self.error.status
        why = WHY[self.error.reason] if status is None else f"it answers {status} ({_words(status)})"
        return f"{why}; {self.hint}" if self.hint else why


class Opener:
    """Asks relay proxies for tunnels.

    via        how this gateway names itself to them
    passwords  for those whose URL has none
    context    what an encrypted one is verified with
    timeout    seconds for the conversation, the handshake of an encrypted one included; reaching it has its own
    """

    def __init__(
        self,
        connector: Connector,
        via: bytes,
        passwords: PasswordSource,
        context: Optional[ssl.SSLContext],
        own: OwnPlaces,
        timeout: float,
    ) -> None:
        self._connector = connector
        self._via = via
        self.passwords = passwords
        self._context = context
        self._own = own
        self._timeout = timeout

    def open(self, relay: Relay, target: Target, mailbox: Mailbox, via: Sequence[bytes]) -> Upstream:
        """The tunnel, opened. Raises NotOpened, DialError where there are no descriptors, or ClientGone."""
        own = relay.proxy.credentials
        tries = 0
        while True:
            sent = own or self.passwords.given
            tries += 1
            try:
                return self._ask(relay, target, mailbox, via, sent)
            except NotOpened as failed:
                # A rotated password needs nobody; another tunnel may have read the file while this one waited. What was
                # refused is not sent again: that would lock an account.
                if failed.error.status != 407 or own is not None or tries == MOST_PASSWORDS:
                    raise
                if self.passwords.given == sent and not self.passwords.reread():
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
                    leg, sock = self._encrypt(relay, sock, sent)
                answer = self._converse(relay, sock, _request(target, via, self._via, known), mailbox)
        except BaseException as error:
            sock.close()
            if leg is not None:
                leg.end()
            if isinstance(error, Expired):
                raise self._silent(relay, sent) from None
            raise
        if 200 <= answer.status < 300:
            return Upstream(sock, plain.address, answer.rest, None if leg is None else leg.end)
        sock.close()
        if leg is not None:
            leg.end()
        raise self._refusal(relay, answer)

    # Silence and a sudden close: most proxies answer when they have reached the target, or gave it up, which may take
    # longer than we wait. So it is their fault only if they answered nobody else since we asked.

    def _silent(self, relay: Relay, sent: float, hint: str = "") -> NotOpened:
        what = f"did not answer within {self._timeout:g} s (dial-timeout)"
        return _failure(Reason.RELAY_TIMEOUT, relay.proxy, what, relay.answered < sent, hint)

    @staticmethod
    def _closed(relay: Relay, sent: float, where: str, error: Optional[OSError], hint: str = "") -> NotOpened:
        what = f"closed {where}" + (f": {error.strerror}" if error is not None else "")
        return _failure(Reason.RELAY_CLOSED, relay.proxy, what, relay.answered < sent, hint)

    def _connect(self, proxy: RelayProxy, mailbox: Mailbox) -> Upstream:
        try:
            return self._connector.connect(proxy.target, lambda address: self._judge(proxy, address), mailbox)
        except DialError as error:
            if error.reason is Reason.NO_DESCRIPTORS:
                raise
            reason = error.reason if error.reason is Reason.RELAY_LOOP else Reason.RELAY_UNREACHABLE
            told = DialError(reason, f"relay proxy {proxy} cannot be reached: {error.detail}")
            hint = "its name is not known (names are absolute)" if isinstance(error, UnknownName) else ""
            raise NotOpened(told, at_fault=True, hint=hint) from None

    def _judge(self, proxy: RelayProxy, address: str) -> Decision:
        """The address guard leaves the operator's own choice alone, unless it is a loop."""
        if self._own.hold(address, proxy.target.port):
            return Decision(False, Reason.RELAY_LOOP, f"{address}:{proxy.target.port} is this gateway itself")
        return ALLOW

    def _encrypt(self, relay: Relay, sock: _socket.socket, sent: float) -> tuple[Leg, _socket.socket]:
        proxy = relay.proxy
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
            what = f"does not speak TLS as it should: {error.reason or error.strerror}"
            raise _failure(Reason.RELAY_MALFORMED, proxy, what, True, _without_tls(relay, leg.heard)) from None
        except Expired:
            leg.close()
            raise self._silent(relay, sent, _without_tls(relay, leg.heard)) from None
        except OSError as error:
            leg.close()
            where, hint = "in its TLS handshake", _without_tls(relay, leg.heard)
            raise self._closed(relay, sent, where, error, hint) from None
        except BaseException:
            leg.close()
            raise

    def _converse(self, relay: Relay, sock: _socket.socket, request: bytes, mailbox: Mailbox) -> Response:
        """Say CONNECT and read the answer. Raises NotOpened."""
        sent = time.monotonic()
        heard = False
        readable = get_hub().loop.io(sock.fileno(), READ)
        readable.start(mailbox.tell, readable)
        try:
            sock.send(request)  # on a fresh connection: it fits into its buffer
            reader = ResponseReader(LARGEST_HEAD)
            interim = 0
            while True:
                while mailbox.wait() is not readable:
                    pass
                try:
                    more = sock.recv(RECEIVE_SIZE)
                except BlockingIOError:
                    continue
                if not more:
                    raise self._ended(relay, sent, heard)
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
            hint = _in_tls(relay.proxy, "it speaks TLS") if isinstance(error, TlsAnswer) else ""
            what = f"is no HTTP proxy: {error.detail}"
            raise _failure(Reason.RELAY_MALFORMED, relay.proxy, what, True, hint) from None
        except OSError as error:
            raise self._ended(relay, sent, heard, error) from None
        finally:
            readable.stop()
            readable.close()

    def _ended(self, relay: Relay, sent: float, heard: bool, error: Optional[OSError] = None) -> NotOpened:
        """It closed before its answer was whole."""
        if heard:
            return self._closed(relay, sent, "in the middle of its answer", error)
        hint = "" if relay.answered else _in_tls(relay.proxy, MAY_WANT_TLS)
        return self._closed(relay, sent, "without an answer", error, hint)

    def _refusal(self, relay: Relay, answer: Response) -> NotOpened:
        """An answer that is no 2xx. The relay proxy's own words stay here: they are not ours to pass on."""
        status, proxy = answer.status, relay.proxy
        if status == 407:
            return _refused(proxy, status, self._about_credentials(proxy, answer.headers), go_on=False)
        words = _words(status)
        if status >= 500:
            return _refused(proxy, status, f"answers {status} ({words}): it does not reach the target", go_on=True)
        if status in ASK_FOR_TLS and relay.state is not RelayState.UP and not proxy.encrypted:
            hint = _in_tls(proxy, MAY_WANT_TLS)
            return _refused(proxy, status, f"answers {status} ({words}); {hint}", go_on=False, hint=hint)
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
        if proxy.credentials is None and self.passwords.given is None:
            return (
                f"answers 407 and wants credentials ({listed}): set relay-proxy-username and relay-proxy-password-file"
            )
        return (
            f"answers 407: it does not accept the user name or the password ({listed}); "
            "check relay-proxy-username and relay-proxy-password-file"
        )


def _request(target: Target, via: Sequence[bytes], own: bytes, known: Optional[Credentials]) -> bytes:
    """The request for a tunnel: of the client's own headers only Via goes on."""
    # Some refuse a request without a User-Agent.
    fields = [("User-Agent", USER_AGENT), *(("Via", value) for value in (*via, b"1.1 " + own))]
    if known is not None:
        fields.append(("Proxy-Authorization", known.header))
    return connect_request(target, fields)


def _words(status: int) -> str:
    """What HTTP calls it: what the relay proxy calls it is not ours to tell."""
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "no status that HTTP knows"


def _in_tls(proxy: RelayProxy, why: str) -> str:
    """What to do about one that is spoken to without TLS, and may want it."""
    return "" if proxy.encrypted else f"{why}: try relay-proxy = https://{proxy.target} instead"


def _without_tls(relay: Relay, heard: bytes) -> str:
    """The other way round. `heard`: how its answer to our ClientHello begins."""
    advice = f"try relay-proxy = http://{relay.proxy.target} instead"
    if heard and b"HTTP/".startswith(heard):
        return f"it speaks HTTP without TLS: {advice}"
    return "" if relay.answered or (heard and begins_tls(heard[0])) else f"it may speak without TLS: {advice}"


def _failure(reason: Reason, proxy: RelayProxy, what: str, at_fault: bool, hint: str = "") -> NotOpened:
    detail = f"relay proxy {proxy} {what}" + (f"; {hint}" if hint else "")
    return NotOpened(DialError(reason, detail), at_fault, hint=hint)


def _refused(proxy: RelayProxy, status: int, what: str, go_on: bool, hint: str = "") -> NotOpened:
    return NotOpened(DialError(Reason.RELAY_REFUSED, f"relay proxy {proxy} {what}", status), False, go_on, hint)
