"""Refusals that repeat: a line at once, then a count a minute; and the latest of them."""

import pytest

from ogw.report.refusals import PERIOD, Refusals


def comes(refusals, now, client="192.0.2.1", target="a.example:443", reason="host-not-allowed", every=False):
    return refusals.remember(client, target, reason, 105, f"at {now}", now, 1000.0 + now, every)


def test_the_first_has_a_line_and_what_follows_is_a_count_a_minute():
    refusals = Refusals()
    assert [comes(refusals, now) for now in (0.0, 1.0, 2.0)] == [True, False, False]
    assert refusals.take_due(PERIOD - 1) == []
    (one,) = refusals.take_due(PERIOD)
    assert (one.untold, one.count, one.detail, one.last) == (2, 3, "at 2.0", 1002.0)
    one.untold = 0
    assert not comes(refusals, PERIOD + 1)
    assert refusals.take_due(PERIOD * 2 - 1) == []
    (one,) = refusals.take_due(PERIOD * 2)
    assert one.untold == 1


def test_one_that_was_quiet_for_a_minute_has_a_line_at_once_again():
    refusals = Refusals()
    assert comes(refusals, 0.0) and comes(refusals, PERIOD)
    assert refusals.take_due(PERIOD * 5) == []


@pytest.mark.parametrize("other", [{"client": "192.0.2.2"}, {"target": "b.example:443"}, {"reason": "dns-error"}])
def test_another_client_target_or_reason_is_another_line(other):
    refusals = Refusals()
    assert comes(refusals, 0.0) and comes(refusals, 0.0, **other) and not comes(refusals, 0.1)


def test_every_one_has_a_line_where_that_is_asked_for():
    refusals = Refusals()
    assert all(comes(refusals, 0.0, every=True) for _turn in range(5))
    assert refusals.take_due(PERIOD, at_once=True) == []


def test_at_the_end_every_count_is_told():
    refusals = Refusals()
    for _turn in range(4):
        comes(refusals, 0.0)
    assert [one.untold for one in refusals.take_due(0.1, at_once=True)] == [3]


def test_it_remembers_a_bounded_number_and_never_swallows_what_finds_no_room():
    refusals = Refusals(most=3)
    assert all(comes(refusals, 0.0, client=f"192.0.2.{number}") for number in range(3))
    assert all(comes(refusals, 1.0, client="192.0.2.9") for _turn in range(3))
    # Once the oldest was quiet for long enough its place is free.
    assert comes(refusals, PERIOD, client="192.0.2.9") and not comes(refusals, PERIOD, client="192.0.2.9")
    assert len(refusals.latest(10)) == 3


def test_a_count_that_was_not_told_is_never_forgotten_for_room():
    refusals = Refusals(most=1)
    comes(refusals, 0.0)
    comes(refusals, 0.0)
    assert comes(refusals, PERIOD * 9, client="192.0.2.9")
    assert [one.untold for one in refusals.take_due(PERIOD * 9)] == [1]


def test_the_latest_come_first():
    refusals = Refusals()
    for number in (1, 2, 3, 1):
        comes(refusals, 0.0, client=f"192.0.2.{number}")
    assert [one.client[-1] for one in refusals.latest(2)] == ["1", "3"]


def test_a_client_with_a_certificate_is_itself_wherever_it_comes_from():
    refusals = Refusals()

    def of(subject, now, client="192.0.2.1", target="a.example:443"):
        names = frozenset({f"cn:{subject}"}) if subject else frozenset()
        told = ("host-not-allowed", 105, "why", now, 1000.0 + now, False)
        return refusals.remember(client, target, *told, subject=subject, names=names)

    assert of("", 0.0) and of("CN=a", 0.0) and of("CN=b", 0.0)
    assert not of("CN=a", 0.1) and not of("CN=b", 0.1) and not of("", 0.1)
    told = {one.subject: (one.untold, one.who, one.names) for one in refusals.take_due(PERIOD)}
    assert told == {
        "": (1, "192.0.2.1", frozenset()),
        "CN=a": (1, "CN=a", {"cn:CN=a"}),
        "CN=b": (1, "CN=b", {"cn:CN=b"}),
    }


def test_clients_behind_one_address_have_a_share_each():
    refusals = Refusals(most=40)
    for number in range(30):
        for subject in ("CN=a", "CN=b"):
            target = f"h{number}.example:443"
            refusals.remember("192.0.2.1", target, "host-not-allowed", 105, "", 0.0, 0.0, False, subject=subject)
    gathered = [one for one in refusals.latest(100) if one.gathered]
    assert {one.who for one in gathered} == {"CN=a", "CN=b"} and sum(one.count for one in refusals.latest(100)) == 60
