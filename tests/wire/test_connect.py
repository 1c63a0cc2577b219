"""Heads as they come: the good, each kind of bad, cut everywhere; and our answers read by another implementation."""

import http.client
import pathlib
import socket

import pytest
from harness.cuts import every_way
from harness.growth import assert_linear
from hypothesis import example, given
from hypothesis import strategies as st

from ogw.wire.answer import answer, proxy_status
from ogw.wire.connect import (
    BadRequest,
    BadResponse,
    BadTarget,
    HeadTooLarge,
    NotConnect,
    Request,
    SocksAnswer,
    Target,
    TlsAnswer,
    basic_credentials,
    parse_target,
    read_request,
    read_response,
)
from ogw.wire.quotation import quoted

LIMIT = 16 * 1024
HEADS = sorted((pathlib.Path(__file__).parent.parent / "data" / "heads").glob("*.head"))
GOOD = b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n"


def request(data, limit=LIMIT):
    return every_way(lambda piece: read_request(piece, limit), data)


def response(data, limit=LIMIT):
    return every_way(lambda piece: read_response(piece, limit), data)


@pytest.mark.parametrize("path", HEADS, ids=lambda path: path.stem)
def test_a_recorded_head_of_a_real_client_is_read(path):
    got = request(path.read_bytes())
    assert isinstance(got, Request)
    assert (got.target.host, got.target.port) == ("agent.bench.example", 443)
    assert got.rest == b""


def test_what_is_no_target_is_not_remembered():
    """It may be as large as a head."""
    before = parse_target.cache_info().currsize
    for host in (b"a" * 16000, b"a." * 8000 + b"a", b"[" + b"0" * 16000 + b"::1]", b"0" * 16000 + b"1.1.1.1"):
        with pytest.raises(BadTarget):
            parse_target(host + b":443")
    assert parse_target.cache_info().currsize == before


def test_there_are_recorded_heads_of_all_clients():
    assert {path.stem for path in HEADS} >= {"curl", "git", "http.client", "openssl", "requests", "wget", "wininet"}


def test_what_comes_behind_the_head_is_the_rest():
    tail = b"\x16\x03\x01\x00\x05hello\r\n\r\n\x00\n"
    assert request(GOOD + tail).rest == tail


def test_names_are_lower_case_and_values_without_white_space_around():
    got = request(b"CONNECT A.Example.:443 HTTP/1.0\r\nX-A: \t b c\t \r\nEMPTY:\r\n\r\n")
    assert got == Request(Target("a.example", 443), b"X-A: \t b c\t \r\nEMPTY:\r\n", b"")
    assert got.headers == [(b"x-a", b"b c"), (b"empty", b"")]


