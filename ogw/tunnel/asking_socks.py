"""Step 3 of the path, its other way: a relay proxy is asked for a tunnel over SOCKS 5.

Three things are said, each when the one before was answered. To send the next one ahead would spare a round trip, but
some servers take what comes with the one before for a part of it and drop it (microsocks), and then nobody answers. So
what is spared is the login, where the proxy lets us in without one.
"""

import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import NamedTuple, Optional

from ogw.policy.decision import Reason
from ogw.tunnel.authentication import WITHHELD, Authentication
from ogw.tunnel.basic import identity_of
from ogw.tunnel.conversation import Conversation
from ogw.tunnel.mailbox import Mailbox
from ogw.tunnel.not_opened import NotOpened, failure, hinted
from ogw.tunnel.relay import Relay
from ogw.tunnel.tried import Turn, WasRefused
from ogw.tunnel.upstream import DialError, Upstream
from ogw.wire.connect import Target
from ogw.wire.relay_proxy import Credentials, RelayProxy
from ogw.wire.socks5 import (
    LOGIN,
    NO_LOGIN,
    NONE_OF_THEM,
    SUCCEEDED,
    Answer,
    BadAnswer,
    HttpAnswer,
    OtherVersion,
    TlsAnswer,
    connect_to,
    hello,
    login,
    read_login,
    read_method,
    read_reply,
)

MOST_ADDRESSES = 4  # of a name that was resolved here: each has a connection of its own, and its part of dial-timeout
SCHEME = "socks5"  # by which metrics and status call the login

Connect = Callable[[float], Conversation]
Read = Callable[[bytes], Optional[Answer]]


class _Refusal(NamedTuple):
    """What a reply means.

    like  the HTTP status that says the same, by which relays.py judges it: of 5xx it is not known whether the target is
          at fault, 403 are its rules, another 4xx is said by one in good health
    """

    reason: Reason
    name: str
    more: str
    like: int


_REPLIES = {
    1: _Refusal(Reason.RELAY_SOCKS_FAILURE, "general failure", "it does not reach the target, or is in trouble", 500),
    2: _Refusal(
        Reason.RELAY_SOCKS_NOT_ALLOWED, "not allowed", "allow the target there, or set relay-proxy-bypass for it", 403
    ),
    3: _Refusal(Reason.RELAY_SOCKS_NETWORK, "network unreachable", "it has no way to the target", 502),
    4: _Refusal(Reason.RELAY_SOCKS_HOST, "host unreachable", "it does not reach the target, or know its name", 502),
    5: _Refusal(Reason.RELAY_SOCKS_CONNECTION, "connection refused", "nobody listens on the target's port", 502),
    6: _Refusal(Reason.RELAY_SOCKS_TTL, "TTL expired", "the target does not answer it", 504),
    7: _Refusal(Reason.RELAY_SOCKS_COMMAND, "command not supported", "it opens no tunnels", 501),
    8: _Refusal(Reason.RELAY_SOCKS_ADDRESS, "address type not supported", "it takes no target of this kind", 400),
}
_UNKNOWN = _Refusal(Reason.RELAY_SOCKS_UNKNOWN, "no reply that SOCKS knows", "see what it logs", 500)
SOCKS_REPLIES = frozenset(one.reason for one in (*_REPLIES.values(), _UNKNOWN))


