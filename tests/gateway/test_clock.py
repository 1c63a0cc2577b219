"""A clock that is set while tunnels are on their way."""

import contextlib
import pathlib

import pytest
from harness.gateway import ALLOW, Gateway
from harness.peers import without
from harness.upstreams import Server, swallow


@pytest.fixture
def clock(tmp_path):
    """(what to put in front of a command, the file by whose text its clock is wrong; the monotonic one stays right)"""
    libraries = list(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not libraries:
        without("libfaketime is not installed here; tools/test installs it when it runs as root on Debian")
    file = tmp_path / "clock"
    file.write_text("+0")
    settings = (f"LD_PRELOAD={libraries[0]}", "DONT_FAKE_MONOTONIC=1", "FAKETIME_NO_CACHE=1")
    return ("env", *settings, f"FAKETIME_TIMESTAMP_FILE={file}"), file


@pytest.mark.parametrize("step", ["-3600", "+3600"])
def test_a_handshake_has_its_time_whatever_the_clock_says(clock, step):
    command, file = clock
    flags = (*ALLOW, "--handshake-timeout", "2s")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server(swallow))
        gateway = stack.enter_context(Gateway(*flags, command=command, tls_rules="enforce"))
        before = stack.enter_context(gateway.tunnel(server.target))
        file.write_text(step)
        after = stack.enter_context(gateway.tunnel(server.target))
        for sock in (before, after):
            while sock.recv(4096):
                pass
            line = gateway.closed(client="{}:{}".format(*sock.getsockname()))
            assert line["reason"] == "handshake-timeout" and line["duration"] > 1.5
