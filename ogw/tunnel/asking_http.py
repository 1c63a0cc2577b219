"""Step 3 of the path, its other way: a relay proxy is asked for a tunnel over HTTP, with CONNECT."""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Optional

from gevent.hub import get_hub

from ogw import __version__
from ogw.policy.decision import Reason
from ogw.report.metrics import RelayState
from ogw.tunnel.authentication import Authenticating, Authentication, AuthFailed
from ogw.tunnel.conversation import Conversation
from ogw.tunnel.mailbox import Mailbox
from ogw.tunnel.not_opened import WHY, NotOpened, failure, refused, words
from ogw.tunnel.relay import Relay
from ogw.tunnel.upstream import DialError, Upstream
from ogw.wire.body import Body
from ogw.wire.connect import (
    BadResponse,
    HeadTooLarge,
    Response,
    ResponseReader,
    SocksAnswer,
    Target,
    TlsAnswer,
    connect_request,
)
from ogw.wire.date import date_of
from ogw.wire.relay_proxy import Credentials, RelayProxy, offered

LARGEST_HEAD = 64 * 1024
MOST_INTERIM = 16  # answers before the answer (RFC 9110, section 15.2)
USER_AGENT = f"ogw/{__version__}".encode()
MAY_WANT_TLS = "it may want TLS"
ASK_FOR_TLS = (400, 426)  # what servers of https answer to plain HTTP, if they answer
MOST_TRIPS = 3  # with one password
MOST_BODY = 64 * 1024  # of a 407, in bytes, that is read to use its connection again; another one costs less than more
BODY_SECONDS = 1.0  # that it is waited for, at most, where another connection will do
MOST_APART = 240  # seconds between two clocks; Kerberos is content with 300, and a Date may be a little old
PATIENCE = 4  # a tunnel is the only one that tries credentials for this part of dial-timeout


class AskingHttp:
    """Asks relay proxies that speak HTTP.

    via      how this gateway names itself to them
    ways     of authenticating itself
    timeout  seconds that a tunnel waits for another one that tries credentials
    """

    def __init__(self, via: bytes, ways: Authentication, timeout: float) -> None:
        self._via = via
        self._ways = ways
        self._timeout = timeout

    def open(
        self,
        relay: Relay,
        target: Target,
        mailbox: Mailbox,
        via: Sequence[bytes],
        known: Optional[Credentials],
        connect: Callable[[], Conversation],
    ) -> Upstream:
        """The tunnel, opened. Raises NotOpened, and what `connect` does.

        known    user name and password; None where there are none
        connect  gives a new connection
        """
        request = partial(_request, target, via, self._via)
        wait = partial(self._wait, relay, mailbox, time.monotonic() + self._timeout)
        trying = Authenticating(self._ways, relay, target, known, wait)
        try:
            with _Patience(trying, self._timeout / PATIENCE) as patience:
                return _Asking(relay, trying, request, connect, patience).open()
        finally:
            trying.end()

    def _wait(self, relay: Relay, mailbox: Mailbox, until: float) -> None:
        if time.monotonic() >= until:
            what = f"has not answered another tunnel, which tries the credentials, within {self._timeout:g} s"
            raise failure(Reason.RELAY_TIMEOUT, relay.proxy, f"{what} (dial-timeout)", at_fault=False)
        self._ways.looks.pause(mailbox)


class _Patience:
    """Of others, for whom this tunnel tries the credentials. A 407 comes at once: what takes longer is the target."""

    def __init__(self, trying: Authenticating, seconds: float) -> None:
        self._trying = trying
        self._seconds = seconds
        self._timer: Any = None

    def __enter__(self) -> "_Patience":
        return self

    def begin(self) -> None:
        """The relay proxy is asked."""
        if self._timer is None and self._trying.is_alone:
            self._timer = get_hub().loop.timer(self._seconds)
            self._timer.start(self._trying.let_others_try)

    def __exit__(self, *_exception: object) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()


