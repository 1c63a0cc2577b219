"""The whole gateway while what takes its log hangs, is full, closed or torn: only lines are lost, and counted."""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile

import pytest
from harness.admin import ask, metrics
from harness.gateway import ROOT, read_exactly
from harness.peers import peer, root
from harness.sinks import Mute, Pipe, SystemLog, Terminal, drained, lines_of
from harness.waiting import until

# The sweep, in which lost lines are told of, comes four times in the shortest of the limits that it looks after.
ALLOW = ("--allowed-host", "127.0.0.0/8", "--allowed-target-network", "127.0.0.0/8", "--half-closed-timeout", "2s")
LONG = pytest.mark.long
SECONDS = 20  # more than any of it needs, and less than a hang


def talk(gateway, target, times=1):
    for _turn in range(times):
        with gateway.tunnel(target) as sock:
            sock.sendall(b"hello")
            assert read_exactly(sock, 5) == b"hello"


def reload(gateway):
    taken = gateway.metric('ogw_reloads_total{result="taken"}')
    os.kill(gateway.pid, signal.SIGHUP)
    until(lambda: gateway.metric('ogw_reloads_total{result="taken"}') == taken + 1, SECONDS, "it did not reload")
    assert ask(gateway, "/reload", "POST")[0] == 200


def lives(gateway, upstream):
    """Everything but the log goes on."""
    talk(gateway, upstream.target, 40)  # their lines are more than a pipe of a page takes
    reload(gateway)
    worker = gateway.workers[0]
    os.kill(worker, signal.SIGKILL)
    until(lambda: metrics(gateway)["ogw_worker_deaths_total"] == 1, SECONDS, "nobody noticed the death")
    until(lambda: gateway.is_ready() and worker not in gateway.workers, SECONDS, "it was not replaced")
    talk(gateway, upstream.target, 3)
    os.kill(gateway.admin, signal.SIGKILL)
    until(gateway.is_ready, SECONDS, "the admin process was not replaced")
    reload(gateway)


def tried(gateway):
    """How many lines were written or lost: what has not been tried yet is neither."""
    return gateway.metric("ogw_log_lines_total") + gateway.lost


def ends(gateway, number=signal.SIGTERM):
    assert gateway.stop(number, seconds=SECONDS) == 0


def told_of(lines):
    """How many lines the log says were lost."""
    return sum(int(line["message"].split()[0]) for line in lines if "log lines were lost" in line.get("message", ""))


def tells(gateway, read):
    """It says how many lines were lost, all of them, and what it says is what it counted."""
    told = until(lambda: told_of(read()), SECONDS, "it did not tell of lost lines")
    until(lambda: told_of(read()) == gateway.lost, SECONDS, lambda: f"{told} of {gateway.lost}: {read()[-3:]}")


def shown(gateway, *words):
    """What `ogw status` shows of it."""
    command = [sys.executable, "-m", "ogw", "status", "--run-dir", gateway.run_dir, *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60).stdout


def says_why(gateway, why):
    """Wherever an administrator looks, it is this, and the same."""
    until(lambda: f"the log cannot be written: {gateway.log_place}: {why}; lines" in "".join(gateway.stderr), SECONDS)
    assert gateway.metric("ogw_log_failing") == 1
    status = json.loads(shown(gateway, "--json"))
    assert why in status["log"]["trouble"] and why in status["log"]["lost_why"]
    told = " ".join(status["attention"])
    assert f"The log cannot be written: {why}" in told and "too slow" not in told, told
    assert re.search(rf"[0-9]+ of [0-9]+ lines lost: .*{why}", " ".join(shown(gateway).split()))


def says_that_it_is_written_again(gateway):
    until(lambda: gateway.metric("ogw_log_failing") == 0, SECONDS)
    until(lambda: "the log is written again" in "".join(gateway.stderr), 2 * SECONDS)
    assert "cannot be written" not in " ".join(json.loads(shown(gateway, "--json"))["attention"])


def assert_whole(lines, torn=0):
    """No line is glued to another; so many pieces of torn ones stand alone."""
    pieces = [line["unreadable"] for line in lines if "unreadable" in line]
    assert len(pieces) <= torn, pieces
    assert not any('{"time"' in piece[1:] for piece in pieces), pieces