@pytest.mark.parametrize(
    "head",
    [
        b"CONNECT a.example:443 HTTP/1.0\r\n\r\n",
        b"CONNECT a.example:443 HTTP/1.0\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n",
        b"CONNECT a.example:443 HTTP/1.1\r\nHost: elsewhere.example:80\r\n\r\n",
        b"CONNECT a.example:443 HTTP/1.1\r\nHost:\r\n\r\n",
        b"\r\nCONNECT a.example:443 HTTP/1.1\r\n\r\n",
        b"CONNECT a.example:443 HTTP/1.1\r\nX: caf\xc3\xa9 \xff\r\n\r\n",
    ],
)
def test_what_real_clients_do_is_tolerated(head):
    assert request(head).target == Target("a.example", 443)


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (b"\x16\x03\x01\x02\x00\x01", BadRequest, "TLS handshake"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", BadRequest, "SSH client"),
        (b"GET / HTTP/1.1\n\n", BadRequest, "line feed without"),
        (b"GET / HTTP/1.1\r\r\n", BadRequest, "carriage return without"),
        (b"GE\x00T", BadRequest, "0x00"),
        (b"CONNECT a.example:443 HTTP/1.1\r\nX: a\x0bb", BadRequest, "0x0b"),
        (b"CONNECT a.example:443 HTTP/1.1\r\nX: a\x7fb", BadRequest, "0x7f"),
        (b"CONNECT a.example:443 HTTP/1.1\r\nX: a\r\n folded\r\n\r\n", BadRequest, "obs-fold"),
        (b"CONNECT a.example:443 HTTP/1.1\r\n folded: x\r\n\r\n", BadRequest, "obs-fold"),
        (b"CONNECT a.example:443 HTTP/1.1\r\nHost : a\r\n\r\n", BadRequest, "before the colon"),
        (b"CONNECT a.example:443 HTTP/1.1\r\nno colon\r\n\r\n", BadRequest, "not a header line"),
        (b"CONNECT a.example:443 HTTP/1.1\r\n: x\r\n\r\n", BadRequest, "not a header line"),
        (b"CONNECT a.example:443 HTTP/1.1\r\nHost: a\r\nhOST: a\r\n\r\n", BadRequest, "two Host"),
        (b"CONNECT a.example:443 HTTP/1.1\r\nContent-Length: 1\r\n\r\n", BadRequest, "no body"),
        (b"CONNECT a.example:443 HTTP/1.1\r\nContent-Length: 0, 0\r\n\r\n", BadRequest, "no body"),
        (b"CONNECT a.example:443 HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n", BadRequest, "no body"),
        (b"CONNECT a.example:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", BadRequest, "no body"),
        (b"CONNECT a.example:443 HTTP/2.0\r\n", BadRequest, "HTTP/2.0 is not spoken"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BadRequest, "HTTP/2.0 is not spoken"),
        (b"CONNECT a.example:443 HTTP/1.2\r\n", BadRequest, "version"),
        (b"CONNECT a.example:443 http/1.1\r\n", BadRequest, "not a request line"),
        (b"CONNECT a.example:443\r\n", BadRequest, "HTTP/0.9"),
        (b"GET /\r\n", BadRequest, "HTTP/0.9"),
        (b"CONNECT  a.example:443 HTTP/1.1\r\n", BadRequest, "not a request line"),
        (b"CONNECT a.example:443 HTTP/1.1 \r\n", BadRequest, "not a request line"),
        (b"CONNECT\ta.example:443\tHTTP/1.1\r\n", BadRequest, "not a request line"),
        (b"CONNECT b\xc3\xbccher.example:443 HTTP/1.1\r\n", BadRequest, "the target is not ASCII; its host is written"),
        (b"CONNECT b\xfccher.example:443 HTTP/1.0\r\n", BadRequest, "in its A-label form (xn--...)"),
        (b"CONNECT b\xfccher.example:443 HTTP/2.0\r\n", BadRequest, "HTTP/2.0 is not spoken"),
        (b"GET http://b\xfccher.example/ HTTP/1.1\r\n", BadRequest, 'not a request line: "GET"'),
        (b"\r\n\r\n", BadRequest, "not a request line"),
        (b"GET http://a.example/ HTTP/1.1\r\n", NotConnect, "only CONNECT"),
        (b"OPTIONS * HTTP/1.1\r\n", NotConnect, "only CONNECT"),
        (b"connect a.example:443 HTTP/1.1\r\n", NotConnect, "capitals"),
        (b"CONNECT / HTTP/1.1\r\n", BadTarget, "authority-form"),
        (b"CONNECT * HTTP/1.1\r\n", BadTarget, "authority-form"),
        (b"CONNECT https://a.example/ HTTP/1.1\r\n", BadTarget, "URL"),
        (b"CONNECT a.example HTTP/1.1\r\n", BadTarget, "no port"),
    ],
)
def test_each_bad_head_has_its_own_error(data, error, says):
    kind, text = request(data + b"more that comes later\x00\n")
    assert kind is error
    assert says in text


def test_a_quoted_line_is_escaped_and_cut():
    kind, text = request(b"x" * 200 + b'"\xff\r\n')
    assert kind is BadRequest
    assert '"' + "x" * 80 + '"...' in text
    assert quoted(b'a"\xff\r') == r'"a\"\xff\r"'