class _Asking:
    """One tunnel is asked for with one set of credentials, over one connection after another.

    request   makes it of the value of Proxy-Authorization
    patience  of those that wait for it to find out what the credentials are worth
    """

    def __init__(
        self,
        relay: Relay,
        trying: Authenticating,
        request: Callable[[Optional[bytes]], bytes],
        connect: Callable[[], Conversation],
        patience: "_Patience",
    ) -> None:
        self._relay = relay
        self._trying = trying
        self._request = request
        self._connect = connect
        self._patience = patience
        self._conversation: Optional[Conversation] = None

    def open(self) -> Upstream:
        answer: Optional[Response] = None
        try:
            header = self._trying.first()
            for _trip in range(MOST_TRIPS):
                answer = self._ask(self._request(header))
                if answer.status != 407:
                    # Who answers 5xx, such as a balancer in front of it, may not have looked at them.
                    self._trying.took_it(answer.headers, is_proof=answer.status < 500)
                    return self._opened(answer)
                header = self._answer_to(answer)
                if self._trying.must_move:
                    self._close()
                else:
                    self._go_behind(answer)
        except AuthFailed as failed:
            raise _not_authenticated(self._relay.proxy, failed, answer) from None
        finally:
            self._close()
        what = f"answers 407 to each of {MOST_TRIPS} requests in a row, without saying that it is the credentials"
        raise refused(self._relay.proxy, 407, what, go_on=False)

    def _answer_to(self, answer: Response) -> bytes:
        """What the credentials say to a 407. It is not the relay proxy that takes the time of this."""
        began = time.monotonic()
        header = self._trying.answer(answer.headers)
        if self._conversation is not None:
            self._conversation.prolong(time.monotonic() - began)
        return header

    def _ask(self, request: bytes) -> Response:
        """What it answers, over the connection of before, if that is still good. Raises NotOpened."""
        conversation, is_new = self._conversation, self._conversation is None
        if conversation is None:
            conversation = self._conversation = self._connect()
        self._patience.begin()
        conversation.say(request)
        try:
            return _answer(conversation)
        except NotOpened as failed:
            if is_new or conversation.heard or failed.error.reason is not Reason.RELAY_CLOSED:
                raise
        self._give_up_connection()  # it was closed after its 407
        return self._ask(request)

    def _opened(self, answer: Response) -> Upstream:
        if not 200 <= answer.status < 300:
            raise _refusal(self._relay, answer)
        conversation, self._conversation = self._conversation, None
        assert conversation is not None
        return conversation.opened(answer.rest)

    def _go_behind(self, answer: Response) -> None:
        """To where the next answer will begin, on this connection or another."""
        body = Body(answer.headers)
        if not body.has_end or not self._pass_over(body, answer.rest):
            self._give_up_connection()

    def _pass_over(self, body: Body, more: bytes) -> bool:
        """Whether the connection can be used behind this."""
        assert self._conversation is not None
        passed, seconds = 0, min(BODY_SECONDS, self._conversation.left / 2)
        until = math.inf if self._trying.must_stay else time.monotonic() + seconds
        try:
            while (rest := body.feed(more)) is None:
                passed += len(more)
                if passed + body.least > MOST_BODY:
                    return False
                more = self._conversation.hear(until)
                if not more:
                    return False
        except ValueError:
            return False
        return not rest

    def _give_up_connection(self) -> None:
        """The next request goes over another. Raises AuthFailed where it must not."""
        if self._trying.must_stay:
            what = "does not keep the connection, on which all messages of this scheme must be"
            raise AuthFailed(Reason.RELAY_CONNECTION_CHANGED, what, go_on=True)
        self._close()

    def _close(self) -> None:
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            conversation.close()


