"""`ogw ready --off` and `--on`: readiness says no because somebody wants it, and nobody who comes notices."""

import os
import pwd
import signal
import subprocess
import sys

from harness.admin import ask, asked, metrics
from harness.commands import ROOT, clean, ogw
from harness.gateway import ALLOW, Gateway, address
from harness.handover import Upgraded, program, systemd
from harness.peers import root
from harness.waiting import until

WHY = "taken out by ogw ready --off"


def ready(gateway, *words, **environment):
    """The exit code, and what was said."""
    done = ogw("ready", *words, "--run-dir", gateway.run_dir, **environment)
    return done.returncode, (done.stdout + done.stderr).strip()


def test_it_is_out_for_whoever_asks_and_serves_whoever_comes(upstream, tmp_path):
    place = address()
    flags = ("--admin-address", place, "--health-address", place)
    with systemd(tmp_path) as (path, heard), Gateway(*ALLOW, *flags, environment={"NOTIFY_SOCKET": path}) as gateway:
        assert metrics(gateway)["ogw_ready"] == 1 and metrics(gateway)["ogw_taken_out_time_seconds"] == 0
        code, told = ready(gateway, "--off", SUDO_USER="alice")
        assert code == 0 and told.startswith("taken out: the gateway is not ready, but serves clients that come")
        assert gateway.wait_for(by=f"alice ({pwd.getpwuid(os.geteuid()).pw_name})")["message"].startswith(WHY)
        assert ready(gateway) == (1, f"not ready: {WHY}")
        for tcp in (None, f"{place}:9180", f"{place}:9181"):
            assert ask(gateway, "/readyz", tcp=tcp)[0::2] == (503, f"{WHY}\n".encode())
            assert ask(gateway, "/healthz", tcp=tcp)[0] == 200
        counted = metrics(gateway)
        assert counted["ogw_ready"] == 0 and counted["ogw_taken_out_time_seconds"] > 1e9
        status = asked(gateway, "/status")
        assert status["state"] == "serving" and status["taken_out"] is not None
        assert status["attention"][0].startswith(f"Taken out by ogw ready --off at {status['taken_out']}")
        assert "`ogw ready --on --run-dir" in ogw("status", "--run-dir", gateway.run_dir).stdout
        assert "Taken out by ogw ready --off" in ask(gateway, "/")[2].decode()
        until(lambda: any(line.startswith(f"STATUS={WHY}; ") for line in heard))
        gateway.tunnel(upstream.target).close()

        code, told = ready(gateway, "--on")
        assert (code, told) == (0, "taken back: clients may be sent to the gateway")
        assert ready(gateway) == (0, "ready")
        assert metrics(gateway)["ogw_ready"] == 1 and metrics(gateway)["ogw_taken_out_time_seconds"] == 0
        assert asked(gateway, "/status")["attention"] == []
        assert len([line for line in gateway.lines if line["message"].startswith("taken ")]) == 2


def test_what_is_so_already_is_no_mistake_and_told():
    with Gateway(*ALLOW) as gateway:
        assert ready(gateway, "--on") == (0, "the gateway was not taken out")
        assert ready(gateway, "--off")[0] == 0
        since = asked(gateway, "/status")["taken_out"]
        code, told = ready(gateway, "--off")
        assert code == 0 and told == f"the gateway was taken out already, at {since[:19]}Z"
        assert asked(gateway, "/status")["taken_out"] == since
        assert len([line for line in gateway.lines if line["message"].startswith("taken ")]) == 1


