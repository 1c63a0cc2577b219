"""How a relay proxy is written, and that what is secret of it shows nowhere."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogw.wire.relay_proxy import (
    Secret,
    credentials,
    offered,
    parse_relay_proxy,
    split_relay_proxies,
    without_credentials,
)


@pytest.mark.parametrize(
    ("text", "shown", "basic"),
    [
        ("proxy.example", "http://proxy.example:80", None),
        ("10.1.2.3:3128", "http://10.1.2.3:3128", None),
        ("[2001:db8::1]:3128", "http://[2001:db8::1]:3128", None),
        ("http://Proxy.Example.", "http://proxy.example:80", None),
        ("HTTPS://proxy.example/", "https://proxy.example:443", None),
        ("socks5://proxy.example", "socks5://proxy.example:1080", None),
        ("SOCKS5H://a:b@[::1]:9", "socks5h://[::1]:9", "a:b"),
        ("http://www.myproxy.com:8080", "http://www.myproxy.com:8080", None),
        ("http://a:b@p.example", "http://p.example:80", "a:b"),
        ("http://a@p.example", "http://p.example:80", "a:"),
        ("http://a:@p.example", "http://p.example:80", "a:"),
        ("http://a:b:c@p.example", "http://p.example:80", "a:b:c"),
        ("http://a%40x:%25%2F%20@p.example", "http://p.example:80", "a@x:%/ "),
        ("http://a:b@c@p.example:1", "http://p.example:1", "a:b@c"),
        ("http://a:b/c?d#e@p.example:1", "http://p.example:1", "a:b/c?d#e"),
        ("http://ü:ß€@p.example:1", "http://p.example:1", "ü:ß€"),
    ],
)
def test_every_form(text, shown, basic):
    proxy = parse_relay_proxy(text)
    assert str(proxy) == shown
    found = proxy.credentials and base64.b64decode(proxy.credentials.header.removeprefix(b"Basic ")).decode()
    assert found == basic


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no host"),
        ("http://", "has no host"),
        ("socks://p:1", "is none of http://, https://, socks5:// and socks5h://"),
        ("socks4://p:1", "is none of http://, https://, socks5:// and socks5h://"),
        ("socks5://p:0", "no port from 1"),
        ("socks5h://:b@p", "the user name is empty, which SOCKS 5 cannot carry"),
        ("socks5h://a@p", "the password is empty, which SOCKS 5 cannot carry"),
        (f"socks5://{'a' * 256}:b@p", "more than 255 bytes, which SOCKS 5 cannot carry"),
        (f"socks5://a:{'%C3%BC' * 128}@p", "more than 255 bytes, which SOCKS 5 cannot carry"),
        ("http://p:x", "has no host"),
        ("http://p:0", "no port from 1"),
        ("http://p:65536", "no port from 1"),
        ("http://p q:1", "the host is"),
        ("http://10.1.2:1", "the host is"),
        ("http://a%0ab:c@p", "control character"),
        ("http://a%3Ab:c@p", "user name has a colon"),
        ("http://a:%FF@p", "it has bytes in it that are not UTF-8"),
        *(
            (f"{scheme}{rest}", "is none of http://, https://, socks5:// and socks5h://")
            for scheme in ("http", "HTTPS", "socks5", "socks5h")
            for rest in ("//a:b@p:1", ":/a:b@p:1", "/a:b@p", "//p:1", ":/p:1", "//a@p")
        ),
    ],
)
def test_wrong_forms(text, words):
    with pytest.raises(ValueError) as raised:
        parse_relay_proxy(text)
    assert words in str(raised.value)


def test_several_in_one_text():
    assert split_relay_proxies("a:1, b:2\nhttp://c") == ["a:1", "b:2", "http://c"]
    assert split_relay_proxies("http://u:p,q@a, https://v:w@b") == ["http://u:p,q@a", "https://v:w@b"]
    assert split_relay_proxies("socks5h://u:p,q@a, socks5://v:w@b, http://c") == [
        "socks5h://u:p,q@a",
        "socks5://v:w@b",
        "http://c",
    ]
    assert split_relay_proxies(" ") == []


def test_nothing_shows_a_secret():
    proxy = parse_relay_proxy("http://somebody:s3cret@p.example")
    for text in (repr(proxy), str(proxy), repr(Secret("s3cret")), str(Secret("s3cret")), f"{proxy.credentials}"):
        assert "s3cret" not in text and "somebody" not in text
    assert Secret("a") == Secret("a") != Secret("b") and len({Secret("a"), Secret("a")}) == 1


PLAIN = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)


@given(PLAIN.filter(lambda text: ":" not in text), PLAIN)
def test_quoted_credentials_come_back_as_they_were(user, password):
    from urllib.parse import quote

    proxy = parse_relay_proxy(f"http://{quote(user, safe='')}:{quote(password, safe='')}@p.example:3128")
    assert proxy.credentials == credentials(user, password)


@given(st.text(max_size=40))
def test_any_text_is_a_relay_proxy_or_says_what_is_wrong(text):
    try:
        parse_relay_proxy(text)
    except ValueError as error:
        assert str(error)


@given(st.text(max_size=30), st.sampled_from(["p.example", "p.example:1", "", "x y"]))
def test_what_stands_before_the_last_at_is_never_shown(front, place):
    secret = "S3CRET"
    for text in (f"http://{front}{secret}@{place}", f"{front}{secret}@{place}"):
        assert secret not in without_credentials(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://till:s3cret", "http://till:(hidden)"),
        ("till:s3cret", "till:(hidden)"),
        ("http://till:s3cret%40p.example:3128", "http://till:(hidden)"),
        ("http://till:12345678", "http://till:(hidden)"),
        ("http://p.example:3128/x", "http://p.example:3128/x"),
        ("http://[::1]:3128", "http://[::1]:3128"),
        ("ftp://x", "ftp://x"),
        ("http://p:99999", "http://p:99999"),
    ],
)
def test_a_password_whose_host_was_forgotten_is_not_shown_as_a_port(text, shown):
    assert without_credentials(text) == shown


@pytest.mark.parametrize(
    ("values", "schemes"),
    [
        ([b'Basic realm="x"'], ["Basic"]),
        ([b"NTLM", b"Negotiate"], ["NTLM", "Negotiate"]),
        ([b'Negotiate, NTLM, Basic realm="a", charset="UTF-8"'], ["Negotiate", "NTLM", "Basic"]),
        ([b'Digest realm="a", qop="auth", nonce="b"'], ["Digest"]),
        ([b'Basic realm="with your card, Digest or NTLM, Negotiate too"'], ["Basic"]),
        (
            [b"NTLM TlRMTVNTUAACAAAA==, NEGOTIATE", b"basic realm=x, ScRaM-sha-1 a=b"],
            ["NTLM", "Negotiate", "Basic", "SCRAM-SHA-1"],
        ),
        ([b""], []),
        ([b"\xff\xfe"], []),
    ],
)
def test_the_schemes_that_are_offered(values, schemes):
    assert offered([(b"proxy-authenticate", value) for value in values]) == schemes


def test_a_scheme_that_nobody_registered_is_not_repeated():
    """It may be what we said: our own credentials."""
    assert offered([(b"proxy-authenticate", b'Basic realm="x", dGlsbDpzM2NyZXQ x=y')]) == ["Basic", "another"]
