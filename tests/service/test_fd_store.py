"""Listening sockets that systemd keeps: which it is given, which are taken back from it, and what is used of them."""

import contextlib
import os
import socket
import sys

import pytest
from harness.gateway import Gateway, address
from harness.waiting import PATIENCE

from ogw.service import fd_store
from ogw.settings.loader import load

# Begins as systemd does: with descriptors from 3 on, and the variables that tell of them.
BEGIN = """
import os, socket, sys
given = {given!r}
made = [eval(one) for one in given]
kept = [os.dup(one if isinstance(one, int) else one.fileno()) for one in made]
high = [os.dup2(one, 100 + number) for number, one in enumerate(kept)]
for number, one in enumerate(high):
    os.dup2(one, 3 + number)
os.environ.update(LISTEN_PID={pid}, LISTEN_FDS=str({count}), LISTEN_FDNAMES=":".join(["listen"] * len(given)))
os.closerange(3 + len(given), 200)
os.execv(sys.argv[1], sys.argv[1:])
"""
LISTENS = "socket.create_server(('{host}', {port}), reuse_port={shared})"


def listens(host, port=8080, shared=True):
    return LISTENS.format(host=host, port=port, shared=shared)


def begun(given, pid="str(os.getpid())", count="len(given)"):
    return [sys.executable, "-c", BEGIN.format(given=given, pid=pid, count=count)]


@contextlib.contextmanager
def systemd(folder):
    """The socket that it hears on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(folder / "notify"))
        sock.settimeout(20 * PATIENCE)
        yield sock


def said(sock, until):
    """What is said until that, as (lines, where the sockets listen that came with them)."""
    heard = []
    while not heard or until not in heard[-1][0]:
        data, descriptors, _flags, _address = socket.recv_fds(sock, 65536, 253)
        came = [socket.socket(fileno=one) for one in descriptors]
        heard.append((data.decode().split("\n"), [one.getsockname() for one in came]))
        for one in came:
            one.close()
    return heard


def listening(host):
    """How many sockets listen there, of whomever."""
    with open("/proc/net/tcp") as table:
        local = f"{socket.inet_aton(host)[::-1].hex().upper()}:{8080:04X}"
        return sum(line.split()[1] == local and line.split()[3] == "0A" for line in table)


def passes(gateway):
    with gateway.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        return client.recv(4096).startswith(b"HTTP/1.1 405 ")


def told_of_systemd(gateway):
    return [line["message"] for line in gateway.events(100) if "systemd" in line["message"]]


def test_all_listening_sockets_are_kept_and_a_stop_takes_them_out_first(tmp_path):
    with systemd(tmp_path) as sock:
        with Gateway(workers=3, environment={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as gateway:
            *_, (lines, places) = said(sock, "FDSTORE=1")
            assert lines == ["FDSTORE=1", "FDNAME=listen"]
            assert places == [(gateway.address, 8080)] * 3
            assert gateway.stop() == 0
        told = [line for lines, _places in said(sock, "STOPPING=1") for line in lines]
        assert "FDSTOREREMOVE=1" in told
        assert "FDSTORE=1" not in told[told.index("FDSTOREREMOVE=1") :]


def test_more_than_one_message_takes_are_kept_in_several(tmp_path):
    script = (
        "import sys; from ogw.service import fd_store; fd_store.AT_ONCE = 2; "
        "from ogw.cli.main import main; sys.exit(main(['run', *sys.argv[1:]]))"
    )
    with systemd(tmp_path) as sock:
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        with Gateway(workers=3, program=[sys.executable, "-c", script], environment=environment):
            assert [len(said(sock, "FDSTORE=1")[-1][1]) for _message in range(2)] == [2, 1]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_what_was_kept_is_used_with_any_number_of_workers(workers):
    host = address()
    with Gateway(command=begun([listens(host)] * 2), listen=host, workers=workers) as gateway:
        assert listening(host) == max(2, workers)
        assert gateway.wait_for(event=101)["listen"] == [f"{host}:8080"]
        assert all(passes(gateway) for _number in range(20))
        assert not told_of_systemd(gateway)
        assert gateway.stop() == 0
    assert listening(host) == 0


def test_a_queue_that_nobody_served_for_a_while_is_kept_again(tmp_path):
    with systemd(tmp_path) as sock:
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        with Gateway(workers=2, environment=environment) as gateway:
            said(sock, "FDSTORE=1")
            os.kill(gateway.workers[0], 9)
            gateway.wait_for(event=405)
            assert len(said(sock, "FDSTORE=1")[-1][1]) == 2


WRONG = {
    "a file": ("os.open('/dev/null', os.O_RDONLY)", "is no socket"),
    "UDP": ("socket.socket(socket.AF_INET, socket.SOCK_DGRAM)", "is no TCP socket"),
    "a unix socket": ("socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)", "is no TCP socket"),
    "one that does not listen": ("socket.socket()", "does not listen"),
    "another port": (listens("HOST", 8081), "listens on HOST:8081, which is no listen-address"),
    "another address": (listens("127.0.0.1", 0), "which is no listen-address"),
    "shared with no worker": (listens("HOST", shared=False), "listens on HOST:8080 in another way than a worker's"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_listening_socket_of_this_configuration_is_closed_with_an_event_and_never_used(what, tmp_path):
    host = address()
    made, why = (text.replace("HOST", host) for text in WRONG[what])
    with systemd(tmp_path) as sock:
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        with Gateway(command=begun([made]), listen=host, environment=environment) as gateway:
            [message] = told_of_systemd(gateway)
            assert message.startswith("descriptor 3 (listen), which systemd kept, ") and why in message
            assert listening(host) == 1
            assert passes(gateway)
            lines = [line for lines, _places in said(sock, "FDSTORE=1") for line in lines]
            assert lines.index("FDSTOREREMOVE=1") < lines.index("FDSTORE=1")


def test_the_same_of_an_ipv6_socket_that_serves_ipv4_too():
    made = "socket.create_server(('::', 0), family=socket.AF_INET6, dualstack_ipv6=True, reuse_port=True)"
    with Gateway(command=begun([made])) as gateway:
        [message] = told_of_systemd(gateway)
        assert "listens on [::]:" in message


@pytest.mark.parametrize(
    ("pid", "count"),
    [
        ("'1'", "1"),
        ("''", "1"),
        ("str(os.getpid())", "''"),
        ("str(os.getpid())", "'-1'"),
        ("str(os.getpid())", "'1e3'"),
    ],
)
def test_what_is_meant_for_another_process_or_makes_no_sense_is_let_be(pid, count):
    with Gateway(command=begun(["os.open('/dev/null', os.O_RDONLY)"], pid, count)) as gateway:
        assert passes(gateway)
        assert not told_of_systemd(gateway)
        assert os.readlink(f"/proc/{gateway.pid}/fd/3") == "/dev/null"


def test_more_descriptors_are_promised_than_there_are():
    host = address()
    with Gateway(command=begun([listens(host)], count="90"), listen=host, workers=2) as gateway:
        told = told_of_systemd(gateway)
        assert len(told) == 89 and all("is no socket: Bad file descriptor" in message for message in told)
        assert passes(gateway)


def test_no_process_that_it_starts_takes_them_for_its_own(monkeypatch):
    given = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0", "LISTEN_FDNAMES": ""}
    for name, text in given.items():
        monkeypatch.setenv(name, text)
    assert fd_store.take(load([], {})) == ([], [])
    assert not given.keys() & os.environ.keys()