def _not_authenticated(proxy: RelayProxy, failed: AuthFailed, answer: Optional[Response]) -> NotOpened:
    """`answer`: the 407, if there was one."""
    if answer is not None and failed.reason is Reason.RELAY_TICKET_REFUSED:
        failed = _by_its_clock(answer) or failed
    reason, is_about = failed.reason, failed.refused or failed.withheld
    if answer is None or failed.withheld:
        error = DialError(reason, f"relay proxy {proxy} {failed.what}")
        return NotOpened(error, False, failed.go_on, is_about_credentials=is_about)
    schemes = tuple(offered(answer.headers))
    listed = ", ".join(schemes) or "no scheme"
    error = DialError(reason, f"relay proxy {proxy} answers 407 ({listed}) and {failed.what}", 407, offered=schemes)
    return NotOpened(error, False, failed.go_on, WHY.get(reason, ""), is_about)


def _by_its_clock(answer: Response) -> Optional[AuthFailed]:
    """Why it refused a ticket, where its clock tells."""
    date = date_of(answer.headers)
    if date is None or abs(time.time() - date) <= MOST_APART:
        return None
    apart = f"its clock and this machine's are {abs(time.time() - date):.0f} s apart"
    what = f"does not accept the Kerberos ticket: {apart}; set both by the same time server"
    return AuthFailed(Reason.RELAY_CLOCK, what, refused=True)


def _refusal(relay: Relay, answer: Response) -> NotOpened:
    """An answer that is no 2xx. The relay proxy's own words stay here: they are not ours to pass on."""
    status, proxy = answer.status, relay.proxy
    what = f"answers {status} ({words(status)})"
    if status >= 500:
        return refused(proxy, status, f"{what}: it does not reach the target", go_on=True)
    if status in ASK_FOR_TLS and relay.state is not RelayState.UP and not proxy.encrypted:
        hint = in_tls(proxy, MAY_WANT_TLS)
        return refused(proxy, status, f"{what}; {hint}", go_on=False, hint=hint)
    return refused(proxy, status, f"{what}; allow the target there, or set relay-proxy-bypass for it", go_on=False)


def _answer(conversation: Conversation) -> Response:
    """What it answers in the end. Raises NotOpened."""
    relay = conversation.relay
    try:
        reader = ResponseReader(LARGEST_HEAD)
        interim = 0
        while True:
            more = conversation.hear()
            if not more:
                raise conversation.ended("" if relay.answered else _in_tls_or_socks(relay.proxy))
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
        raise failure(Reason.RELAY_HEAD_TOO_LARGE, relay.proxy, f"answers too much: {error.detail}", True) from None
    except BadResponse as error:
        hint = in_tls(relay.proxy, "it speaks TLS") if isinstance(error, TlsAnswer) else ""
        if isinstance(error, SocksAnswer):
            hint = f"it speaks SOCKS: try relay-proxy = socks5h://{relay.proxy.target} instead"
        raise failure(Reason.RELAY_MALFORMED, relay.proxy, f"is no HTTP proxy: {error.detail}", True, hint) from None


def _request(target: Target, via: Sequence[bytes], own: bytes, authorization: Optional[bytes]) -> bytes:
    """The request for a tunnel: of the client's own headers only Via goes on."""
    # Some refuse a request without a User-Agent.
    fields = [("User-Agent", USER_AGENT), *(("Via", value) for value in (*via, b"1.1 " + own))]
    if authorization is not None:
        fields.append(("Proxy-Authorization", authorization))
    return connect_request(target, fields)


def in_tls(proxy: RelayProxy, why: str) -> str:
    """What to do about one that is spoken to without TLS, and may want it."""
    return "" if proxy.encrypted else f"{why}: try relay-proxy = https://{proxy.target} instead"


def _in_tls_or_socks(proxy: RelayProxy) -> str:
    """The same of one that closes without a word."""
    return f"{hint}, or socks5h:// if it speaks SOCKS" if (hint := in_tls(proxy, MAY_WANT_TLS)) else ""