def test_reloads_crashes_and_upgrades_do_not_undo_it_and_a_start_does(upstream, tmp_path):
    ini = tmp_path / "ogw.ini"
    ini.write_text("[ogw]\n")
    with Upgraded(*ALLOW, "--config", str(ini)) as gateway:
        assert ready(gateway, "--off")[0] == 0
        since = asked(gateway, "/status")["taken_out"]
        ini.write_text("[ogw]\nidle-timeout = 2h\n")
        assert asked(gateway, "/reload", "POST")["changed"] == ["idle-timeout"]
        assert ready(gateway) == (1, f"not ready: {WHY}")
        for victim in (gateway.workers[0], gateway.admin):
            os.kill(victim, signal.SIGKILL)
            until(lambda victim=victim: victim not in gateway.children and len(gateway.children) == 2)
        until(lambda: ready(gateway) == (1, f"not ready: {WHY}"))
        gateway.upgrade()
        until(lambda: ready(gateway) == (1, f"not ready: {WHY}"))
        assert asked(gateway, "/status")["taken_out"] == since
        gateway.tunnel(upstream.target).close()
        assert ready(gateway, "--on")[0] == 0
        gateway.wait_for_end_of(gateway.pids[-2])
        gateway.upgrade()
        until(lambda: ready(gateway) == (0, "ready"))
        assert ready(gateway, "--off")[0] == 0
    with Gateway(*ALLOW, "--config", str(ini)) as gateway:
        assert ready(gateway) == (0, "ready")


def test_while_the_doors_change_hands_it_is_refused_instead_of_lost():
    slow = program(
        "if SUCCESSOR:\n import ogw.service.handover.succession as s\n s.Succession._begin = lambda self: None"
    )
    with Upgraded(*ALLOW, program=slow) as gateway:
        gateway.send(signal.SIGUSR2)
        until(lambda: ready(gateway, "--off") == (1, "ogw: the gateway was upgraded meanwhile; ask again"))
        assert gateway.stop() == 0


def test_a_gateway_that_drains_is_neither_taken_out_nor_back(upstream):
    """Its door is closed, and it does not come back."""
    with Gateway(*ALLOW) as gateway, gateway.tunnel(upstream.target):
        gateway.process.terminate()
        gateway.wait_for(event=110)
        for word in ("--off", "--on", "--off"):
            assert ready(gateway, word) == (1, "ogw: the gateway is draining")
        assert ready(gateway) == (1, "not ready: draining")
    assert not [line for line in gateway.lines if line["message"].startswith("taken ")]


def test_only_the_local_socket_takes_the_order():
    place = address()
    with Gateway(*ALLOW, "--admin-address", place, "--admin-page", "yes", "--health-address", place) as gateway:
        for path in ("/take-out", "/take-back"):
            for port in (9180, 9181):
                assert ask(gateway, path, "POST", tcp=f"{place}:{port}")[0] in (404, 405)
            assert ask(gateway, path)[0] == 405  # a question does not act
        assert ask(gateway, "/readyz")[0] == 200


def test_without_a_gateway_and_without_the_right_it_says_so(tmp_path):
    for word in ("--off", "--on"):
        done = ogw("ready", word, "--run-dir", tmp_path)
        assert done.returncode == 3 and f"{tmp_path}/admin.sock: there is no such socket" in done.stderr
    done = ogw("ready", "--off", "--on", "--run-dir", tmp_path)
    assert done.returncode == 2 and "not allowed with argument" in done.stderr


def test_somebody_who_may_not_open_the_socket_is_told():
    root()
    script = (
        "import os, sys, urllib.parse, ogw.cli.main, ogw.cli.commands, ogw.cli.live.ready, ogw.cli.live.gateway; "
        "import traceback, ogw.cli.screen, ogw.cli.who, ogw.service.admin.shapes; "
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); sys.exit(ogw.cli.main.main(sys.argv[1:]))"
    )
    with Gateway(*ALLOW) as gateway:
        os.chmod(gateway.run_dir, 0o755)
        done = subprocess.run(
            [sys.executable, "-c", script, "ready", "--off", "--run-dir", gateway.run_dir],
            cwd=ROOT, env=clean(), capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 3 and "you may not open it; try it with sudo" in done.stderr
        assert ready(gateway) == (0, "ready")
