"""A machine for each file of tests and each release of Debian, with these sources and a server that says all back."""

import pytest
from harness.booted import Booted
from harness.roots import RELEASES, Copy
from harness.service import Service
from harness.upstreams import Server, echo


@pytest.fixture(scope="module", params=RELEASES)
def copy(request):
    with Copy(request.param) as copy:
        copy.install_sources()
        yield copy


@pytest.fixture(scope="module")
def machine(copy):
    with Booted(copy.folder) as machine, machine.network(), Server(echo, host="127.0.0.1"):
        yield machine


@pytest.fixture
def service(machine, copy):
    return Service(machine, copy)