def assert_counts_add_up(lines, lost, processes=()):
    """Lines are numbered by those who write them: the numbers that are missing are those of the lost ones."""
    missing = 0
    for process in {line["process"] for line in lines if "process" in line}:
        numbers = [line["sequence"] for line in lines if line.get("process") == process]
        assert len(numbers) == len(set(numbers))
        missing += max(numbers) - len(numbers)
    assert missing <= lost


# Standard output.


def test_a_pipe_that_nobody_reads(upstream):
    with Pipe() as pipe, Mute(*ALLOW, stdout=pipe.writing, workers=2) as gateway:
        lives(gateway, upstream)
        assert gateway.lost > 0
        lost, of = re.search(r"(\d+) of (\d+) lines lost", shown(gateway)).groups()
        assert int(lost) == gateway.lost and int(of) == gateway.lost + gateway.metric("ogw_log_lines_total")
        tells(gateway, pipe.read)
        ends(gateway)
        assert_whole(pipe.read())
        assert_counts_add_up(pipe.read(), told_of(pipe.read()))


@LONG
def test_a_pipe_that_nobody_reads_at_the_end(upstream):
    with Pipe() as pipe, Mute(*ALLOW, stdout=pipe.writing, workers=3) as gateway:
        lives(gateway, upstream)
        ends(gateway, signal.SIGINT)
        assert_whole(pipe.read())


def test_a_pipe_that_is_closed(upstream):
    with Pipe() as pipe, Mute(*ALLOW, stdout=pipe.writing, workers=2) as gateway:
        pipe.hang_up()
        lives(gateway, upstream)
        until(lambda: gateway.lost > 10, SECONDS)
        ends(gateway)


