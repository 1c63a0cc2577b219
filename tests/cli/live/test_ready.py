"""`ogw ready` says by its exit code what /readyz says, wherever the gateway can be asked."""

import os
import signal
import subprocess
import sys
import time

import pytest
from harness.admin import ask
from harness.commands import OGW, ROOT, clean
from harness.gateway import ALLOW, Gateway, address, read_head
from harness.issued import Issued
from harness.peers import peer
from harness.upstreams import Server
from harness.waiting import PATIENCE, until

from ogw.settings.ini.glance import glance
from ogw.settings.loader import load


def answer(*words, **environment):
    """The exit code, and what was said; a gateway of this machine in its usual place, /run/ogw, is hidden from it."""
    hidden = [peer("unshare"), "--mount", "sh", "-c", 'mount -t tmpfs tmpfs /run && exec "$@"', "sh"]
    done = subprocess.run(
        [*(hidden if os.geteuid() == 0 else ()), *OGW, "ready", *map(str, words)],
        cwd=ROOT, env=clean(**environment), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=60 * PATIENCE,
    )  # fmt: skip
    return done.returncode, (done.stdout + done.stderr).strip()


def test_it_is_0_while_it_serves_and_1_while_it_drains(upstream):
    with Gateway(*ALLOW) as gateway:
        assert answer("--run-dir", gateway.run_dir) == (0, "ready")
        with gateway.tunnel(upstream.target):
            gateway.process.terminate()
            gateway.wait_for(event=110)
            assert answer("--run-dir", gateway.run_dir) == (1, "not ready: draining")


def test_it_is_1_while_a_worker_does_not_answer():
    with Gateway(*ALLOW, "--hung-timeout", "4s", workers=2) as gateway:
        os.kill(gateway.workers[0], signal.SIGSTOP)
        _status, _headers, why = until(lambda: (said := ask(gateway, "/readyz"))[0] == 503 and said)
        assert answer("--run-dir", gateway.run_dir) == (1, f"not ready: {why.decode().strip()}")
        gateway.wait_for(event=405)
        until(lambda: answer("--run-dir", gateway.run_dir) == (0, "ready"))


@pytest.mark.parametrize("name", ["admin-address", "health-address"])
def test_without_a_socket_it_asks_where_the_configuration_says(tmp_path, name):
    """A container with a read-only root and nothing mounted to write to."""
    places = {"OGW_ADMIN_ADDRESS": "", f"OGW_{name.upper().replace('-', '_')}": f"{address()}:9181"}
    environment = {"RUNTIME_DIRECTORY": f"{tmp_path}/no/folder", **places}
    with Gateway(*ALLOW, leaves=("run-dir", "admin-address"), environment=environment) as gateway:
        until(lambda: any(line["message"].startswith("run-dir: ") for line in gateway.events(100)))
        assert answer(**environment) == (0, "ready")
        code, told = answer("--run-dir", tmp_path, **environment)
        assert code == 3 and f"{tmp_path}/admin.sock: there is no such socket" in told  # that one would have a socket


def test_without_a_socket_it_speaks_tls_where_the_configuration_does(tmp_path, authority):
    host = address()
    issued, tokens = Issued(tmp_path, authority, host), tmp_path / "tokens"
    Issued.put(tokens, b"0123456789abcdef\n")
    places = {"OGW_ADMIN_ADDRESS": host, "OGW_ADMIN_TLS_CERTIFICATE": str(issued.certificate),
              "OGW_ADMIN_TLS_KEY": str(issued.key), "OGW_ADMIN_TOKEN_FILE": str(tokens)}  # fmt: skip
    environment = {"RUNTIME_DIRECTORY": f"{tmp_path}/no/folder", **places}
    with Gateway(*ALLOW, leaves=("run-dir", "admin-address"), environment=environment) as gateway:
        until(lambda: any(line["message"].startswith("run-dir: ") for line in gateway.events(100)))
        assert answer(**environment) == (0, "ready")


def test_what_cannot_be_asked_is_said_with_each_place(tmp_path):
    place = f"{address()}:9181"
    nowhere = {"RUNTIME_DIRECTORY": f"{tmp_path}/run", "OGW_ADMIN_ADDRESS": "", "OGW_HEALTH_ADDRESS": place}
    code, told = answer(**nowhere)
    assert code == 3 and f"{tmp_path}/run/admin.sock: there is no such socket" in told
    assert f"{place}: Connection refused" in told


@pytest.mark.parametrize("said", [b"<html>", b"\xff", b""])
def test_another_program_at_the_address_is_no_yes(tmp_path, said):
    answered = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said)
    with Server(lambda sock: (read_head(sock), sock.sendall(answered))) as server:
        code, told = answer(RUNTIME_DIRECTORY=str(tmp_path), OGW_ADMIN_ADDRESS=server.target)
    assert code == 3 and f"{server.target} answered 200, which this command does not understand" in told


def test_a_wrong_configuration_is_told_where_it_would_say_where_to_ask(tmp_path):
    code, told = answer(RUNTIME_DIRECTORY=str(tmp_path), OGW_ADMIN_ADDRESS="nowhere")
    assert code == 2 and "OGW_ADMIN_ADDRESS: 'nowhere'" in told


