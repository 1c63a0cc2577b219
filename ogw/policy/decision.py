"""Decision and Reason: what the policy said, and the stable token that says why.

Also the one table of every answer the gateway gives: a reason knows its status, its event and its Proxy-Status error.
"""

import enum
import math
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple, Optional


class Reason(enum.Enum):
    """Why a tunnel was denied, rejected or ended. Tokens are public and never renamed.

    token   what stands in log lines, answers and metrics
    status  the HTTP status of the refusal; 0 where no HTTP answer exists
    event   the number of the event that reports it (report/events.py); 108 for the ends of tunnels
    error   the error type of the Proxy-Status header (RFC 9209, section 2.3); "" where there is no answer
    index   its place in this list, by which it is counted
    """

    def __init__(self, token: str, status: int, event: int, error: str) -> None:
        self.token = token
        self.status = status
        self.event = event
        self.error = error
        self.index = len(type(self).__members__)

    @property
    def refuses(self) -> bool:
        """A client got no tunnel: it was answered with a status, or could not be answered."""
        return self.status >= 400 or (self.token.startswith("client-tls-") and self.event != 108)

    ALLOWED = "allowed", 200, 103, ""

    # Denied: answered with a status before the 200.
    NOT_CONNECT = "not-connect", 405, 104, "http_request_error"
    BAD_REQUEST = "bad-request", 400, 104, "http_request_error"
    BAD_TARGET = "bad-target", 400, 104, "http_request_error"
    HEAD_TOO_LARGE = "head-too-large", 431, 104, "http_request_error"
    HEAD_TIMEOUT = "head-timeout", 408, 104, "http_request_error"
    PROXY_HEADER_MISSING = "proxy-header-missing", 400, 104, "http_request_error"
    PROXY_HEADER_MALFORMED = "proxy-header-malformed", 400, 104, "http_request_error"
    PROXY_HEADER_NOT_ALLOWED = "proxy-header-not-allowed", 400, 104, "http_request_error"
    CLIENT_TLS_PLAIN_HTTP = "client-tls-plain-http", 400, 114, "http_request_error"
    CLIENT_NOT_ALLOWED = "client-not-allowed", 403, 112, "http_request_denied"
    HOST_NOT_ALLOWED = "host-not-allowed", 403, 105, "http_request_denied"
    PORT_NOT_ALLOWED = "port-not-allowed", 403, 105, "http_request_denied"
    ADDRESS_NOT_ALLOWED = "address-not-allowed", 403, 105, "destination_ip_prohibited"
    DNS_ERROR = "dns-error", 502, 403, "dns_error"
    DNS_TIMEOUT = "dns-timeout", 504, 403, "dns_timeout"
    CONNECTION_REFUSED = "connection-refused", 502, 403, "connection_refused"
    UNREACHABLE = "unreachable", 502, 403, "destination_ip_unroutable"
    CONNECTION_RESET = "connection-reset", 502, 403, "connection_terminated"
    CONNECTION_TIMEOUT = "connection-timeout", 504, 403, "connection_timeout"
    RELAY_REFUSED = "relay-refused", 502, 404, "destination_unavailable"
    RELAY_LOOP = "relay-loop", 502, 404, "proxy_loop_detected"
    RELAY_UNREACHABLE = "relay-unreachable", 502, 403, "destination_unavailable"
    RELAY_UNTRUSTED = "relay-untrusted", 502, 403, "tls_certificate_error"
    RELAY_TIMEOUT = "relay-timeout", 504, 403, "http_response_timeout"
    RELAY_CLOSED = "relay-closed", 502, 403, "http_response_incomplete"
    RELAY_MALFORMED = "relay-malformed", 502, 403, "http_protocol_error"
    RELAY_HEAD_TOO_LARGE = "relay-head-too-large", 502, 403, "http_response_header_section_size"
    RELAY_KDC_SILENT = "relay-kdc-silent", 504, 403, "proxy_configuration_error"
    RELAY_CLOCK = "relay-clock", 502, 404, "proxy_configuration_error"
    RELAY_KEYTAB = "relay-keytab", 502, 404, "proxy_configuration_error"
    RELAY_PASSWORD_EXPIRED = "relay-password-expired", 502, 404, "proxy_configuration_error"
    RELAY_PRINCIPAL_UNKNOWN = "relay-principal-unknown", 502, 404, "proxy_configuration_error"
    RELAY_ACCOUNT_LOCKED = "relay-account-locked", 502, 404, "proxy_configuration_error"
    RELAY_SERVICE_UNKNOWN = "relay-service-unknown", 502, 404, "proxy_configuration_error"
    RELAY_TICKET = "relay-ticket", 502, 404, "proxy_configuration_error"
    RELAY_TICKET_REFUSED = "relay-ticket-refused", 502, 404, "destination_unavailable"
    RELAY_KERBEROS = "relay-kerberos", 502, 404, "proxy_configuration_error"
    RELAY_CONNECTION_CHANGED = "relay-connection-changed", 502, 404, "http_protocol_error"
    RELAY_AUTH_NO_SCHEME = "relay-auth-no-scheme", 502, 404, "http_protocol_error"
    RELAY_AUTH_NOT_OFFERED = "relay-auth-not-offered", 502, 404, "proxy_configuration_error"
    RELAY_AUTH_MALFORMED = "relay-auth-malformed", 502, 404, "http_protocol_error"
    RELAY_AUTH_ALGORITHM = "relay-auth-algorithm", 502, 404, "http_protocol_error"
    RELAY_AUTH_QOP = "relay-auth-qop", 502, 404, "http_protocol_error"
    RELAY_AUTH_WITHHELD = "relay-auth-withheld", 502, 404, "proxy_configuration_error"
    # Of relay proxies that speak SOCKS 5: what they say before the request, and each of their replies to it.
    RELAY_SOCKS_VERSION = "relay-socks-version", 502, 403, "destination_unavailable"
    RELAY_SOCKS_MALFORMED = "relay-socks-malformed", 502, 403, "destination_unavailable"
    RELAY_SOCKS_METHOD = "relay-socks-method", 502, 404, "destination_unavailable"
    RELAY_SOCKS_LOGIN = "relay-socks-login", 502, 404, "destination_unavailable"
    RELAY_SOCKS_FAILURE = "relay-socks-general-failure", 502, 404, "destination_unavailable"
    RELAY_SOCKS_NOT_ALLOWED = "relay-socks-not-allowed", 502, 404, "destination_unavailable"
    RELAY_SOCKS_NETWORK = "relay-socks-network-unreachable", 502, 404, "destination_ip_unroutable"
    RELAY_SOCKS_HOST = "relay-socks-host-unreachable", 502, 404, "destination_unavailable"
    RELAY_SOCKS_CONNECTION = "relay-socks-connection-refused", 502, 404, "connection_refused"
    RELAY_SOCKS_TTL = "relay-socks-ttl-expired", 504, 404, "connection_timeout"
    RELAY_SOCKS_COMMAND = "relay-socks-command-not-supported", 502, 404, "destination_unavailable"
    RELAY_SOCKS_ADDRESS = "relay-socks-address-not-supported", 502, 404, "destination_unavailable"
    RELAY_SOCKS_UNKNOWN = "relay-socks-unknown-reply", 502, 404, "destination_unavailable"
    TOO_MANY_TUNNELS = "too-many-tunnels", 503, 302, "connection_limit_reached"
    TOO_MANY_TUNNELS_FOR_CLIENT = "too-many-tunnels-for-client", 503, 302, "connection_limit_reached"
    NO_DESCRIPTORS = "no-descriptors", 503, 302, "proxy_internal_error"
    DRAINING = "draining", 503, 110, "proxy_internal_response"
    INTERNAL_ERROR = "internal-error", 500, 400, "proxy_internal_error"

    # Rejected by the TLS rules: after the 200 there is no HTTP answer any more, but an alert.
    NOT_TLS = "not-tls", 0, 106, ""
    SERVER_NAME_MISSING = "server-name-missing", 0, 106, ""
    SERVER_NAME_INVALID = "server-name-invalid", 0, 106, ""
    SERVER_NAME_MISMATCH = "server-name-mismatch", 0, 106, ""
    TLS_VERSION = "tls-version", 0, 106, ""
    ECH_NOT_ALLOWED = "ech-not-allowed", 0, 106, ""
    HELLO_TOO_LARGE = "hello-too-large", 0, 106, ""
    HANDSHAKE_TIMEOUT = "handshake-timeout", 0, 106, ""
    MALFORMED_HANDSHAKE = "malformed-handshake", 0, 402, ""
    CLIENT_CERTIFICATE_NOT_ALLOWED = "client-certificate-not-allowed", 0, 105, ""
    CLIENT_CERTIFICATE_NOT_SENT = "client-certificate-not-sent", 0, 105, ""
    CLIENT_CERTIFICATE_UNSEEN = "client-certificate-unseen", 0, 105, ""
    TOO_MANY_HANDSHAKE_BYTES = "too-many-handshake-bytes", 0, 302, ""

    # A client's TLS leg was not made: an alert, where TLS has one for it, is all that it is told.
    CLIENT_TLS_CERTIFICATE_MISSING = "client-tls-certificate-missing", 0, 114, ""
    CLIENT_TLS_CERTIFICATE_EXPIRED = "client-tls-certificate-expired", 0, 114, ""
    CLIENT_TLS_CERTIFICATE_NOT_YET_VALID = "client-tls-certificate-not-yet-valid", 0, 114, ""
    CLIENT_TLS_CERTIFICATE_UNTRUSTED = "client-tls-certificate-untrusted", 0, 114, ""
    CLIENT_TLS_CERTIFICATE_REVOKED = "client-tls-certificate-revoked", 0, 114, ""
    CLIENT_TLS_CERTIFICATE_INVALID = "client-tls-certificate-invalid", 0, 114, ""
    CLIENT_TLS_CRL = "client-tls-crl", 0, 114, ""
    CLIENT_TLS_VERSION = "client-tls-version", 0, 114, ""
    CLIENT_TLS_CIPHER = "client-tls-cipher", 0, 114, ""
    CLIENT_TLS_NOT_ACCEPTED = "client-tls-not-accepted", 0, 114, ""
    CLIENT_TLS_MALFORMED = "client-tls-malformed", 0, 114, ""
    CLIENT_TLS_TIMEOUT = "client-tls-timeout", 0, 114, ""
    CLIENT_TLS_CLOSED = "client-tls-closed", 0, 114, ""
    CLIENT_TLS_TOO_MANY = "client-tls-too-many", 0, 302, ""
    CLIENT_TLS_DRAINING = "client-tls-draining", 0, 110, ""

    # How an open tunnel ended.
    CLIENT_CLOSED = "client-closed", 0, 108, ""
    UPSTREAM_CLOSED = "upstream-closed", 0, 108, ""
    CLIENT_RESET = "client-reset", 0, 108, ""
    UPSTREAM_RESET = "upstream-reset", 0, 108, ""
    CLIENT_GONE = "client-gone", 0, 108, ""
    IDLE = "idle", 0, 108, ""
    HALF_CLOSED_TIMEOUT = "half-closed-timeout", 0, 108, ""
    DRAINED = "drained", 0, 108, ""
    NOT_ALLOWED_AFTER_RELOAD = "not-allowed-after-reload", 0, 108, ""
    KILLED = "killed", 0, 108, ""
    WORKER_DIED = "worker-died", 0, 405, ""  # in the metrics only: nobody is left to write their lines
    RULE_ENDED = "rule-ended", 0, 108, ""
    CLIENT_TLS_CERTIFICATE_WITHDRAWN = "client-tls-certificate-withdrawn", 0, 108, ""


class Decision(NamedTuple):
    """What the policy said of a client or a target.

    detail is one English sentence for the log, never for the client. For an allowed target, `to` holds the networks its
    addresses may lie in although the address guard would refuse them, and no_server_name says that a session without a
    server name may pass; both are the union over the rules that matched.

    reported  no rule allows it, and it passes only because policy-mode is report: what would have been said
    until     Unix seconds; the first end of something that it rests on, when it is to be asked again
    """

    allowed: bool
    reason: Reason
    detail: str = ""
    to: "tuple[IPv4Network | IPv6Network, ...]" = ()
    no_server_name: bool = False
    reported: "Optional[Decision]" = None
    until: float = math.inf


ALLOW = Decision(True, Reason.ALLOWED)