class AskingSocks:
    """Asks relay proxies that speak SOCKS 5.

    ways     know which credentials were refused
    timeout  seconds for all conversations about one target
    """

    def __init__(self, ways: Authentication, timeout: float) -> None:
        self._ways = ways
        self._timeout = timeout

    def open(
        self,
        target: Target,
        mailbox: Mailbox,
        addresses: Sequence[str],
        known: Optional[Credentials],
        connect: Connect,
    ) -> Upstream:
        """The tunnel, opened. Raises NotOpened, and what `connect` does.

        addresses  of the target's name (IP text), allowed and in order; none: the proxy resolves it, or it is one
        known      user name and password; None where there are none
        connect    gives a new connection, and so many seconds for what is said on it
        """
        asking = _Asking(known, self._ways, mailbox)
        addresses = addresses[:MOST_ADDRESSES]  # one after the other: a proxy tries only what it is told
        if not addresses:
            return asking.ask(connect(self._timeout), target)
        until = time.monotonic() + self._timeout
        failures: list[NotOpened] = []
        for place, address in enumerate(addresses):
            seconds = max((until - time.monotonic()) / (len(addresses) - place), 0.0)
            try:
                one = Target(address, target.port, ip_address(address))
                return asking.ask(connect(round(seconds, 2)), one)._replace(judged=address)
            except NotOpened as failed:
                if failed.like is None or failed.like == 407:  # it is not the address
                    raise
                failures.append(failed)
        raise _summed_up(failures)


class _Asking:
    """With one set of credentials, or none."""

    def __init__(self, known: Optional[Credentials], ways: Authentication, mailbox: Mailbox) -> None:
        self._known = known
        self._ways = ways
        self._mailbox = mailbox

    def ask(self, conversation: Conversation, target: Target) -> Upstream:
        try:
            self._be_let_in(conversation)
            answer = _request(conversation, target)
        except BaseException:
            conversation.close()
            raise
        return conversation.opened(answer.rest)

    def _be_let_in(self, conversation: Conversation) -> None:
        """Authenticate ourselves, if it wants that. Raises NotOpened."""
        relay, known = conversation.relay, self._known
        offered = bytes((NO_LOGIN,) if known is None else (NO_LOGIN, LOGIN))
        conversation.say(hello(*offered))
        try:
            method = _hear(conversation, lambda data: read_method(data, offered))
        except NotOpened as failed:
            if relay.answered or conversation.heard:
                raise
            # HTTP proxies wait for a line, which never ends.
            raise hinted(failed, f"it may speak HTTP: {_instead('http', relay.proxy)}") from None
        relay.answered = time.monotonic()
        if method.code == NONE_OF_THEM:
            raise _not_let_in(relay.proxy, Reason.RELAY_SOCKS_METHOD, "lets nobody in so", _about_method(known))
        relay.scheme = ""
        if method.code == LOGIN:
            assert known is not None
            self._log_in(conversation, known)

    def _log_in(self, conversation: Conversation, known: Credentials) -> None:
        relay = conversation.relay
        try:
            said = login(known.user.reveal(), known.password.reveal())
        except ValueError as error:
            what = "wants the credentials; what is set for it"
            raise _not_let_in(relay.proxy, Reason.RELAY_SOCKS_LOGIN, what, str(error)) from None
        turn = self._await_turn(relay, known, conversation.left / 2)
        try:
            conversation.say(said)
            outcome = _hear(conversation, read_login)
            relay.answered = time.monotonic()
            if outcome.code != SUCCEEDED:
                turn.refused()
                self._ways.count(SCHEME, "refused")
                what, do = (
                    "does not accept the user name or the password",
                    "check relay-proxy-username and relay-proxy-password-file",
                )
                raise _not_let_in(relay.proxy, Reason.RELAY_SOCKS_LOGIN, what, do, is_about_credentials=True)
            turn.worked()
        finally:
            turn.end()
        relay.scheme = SCHEME
        self._ways.count(SCHEME, "accepted")

    def _await_turn(self, relay: Relay, known: Credentials, seconds: float) -> Turn:
        """To send them; what was refused once is not sent again. Raises NotOpened."""
        until = time.monotonic() + seconds
        try:
            while (turn := self._ways.tried.begin(identity_of(relay, known))) is None:
                if time.monotonic() >= until:
                    what = f"has not answered another tunnel, which tries the credentials, within {seconds:.1f} s"
                    raise failure(Reason.RELAY_TIMEOUT, relay.proxy, f"{what} (of dial-timeout)", at_fault=False)
                self._ways.looks.pause(self._mailbox)
        except WasRefused:
            self._ways.count(SCHEME, "withheld")
            what, do = "wants the user name and the password", WITHHELD
            raise _not_let_in(relay.proxy, Reason.RELAY_AUTH_WITHHELD, what, do, is_about_credentials=True) from None
        return turn


