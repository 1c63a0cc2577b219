"""An upgrade that is refused: with advice, and the gateway that runs is as it was."""

import json
import shutil
import signal
import subprocess
import sys

from harness.commands import ogw
from harness.gateway import ALLOW, ROOT, address, apart
from harness.handover import Upgraded, exchange, program
from harness.peers import peer, root


def test_a_third_is_refused_until_what_the_first_has_left_is_over_or_is_ended(upstream):
    with Upgraded(*ALLOW) as gateway, gateway.tunnel(upstream.target) as sock:
        gateway.upgrade()
        done = ogw("upgrade", "--run-dir", gateway.run_dir)
        assert done.returncode == 1 and f"process {gateway.pids[0]}) still drains" in done.stderr, done
        assert f"`ogw upgrade --now --run-dir {gateway.run_dir}` ends what it has" in done.stderr
        assert "nothing was upgraded" in done.stderr and "ogw upgrade --now" in done.stderr
        gateway.send(signal.SIGUSR2)
        assert "still drains" in gateway.failed(2)
        exchange(sock)
        assert ogw("upgrade", "--now", "--run-dir", gateway.run_dir).returncode == 0
        gateway.follow()
        assert sock.recv(1) == b""
        gateway.tunnel(upstream.target).close()


def test_two_at_once_are_one(upstream):
    with Upgraded(*ALLOW, program=program("if SUCCESSOR: import time; time.sleep(1)")) as gateway:
        gateway.send(signal.SIGUSR2)
        gateway.wait_for(
            event=100, message=f"an upgrade begins: process {gateway.successor()} is started as the successor"
        )
        done = ogw("upgrade", "--run-dir", gateway.run_dir)
        assert done.returncode == 1 and "an upgrade is under way already" in done.stderr
        gateway.follow()
        gateway.tunnel(upstream.target).close()


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
