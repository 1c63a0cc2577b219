"""Heads that come in pieces: the same outcome as in one, at a cost that does not grow with what came before."""

import sys
import time
from itertools import pairwise

import pytest
from harness.cuts import piecewise
from hypothesis import given
from hypothesis import strategies as st

from ogw.wire.connect import (
    MOST_FIELDS,
    BadRequest,
    HeadTooLarge,
    RequestReader,
    ResponseReader,
    read_request,
    read_response,
)

LIMIT = 16 * 1024
REQUEST = b"CONNECT a.example:443 HTTP/1.1\r\n"
STATUS = b"HTTP/1.1 200 OK\r\n"
READERS = [(RequestReader, read_request, REQUEST), (ResponseReader, read_response, STATUS)]
PIECES = st.sampled_from(
    [b"CONNECT", b" ", b"a.example:443", b" HTTP/1.1", b"\r\n", b"\r", b"\n", b"Host: a", b"Content-Length: 0", b"A:b",
     b"\x00", b"\xff", b"\t", b":", REQUEST, STATUS, b"\r\n\r\n", b"X : y\r\n", b"Via: 1.1 a\r\n", b"HOST:b\r\n",
     b"hosts: 2\r\n", b"Content-Length:\t0 \r\n", b"content-length: 00\r\n", b"Transfer-encoding:x\r\n", b"0"]
)  # fmt: skip


def at_once(read, data, limit):
    try:
        value = read(data, limit)
    except Exception as error:
        return type(error), str(error)
    return value and (value._replace(rest=b""), value.rest)


def same(reader_type, read, data, cuts, limit):
    """A reader that is fed up to its verdict, against the function with just those bytes."""
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces = [data[begin:end] for begin, end in pairwise(edges)]
    for count in range(1, len(pieces) + 1):
        told = piecewise(reader_type(limit), pieces[:count])
        assert told == at_once(read, b"".join(pieces[:count]), limit)
        if told is not None:
            return


@given(st.lists(PIECES, max_size=14).map(b"".join), st.lists(st.integers(0, 400), max_size=6), st.integers(1, 300))
def test_a_reader_says_what_the_function_says_however_the_bytes_are_cut(data, cuts, limit):
    for reader_type, read, start in READERS:
        same(reader_type, read, data, cuts, limit)
        same(reader_type, read, start + data, cuts, limit)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=4))
def test_any_bytes_in_any_pieces(data, cuts):
    for reader_type, read, start in READERS:
        same(reader_type, read, start + data, cuts, 150)


@pytest.mark.parametrize(("reader_type", "read", "start"), READERS)
def test_every_single_byte_and_every_cut_in_two(reader_type, read, start):
    head = start + b"Host: a\r\nX-Long: " + b"y" * 50 + b"\r\n\r\n"
    whole = at_once(read, head, LIMIT)
    assert piecewise(reader_type(LIMIT), [bytes([byte]) for byte in head]) == whole
    for cut in range(len(head)):
        assert piecewise(reader_type(LIMIT), [head[:cut], head[cut:] + b"rest"]) == (whole[0], b"rest")
        assert piecewise(reader_type(LIMIT), [head[:cut]]) is None


def test_a_request_has_so_many_header_lines_and_no_more():
    fits, too_many = (REQUEST + b"a:b\r\n" * number + b"\r\n" for number in (MOST_FIELDS, MOST_FIELDS + 1))
    assert len(read_request(fits, LIMIT).headers) == MOST_FIELDS
    for feed in (lambda data: read_request(data, LIMIT), RequestReader(LIMIT).feed):
        with pytest.raises(HeadTooLarge, match=f"more than {MOST_FIELDS} header lines"):
            feed(too_many[:-2])


def test_what_is_wrong_is_said_when_its_byte_comes():
    reader = RequestReader(LIMIT)
    assert reader.feed(REQUEST + b"X: a") is None
    with pytest.raises(BadRequest, match=f"0x00\\) at byte {len(REQUEST) + 4}"):
        reader.feed(b"\x00")


def calls(action):
    """How many calls of Python and of C it makes."""
    counted = 0

    def count(_frame, event, _argument):
        nonlocal counted
        counted += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(None)
    return counted


@pytest.mark.parametrize(("reader_type", "read", "start"), READERS)
def test_a_byte_more_costs_the_same_however_many_lines_came_before(reader_type, read, start):
    costs = []
    for lines in (1, MOST_FIELDS - 1):
        reader = reader_type(LIMIT)
        assert reader.feed(start + b"a:b\r\n" * lines) is None
        costs.append(calls(lambda reader=reader: [reader.feed(b"x") for _turn in range(100)]))
    assert costs[1] <= costs[0] + 10


@pytest.mark.parametrize(("reader_type", "read", "start"), READERS)
def test_a_long_line_byte_by_byte_is_looked_at_once(reader_type, read, start):
    """Looked at anew each time this would be 125 billion bytes."""
    size = 500_000
    reader = reader_type(size + 1000)
    reader.feed(start + b"X: ")
    began = time.process_time()
    for _turn in range(size):
        reader.feed(b"y")
    assert time.process_time() - began < 30
    assert len(reader.feed(b"\r\n\r\n").headers[0][1]) == size
