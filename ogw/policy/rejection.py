"""Why a TLS session is rejected, and with which alert its client learns it."""

from typing import NamedTuple, Optional

from ogw.policy.decision import Reason
from ogw.wire.tls import Alert, NotTls, OldVersion, TlsError, TooLarge

ALERTS: dict[Reason, Optional[Alert]] = {
    Reason.NOT_TLS: None,  # it would not understand one
    Reason.SERVER_NAME_MISSING: Alert.UNRECOGNIZED_NAME,
    Reason.SERVER_NAME_INVALID: Alert.UNRECOGNIZED_NAME,
    Reason.SERVER_NAME_MISMATCH: Alert.UNRECOGNIZED_NAME,
    Reason.TLS_VERSION: Alert.PROTOCOL_VERSION,
    Reason.ECH_NOT_ALLOWED: Alert.ACCESS_DENIED,
    Reason.HELLO_TOO_LARGE: Alert.DECODE_ERROR,
    Reason.HANDSHAKE_TIMEOUT: Alert.HANDSHAKE_FAILURE,
    Reason.MALFORMED_HANDSHAKE: Alert.DECODE_ERROR,
    Reason.CLIENT_CERTIFICATE_NOT_ALLOWED: Alert.ACCESS_DENIED,
    Reason.CLIENT_CERTIFICATE_NOT_SENT: Alert.HANDSHAKE_FAILURE,
    Reason.CLIENT_CERTIFICATE_UNSEEN: Alert.ACCESS_DENIED,
    Reason.TOO_MANY_HANDSHAKE_BYTES: Alert.INTERNAL_ERROR,
}


class Rejection(NamedTuple):
    """Why a session is rejected: a reason with an alert of its own, and a sentence for the log."""

    reason: Reason
    detail: str

    @property
    def alert(self) -> Optional[Alert]:
        """What the client is told; None where it would not understand."""
        return ALERTS[self.reason]


class Ending(NamedTuple):
    """A peer gave the handshake up with a fatal alert, which may pass."""

    reason: Reason  # CLIENT_CLOSED or UPSTREAM_CLOSED
    detail: str


class Reject(Exception):
    """A rule says no, in the middle of what is judged."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.rejection = Rejection(reason, detail)


def unreadable(error: TlsError, who: str) -> Rejection:
    """What `who` sent is not to be read any further."""
    if isinstance(error, NotTls):
        return Rejection(Reason.NOT_TLS, f"{who} does not speak TLS: {error.detail}")
    if isinstance(error, OldVersion):
        return Rejection(Reason.TLS_VERSION, f"{who} speaks {error.detail}, which nobody should")
    if isinstance(error, TooLarge):
        return Rejection(Reason.HELLO_TOO_LARGE, f"{who} sent {error.detail} (handshake-max-size)")
    return Rejection(Reason.MALFORMED_HANDSHAKE, f"{who} sent a handshake that cannot be read: {error.detail}")
