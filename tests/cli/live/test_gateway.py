"""What commands say when the gateway cannot be asked, and that nothing it says can write into a terminal."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
from harness.commands import ROOT, clean, ogw
from harness.gateway import Gateway
from harness.peers import root

ALLOW = ("--allowed-host", "www.example.com")
ASKING = ["status", "status --json", "top", "tunnels", "tunnel kill x", "reload", "drain"]


class Impostor:
    """Answers each connection to a socket in a folder with the same bytes. Use as a context manager."""

    def __init__(self, folder, answer):
        self._answer = answer
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.bind(str(folder / "admin.sock"))
        self._sock.listen()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._sock.close()

    def _serve(self):
        while True:
            try:
                connection, _name = self._sock.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(self._answer)


def http(body, status="200 OK"):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


@pytest.mark.parametrize("words", [*ASKING, "ready"])
def test_without_a_gateway_each_command_is_3_and_says_where_it_looked(tmp_path, words):
    done = ogw(*words.split(), "--run-dir", tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"{tmp_path}/admin.sock: there is no such socket" in done.stderr and "--run-dir FOLDER" in done.stderr


def test_without_a_name_it_looks_everywhere_a_gateway_puts_its_socket(tmp_path):
    done = ogw("status", XDG_RUNTIME_DIR=str(tmp_path), RUNTIME_DIRECTORY=str(tmp_path / "unit"))
    if done.returncode == 3:  # this machine may run one
        for place in (tmp_path / "ogw", tmp_path / "unit", "/run/ogw"):
            assert f"{place}/admin.sock: " in done.stderr


def test_a_gateway_is_found_by_flag_variable_file_or_in_its_default_folder(tmp_path):
    folder = tmp_path / "ogw"
    file = tmp_path / "ogw.ini"
    file.write_text(f"[ogw]\nrun-dir = {folder}\nno such = thing\n")
    with Gateway(*ALLOW, "--run-dir", str(folder)) as gateway:
        for words, environment in (
            (["--run-dir", folder], {"OGW_RUN_DIR": "/nowhere"}),
            ([], {"OGW_RUN_DIR": str(folder)}),
            ([], {"OGW_CONFIG": str(file)}),
            ([], {"RUNTIME_DIRECTORY": str(folder)}),
        ):
            done = ogw("status", *words, **environment)
            assert done.returncode == 0 and f"{gateway.address}:8080" in done.stdout, environment


def test_a_socket_that_a_dead_gateway_left_is_said_to_be_one(tmp_path):
    with Gateway(*ALLOW, "--run-dir", str(tmp_path)) as gateway:
        gateway.process.send_signal(signal.SIGKILL)
        gateway.process.wait(20)
        for thread in gateway._threads:
            thread.join(20)  # the end of its log is the end of its children
        done = ogw("status", "--run-dir", tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"{tmp_path}/admin.sock: this socket is left over from a gateway that ended" in done.stderr


def test_a_live_gateway_is_found_behind_a_socket_that_a_dead_one_left(tmp_path):
    stale = tmp_path / "stale"
    stale.mkdir()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(stale / "admin.sock"))
    with Gateway(*ALLOW, "--run-dir", str(tmp_path / "ogw")):
        done = ogw("status", RUNTIME_DIRECTORY=str(stale), XDG_RUNTIME_DIR=str(tmp_path))
    if os.path.exists("/run/ogw/admin.sock"):
        return  # root's own comes first
    assert done.returncode == 0


def test_a_socket_of_somebody_else_is_said_to_need_sudo():
    root()
    # Whoever becomes nobody may not be allowed to read Python's own files any more: they are imported before.
    script = (
        "import os, sys, ogw.cli.main, ogw.cli.commands, ogw.cli.live.status, ogw.cli.live.gateway; "
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); sys.exit(ogw.cli.main.main(sys.argv[1:]))"
    )
    with Gateway(*ALLOW) as gateway:
        for folder_mode in (0o700, 0o755):
            os.chmod(gateway.run_dir, folder_mode)
            done = subprocess.run(
                [sys.executable, "-c", script, "status", "--run-dir", gateway.run_dir],
                cwd=ROOT, env=clean(), capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            assert (done.returncode, done.stdout) == (3, "")
            assert f"{gateway.run_dir}/admin.sock: you may not open it; try it with sudo" in done.stderr


def test_a_gateway_that_hangs_is_waited_for_only_so_long():
    with Gateway(*ALLOW) as gateway:
        os.kill(gateway.admin, signal.SIGSTOP)
        done = ogw("status", "--run-dir", gateway.run_dir)
        os.kill(gateway.admin, signal.SIGCONT)
    assert done.returncode == 3 and "did not answer within 10 s" in done.stderr


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "ended without an answer"),
        (b"SSH-2.0-OpenSSH\r\n", "ended without an answer"),
        (http(b"<html>\x1b[2J"), "does not understand: <html>\\x1b[2J"),
        (http(b"\xff\xfe"), "does not understand"),
        (http([]), "does not understand"),
        (http(b"the supervisor is gone", "503 Service Unavailable"), "answered 503, which"),
        (http(b"\x1b[2J", "500 Internal Server Error"), "answered 500, which"),
        (http({"version": "9.9\x1b", "counters": {}}), "the gateway is version 9.9\\x1b (protocol"),
        (http({"counters": []}), "the gateway is version ?"),
        (http({"version": [1]}), "the gateway is version 1"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "ended without an answer"),
        (http({}), "the gateway is version ?"),
    ],
)
def test_what_is_no_answer_of_a_gateway_is_said_in_one_sentence(tmp_path, answer, says):
    with Impostor(tmp_path, answer):
        for words in ASKING:
            if words == "status --json" and says.startswith("the gateway is version"):
                continue  # it shows whatever it is told
            done = ogw(*words.split(), "--run-dir", tmp_path)
            assert (done.returncode, done.stdout) == (3, ""), words
            assert "Traceback" not in done.stderr and "\x1b" not in done.stderr, done.stderr
            assert says in done.stderr, done.stderr


EVIL = "evil\x1b]0;title\x07\x1b[2J\r\n\u202e[red]\x9b31m"


def poisoned(value):
    """The same shape with every text a hostile one, but what commands look at."""
    if isinstance(value, dict):
        return {name: one if name in ("state", "started", "last") else poisoned(one) for name, one in value.items()}
    if isinstance(value, list):
        return [poisoned(one) for one in value]
    return EVIL if isinstance(value, str) else value


def test_hostile_text_does_not_reach_the_terminal(tmp_path):
    with Gateway(*ALLOW, "--relay-proxy", "http://127.0.0.1:1") as gateway:
        gateway.ask("www.example.org:443")[0].close()
        gateway.wait_for(event=105)
        gateway.ask("www.example.com:443")[0].close()
        gateway.wait_for(event=403)
        state = json.loads(ogw("status", "--json", "--run-dir", gateway.run_dir).stdout)
    state |= {"top_clients": [{"client": "", "tunnels": 1}], "top_hosts": [{"host": "", "tunnels": 1}]}
    tunnel = {"tunnel": "", "client": "", "target": "", "upstream": "", "state": ""}
    answer = {"tunnels": [{**tunnel, "duration": 1, "bytes_up": 1, "bytes_down": 1}], "total": 2, "workers_missing": 0}
    more = {"mistakes": [EVIL], "changed": [EVIL], "policy": EVIL, "killed": True}
    both = {**poisoned(state), **poisoned(answer), **more, "workers_missing": 0}
    both["reasons"] = {EVIL: 1}
    with Impostor(tmp_path, http(both)):
        for words in ASKING:
            command = [*words.split(), "--run-dir", tmp_path, *(["--count", "1"] if words == "top" else [])]
            for environment in ({}, {"FORCE_COLOR": "1", "TERM": "xterm"}):
                if environment and words == "top":
                    continue  # its own sequences are meant
                done = ogw(*command, **environment)
                assert "Traceback" not in done.stderr, done.stderr
                said = done.stdout + done.stderr
                assert not {"\x07", "\x9b", "\r", "\u202e"} & set(said), words
                assert "\x1b]" not in said and "\x1b[2J" not in said, words
                assert environment or "\x1b" not in said
                assert words in ("drain", "tunnel kill x") or "evil" in said, words


@pytest.mark.parametrize(
    "words",
    [
        "tunnels --target ?",
        "tunnel kill ?",
        "sources rollback ?",
        "ready --off",
        "allowed-host add a.example",
    ],
)
def test_words_that_are_no_utf_8_are_told_about_as_any_others(tmp_path, words):
    ini = tmp_path / "ogw.ini"
    ini.write_text("[ogw]\nallowed-host = b.example\n")
    with Gateway("--config", str(ini)) as gateway:
        done = ogw(
            *words.replace("?", "\udcff").split(), OGW_CONFIG=str(ini), OGW_RUN_DIR=gateway.run_dir, SUDO_USER="\udcff"
        )
        assert done.returncode in (0, 1, 2) and "OGW-400" not in done.stderr, done