@pytest.mark.parametrize("spare", [0, 1])
def test_a_head_may_fill_the_limit_but_not_more(spare):
    limit = len(GOOD) - spare
    if spare == 0:
        assert request(GOOD + b"rest", limit).rest == b"rest"
    else:
        assert request(GOOD + b"rest", limit)[0] is HeadTooLarge


def test_a_head_of_a_megabyte_is_too_large_at_the_limit():
    endless = b"CONNECT a.example:443 HTTP/1.1\r\nX: " + b"y" * (1 << 20)
    assert request(endless[: LIMIT + 10], 2048)[0] is HeadTooLarge
    with pytest.raises(HeadTooLarge, match="16384 bytes"):
        read_request(endless, LIMIT)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        (b"a.example:443", Target("a.example", 443)),
        (b"A.EXAMPLE.:1", Target("a.example", 1)),
        (b"localhost:65535", Target("localhost", 65535)),
        (b"xn--bcher-kva.example:443", Target("xn--bcher-kva.example", 443)),
        (b"_dns.a_b.example:443", Target("_dns.a_b.example", 443)),
        (b"127.0.0.1.example:443", Target("127.0.0.1.example", 443)),
    ],
)
def test_names_have_one_canonical_form(text, target):
    assert parse_target(text) == target
    assert parse_target(text).address is None


@pytest.mark.parametrize(
    ("text", "host", "shown"),
    [
        (b"192.0.2.1:443", "192.0.2.1", "192.0.2.1:443"),
        (b"[::1]:443", "::1", "[::1]:443"),
        (b"[2001:DB8:0:0::1]:443", "2001:db8::1", "[2001:db8::1]:443"),
    ],
)
def test_addresses_have_one_canonical_form(text, host, shown):
    target = parse_target(text)
    assert (target.host, str(target.address), str(target)) == (host, host, shown)


@pytest.mark.parametrize(
    "text",
    [
        b"", b":", b":443", b"a.example:", b"a.example", b"a.example:0", b"a.example:65536", b"a.example:0443",
        b"a.example:+443", b"a.example:4_43", b"a.example: 443", b"a.example:99999999999", b"a.example:443:443",
        b"a.example:\xd9\xa4\xd9\xa4\xd9\xa3", b"a..example:443", b".a.example:443", b"a.example..:443",
        b"-a.example:443",
        b"a-.example:443", b"a.example/:443", b"a.example/x:443", b"user@a.example:443", b"u:p@a.example:443",
        b"a%2eexample:443", b"a,b.example:443", b"a\\b.example:443", b"*.example:443", b"1:443", b"127.1:443",
        b"0x7f.1:443", b"0x7f000001:443", b"2130706433:443", b"0177.0.0.1:443", b"127.0.0.01:443", b"127.0.0.1.:443",
        b"256.0.0.1:443", b"1.2.3.4.5:443", b"a.0x:443", b"a.7:443", b"::1:443", b"[::1]", b"[::1]:", b"[::1%1]:443",
        b"[::1%25lo]:443", b"[1.2.3.4]:443", b"[a.example]:443", b"[]:443", b"[::1]x:443", b"[[::1]]:443",
        b"x" * 64 + b".example:443", b".".join([b"x" * 60] * 5) + b":443", b"k\xe2\x84\xaa.example:443",
    ],
)  # fmt: skip
def test_a_target_that_is_not_strictly_host_and_port_is_refused(text):
    with pytest.raises(BadTarget) as caught:
        parse_target(text)
    assert caught.value.detail.isascii() and caught.value.detail.isprintable()


@given(st.binary(max_size=300))
@example(b"CONNECT a:1 HTTP/1.1\r\n\r\n")
@example(b"CONNECT a:1 HTTP/1.1\r\nA: b\r\n\r\n\x00")
def test_any_bytes_give_one_outcome_however_they_are_cut(data):
    request(data, 200)
    response(data, 200)


