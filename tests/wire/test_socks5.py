"""SOCKS 5 as a proxy speaks it: its answers however they are cut, and what is said to it."""

from ipaddress import ip_address

import pytest
from harness.cuts import every_way
from hypothesis import given
from hypothesis import strategies as st

from ogw.wire.connect import Target, parse_target
from ogw.wire.socks5 import (
    LOGIN,
    NO_LOGIN,
    NONE_OF_THEM,
    Answer,
    BadAnswer,
    HttpAnswer,
    OtherVersion,
    TlsAnswer,
    connect_to,
    hello,
    login,
    read_login,
    read_method,
    read_reply,
)

BOTH = bytes((NO_LOGIN, LOGIN))
TAIL = b"\x05\x00first bytes of the target"
FOUR, SIX = b"\x01\x7f\x00\x00\x01\x01\xbb", b"\x04" + bytes(15) + b"\x01\x01\xbb"
LONGEST = b"\x03\xff" + b"a" * 255 + b"\x01\xbb"


def chosen(data):
    return read_method(data, BOTH)


READERS = {"method": chosen, "login": read_login, "reply": read_reply}
GOOD = [
    ("method", b"\x05\x00", 0),
    ("method", b"\x05\x02", 2),
    ("method", b"\x05\xff", NONE_OF_THEM),
    ("login", b"\x01\x00", 0),
    ("login", b"\x05\x00", 0),
    ("login", b"\x01\x01", 1),
    ("login", b"\x01\xff", 255),
    ("reply", b"\x05\x00\x00" + FOUR, 0),
    ("reply", b"\x05\x00\x00" + SIX, 0),
    ("reply", b"\x05\x00\x00\x03\x00\x01\xbb", 0),
    ("reply", b"\x05\x00\x00\x03\x01a\x01\xbb", 0),
    ("reply", b"\x05\x00\x00" + LONGEST, 0),
    ("reply", b"\x05\x00\xff" + FOUR, 0),
]
BAD = [
    ("method", b"\x04", OtherVersion, "SOCKS 4"),
    ("method", b"\x00\x5b", OtherVersion, "SOCKS 4"),
    ("method", b"\x15\x03\x01", TlsAnswer, "in TLS"),
    ("method", b"SSH-2.0-x\r\n", OtherVersion, "the byte 0x53"),
    ("method", b"HTTP/", HttpAnswer, "in HTTP"),
    ("method", b"HTTP/1.1 400 Bad Request\r\n\r\n", HttpAnswer, "in HTTP"),
    ("method", b"HTML", OtherVersion, "the byte 0x48"),
    ("method", b"\x05\x01", BadAnswer, r"was not offered \(1\)"),
    ("method", b"\x05\x80", BadAnswer, r"was not offered \(128\)"),
    ("login", b"\x00", BadAnswer, "of version 0, not 1"),
    ("login", b"\x02\x00", BadAnswer, "of version 2, not 1"),
    ("reply", b"\x04", OtherVersion, "SOCKS 4"),
    ("reply", b"H", OtherVersion, "the byte 0x48"),
    ("reply", b"\x05\x00\x00\x00", BadAnswer, r"unknown type \(0\)"),
    ("reply", b"\x05\x00\x00\x02", BadAnswer, r"unknown type \(2\)"),
    ("reply", b"\x05\x00\x00\x05", BadAnswer, r"unknown type \(5\)"),
    ("reply", b"\x05\x00\x00\xff", BadAnswer, r"unknown type \(255\)"),
]


@pytest.mark.parametrize(("kind", "data", "code"), GOOD)
@pytest.mark.parametrize("rest", [b"", b"\x00", TAIL, TAIL * 100], ids=["alone", "a byte", "a tail", "a long tail"])
def test_an_answer_is_read_however_it_is_cut_and_what_follows_is_kept(kind, data, code, rest):
    read = READERS[kind]
    assert every_way(read, data + rest) == Answer(code, rest)
    assert all(read(data[:size]) is None for size in range(len(data)))


@pytest.mark.parametrize("code", range(1, 256))
def test_a_refusal_needs_nothing_behind_its_code(code):
    for more in (b"", b"\x00", b"\x00\x09", b"\x00" + FOUR, TAIL):
        assert every_way(read_reply, bytes((5, code)) + more) == Answer(code)
    assert read_reply(b"\x05") is None