def test_a_pipe_of_another_user_that_nobody_reads(upstream):
    """It cannot be opened anew with flags of our own, as where a container's runtime made it."""
    root()
    as_nobody = [peer("setpriv"), "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]
    with tempfile.TemporaryDirectory() as folder, Pipe() as pipe:
        os.chown(folder, 65534, 65534)
        reads = subprocess.run(
            [*as_nobody, sys.executable, "-c", "import ogw, gevent, configargparse"], cwd=ROOT, capture_output=True
        )
        if reads.returncode:
            pytest.skip("somebody else cannot read this tree")
        flags = ("--run-dir", folder, "--state-dir", folder)
        gateway = Mute(*ALLOW, *flags, command=as_nobody, stdout=pipe.writing, workers=2)
        gateway.run_dir = folder
        with gateway:
            lives(gateway, upstream)
            tells(gateway, pipe.read)
            ends(gateway)
            assert_whole(pipe.read())


def test_a_terminal_that_is_stopped(upstream):
    with Terminal() as terminal, Mute(*ALLOW, stdout=terminal.other, workers=2) as gateway:
        until(lambda: any(line.get("event") == 101 for line in terminal.read()))
        terminal.press(b"\x13")
        lives(gateway, upstream)
        assert gateway.lost > 0
        terminal.press(b"\x11")
        tells(gateway, terminal.read)
        ends(gateway)
        assert_whole(terminal.read())


@LONG
def test_a_terminal_that_stays_stopped_and_one_that_nobody_reads(upstream):
    with Terminal() as terminal, Mute(*ALLOW, stdout=terminal.other, workers=2) as gateway:
        talk(gateway, upstream.target, 300)  # more than it holds
        terminal.press(b"\x13")
        lives(gateway, upstream)
        ends(gateway)
        assert_whole(terminal.read(), torn=3)


@LONG
def test_a_terminal_that_was_not_read_for_a_while(upstream):
    with Terminal() as terminal, Mute(*ALLOW, stdout=terminal.other, workers=2) as gateway:
        talk(gateway, upstream.target, 300)
        lives(gateway, upstream)
        tells(gateway, terminal.read)
        talk(gateway, upstream.target, 10)
        ends(gateway)
        assert_whole(terminal.read(), torn=3)


@pytest.mark.parametrize(
    "kind",
    [
        socket.SOCK_STREAM,
        pytest.param(socket.SOCK_DGRAM, marks=LONG),
        pytest.param(socket.SOCK_SEQPACKET, marks=LONG),
    ],
)
def test_a_socket_that_nobody_reads(upstream, kind):
    """Such as the journal's, to which systemd connects standard output."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    data = b""

    def read():
        nonlocal data
        with contextlib.suppress(BlockingIOError):
            while piece := ours.recv(1 << 16, socket.MSG_DONTWAIT):
                data += piece
        return lines_of(data)

    with ours, theirs, Mute(*ALLOW, stdout=theirs.fileno(), workers=2) as gateway:
        lives(gateway, upstream)
        assert gateway.lost > 0
        tells(gateway, read)
        ends(gateway)
        assert_whole(read(), torn=3 if kind == socket.SOCK_STREAM else 0)  # as its buffer is this small


@LONG
def test_a_device_that_is_full(upstream):
    with open("/dev/full", "wb") as full, Mute(*ALLOW, stdout=full.fileno(), workers=2) as gateway:
        lives(gateway, upstream)
        until(lambda: gateway.lost > 10, SECONDS)
        ends(gateway)


# A file.


def test_a_log_file_that_is_a_full_device(upstream):
    with Mute(*ALLOW, "--log-file", "/dev/full", workers=2) as gateway:
        gateway.log_place = "/dev/full"
        says_why(gateway, "No space left on device")  # from its first line on
        lives(gateway, upstream)
        until(lambda: gateway.lost > 10, SECONDS)
        says_why(gateway, "No space left on device")
        ends(gateway)


def test_the_metrics_count_each_line_of_the_file_and_each_that_died_with_its_process(upstream, tmp_path):
    path = tmp_path / "ogw.log"
    with Mute(*ALLOW, "--log-file", str(path), workers=2) as gateway:
        lives(gateway, upstream)
        talk(gateway, upstream.target, 20)
        until(lambda: gateway.metric("ogw_log_lines_total") == path.read_bytes().count(b"\n"), SECONDS)
        for worker in gateway.workers:
            os.kill(worker, signal.SIGSTOP)  # what it says from now on, it cannot write
        socks = [gateway.connect() for _turn in range(2)]
        for worker in gateway.workers:
            os.kill(worker, signal.SIGKILL)
        until(lambda: metrics(gateway)["ogw_worker_deaths_total"] == 4, SECONDS)
        until(lambda: gateway.metric("ogw_log_lines_total") == path.read_bytes().count(b"\n"), SECONDS)
        for sock in socks:
            sock.close()
        ends(gateway)
    lines = lines_of(path.read_bytes())
    assert_whole(lines)
    assert_counts_add_up(lines, told_of(lines))


@pytest.mark.parametrize("given", ["log-file", pytest.param("standard output", marks=LONG)])
def test_a_disk_that_is_full_and_then_is_not(upstream, given):
    root()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([peer("mount"), "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
        try:
            path, ballast = pathlib.Path(folder, "ogw.log"), pathlib.Path(folder, "ballast")
            with contextlib.ExitStack() as stack:
                more = {"stdout": stack.enter_context(open(path, "ab")).fileno()} if given != "log-file" else {}
                flags = ("--log-file", str(path)) if given == "log-file" else ()
                gateway = stack.enter_context(Mute(*ALLOW, *flags, workers=2, **more))
                gateway.log_place = path if flags else "standard output"
                until(lambda: path.read_bytes().endswith(b"\n"))
                with contextlib.suppress(OSError):
                    ballast.write_bytes(b"x" * (1 << 20))
                for _turn in range(2):  # the last page of the log has room; then each worker knows of it
                    before = tried(gateway)
                    talk(gateway, upstream.target, 40)
                    until(lambda said=before + 40: tried(gateway) >= said, SECONDS)
                lives(gateway, upstream)
                until(lambda: gateway.lost > 10, SECONDS)
                says_why(gateway, "No space left on device")
                ballast.unlink()
                talk(gateway, upstream.target, 5)
                tells(gateway, lambda: lines_of(path.read_bytes()))
                says_that_it_is_written_again(gateway)
                why = [line["message"] for line in lines_of(path.read_bytes()) if "lines were lost" in str(line)]
                assert all("No space left on device" in one and "not taken as fast" not in one for one in why), why
                ends(gateway)
                assert_whole(lines_of(path.read_bytes()), torn=10)
        finally:
            subprocess.run([peer("umount"), "-l", folder], check=True)


def test_a_log_file_whose_folder_is_gone_after_its_rotation(upstream, tmp_path):
    folder = tmp_path / "log"
    folder.mkdir()
    path = folder / "ogw.log"
    with Mute(*ALLOW, "--log-file", str(path), workers=2) as gateway:
        until(lambda: path.read_bytes())
        path.unlink()  # and not renamed away: nobody could read what went on there
        folder.rmdir()
        lives(gateway, upstream)
        until(lambda: gateway.lost > 10, SECONDS)
        folder.mkdir()
        talk(gateway, upstream.target, 5)
        tells(gateway, lambda: lines_of(path.read_bytes()) if path.exists() else [])
        ends(gateway)
        assert_whole(lines_of(path.read_bytes()))


def test_the_file_that_is_told_of_is_the_one_in_use_whatever_a_reload_named_since(tmp_path):
    folder, ini = tmp_path / "log", tmp_path / "ogw.ini"
    folder.mkdir()
    path = folder / "ogw.log"
    ini.write_text(f"[ogw]\nlog-file = {path}\n")
    with Mute("--config", str(ini)) as gateway:
        until(lambda: path.read_bytes())
        ini.write_text(f"[ogw]\nlog-file = {tmp_path}/other.log\n")
        reload(gateway)
        path.unlink()
        folder.rmdir()
        reload(gateway)
        told = until(lambda: "the log cannot be written" in (said := "".join(gateway.stderr)) and said, SECONDS)
        assert f"the log cannot be written: {path}: " in told
        ends(gateway)


ASTRAY = "; lines go on into the file that was renamed away"


def goes_on_astray(gateway, upstream, old, why):
    """All is said where it can be read still, once; nothing is lost, also by processes that began meanwhile."""
    begun = len(lines_of(old.read_bytes()))
    talk(gateway, upstream.target, 3)
    until(lambda: f"{gateway.log_place}: {why}{ASTRAY}" in "".join(gateway.stderr), SECONDS)
    lives(gateway, upstream)
    talk(gateway, upstream.target, 10)
    assert gateway.metric("ogw_log_failing") == 1
    status = json.loads(shown(gateway, "--json"))
    assert f"The log cannot be written: {why}{ASTRAY} until it can be." in status["attention"], status["attention"]
    assert f"the log cannot be written: {why}{ASTRAY}" in " ".join(shown(gateway).split())
    until(lambda: sum(line["event"] == 108 for line in lines_of(old.read_bytes())[begun:]) >= 3 + 3 + 10, SECONDS)
    (told,) = [line for line in lines_of(old.read_bytes()) if ASTRAY in line["message"]]
    assert told["event"] == 302 and str(gateway.log_place) in told["message"]


def comes_back(gateway, upstream, old, path):
    says_that_it_is_written_again(gateway)  # before anything is said
    before = old.read_bytes()
    talk(gateway, upstream.target, 3)
    until(lambda: sum(line["event"] == 108 for line in lines_of(path.read_bytes())) >= 3, SECONDS)
    assert old.read_bytes() == before
    ends(gateway)
    lines = [*lines_of(before), *lines_of(path.read_bytes())]
    assert_whole(lines)
    assert_counts_add_up(lines, lost_by_kills(lines))


def lost_by_kills(lines):
    """What processes had not written when the test killed them."""
    assert not any("lines were lost" in line["message"] for line in lines if DIED not in line["message"])
    return told_of(lines)


DIED = "they were in a process that died"


@pytest.mark.parametrize("left", ["another's file", "a folder", "a link to nowhere"])
def test_lines_go_on_into_a_file_that_was_renamed_away_where_its_place_cannot_be_opened(left, upstream, tmp_path):
    """As logrotate's `create` with another owner leaves it."""
    if left == "another's file":
        root()
    user = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"] if os.geteuid() == 0 else ["--"]
    as_nobody = [peer("setpriv"), *user]
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() == 0:
            os.chown(folder, 65534, 65534)
        reads = subprocess.run([*as_nobody, sys.executable, "-c", "import ogw, gevent"], cwd=ROOT, capture_output=True)
        if reads.returncode:
            pytest.skip("somebody else cannot read this tree")
        path = pathlib.Path(folder, "ogw.log")
        flags = ("--log-file", str(path), "--run-dir", folder, "--state-dir", folder)
        gateway = Mute(*ALLOW, *flags, command=as_nobody, workers=2)
        gateway.run_dir, gateway.log_place = folder, path
        with gateway:
            until(lambda: path.read_bytes())
            old = path.rename(path.with_suffix(".1"))
            if left == "another's file":
                path.touch(0o600)  # root's
                why = "Permission denied"
            elif left == "a folder":
                path.mkdir()
                why = "Is a directory"
            else:
                path.symlink_to("no/ogw.log")
                why = "No such file or directory"
            goes_on_astray(gateway, upstream, old, why)
            path.rmdir() if left == "a folder" else path.unlink()
            comes_back(gateway, upstream, old, path)


def test_lines_go_on_into_a_file_that_was_renamed_away_where_its_folder_is_read_only(upstream, tmp_path):
    root()
    path = tmp_path / "ogw.log"
    with Mute(*ALLOW, "--log-file", str(path), workers=2) as gateway:
        gateway.log_place = path
        until(lambda: path.read_bytes())
        # Read-only first, and renamed in the folder below it: a line in between would make the file anew.
        below = os.open(tmp_path, os.O_PATH)
        read_only = tmp_path / "read-only"
        read_only.mkdir()
        mount("--bind", tmp_path, read_only)
        try:
            mount("-o", "remount,bind,ro", read_only)
            mount("--bind", read_only, tmp_path)
            try:
                os.rename(path.name, "ogw.log.1", src_dir_fd=below, dst_dir_fd=below)
                old = tmp_path / "ogw.log.1"
                goes_on_astray(gateway, upstream, old, "Read-only file system")
            finally:
                subprocess.run([peer("umount"), "-l", tmp_path], check=True)
        finally:
            subprocess.run([peer("umount"), "-l", read_only], check=True)
            os.close(below)
        comes_back(gateway, upstream, old, path)


def mount(*arguments):
    subprocess.run([peer("mount"), *arguments], check=True)


def test_a_file_that_was_renamed_away_and_then_deleted_takes_no_more_lines(upstream, tmp_path):
    path = tmp_path / "ogw.log"
    with Mute(*ALLOW, "--log-file", str(path)) as gateway:
        gateway.log_place = path
        until(lambda: path.read_bytes())
        old = path.rename(tmp_path / "ogw.log.1")
        path.mkdir()
        until(lambda: talk(gateway, upstream.target) or ASTRAY in "".join(gateway.stderr), SECONDS)
        old.unlink()
        talk(gateway, upstream.target, 5)
        until(lambda: gateway.lost >= 5, SECONDS)
        says_why(gateway, "Is a directory")
        path.rmdir()
        tells(gateway, lambda: lines_of(path.read_bytes()) if path.is_file() else [])
        says_that_it_is_written_again(gateway)
        ends(gateway)


@LONG
def test_a_log_file_that_became_a_folder(upstream, tmp_path):
    path = tmp_path / "ogw.log"
    with Mute(*ALLOW, "--log-file", str(path)) as gateway:
        until(lambda: path.read_bytes())
        path.unlink()
        path.mkdir()
        lives(gateway, upstream)
        until(lambda: gateway.lost > 3, SECONDS)
        path.rmdir()
        tells(gateway, lambda: lines_of(path.read_bytes()) if path.is_file() else [])
        ends(gateway)


@pytest.mark.parametrize(
    ("kind", "says"), [("folder", "Is a directory; name a file in it"), ("socket", "No such device or address")]
)
def test_a_log_file_that_is_none_is_a_mistake_at_the_start(tmp_path, kind, says):
    path = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX) as sock:
        os.mkdir(path) if kind == "folder" else sock.bind(path)
        words = [sys.executable, "-m", "ogw", "run", "--allowed-host", "a.example", "--log-file", path]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == f"ogw: OGW-401 wrong configuration: log-file: {path}: {says}\n"


