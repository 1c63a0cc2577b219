"""What two answers of a gateway say of the time between them."""

import pytest

from ogw.cli.live.rates import COUNTERS, Sample, rates, was_restarted


def sample(at, uptime, pids=(1, 2), deaths=0, counted=10):
    workers = [{"pid": pid} for pid in pids]
    counters = dict.fromkeys(COUNTERS, counted)
    return Sample({"uptime": uptime, "workers": workers, "worker_deaths": deaths, "counters": counters}, at)


BEFORE = sample(100.0, 50.0)


@pytest.mark.parametrize(
    ("now", "is_so"),
    [
        (sample(102.0, 52.0, counted=30), False),
        (sample(102.0, 51.0, pids=(3, 4), counted=30), False),  # an upgrade, and an answer that took its time
        (sample(102.0, 52.0, pids=(3, 4), deaths=2), False),
        (sample(102.0, 1.0, pids=(3, 4)), True),
        (sample(200.0, 60.0, pids=(3, 4)), True),  # which was not seen for long
        (sample(102.0, 52.0, counted=3), True),
    ],
)
def test_a_restart_is_told_from_an_upgrade(now, is_so):
    assert was_restarted(BEFORE, now) is is_so
    assert rates(BEFORE, now)["allowed"] == (0 if is_so else (now.status["counters"]["allowed"] - 10) / (now.at - 100))


def test_a_restart_soon_after_the_start_is_one():
    assert was_restarted(sample(100.0, 0.6), sample(102.0, 0.9, pids=(3, 4)))