PIECES = st.sampled_from(
    [b"CONNECT", b"GET", b" ", b"a.example", b":443", b"[::1]", b" HTTP/1.1", b" HTTP/2.0", b"\r\n", b"\r", b"\n",
        b"\t",
     b"Host: a", b"Host : a", b"Content-Length: 0", b"Content-Length: 1", b"\x00", b"\xff", b"CONNECT a:1 HTTP/1.1\r\n",
     b"HTTP/1.1 200 OK\r\n", b"\r\n\r\n"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12).map(b"".join), st.integers(1, 120))
def test_any_mix_of_pieces_gives_one_outcome_however_it_is_cut(data, limit):
    request(data, limit)
    response(data, limit)


@given(st.text(alphabet="abcXYZ019.-_:[]%@/ \x7f\u212a\u0664", max_size=40))
def test_a_target_that_is_taken_reads_the_same_from_its_own_text(text):
    try:
        target = parse_target(text.encode())
    except BadTarget:
        return
    assert parse_target(str(target).encode()) == target
    assert target.host.isascii() and target.host == target.host.lower()


def test_a_response_and_what_is_glued_to_it_are_read():
    got = response(b"HTTP/1.0 200 Connection established\r\nVia: 1.1 squid\r\n\r\n\x16\x03tail")
    assert (got.status, got.phrase, got.headers) == (200, "Connection established", [(b"via", b"1.1 squid")])
    assert got.rest == b"\x16\x03tail"


@pytest.mark.parametrize(
    ("line", "phrase"), [(b"HTTP/1.1 407", ""), (b"HTTP/1.1 407 ", ""), (b"HTTP/1.1 407 N\xc3\xb6", "N??")]
)
def test_a_phrase_may_be_missing_and_is_printable_ascii(line, phrase):
    assert response(line + b"\r\n\r\n").phrase == phrase


@pytest.mark.parametrize(
    "data",
    [b"HTTP/1.1 20 OK\r\n", b"HTTP/1.1 600 X\r\n", b"HTTP/2 200\r\n", b"ICY 200 OK\r\n", b"\r\n", b"<html>\r\n",
        b"HTTP/1.1 200 OK\n", b"HTTP/1.1 200 O\x00K", b"HTTP/1.1 200 O\rK"],
)  # fmt: skip
def test_a_bad_response_is_one_error(data):
    assert response(data)[0] is BadResponse


