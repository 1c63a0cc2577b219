"""The last moments of a tunnel in a whole gateway: what ends it then takes nothing from its account."""

import fcntl
import json
import signal
import socket
import struct
import sys
import threading

import pytest
from harness.admin import ask, asked
from harness.gateway import Gateway
from harness.hellos import extension, hello
from harness.upstreams import Server, reset
from harness.waiting import until

ALLOW = ("--allowed-host", "127.0.0.0/8 no-server-name", "--allowed-target-network", "127.0.0.0/8")

PATIENT = (
    "import sys; from ogw.tunnel import linger; linger.DELIVER_SECONDS = 60.0; "
    "from ogw.cli.main import main; sys.exit(main(['run', *sys.argv[1:]]))"
)


class Deaf(Server):
    """Reads nothing before `go`, and has little room for what it does not read."""

    def __init__(self):
        self.go = threading.Event()
        super().__init__(self._wait)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def _wait(self, connection):
        self.go.wait(60)

    def __exit__(self, *exception):
        self.go.set()
        super().__exit__(*exception)


def found(gateway, name):
    return next((one for one in asked(gateway, "/tunnels")["tunnels"] if one["client"] == name), None)


def passing_a_reset_on(gateway, server, said):
    """The name of a client that said so much that its upstream cannot take it, and reset."""
    sock = gateway.tunnel(server.target)
    name = "{}:{}".format(*sock.getsockname())
    sock.sendall(said)
    until(lambda: not struct.unpack("i", fcntl.ioctl(sock, 0x5411, b"\0\0\0\0"))[0])  # TIOCOUTQ
    reset(sock)
    until(lambda: (found(gateway, name) or {"state": "closing"})["state"] == "closing")
    return name


STAGES = [
    pytest.param("off", b"x" * 200_000, id="open"),
    pytest.param("enforce", hello(None, extension(21, bytes(40_000))), id="handshake"),
]


def kill(gateway, name):
    one = found(gateway, name)
    if one is not None:
        assert json.loads(ask(gateway, f"/kill?tunnel={one['tunnel']}", "POST")[2])["killed"]


def drain(gateway, _name):
    gateway.process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("end", [kill, drain])
@pytest.mark.parametrize(("rules", "said"), STAGES)
def test_a_tunnel_that_is_ended_while_its_reset_is_passed_on_has_its_account(rules, said, end):
    flags = (*ALLOW, "--drain-timeout", "100ms")
    with Deaf() as server, Gateway(*flags, program=[sys.executable, "-c", PATIENT], tls_rules=rules) as gateway:
        name = passing_a_reset_on(gateway, server, said)
        end(gateway, name)
        line = gateway.closed(client=name)
        assert line["reason"] == "client-reset" and line["bytes_up"] == len(said)
        assert line["duration"] < 40  # it was not waited for to the end
        if end is drain:
            assert gateway.stop() == 0
        assert [one["client"] for one in gateway.events(108)] == [name] and not gateway.events(400)
