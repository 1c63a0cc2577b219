"""Names of files that cannot be encoded or would do something to a terminal, and details without end: what is said."""

import os
import signal
import subprocess
import sys

import pytest
from harness.admin import ask, asked
from harness.dns import Dns
from harness.gateway import ROOT, read_all
from harness.sinks import Mute, SystemLog, lines_of
from harness.waiting import until

NAMES = [b"\xff.txt", b"a\nb.txt", b"\x1b[2J.txt", "\u202egnp.txt".encode(), b"\xc2\x9b31m.txt", b"\xed\xa0\x80.txt"]
RULE = "no such rule\n"
WAYS = [(form, given) for form in ("text", "json") for given in ("standard output", "log-file", "syslog")]
QUICK = [(NAMES[0], *way) for way in WAYS] + [(name, *WAYS[0]) for name in NAMES[1:]]
LONG = [(name, *way) for name in NAMES for way in WAYS if (name, *way) not in QUICK]


def put(folder, name):
    """A file with a wrong rule. A reload, or the look at the folder, finds it."""
    with open(os.path.join(os.fsencode(folder), name), "w") as file:
        file.write(RULE)


@pytest.mark.parametrize(
    ("name", "form", "given"), [*QUICK, *(pytest.param(*one, marks=pytest.mark.long) for one in LONG)], ids=ascii
)
def test_a_file_in_a_watched_folder_may_have_any_name(tmp_path, name, form, given):
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "good.txt").write_text("www.example.com\n")
    path = tmp_path / "ogw.log"
    with SystemLog(str(tmp_path / "syslog")) as log, open(tmp_path / "stdout", "wb+") as out:
        to = {"log-file": ["--log-file", str(path)], "syslog": ["--syslog", log.place]}.get(given, [])
        flags = ("--allowed-host-source", str(lists), *to, "--log-format", form)
        with Mute(*flags, stdout=out.fileno()) as gateway:

            def read():
                if given == "syslog":
                    log.read()
                    return log.data.decode("utf-8")
                return (path if given == "log-file" else tmp_path / "stdout").read_bytes().decode("utf-8")

            put(lists, name)
            until(lambda: "nothing was reloaded" in read())
            (line,) = [line for line in read().split("\n") if "nothing was reloaded" in line]
            assert line.isprintable()
            assert "good.txt" not in line and ".txt" in line
            assert ask(gateway, "/readyz")[0] == 200
            assert gateway.stop() == 0
        if form == "json" and given != "syslog":
            assert not any("unreadable" in line for line in lines_of(read().encode()))


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_mistake_at_the_start_is_said_on_standard_error_in_one_line(tmp_path, name):
    folder = tmp_path / "lists"
    folder.mkdir()
    put(folder, name)
    words = [sys.executable, "-m", "ogw", "run", "--allowed-host-source", str(folder)]
    locale = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    for environment in ({}, locale):
        environment = {"PATH": os.environ["PATH"], **environment}
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, timeout=60)
        assert done.returncode == 2
        for data in (done.stderr, done.stdout):
            (line,) = data.decode("utf-8").splitlines()
            assert line.isprintable() and "no such rule" in line
        assert lines_of(done.stdout)[0]["event"] == 401


def test_the_lines_of_a_start_that_fails_are_of_one_process_and_follow_each_other():
    words = [sys.executable, "-m", "ogw", "run", "--allowed-host", "*", "--listen-port", "0", "--workers", "x"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, timeout=60)
    lines = lines_of(done.stdout)
    assert done.returncode == 2 and len(lines) >= 3 and len({line["process"] for line in lines}) == 1
    assert [line["sequence"] for line in lines] == list(range(1, len(lines) + 1))


@pytest.mark.parametrize("name", [b"\xc3\xbc", b"\xff\x1b", b"\x1b", "\u202e".encode()], ids=ascii)
def test_a_log_file_that_cannot_be_opened_is_said_in_one_line_whatever_its_name(tmp_path, name):
    folder = os.fsdecode(os.path.join(os.fsencode(tmp_path), name))
    words = [sys.executable, "-m", "ogw", "run", "--allowed-host", "a.example", "--log-file", f"{folder}/ogw.log"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == 2
    for data in (done.stderr, done.stdout):
        (line,) = data.decode("utf-8").splitlines()
        assert line.isprintable() and str(tmp_path) in line


def test_thousands_of_refused_addresses_are_a_detail_that_is_cut(tmp_path):
    """What a zone may hold is no bound for a line."""
    many = [f"10.{number >> 8}.{number & 255}.1" for number in range(1500)]
    path = tmp_path / "ogw.log"
    with Dns({"many.example": many}) as dns:
        flags = [*dns.flags, "--dns-timeout", "60s", "--log-file", str(path)]
        with Mute("--allowed-host", "many.example", *flags) as gateway:
            with gateway.connect() as sock:
                sock.sendall(b"CONNECT many.example:443 HTTP/1.1\r\n\r\n")
                assert b"address-not-allowed" in read_all(sock)
            (entry,) = until(lambda: [line for line in lines_of(path.read_bytes()) if line["event"] == 105])
            assert "10." in entry["message"] and entry["message"].endswith("; and 1495 more")
            assert len(entry["message"]) < 2200
            (shown,) = asked(gateway, "/status")["refusals"]
            assert shown["detail"] == entry["message"]
            assert gateway.stop(signal.SIGTERM) == 0
