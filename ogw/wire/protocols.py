"""Which protocol is spoken where another should be: named by its first bytes, with what to do about it.

Nothing is quoted: what stands behind the first bytes may be a password.
"""

import re
from typing import Optional

LONGEST_SIGN = 64  # bytes that are looked at
LONGEST_URL = 1024  # the same of what a client asks for by another method

_AS_HTTP = "give the client the gateway as an HTTP proxy (http://)"
_ELSEWHERE = "only HTTP's CONNECT is spoken here, so that client must go another way"
_PROXY_PROTOCOL = (
    "have it read (proxy-protocol), or switch it off in the load balancer in front (haproxy: send-proxy; nginx: "
    "proxy_protocol; AWS: proxy_protocol_v2)"
)
_TLS = (
    "the client must be given the gateway as http://, not https://, and as its proxy, not as the server itself; or the "
    "gateway a listen-address for it that begins with tls://"
)
WEBSOCKET = "a WebSocket goes through a tunnel (wss://)"
_HTTP_2 = "HTTP/2.0 is not spoken here, HTTP/1.0 and HTTP/1.1 are; the client must not begin with it (h2c, plain gRPC)"
_REVOCATION = (
    "it asks for a revocation list, an OCSP answer or a certificate over plain http, which is refused by design: a "
    "client that cannot do without must find the host without the gateway (no_proxy), or be handed what it wants"
)
_BINARY = "PostgreSQL, SMB, Kafka, Kerberos and DNS over TCP begin so"

