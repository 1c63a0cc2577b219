"""Where the body of a 407 ends, however it is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogw.wire.body import LONGEST_LINE, Body

LENGTH = [(b"content-length", b"5")]
CHUNKED = [(b"transfer-encoding", b"Chunked")]
BODIES = {
    "length": (LENGTH, b"hello"),
    "no length": ([(b"content-length", b"0")], b""),
    "chunks": (CHUNKED, b"5;a=b\r\nhello\r\n0a\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"),
    "no chunk": (CHUNKED, b"0\r\n\r\n"),
    "the longest line": (CHUNKED, b"1;" + b"a" * (LONGEST_LINE - 2) + b"\r\nx\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize("case", BODIES)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_the_end_is_found_and_what_stands_behind_it(case, size):
    headers, data = BODIES[case]
    body = Body(headers)
    assert body.has_end
    whole = data + b"HTTP/1.1 200 OK"
    if not data:
        assert body.feed(b"") == b""
        return
    for place in range(0, len(whole), size):
        rest = body.feed(whole[place : place + size])
        if rest is not None:
            assert place <= len(data) <= place + size and rest == whole[len(data) : place + size]
            return
    raise AssertionError("no end")


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [*LENGTH, (b"connection", b"foo, Close")],
        [*LENGTH, (b"proxy-connection", b"close")],
        [*LENGTH, *CHUNKED],
        [*LENGTH, (b"content-length", b"6")],
        [(b"content-length", b"+5")],
        [(b"content-length", b"9" * 13)],
        [(b"transfer-encoding", b"gzip, chunked")],
        [*CHUNKED, *CHUNKED],
    ],
)
def test_what_ends_with_its_connection_or_nobody_knows_where(headers):
    assert not Body(headers).has_end


@pytest.mark.parametrize("data", [b"x\r\n", b"-1\r\n", b"fffffffff\r\n", b"1" * 2000, b"0\r\n" + b"t" * 2000])
def test_what_is_no_chunk(data):
    with pytest.raises(ValueError):
        Body(CHUNKED).feed(data)


@given(st.binary(max_size=100), st.integers(1, 10))
def test_any_bytes_are_gone_over_alike_however_they_are_cut(data, size):
    def over(pieces):
        body, behind = Body(CHUNKED), None
        try:
            for piece in pieces:
                if behind is not None:
                    behind += piece
                else:
                    behind = body.feed(piece)
        except ValueError:
            return "none"
        return behind

    assert over([data]) == over([data[place : place + size] for place in range(0, len(data), size)] or [b""])
