"""Reloads that take their time: slow workers are waited for, hung ones are not, and everybody is heard meanwhile."""

import os
import signal
import sys
import time

import pytest
from harness.admin import ask
from harness.commands import ogw
from harness.gateway import ALLOW, Gateway, read_exactly
from harness.lists import ListServer
from harness.load import Load
from harness.waiting import until

# The n-th worker that builds a configuration at a reload waits until the file go-n is there; waits-n says so.
WAITING = """
import os, sys, time
from ogw.service import worker
read = worker._read
def slow(text):
    for number in range(10):
        try:
            os.close(os.open(f"{sys.argv[1]}/waits-{number}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        break
    while not os.path.exists(f"{sys.argv[1]}/go-{number}"):
        time.sleep(0.02)
    return read(text)
worker._read = slow
from ogw.cli.main import main
sys.exit(main(["run", *sys.argv[2:]]))
"""


def waiting(folder):
    return [sys.executable, "-c", WAITING, str(folder)]


def go(folder, *numbers):
    for number in numbers:
        (folder / f"go-{number}").touch()


def test_a_worker_that_builds_for_longer_than_it_may_be_silent_is_waited_for(upstream, tmp_path):
    flags = (*ALLOW, "--hung-timeout", "2s")
    with Gateway(*flags, program=waiting(tmp_path), workers=2) as gateway, gateway.tunnel(upstream.target) as sock:
        workers = gateway.workers
        gateway.process.send_signal(signal.SIGHUP)
        until(lambda: (tmp_path / "waits-1").exists())
        go(tmp_path, 0)
        begun = time.monotonic()
        until(lambda: time.monotonic() > begun + 5)
        sock.sendall(b"x")
        assert read_exactly(sock, 1) == b"x"
        assert ask(gateway, "/readyz")[0] == ask(gateway, "/status")[0] == 200
        assert not gateway.events(109)
        go(tmp_path, 1)
        gateway.wait_for(event=109)
        assert gateway.workers == workers and not gateway.events(405)


@pytest.mark.parametrize("built", [(), (0,)], ids=["none has built it", "one has built it"])
def test_a_stop_is_heard_while_a_reload_waits(upstream, tmp_path, built):
    with Gateway(*ALLOW, program=waiting(tmp_path), workers=2) as gateway:
        gateway.process.send_signal(signal.SIGHUP)
        until(lambda: (tmp_path / "waits-1").exists())
        go(tmp_path, *built)
        gateway.process.send_signal(signal.SIGTERM)
        gateway.wait_for(event=110)
        assert "the gateway is draining" in gateway.wait_for(event=401)["message"]
        go(tmp_path, 0, 1)
        assert gateway.process.wait(60) == 0 and not gateway.events(109)


def test_a_worker_that_dies_while_it_builds_is_replaced_and_the_reload_goes_on(upstream, tmp_path):
    with Gateway(*ALLOW, program=waiting(tmp_path), workers=2) as gateway:
        gateway.process.send_signal(signal.SIGHUP)
        until(lambda: (tmp_path / "waits-1").exists())
        os.kill(gateway.workers[0], signal.SIGKILL)
        until(lambda: (tmp_path / "waits-2").exists())  # its replacement builds it, too
        assert not gateway.events(109)
        go(tmp_path, 0, 1, 2)
        gateway.wait_for(event=109)
        assert len(gateway.events(405)) == 1


def test_what_is_wished_for_meanwhile_is_one_more_reload_and_each_gets_its_answer(tmp_path):
    with Gateway(*ALLOW, program=waiting(tmp_path)) as gateway:
        gateway.process.send_signal(signal.SIGHUP)
        until(lambda: (tmp_path / "waits-0").exists())
        go(tmp_path, 1)
        for _turn in range(20):
            gateway.process.send_signal(signal.SIGHUP)
        go(tmp_path, 0)
        until(lambda: gateway.counts[109] == 2)
        go(tmp_path, 2)
        done = ogw("reload", "--run-dir", gateway.run_dir)
        assert (done.returncode, gateway.counts[109]) == (0, 3), done.stderr
        assert "reloaded, nothing changed" in done.stdout


