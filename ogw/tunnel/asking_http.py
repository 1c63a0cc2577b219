"""Step 3 of the path, its other way: a relay proxy is asked for a tunnel over HTTP, with CONNECT."""

import time
from collections.abc import Callable, Sequence
from typing import Optional

from ogw import __version__
from ogw.policy.decision import Reason
from ogw.report.metrics import RelayState
from ogw.tunnel.authentication import Authentication
from ogw.tunnel.conversation import Conversation
from ogw.tunnel.not_opened import NotOpened, failure, refused, words
from ogw.tunnel.password import PasswordSource
from ogw.tunnel.relay import Relay
from ogw.tunnel.upstream import Upstream
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
from ogw.wire.relay_proxy import RelayProxy, offered

LARGEST_HEAD = 64 * 1024
MOST_INTERIM = 16  # answers before the answer (RFC 9110, section 15.2)
USER_AGENT = f"ogw/{__version__}".encode()
MAY_WANT_TLS = "it may want TLS"
ASK_FOR_TLS = (400, 426)  # what servers of https answer to plain HTTP, if they answer
MOST_PASSWORDS = 3  # that a tunnel tries, each read since the one before was refused


class AskingHttp:
    """Asks relay proxies that speak HTTP.

    via        how this gateway names itself to them
    passwords  for those whose URL has none
    authentication  how it authenticates itself
    """

    def __init__(self, via: bytes, passwords: PasswordSource, authentication: Authentication) -> None:
        self._via = via
        self._passwords = passwords
        self._authentication = authentication

    def open(self, relay: Relay, target: Target, via: Sequence[bytes], connect: Callable[[], Conversation]) -> Upstream:
        """The tunnel, opened; `connect` gives a new connection. Raises NotOpened, and what `connect` does."""
        own = relay.proxy.credentials
        tries = 0
        while True:
            sent = own or self._passwords.given
            tries += 1
            try:
                header = self._authentication.begin(relay, target, sent).first()
                return self._ask(connect(), _request(target, via, self._via, header))
            except NotOpened as failed:
                # A rotated password needs nobody; another tunnel may have read the file while this one waited. What was
                # refused is not sent again: that would lock an account.
                if failed.error.status != 407 or own is not None or tries == MOST_PASSWORDS:
                    raise
                if self._passwords.given == sent and not self._passwords.reread():
                    raise

    def _ask(self, conversation: Conversation, request: bytes) -> Upstream:
        try:
            conversation.say(request)
            answer = _answer(conversation)
            if not 200 <= answer.status < 300:
                raise self._refusal(conversation.relay, answer)
        except BaseException:
            conversation.close()
            raise
        return conversation.opened(answer.rest)

    def _refusal(self, relay: Relay, answer: Response) -> NotOpened:
        """An answer that is no 2xx. The relay proxy's own words stay here: they are not ours to pass on."""
        status, proxy = answer.status, relay.proxy
        if status == 407:
            return refused(proxy, status, self._about_credentials(proxy, answer.headers), go_on=False)
        what = f"answers {status} ({words(status)})"
        if status >= 500:
            return refused(proxy, status, f"{what}: it does not reach the target", go_on=True)
        if status in ASK_FOR_TLS and relay.state is not RelayState.UP and not proxy.encrypted:
            hint = in_tls(proxy, MAY_WANT_TLS)
            return refused(proxy, status, f"{what}; {hint}", go_on=False, hint=hint)
        return refused(proxy, status, f"{what}; allow the target there, or set relay-proxy-bypass for it", go_on=False)

    def _about_credentials(self, proxy: RelayProxy, headers: Fields) -> str:
        schemes = offered(headers)
        listed = ", ".join(schemes) or "no scheme"
        if schemes and "basic" not in [scheme.lower() for scheme in schemes]:
            return (
                f"answers 407 and offers only {listed}, which ogw does not speak; let it offer Basic to this gateway, "
                "or put a local proxy in between that speaks them (such as cntlm)"
            )
        if proxy.credentials is None and self._passwords.given is None:
            return (
                f"answers 407 and wants credentials ({listed}): set relay-proxy-username and relay-proxy-password-file"
            )
        return (
            f"answers 407: it does not accept the user name or the password ({listed}); "
            "check relay-proxy-username and relay-proxy-password-file"
        )


def _answer(conversation: Conversation) -> Response:
    """What it answers in the end. Raises NotOpened."""
    relay = conversation.relay
    try:
        reader = ResponseReader(LARGEST_HEAD)
        interim = 0
        while True:
            more = conversation.hear()
            if not more:
                raise conversation.ended("" if relay.answered else in_tls(relay.proxy, MAY_WANT_TLS))
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
