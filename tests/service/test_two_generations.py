"""After an upgrade: the successor serves, the predecessor's tunnels last, and all that is asked or told is for both."""

import os
import signal
import socket

import pytest
from harness.admin import asked, metrics
from harness.commands import ogw
from harness.gateway import ALLOW, read_head
from harness.handover import Upgraded, exchange, is_alive, program
from harness.waiting import until


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


def test_a_stop_tells_of_what_was_cut_while_it_went_on_and_not_of_upgrades_before(upstream):
    with Upgraded(*ALLOW, "--upgrade-drain-timeout", "300ms", "--drain-timeout", "300ms") as gateway:
        for turn in range(2):
            with gateway.tunnel(upstream.target) as sock:
                gateway.upgrade()
                assert sock.recv(1) == b""
            gateway.wait_for_end_of(gateway.pids[-2])
            ended = f"the predecessor (process {gateway.pids[-2]}) has drained; 1 tunnels were cut"
            assert gateway.wait_for(event=100, message=ended)["count"] == 1, turn
        with gateway.tunnel(upstream.target) as sock:
            assert gateway.stop() == 0
            assert sock.recv(1) == b""
    assert gateway.wait_for(event=102)["count"] == 1


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


def test_a_predecessor_that_hangs_does_not_outlive_a_stop(upstream):
    code = "import ogw.service.ending as e\ne.STRAGGLER_SECONDS = e.LEAVE_SECONDS = e.END_SECONDS = 0.3"
    with Upgraded(*ALLOW, program=program(code)) as gateway, gateway.tunnel(upstream.target) as sock:
        gateway.upgrade()
        hangs = gateway.pids[0]
        os.kill(hangs, signal.SIGSTOP)
        assert ogw("drain", "--now", "--run-dir", gateway.run_dir).returncode == 0
        until(lambda: not is_alive(gateway.pid))
        assert not is_alive(hangs)
        gateway.wait_for(event=100, message=f"the predecessor (process {hangs}) does not end, and is killed")
        assert gateway.wait_for(event=102)["count"] == 1
        assert sock.recv(1) == b"", "its workers end by themselves"


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


@pytest.mark.long  # it takes as long as orphans may
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
