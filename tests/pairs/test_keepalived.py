"""An address that moves between two gateways by keepalived, as conf/keepalived has it, under the load of agents."""

import contextlib
import subprocess
import sys

import pytest
from harness.agents import Agents
from harness.balancers import CONF, Keepalived
from harness.netns import ROOT
from harness.origin import PLACE
from harness.pair import NAMES, Pair
from harness.peers import peer
from harness.phases import Phases
from harness.waiting import until

AGENTS, SOME = 1000, 400
ADDRESS = "10.1.0.100"
MOST = 4.0  # seconds in which nobody is answered
SETTINGS = (f"listen-address = {ADDRESS}", "listen-freebind = yes", "drain-timeout = 3s")


class Address:
    """The one that moves, as the machines have it."""

    def __init__(self, lan):
        self._lan = lan

    @property
    def holders(self):
        return [name for name in NAMES if self._lan[name].has(ADDRESS)]

    def wait_for(self, *names):
        until(lambda: self.holders == [*names], what=lambda: (names, self.holders))


def ready(ini):
    """What stands for `/usr/bin/ogw ready` where no program is installed."""
    return f"/usr/bin/env PYTHONPATH={ROOT} {sys.executable} -m ogw ready --config {ini}"


@contextlib.contextmanager
def keepalived(lan, pair):
    """On both machines; the first one has the address."""
    with contextlib.ExitStack() as stack:
        for name in NAMES:
            stack.enter_context(Keepalived(lan[name], name, ready(pair.ini[name])))
            Address(lan).wait_for("ogw-a")
        yield


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_keepalived_takes_the_example_on_each_machine(name):
    """As a machine without the user of the gateway does, which it warns of."""
    command = [peer("keepalived"), "--config-test", "-i", name, "-f", CONF / "keepalived" / "keepalived.conf"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert [line for line in done.stderr.splitlines() if "script" not in line] == []


@pytest.mark.long
@pytest.mark.alone
def test_the_address_moves_within_four_seconds(lan, capsys):
    phases = Phases()
    address = Address(lan)
    with (
        Pair(lan, *SETTINGS) as pair,
        keepalived(lan, pair),
        Agents(lan["client"], (ADDRESS, 8080), AGENTS, PLACE) as agents,
    ):
        agents.wait_for(SOME)
        with phases.phase("nothing"):
            agents.wait_for(AGENTS - SOME)
        with phases.phase("`kill -9` of the one that has it"):
            pair.kill("ogw-a")
            address.wait_for("ogw-b")
            agents.wait_for(SOME)
        with phases.phase("it comes back, and waits"):
            pair.start("ogw-a")
            until(lambda: pair.ready("ogw-a")[0] == 0)
            agents.wait_for(SOME)
        with phases.phase("`ogw ready --off` on the other"):
            assert pair.ready("ogw-b", "--off")[0] == 0
            address.wait_for("ogw-a")
            agents.wait_for(SOME)
        with phases.phase("which stops, comes back, and waits"):
            assert pair.drain("ogw-b") == 0
            pair.start("ogw-b")
            until(lambda: pair.ready("ogw-b")[0] == 0)
            agents.wait_for(SOME)
        for name, told in (("ogw-b", "`ogw upgrade` of the one that waits"), ("ogw-a", "`ogw upgrade` of the other")):
            with phases.phase(told):
                pair.upgrade(name)
                agents.wait_for(SOME)
        assert address.holders == ["ogw-a"]
        with phases.phase("the machine that has it is cut off"):
            lan["ogw-a"].unplug()
            address.wait_for("ogw-b")
            agents.wait_for(SOME)
    with capsys.disabled():
        print(f"\nkeepalived between two gateways, {AGENTS:,} agents:\n{phases.table(agents)}")
    moves = [phases[1], phases[3], phases[-1]]
    usual = phases.named("nothing").gap(agents)  # what a busy machine makes agents wait for is no part of it
    assert [phase for phase in moves if phase.gap(agents) - usual >= MOST] == []
    assert [phase.name for phase in phases if phase not in moves and phase.unopened(agents) + phase.cut(agents)] == []
    assert {one.agent for one in agents.uploads} == set(range(AGENTS))
    pair.assert_all_lines_name_the_client(via="")
