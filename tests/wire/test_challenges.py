"""The challenges of a 407, read from headers that a stranger wrote."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogw.wire.challenges import MOST_CHALLENGES, MOST_PARAMS, Challenge, challenges_of, params_of


def read(*values):
    return challenges_of([(b"proxy-authenticate", value) for value in values])


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"Negotiate", [("negotiate", "", {})]),
        (b"NTLM TlRMTVNTUAACAAAA==", [("ntlm", "TlRMTVNTUAACAAAA==", {})]),
        (b"Negotiate abc=, NTLM", [("negotiate", "abc=", {}), ("ntlm", "", {})]),
        (b'Basic realm="x, y"', [("basic", "", {"realm": "x, y"})]),
        (b'basic REALM = "a\\"b\\\\"', [("basic", "", {"realm": 'a"b\\'})]),
        (
            b'Digest realm="r", nonce="n", qop="auth,auth-int", stale=TRUE, Basic realm="x"',
            [
                ("digest", "", {"realm": "r", "nonce": "n", "qop": "auth,auth-int", "stale": "TRUE"}),
                ("basic", "", {"realm": "x"}),
            ],
        ),
        # RFC 9110, section 11.6.1.
        (
            b'Newauth realm="apps", type=1, title="Login to \\"apps\\"", Basic realm="simple"',
            [
                ("newauth", "", {"realm": "apps", "type": "1", "title": 'Login to "apps"'}),
                ("basic", "", {"realm": "simple"}),
            ],
        ),
        (b" , ,Basic realm=x,, ,Digest nonce=y", [("basic", "", {"realm": "x"}), ("digest", "", {"nonce": "y"})]),
        (b'Basic realm="x", realm="y"', [("basic", "", {"realm": "x"})]),
        # What cannot be read ends its line.
        (b"Basic realm=Hello World, Digest", [("basic", "", {})]),
        (b'Basic realm="never ends', [("basic", "", {})]),
        (b'realm="x", Basic', []),
        (b'"Basic"', []),
        (b"", []),
        (b"Negotiate a b", [("negotiate", "", {})]),
    ],
)
def test_what_is_read(value, found):
    assert read(value) == [Challenge(*one) for one in found]


def test_several_lines_are_one_list_and_other_headers_none_of_it():
    headers = [(b"proxy-authenticate", b"Negotiate"), (b"www-authenticate", b"Basic"), (b"proxy-authenticate", b"NTLM")]
    assert [one.scheme for one in challenges_of(headers)] == ["negotiate", "ntlm"]
    assert [one.scheme for one in read(b'Basic realm="', b"NTLM")] == ["basic", "ntlm"]


def test_there_is_a_bound():
    assert len(read(b"a, " * 20_000)) == MOST_CHALLENGES
    (one,) = read(b"Digest " + b", ".join(b"p%d=x" % number for number in range(5000)))
    assert len(one.params) == MOST_PARAMS


@pytest.mark.parametrize(
    "value",
    [
        b'Digest realm="' + b"x" * 60_000,
        b'Digest realm="' + b'\\"' * 30_000,
        b"a" * 60_000 + b"\x00",
        b"Digest " + b"a " * 30_000,
        b"Digest " + b" " * 60_000 + b"=",
        b"," * 60_000 + b'"',
        b"NTLM " + b"=" * 60_000 + b"!",
        b"Digest " + b'a="",' * 10_000 + b"=",
    ],
)
def test_no_header_takes_long(value):
    began = time.process_time()
    read(value)
    params_of(value)
    assert time.process_time() - began < 0.5


@given(st.binary(max_size=200))
def test_any_bytes_are_read(value):
    for one in read(value):
        assert one.scheme == one.scheme.lower() != ""
    params_of(value)


TOKENS = st.text("abcXYZ019-_.", min_size=1, max_size=8)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=20)
PARAMS = st.dictionaries(TOKENS.map(str.lower), VALUES, min_size=1, max_size=5)


@given(st.lists(st.tuples(TOKENS, PARAMS), max_size=5))
def test_what_was_written_comes_back(challenges):
    def written(value):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    text = ", ".join(
        f"{scheme} " + ", ".join(f"{name}={written(value)}" for name, value in params.items())
        for scheme, params in challenges
    )
    expected = [Challenge(scheme.lower(), "", params) for scheme, params in challenges]
    assert read(text.encode("latin-1")) == expected
