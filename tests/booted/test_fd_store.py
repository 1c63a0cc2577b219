"""The listening sockets in systemd's store: a crash of the supervisor closes no door, and a stop does."""

import contextlib
import signal

import pytest
from harness.clients import OneByOne
from harness.waiting import until

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]
TARGET = "127.0.0.1:443"
HELD = 20
SOCKET = "[Socket]\nListenStream=127.0.0.1:8081\n"


def kept(service):
    return int(service.state("NFileDescriptorStore"))


def clients_of(service):
    return OneByOne(lambda: service.passes(TARGET))


def test_a_crash_refuses_nobody_and_loses_what_was_open(service):
    service.begin(workers=2)
    until(lambda: kept(service) == 4)
    held = [service.ask(TARGET)[0] for _number in range(HELD)]
    with clients_of(service) as clients:
        until(lambda: clients.passed > 100)
        for _time in range(3):
            before = clients.passed
            service.crash()
            until(lambda before=before: clients.passed > before + 50)
    assert clients.refused == 0
    # What was being served at each crash, and after it by the other worker, which systemd kills a moment later.
    assert clients.lost <= 6
    assert sum(ended(sock) for sock in held) == HELD
    assert kept(service) == 4
    assert len(service.machine.sh("ss -ltnH sport = 8080").stdout.splitlines()) == 4


def ended(sock):
    with sock:
        try:
            return sock.recv(1) == b""
        except ConnectionResetError:
            return True


def test_who_comes_while_nobody_is_there_is_served_by_the_next(service):
    service.begin("RestartSec=10s", workers=2)
    until(lambda: kept(service) == 4)
    service.kill(signal.SIGKILL, service.pid)
    service.becomes("SubState", "auto-restart")
    with contextlib.ExitStack() as waiting:
        clients = [waiting.enter_context(service.connect()) for _number in range(20)]
        for client in clients:
            client.sendall(f"CONNECT {TARGET} HTTP/1.1\r\n\r\n".encode())
        assert service.state("ActiveState") == "activating"
        assert all(client.recv(13) == b"HTTP/1.1 200 " for client in clients)


def test_a_stop_and_a_wrong_configuration_leave_nobody_waiting(service):
    service.begin(workers=2)
    until(lambda: kept(service) == 4)
    service.machine.run("systemctl", "stop", "ogw")
    with pytest.raises(ConnectionRefusedError):
        service.connect()
    service.begin(workers=2)
    until(lambda: kept(service) == 4)
    service.write_ini(more="nonsense")
    service.kill(signal.SIGKILL, service.pid)
    service.becomes("ActiveState", "failed")
    until(lambda: refused(service))  # systemd lets go of what it holds once it is that
    assert kept(service) == 0


def test_while_it_drains_systemd_holds_no_door_open(service):
    service.begin(workers=2, drain_timeout="30s")
    until(lambda: kept(service) == 4)
    tunnel, _head = service.ask(TARGET)
    with tunnel:
        service.machine.run("systemctl", "stop", "--no-block", "ogw")
        until(lambda: refused(service))
        assert service.state("ActiveState") == "deactivating" and kept(service) == 0
    service.becomes("ActiveState", "inactive")


def refused(service):
    try:
        service.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def test_another_number_of_workers_loses_no_queue(service):
    for workers, sockets in ((1, 1), (3, 3), (2, 3)):
        service.begin(workers=workers) if workers == 1 else service.write_ini(workers=workers)
        if workers > 1:
            with clients_of(service) as clients:
                service.crash()
                before = clients.passed
                until(lambda before=before, clients=clients: clients.passed > before + 50)
            assert clients.refused == 0
        until(lambda sockets=sockets: kept(service) == 2 * sockets)
        assert len(service.workers) == workers


def test_a_changed_address_is_listened_on_and_the_old_one_is_closed_with_an_event(service):
    service.begin(workers=1)
    until(lambda: kept(service) == 2)
    service.write_ini(workers=1, listen_address="127.0.0.1", listen_port=8081)
    service.crash()
    service.becomes("ActiveState", "active")
    assert service.passes(TARGET, port=8081)
    until(lambda: kept(service) == 1)  # until systemd has heard of it, it has the socket, too
    with pytest.raises(ConnectionRefusedError):
        service.connect(8080)
    told = [line["message"] for line in service.lines(event=100, level="warning") if "systemd kept" in line["message"]]
    assert len(told) == 2
    for place in ("0.0.0.0:8080", "[::]:8080"):
        assert any(f"listens on {place}, which is no listen-address; it was closed" in message for message in told)


def test_a_descriptor_from_elsewhere_is_closed_with_an_event_and_never_used(service, copy):
    """A socket unit beside it, as one would write it for socket activation."""
    copy.write("/etc/systemd/system/ogw.socket", SOCKET)
    service.begin(workers=1)
    service.machine.run("systemctl", "stop", "ogw")
    service.machine.run("systemctl", "start", "ogw.socket")
    service.machine.run("systemctl", "start", "ogw")
    [told] = [line["message"] for line in service.lines(event=100) if "ogw.socket" in line["message"]]
    assert "(ogw.socket), which systemd kept, listens on 127.0.0.1:8081, which is no listen-address" in told
    assert service.passes(TARGET)
    supervisor = service.machine.sh(f"ss -ltnpH sport = 8081 | grep -c pid={service.pid}", check=False).stdout
    assert supervisor == "0\n"
    service.machine.sh("systemctl stop ogw ogw.socket; rm /etc/systemd/system/ogw.socket; systemctl daemon-reload")
