"""Standard streams that are closed from the start, or broken since: nothing that is opened takes their place."""

import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest
from harness.commands import ROOT, clean, ogw
from harness.gateway import Gateway, address
from harness.waiting import until

ALLOW = ("--allowed-host", "www.example.com", "--admin-address", "", "--workers", "1")
OGW = [sys.executable, "-m", "ogw"]
DONE = "ogw: what was to be done is done, but the output cannot be written: "
SUBSETS = [closed for size in (1, 2, 3) for closed in itertools.combinations((0, 1, 2), size)]


def shell(words, redirected, **more):
    """The command, started by a shell with these redirections."""
    return subprocess.Popen(
        ["sh", "-c", f'exec "$@" {redirected}', "sh", *OGW, *map(str, words)],
        cwd=ROOT, env=clean(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more,
    )  # fmt: skip


def ended(words, redirected):
    """(exit code, standard output, standard error)."""
    with shell(words, redirected) as process:
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err


def closing(closed):
    return " ".join(f"{number}{'<' if number == 0 else '>'}&-" for number in closed)


def events(log):
    return [json.loads(line)["event"] for line in log.read_text().splitlines()] if log.exists() else []


@pytest.mark.parametrize("closed", SUBSETS, ids=closing)
def test_a_gateway_with_a_log_file_needs_no_standard_streams(tmp_path, closed):
    log = tmp_path / "ogw.log"
    flags = ["--listen-address", address(), "--log-file", log, "--run-dir", tmp_path, "--state-dir", tmp_path]
    with shell(["run", *ALLOW, *flags], closing(closed)) as process:
        until(lambda: events(log) == [101] or process.poll() is not None)
        for pid in (process.pid, *children(process.pid)):
            links = [os.readlink(f"/proc/{pid}/fd/{number}") for number in (0, 1, 2)]
            assert [links[number] for number in closed] == ["/dev/null"] * len(closed)
        for number in (signal.SIGHUP, signal.SIGTERM):
            process.send_signal(number)
            until(lambda number=number: number == signal.SIGTERM or 109 in events(log))
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")
    assert events(log) == [101, 109, 110, 102]


def children(pid):
    return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.parametrize("redirected", [">&-", "</dev/null >&-", "1</dev/null"])
def test_without_a_log_file_a_closed_standard_output_is_one_clear_line(tmp_path, redirected):
    code, out, err = ended(["run", *ALLOW, "--listen-address", address(), "--run-dir", tmp_path], redirected)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("ogw: OGW-401 the log cannot be written: standard output: it is not open")
    assert "log-file" in line


def test_a_mistake_is_one_too_where_only_the_exit_code_can_tell():
    assert ended(["run", "--allowed-host", "*"], ">&-")[0] == 2
    assert ended(["run", "--allowed-host", "*"], ">&- 2>&-") == (2, "", "")
    assert ended(["run", "--allowed-host", "*"], "2>/dev/full")[0] == 2
    assert ended(["nonsense"], "2>&-") == (2, "", "")


def test_a_command_whose_output_is_closed_says_that_it_could_not_write():
    code, _out, err = ended(["version"], ">&-")
    assert (code, err) == (74, f"{DONE}Bad file descriptor\n")
    assert ended(["version"], ">&- 2>&-") == (74, "", "")


@pytest.mark.parametrize("redirected", [">/dev/full", ">&-"])
def test_what_was_asked_for_is_done_although_the_output_cannot_be_written(tmp_path, redirected):
    file = tmp_path / "ogw.ini"
    file.write_text("[ogw]\n")
    hosts = [f"{number}.{'long' * 10}.example" for number in range(400)]  # more than fits into a buffer
    with Gateway("--config", str(file)) as gateway:
        named = ["--config", file, "--run-dir", gateway.run_dir]
        code, _out, err = ended(["allowed-host", "add", *hosts, "--reload", *named], redirected)
        assert code == 74 and err.splitlines()[-1].startswith(DONE), err
        assert hosts[-1] in file.read_text() and gateway.wait_for(event=109)
        code, _out, err = ended(["reload", *named], redirected)
        assert code == 74 and err.startswith(DONE), err
        file.write_text("[ogww]\n")
        code, _out, err = ended(["reload", *named], redirected)
        assert code == 1 and "the section [ogww] is unknown" in err


def test_a_reader_that_left_hides_no_reload_that_was_refused(tmp_path):
    file = tmp_path / "ogw.ini"
    file.write_text("[ogw]\n")
    hosts = [f"{number}.{'long' * 10}.example" for number in range(400)]
    with Gateway("--config", str(file)) as gateway:
        file.write_text("[ogw]\nno-such = setting\n")
        words = ["allowed-host", "add", *hosts, "--reload", "--config", file, "--run-dir", gateway.run_dir]
        read, write = os.pipe()
        os.close(read)
        with open(write, "w") as pipe:
            done = ogw(*words, stdout=pipe)
    assert done.returncode == 1 and "nothing was reloaded" in done.stderr
    assert hosts[-1] in file.read_text()


@pytest.mark.parametrize("redirected", [">/dev/full", "| true"])
def test_what_is_shown_on_and_on_ends_where_nobody_sees_it(redirected):
    with Gateway(*ALLOW[:2]) as gateway:
        words = ["top", "--interval", "0.1", "--run-dir", gateway.run_dir]
        if redirected == "| true":
            read, write = os.pipe()
            os.close(read)
            with open(write, "w") as pipe:
                assert ogw(*words, stdout=pipe).returncode == 0
        else:
            assert ended(words, redirected)[0] == 74


def test_errors_do_not_go_to_standard_output_where_standard_error_is_closed():
    code, out, _err = ended(["status", "--run-dir", "/nonexistent"], "2>&-")
    assert (code, out) == (3, "")


@pytest.mark.parametrize("words", [["inspect", "-"], ["suggest", "-"]])
def test_a_closed_standard_input_is_an_empty_one(words):
    code, _out, err = ended(words, "<&-")
    assert code in (0, 1, 2) and "OGW-400" not in err and "Traceback" not in err


@pytest.mark.parametrize("broken", ["reader", "disk"])
def test_a_broken_standard_error_does_not_end_the_gateway(tmp_path, broken):
    read, write = os.pipe()
    log = tmp_path / "ogw.log"
    with open("/dev/full", "w") as full, subprocess.Popen(
        [*OGW, "run", *ALLOW, "--listen-address", address(), "--log-file", str(log), "--run-dir", str(tmp_path)],
        cwd=ROOT, env=clean(), stdout=subprocess.PIPE, stderr=full if broken == "disk" else write,
    ) as process:  # fmt: skip
        os.close(write)
        os.close(read)
        until(lambda: events(log) == [101])
        worker = next(one for one in children(process.pid) if "worker" in title(one))
        os.kill(int(worker), signal.SIGKILL)
        until(lambda: 405 in events(log))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert process.stdout.read() == b""


def title(pid):
    return pathlib.Path(f"/proc/{pid}/cmdline").read_text()
