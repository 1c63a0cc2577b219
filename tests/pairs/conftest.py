"""A network as the examples in conf/ number it: a client of many addresses, a balancer, two gateways, a server."""

import pytest
from harness.lan import Lan
from harness.origin import NAME, origin

ADDRESSES = {
    "ogw-a": "10.1.0.5",
    "ogw-b": "10.1.0.6",
    "balancer": "10.1.0.10",
    "client": "10.1.0.20",
    "origin": "10.1.0.200",
}


@pytest.fixture
def lan(tmp_path):
    hosts = f"{ADDRESSES['origin']} {NAME}\n"
    with Lan(tmp_path / "lan", ADDRESSES, hosts, many="client") as lan, origin(lan["origin"]):
        yield lan
