"""The answer to a client that is denied: status, reason, Proxy-Status, and nothing that is not its business."""

from typing import Optional

from ogw.policy.decision import Reason
from ogw.wire.answer import answer, proxy_status

RETRY_AFTER = 5  # seconds

PHRASES = {
    400: "Bad Request",
    403: "Forbidden",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class Refused(Exception):
    """This tunnel is denied: it gets an answer and ends. `detail` is for the log, never for the client.

    received_status  that of the relay proxy's answer, which the client learns
    addresses        of the target, which may not be dialed; for the operator only
    named            the target of a client that is not allowed, where it has said one: as well
    """

    def __init__(
        self,
        reason: Reason,
        detail: str,
        received_status: Optional[int] = None,
        addresses: tuple[str, ...] = (),
        named: str = "",
    ) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.received_status = received_status
        self.addresses = addresses
        self.named = named


class Left(Exception):
    """There is nobody to answer: the client went away, or never said a byte."""

    def __init__(self, reason: Optional[Reason] = None, detail: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def refusal(reason: Reason, tunnel_id: str, received_status: Optional[int] = None) -> bytes:
    """The whole answer to a denied client: it learns the reason, never addresses, rules or commands.

    It goes to programs, and stays English altogether.

    b"" where no HTTP answer exists.
    """
    if not reason.status:
        return b""
    headers = [
        ("Proxy-Status", proxy_status(reason.error, reason.token, reason.event, tunnel_id, received_status)),
    ]
    if reason.status == 405:
        headers.append(("Allow", "CONNECT"))
    elif reason.status == 503:
        headers.append(("Retry-After", str(RETRY_AFTER)))
    text = f"This gateway did not open the tunnel: {reason.token}. "
    text += f"Its log has more under tunnel {tunnel_id}, or a count.\n"
    if reason is Reason.CLIENT_TLS_PLAIN_HTTP:
        text += "Clients speak TLS to this port: the scheme of the proxy is https://, not http://.\n"
    return answer(reason.status, f"{PHRASES[reason.status]}: {reason.token}", headers, text)
