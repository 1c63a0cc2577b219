"""Signs of life: a process that hangs is killed and only then replaced; a machine that stood still kills nobody."""

import contextlib
import os
import pathlib
import signal
import socket
import sys
import time

import pytest
from harness.admin import ask, asked
from harness.commands import ogw
from harness.gateway import ALLOW, Gateway, read_all, read_exactly
from harness.waiting import until

SECONDS = 2.0
HUNG = ("--hung-timeout", f"{SECONDS:g}s")


def exists(pid):
    return pathlib.Path(f"/proc/{pid}").exists()


def ready(gateway):
    return ask(gateway, "/readyz")[0] == 200


def by_tunnels(gateway):
    """The process ids of the workers, those with most tunnels first."""
    return [one["pid"] for one in sorted(asked(gateway, "/status")["workers"], key=lambda one: -one["tunnels"])]


@contextlib.contextmanager
def stopped(*pids):
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def test_a_worker_that_is_stopped_is_killed_and_replaced_and_readiness_knows_at_once(upstream):
    with Gateway(*ALLOW, *HUNG, workers=2) as gateway, gateway.tunnel(upstream.target) as cut:
        victim, other = by_tunnels(gateway)
        with stopped(victim):
            until(lambda: not ready(gateway))
            assert exists(victim), "readiness knows before it is given up"
            status, _headers, why = ask(gateway, "/readyz")
            assert status == 200 or why == b"a worker does not answer, and its share of the clients waits\n"
            assert ask(gateway, "/healthz")[0] == 200, "what the supervisor mends needs no restart"
            line = gateway.wait_for(event=405, seconds=60)
            assert f"(process {victim}) gave no sign of life for {SECONDS:g} s and was killed" in line["message"]
            assert line["count"] == 1 and "1 tunnels with it; it is replaced at once" in line["message"]
            with contextlib.suppress(ConnectionResetError):
                assert read_all(cut) == b""
            until(lambda: ready(gateway))
            assert not exists(victim) and other in gateway.workers and len(gateway.workers) == 2
        for _turn in range(20):
            gateway.tunnel(upstream.target).close()
        assert len(gateway.events(405)) == 1 and asked(gateway, "/status")["worker_deaths"] == 1


def test_what_waited_in_the_queue_of_a_hung_worker_is_served_by_its_replacement(upstream):
    with Gateway(*ALLOW, *HUNG, workers=1) as gateway:
        with stopped(*gateway.workers):
            socks = [gateway.connect() for _turn in range(5)]
            for sock in socks:
                sock.settimeout(60)
                sock.sendall(f"CONNECT {upstream.target} HTTP/1.1\r\n\r\nx".encode())
            for sock in socks:
                assert b" 200 " in read_exactly(sock, 39) and read_exactly(sock, 1) == b"x"
                sock.close()


BUSY = """
import sys
from ogw.service.tunnels import Tunnels
def spin_around(tunnels, question):
    while True:
        pass
Tunnels.answer = spin_around
from ogw.cli.main import main
sys.exit(main(["run", *sys.argv[1:]]))
"""


def test_a_worker_that_is_busy_for_ever_tells_where(upstream):
    with Gateway(*ALLOW, *HUNG, program=[sys.executable, "-c", BUSY]) as gateway:
        ask(gateway, "/tunnels")
        line = gateway.wait_for(event=405, seconds=60)
        assert "spin_around" in line["traceback"]
        with gateway.tunnel(upstream.target) as sock:
            sock.sendall(b"x")
            assert read_exactly(sock, 1) == b"x"


def test_an_admin_process_that_hangs_is_replaced_too(upstream):
    with Gateway(*ALLOW, *HUNG) as gateway, gateway.tunnel(upstream.target) as sock:
        hung = gateway.admin
        with stopped(hung):
            line = gateway.wait_for(event=405, seconds=60)
            assert f"admin (process {hung}) gave no sign of life" in line["message"]
        until(lambda: gateway.admin not in (0, hung) and ready(gateway))
        sock.sendall(b"x")
        assert read_exactly(sock, 1) == b"x"


@pytest.mark.parametrize("whole", [True, False], ids=["the whole group", "the supervisor"])
def test_a_machine_that_stood_still_kills_nobody(upstream, whole):
    with Gateway(*ALLOW, *HUNG, workers=2) as gateway, gateway.tunnel(upstream.target) as sock:
        workers = gateway.workers
        for rest in (1.5, 3, 0.4):
            pids = (*gateway.children, gateway.pid) if whole else (gateway.pid,)
            with stopped(*pids):
                begun = time.monotonic()
                until(lambda begun=begun, rest=rest: time.monotonic() > begun + rest * SECONDS)
            until(lambda: ready(gateway))
            begun = time.monotonic()
            until(lambda begun=begun: time.monotonic() > begun + SECONDS)  # who is to be killed would be by now
        assert gateway.workers == workers and not gateway.events(405)
        sock.sendall(b"x")
        assert read_exactly(sock, 1) == b"x"


