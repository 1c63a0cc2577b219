"""The example of keepalived, which moves an address between two gateways."""

import subprocess

import pytest
from harness.balancers import CONF
from harness.pair import NAMES
from harness.peers import peer


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_keepalived_takes_the_example_on_each_machine(name):
    """As a machine without the user of the gateway does, which it warns of."""
    command = [peer("keepalived"), "--config-test", "-i", name, "-f", CONF / "keepalived" / "keepalived.conf"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert [line for line in done.stderr.splitlines() if "script" not in line] == []
