"""Signals: none is lost from the first moment on, many that say the same are one, and a stop waits for none of them."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from harness.gateway import ALLOW, ROOT, Gateway, address
from harness.peers import peer, root
from harness.waiting import until

OGW = [sys.executable, "-m", "ogw", "run", *ALLOW, "--admin-address", "", "--workers", "1"]


def started(folder, *command, **more):
    flags = ["--listen-address", address(), "--run-dir", str(folder), "--state-dir", str(folder)]
    plain = {name: text for name, text in os.environ.items() if not name.startswith("OGW_")}  # else they are told of
    out = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, *OGW, *flags], cwd=ROOT, env=plain, **out, **more)


def handled(pid, number):
    """It has a handler for the signal, and does not leave it to the kernel."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:"))
    return bool(caught >> (number - 1) & 1)


def imported(pid):
    """gevent is loaded: the slow part of the start has begun."""
    return "gevent" in pathlib.Path(f"/proc/{pid}/maps").read_text()


def first_child(pid):
    found = []

    def look():
        found[:] = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return found

    until(look)
    return int(found[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_while_it_starts_is_heard(tmp_path, number):
    """SIGINT has a handler of Python's own from the start on; SIGTERM's is ours, and stands before anything slow."""
    with started(tmp_path) as process:
        until(lambda: handled(process.pid, signal.SIGTERM))
        assert not imported(process.pid)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert [json.loads(line)["event"] for line in out.splitlines()] == [110, 102]


def test_process_1_of_a_container_hears_a_stop_while_it_starts(tmp_path):
    root()
    with started(tmp_path, peer("unshare"), "--pid", "--fork", "--kill-child") as unshare:
        pid = first_child(unshare.pid)
        until(lambda: handled(pid, signal.SIGTERM))
        assert not imported(pid)
        os.kill(pid, signal.SIGTERM)
        out, _err = unshare.communicate(timeout=60)
    assert unshare.returncode == 0
    assert [json.loads(line)["event"] for line in out.splitlines()] == [110, 102]


HANGS = """
import sys, time
from ogw.cli import run
from ogw.service.signals import SIGNALS

def hang(*_arguments, **_named):
    while not SIGNALS.waiting:
        time.sleep(0.01)
    print("heard", flush=True)
    while True:
        time.sleep(0.01)

run.load_or_tell = hang
from ogw.cli.main import main
sys.exit(main(["run"]))
"""


def test_who_stops_it_twice_while_it_starts_does_not_wait():
    """It hangs on its configuration here. Two signals that come before Python has looked at one are one."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HANGS], cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        until(lambda: handled(process.pid, signal.SIGTERM))
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "heard\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")


def test_signals_that_whoever_started_it_had_blocked_or_ignored_are_heard(tmp_path):
    def inherit():
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD))
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    with started(tmp_path, preexec_fn=inherit) as process:
        said(process, 101)
        process.send_signal(signal.SIGHUP)
        said(process, 109)
        (worker,) = (child for child in children(process.pid) if "worker" in title(child))
        os.kill(worker, signal.SIGKILL)
        said(process, 405)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def said(process, event):
    line = json.loads(process.stdout.readline())
    assert line["event"] == event, line


def children(pid):
    return [int(one) for one in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def title(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/cmdline").read_text()
    return ""


SLOW = (
    "import sys, time; from ogw.cli import run; load = run.load\n"
    "def slow(*of):\n open(sys.argv[1], 'a').write('x'); time.sleep(0.5); return load(*of)\n"
    "run.load = slow\n"
    "from ogw.cli.main import main; sys.exit(main(['run', *sys.argv[2:]]))"
)


@pytest.mark.parametrize("count", [300, 20_000])
def test_many_reloads_that_are_asked_for_at_once_are_few(tmp_path, count):
    """20,000 are more than the wake-up's pipe takes."""
    read = tmp_path / "read"
    with Gateway(*ALLOW, program=[sys.executable, "-c", SLOW, str(read)]) as gateway:
        for _turn in range(count):
            gateway.process.send_signal(signal.SIGHUP)
        until(read.exists)
        begun = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(30) == 0
        assert time.monotonic() - begun < 20
        assert gateway.counts[109] <= 20 and len(read.read_text()) <= 20
        assert gateway.wait_for(event=102)


def test_a_reload_that_is_asked_for_while_one_runs_is_made_behind_it(tmp_path):
    read = tmp_path / "read"
    with Gateway(*ALLOW, program=[sys.executable, "-c", SLOW, str(read)]) as gateway:
        gateway.process.send_signal(signal.SIGHUP)
        until(read.exists)
        for _turn in range(50):
            gateway.process.send_signal(signal.SIGHUP)
        until(lambda: gateway.counts[109] == 2)
        gateway.process.send_signal(signal.SIGUSR1)
        gateway.process.send_signal(signal.SIGHUP)
        until(lambda: gateway.counts[109] == 3)
        assert len(read.read_text()) == 3


def test_process_1_reaps_orphans(tmp_path):
    """A shell in the container leaves a child behind, which process 1 inherits: no zombie may stay."""
    root()
    enter = peer("nsenter")
    with started(tmp_path, peer("unshare"), "--pid", "--fork", "--kill-child") as unshare:
        pid = first_child(unshare.pid)
        assert json.loads(unshare.stdout.readline())["event"] == 101
        before = set(children(pid))
        script = "for one in 1 2 3 4 5 6 7 8; do (sleep 0.2; exit 3) & done; exit 0"
        done = subprocess.run([enter, "--target", str(pid), "--pid", "--", peer("sh"), "-c", script], timeout=20)
        assert done.returncode == 0
        until(lambda: set(children(pid)) > before)  # they are here
        until(lambda: set(children(pid)) == before)  # and gone, each one
        os.kill(pid, signal.SIGTERM)
        assert unshare.wait(30) == 0


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2])
def test_a_signal_in_the_last_moments_of_a_stop_does_not_make_a_failure_of_it(tmp_path, again):
    with started(tmp_path) as process:
        said(process, 101)
        process.send_signal(signal.SIGTERM)
        said(process, 110)
        said(process, 102)
        while process.poll() is None:
            process.send_signal(again)
        assert (process.returncode, process.stderr.read()) == (0, "")
