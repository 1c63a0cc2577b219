"""An upgrade: a successor takes over, and no client notices."""

import contextlib
import json
import os
import pathlib
import shlex
import signal
import socket
import threading

import pytest
from harness.admin import ask, asked, asking, metrics
from harness.clients import Steady
from harness.commands import ogw
from harness.gateway import ALLOW
from harness.handover import Upgraded, exchange, is_alive, program, systemd, talk
from harness.load import Load
from harness.waiting import until


@pytest.mark.parametrize(("before", "after"), [(2, 2), (1, 3), (3, 1)], ids=["same", "more", "fewer"])
def test_a_client_that_opens_a_hundred_tunnels_a_second_and_holds_fifty_loses_none(upstream, tmp_path, before, after):
    """Three upgrades, one after another; the number of workers changes with the first."""
    ini = tmp_path / "ogw.ini"
    write = "[ogw]\nallowed-host = 127.0.0.0/8\nallowed-target-network = 127.0.0.0/8\nworkers = {}\n".format
    ini.write_text(write(before))
    with Upgraded("--config", str(ini), workers=None) as gateway:
        held = [gateway.tunnel(upstream.target) for _turn in range(50)]
        with Steady(lambda: talk(gateway, upstream.target)) as steady:
            until(lambda: steady.done > 50)
            ini.write_text(write(after))
            for turn in range(3):
                assert gateway.upgrade()["count"] >= (50 if not turn else 0)
                assert len(gateway.workers) == after
                for sock in held:
                    exchange(sock)
                until(lambda enough=steady.done + 50: steady.done > enough)
                if not turn:
                    for sock in held:
                        sock.close()
                    held = []
                gateway.wait_for_end_of(gateway.pids[-2])
        assert steady.failed == [] and steady.done > 200
        assert gateway.stop() == 0
        assert not gateway.events(405) and not gateway.events(406)
    assert {line["reason"] for line in gateway.events(108)} <= {"client-closed", "upstream-closed"}


@pytest.mark.long  # it takes all that the machine has
def test_a_load_that_takes_all_that_the_machine_has_loses_none(upstream, tmp_path):
    ini = tmp_path / "ogw.ini"
    write = "[ogw]\nallowed-host = 127.0.0.0/8\nallowed-target-network = 127.0.0.0/8\nworkers = {}\n".format
    ini.write_text(write(2))
    with Upgraded("--config", str(ini), workers=None, forgets=(108,)) as gateway:
        with Load(gateway, upstream.target, threads=40, turns=1) as load:
            for workers in (2, 4, 3, 1, 2):
                ini.write_text(write(workers))
                gateway.upgrade()
                load.wait_for(500)
                gateway.wait_for_end_of(gateway.pids[-2])
        assert load.broken == []


def test_systemd_is_told_whom_to_watch_and_hears_the_predecessor_no_more(upstream, tmp_path):
    with systemd(tmp_path) as (path, heard):
        environment = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000"}
        with Upgraded(*ALLOW, environment=environment) as gateway, gateway.tunnel(upstream.target) as sock:
            until(lambda: "READY=1" in heard)
            gateway.upgrade()
            old, new = gateway.pids
            until(lambda: heard.count(f"MAINPID={new}") >= 2)  # the predecessor's word, and the successor's own
            said = heard[heard.index(f"MAINPID={new}") :]
            until(lambda: "WATCHDOG=1" in heard[-3:])
            assert "READY=1" in said and f"MAINPID={old}" not in said
            exchange(sock)
            sock.close()
            gateway.wait_for_end_of(old)
            assert gateway.stop() == 0
            assert heard.count("STOPPING=1") == 1


