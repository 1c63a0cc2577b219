"""Processes: workers that die and are replaced, reloads, signals, drains; all of it under a running load."""

import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys

from harness.admin import ask, asked
from harness.gateway import ALLOW, ROOT, Gateway, address, apart, read_all, read_exactly
from harness.load import Load
from harness.upstreams import Server, echo
from harness.waiting import until

LONG = bool(os.environ.get("OGW_TEST_LONG"))


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


# Start.


def test_workers_share_the_door_and_the_supervisor_has_neither_hub_nor_thread(upstream):
    with Gateway(*ALLOW, workers=2) as gateway:
        assert gateway.wait_for(event=101)["workers"] == 2
        assert len(os.listdir(f"/proc/{gateway.pid}/task")) == 1
        assert not any("eventpoll" in os.readlink(link) and _watches_many(link) for link in _links(gateway.pid))
        for _turn in range(60):
            with gateway.tunnel(upstream.target) as sock:
                sock.sendall(b"x")
                assert read_exactly(sock, 1) == b"x"
        until(lambda: len(gateway.events(108)) == 60)
        assert len({line["process"] for line in gateway.events(108)}) == 2


def _links(pid):
    return [f"/proc/{pid}/fd/{number}" for number in os.listdir(f"/proc/{pid}/fd")]


def _watches_many(link):
    """libev watches its own eventfd; the supervisor's selector only the bell and the channels of its children."""
    info = pathlib.Path(link.replace("/fd/", "/fdinfo/")).read_text()
    return info.count("tfd:") > 4


