"""What is known of a name once both families were answered."""

import _socket
from itertools import permutations

import pytest

from ogw.policy.decision import Reason
from ogw.tunnel.lookup import Found, Lookup

NOTHING = Found([], 60, None, "it has no address")
FAILS = Found([], None, Reason.DNS_ERROR, "192.0.2.1 answers SERVFAIL")
SILENT = Found([], None, Reason.DNS_TIMEOUT, "no answer", heard=False)
FAMILIES = (_socket.AF_INET6, _socket.AF_INET)


def told(*found):
    lookup = Lookup("a.example")
    for family, one in zip(FAMILIES, found, strict=True):
        lookup.answered(family, one)
    return lookup


@pytest.mark.parametrize("found", list(permutations((NOTHING, FAILS))))
def test_that_a_server_cannot_answer_is_told_rather_than_that_it_has_nothing_of_the_other_family(found):
    lookup = told(*found)
    assert (lookup.detail, lookup.unknown) == ("a.example: 192.0.2.1 answers SERVFAIL", False)


@pytest.mark.parametrize("found", list(permutations((NOTHING, SILENT))))
def test_what_a_server_said_is_told_rather_than_that_none_did(found):
    lookup = told(*found)
    assert (lookup.detail, lookup.unknown, lookup.unheard) == ("a.example: it has no address", True, False)


def test_a_name_without_an_address_of_either_family_is_unknown():
    assert told(NOTHING, NOTHING).unknown and not told(FAILS, FAILS).unknown
