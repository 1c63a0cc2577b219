"""Step 3 of the path, its other way: why one relay proxy did not open the tunnel, and whose fault that is."""

import http
from typing import Optional

from ogw.policy.decision import Reason
from ogw.tunnel.relay import Relay
from ogw.tunnel.upstream import DialError
from ogw.wire.relay_proxy import RelayProxy

WHY = {  # it is not up, in words that are ours
    Reason.RELAY_UNREACHABLE: "it cannot be reached",
    Reason.RELAY_LOOP: "it is this gateway itself",
    Reason.RELAY_UNTRUSTED: "its certificate is not to be trusted",
    Reason.RELAY_TIMEOUT: "it does not answer in time",
    Reason.RELAY_CLOSED: "it closes without an answer",
    Reason.RELAY_MALFORMED: "what it says is not what a proxy says",
    Reason.RELAY_HEAD_TOO_LARGE: "it answers too much",
    Reason.RELAY_AUTH_NO_SCHEME: "it names no scheme",
    Reason.RELAY_AUTH_NOT_OFFERED: "it offers no scheme that may be used",
    Reason.RELAY_AUTH_MALFORMED: "what it asks for cannot be answered",
    Reason.RELAY_AUTH_ALGORITHM: "its Digest has an unknown algorithm",
    Reason.RELAY_AUTH_QOP: "its Digest has an unknown qop",
    Reason.RELAY_AUTH_WITHHELD: "it refused the credentials, which are not sent again before they change",
    Reason.RELAY_CONNECTION_CHANGED: "it does not keep its connection for NTLM",
    Reason.RELAY_KDC_SILENT: "it wants Kerberos, and no KDC answers",
    Reason.RELAY_CLOCK: "it wants Kerberos, and clocks differ",
    Reason.RELAY_KEYTAB: "it wants Kerberos, and the keytab is of no use",
    Reason.RELAY_PASSWORD_EXPIRED: "it wants Kerberos, and the account has expired, or its password",
    Reason.RELAY_PRINCIPAL_UNKNOWN: "it wants Kerberos, and the KDC does not know the account",
    Reason.RELAY_ACCOUNT_LOCKED: "it wants Kerberos, and the account is locked",
    Reason.RELAY_SERVICE_UNKNOWN: "it wants Kerberos, and the KDC does not know it by this name",
    Reason.RELAY_TICKET: "it wants Kerberos, and there is no ticket",
    Reason.RELAY_TICKET_REFUSED: "it does not accept the Kerberos ticket",
    Reason.RELAY_KERBEROS: "it wants Kerberos, which fails",
    Reason.RELAY_SOCKS_VERSION: "it does not speak SOCKS 5",
    Reason.RELAY_SOCKS_MALFORMED: "what it says is not what SOCKS 5 is",
}


class NotOpened(Exception):
    """One relay proxy did not open the tunnel.

    at_fault  it is the relay proxy's own fault, so it rests
    go_on     the next one may do better
    hint      what may be the cause
    like      the HTTP status that says the same, by which it is judged: its own, or that of another language's answer;
              None where it answered nothing
    said      what it answered in another language, as "it answers ..."

    is_about_credentials  other ones may do: these are not accepted, or were not, and are withheld
    """

    def __init__(
        self,
        error: DialError,
        at_fault: bool,
        go_on: bool = True,
        hint: str = "",
        is_about_credentials: bool = False,
        like: Optional[int] = None,
        said: str = "",
    ) -> None:
        super().__init__(error.detail)
        self.error = error
        self.at_fault = at_fault
        self.go_on = go_on
        self.hint = hint
        self.is_about_credentials = is_about_credentials
        self.like = error.status if like is None else like
        self.said = said

    @property
    def why(self) -> str:
        status = self.error.status
        why = (
            WHY.get(self.error.reason, self.error.detail)
            if status is None
            else f"it answers {status} ({words(status)})"
        )
        return "; ".join(part for part in (self.said or why, self.hint) if part)


def failure(reason: Reason, proxy: RelayProxy, what: str, at_fault: bool, hint: str = "") -> NotOpened:
    """It does not speak as a proxy should; `what` goes on in a sentence that begins with the relay proxy."""
    detail = f"relay proxy {proxy} {what}" + (f"; {hint}" if hint else "")
    return NotOpened(DialError(reason, detail), at_fault, hint=hint)


def hinted(failed: NotOpened, hint: str) -> NotOpened:
    """The same, with what may be the cause."""
    error = DialError(failed.error.reason, f"{failed.error.detail}; {hint}", failed.error.status)
    return NotOpened(error, failed.at_fault, failed.go_on, hint, like=failed.like, said=failed.said)


def refused(proxy: RelayProxy, status: int, what: str, go_on: bool, hint: str = "") -> NotOpened:
    """It answered with this status."""
    return NotOpened(DialError(Reason.RELAY_REFUSED, f"relay proxy {proxy} {what}", status), False, go_on, hint)


# Silence and a sudden close: most proxies answer when they have reached the target, or gave it up, which may take
# longer than we wait. So it is their fault only if they answered nobody else since we asked.


def silent(relay: Relay, seconds: float, asked: float, hint: str = "") -> NotOpened:
    """It did not answer in time; `asked`: when it was, by the monotonic clock."""
    what = f"did not answer within {seconds:g} s (dial-timeout)"
    return failure(Reason.RELAY_TIMEOUT, relay.proxy, what, relay.answered < asked, hint)


def closed(relay: Relay, asked: float, where: str, error: Optional[OSError], hint: str = "") -> NotOpened:
    """It closed its connection; `where` in the conversation."""
    what = f"closed {where}" + (f": {error.strerror}" if error is not None else "")
    return failure(Reason.RELAY_CLOSED, relay.proxy, what, relay.answered < asked, hint)


def words(status: int) -> str:
    """What HTTP calls it: what the relay proxy calls it is not ours to tell."""
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "no status that HTTP knows"
