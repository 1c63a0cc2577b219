"""What a sentence about a bad head shows: never a value, never user information, wherever in the head it stands."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogw.wire.connect import HeadError, parse_target, read_request, read_response

LIMIT = 16 * 1024
SECRET = b"s3cretpassw0rd"
CODED = base64.b64encode(b"till:" + SECRET)
REQUEST = b"CONNECT a.example:443 HTTP/1.1\r\n"
STATUS = b"HTTP/1.1 407 Who?\r\n"


def said(read, data):
    try:
        read(data)
    except HeadError as error:
        assert error.detail.isascii() and error.detail.isprintable()
        return error.detail
    return ""


def request(data):
    return said(lambda head: read_request(head, LIMIT), data)


def response(data):
    return said(lambda head: read_response(head, LIMIT), data)


LINES = {
    "white space before the colon": b"Proxy-Authorization : Basic " + CODED,
    "a tab before the colon": b"Proxy-Authorization\t: Basic " + CODED,
    "folded": b" Basic " + CODED,
    "folded with a tab": b"\t" + CODED,
    "wrapped base64 without a fold": CODED,
    "a name in two words": b"Proxy Authorization: Basic " + CODED,
    "no name": b": Basic " + CODED,
    "no colon": b"Proxy-Authorization Basic " + CODED,
    "an equals sign": b"Proxy-Authorization=Basic " + CODED,
    "a name in quotes": b'"Proxy-Authorization": "Basic ' + CODED,
    "a request of another proxy": b"GET http://till:" + SECRET + b"@a.example/ HTTP/1.1",
    "a length that is none": b"Content-Length: " + SECRET,
    "a coding": b"Transfer-Encoding: " + SECRET,
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
@pytest.mark.parametrize("before", [b"", b"Host: a.example\r\n", b"Proxy-Authorization: Basic\r\n"])
def test_a_header_line_that_cannot_be_read_keeps_its_value(line, before):
    for detail in (request(REQUEST + before + line + b"\r\n"), response(STATUS + before + line + b"\r\n")):
        assert SECRET.decode() not in detail and CODED.decode()[:8] not in detail
    assert request(REQUEST + before + line + b"\r\n")


def test_its_name_or_its_place_is_told():
    assert 'before the colon of a header: "X-Key"' in request(REQUEST + b"X-Key : v\r\n")
    assert "number 2 has no colon" in request(REQUEST + b"A: b\r\nrubbish\r\n")
    assert "number 1 has no valid name" in request(REQUEST + b"a b: c\r\n")


FIRST = {
    "user information in the target": b"CONNECT till:s3cretpassw0rd@a.example:443 HTTP/1.1",
    "in a URL": b"CONNECT http://till:s3cretpassw0rd@a.example:443/ HTTP/1.1",
    "with a path in it": b"CONNECT till:s3cretpassw0rd/x@a.example:443 HTTP/1.1",
    "behind a slash": b"CONNECT //till:s3cretpassw0rd@a.example HTTP/1.1",
    "without a port": b"CONNECT till:s3cretpassw0rd@a.example HTTP/1.1",
    "an encoded at sign": b"CONNECT till:s3cretpassw0rd%40a.example:443 HTTP/1.1",
    "a user name alone": b"CONNECT s3cretpassw0rd@a.example:443 HTTP/1.1",
    "with brackets": b"CONNECT [till:s3cretpassw0rd]@a.example:443 HTTP/1.1",
    "no host": b"CONNECT till:s3cretpassw0rd HTTP/1.1",
    "a token in a query": b"CONNECT https://a.example/blob?sig=s3cretpassw0rd HTTP/1.1",
    "a token in a path": b"CONNECT a.example:443/s3cretpassw0rd HTTP/1.1",
    "a path alone": b"CONNECT /s3cretpassw0rd HTTP/1.1",
    "another method": b"GET http://till:s3cretpassw0rd@a.example/ HTTP/1.1",
    "no version": b"CONNECT till:s3cretpassw0rd@a.example:443",
    "a bad version": b"CONNECT a.example:443 HTTP/s3cretpassw0rd",
    "a URL alone": b"http://till:s3cretpassw0rd@a.example/",
    "user information alone": b"s3cretpassw0rd@a.example",
    "a header alone": b"Proxy-Authorization: Basic s3cretpassw0rd",
    "a header misspelt": b"Proxy-Authorization : Basic s3cretpassw0rd",
    "two spaces": b"CONNECT  till:s3cretpassw0rd@a.example:443 HTTP/1.1",
    "another protocol": b"AUTH PLAIN s3cretpassw0rd",
    "tabs": b"CONNECT\ttill:s3cretpassw0rd@a.example:443\tHTTP/1.1",
}


@pytest.mark.parametrize("line", FIRST.values(), ids=FIRST)
def test_a_first_line_that_is_not_taken_keeps_credentials(line):
    assert SECRET.decode() not in request(line + b"\r\n")
    assert SECRET.decode() not in response(line + b"\r\n")
    assert request(line + b"\r\n") and response(line + b"\r\n")


NOISE = st.text(alphabet="aZ09-_.:@/?#[]%= \t\"'\\;,\xe9", max_size=12).map(lambda text: text.encode("latin-1"))


@given(NOISE, NOISE, NOISE)
def test_a_secret_behind_a_colon_never_shows(before, between, behind):
    line = before + b":" + between + SECRET + behind
    for head in (REQUEST + line, STATUS + line, line, b"CONNECT " + line + b" HTTP/1.1", b"HTTP/1.1 " + line):
        for read in (request, response):
            assert SECRET.decode() not in read(head + b"\r\n")


@given(NOISE, NOISE, NOISE)
def test_a_secret_in_user_information_never_shows(before, between, behind):
    for at in (b"@", b"%40"):
        text = before.replace(b" ", b"") + SECRET + between.replace(b" ", b"").replace(b"\t", b"") + at + behind
        assert SECRET.decode() not in said(parse_target, text)
        for head in (text, b"CONNECT " + text + b" HTTP/1.1", REQUEST + text):
            assert SECRET.decode() not in request(head + b"\r\n") + response(head + b"\r\n")


def test_the_host_of_a_bad_target_is_still_told():
    assert '"a.example" has no port' in request(b"CONNECT a.example HTTP/1.1\r\n")
    assert '"https://a.example" is a URL' in request(b"CONNECT https://a.example/x HTTP/1.1\r\n")
    assert '"<svg/onload=alert(1)>" is a URL' in request(b"CONNECT <svg/onload=alert(1)> HTTP/1.1\r\n")
    assert '"</script><b>x:443" is a URL' in request(b"CONNECT </script><b>x:443 HTTP/1.1\r\n")
    assert 'port of the target that begins with "a.example" is not' in request(b"CONNECT a.example:https HTTP/1.1\r\n")
    assert '"127.1:443" is a number' in request(b"CONNECT 127.1:443 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (
            b"2606:2800::34:443",
            'host of the target "2606:2800::34:443" has a colon; an IPv6 address stands in brackets',
        ),
        (b"2606:2800:21f:cb07:6820:80da:af6b:8b2c:443", '"2606:2800:21f:cb07:6820:80da:af6b:8b2c:443" has a colon'),
        (b"::1:443", '"::1:443" has a colon'),
        (b"2606:2800::34", 'host of the target "2606:2800::34" has a colon'),
        (b"::ffff:192.0.2.1:443", '"::ffff:192.0.2.1:443" has a colon'),
        (b"2606:2800::34:https", 'port of the target that begins with "2606:2800::34" is not a number'),
        (b"[fe80::1%eth0]:443", 'host of the target that begins with "[fe80::1" has a zone'),
        (b"[2606:2800::zz]:443", 'host of the target that begins with "[2606" is not an IPv6 address'),
        (b"[2606:2800::34]:https", 'port of the target that begins with "[2606:2800::34]" is not a number'),
        (b"a.example:b.example:443", 'host of the target that begins with "a.example" has a colon'),
        (b"https://a.example:443/x", 'the target that begins with "https://a.example" is a URL'),
        (b"a.example:0", 'port of the target "a.example:0" is not a number'),
        (b"a.example:99999", 'port of the target "a.example:99999" is not a number'),
        (b"a.example:", 'port of the target that begins with "a.example" is not a number'),
    ],
)
def test_a_target_that_is_shown_in_part_is_said_to_be(target, says):
    assert says in request(b"CONNECT " + target + b" HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "target",
    [
        b"beef:cafe:s3cretpassw0rd:443",
        b"[beef:s3cretpassw0rd]:443",
        b"[fe80::1%s3cretpassw0rd]:443",
        b"::1:s3cretpassw0rd",
        b"::1:s3cretpassw0rd:443",
        b"::1:" + SECRET * 10,
        b"beef:" * 9 + SECRET,
    ],
)
def test_what_looks_like_an_address_in_front_shows_no_secret_behind_it(target):
    detail = said(parse_target, target)
    assert SECRET.decode() not in detail and detail
