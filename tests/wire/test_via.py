"""Via: what goes on to the next proxy, and what is a loop."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogw.wire.via import LARGEST, MOST_HOPS, Loop, to_pass_on

OWN = b"ogw-0123456789ab"


def test_all_that_the_request_says_goes_on_in_order():
    headers = [(b"via", b"1.1 a"), (b"cookie", b"x"), (b"via", b"1.0 b (squid/5.7), 1.1 c:8080"), (b"via", b"")]
    assert to_pass_on(headers, OWN) == [b"1.1 a", b"1.0 b (squid/5.7), 1.1 c:8080"]
    assert to_pass_on([(b"host", b"a")], OWN) == []


@pytest.mark.parametrize("value", [b"1.1 " + OWN, b"1.1 a, 1.1 " + OWN + b" (x), 1.1 b", b"1.1 a,1.1 " + OWN])
def test_a_request_that_was_here_before_is_a_loop(value):
    with pytest.raises(Loop, match="was here before"):
        to_pass_on([(b"via", b"1.1 first"), (b"via", value)], OWN)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([b"1.1 a"] * (MOST_HOPS + 1), "more than"),
        ([b", ".join([b"1.1 a"] * (MOST_HOPS + 1))], "more than"),
        ([b"," * 1000], "more than"),
        ([b"1.1 " + b"a" * LARGEST], "larger than"),
    ],
)
def test_too_many_proxies_or_too_long_a_list_may_be_a_loop(values, says):
    with pytest.raises(Loop, match=says):
        to_pass_on([(b"via", value) for value in values], OWN)


def test_so_many_proxies_are_none():
    assert len(to_pass_on([(b"via", b"1.1 a")] * MOST_HOPS, OWN)) == MOST_HOPS


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_whatever_a_client_says_is_printable_and_bounded_or_a_loop(values):
    try:
        passed = to_pass_on([(b"via", value) for value in values], OWN)
    except Loop as loop:
        assert loop.detail.isascii() and loop.detail.isprintable()
        return
    assert sum(map(len, passed)) <= LARGEST
    assert all(value.replace(b"\t", b" ").decode("ascii").isprintable() for value in passed)