def test_a_list_that_a_slow_reload_takes_is_not_wished_for_at_each_refresh(authority, authority_file, tmp_path):
    with ListServer(authority) as server:
        flags = ("--allowed-host-source", server.url, "--source-refresh", "1s")
        environment = {"SSL_CERT_FILE": authority_file}
        with Gateway(*ALLOW, *flags, environment=environment, program=waiting(tmp_path)) as gateway:
            until(lambda: (tmp_path / "waits-0").exists())
            until(lambda: len(server.heads) >= 3)
            go(tmp_path, 0)
            gateway.wait_for(event=109)
            seen = len(server.heads)
            until(lambda: len(server.heads) >= seen + 2)
            assert not (tmp_path / "waits-1").exists()


def test_who_asked_is_told_that_a_reload_goes_on(tmp_path):
    program = waiting(tmp_path)
    program[2] = "from ogw.service.admin import orders; orders.RELOAD_SECONDS = 0.5\n" + program[2]
    with Gateway(*ALLOW, program=program) as gateway:
        done = ogw("reload", "--run-dir", gateway.run_dir)
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert line == "ogw: the reload goes on after 0.5 s; the log tells what comes of it (event 109 or 401)"
        go(tmp_path, 0)
        gateway.wait_for(event=109)


def test_a_stopped_worker_is_not_waited_for_longer_than_it_may_be_silent(upstream):
    with Gateway(*ALLOW, "--hung-timeout", "2s", workers=2) as gateway:
        hung, other = gateway.workers
        os.kill(hung, signal.SIGSTOP)
        done = ogw("reload", "--run-dir", gateway.run_dir)
        assert done.returncode == 0, done.stderr
        line = gateway.wait_for(event=405)
        assert f"(process {hung}) gave no sign of life" in line["message"]
        until(lambda: len(gateway.workers) == 2)
        assert other in gateway.workers and hung not in gateway.workers
        for _turn in range(10):
            gateway.tunnel(upstream.target).close()


def test_an_error_of_our_own_at_a_reload_is_told_and_changes_nothing(upstream):
    script = (
        "import sys; from ogw.cli import run\n"
        "def broken(*of):\n raise ZeroDivisionError('of the tests')\n"
        "run.load = broken\n"
        "from ogw.cli.main import main; sys.exit(main(['run', *sys.argv[1:]]))"
    )
    with Gateway(*ALLOW, program=[sys.executable, "-c", script]) as gateway:
        done = ogw("reload", "--run-dir", gateway.run_dir)
        assert done.returncode == 1 and "ZeroDivisionError: of the tests" in done.stderr
        assert "Traceback" in gateway.wait_for(event=400)["traceback"]
        gateway.tunnel(upstream.target).close()


@pytest.mark.long
def test_a_hundred_thousand_rules_are_reloaded_under_load_and_nobody_dies_of_it(upstream, tmp_path):
    ini = tmp_path / "ogw.ini"

    def write(count):
        rules = "\n    ".join(f"host-{number}.example.com" for number in range(count))
        ini.write_text(f"[ogw]\nallowed-host = 127.0.0.0/8\n    {rules}\nallowed-target-network = 127.0.0.0/8\n")

    write(99_990)
    with Gateway("--config", str(ini), workers=2) as gateway:
        with Load(gateway, upstream.target, threads=10, lasting=4) as load:
            load.wait_for(20)
            for turn in range(2):
                write(100_000 + turn)
                gateway.process.send_signal(signal.SIGHUP)
                until(lambda turn=turn: gateway.counts[109] == turn + 1, 300)
            load.wait_for(20)
        assert load.broken == [] and not gateway.events(405)
        assert not gateway.events(401)
