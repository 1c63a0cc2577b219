"""What tools/agents calls the first limit."""

import collections

import pytest
from measuring.machine import CORES
from measuring.tally import Cost, Outcome, percentile
from measuring.verdict import AGENTS, GATEWAY, ORIGIN, computed, first_limit, why_not

MOST = 0.25  # seconds


def outcome(errors=(), took=0.01, late=0.0, gateway=(0.1,), agents=(0.1,), origin=(0.1,), others=0.0):
    """What agents saw, in a second, on a machine that was busy with these and others."""
    costs = {kind: Cost(list(cores), 0) for kind, cores in ((GATEWAY, gateway), (AGENTS, agents), (ORIGIN, origin))}
    busy = sum(cost.sum for cost in costs.values()) + others
    return Outcome(1.0, [took] * 100, [took] * 100, [late] * 100, collections.Counter(errors), 0, costs, busy)


ALL = CORES * 1.0
LOAD = [ALL / 2 / CORES] * CORES


@pytest.mark.parametrize(
    ("seen", "limit"),
    [
        (outcome(), "none was reached: "),
        (outcome({"the load has no descriptor left": 3}, gateway=(0.99,)), "descriptors of the load"),
        (outcome({"no local port is left to connect from": 3}), "local ports of the load"),
        (outcome({"the gateway answered 503 Service Unavailable: no-descriptors": 1}), "descriptors of the gateway"),
        (outcome({"the gateway answered 503 Service Unavailable: too-many-tunnels": 1}), "max-tunnels of the gateway"),
        (
            outcome({"the gateway answered 503 Service Unavailable: too-many-tunnels-for-client": 1}),
            "max-tunnels-per-client of the gateway",
        ),
        (outcome({"there was no end": 7}, gateway=(0.2, 0.95)), "the gateway's CPU: its busiest process used 0.95"),
        (outcome(agents=(0.96,)), "CPU of the load, not the gateway: one of its processes used a whole core"),
        (outcome(agents=LOAD, origin=LOAD), "CPU of the load, not the gateway: of "),
        (outcome(gateway=[0.85] * CORES, agents=[0.05], origin=[0.1 * CORES]), "the gateway's CPU: of "),
        (outcome(others=ALL), "other programs on this machine: of "),
        (outcome({"there was no end": 7}), "errors, with cores to spare: there was no end"),
        (outcome(took=0.3), "time, with cores to spare: 1 % of the uploads took longer than 300 ms"),
        (outcome(late=0.4), "time, with cores to spare: the load began its uploads up to 400 ms too late"),
    ],
)
def test_the_first_limit(seen, limit):
    assert first_limit(seen, MOST).startswith(limit)


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (outcome(others=ALL), ""),
        (outcome({"a": 1}), "1 error"),
        (outcome({"a": 1000, "b": 1}), "1,001 errors"),
        (outcome(took=0.3), "1 % of the uploads took longer than 300 ms"),
        (outcome(late=0.3), "the load began its uploads up to 300 ms too late"),
        (outcome()._replace(uploads=[]), "no upload came to its end"),
    ],
)
def test_whether_they_were_carried(seen, why):
    assert why_not(seen, MOST) == why


def test_what_is_computed_follows_from_the_uploads_that_came_to_their_end():
    told = computed(outcome(gateway=(0.1, 0.1)), 6.0, 2)  # 100 uploads in a second are 600 agents
    assert "used 0.333 cores for each 1,000 agents" in told and "would carry about 4,200 " in told
    assert "too little to compute" in computed(outcome(gateway=(0.05,)), 6.0, 2)


def test_a_percentile_is_a_value_that_was_seen():
    assert [percentile(list(range(1, 101)), share) for share in (0.5, 0.99, 1.0)] == [51, 100, 100]
    assert percentile([], 0.5) == 0
