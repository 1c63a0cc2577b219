"""What is known of a relay proxy: from one worker's tunnels, and of all workers together."""

import pytest

from ogw.report.metrics import RelayState
from ogw.service.admin.overview import STALE_SECONDS, relay_proxy
from ogw.settings.password_file import read_password
from ogw.tunnel.password import PasswordSource
from ogw.tunnel.relay import MOST_DOUBTS, Relay
from ogw.wire.connect import parse_target
from ogw.wire.relay_proxy import credentials, parse_relay_proxy

TARGETS = [parse_target(f"t{number}.example:443".encode()) for number in range(20)]


@pytest.fixture
def relay():
    return Relay(parse_relay_proxy("p.example:3128"))


def refuse(relay, status, targets, **more):
    for target in targets:
        relay.note_refused(1.0, "why", status, target, **more)


def test_it_is_never_tried_then_up(relay):
    assert relay.state is RelayState.NEVER_TRIED
    relay.note_opened(5.0, TARGETS[0])
    assert (relay.state, relay.since, relay.why) == (RelayState.UP, 5.0, "")


def test_one_that_opened_is_given_up_after_5xx_for_so_many_targets(relay):
    relay.note_opened(0.0, TARGETS[0])
    refuse(relay, 503, TARGETS[:1] * 100)
    assert relay.state is RelayState.UP and not relay.is_given_up
    refuse(relay, 502, TARGETS[1 : MOST_DOUBTS - 1])
    assert relay.state is RelayState.UP and not relay.is_given_up
    refuse(relay, 504, TARGETS[MOST_DOUBTS : MOST_DOUBTS + 1])
    assert relay.state is RelayState.REFUSES_US and relay.is_given_up
    relay.note_opened(2.0, TARGETS[0])
    assert not relay.is_given_up


def test_a_few_targets_are_enough_where_they_are_all_that_is_asked_for(relay):
    relay.note_opened(0.0, TARGETS[0])
    refuse(relay, 503, TARGETS[:2] * 50)
    assert relay.state is RelayState.UP
    refuse(relay, 503, TARGETS[:3] * 2)
    assert relay.is_given_up and relay.state is RelayState.REFUSES_US


def test_a_target_that_another_opens_counts_each_time(relay):
    refuse(relay, 503, TARGETS[:1] * (MOST_DOUBTS - 1), others_open_it=True)
    assert not relay.is_given_up
    refuse(relay, 503, TARGETS[:1], others_open_it=True)
    assert relay.is_given_up


def test_refusals_of_4xx_never_give_it_up_and_do_not_count_with_5xx(relay):
    relay.note_opened(0.0, TARGETS[0])
    refuse(relay, 403, TARGETS[: MOST_DOUBTS - 1])
    refuse(relay, 503, TARGETS[: MOST_DOUBTS - 1])
    refuse(relay, 403, TARGETS[: MOST_DOUBTS - 1])
    assert relay.state is RelayState.UP and not relay.is_given_up
    refuse(relay, 403, TARGETS)
    assert relay.state is RelayState.REFUSES_US and not relay.is_given_up
    assert len(relay._doubted) <= MOST_DOUBTS


def test_a_407_concerns_all_targets(relay):
    relay.note_opened(0.0, TARGETS[0])
    refuse(relay, 407, TARGETS[:1])
    assert relay.state is RelayState.REFUSES_US


# Of all workers together.


def known(state, age=None, why="", opened=0, failed=0):
    return {"proxy": "http://p:1", "state": int(state), "age": age, "why": why, "opened": opened,
            "failed": failed, "scheme": "", "tunnels": 1, "named_for": []}  # fmt: skip


NEVER = known(RelayState.NEVER_TRIED)
UP, UP_LONG_AGO = known(RelayState.UP, 1.0, opened=3), known(RelayState.UP, 500.0, opened=3)
RESTS, RESTED_LONG_AGO = known(RelayState.RESTING, 2.0, "gone", failed=1), known(RelayState.RESTING, 900.0, "gone")
REFUSES = known(RelayState.REFUSES_US, 3.0, "407")


@pytest.mark.parametrize(
    ("workers", "state", "why"),
    [
        ([NEVER, NEVER], "never tried", ""),
        ([NEVER, UP], "up", ""),
        ([UP, RESTS], "resting", "gone"),
        ([REFUSES, UP, NEVER], "refuses us", "407"),
        ([REFUSES, RESTS], "resting", "gone"),
        ([RESTED_LONG_AGO, UP], "up", ""),
        ([RESTED_LONG_AGO, NEVER], "resting", "gone"),
        ([RESTED_LONG_AGO, known(RelayState.UP, 900.0 - STALE_SECONDS / 2)], "resting", "gone"),
    ],
)
def test_the_worst_that_a_worker_knows_counts_but_not_what_is_long_past(workers, state, why):
    for order in (workers, workers[::-1]):
        told = relay_proxy(order)
        assert (told["state"], told["why"], told["up"]) == (state, why, state == "up")


def test_the_latest_of_the_same_is_told_and_counts_are_added():
    told = relay_proxy([UP_LONG_AGO, UP, RESTED_LONG_AGO, NEVER])
    assert (told["age"], told["opened"], told["failed"]) == (1.0, 6, 0)


# The password.


def test_a_file_that_is_empty_for_a_moment_changes_nothing(tmp_path):
    file = tmp_path / "password"
    source = PasswordSource(credentials("u", "old"), lambda: read_password(str(file)))
    for content, password, is_news in (("", "old", False), ("new", "new", True), ("new", "new", False)):
        file.write_text(content)
        assert (source.reread(), source.given.password.reveal()) == (is_news, password)
    file.unlink()
    assert not source.reread() and source.given.password.reveal() == "new"
