"""What a worker holds of unfinished handshakes: who gives way, and that the accounts are right."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogw.policy.index import client_network
from ogw.tunnel.budget import Budget

NUMBERS = itertools.count()


class Held:
    """A tunnel, as the budget sees it."""

    def __init__(self, address, log):
        self.client = client_network(address, 64)
        self.began = next(NUMBERS)
        self._log = log

    def give_way(self):
        self._log.append(self)


@pytest.fixture
def gone():
    return []


def holding(budget, gone, address, *sizes):
    made = [Held(address, gone) for _size in sizes]
    for one, size in zip(made, sizes, strict=True):
        budget.hold(one, size)
    return made


def test_who_holds_most_gives_way_its_oldest_first(gone):
    budget = Budget(1000)
    small = holding(budget, gone, "10.0.0.1", 300)
    greedy = holding(budget, gone, "10.0.0.2", 200, 200, 200)
    assert not gone and budget.held == 900
    holding(budget, gone, "10.0.0.3", 200)  # it came last, and is not the one
    assert gone == greedy[:1] and budget.held == 900
    budget.hold(small[0], 600)
    assert gone == [greedy[0], small[0]] and budget.held == 600


def test_the_oldest_is_the_one_that_began_first_and_not_the_one_that_held_first(gone):
    budget = Budget(1000)
    old, new = Held("10.0.0.1", gone), Held("10.0.0.1", gone)
    budget.hold(new, 400)
    budget.hold(old, 400)
    budget.hold(new, 700)
    assert gone == [old] and budget.held == 700


def test_a_client_gives_way_to_itself(gone):
    budget = Budget(1000)
    one = holding(budget, gone, "10.0.0.1", 500, 400, 300)
    assert gone == one[:1] and budget.held == 700


def test_one_tunnel_that_holds_more_than_all_may_gives_way_at_once(gone):
    budget = Budget(1000)
    other = holding(budget, gone, "10.0.0.1", 100)
    assert holding(budget, gone, "10.0.0.2", 1001) == gone and budget.held == 100 and other


def test_a_client_is_an_address_or_a_network_of_64_bits(gone):
    budget = Budget(1000)
    one = [holding(budget, gone, f"2001:db8::{number:x}", 150)[0] for number in range(1, 5)]
    holding(budget, gone, "2001:db8:0:1::1", 200)
    holding(budget, gone, "10.0.0.1", 200)
    assert not gone
    holding(budget, gone, "fe80::1%eth0", 200)
    assert gone == one[:2]  # no single address of theirs holds as much as the others


def test_what_is_forgotten_is_not_counted_and_leaves_nothing(gone):
    budget = Budget(1000)
    made = [one for number in range(200) for one in holding(budget, gone, f"10.0.0.{number}", 5)]
    for one in made:
        budget.forget(one)
        budget.forget(one)
    assert budget.held == 0 and not budget._clients and not gone


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 400)), max_size=60))
def test_never_more_is_held_than_may_be(steps):
    gone = []
    budget = Budget(1000)
    made = [Held(f"10.0.0.{number % 5}", gone) for number in range(21)]
    sizes = dict.fromkeys(made, 0)
    for number, size in steps:
        one = made[number]
        if one in gone:
            continue
        before = {each: held for each, held in sizes.items() if each not in gone}
        most = {
            each.client: sum(held for other, held in before.items() if other.client == each.client) for each in made
        }
        most[one.client] += size - sizes[one]
        known = len(gone)
        sizes[one] = size
        budget.hold(one, size) if size else budget.forget(one)
        if len(gone) > known:
            assert most[gone[known].client] == max(most.values())
        assert budget.held == sum(held for each, held in sizes.items() if each not in gone) <= 1000


def test_making_room_looks_at_everybody_once_in_a_while(gone, monkeypatch):
    """Ten thousand clients that hold a little each: it is no scan per byte that comes."""
    budget = Budget(100_000)
    made = [holding(budget, gone, f"10.{number >> 8}.{number & 255}.1", 9)[0] for number in range(10_000)]
    scans = []
    make_room = budget._make_room
    monkeypatch.setattr(budget, "_make_room", lambda: scans.append(make_room()))
    for size in range(10, 20):
        for one in made:
            if one not in gone[-800:] and one.client in budget._clients:
                budget.hold(one, size)
    assert 0 < len(scans) < 60 and budget.held <= 100_000
