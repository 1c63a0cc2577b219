"""Workers whose supervisor was killed leave soon, also where they had begun to drain for a long time."""

import os
import select
import signal

import pytest
from harness.gateway import ALLOW, Gateway, read_exactly


@pytest.mark.parametrize("times", [("--drain-delay", "30d"), ("--drain-timeout", "30d")], ids=["delay", "tunnels"])
def test_a_worker_that_drains_when_its_supervisor_is_killed_leaves_soon(upstream, times):
    with Gateway(*ALLOW, *times) as gateway, gateway.tunnel(upstream.target) as sock:
        (worker,) = gateway.workers
        its_end = os.pidfd_open(worker)
        gateway.process.terminate()
        gateway.wait_for(event=110)
        sock.sendall(b"x")
        assert read_exactly(sock, 1) == b"x"
        os.kill(gateway.pid, signal.SIGKILL)
        gateway.process.wait(10)
        assert select.select([its_end], [], [], 15)[0], "it drains on, and nobody can stop it"
        os.close(its_end)