def test_a_fifo_whose_reader_comes_and_goes_and_hangs(upstream, tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with Mute(*ALLOW, "--log-file", str(path), workers=2) as gateway:
        lives(gateway, upstream)  # before anybody reads
        until(lambda: gateway.lost > 10, SECONDS)
        data = b""

        def read():
            nonlocal data
            data += drained(fd)
            return lines_of(data)

        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        talk(gateway, upstream.target, 5)
        tells(gateway, read)
        os.close(fd)
        talk(gateway, upstream.target, 5)
        reload(gateway)
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        tells(gateway, read)
        talk(gateway, upstream.target, 200)  # more than it takes
        reload(gateway)
        ends(gateway)
        assert_whole(read())
        os.close(fd)


@LONG
def test_a_torn_line_of_an_earlier_run_is_ended_first(upstream, tmp_path):
    path = tmp_path / "ogw.log"
    path.write_text('{"time": "2026-')
    with Mute(*ALLOW, "--log-file", str(path), workers=2) as gateway:
        talk(gateway, upstream.target, 3)
        ends(gateway)
    assert_whole(lines_of(path.read_bytes()), torn=1)


# The system's log.


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, pytest.param(socket.SOCK_STREAM, marks=LONG)])
def test_a_system_log_that_hangs(upstream, tmp_path, kind):
    with SystemLog(str(tmp_path / "log"), kind) as log:
        with Mute(*ALLOW, "--syslog", log.place, "--log-level", "debug", workers=2) as gateway:
            until(log.read)
            talk(gateway, upstream.target, 300 if kind == socket.SOCK_STREAM else 20)
            for _turn in range(5 if kind == socket.SOCK_DGRAM else 0):
                reload(gateway)
            lives(gateway, upstream)
            if kind == socket.SOCK_DGRAM:
                assert gateway.lost > 0
                tells(gateway, log.read)
            ends(gateway)
            assert_whole(log.read())


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, pytest.param(socket.SOCK_STREAM, marks=LONG)])
def test_a_system_log_that_goes_away_and_comes_back(upstream, tmp_path, kind):
    with SystemLog(str(tmp_path / "log"), kind) as log:
        with Mute(*ALLOW, "--syslog", log.place, workers=2) as gateway:
            until(log.read)
            log.go()
            lives(gateway, upstream)
            until(lambda: gateway.lost > 10, SECONDS)
            log.come()
            talk(gateway, upstream.target, 5)
            tells(gateway, log.read)
            ends(gateway)
            assert_whole(log.read(), torn=1)