def test_systemd_is_told_whom_to_watch_although_its_queue_is_full(upstream, tmp_path):
    """It would take the end of the predecessor for that of the service."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(20)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        slow = "import ogw.service.handover.retirement as r\nr.MAINPID_SECONDS = 60.0"
        with Upgraded(*ALLOW, environment=environment, program=program(slow)) as gateway:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, contextlib.suppress(BlockingIOError):
                other.setblocking(False)
                while True:
                    other.sendto(b"STATUS=busy", sock.getsockname())
            gateway.send(signal.SIGUSR2)
            successor = gateway.successor()
            until(lambda: _has_admin(successor))  # the predecessor has heard that it serves
            while f"MAINPID={successor}" not in sock.recv(65536).decode().split("\n"):
                pass
            gateway.follow()


def _has_admin(pid):
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return any(pathlib.Path(f"/proc/{one}/cmdline").read_bytes().startswith(b"ogw: admin") for one in children)


def test_the_command_upgrades_and_tells_of_the_tunnels_that_stay(upstream):
    with Upgraded(*ALLOW, workers=2) as gateway, gateway.tunnel(upstream.target) as sock:
        done = ogw("upgrade", "--run-dir", gateway.run_dir)
        gateway.follow()
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"upgraded: ogw 0.1.0 serves (process {gateway.pid})\n1 tunnel stays"), (
            done.stdout
        )
        exchange(sock)
        status = asked(gateway, "/status")
        assert status["state"] == "serving" and status["counters"]["tunnels"] == 1
        before = status["predecessor"]
        assert (before["pid"], before["tunnels"]) == (gateway.pids[0], 1) and 43_000 < before["seconds"] <= 43_200
        shown = ogw("status", "--run-dir", gateway.run_dir).stdout
        assert f"process {gateway.pids[0]} drains since the upgrade" in shown
        assert metrics(gateway)["ogw_predecessor_tunnels"] == metrics(gateway)["ogw_tunnels_active"] == 1
        assert f"Process {gateway.pids[0]} drains since the upgrade" in ask(gateway, "/")[2].decode()
        sock.close()
        gateway.wait_for_end_of(gateway.pids[0])
        assert asked(gateway, "/status")["predecessor"] is None
        assert ask(gateway, "/readyz")[0] == 200


def test_where_run_dir_changes_the_advice_names_the_new_one(upstream, tmp_path):
    ini, first, second = (tmp_path / name for name in ("ogw.ini", "first", "second one"))
    write = "[ogw]\nallowed-host = 127.0.0.0/8\nallowed-target-network = 127.0.0.0/8\nrun-dir = {}\n".format
    ini.write_text(write(first))
    with Upgraded("--config", str(ini), leaves=("run-dir",)) as gateway, gateway.tunnel(upstream.target):
        ini.write_text(write(second))
        done = ogw("upgrade", "--run-dir", first)
        gateway.follow()
        advice = done.stdout.partition("`")[2].partition("`")[0]
        assert advice == f"ogw tunnels --config {ini} --run-dir '{second}'", done
        until(lambda: upstream.target in ogw(*shlex.split(advice)[1:]).stdout)


@pytest.mark.parametrize("what", ["the socket", "the folder", "what is another file now"])
def test_a_socket_that_was_removed_is_there_again_after_an_upgrade(tmp_path, what):
    folder = tmp_path / "run"
    with Upgraded(*ALLOW, "--run-dir", str(folder)) as gateway:
        gateway.run_dir = folder
        (folder / "admin.sock").unlink()
        if what == "the folder":
            folder.rmdir()
        elif what == "what is another file now":
            (folder / "admin.sock").touch()
        gateway.upgrade()
        until(lambda: ogw("ready", "--run-dir", folder).returncode == 0)
        assert gateway.stop() == 0
        assert not (folder / "admin.sock").exists()


def test_a_signal_to_the_whole_group_is_one_upgrade_and_no_worker_minds(upstream):
    with Upgraded(*ALLOW, workers=2) as gateway, gateway.tunnel(upstream.target) as sock:
        os.killpg(gateway.pid, signal.SIGUSR2)
        gateway.follow()
        exchange(sock)
        os.killpg(gateway.pids[0], signal.SIGHUP)
        until(lambda: gateway.events(109))
        exchange(sock)
        assert not gateway.events(405) and len(gateway.events(113)) == 1


def test_many_upgrades_leave_no_descriptor_behind(upstream):
    with Upgraded(*ALLOW, workers=2) as gateway:
        held = []
        for _turn in range(4):
            gateway.upgrade()
            gateway.wait_for_end_of(gateway.pids[-2])
            gateway.tunnel(upstream.target).close()
            until(lambda: asked(gateway, "/status")["counters"]["tunnels"] == 0)
            held.append([len(os.listdir(f"/proc/{pid}/fd")) for pid in (gateway.pid, *sorted(gateway.workers))])
        assert held[1:] == [held[1]] * 3, held


def test_a_stop_while_the_successor_starts_is_a_stop(upstream):
    with Upgraded(*ALLOW, program=program("if SUCCESSOR: import time; time.sleep(1000)")) as gateway:
        gateway.send(signal.SIGUSR2)
        successor = gateway.successor()
        assert gateway.stop() == 0
        assert "the gateway was told to stop" in gateway.failed()
        until(lambda: not is_alive(successor))


SLOW = """
import ogw.service.start as s, time
run = s.run
s.run = lambda *given: (time.sleep(1 if SUCCESSOR else 0), run(*given))[1]
"""


def test_a_reload_that_is_wished_for_meanwhile_is_made_by_the_successor(upstream, tmp_path):
    ini = tmp_path / "ogw.ini"
    write = "[ogw]\nallowed-host = {}\nallowed-target-network = 127.0.0.0/8\n".format
    ini.write_text(write("127.0.0.0/8"))
    with Upgraded("--config", str(ini), program=program(SLOW)) as gateway:
        gateway.send(signal.SIGUSR2)
        gateway.successor()
        ini.write_text(write("192.0.2.1"))
        gateway.send(signal.SIGHUP)
        gateway.follow()
        gateway.wait_for(event=109)
        refused, head = gateway.ask(upstream.target)
        refused.close()
        assert b"host-not-allowed" in head


def test_what_an_admin_process_that_died_had_asked_is_not_answered_to_the_next_one(tmp_path):
    """Of each it is the first question, and both wait for a successor, which goes on once the flag is there."""
    flag = tmp_path / "goes on"
    waits = f"import time\nwhile SUCCESSOR and not os.path.exists({str(flag)!r}): time.sleep(0.01)"
    with Upgraded(*ALLOW, program=program(waits)) as gateway:
        with asking(gateway, "/upgrade?now=0"):
            gateway.successor()
            first = gateway.admin
            os.kill(first, signal.SIGKILL)
            until(lambda: gateway.admin not in (0, first))
        with asking(gateway, "/reload") as answer:
            asked(gateway, "/config")  # an answer of the supervisor, which has heard the other question by then
            flag.touch()
            gateway.follow()
            _status, _headers, body = answer()
            assert body[:1] == b"{" and "mistakes" in json.loads(body), gateway.events(400)


DIES = """
import ogw.service.worker as w
serve = w.Worker.serve
w.Worker.serve = lambda self: os._exit(3) if not SUCCESSOR and os.path.exists({flag!r}) else serve(self)
"""


def test_a_worker_that_is_away_at_an_upgrade_is_there_again_with_its_clients(upstream, tmp_path):
    """Its queue is closed while it is away, but not once it was handed over; each question makes a turn in which to."""
    flag = tmp_path / "dies"
    with Upgraded(*ALLOW, program=program(DIES.format(flag=str(flag))), workers=2) as gateway:
        flag.touch()
        os.kill(gateway.workers[0], signal.SIGKILL)
        until(lambda: listening(gateway.address) == 1)
        over = threading.Event()

        def poll():
            while not over.is_set():
                with contextlib.suppress(OSError, ValueError):
                    asked(gateway, "/tunnels")

        pollers = [threading.Thread(target=poll) for _turn in range(6)]
        for poller in pollers:
            poller.start()
        try:
            gateway.upgrade()
        finally:
            over.set()
            for poller in pollers:
                poller.join()
        gateway.wait_for_end_of(gateway.pids[0])
        assert listening(gateway.address) == 2
        for _turn in range(20):
            talk(gateway, upstream.target)


def listening(address, port=8080):
    """How many sockets listen there."""
    place = f"{int.from_bytes(socket.inet_aton(address), 'little'):08X}:{port:04X}"
    rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()]
    return sum(row[1] == place and row[3] == "0A" for row in rows)