def test_a_worker_that_is_slow_but_answers_lives(upstream):
    with Gateway(*ALLOW, *HUNG) as gateway, gateway.tunnel(upstream.target) as sock:
        (worker,) = gateway.workers
        for _turn in range(6):  # a second still, then as long at work
            with stopped(worker):
                begun = time.monotonic()
                until(lambda begun=begun: time.monotonic() > begun + SECONDS / 2)
            until(lambda: ready(gateway))
            sock.sendall(b"x")
            assert read_exactly(sock, 1) == b"x"
        assert gateway.workers == [worker] and not gateway.events(405)


def test_a_drain_ends_although_a_worker_is_stopped(upstream):
    with Gateway(*ALLOW, "--drain-timeout", "1h", *HUNG, workers=2) as gateway, gateway.tunnel(upstream.target) as sock:
        (holds, other) = by_tunnels(gateway)
        with stopped(other):
            gateway.process.send_signal(signal.SIGTERM)
            gateway.wait_for(event=110)
            until(lambda: not exists(other))
            sock.sendall(b"x")
            assert read_exactly(sock, 1) == b"x" and exists(holds)
            # Who came to the queue of the dead one is refused now, and does not wait for nobody.
            until(lambda: refused(gateway))
        sock.close()
        assert gateway.process.wait(60) == 0
        assert gateway.wait_for(event=102)["count"] == 0 and not gateway.events(400)


def refused(gateway):
    try:
        gateway.connect().close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass
    return False


@pytest.mark.parametrize("again", ["SIGTERM", "ogw drain --now"])
def test_who_stops_it_twice_does_not_wait_for_a_worker_that_is_stopped(upstream, again):
    with Gateway(*ALLOW, "--drain-timeout", "1h", workers=2) as gateway, gateway.tunnel(upstream.target) as sock:
        holds = by_tunnels(gateway)[0]
        with stopped(holds):
            gateway.process.send_signal(signal.SIGTERM)
            gateway.wait_for(event=110)
            if again == "SIGTERM":
                gateway.process.send_signal(signal.SIGTERM)
            else:
                assert ogw("drain", "--now", "--run-dir", gateway.run_dir).returncode == 0
            assert gateway.process.wait(60) == 0
        assert gateway.wait_for(event=102)["count"] == 1, "what died with it was cut"
        assert not gateway.events(400)
        with contextlib.suppress(ConnectionResetError):
            assert read_all(sock) == b""


def test_health_knows_that_the_supervisor_hangs():
    script = (
        "import sys; from ogw.service.admin import readyz; readyz.MOST_SILENCE = 8.0; "
        "from ogw.cli.main import main; sys.exit(main(['run', *sys.argv[1:]]))"
    )
    with Gateway(*ALLOW, program=[sys.executable, "-c", script]) as gateway:
        assert ask(gateway, "/healthz")[0] == ask(gateway, "/readyz")[0] == 200
        with stopped(gateway.pid):
            until(lambda: ask(gateway, "/healthz")[0] == 503)
            assert b"the supervisor has given no sign of life for " in ask(gateway, "/healthz")[2]
            assert ask(gateway, "/readyz")[0] == 503
        until(lambda: ask(gateway, "/healthz")[0] == ask(gateway, "/readyz")[0] == 200)


def test_systemd_is_told_that_the_supervisor_lives_while_a_worker_hangs(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        with Gateway(*ALLOW, *HUNG, environment=environment) as gateway, stopped(*gateway.workers):
            told = 0
            while not gateway.events(405):
                told += systemd.recv(1000) == b"WATCHDOG=1"
            assert told >= 3


def test_status_says_that_a_worker_does_not_answer(upstream):
    with Gateway(*ALLOW, "--hung-timeout", "20s", workers=2) as gateway, stopped(gateway.workers[0]):
        until(lambda: not ready(gateway))
        done = ogw("status", "--run-dir", gateway.run_dir)
        assert done.returncode == 1 and "a worker does not answer" in done.stdout.splitlines()[0]
        status, _headers, page = ask(gateway, "/")
        assert status == 200 and b"Serving in part: a worker does not answer" in page
