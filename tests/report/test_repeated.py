"""What happens again and again is a line, then a count."""

from harness.waiting import until

from ogw.report.repeated import MOST, Repeated


def test_the_first_is_told_at_once_and_then_how_many_came():
    repeated = Repeated(0.1)
    told = [repeated.times("a")]
    assert told == [1] and repeated.times("b") == 1, "each for itself"
    until(lambda: told.append(repeated.times("a")) or told[-1])
    assert told[1:-1] == [0] * (len(told) - 2) and told[-1] == len(told) - 1


def test_within_its_time_nothing_is_told_again():
    repeated = Repeated()
    assert [repeated.times("a") for _turn in range(1000)] == [1, *[0] * 999]


def test_of_too_many_the_further_ones_are_one():
    repeated = Repeated()
    assert [repeated.times(number) for number in range(MOST + 50)] == [1] * (MOST + 1) + [0] * 49
    assert [repeated.times(number) for number in range(MOST)] == [0] * MOST
