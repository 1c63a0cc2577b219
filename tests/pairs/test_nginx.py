"""Two gateways behind nginx's stream, as conf/nginx has it."""

import pytest
from harness.agents import Agents
from harness.balancers import Nginx
from harness.origin import PLACE
from harness.pair import Pair

AGENTS = 100
SETTINGS = (
    "listen-address = {address}",
    "proxy-protocol = required",
    "proxy-protocol-from = 10.1.0.10",
    "drain-timeout = 1s",
)


@pytest.mark.long
def test_clients_go_to_the_other_gateway_when_one_is_gone(lan):
    with (
        Pair(lan, *SETTINGS) as pair,
        Nginx(lan["balancer"]),
        Agents(lan["client"], (lan["balancer"].address, 8080), AGENTS, PLACE) as agents,
    ):
        agents.wait_for(AGENTS)
        before, dead = pair.kill("ogw-a")
        agents.wait_for(AGENTS)
    in_flight = [one for one in agents.broken if one.began <= dead and one.ended >= before]
    assert [one for one in agents.broken if one not in in_flight] == []
    pair.assert_all_lines_name_the_client(via="10.1.0.10")
