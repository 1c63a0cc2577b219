"""Why a client's TLS leg was not made, as the reason and the sentence that it is refused with."""

import ssl

from ogw.policy.decision import Reason
from ogw.tunnel.refusal import Refused
from ogw.wire.protocols import begins_proxy_header, who_begins_so

HANDSHAKE = b"\x16"  # the first byte of a TLS handshake
REVOKED_OR_NOT = "whether its certificate is revoked cannot be known (listen-client-crl)"

# What OpenSSL says of a certificate (openssl/x509_vfy.h).
_OF_CERTIFICATE = {
    10: (Reason.CLIENT_TLS_CERTIFICATE_EXPIRED, "its certificate has expired: give the client a new one"),
    9: (Reason.CLIENT_TLS_CERTIFICATE_NOT_YET_VALID, "its certificate is not valid yet: compare both clocks"),
    23: (Reason.CLIENT_TLS_CERTIFICATE_REVOKED, "its certificate is revoked (listen-client-crl)"),
    **dict.fromkeys(
        (2, 18, 19, 20, 21, 27),
        (Reason.CLIENT_TLS_CERTIFICATE_UNTRUSTED, "its certificate is of no authority that is trusted"),
    ),
    **dict.fromkeys(
        (3, 4, 6, 8, 11, 12, 15, 16, 33, 44, 45),
        (Reason.CLIENT_TLS_CRL, REVOKED_OR_NOT),
    ),
}
_VERSIONS = ("UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW", "NO_PROTOCOLS_AVAILABLE")
_CIPHERS = (
    "NO_SHARED_CIPHER",
    "NO_SHARED_GROUPS",
    "NO_SUITABLE_GROUPS",
    "NO_SUITABLE_KEY_SHARE",
    "NO_SHARED_SIGNATURE_ALGORITHMS",
    "NO_SUITABLE_SIGNATURE_ALGORITHM",
)


def not_tls(heard: bytes, ip: str) -> Refused:
    """What a client began with is no TLS handshake; `heard` is enough to say what it is, or all that came."""
    if begins_proxy_header(heard):
        detail = (
            f"a PROXY header, and none is believed from {ip}: if that is a load balancer of yours, set proxy-protocol "
            f"= required and proxy-protocol-from = {ip}"
        )
        return Refused(Reason.PROXY_HEADER_NOT_ALLOWED, detail)
    if who := who_begins_so(heard):
        detail = (
            f"{who} instead of a TLS handshake: at a tls:// address a client must speak TLS to its proxy (https://)"
        )
        return Refused(Reason.CLIENT_TLS_MALFORMED, detail)
    if heard[:1].isalpha() and heard[:1].isupper():
        detail = "plain HTTP at a tls:// address: the client must be given the proxy as https://, or another port"
        return Refused(Reason.CLIENT_TLS_PLAIN_HTTP, detail)
    return Refused(Reason.CLIENT_TLS_MALFORMED, "what it said first is no TLS handshake")


def why_failed(error: OSError) -> Refused:
    """Of a handshake; `error` is an ssl.SSLError, or one of the connection."""
    if isinstance(error, ssl.SSLCertVerificationError):
        invalid = Reason.CLIENT_TLS_CERTIFICATE_INVALID, "its certificate does not do"
        reason, told = _OF_CERTIFICATE.get(error.verify_code, invalid)
        return Refused(reason, f"{told}: {error.verify_message}")
    # A FIN is the second of these where the context has OP_IGNORE_UNEXPECTED_EOF, as Python's have.
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) or not isinstance(error, ssl.SSLError):
        why = "" if isinstance(error, ssl.SSLError) else f": {error.strerror}"
        return Refused(Reason.CLIENT_TLS_CLOSED, f"the client closed in the middle of its TLS handshake{why}")
    said = error.reason or ""
    words = (said or str(error)).lower().replace("_", " ")
    if said == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        told = "it showed no certificate, and listen-client-certificate is required"
        return Refused(Reason.CLIENT_TLS_CERTIFICATE_MISSING, told)
    if said in _VERSIONS:
        return Refused(Reason.CLIENT_TLS_VERSION, "it offers no version of TLS from 1.2 on")
    if said in _CIPHERS:
        told = f"it offers nothing that the gateway and its key speak, too: {words}"
        return Refused(Reason.CLIENT_TLS_CIPHER, told)
    if "_ALERT_" in said:
        alert = words.partition(" alert ")[2]
        told = (
            f'the client ended it with the alert "{alert}": does it trust the authority of listen-tls-certificate, '
            "and does that have the name, or the address, by which the client knows its proxy?"
        )
        return Refused(Reason.CLIENT_TLS_NOT_ACCEPTED, told)
    return Refused(Reason.CLIENT_TLS_MALFORMED, f"its TLS handshake cannot be understood: {words}")