def test_no_gevent_hub_is_made_before_the_fork():
    script = (
        "import sys, threading; from ogw.settings.loader import load; from ogw.service import start, supervisor; "
        "import gevent.hub, gevent._hub_local as local; "
        "made = supervisor.Supervisor(load(sys.argv[1:], {}), None, start.open_log(load(sys.argv[1:], {}), "
        "start.Direct), start.own_program()); print(local.get_hub_if_exists(), threading.active_count())"
    )
    flags = ["--listen-address", address(), "--allowed-host", "a.example", "--workers", "2"]
    done = subprocess.run([sys.executable, "-c", script, *flags], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.stdout.split() == ["None", "1"], done.stderr


def test_a_worker_has_no_descriptor_that_is_not_its_own():
    with Gateway(*ALLOW, workers=3) as gateway:
        listening = [_listening(worker) for worker in gateway.workers]
        assert [len(own) for own in listening] == [1, 1, 1] and len(set.union(*listening)) == 3
        assert len(_listening(gateway.pid)) == 3


def _listening(pid):
    inodes = {
        line.split()[9]
        for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    }
    own = set()
    for link in _links(pid):
        try:
            place = os.readlink(link)
        except OSError:
            continue
        if place.startswith("socket:[") and place[8:-1] in inodes:
            own.add(place)
    return own


def test_workers_that_die_at_once_end_the_gateway_with_a_clear_error():
    script = (
        "import sys; from ogw.service import worker; worker.Worker.serve = lambda self: sys.exit(3); "
        "from ogw.cli.main import main; sys.exit(main(['run', *sys.argv[1:]]))"
    )
    command = [sys.executable, "-c", script, "--listen-address", address(), *ALLOW, "--workers", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "workers died 5 times before they were ready" in done.stderr
    events = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert events.count(405) == 5 and events[-1] == 102


# Death.


def test_a_dead_worker_is_replaced_and_no_other_tunnel_feels_it(upstream):
    chance = random.Random(7)
    with Gateway(*ALLOW, workers=2) as gateway:
        with Load(gateway, upstream.target, threads=10, lasting=4) as load:
            load.wait_for(20)
            for turn in range(10 if LONG else 4):
                victim = chance.choice(gateway.workers)
                before = set(gateway.workers)
                os.kill(victim, signal.SIGKILL)
                until(lambda turn=turn: len(gateway.events(405)) > turn)
                until(lambda before=before: len(gateway.workers) == 2 and set(gateway.workers) != before, 30)
                load.wait_for(10)
        # Each kill breaks what ran through the victim, and nothing else. It may come between an accept and its count.
        deaths = gateway.events(405)
        assert len(load.broken) <= sum(line["count"] for line in deaths) + len(deaths)
        assert len(load.broken) <= len(deaths) * 10 and load.broken
        assert deaths[0]["message"].endswith("it is replaced at once")
        assert gateway.stop() == 0


def test_what_waits_in_a_dead_workers_queue_is_served_by_its_replacement(upstream):
    with Gateway(*ALLOW, workers=1) as gateway:
        (victim,) = gateway.workers
        os.kill(victim, signal.SIGSTOP)
        socks = [gateway.connect() for _turn in range(10)]
        for sock in socks:
            sock.sendall(f"CONNECT {upstream.target} HTTP/1.1\r\n\r\nx".encode())
        os.kill(victim, signal.SIGKILL)
        for sock in socks:
            assert b" 200 " in read_exactly(sock, 39) and read_exactly(sock, 1) == b"x"
            sock.close()


def test_workers_leave_when_the_supervisor_is_killed_and_open_tunnels_have_their_time(upstream):
    with Gateway(*ALLOW, workers=2) as gateway:
        workers = gateway.workers
        with Load(gateway, upstream.target, threads=8, lasting=3) as load:
            load.wait_for(20)
            os.kill(gateway.pid, signal.SIGKILL)
            gateway.process.wait(10)
            until(lambda: _refused(gateway))
            load.wait_for_exchanges(100)  # those that last go on
            assert load.cut == []
            until(lambda: not any(alive(worker) for worker in workers), 30)
        # The short ones finished, and new ones were refused; only what did not end by itself was cut, at the end.
        assert len(load.cut) == 3 and all("Refused" in what or "Reset" in what for what, _open in load.broken)


def _refused(gateway):
    try:
        gateway.connect().close()
    except ConnectionRefusedError:
        return True
    return False


# Reload.


def write(path, hosts="127.0.0.0/8", **more):
    lines = ["[ogw]", f"allowed-host = {hosts}", "allowed-target-network = 127.0.0.0/8"]
    lines += [f"{name.replace('_', '-')} = {value}" for name, value in more.items()]
    fresh = path.with_suffix(".new")
    fresh.write_text("\n".join(lines) + "\n")
    fresh.rename(path)


def test_a_reload_takes_effect_and_drops_no_tunnel(upstream, tmp_path):
    ini = tmp_path / "ogw.ini"
    write(ini, "192.0.2.1")
    with Gateway("--config", str(ini), workers=2) as gateway:
        old = gateway.wait_for(event=101)["policy"]
        sock, head = gateway.ask(upstream.target)
        sock.close()
        assert b"host-not-allowed" in head
        write(ini, listen_port=8081)
        gateway.process.send_signal(signal.SIGHUP)
        line = gateway.wait_for(event=109)
        assert line["old_policy"] == old != line["policy"] and "allowed-host" in line["changed"]
        with gateway.tunnel(upstream.target) as sock:
            sock.sendall(b"x")
            assert read_exactly(sock, 1) == b"x"
            write(ini, "192.0.2.1")
            gateway.process.send_signal(signal.SIGHUP)
            until(lambda: len(gateway.events(109)) == 2)
            sock.sendall(b"y")
            assert read_exactly(sock, 1) == b"y"
        _closed, head = gateway.ask(upstream.target)
        _closed.close()
        assert b"host-not-allowed" in head


def test_a_reload_is_told_once_every_worker_has_taken_it(upstream, tmp_path):
    """The worker takes it half a second late here; whoever has read event 109 is judged by the new configuration."""
    ini = tmp_path / "ogw.ini"
    write(ini, "192.0.2.1")
    script = (
        "import sys, gevent; from ogw.service.worker import Worker; take = Worker._take_over; "
        "Worker._take_over = lambda self, recheck: gevent.spawn_later(0.5, take, self, recheck) and None; "
        "from ogw.cli.main import main; sys.exit(main(['run', *sys.argv[1:]]))"
    )
    with Gateway("--config", str(ini), workers=2, program=[sys.executable, "-c", script]) as gateway:
        write(ini)
        gateway.process.send_signal(signal.SIGHUP)
        gateway.wait_for(event=109)
        sock, head = gateway.ask(upstream.target)
        sock.close()
        assert head.startswith(b"HTTP/1.1 200 "), head


def test_a_setting_that_needs_a_restart_is_named(tmp_path):
    ini = tmp_path / "ogw.ini"
    write(ini)
    with Gateway("--config", str(ini), workers=1) as gateway:
        write(ini, log_format="text", syslog="192.0.2.1:514")
        gateway.process.send_signal(signal.SIGHUP)
        gateway.wait_for(event=100, message="log-format changed; that needs a restart of the gateway")
        gateway.wait_for(event=100, message="syslog changed; that needs a restart of the gateway")


def test_who_is_started_after_a_reload_does_not_take_what_needs_a_restart_either(tmp_path):
    ini = tmp_path / "ogw.ini"
    write(ini)
    with Gateway("--config", str(ini), workers=1) as gateway:
        listen, admin = asked(gateway, "/status")["listen"], gateway.admin
        write(ini, listen_address="127.0.0.1:8081")
        gateway.process.send_signal(signal.SIGHUP)
        gateway.wait_for(event=100, message="listen-address changed; that needs a restart of the gateway")
        os.kill(admin, signal.SIGKILL)
        until(lambda: gateway.admin not in (0, admin) and ask(gateway, "/readyz")[0] == 200)
        assert asked(gateway, "/status")["listen"] == listen


def test_a_broken_configuration_changes_nothing_and_every_mistake_is_told(upstream, tmp_path):
    ini = tmp_path / "ogw.ini"
    write(ini)
    with Gateway("--config", str(ini), workers=2) as gateway:
        write(ini, "*", idle_timeout="soon")
        gateway.process.send_signal(signal.SIGHUP)
        until(lambda: len(gateway.events(401)) == 2)
        told = " ".join(line["message"] for line in gateway.events(401))
        assert f"{ini}:2: host rule '*'" in told and f"{ini}:4: idle-timeout: 'soon'" in told
        assert "the running configuration stays" in told and not gateway.events(109)
        gateway.tunnel(upstream.target).close()


def test_many_reloads_under_load_break_nothing(upstream, tmp_path):
    ini = tmp_path / "ogw.ini"
    write(ini)
    turns = 200 if LONG else 20
    with (
        Gateway("--config", str(ini), workers=2) as gateway,
        Load(gateway, upstream.target, threads=8, lasting=2) as load,
    ):
        for turn in range(turns):
            write(ini, "*" if turn % 2 else f"127.0.0.0/8\n    192.0.2.{turn % 250}")
            gateway.process.send_signal(signal.SIGHUP)
            until(lambda turn=turn: len(gateway.events(109)) + len(gateway.events(401)) == turn + 1)
        load.wait_for(20)
        assert load.broken == []
        assert len(gateway.events(401)) == turns // 2 and not gateway.events(405)


def test_open_tunnels_end_where_the_new_policy_would_not_allow_them(upstream, tmp_path):
    ini = tmp_path / "ogw.ini"
    write(ini, reload_rechecks_tunnels="yes")
    with Gateway("--config", str(ini), workers=2) as gateway, Server(echo) as other:
        with gateway.tunnel(upstream.target) as stays, gateway.tunnel(other.target) as ends:
            write(ini, upstream.host, reload_rechecks_tunnels="yes")
            gateway.process.send_signal(signal.SIGHUP)
            assert read_all(ends) == b""
            assert gateway.closed(reason="not-allowed-after-reload")["target"] == other.target
            stays.sendall(b"x")
            assert read_exactly(stays, 1) == b"x"


def test_a_worker_that_hangs_is_replaced_at_a_reload(tmp_path):
    ini = tmp_path / "ogw.ini"
    write(ini)
    script = (
        "import sys; from ogw.service import supervisor; supervisor.ANSWER_SECONDS = 0.5; "
        "from ogw.cli.main import main; sys.exit(main(['run', *sys.argv[1:]]))"
    )
    program = [sys.executable, "-c", script]
    with Gateway("--config", str(ini), workers=2, program=program) as gateway:
        hung = gateway.workers[0]
        os.kill(hung, signal.SIGSTOP)
        gateway.process.send_signal(signal.SIGHUP)
        gateway.wait_for(event=109)
        until(lambda: hung not in gateway.workers and len(gateway.workers) == 2)


# Limits of the whole gateway.


def test_limits_count_the_whole_gateway(upstream):
    with Gateway(*ALLOW, "--max-tunnels", "6", workers=3) as gateway:
        socks = [gateway.tunnel(upstream.target) for _turn in range(6)]
        for _turn in range(10):
            sock, head = gateway.ask(upstream.target)
            sock.close()
            assert b"503 Service Unavailable: too-many-tunnels\r\n" in head
        for sock in socks:
            sock.close()
        until(lambda: len(gateway.events(108)) == 6)
        gateway.tunnel(upstream.target).close()


def test_limits_of_a_client_count_the_whole_gateway_and_survive_a_death(upstream):
    with Gateway(*ALLOW, "--max-tunnels-per-client", "4", workers=2) as gateway:
        socks = [gateway.tunnel(upstream.target) for _turn in range(4)]
        sock, head = gateway.ask(upstream.target)
        sock.close()
        assert b": too-many-tunnels-for-client\r\n" in head
        for worker in gateway.workers:
            os.kill(worker, signal.SIGKILL)
        until(lambda: len(gateway.events(405)) == 2)
        more = [gateway.tunnel(upstream.target) for _turn in range(4)]
        for sock in (*socks, *more):
            sock.close()


# The end.


def test_a_signal_to_the_whole_group_is_one_stop(upstream):
    with Gateway(*ALLOW, "--drain-timeout", "10s", workers=2) as gateway:
        with gateway.tunnel(upstream.target) as sock:
            os.killpg(gateway.pid, signal.SIGINT)
            gateway.wait_for(event=110)
            sock.sendall(b"x")
            assert read_exactly(sock, 1) == b"x"
        assert gateway.process.wait(20) == 0
    assert gateway.wait_for(event=102)["count"] == 0


def test_a_drain_whose_time_runs_out_counts_what_it_cut(upstream):
    with Gateway(*ALLOW, "--drain-timeout", "300ms", workers=2) as gateway:
        socks = [gateway.tunnel(upstream.target) for _turn in range(8)]
        assert gateway.stop() == 0
        assert gateway.wait_for(event=110)["count"] == 8
        assert gateway.wait_for(event=102)["count"] == 8
        assert len([line for line in gateway.events(108) if line["reason"] == "drained"]) == 8
        for sock in socks:
            sock.close()


def test_a_drain_under_load_breaks_no_open_tunnel(upstream):
    with Gateway(*ALLOW, "--drain-delay", "500ms", "--drain-timeout", "20s", workers=2) as gateway:
        with Load(gateway, upstream.target) as load:
            load.wait_for(20)
            gateway.process.send_signal(signal.SIGTERM)
            assert gateway.process.wait(30) == 0
        assert [what for what, is_open in load.broken if is_open] == []
    assert gateway.wait_for(event=102)["count"] == 0


def test_a_drain_whose_time_runs_out_under_load_cuts_only_what_does_not_end(upstream):
    with Gateway(*ALLOW, "--drain-timeout", "1s", workers=2) as gateway:
        with Load(gateway, upstream.target, threads=10, lasting=5) as load:
            load.wait_for(20)
            gateway.process.send_signal(signal.SIGTERM)
            assert gateway.process.wait(30) == 0
        # The short ones finished within the second, so who was cut is known by number, in three places.
        assert gateway.wait_for(event=102)["count"] == 5
    assert len(load.cut) == len([line for line in gateway.events(108) if line["reason"] == "drained"]) == 5


def test_systemd_is_told(upstream, tmp_path):
    path = tmp_path / "notify"
    ini = tmp_path / "ogw.ini"
    write(ini)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.settimeout(20)
        environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "400000"}
        with Gateway("--config", str(ini), environment=environment, workers=1) as gateway:
            said = systemd.recv(1000).decode().split("\n")
            while "READY=1" not in said:
                said = systemd.recv(1000).decode().split("\n")
            assert f"MAINPID={gateway.pid}" in said
            while systemd.recv(1000) != b"WATCHDOG=1":
                pass
            gateway.process.send_signal(signal.SIGHUP)
            seen = []
            while "RELOADING=1" not in seen:
                seen = systemd.recv(1000).decode().split("\n")
            assert seen[1].startswith("MONOTONIC_USEC=")
            while systemd.recv(1000) != b"READY=1":
                pass
            gateway.process.send_signal(signal.SIGTERM)
            while not systemd.recv(1000).startswith(b"STOPPING=1"):
                pass


def test_the_log_file_is_opened_anew_on_sigusr1_too(upstream, tmp_path):
    log, moved = tmp_path / "ogw.log", tmp_path / "ogw.log.1"
    with _logging_to(log) as process:
        until(lambda: log.exists() and '"event": 101' in log.read_text())
        log.rename(moved)
        process.send_signal(signal.SIGUSR1)
        process.send_signal(signal.SIGHUP)
        until(lambda: log.exists() and '"event": 109' in log.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def _logging_to(log):
    words = [*ALLOW, *apart(log.parent), "--listen-address", address(), "--log-file", str(log)]
    command = [sys.executable, "-m", "ogw", "run", *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_workers_tell_what_they_hold_on_sigusr1_when_the_level_is_debug(upstream):
    with Gateway(*ALLOW, "--log-level", "debug", workers=2) as gateway:
        before = gateway.census()
        socks = [gateway.tunnel(upstream.target, rest=b"x") for _turn in range(10)]
        for sock in socks:
            assert read_exactly(sock, 1) == b"x"
        among = gateway.census()
        assert (before["tunnels"], among["tunnels"]) == (0, 10)
        assert among["greenlets"] - among["idle"] == before["greenlets"] - before["idle"] + 10
        for sock in socks:
            sock.close()
        until(lambda: len(gateway.events(108)) == 10)
        after = gateway.census()
        assert after["tunnels"] == 0
        assert after["greenlets"] - after["idle"] == before["greenlets"] - before["idle"]


def test_workers_do_not_tell_what_they_hold_at_other_levels():
    with Gateway(*ALLOW) as gateway:
        gateway.process.send_signal(signal.SIGUSR1)
        gateway.process.send_signal(signal.SIGHUP)
        gateway.wait_for(event=109)  # the worker has heard of both
        gateway.stop()
        assert not [line for line in gateway.lines if "greenlets" in line["message"]]