@pytest.mark.parametrize(("kind", "data", "error", "says"), BAD)
@pytest.mark.parametrize("rest", [b"", TAIL], ids=["alone", "a tail"])
def test_what_is_none_is_told_so_however_it_is_cut(kind, data, error, says, rest):
    read = READERS[kind]
    assert every_way(read, data + rest)[0] is error
    with pytest.raises(error, match=says) as raised:
        read(data + rest)
    assert raised.value.detail.isascii() and raised.value.detail.isprintable()


def test_a_method_is_taken_only_where_it_was_offered():
    assert read_method(b"\x05\x00", bytes((NO_LOGIN,))) == Answer(NO_LOGIN)
    for offered, said in ((NO_LOGIN, LOGIN), (LOGIN, NO_LOGIN)):
        with pytest.raises(BadAnswer, match=rf"not offered \({said}\)"):
            read_method(bytes((5, said)), bytes((offered,)))


@given(st.sampled_from(sorted(READERS)), st.sampled_from([b"", b"\x05", b"\x05\x00", b"\x05\x00\x00\x03"]), st.binary())
def test_any_bytes_are_an_answer_or_a_documented_error_however_they_are_cut(kind, begin, data):
    every_way(READERS[kind], begin + data)


@given(st.sampled_from(sorted(READERS)), st.binary(min_size=300, max_size=400))
def test_no_answer_is_longer_than_it_can_be(kind, data):
    """The largest is a reply with a name of 255 bytes: with 300 of them nobody needs more."""
    try:
        assert READERS[kind](data) is not None
    except BadAnswer:
        pass


def test_what_is_offered():
    assert hello(NO_LOGIN) == b"\x05\x01\x00"
    assert hello(NO_LOGIN, LOGIN) == b"\x05\x02\x00\x02"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("www.bench.example:443", b"\x03\x11www.bench.example\x01\xbb"),
        ("192.0.2.7:8443", b"\x01\xc0\x00\x02\x07\x20\xfb"),
        ("[2001:db8::7]:1", b"\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x07\x00\x01"),
        ("[::ffff:192.0.2.7]:65535", b"\x01\xc0\x00\x02\x07\xff\xff"),
    ],
)
def test_the_request_says_the_target(target, said):
    assert connect_to(parse_target(target.encode())) == b"\x05\x01\x00" + said


def test_the_longest_name_that_there_can_be_fits():
    name = ".".join(["a" * 63] * 3 + ["b" * 61])
    target = parse_target(f"{name}:443".encode())
    assert connect_to(target) == b"\x05\x01\x00\x03\xfd" + name.encode() + b"\x01\xbb"


NAMES = st.from_regex(r"[a-z]{1,10}(\.[a-z]{1,10}){0,3}", fullmatch=True).map(lambda name: Target(name, 443))
ADDRESSES = st.ip_addresses().map(lambda address: Target(str(address), 443, ip_address(str(address))))


@given(st.one_of(NAMES, ADDRESSES), st.integers(1, 65535))
def test_a_request_is_as_long_as_it_says(target, port):
    said = connect_to(target._replace(port=port))
    length = {1: 4, 4: 16}.get(said[3], 1 + said[4])
    assert len(said) == 4 + length + 2 and int.from_bytes(said[-2:], "big") == port


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=300), st.text(max_size=300))
def test_a_login_is_said_as_it_is_or_not_at_all(user, password):
    sizes = [len(text.encode("utf-8", "surrogatepass")) for text in (user, password)]
    try:
        said = login(user, password)
    except UnicodeEncodeError:
        return  # no setting has such a text
    except ValueError as error:
        assert not all(1 <= size <= 255 for size in sizes) and "SOCKS 5 cannot carry" in str(error)
        return
    assert said[0] == 1 and said[1] == sizes[0] and said[2 : 2 + sizes[0]].decode() == user
    assert said[2 + sizes[0]] == sizes[1] and said[3 + sizes[0] :].decode() == password


@pytest.mark.parametrize(
    ("user", "password", "says"),
    [
        ("", "x", "the user name is empty"),
        ("x", "", "the password is empty"),
        ("x" * 256, "x", "more than 255 bytes"),
        ("x", "ü" * 128, "more than 255 bytes"),
    ],
)
def test_what_no_login_can_carry(user, password, says):
    with pytest.raises(ValueError, match=says) as raised:
        login(user, password)
    assert "xx" not in str(raised.value) and "ü" not in str(raised.value)
    assert login("x" * 255, "ü" * 127) == b"\x01\xff" + b"x" * 255 + b"\xfe" + "ü".encode() * 127
