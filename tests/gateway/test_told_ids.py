"""What a client was told is found by the id of its tunnel, also where the log has only a count of it."""

import json
import os
import re
import signal
import subprocess
import time

import pytest
from harness.admin import ask, asked
from harness.commands import OGW, ogw
from harness.gateway import ALLOW, Gateway, read_all
from harness.sinks import Mute
from harness.terminal import Terminal
from harness.upstreams import Server, echo
from harness.waiting import until

from ogw.policy.rules import time_text
from ogw.report.recent import TUNNEL_ID

TARGET = "till.example:443"


@pytest.fixture(scope="module")
def gateway():
    with Gateway("--log-every-refusal=no", *ALLOW, workers=2) as gateway:
        yield gateway


def refused(gateway, target=TARGET):
    """The id as Proxy-Status and the body tell it, and the client's address:port."""
    with gateway.connect() as sock:
        client = "{}:{}".format(*sock.getsockname())
        sock.sendall(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
        answer = read_all(sock).decode()
    (in_header,) = re.findall('tunnel="([^"]+)"', answer)
    (in_body,) = re.findall("under tunnel ([^ ,]+),", answer)
    assert in_header == in_body and TUNNEL_ID.match(in_header)
    return in_header, client


def found(gateway, tunnel):
    return json.loads(ask(gateway, f"/tunnel?id={tunnel}")[2])


def events(gateway, *words, **environment):
    return ogw("events", *words, "--run-dir", gateway.run_dir, **environment)


def test_a_client_that_is_refused_fifty_times_is_found_by_each_id(gateway):
    told = [refused(gateway) for _turn in range(50)]
    alone = []
    for tunnel, client in told:
        (one,) = found(gateway, tunnel)["refusals"]
        assert (one["client"], one["target"], one["reason"]) == (client, TARGET, "host-not-allowed")
        if not one["folded"]:
            alone.append(tunnel)
            gateway.wait_for(event=105, tunnel=tunnel)
    assert 1 <= len(alone) <= 2, "one of each worker"
    lines = [line["tunnel"] for line in gateway.events(105) if line.get("target") == TARGET]
    assert sorted(lines) == sorted(alone)
    tunnel, client = next(one for one in reversed(told) if one[0] not in alone)
    done = events(gateway, tunnel)
    assert (done.returncode, done.stderr) == (0, "")
    for said in (
        f"tunnel {tunnel}\n",
        client,
        TARGET,
        "OGW-105",
        "What to do: ",
        "no line of its own",
    ):
        assert said in done.stdout
    done = events(gateway, alone[0])
    assert done.returncode == 0 and TARGET in done.stdout and "no line of its own" not in done.stdout


def test_an_id_is_taken_as_it_is_copied(gateway):
    tunnel, client = refused(gateway, "copied.example:443")
    for typed in (f'"{tunnel}"', f"{tunnel},", tunnel.upper()):
        done = events(gateway, typed)
        assert done.returncode == 0 and client in done.stdout, done


def test_on_a_terminal_no_word_is_broken(gateway):
    tunnel, client = refused(gateway, "a-rather-long-name-of-a-host.a-department-with-a-name.example.net:8443")
    words = ["events", tunnel, "--run-dir", gateway.run_dir]
    with Terminal([*OGW, *words], 80, 24, NO_COLOR="1") as terminal:
        assert terminal.end() == 0
        shown = set(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.raw.decode()).split())
    assert client in shown and shown == set(ogw(*words).stdout.split())


def test_the_same_as_json(gateway):
    tunnel, _client = refused(gateway, "json.example:443")
    done = events(gateway, tunnel, "--json")
    assert done.returncode == 0 and json.loads(done.stdout) == found(gateway, tunnel)
    done = events(gateway, "000000-1", "--json")
    assert done.returncode == 1
    nothing = {"open": None, "refusals": [], "workers_missing": 0, "deaths": 0, "search": ""}
    assert json.loads(done.stdout) == {"tunnel": "000000-1", **nothing}


