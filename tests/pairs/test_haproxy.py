"""Two gateways behind HAProxy, as conf/haproxy has it, under the load of a thousand agents."""

import subprocess

import pytest
from harness.agents import Agents
from harness.balancers import CONF, Haproxy
from harness.origin import PLACE
from harness.pair import Pair
from harness.peers import peer
from harness.phases import Phases

AGENTS, SOME = 1000, 400
SETTINGS = (
    "listen-address = {address}",
    "health-address = {address}:9181",
    "proxy-protocol = required",
    "proxy-protocol-from = 10.1.0.10",
    "drain-timeout = 3s",
)


def test_haproxy_takes_the_example_without_a_warning():
    done = subprocess.run(
        [peer("haproxy"), "-c", "-f", CONF / "haproxy" / "haproxy.cfg"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.long
@pytest.mark.alone
def test_no_new_tunnel_of_a_thousand_agents_fails_whatever_happens_to_one_gateway(lan, capsys):
    """But for the CONNECTs that were in flight in the one that was killed."""
    phases = Phases()
    with (
        Pair(lan, *SETTINGS) as pair,
        Haproxy(lan["balancer"]) as haproxy,
        Agents(lan["client"], (lan["balancer"].address, 8080), AGENTS, PLACE) as agents,
    ):
        agents.wait_for(SOME)
        with phases.phase("nothing"):
            agents.wait_for(AGENTS - SOME)
        with phases.phase("`kill -9` of one"):
            before, dead = pair.kill("ogw-a")
            haproxy.wait_for("ogw-a", "DOWN")
            agents.wait_for(SOME)
        with phases.phase("it comes back"):
            pair.start("ogw-a")
            haproxy.wait_for("ogw-a", "UP")
            agents.wait_for(SOME)
        with phases.phase("the other is stopped"):
            assert pair.drain("ogw-b") == 0
            agents.wait_for(SOME)
        with phases.phase("it comes back, too"):
            pair.start("ogw-b")
            haproxy.wait_for("ogw-b", "UP")
            agents.wait_for(SOME)
        for name, told in (("ogw-a", "`ogw upgrade` of one"), ("ogw-b", "`ogw upgrade` of the other")):
            with phases.phase(told):
                pair.upgrade(name)
                agents.wait_for(SOME)
    with capsys.disabled():
        print(f"\nHAProxy in front of two gateways, {AGENTS:,} agents:\n{phases.table(agents)}")
    in_flight = [one for one in agents.broken if one.began <= dead and one.ended >= before]
    assert [one for one in agents.broken if one not in in_flight] == []
    assert all(one.ended < phases.named("`kill -9` of one").ended for one in in_flight)
    assert [one for one in agents.ended if one.moment >= phases[-2].began] == []
    assert {one.agent for one in agents.uploads} == set(range(AGENTS))
    pair.assert_all_lines_name_the_client(via="10.1.0.10")
