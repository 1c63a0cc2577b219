"""What systemd says to the gateway, and hears from it: numbers and paths that come from outside."""

import os
import socket

import pytest
from harness.gateway import Gateway

from ogw.service.notify import notify


@pytest.fixture
def heard(tmp_path):
    """The socket that systemd would listen on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(20)
        yield sock


def told(sock):
    """All that was said since, once the gateway has left."""
    sock.setblocking(False)
    lines = []
    while True:
        try:
            lines += sock.recv(65536).decode().split("\n")
        except BlockingIOError:
            return lines


@pytest.mark.parametrize(
    "usec", ["", "0", "-1", "-2000000", "1e6", "+5", " 5", "1_000", "\u0661", "9" * 19, "1" * 4000, "5" * 5000, "x"]
)
def test_a_watchdog_that_no_number_asks_for_is_none(heard, usec):
    with Gateway(environment={"NOTIFY_SOCKET": heard.getsockname(), "WATCHDOG_USEC": usec}) as gateway:
        assert heard.recv(4096).startswith(b"READY=1")
        assert gateway.stop() == 0
    assert not [line for line in told(heard) if line.startswith("WATCHDOG")]


@pytest.mark.parametrize("usec", ["100000", "999999999999999999"])
def test_a_watchdog_has_its_sign_of_life(heard, usec):
    with Gateway(environment={"NOTIFY_SOCKET": heard.getsockname(), "WATCHDOG_USEC": usec}) as gateway:
        while heard.recv(4096) != b"WATCHDOG=1":
            pass
        assert gateway.stop() == 0


def test_a_watchdog_of_a_microsecond_leaves_time_for_the_tunnels(heard):
    """It would have a sign of life at every turn of a loop that never waits."""
    with Gateway(environment={"NOTIFY_SOCKET": heard.getsockname(), "WATCHDOG_USEC": "1"}) as gateway:
        signs = 0
        while signs < 20:
            signs += heard.recv(4096) == b"WATCHDOG=1"
        spent = sum(int(one) for one in _stat(gateway.pid)[11:13])  # ticks of user and system
        while signs < 120:  # a second at least, at a sign each hundredth
            signs += heard.recv(4096) == b"WATCHDOG=1"
        assert sum(int(one) for one in _stat(gateway.pid)[11:13]) - spent < 80


def _stat(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()


@pytest.mark.parametrize(
    "path", ["/nowhere/at/all", "@", "@" + "a" * 200, "/" + "a" * 200, "relative", "/tmp", "/dev/null"]
)
def test_nobody_who_listens_keeps_no_gateway_from_its_work(path):
    with Gateway(environment={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "100000"}) as gateway:
        assert gateway.stop() == 0


def test_a_name_that_systemd_gave_a_descriptor_is_no_matter(heard, monkeypatch):
    """Names of descriptors are bytes to it."""
    monkeypatch.setenv("NOTIFY_SOCKET", heard.getsockname())
    notify("FDSTOREREMOVE=1", "FDNAME=\udcff")
    assert "FDNAME=\udcff" in os.fsdecode(heard.recv(4096))