# In order: the first that fits. A pattern needs no byte behind the first that is forbidden in a line (wire/connect.py),
# since that one ends the reading: so the name is the same however the bytes are cut.
_OF_CLIENTS: tuple[tuple[bytes, str, str], ...] = (
    (rb"\x16", "a TLS handshake", _TLS),
    (rb"[\x80-\x83](?:[\x00-\x1f]|.\x01)", "an SSL 2.0 handshake", _TLS),
    (rb"[\x14\x15\x17]", "a TLS record", _TLS),
    (rb"\x05", "a SOCKS 5 client", f"{_AS_HTTP}, not as a SOCKS proxy (socks5://)"),
    (rb"\x04", "a SOCKS 4 client", f"{_AS_HTTP}, not as a SOCKS proxy (socks4://)"),
    (rb"\x03", "an RDP client (remote desktop), or a scanner", "this is no gateway for remote desktops"),
    (rb"PROXY(?: |\Z)", "the PROXY protocol v1", _PROXY_PROTOCOL),
    (rb"\r\n\r", "the PROXY protocol v2", _PROXY_PROTOCOL),
    (rb"PRI \*", "the preface of HTTP/2", _HTTP_2),
    (rb"SSH-", "an SSH client", "let it ask for its own target by CONNECT first (ProxyCommand), or go another way"),
    (rb"(?i:EHLO|HELO|LHLO|MAIL FROM:|RCPT TO:|STARTTLS)(?![\w-])", "an SMTP client", _ELSEWHERE),
    (rb"(?i:USER|PASS|FEAT|SYST|CAPA|PASV|PORT|APOP)(?![\w-])", "an FTP or POP3 client", _ELSEWHERE),
    (rb"(?i:NICK|CAP LS)(?![\w-])", "an IRC client", _ELSEWHERE),
    (rb"(?i:AUTH)(?![\w-])", "a client of Redis, SMTP or FTP", _ELSEWHERE),
    (rb"[*$][0-9]|(?i:PING|HELLO [23])(?![\w-])", "a Redis client", _ELSEWHERE),
    (rb"(?:stats|version)(?![\w-])|(?:gets?|set|add) ", "a memcached client", _ELSEWHERE),
    (rb"(?:[A-Za-z]{0,4}[0-9]+|\.) (?i:CAPABILITY|LOGIN|AUTHENTICATE|STARTTLS)(?!\w)", "an IMAP client", _ELSEWHERE),
    (rb"[A-Z_]+ \S+ RTSP/", "an RTSP client", _ELSEWHERE),
    (rb"[A-Z]+ \S+ SIP/", "a SIP client", _ELSEWHERE),
    (rb"[A-Z]+ \S+ ICAP/", "an ICAP client", _ELSEWHERE),
    (rb"CONNECT\n|STOMP\n", "a STOMP client", _ELSEWHERE),
    (rb"CONNECT \{", "a NATS client", _ELSEWHERE),
    (rb"AMQP", "an AMQP client", _ELSEWHERE),
    (rb"ZBX", "a Zabbix client", _ELSEWHERE),
    (rb"RFB ", "a VNC client", _ELSEWHERE),
    (rb"JRMI", "a Java RMI client", _ELSEWHERE),
    (rb"t3s? [0-9]", "a WebLogic client (T3)", _ELSEWHERE),
    (rb"[0-9a-f]{4}git-", "a git client (git://)", "give it https:// URLs"),
    (rb"@RSYNCD:", "an rsync client", _ELSEWHERE),
    (rb"\x10", "an MQTT client", _ELSEWHERE),
    (rb"\x12", "an SQL Server client (TDS)", _ELSEWHERE),
    (rb"\x13", "a BitTorrent client", _ELSEWHERE),
    (rb"0[\x00-\x1f\x80-\x84]", "an LDAP client", _ELSEWHERE),
    (rb"\xff[\xfb-\xfe]", "a Telnet client", _ELSEWHERE),
    (rb"\x00", "a binary protocol, whose first byte is 0x00,", _BINARY),
)
_OF_SERVERS: tuple[tuple[bytes, str], ...] = (
    (rb"\x05", "a SOCKS 5 proxy"),
    (rb"\x03", "an RDP server (remote desktop)"),
    (rb"SSH-", "an SSH server"),
    (rb"2[0-9][0-9][ -]|[45][0-9][0-9][ -]", "an SMTP or FTP server"),
    (rb"\+OK", "a POP3 server, or Redis"),
    (rb"\* OK|\* BYE|\* BAD", "an IMAP server"),
    (rb"-(?:ERR|NOAUTH|DENIED)", "a Redis or POP3 server"),
    (rb"ERROR(?:\Z|[\r\n])", "a memcached server"),
    (rb"HTTP/[02-9]", "a server of HTTP, but not of HTTP/1.0 or 1.1"),
    (rb"RTSP/", "an RTSP server"),
    (rb"SIP/", "a SIP server"),
    (rb"ICAP/", "an ICAP server"),
    (rb"RFB ", "a VNC server"),
    (rb"AMQP", "an AMQP server"),
    (rb"(?i:<!doctype|<html|<\?xml)", "a page without a head (HTTP/0.9)"),
    (rb"\x00", "a binary protocol (HTTP/2 alone, SOCKS 4)"),
)
_CLIENTS = [(re.compile(sign, re.DOTALL), who, do) for sign, who, do in _OF_CLIENTS]
_PROXY_HEADER = re.compile(rb"PROXY |\r\n\r\n\x00")
_MAY_BE_MORE = re.compile(rb"\r(?:\n(?:\r\n?)?)?|[\t -~\x80-\xff]{0,%d}" % (LONGEST_SIGN - 1))
_SERVERS = [(re.compile(sign, re.DOTALL), who) for sign, who in _OF_SERVERS]

# What libraries of TLS fetch beside a session (RFC 5280, sections 4.2.1.13 and 4.2.2.1; RFC 6960, appendix A), and the
# lists of authorities that Windows fetches: hosts are named after it, or files are.
_OF_CERTIFICATES = re.compile(
    rb"http://(?:[^/]*[./])?(?:[^./]*(?:ocsp|crl)[0-9]*|pki|aia|cacerts?)(?:[./]|\Z)"
    rb"|http://[^?]*(?:\.(?:crl|crt|cer|der|p7[bcs])|stl\.cab)(?:\?|\Z)",
    re.IGNORECASE,
)