def test_quiet_says_nothing_and_answers_as_well(tmp_path):
    with Gateway(*ALLOW) as gateway:
        assert answer("--quiet", "--run-dir", gateway.run_dir) == (0, "")
        assert answer("--quiet", "--off", "--run-dir", gateway.run_dir) == (0, "")
        assert answer("--quiet", "--run-dir", gateway.run_dir) == (1, "")
    code, told = answer("--quiet", "--run-dir", tmp_path)
    assert code == 3 and "no gateway to ask" in told  # somebody set it up wrongly


def test_an_admin_process_that_hangs_is_a_no_after_two_seconds():
    with Gateway(*ALLOW) as gateway:
        admin = gateway.admin
        os.kill(admin, signal.SIGSTOP)
        begin = time.monotonic()
        told = answer("--run-dir", gateway.run_dir)
        took = time.monotonic() - begin
        os.kill(admin, signal.SIGCONT)
    assert told == (1, "not ready: the gateway did not answer within 2 s") and took < 20 * PATIENCE


@pytest.mark.parametrize("piece", [b"", b"H"], ids=["never", "byte by byte"])
def test_the_limit_is_for_the_whole_answer(tmp_path, piece):
    def serve(sock):
        read_head(sock)
        while piece:
            sock.sendall(piece)
            time.sleep(0.05)  # it is that slow
        sock.recv(1)

    with Server(serve) as server:
        code, told = answer(RUNTIME_DIRECTORY=str(tmp_path), OGW_ADMIN_ADDRESS=server.target)
    assert (code, told) == (1, "not ready: the gateway did not answer within 2 s")


def test_an_answer_without_an_end_is_cut(tmp_path):
    def serve(sock):
        read_head(sock)
        while True:
            sock.sendall(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1000)

    with Server(serve) as server:
        code, told = answer(RUNTIME_DIRECTORY=str(tmp_path), OGW_ADMIN_ADDRESS=server.target)
    assert code == 3 and "ended without an answer" in told


@pytest.mark.parametrize("named", [True, False], ids=["by its run-dir", "where it is"])
def test_it_starts_quickly_since_it_is_called_every_second(named):
    """What it imports is what it costs: neither the settings nor the parts that draw on a terminal."""
    script = (
        "import sys; from ogw.cli.main import main; code = main(sys.argv[1:]); "
        "print(*[name for name in sys.modules if name.startswith(('ogw.', 'http', 'rich', 'json', 'configarg'))]); "
        "sys.exit(code)"
    )
    with Gateway(*ALLOW) as gateway:
        words = ["ready", *(["--run-dir", gateway.run_dir] if named else [])]
        environment = {} if named else {"RUNTIME_DIRECTORY": gateway.run_dir}
        done = subprocess.run(
            [sys.executable, "-c", script, *words], cwd=ROOT, env=clean(**environment), capture_output=True, text=True,
            timeout=60 * PATIENCE,
        )  # fmt: skip
    said, modules = done.stdout.splitlines()
    assert (done.returncode, said) == (0, "ready"), done.stderr
    assert set(modules.split()) <= {
        *("ogw.cli", "ogw.cli.main", "ogw.cli.streams", "ogw.cli.exits", "ogw.cli.commands", "ogw.cli.parser"),
        *("ogw.cli.live", "ogw.cli.live.ready", "ogw.cli.live.meant", "ogw.cli.live.sockets"),
        *("ogw.machine", "ogw.machine.files"),
        *("ogw.service", "ogw.service.signals", "ogw.settings", "ogw.settings.run_dir", "ogw.settings.usual"),
        *("ogw.report", "ogw.report.status", "ogw.wire", "ogw.wire.place"),
        *("ogw.cli.spoken", "ogw.cli.argparse_texts", "ogw.settings.ini", "ogw.settings.ini.glance"),
        *("ogw.language", "ogw.language.known", "ogw.language.messages", "ogw.language.wrapping"),
    }


@pytest.mark.parametrize("before", [1 << 20, (1 << 20) - 40, (1 << 20) - 1], ids=["behind", "cut", "at the edge of"])
def test_the_run_dir_of_a_large_file_is_found_as_a_gateway_finds_it(tmp_path, before):
    path = tmp_path / "ogw.ini"
    comment = "[ogw]\n# "
    line = f"run-dir = {tmp_path}/a\n"
    long = "\u00e4" * ((before - len(comment)) // 2)
    path.write_text(f"{comment}{long}\n{line}allowed-host = a.example\n")
    assert glance(str(path), "run-dir") == load(["--config", str(path)], {}).run_dir == f"{tmp_path}/a"


def test_where_the_socket_of_the_files_run_dir_cannot_be_opened_its_addresses_are_asked(tmp_path):
    """As of whoever checks health as another user."""
    place = f"{address()}:9181"
    file = tmp_path / "ogw.ini"
    file.write_text(f"[ogw]\nrun-dir = {tmp_path}/none\nadmin-address =\nhealth-address = {place}\n")
    with Gateway(*ALLOW, "--health-address", place):
        assert answer("--config", file)[0] == 0
        assert answer("--config", file, "--run-dir", tmp_path)[0] == 3, "this one has a socket, or is none"
