"""An upgrade: a successor takes over, and no client notices."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from harness.admin import ask, asked, metrics
from harness.commands import ogw
from harness.gateway import ALLOW, ROOT, address, apart, read_exactly, read_head
from harness.handover import Upgraded, is_alive, program, systemd
from harness.load import Load
from harness.peers import peer, root
from harness.waiting import until

LONG = bool(os.environ.get("OGW_TEST_LONG"))


def exchange(sock, data=b"x"):
    sock.sendall(data)
    assert read_exactly(sock, len(data)) == data


class Steady:
    """A client that opens `rate` tunnels a second, whatever becomes of them: what was refused, and what was lost."""

    def __init__(self, gateway, target, rate=100):
        self._place, self._target, self._rate = (gateway.address, 8080), target, rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._threads = []
        self.done, self.failed = 0, []

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._stop.set()
        self._thread.join(60)
        for thread in self._threads:
            thread.join(60)

    def _run(self):
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due += 1 / self._rate
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            self._threads.append(threading.Thread(target=self._tunnel, daemon=True))
            self._threads[-1].start()

    def _tunnel(self):
        try:
            with socket.create_connection(self._place, timeout=30) as sock:
                sock.sendall(f"CONNECT {self._target} HTTP/1.1\r\n\r\n".encode())
                head = read_head(sock)
                assert head.startswith(b"HTTP/1.1 200 "), head
                exchange(sock, b"some bytes")
        except (OSError, AssertionError) as error:
            self.failed.append(repr(error))
        else:
            self.done += 1


@pytest.mark.parametrize(("before", "after"), [(2, 2), (1, 3), (3, 1)], ids=["same", "more", "fewer"])
def test_a_client_that_opens_a_hundred_tunnels_a_second_and_holds_fifty_loses_none(upstream, tmp_path, before, after):
    """Three upgrades, one after another; the number of workers changes with the first."""
    ini = tmp_path / "ogw.ini"
    write = "[ogw]\nallowed-host = 127.0.0.0/8\nallowed-target-network = 127.0.0.0/8\nworkers = {}\n".format
    ini.write_text(write(before))
    with Upgraded("--config", str(ini), workers=None) as gateway:
        held = [gateway.tunnel(upstream.target) for _turn in range(50)]
        with Steady(gateway, upstream.target) as steady:
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


@pytest.mark.skipif(not LONG, reason="it takes all that the machine has")
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
            successor = _started(gateway)
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


def test_tunnels_of_the_predecessor_are_listed_found_and_killed(upstream):
    with Upgraded(*ALLOW, workers=2) as gateway:
        old = gateway.tunnel(upstream.target)
        gateway.upgrade()
        new = gateway.tunnel(upstream.target)
        listed = asked(gateway, "/tunnels")
        assert "drains since the upgrade" in ogw("top", "--count", "1", "--run-dir", gateway.run_dir).stdout
        assert listed["total"] == 2 and listed["workers_missing"] == 0
        first, second = (one["tunnel"] for one in listed["tunnels"])
        assert first.partition("-")[0] != second.partition("-")[0]
        assert asked(gateway, f"/tunnel?id={first}")["open"]["target"] == upstream.target
        assert asked(gateway, "/status")["top_clients"] == [{"client": "127.0.0.1", "tunnels": 2}]
        assert ogw("tunnel", "kill", first, "--run-dir", gateway.run_dir).returncode == 0
        assert old.recv(1) == b""
        old.close()
        assert gateway.closed(tunnel=first)["reason"] == "killed"
        exchange(new)
        gateway.wait_for_end_of(gateway.pids[0])
        new.close()


def test_limits_cover_both(upstream):
    flags = "--max-tunnels", "6", "--max-tunnels-per-client", "4"
    with Upgraded(*ALLOW, *flags, workers=2) as gateway:
        socks = [gateway.tunnel(upstream.target) for _turn in range(3)]
        gateway.upgrade()
        socks.append(gateway.tunnel(upstream.target))
        refused, head = gateway.ask(upstream.target)
        refused.close()
        assert b": too-many-tunnels-for-client\r\n" in head
        for place in ("127.0.0.2", "127.0.0.3"):
            socks.append(socket.create_connection((gateway.address, 8080), source_address=(place, 0)))
            socks[-1].sendall(f"CONNECT {upstream.target} HTTP/1.1\r\n\r\n".encode())
            assert b" 200 " in read_head(socks[-1])
        with socket.create_connection((gateway.address, 8080), source_address=("127.0.0.4", 0)) as sock:
            sock.sendall(f"CONNECT {upstream.target} HTTP/1.1\r\n\r\n".encode())
            assert b": too-many-tunnels\r\n" in read_head(sock)
        assert asked(gateway, "/status")["counters"]["clients"] == 3
        for sock in socks:
            sock.close()
        until(lambda: len(gateway.events(108)) == 6)
        gateway.tunnel(upstream.target).close()


def test_counters_and_the_start_go_on(upstream):
    with Upgraded(*ALLOW) as gateway:
        for _turn in range(5):
            gateway.tunnel(upstream.target).close()
        until(lambda: len(gateway.events(108)) == 5)
        before = asked(gateway, "/status")
        for turn in range(1, 3):
            gateway.upgrade()
            gateway.wait_for_end_of(gateway.pids[-2])
            gateway.tunnel(upstream.target).close()
            until(lambda enough=5 + turn: len(gateway.events(108)) == enough)
        after = asked(gateway, "/status")
        assert (before["counters"]["allowed"], after["counters"]["allowed"]) == (5, 7)
        assert after["counters"]["closed"] == 7 and after["started"] == before["started"]
        assert metrics(gateway)['ogw_requests_total{decision="allowed",reason="allowed"}'] == 7


def test_a_stop_ends_both_and_waits_for_both(upstream):
    with Upgraded(*ALLOW, "--drain-timeout", "1s") as gateway:
        old = gateway.tunnel(upstream.target)
        gateway.upgrade()
        new = gateway.tunnel(upstream.target)
        gateway.send(signal.SIGTERM)
        assert gateway.wait_for(event=110)["count"] == 2
        assert old.recv(1) == new.recv(1) == b""
        old.close()
        new.close()
        until(lambda: not is_alive(gateway.pid))
        assert not is_alive(gateway.pids[0]), "who was stopped is to end last"
        assert gateway.wait_for(event=102)["count"] == 2
        assert len([line for line in gateway.events(108) if line["reason"] == "drained"]) == 2


def test_a_stop_of_the_whole_group_gives_the_predecessors_tunnels_their_time(upstream):
    with Upgraded(*ALLOW, "--drain-timeout", "30s") as gateway, gateway.tunnel(upstream.target) as sock:
        gateway.upgrade()
        os.killpg(gateway.pids[0], signal.SIGTERM)
        gateway.wait_for(event=110)
        exchange(sock)
        sock.close()
        until(lambda: not is_alive(gateway.pid))
        assert gateway.wait_for(event=102)["count"] == 0


def test_a_second_stop_ends_what_both_have_at_once(upstream):
    with Upgraded(*ALLOW, "--drain-timeout", "1h") as gateway, gateway.tunnel(upstream.target) as sock:
        gateway.upgrade()
        gateway.send(signal.SIGTERM)
        gateway.wait_for(event=110)
        exchange(sock)
        gateway.send(signal.SIGTERM)
        assert sock.recv(1) == b""
        until(lambda: not is_alive(gateway.pid))


def test_a_reload_is_for_both(upstream, tmp_path):
    ini = tmp_path / "ogw.ini"
    write = "[ogw]\nallowed-host = {}\nallowed-target-network = 127.0.0.0/8\nreload-rechecks-tunnels = yes\n".format
    ini.write_text(write("127.0.0.0/8"))
    with Upgraded("--config", str(ini)) as gateway, gateway.tunnel(upstream.target) as old:
        gateway.upgrade()
        with gateway.tunnel(upstream.target) as new:
            exchange(old)
            ini.write_text(write("192.0.2.1"))
            gateway.send(signal.SIGHUP)
            assert old.recv(1) == new.recv(1) == b""
            until(lambda: len([one for one in gateway.events(108) if one["reason"] == "not-allowed-after-reload"]) == 2)


def test_the_time_of_the_predecessors_tunnels_ends(upstream):
    with Upgraded(*ALLOW, "--upgrade-drain-timeout", "300ms") as gateway, gateway.tunnel(upstream.target) as sock:
        gateway.upgrade()
        assert sock.recv(1) == b""
        assert gateway.closed()["reason"] == "drained"
        gateway.wait_for_end_of(gateway.pids[0])


def test_a_client_that_is_slow_to_say_its_head_is_served_by_the_predecessor(upstream):
    with Upgraded(*ALLOW, "--head-timeout", "60s") as gateway, gateway.connect() as sock:
        until(lambda: asked(gateway, "/status")["counters"]["tunnels"] == 1 or sock.send(b"") or sock.send(b"C"))
        gateway.upgrade()
        sock.sendall(f"ONNECT {upstream.target} HTTP/1.1\r\n\r\n".encode())
        assert read_head(sock).startswith(b"HTTP/1.1 200 ")
        exchange(sock)


def test_a_third_is_refused_until_what_the_first_has_left_is_over_or_is_ended(upstream):
    with Upgraded(*ALLOW) as gateway, gateway.tunnel(upstream.target) as sock:
        gateway.upgrade()
        done = ogw("upgrade", "--run-dir", gateway.run_dir)
        assert done.returncode == 1 and f"process {gateway.pids[0]}) still drains" in done.stderr, done
        assert "nothing was upgraded" in done.stderr and "ogw upgrade --now" in done.stderr
        gateway.send(signal.SIGUSR2)
        assert "still drains" in gateway.failed(2)
        exchange(sock)
        assert ogw("upgrade", "--now", "--run-dir", gateway.run_dir).returncode == 0
        gateway.follow()
        assert sock.recv(1) == b""
        gateway.tunnel(upstream.target).close()


def test_a_predecessor_that_hangs_is_killed_where_it_is_to_end(upstream):
    code = "from ogw.service.handover import succession as s\ns.END_NOW_SECONDS = 1.0"
    with Upgraded(*ALLOW, program=program(code)) as gateway, gateway.tunnel(upstream.target):
        gateway.upgrade()
        os.kill(gateway.pids[0], signal.SIGSTOP)
        status = asked(gateway, "/status")
        assert status["state"] == "serving" and status["workers_missing"] == 1
        assert ogw("upgrade", "--now", "--run-dir", gateway.run_dir).returncode == 0
        gateway.follow()
        gateway.tunnel(upstream.target).close()


def test_two_at_once_are_one(upstream):
    with Upgraded(*ALLOW, program=program("if SUCCESSOR: import time; time.sleep(1)")) as gateway:
        gateway.send(signal.SIGUSR2)
        gateway.wait_for(
            event=100, message=f"an upgrade begins: process {_started(gateway)} is started as the successor"
        )
        done = ogw("upgrade", "--run-dir", gateway.run_dir)
        assert done.returncode == 1 and "an upgrade is under way already" in done.stderr
        gateway.follow()
        gateway.tunnel(upstream.target).close()


def _started(gateway):
    """The process id of the successor that the log tells of first."""

    def told():
        return [line["message"] for line in gateway.events(100) if line["message"].startswith("an upgrade begins")]

    return int(until(told)[0].split()[4])


def test_a_signal_to_the_whole_group_is_one_upgrade_and_no_worker_minds(upstream):
    with Upgraded(*ALLOW, workers=2) as gateway, gateway.tunnel(upstream.target) as sock:
        os.killpg(gateway.pid, signal.SIGUSR2)
        gateway.follow()
        exchange(sock)
        os.killpg(gateway.pids[0], signal.SIGHUP)
        until(lambda: gateway.events(109))
        exchange(sock)
        assert not gateway.events(405) and len(gateway.events(113)) == 1


def test_process_1_of_a_container_refuses_with_advice(tmp_path):
    root()
    words = [sys.executable, "-m", "ogw", "run", *ALLOW, "--listen-address", address(), *apart(tmp_path)]
    with subprocess.Popen(
        [peer("unshare"), "--pid", "--fork", "--kill-child", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as unshare:
        assert json.loads(unshare.stdout.readline())["event"] == 101
        done = ogw("upgrade", "--run-dir", tmp_path)
        assert done.returncode == 1 and "process 1 of a container" in done.stderr and "upgrade.md" in done.stderr
        refused = next(line for line in map(json.loads, unshare.stdout) if line["event"] != 100)
        assert refused["event"] == 406 and "start a container of the new version beside it" in refused["message"]
        assert ogw("status", "--run-dir", tmp_path).returncode == 0
        assert ogw("drain", "--run-dir", tmp_path).returncode == 0
        assert unshare.wait(60) == 0


def test_who_was_started_by_the_init_of_a_container_refuses_with_advice(tmp_path):
    root()
    init = tmp_path / "tini"
    shutil.copy(peer("sh"), init)
    words = [sys.executable, "-m", "ogw", "run", *ALLOW, "--listen-address", address(), *apart(tmp_path)]
    inside = [peer("unshare"), "--pid", "--fork", "--kill-child", "--mount-proc", init, "-c", '"$@"; exit $?', "tini"]
    with subprocess.Popen([*inside, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True) as unshare:
        assert json.loads(unshare.stdout.readline())["event"] == 101
        done = ogw("upgrade", "--run-dir", tmp_path)
        assert done.returncode == 1 and "tini, process 1 of this container, ends it" in done.stderr, done
        assert ogw("drain", "--run-dir", tmp_path).returncode == 0
        assert unshare.wait(60) == 0


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


def test_a_unit_that_cannot_follow_is_refused_with_advice(upstream):
    """systemd would take the end of the predecessor for that of the service."""
    with Upgraded(*ALLOW, program=program("os.environ['SYSTEMD_EXEC_PID'] = str(os.getpid())")) as gateway:
        gateway.send(signal.SIGUSR2)
        assert "its unit needs Type=notify" in gateway.failed()
        gateway.tunnel(upstream.target).close()


def test_one_that_drains_refuses(upstream):
    with Upgraded(*ALLOW, "--drain-timeout", "30s") as gateway, gateway.tunnel(upstream.target) as sock:
        gateway.send(signal.SIGTERM)
        gateway.wait_for(event=110)
        done = ogw("upgrade", "--run-dir", gateway.run_dir)
        assert done.returncode == 1 and "the gateway is draining" in done.stderr
        exchange(sock)


def test_a_stop_while_the_successor_starts_is_a_stop(upstream):
    with Upgraded(*ALLOW, program=program("if SUCCESSOR: import time; time.sleep(1000)")) as gateway:
        gateway.send(signal.SIGUSR2)
        successor = _started(gateway)
        assert gateway.stop() == 0
        assert "the gateway was told to stop" in gateway.failed()
        until(lambda: not is_alive(successor))


def test_a_reload_that_is_wished_for_meanwhile_is_made_by_the_successor(upstream, tmp_path):
    ini = tmp_path / "ogw.ini"
    write = "[ogw]\nallowed-host = {}\nallowed-target-network = 127.0.0.0/8\n".format
    ini.write_text(write("127.0.0.0/8"))
    slow = "import ogw.service.start as s, time\nrun = s.run\n"
    slow += "s.run = lambda *given: (time.sleep(1 if SUCCESSOR else 0), run(*given))[1]"
    with Upgraded("--config", str(ini), program=program(slow)) as gateway:
        gateway.send(signal.SIGUSR2)
        _started(gateway)
        ini.write_text(write("192.0.2.1"))
        gateway.send(signal.SIGHUP)
        gateway.follow()
        gateway.wait_for(event=109)
        refused, head = gateway.ask(upstream.target)
        refused.close()
        assert b"host-not-allowed" in head


def test_a_successor_that_counts_otherwise_says_so_and_serves(upstream):
    code = "import ogw.report.table as t\nif SUCCESSOR: t.FORM = 2"
    with Upgraded(*ALLOW, program=program(code)) as gateway, gateway.tunnel(upstream.target) as sock:
        gateway.upgrade()
        assert any("limits and counters are for each of both" in line["message"] for line in gateway.events(100))
        status = asked(gateway, "/status")
        assert status["counters"]["tunnels"] == 0 and status["predecessor"]["tunnels"] is None
        assert asked(gateway, "/tunnels")["total"] == 1
        assert "with its tunnels" in ogw("status", "--run-dir", gateway.run_dir).stdout
        exchange(sock)


def test_a_predecessor_that_does_not_know_a_question_or_a_setting_is_left_alone(upstream, tmp_path):
    """Of an older version: the new one asks what it cannot answer, and writes settings that it cannot read."""
    ini = tmp_path / "ogw.ini"
    write = "[ogw]\nallowed-host = {}\nallowed-target-network = 127.0.0.0/8\n".format
    ini.write_text(write("127.0.0.0/8"))
    code = (
        "import ogw.service.messages as m, ogw.service.handover.retirement as r\n"
        "def unknown(fields): raise ValueError\n"
        "r.question_of = unknown\n"
        "import ogw.cli.run as c\nload = c.load\n"
        "def older(flags, environment, before=None):\n"
        " made = load(flags, environment, before)\n"
        " if not SUCCESSOR: raise c.ConfigError(['ogw.ini:9: no such setting'])\n"
        " return made\n"
        "from ogw.settings.loader import ConfigError\nc.ConfigError = ConfigError\n"
        "c.load = older"
    )
    with Upgraded("--config", str(ini), program=program(code)) as gateway, gateway.tunnel(upstream.target) as sock:
        gateway.upgrade()
        assert asked(gateway, "/tunnels")["workers_missing"] == 1
        gateway.send(signal.SIGHUP)
        gateway.wait_for(event=109)
        until(lambda: any("cannot read the new configuration" in line["message"] for line in gateway.events(401)))
        exchange(sock)
        assert asked(gateway, "/status")["state"] == "serving"


def test_a_successor_that_is_killed_leaves_the_predecessors_tunnels_their_time(upstream):
    """Without a service manager nobody serves then; who stops the predecessor is heard again."""
    with Upgraded(*ALLOW, "--drain-timeout", "300ms") as gateway, gateway.tunnel(upstream.target) as sock:
        gateway.upgrade()
        gateway.send(signal.SIGKILL)
        message = f"the successor (process {gateway.pid}) has ended; tunnels that are open here have their time"
        gateway.wait_for(event=100, message=message)
        exchange(sock)
        os.kill(gateway.pids[0], signal.SIGTERM)
        assert sock.recv(1) == b""
        until(lambda: not is_alive(gateway.pids[0]))


@pytest.mark.skipif(not LONG, reason="it takes as long as orphans may")
def test_a_predecessor_that_is_killed_leaves_nothing_behind(upstream):
    with Upgraded(*ALLOW, "--max-tunnels", "4") as gateway:
        socks = [gateway.tunnel(upstream.target) for _turn in range(3)]
        orphans = gateway.workers
        gateway.upgrade()
        os.kill(gateway.pids[0], signal.SIGKILL)
        for worker in orphans:
            os.kill(worker, signal.SIGKILL)
        gateway.wait_for(
            event=100, message=f"the predecessor (process {gateway.pids[0]}) was killed, and its tunnels end"
        )
        until(lambda: asked(gateway, "/status")["counters"]["tunnels"] == 0)
        for sock in (*socks, *[gateway.tunnel(upstream.target) for _turn in range(4)]):
            sock.close()
        gateway.upgrade()


# A successor that fails: the running gateway is as it was, with an event, and an exit code for who asked.


FAILURES = {
    "dies": ("if SUCCESSOR: os._exit(3)", "it ended before it served"),
    "cannot be imported": ("if SUCCESSOR: sys.modules['gevent'] = None", "it ended before it served"),
    "is killed by a signal": ("if SUCCESSOR: os.kill(os.getpid(), 9)", "it ended before it served"),
    "has workers that die": (
        "import ogw.service.worker as w\nif SUCCESSOR: w.Worker.serve = lambda self: os._exit(3)",
        "times before they were ready",
    ),
    "has workers that die when they open": (
        "import ogw.service.worker as w\nif SUCCESSOR: w.Worker._open_door = lambda self: os._exit(3)",
        "times before they were ready",
    ),
    "hangs at its start": ("if SUCCESSOR: import time; time.sleep(1000)", "it did not become ready within 2 s"),
    "hangs before it serves": (
        "from ogw.service.handover import succession as s\nif SUCCESSOR: s.Succession._open = lambda self: None",
        "it did not serve within 2 s",
    ),
    "is stopped": ("import signal\nif SUCCESSOR: os.kill(os.getpid(), signal.SIGSTOP)", "it did not become ready"),
    "has another protocol": (
        "from ogw.service.handover import predecessor as p\nif SUCCESSOR: p.PROTOCOL = 2",
        "hands over by protocol 1, ogw 0.1.0 knows 2",
    ),
    "has no protocol": ("os.environ.pop('_OGW_PREDECESSOR', None)", "it ended before it served"),
    "talks nonsense": (
        "if SUCCESSOR: os.write(int(os.environ['_OGW_PREDECESSOR']), b'\\0\\0\\0\\x02{]')\n"
        "if SUCCESSOR: import signal; signal.pause()",
        "it ended before it served",
    ),
    "says that it is somebody else": (
        "from ogw.service.handover import succession as s\nif SUCCESSOR: s.os.getpid = lambda: 7",
        "it says that it is process 7",
    ),
}
QUICK = "from ogw.service.handover import successor as q\nq.{} = 2.0\n"


@pytest.mark.parametrize("name", FAILURES)
def test_a_successor_that_fails_changes_nothing(upstream, name):
    code, why = FAILURES[name]
    quick = QUICK.format("GO_SECONDS" if "serve within" in why else "READY_SECONDS") if "did not" in why else ""
    with Upgraded(*ALLOW, program=program(quick + code), workers=2) as gateway:
        held = gateway.tunnel(upstream.target)
        children = gateway.children
        with Load(gateway, upstream.target, threads=2) as load:
            load.wait_for(5)
            done = ogw("upgrade", "--run-dir", gateway.run_dir)
            load.wait_for(20)
        assert load.broken == []
        assert done.returncode == 1 and why in done.stderr and "the running gateway goes on as before" in done.stderr
        assert why in gateway.failed()
        exchange(held)
        assert gateway.children == children and not gateway.events(113)
        status = asked(gateway, "/status")
        assert status["state"] == "serving" and status["predecessor"] is None
        until(lambda: not is_alive(_started(gateway)))
        held.close()
        assert gateway.stop() == 0


def test_a_wrong_configuration_changes_nothing_and_a_right_one_is_taken_then(upstream, tmp_path):
    ini = tmp_path / "ogw.ini"
    good = "[ogw]\nallowed-host = 127.0.0.0/8\nallowed-target-network = 127.0.0.0/8\n"
    ini.write_text(good)
    with Upgraded("--config", str(ini)) as gateway, gateway.tunnel(upstream.target) as sock:
        ini.write_text(good + "idle-timeout = soon\n")
        done = ogw("upgrade", "--run-dir", gateway.run_dir)
        assert done.returncode == 1 and f"wrong configuration: {ini}:4: idle-timeout: 'soon'" in done.stderr
        assert any("idle-timeout" in line["message"] for line in gateway.events(401))
        exchange(sock)
        gateway.tunnel(upstream.target).close()
        ini.write_text(good)
        gateway.upgrade()
        exchange(sock)


def test_a_program_that_is_gone_changes_nothing(upstream, tmp_path):
    own = tmp_path / "ogw"
    own.write_text(f"#!{sys.executable}\nimport sys\nfrom ogw.cli.main import main\nsys.exit(main())\n")
    own.chmod(0o755)
    with Upgraded(*ALLOW, program=[own, "run"], environment={"PYTHONPATH": str(ROOT)}) as gateway:
        own.rename(tmp_path / "elsewhere")
        gateway.send(signal.SIGUSR2)
        assert "it ended before it served" in gateway.failed()
        gateway.tunnel(upstream.target).close()
        # What is there now is what is started, by the interpreter that it names itself.
        told = "import sys, ogw\nogw.__version__ = '9.9.9'\nfrom ogw.cli.main import main\nsys.exit(main())\n"
        own.write_text(f"#!{sys.executable} -s\n{told}")
        own.chmod(0o755)
        assert gateway.upgrade()["version"] == "9.9.9"
        assert (
            pathlib.Path(f"/proc/{gateway.pid}/cmdline").read_text().startswith(f"{sys.executable}\0-s\0{own}\0run\0")
        )