def _request(conversation: Conversation, target: Target) -> Answer:
    """What it says to the request, if that is yes. Raises NotOpened."""
    relay = conversation.relay
    conversation.say(connect_to(target))
    try:
        answer = _hear(conversation, read_reply, more=True)
    except NotOpened as failed:
        # It answered what was said before: so it is well, and waits for the target, or has given it up.
        if failed.error.reason is Reason.RELAY_TIMEOUT:
            raise NotOpened(failed.error, at_fault=False, like=504) from None
        if failed.error.reason is Reason.RELAY_CLOSED:
            raise NotOpened(failed.error, at_fault=False, like=502) from None
        raise
    relay.answered = time.monotonic()
    if answer.code == SUCCEEDED:
        return answer
    refusal = _REPLIES.get(answer.code, _UNKNOWN)
    said = f"answers {answer.code} ({refusal.name})"
    detail = f"relay proxy {relay.proxy} {said}, when asked for {target}: {refusal.more}"
    rules = refusal.reason is Reason.RELAY_SOCKS_NOT_ALLOWED
    raise NotOpened(DialError(refusal.reason, detail), False, not rules, like=refusal.like, said=f"it {said}")


def _hear(conversation: Conversation, read: Read, more: bool = False) -> Answer:
    """Its next answer; `more`: something may stand behind it. Raises NotOpened."""
    proxy = conversation.relay.proxy
    data = b""
    try:
        while (answer := read(data)) is None:
            piece = conversation.hear()
            if not piece:
                raise conversation.ended()
            data += piece
        if answer.rest and not more:
            raise BadAnswer("it says more than it was asked")
        return answer
    except OtherVersion as error:
        what = f"does not speak SOCKS 5: {error.detail}"
        raise failure(Reason.RELAY_SOCKS_VERSION, proxy, what, True, _other_scheme(proxy, error)) from None
    except BadAnswer as error:
        what = f"does not speak SOCKS 5 as it should: {error.detail}"
        raise failure(Reason.RELAY_SOCKS_MALFORMED, proxy, what, True) from None


def _other_scheme(proxy: RelayProxy, error: OtherVersion) -> str:
    """What to do about one that speaks something else."""
    if isinstance(error, HttpAnswer):
        return f"it speaks HTTP: {_instead('http', proxy)}"
    return f"it speaks TLS: {_instead('https', proxy)}" if isinstance(error, TlsAnswer) else ""


def _instead(scheme: str, proxy: RelayProxy) -> str:
    return f"try relay-proxy = {scheme}://{proxy.target} instead"


def _about_method(sent: Optional[Credentials]) -> str:
    if sent is None:
        return "it wants credentials: set relay-proxy-username and relay-proxy-password-file"
    return "it takes neither a user name and password nor nobody; let it take one of them from this gateway"


def _not_let_in(
    proxy: RelayProxy, reason: Reason, what: str, more: str, is_about_credentials: bool = False
) -> NotOpened:
    """It refuses us, whatever the target is."""
    error = DialError(reason, f"relay proxy {proxy} {what}; {more}")
    return NotOpened(error, False, False, is_about_credentials=is_about_credentials, like=407, said=f"it {what}")


def _summed_up(failures: list[NotOpened]) -> NotOpened:
    """Of several failures a reply says more than none, and the last most: IPv6 comes first. The log gets them all."""
    silence = (Reason.RELAY_TIMEOUT, Reason.RELAY_CLOSED)
    told = next((one for one in reversed(failures) if one.error.reason not in silence), failures[-1])
    error = DialError(told.error.reason, "; ".join(one.error.detail for one in failures))
    return NotOpened(error, False, told.go_on, told.hint, like=told.like, said=told.said)
