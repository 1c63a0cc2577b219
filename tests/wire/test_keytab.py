"""Whose keys a keytab has: one that real programs wrote, cut anywhere, and what is none."""

import pytest
from harness.realm import REALM, Realm
from hypothesis import given
from hypothesis import strategies as st

from ogw.wire.keytab import has, principals


@pytest.fixture(scope="module")
def data():
    with Realm() as realm:
        path = realm.add("gateway", "shared")
        realm.admin("addprinc -randkey HTTP/proxy.example", f"ktadd -k {path} HTTP/proxy.example")
        return path.read_bytes()


def test_the_names_of_a_keytab(data):
    found = principals(data)
    assert found == {f"gateway@{REALM}", f"HTTP/proxy.example@{REALM}"}
    assert has(found, "gateway") and has(found, f"gateway@{REALM}") and has(found, "HTTP/proxy.example")
    assert not has(found, "other") and not has(found, "gateway@ELSEWHERE.EXAMPLE")


def test_one_that_is_cut_says_so_or_has_fewer_names(data):
    whole = principals(data)
    for end in range(len(data)):
        try:
            assert principals(data[:end]) <= whole
        except ValueError as error:
            assert str(error) in ("it is no keytab", "it is cut short")


def test_a_hole_is_passed_over(data):
    hole = b"\xff\xff\xff\xfc" + b"gone"
    assert principals(data[:2] + hole + data[2:]) == principals(data)


@given(st.binary(max_size=200))
def test_anything_else_is_a_mistake_or_has_no_name_that_is_not_in_it(data):
    try:
        principals(b"\x05\x02" + data)
    except ValueError:
        pass
