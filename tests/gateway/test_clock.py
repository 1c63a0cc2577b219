"""A clock that is set while tunnels are on their way."""

import contextlib

import pytest
from harness.admin import asked
from harness.clocks import set_by
from harness.gateway import ALLOW, Gateway
from harness.upstreams import Server, swallow
from harness.waiting import until


@pytest.mark.parametrize("step", ["-3600", "+3600"])
def test_a_handshake_has_its_time_whatever_the_clock_says(tmp_path, step):
    clock = tmp_path / "clock"
    clock.write_text("+0")
    flags = (*ALLOW, "--handshake-timeout", "2s")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server(swallow))
        gateway = stack.enter_context(Gateway(*flags, command=set_by(clock), tls_rules="enforce"))
        first = stack.enter_context(gateway.tunnel(server.target))
        until(lambda: asked(gateway, "/tunnels")["tunnels"][0]["duration"] >= 0.8)
        second = stack.enter_context(gateway.tunnel(server.target))
        clock.write_text(step)
        third = stack.enter_context(gateway.tunnel(server.target))
        for sock in (first, second, third):
            name = "{}:{}".format(*sock.getsockname())
            while sock.recv(4096):
                pass
            sock.close()
            line = gateway.closed(client=name)
            assert line["reason"] == "handshake-timeout" and line["duration"] > 1.5