# The first byte alone tells less, where no second one is waited for: behind the 200, in place of TLS.
_FIRST_BYTES = {
    **dict.fromkeys(b"GHDOTC", "plain HTTP"),
    **dict.fromkeys(b"P", "plain HTTP, or the PROXY protocol v1"),
    **dict.fromkeys(b"S", "SSH"),
    **dict.fromkeys(b"245", "an SMTP or FTP server"),
    **dict.fromkeys(b"E", "an SMTP client"),
    **dict.fromkeys(b"U", "an FTP or POP3 client"),
    **dict.fromkeys(b"+-$", "Redis, or POP3"),
    **dict.fromkeys(b"*", "Redis, or IMAP"),
    **dict.fromkeys(b"R", "VNC, or RTSP"),
    **dict.fromkeys(b"0", "LDAP"),
    **dict.fromkeys(b"A", "AMQP"),
    **dict.fromkeys(b"<", "XML, as XMPP"),
    **dict.fromkeys(b"\r", "the PROXY protocol v2"),
    **dict.fromkeys(b"\x00", "PostgreSQL, SMB, HTTP/2 or another binary protocol"),
    **dict.fromkeys(b"\x03", "RDP"),
    **dict.fromkeys(b"\x04", "SOCKS 4"),
    **dict.fromkeys(b"\x05", "SOCKS 5"),
    **dict.fromkeys(b"\x10", "MQTT"),
    **dict.fromkeys(b"\x12", "SQL Server"),
    **dict.fromkeys(b"\x14\x17", "TLS, but not from its begin"),
}


def instead_of_request(data: bytes) -> str:
    """The end of a sentence about what comes where a request head should begin; "" for what is not known."""
    for sign, who, do in _CLIENTS:
        if sign.match(data, 0, LONGEST_SIGN):
            return f"{who} instead of an HTTP request: {do}"
    return ""


def who_begins_so(data: bytes) -> str:
    """Who does, or what, as "an SSH client"; "" for what is not known."""
    return next((who for sign, who, _do in _CLIENTS if sign.match(data, 0, LONGEST_SIGN)), "")


def is_settled(data: bytes) -> bool:
    """Whether it is enough to say who begins so: nothing that may come behind it changes that."""
    return _MAY_BE_MORE.fullmatch(data) is None


def instead_of_connect(target: bytes) -> str:
    """What to do where a client asks for this by another method than CONNECT."""
    scheme = target.partition(b"://")[0].lower()
    if scheme in (b"ws", b"wss"):
        return WEBSOCKET
    if scheme == b"https":
        return "the client must open a tunnel to the host of an https:// URL, not ask the gateway for the URL"
    if _OF_CERTIFICATES.match(target, 0, LONGEST_URL):
        return _REVOCATION
    if scheme == b"http":
        return f"use the gateway for https, not for http (https_proxy, not http_proxy); {WEBSOCKET}"
    return "the gateway is a proxy for https, not a web server; health checks ask for /healthz at the admin port"


def instead_of_answer(data: bytes) -> str:
    """A sentence about who answers so where a relay proxy should; "" for what is not known."""
    return next((f"it is {who}" for sign, who in _SERVERS if sign.match(data, 0, LONGEST_SIGN)), "")


def by_first_byte(first: int) -> Optional[str]:
    """What may begin with this byte instead of TLS."""
    return _FIRST_BYTES.get(first)


def begins_proxy_header(data: "bytes | bytearray") -> bool:
    """Whether a header of the PROXY protocol begins so: enough of it to be nothing else."""
    return _PROXY_HEADER.match(data) is not None


def begins_tls(first: int) -> bool:
    """Whether a TLS record begins with this byte: an alert, as nearly always where an answer is waited for."""
    return 0x14 <= first <= 0x17
