"""Digest: the examples of the RFC, what a challenge may not be, and what any text comes to."""

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogw.wire.challenges import challenges_of
from ogw.wire.digest import (
    LONGEST,
    BadDigest,
    UnknownAlgorithm,
    UnknownQop,
    authorization,
    demand_of,
    next_nonce,
    strength,
)

NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
OPAQUE = "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"
BASE = f'Digest realm="http-auth@example.org", qop="auth, auth-int", nonce="{NONCE}", opaque="{OPAQUE}"'


def challenge(text):
    (one,) = challenges_of([(b"proxy-authenticate", text.encode("latin-1"))])
    return one


def said(text, user, password, uri, cnonce, method="GET", count=1):
    return authorization(demand_of(challenge(text)), user, password, uri, count, cnonce, method).decode()


def field(name, answer):
    return re.search(rf'[ ,]{re.escape(name)}="?([^",]*)', answer)[1]


# RFC 7616, section 3.9.1.
@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_first_example_of_the_rfc(algorithm, response):
    answer = said(f"{BASE}, algorithm={algorithm}", "Mufasa", "Circle of Life", "/dir/index.html", CNONCE)
    assert answer == (
        f'Digest username="Mufasa", realm="http-auth@example.org", nonce="{NONCE}", uri="/dir/index.html", '
        f'response="{response}", algorithm={algorithm}, qop=auth, nc=00000001, cnonce="{CNONCE}", opaque="{OPAQUE}"'
    )


# RFC 7616, section 3.9.2, as erratum 4897 corrects it.
def test_the_second_example_of_the_rfc():
    nonce, cnonce = "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v"
    text = (
        f'Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256, nonce="{nonce}", '
        'opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS", charset=UTF-8, userhash=true'
    )
    answer = said(text, "J\u00e4s\u00f8n Doe", "Secret, or not?", "/doe.json", cnonce)
    assert field("username", answer) == "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"
    assert field("response", answer) == "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"
    assert answer.endswith(", userhash=true") and "Doe" not in answer


def test_of_a_connect_with_a_session_key():
    def md5(text):
        return hashlib.md5(text.encode()).hexdigest()

    answer = said('Digest realm="r", nonce="n", algorithm=MD5-sess, qop=auth', "u", "p", "h:443", "c", "CONNECT", 17)
    first, second = md5(f"{md5('u:r:p')}:n:c"), md5("CONNECT:h:443")
    assert field("response", answer) == md5(f"{first}:n:00000011:c:auth:{second}")
    assert field("nc", answer) == "00000011" and field("algorithm", answer) == "MD5-sess"


def test_without_an_algorithm_it_is_md5_and_none_is_named():
    text = 'Digest realm="r", nonce="n", qop="auth"'
    answer = said(text, "u", "p", "h:443", "c")
    assert "algorithm" not in answer and "opaque" not in answer
    assert field("response", answer) == field("response", said(f"{text}, algorithm=MD5", "u", "p", "h:443", "c"))


def test_names_beyond_ascii():
    text = 'Digest realm="r", nonce="n", qop="auth"'
    user = "J\u00e4s\u00f8n"
    assert 'username="J\u00e4s\u00f8n"' in said(text, user, "p", "h:443", "c")
    assert "username*=UTF-8''J%C3%A4s%C3%B8n, " in said(f"{text}, charset=utf-8", user, "p", "h:443", "c")
    parted = "Ja\u0308s\u00f8n"
    composed = [said(f"{text}, charset=UTF-8", one, "p", "h:443", "c") for one in (user, parted)]
    assert composed[0] == composed[1]


ECHO = "Z2F0ZXdheTpwYXNzd29yZA"  # as a rogue proxy would say it that got it as Basic before


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ('Digest nonce="n", qop="auth"', BadDigest, "gives no realm"),
        ('Digest realm="r", qop="auth"', BadDigest, "gives no nonce"),
        (f'Digest realm="{"r" * 60_000}", nonce="n", qop="auth"', BadDigest, "a realm of 60000 bytes"),
        (f'Digest realm="r", nonce="{"n" * (LONGEST + 1)}", qop="auth"', BadDigest, "a nonce of 1025 bytes"),
        (f'Digest realm="r", nonce="n", opaque="{"o" * 5000}", qop="auth"', BadDigest, "an opaque of 5000"),
        ('Digest realm="r\x01", nonce="n", qop="auth"', BadDigest, "a control character in its realm"),
        ('Digest realm="r", nonce="n", qop="auth", algorithm=SHA3-256', UnknownAlgorithm, '"SHA3-256"; SHA-'),
        ('Digest realm="r", nonce="n", qop="auth", algorithm=-sess', UnknownAlgorithm, "an algorithm that is not"),
        ('Digest realm="r", nonce="n", qop="auth-int"', UnknownQop, 'a qop "auth-int"; qop=auth is spoken'),
        (f'Digest realm="r", nonce="n", qop="auth", algorithm={ECHO}', UnknownAlgorithm, "an algorithm that is not"),
        (f'Digest realm="r", nonce="n", qop="{ECHO}"', UnknownQop, "a qop that is not known; qop=auth"),
        ('Digest realm="r", nonce="n"', UnknownQop, "no qop"),
    ],
)
def test_what_cannot_be_answered(text, kind, words):
    with pytest.raises(BadDigest) as raised:
        demand_of(challenge(text))
    assert type(raised.value) is kind and words in raised.value.detail.replace("a opaque", "an opaque")
    assert len(raised.value.detail) < 200 and ECHO not in raised.value.detail


def test_the_strongest_hash_is_the_best():
    texts = [
        "Basic realm=x",
        "Digest algorithm=SHA3",
        "Digest",
        "Digest algorithm=sha-256",
        "Digest algorithm=SHA-512-256-sess",
    ]
    assert [strength(challenge(text)) for text in texts] == [0, 0, 1, 2, 3]


def test_what_an_answer_gives_to_go_on_with():
    assert next_nonce([(b"proxy-authentication-info", b'qop=auth, nextnonce="abc"')]) == "abc"
    assert next_nonce([(b"proxy-authentication-info", b'nextnonce="' + b"n" * 2000 + b'"')]) == ""
    assert next_nonce([(b"authentication-info", b'nextnonce="abc"')]) == ""


TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)
SENT_BACK = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_categories=("Cc",)), min_size=1, max_size=40
)


@given(TEXT, TEXT, SENT_BACK, SENT_BACK, st.sampled_from(["MD5", "SHA-256-sess", "SHA-512-256"]), st.booleans())
def test_any_text_comes_back_as_it_was_and_ends_no_line(user, password, realm, nonce, algorithm, userhash):
    def written(value):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    text = (
        f"Digest realm={written(realm)}, nonce={written(nonce)}, qop=auth, algorithm={algorithm}, "
        f"userhash={str(userhash).lower()}"
    )
    answer = authorization(demand_of(challenge(text)), user, password, "h:443", 1, "c")
    assert b"\r" not in answer and b"\n" not in answer and b"\0" not in answer
    (again,) = challenges_of([(b"proxy-authenticate", answer)])
    assert (again.params["realm"], again.params["nonce"]) == (realm, nonce)
    assert userhash or again.params["username"].encode("latin-1").decode() == user
    assert len(again.params["response"]) in (32, 64)