def test_an_open_tunnel_is_found(gateway):
    with Server(echo) as server, gateway.tunnel(server.target):
        (one,) = [one for one in asked(gateway, "/tunnels")["tunnels"] if one["target"] == server.target]
        done = events(gateway, one["tunnel"])
        assert done.returncode == 0 and "open, for " in done.stdout and one["client"] in done.stdout
        assert found(gateway, one["tunnel"])["refusals"] == []


def test_who_is_refused_before_the_target_is_known_is_found(gateway):
    with gateway.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        tunnel = re.findall('tunnel="([^"]+)"', read_all(sock).decode())[0]
    done = events(gateway, tunnel)
    assert done.returncode == 0 and done.stdout.splitlines()[2].startswith("not-connect  (the client is answered 405)")


def test_an_unknown_id_is_answered_with_where_else_to_look(gateway):
    done = events(gateway, "000000-1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "knows no tunnel 000000-1" in done.stderr and "search it for 000000-1" in done.stderr


def test_what_a_worker_knew_that_died_is_found_in_the_log_by_the_command_that_is_told(tmp_path):
    log = tmp_path / "its log"
    with Mute(*ALLOW, "--log-file", str(log)) as gateway:
        tunnel, client = refused(gateway)
        done = events(gateway, tunnel)
        assert done.returncode == 0 and client in done.stdout
        until(lambda: tunnel in log.read_text())
        log.rename(tmp_path / "its log.1")
        (worker,) = gateway.workers
        os.kill(worker, signal.SIGKILL)
        until(lambda: gateway.is_ready() and gateway.workers and worker not in gateway.workers)
        done = events(gateway, tunnel)
        assert done.returncode == 1 and "1 process of the gateway has died since the start" in done.stderr
        command = re.search("The log of the gateway may tell more: (.*)", done.stderr)[1]
        (line,) = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
        assert json.loads(line)["client"] == client
    done = ogw("events", tunnel, "--run-dir", tmp_path, OGW_LOG_FILE=str(log))
    assert done.returncode == 3 and command in done.stderr


@pytest.mark.parametrize("asked_for", ["", "x", "000000-1%0a", "0" * 3000, "000000-" + "1" * 20])
def test_what_is_no_id_is_not_asked_of_the_workers(gateway, asked_for):
    assert ask(gateway, f"/tunnel?id={asked_for}")[0] == 400


def test_without_a_gateway_it_says_where_it_looked_and_where_else_to_look(tmp_path):
    done = ogw("events", "3fa1c2-17", "--run-dir", tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert str(tmp_path) in done.stderr and "search it for 3fa1c2-17" in done.stderr
    assert ogw("events", "105", "--run-dir", tmp_path).returncode == 0, "what a number means is asked of nobody"


def test_the_gateway_of_a_file_is_asked(gateway, tmp_path):
    tunnel, client = refused(gateway, "file.example:443")
    file = tmp_path / "gw.ini"
    file.write_text(f"[ogw]\nrun-dir = {gateway.run_dir}\n")
    done = ogw("events", tunnel, "--config", file)
    assert done.returncode == 0 and client in done.stdout


def test_what_only_is_reported_is_found_too():
    end = time_text(round(time.time() + 3600))
    report = ("--policy-mode", "report", "--report-until", end, "--allowed-target-network", "127.0.0.0/8")
    with Server(echo) as server, Gateway("--log-every-refusal=no", *report) as gateway:
        for _turn in range(2):
            with gateway.tunnel(server.target):
                (one,) = asked(gateway, "/tunnels")["tunnels"]
                done = events(gateway, one["tunnel"])
                assert "The request passed all the same" in done.stdout and "state" in done.stdout
            gateway.closed(tunnel=one["tunnel"])
        (last,) = found(gateway, one["tunnel"])["refusals"]
        assert last["folded"] and not last["enforced"]
