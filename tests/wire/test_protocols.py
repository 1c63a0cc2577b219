"""What speaks the wrong protocol is named, whole and cut anywhere, with what to do, and never quoted."""

import pytest
from harness.cuts import every_way, piecewise

from ogw.wire.connect import BadRequest, HeadError, NotConnect, ProxyHeader, RequestReader, read_request
from ogw.wire.protocols import LONGEST_SIGN, begins_proxy_header, is_settled, who_begins_so

LIMIT = 16 * 1024
SECRET = b"s3cretpassw0rd"
V2 = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x02\xd4\x31\x01\xbb"
WEBSOCKET = b"GET /chat HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
# What comes, a word that names it, one of what to do, and from how many bytes on it is known.
SPOKEN = {
    "PROXY v1": (b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nCONNECT a:443", "PROXY protocol v1", "load balancer", 6),
    "PROXY v1 unknown": (b"PROXY UNKNOWN\r\n", "PROXY protocol v1", "send-proxy", 6),
    "PROXY v2": (V2, "PROXY protocol v2", "load balancer", 3),
    "SOCKS 4": (b"\x04\x01\x01\xbb\xc0\x00\x02\x01me\x00", "SOCKS 4", "http://", 1),
    "SOCKS 5": (b"\x05\x02\x00\x02", "SOCKS 5", "http://", 1),
    "RDP": (
        b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00",
        "RDP",
        "no gateway for",
        1,
    ),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "a TLS handshake", "http://, not https://", 1),
    "SSL 2.0": (b"\x80\x2e\x01\x00\x02\x00\x15", "SSL 2.0", "http://, not https://", 3),
    "SSL 2.0, short": (b"\x80\x1c\x01\x00\x02", "SSL 2.0", "http://, not https://", 2),
    "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH client", "CONNECT", 4),
    "SSH with a line feed": (b"SSH-2.0-OpenSSH_9.2\n", "SSH client", "CONNECT", 4),
    "SMTP": (b"EHLO mail.example\r\n", "SMTP", "another way", 5),
    "smtp": (b"ehlo mail.example\n", "SMTP", "another way", 5),
    "FTP": (b"USER till\r\nPASS " + SECRET, "FTP", "another way", 5),
    "a password": (b"PASS " + SECRET + b"\r\n", "FTP", "another way", 5),
    "AUTH": (b"AUTH " + SECRET + b"\r\n", "Redis", "another way", 5),
    "IMAP": (b"a1 LOGIN till " + SECRET + b"\r\n", "IMAP", "another way", 9),
    "Redis": (b"*2\r\n$4\r\nAUTH\r\n$14\r\n" + SECRET, "Redis", "another way", 2),
    "Redis inline": (b"PING\r\n", "Redis", "another way", 4),
    "memcached": (b"get x\r\n", "memcached", "another way", 4),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "the preface of HTTP/2", "HTTP/1.1", 5),
    "RTSP": (b"OPTIONS rtsp://a.example/x RTSP/1.0\r\n", "RTSP", "another way", 32),
    "SIP": (b"REGISTER sip:a.example SIP/2.0\r\n", "SIP", "another way", 27),
    "STOMP": (b"CONNECT\naccept-version:1.2\npasscode:" + SECRET, "STOMP", "another way", 8),
    "NATS": (b'CONNECT {"user":"till","pass":"' + SECRET + b'"}\r\n', "NATS", "another way", 9),
    "AMQP": (b"AMQP\x00\x00\x09\x01", "AMQP", "another way", 4),
    "MQTT": (b"\x10\x1f\x00\x04MQTT\x04\xc2\x00<" + SECRET, "MQTT", "another way", 1),
    "TDS": (b"\x12\x01\x00\x2f\x00\x00\x01\x00", "SQL Server", "another way", 1),
    "LDAP": (b"0\x1b\x02\x01\x01`\x16\x02\x01\x03\x04\x02cn\x80\x0d" + SECRET, "LDAP", "another way", 2),
    "LDAP, long": (b"0\x84\x00\x00\x00\x1b\x02\x01\x01`", "LDAP", "another way", 2),
    "PostgreSQL": (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", "0x00", "PostgreSQL", 1),
    "VNC": (b"RFB 003.008\n", "VNC", "another way", 4),
    "git": (b"0032git-upload-pack /x\x00host=a.example\x00", "git", "https://", 8),
    "Telnet": (b"\xff\xfb\x1f\xff\xfb\x20", "Telnet", "another way", 2),
    "a WebSocket": (WEBSOCKET, "WebSocket", "wss://", 0),
    "a proxied page": (b"GET http://a.example/?" + SECRET + b" HTTP/1.1\r\n\r\n", "only CONNECT", "https_proxy", 0),
    "a proxied https page": (b"GET https://a.example/ HTTP/1.1\r\n\r\n", "only CONNECT", "open a tunnel", 0),
    "a revocation list": (b"GET http://a.example/" + SECRET + b".crl HTTP/1.1\r\n\r\n", "only CONNECT", "by design", 0),
    "a page": (b"GET /" + SECRET + b" HTTP/1.1\r\nHost: a\r\n\r\n", "only CONNECT", "/healthz", 0),
    "a page by POST": (b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", "only CONNECT", "admin port", 0),
}


def detail_at_the_end(data):
    """What a reader says of so many bytes, when no more come."""
    reader = RequestReader(LIMIT)
    try:
        reader.feed(data)
        return reader.end()
    except HeadError as error:
        return error.detail


@pytest.mark.parametrize("case", SPOKEN)
def test_it_is_named_whole_and_cut_anywhere(case):
    data, name, do, known = SPOKEN[case]
    kind, text = every_way(lambda piece: read_request(piece, LIMIT), data + b"\r\n\x00")
    assert name in text and do in text
    assert kind is (NotConnect if "only CONNECT" in text else ProxyHeader if "PROXY" in text else BadRequest)
    assert SECRET.decode() not in text and text.isascii() and text.isprintable()
    bytewise = piecewise(RequestReader(LIMIT), [bytes((byte,)) for byte in data + b"\r\n\x00"])
    assert bytewise == (kind, text)
    for cut in range(len(data)):
        assert piecewise(RequestReader(LIMIT), [data[:cut], data[cut:] + b"\r\n\x00"]) == (kind, text)
        if known and cut >= known:
            told = detail_at_the_end(data[:cut])
            assert name in told and SECRET.decode() not in told


@pytest.mark.parametrize("case", SPOKEN)
def test_who_it_is_stays_so_once_that_is_settled(case):
    data, name, _do, known = SPOKEN[case]
    settled = [data[:size] for size in range(len(data) + 1) if is_settled(data[:size])]
    assert settled and len(settled[0]) <= LONGEST_SIGN
    assert {(who_begins_so(one), begins_proxy_header(one)) for one in settled} == {
        (who_begins_so(data), begins_proxy_header(data))
    }
    assert not known or name in who_begins_so(data)


def test_a_request_that_is_cut_is_nothing_else():
    whole = b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n"
    assert {detail_at_the_end(whole[:cut]) for cut in range(len(whole))} == {""}
    assert all(read_request(whole[:cut], LIMIT) is None for cut in range(len(whole)))


@pytest.mark.parametrize("end", [b"\r\n", b"Upgrade: h2\x00c", b"no colon\r\n\r\n", b"A: b\n", b" folded\r\n\r\n"])
def test_what_is_no_connect_stays_so_whatever_its_headers_are(end):
    kind, text = every_way(lambda piece: read_request(piece, LIMIT), b"GET / HTTP/1.1\r\nA: b\r\n" + end)
    assert kind is NotConnect and 'the method is "GET"; only CONNECT is served' in text


def test_what_is_no_connect_and_too_large_is_no_connect():
    kind, _text = every_way(lambda piece: read_request(piece, 100), b"GET / HTTP/1.1\r\n" + b"a:b\r\n" * 40)
    assert kind is NotConnect


@pytest.mark.parametrize(
    "place",
    [
        "crl3.a.example/Root.crl",
        "crl.a.example/",
        "mscrl.a.example/pki/mscorp/x",
        "www.a.example/pkiops/certs/Azure%20Issuing%20CA%2001.crt",
        "cacerts.a.example/x",
        "ocsp.a.example",
        "ocsp2.a.example/MFQwUjBQ",
        "oneocsp.a.example/ocsp/MFQ/x==",
        "x1.i.a.example:80/x.DER?y",
        "x.a.example/issuer.p7c",
        "ctldl.a.example/msdownload/update/v3/static/trustedr/en/disallowedcertstl.cab",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_libraries_of_tls_fetch_over_plain_http_is_said_to_be_refused_by_design(place, method):
    head = f"{method} http://{place} HTTP/1.1\r\n\r\n".encode()
    with pytest.raises(NotConnect, match="a revocation list, an OCSP answer or a certificate over plain http"):
        read_request(head, LIMIT)


@pytest.mark.parametrize(
    "place", ["a.example/", "a.example/crlf", "www.crl-shop.example/", "a.example/x.cert", "a.example/?x=y.crl", ""]
)
def test_other_plain_http_is_not_taken_for_that(place):
    with pytest.raises(NotConnect, match="use the gateway for https, not for http"):
        read_request(f"GET http://{place} HTTP/1.1\r\n\r\n".encode(), LIMIT)
