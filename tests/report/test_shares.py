"""One client's refusals, however many targets it has, do not push out anybody else's."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogw.report.refusals import MOST, MOST_MARKS, PERIOD, SHARES, Refusals


def comes(refusals, now, client="192.0.2.1", target="a.example:443", reason="host-not-allowed"):
    return refusals.remember(client, target, reason, 105, f"of {target}", now, 1000.0 + now, False)


def flood(refusals, now=0.0, client="192.0.2.66", targets=MOST, turns=1):
    """How many lines it had."""
    return sum(
        comes(refusals, now, client, f"t{number}.example:443") for _turn in range(turns) for number in range(targets)
    )


def test_a_client_with_thousands_of_targets_leaves_the_others_their_counts():
    refusals = Refusals()
    flood(refusals)
    for number in range(100):
        client = f"192.0.2.{number}" if number != 66 else "192.0.2.200"
        assert [comes(refusals, 1.0, client) for _turn in range(3)] == [True, False, False]
    assert sum(one.untold for one in refusals.take_due(PERIOD + 1) if one.client != "192.0.2.66") == 200


def test_a_client_that_comes_again_and_again_with_thousands_of_targets_has_a_line_of_each_and_then_counts():
    refusals = Refusals()
    lines = flood(refusals, turns=3)
    assert lines == MOST
    told = sum(one.untold for one in refusals.take_due(PERIOD))
    assert lines + told == 3 * MOST  # each is a line, or in a count
    (gathered,) = [one for one in refusals.take_due(PERIOD * 2) if one.gathered]
    assert (gathered.target, gathered.client) == ("", "192.0.2.66")


def test_targets_without_end_take_bounded_memory():
    refusals = Refusals()
    assert flood(refusals, targets=MOST_MARKS * 3) == MOST_MARKS * 3
    assert len(refusals._marks) <= MOST_MARKS and len(refusals.latest(MOST)) <= MOST


def test_what_was_refused_before_a_flood_is_still_among_the_latest():
    refusals = Refusals()
    for number in range(10):
        comes(refusals, 0.0, f"192.0.2.{number}")
    flood(refusals, 1.0)
    latest = refusals.latest(20)
    assert {f"192.0.2.{number}" for number in range(10)} <= {one.client for one in latest}
    assert [one.last for one in latest] == sorted((one.last for one in latest), reverse=True)
    assert len(latest) == 20


def test_where_nobody_else_was_refused_the_latest_are_all_of_one_client():
    refusals = Refusals()
    flood(refusals, targets=50)
    latest = refusals.latest(20)
    assert [one.target for one in latest] == [f"t{number}.example:443" for number in range(49, 29, -1)]


def test_many_clients_with_many_targets_leave_room_for_one_with_few():
    refusals = Refusals()
    for number in range(60):
        flood(refusals, client=f"10.0.0.{number}", targets=150)
    assert [comes(refusals, 1.0, "192.0.2.1") for _turn in range(3)] == [True, False, False]
    assert len(refusals.latest(MOST * 2)) <= MOST
    lines = sum(flood(refusals, 2.0, f"10.0.0.{number}", 150) for number in range(60))
    assert lines < 60 * 150 / 4  # they have counts, too
    assert [comes(refusals, 3.0, "192.0.2.1") for _turn in range(3)] == [False] * 3


def test_a_client_that_uses_a_new_ipv6_address_each_time_has_the_share_of_one():
    refusals = Refusals()
    lines = sum(comes(refusals, 0.0, f"2001:db8:0:1::{number:x}") for number in range(5000))
    assert lines <= MOST // SHARES + 2
    assert comes(refusals, 0.0, "2001:db8:0:2::1")  # of another network
    assert not refusals.latest(1)[0].gathered


@pytest.mark.parametrize("clients", [["::ffff:10.0.0.1", "::ffff:10.0.0.2"], ["fe80::1%eth0", "fe80::2%eth0"]])
def test_addresses_that_only_look_alike_have_their_own_shares(clients):
    refusals = Refusals()
    for client in clients:
        flood(refusals, client=client, targets=MOST // SHARES)
    assert not refusals.is_full


def test_shares_are_free_again_once_it_is_quiet():
    refusals = Refusals()
    flood(refusals)
    assert refusals.is_full
    for one in refusals.take_due(PERIOD):
        one.untold = 0
    assert all(comes(refusals, 3 * PERIOD, "192.0.2.66", f"new{number}.example:443") for number in range(101))
    assert not refusals.is_full


def test_a_flood_costs_each_refusal_little_however_full_it_is():
    refusals = Refusals()
    began = time.process_time()
    for number in range(MOST * 4):
        comes(refusals, 0.0, f"10.{number >> 8 & 7}.{number & 255}.1", f"t{number}.example:443")
    assert time.process_time() - began < 20  # 0.3 s here


OFTEN = st.lists(
    st.tuples(
        st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"]),
        st.integers(0, 8),
        st.sampled_from(["host-not-allowed", "dns-error"]),
        st.sampled_from([0.0, 1.0, PERIOD]),
    ),
    max_size=200,
)


@given(OFTEN, st.integers(1, 12))
def test_whatever_comes_is_a_line_or_in_a_count_and_the_places_are_bounded(often, most):
    refusals = Refusals(most=most)
    now, lines, counted = 0.0, 0, 0
    for client, target, reason, later in often:
        now += later
        lines += comes(refusals, now, client, f"t{target}.example:443", reason)
        for one in refusals.take_due(now):
            counted += one.untold
            one.untold = 0
        assert len(refusals.latest(most + 1)) <= most
    counted += sum(one.untold for one in refusals.take_due(now, at_once=True))
    assert lines + counted == len(often)