def test_a_system_log_that_is_gone_over_udp(upstream):
    with SystemLog(("127.0.0.1", 0)) as log:
        with Mute(*ALLOW, "--syslog", log.place, workers=2) as gateway:
            until(log.read)
            log.go()
            lives(gateway, upstream)
            until(lambda: gateway.lost > 10, SECONDS)
            log.come()
            talk(gateway, upstream.target, 5)
            until(lambda: told_of(log.read()) > 10, SECONDS)
            ends(gateway)
            assert_whole(log.read())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_system_log_over_udp_of_either_family_hears_each_level(upstream, host):
    """What it hears is judged where it is read: each line has its level's priority."""
    first = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)[0][4][0]  # where a datagram to that name goes
    with SystemLog((first, 0)) as log:
        port = log.place.rpartition(":")[2]
        place = f"{host}:{port}" if host == "localhost" else log.place
        with Mute(*ALLOW, "--syslog", place, "--log-level", "debug", workers=2) as gateway:
            talk(gateway, upstream.target)
            gateway.ask("denied.example:443")[0].close()
            until(lambda: {"debug", "info", "warning"} <= {line.get("level") for line in log.read()}, SECONDS)
            ends(gateway)
        assert_whole(log.read())


def test_the_journal_hears_each_level_in_front_of_the_line(upstream):
    ours, theirs = socket.socketpair()
    there = os.fstat(theirs.fileno())
    environment = {"JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino}"}
    with ours, theirs:
        flags = ("--log-level", "debug")
        with Mute(*ALLOW, *flags, stdout=theirs.fileno(), environment=environment, workers=2) as gateway:
            talk(gateway, upstream.target)
            gateway.ask("denied.example:443")[0].close()
            until(lambda: gateway.metric('ogw_events_total{event="108"}') == 1, SECONDS)
            ends(gateway)
        words = [sys.executable, "-m", "ogw", "run", "--allowed-host", "*"]
        subprocess.run(words, cwd=ROOT, stdout=theirs, stderr=subprocess.PIPE, env={**os.environ, **environment})
        theirs.close()
        lines = b"".join(iter(lambda: ours.recv(1 << 16), b"")).splitlines()
    found = {(line[:3], lines_of(line[3:])[0].get("level")) for line in lines}
    assert found == {(b"<7>", "debug"), (b"<6>", "info"), (b"<4>", "warning"), (b"<3>", "error")}


# Standard error.


def test_standard_error_that_nobody_reads_does_not_keep_it_from_ending():
    with Pipe() as pipe:
        with contextlib.suppress(BlockingIOError):
            os.set_blocking(pipe.writing, False)
            while os.write(pipe.writing, bytes(4096)):
                pass
        os.set_blocking(pipe.writing, True)
        words = [sys.executable, "-m", "ogw", "run", "--log-file", "/nowhere/ogw.log"]
        done = subprocess.run(words, cwd=ROOT, stdout=pipe.writing, stderr=pipe.writing, timeout=60)
        assert done.returncode == 2