ODD_LINES = {
    "a bare line feed": (b"A: b\nC: d\r\n", [(b"a", b"b"), (b"c", b"d")]),
    "a bare line feed at the end": (b"A: b\n", [(b"a", b"b")]),
    "a line that is continued": (b"A: b \r\n  c: d\r\n\te\t\r\nF: g\r\n", [(b"a", b"b c: d e"), (b"f", b"g")]),
    "a line that is continued from its colon on": (b"A:\r\n b\r\n", [(b"a", b"b")]),
    "a line that continues none of the headers": (
        b"A: b\r\nrubbish\r\n c\r\n d: e\r\nF: g\r\n",
        [(b"a", b"b"), (b"f", b"g")],
    ),
    "a first line that continues nothing": (b" b\r\nC: d\r\n", [(b"c", b"d")]),
    "many lines that continue one": (b"a: b\r\n" + b" c\r\n" * 3000, [(b"a", b"b" + b" c" * 3000)]),
    "blanks before the colon": (b"Via \t: x\r\n", [(b"via", b"x")]),
    "no colon": (b"rubbish\r\nA: b\r\n", [(b"a", b"b")]),
    "a status line again": (b"HTTP/1.1 200 OK\r\n", []),
    "no name": (b": x\r\n", []),
    "two words in a name": (b"a b: c\r\n", []),
    "control characters": (bytes(sorted(set(range(32)) - {10, 13})) + b"\x7f\r\n", []),
    "control characters in a value": (b"A: b\x00\x01\x0b\x1b\x7fc\r\n", [(b"a", b"b\x00\x01\x0b\x1b\x7fc")]),
    "no ASCII": (b"\xe4\xff: x\r\nA: \xc3\xbc\xff\r\n", [(b"a", b"\xc3\xbc\xff")]),
    "a length and a coding": (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", None),
    "many lines": (b"a:b\r\n" * 3000, [(b"a", b"b")] * 3000),
}


@pytest.mark.parametrize("case", ODD_LINES)
def test_an_answer_may_have_odd_lines(case):
    lines, headers = ODD_LINES[case]
    whole = b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n"
    got = response(whole + b"\x16rest\n") if len(whole) < 1000 else read_response(whole + b"\x16rest\n", LIMIT * 2)
    assert (got.status, got.rest) == (200, b"\x16rest\n")
    assert headers is None or got.headers == headers
    assert read_response(whole[:-2], LIMIT * 2) is None


def test_lines_that_continue_one_take_no_long():
    assert_linear(
        lambda size: read_response(b"HTTP/1.1 200 OK\r\nA: b\r\n" + b" c\r\n" * size + b"\r\n", 1 << 20), 20_000
    )


@pytest.mark.parametrize(
    "end",
    [
        b"\n",
        b"A: b\n\n",
        b"A: b\r\r\n",
        b"A: b\rc\r\n",
        b"A: b\r\n \r\n",
        b"\t\n",
        b"\r\r\n",
        b"A: b\r\n\n",
        b"\x0b\r\n",
    ],
)
def test_where_an_answer_ends_is_never_a_guess(end):
    assert response(b"HTTP/1.1 200 OK\r\n" + end + b"A: b\r\n\r\n")[0] is BadResponse


@pytest.mark.parametrize("first", range(0x14, 0x18))
def test_an_answer_in_tls_is_told_apart(first):
    assert response(bytes((first, 3, 3, 0, 2, 2, 40)))[0] is TlsAnswer


def test_an_answer_in_socks_is_told_apart():
    assert response(b"\x05\xff") == (SocksAnswer, "it is a SOCKS 5 proxy")


@pytest.mark.parametrize(
    ("said", "who"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "an SSH server"),
        (b"220 mail.example ESMTP\r\n", "an SMTP or FTP server"),
        (b"-ERR unknown command\r\n", "a Redis or POP3 server"),
        (b"\x00\x5b", "SOCKS 4"),
        (b"HTTP/2 200\r\n", "not of HTTP/1.0 or 1.1"),
        (b"<html>\r\n", "HTTP/0.9"),
        (b"RFB 003.008\n", "a VNC server"),
    ],
)
def test_who_answers_instead_of_a_relay_proxy_is_named(said, who):
    kind, text = response(said + b"more\r\n")
    assert kind is BadResponse and who in text


def test_a_response_head_has_a_limit():
    assert response(b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100, 64)[0] is HeadTooLarge


def test_an_answer_is_read_by_another_implementation():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(answer(403, "Forbidden: host-not-allowed", [("Proxy-Status", "ogw; error=x")], "No.\n"))
        ours.close()
        got = http.client.HTTPResponse(theirs)
        got.begin()
        body = got.read()
    assert (got.status, got.reason) == (403, "Forbidden: host-not-allowed")
    assert got.getheader("proxy-status") == "ogw; error=x"
    assert got.getheader("connection") == "close"
    assert body == b"No.\n"


@pytest.mark.parametrize(("phrase", "header"), [("a\r\nb", "x"), ("a", "x\ny")])
def test_an_answer_cannot_be_split(phrase, header):
    with pytest.raises(ValueError, match="line break"):
        answer(403, phrase, [("X", header)], "")


def test_proxy_status_is_serialised_as_rfc_9209_says():
    assert (
        proxy_status("dns_error", "dns-error", 403, "3f-1")
        == 'ogw; error=dns_error; reason=dns-error; event=403; tunnel="3f-1"'
    )
    assert "; received-status=407; " in proxy_status("http_protocol_error", "relay-refused", 404, "a-1", 407)


def test_basic_credentials_are_utf_8_with_the_first_colon_as_separator():
    assert basic_credentials("test", "123£:") == b"Basic dGVzdDoxMjPCozo="
