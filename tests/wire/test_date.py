"""The Date of an answer."""

import email.utils
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogw.wire.date import date_of


@given(st.integers(946684800, 4102444799))
def test_what_servers_write_is_read(seconds):
    assert date_of([(b"date", email.utils.formatdate(seconds, usegmt=True).encode())]) == seconds


@pytest.mark.parametrize(
    "value", [b"", b"now", b"Sun Nov  6 08:49:37 1994", b"Sun, 06 Nov 2094 08:49:37 UTC", b"x" * 60000]
)
def test_anything_else_is_no_date(value):
    assert date_of([(b"date", value)]) is None and date_of([]) is None


def test_a_second_one_is_read_where_the_first_is_none():
    now = int(time.time())
    assert date_of([(b"date", b"?"), (b"date", email.utils.formatdate(now, usegmt=True).encode())]) == now
