"""A listen-address that the machine does not have: the gateway of a pair's other machine starts, and says so."""

import json
import os
import re
import signal
import socket
import subprocess
import sys

import pytest
from harness.admin import ask, asked, metrics
from harness.commands import ogw
from harness.gateway import ALLOW, Gateway, absent_address
from harness.handover import Upgraded, systemd
from harness.netns import Namespace
from harness.waiting import until

MOVED = {"IPv4": "10.77.0.100", "IPv6": "fd00:77::100"}
# Asks whoever listens there for a tunnel to nobody: prints the status line of the answer.
CLIENT = """
import socket, sys
with socket.create_connection((sys.argv[1], 8080), timeout=60) as sock:
    sock.sendall(b"CONNECT 127.0.0.1:1 HTTP/1.1\\r\\n\\r\\n")
    print(sock.recv(1000).split(b"\\r\\n")[0].decode())
"""


def place_of(address):
    return f"[{address}]:8080" if ":" in address else f"{address}:8080"


@pytest.fixture(params=["IPv4", "IPv6"])
def absent(request):
    if request.param == "IPv6" and not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    return absent_address(request.param)


def freebind(absent, *flags, kind=Gateway, **more):
    """A gateway that listens there, too."""
    return kind(*ALLOW, "--listen-address", absent, "--listen-freebind", "yes", *flags, **more)


def test_it_is_told_wherever_somebody_looks_and_the_gateway_is_ready(absent, upstream, tmp_path):
    where = place_of(absent)
    with systemd(tmp_path) as (path, heard), freebind(absent, environment={"NOTIFY_SOCKET": path}) as gateway:
        told = f"{where}: this machine does not have that address now; clients come once it has it"
        assert gateway.wait_for(message=told)["level"] == "info"
        until(lambda: any(line.startswith("STATUS=") and f"does not have {where}" in line for line in heard))
        status, headers, body = ask(gateway, "/readyz")
        assert (status, body, headers["Ogw-Absent"]) == (200, b"ok\n", where)
        status = asked(gateway, "/status")
        assert (status["state"], status["listen_absent"], status["attention"]) == ("serving", [where], [])
        assert metrics(gateway)["ogw_listen_addresses_absent"] == 1
        named = ("--run-dir", gateway.run_dir)
        done = ogw("ready", *named)
        assert (done.returncode, done.stdout) == (0, f"ready; this machine does not have the address of {where} now\n")
        assert f"{where}: this machine does not have that address now" in ogw("status", *named).stdout
        assert f"{where} (this machine does not have that address now)" in ask(gateway, "/")[2].decode()
        gateway.tunnel(upstream.target).close()


def test_the_doctor_says_it_in_words(absent):
    where = place_of(absent)
    flags = ("--listen-address", absent, "--timeout", "1", "--json")

    def found(*more):
        report = json.loads(ogw("doctor", *flags, *more).stdout)
        return [one for one in report["findings"] if one["area"] == "listen" and one["where"] == where]

    with freebind(absent) as gateway:
        runs, here = found("--listen-freebind", "yes", "--run-dir", gateway.run_dir)
        assert runs["what"] == "the running gateway listens there" and here["state"] == "ok"
        assert here["what"].endswith("before it has (listen-freebind)")
    (wrong,) = found()
    assert wrong["state"] == "problem" and "listen-freebind yes" in wrong["do"]


def test_without_it_the_start_fails_with_what_to_do(absent):
    done = ogw("run", "--listen-address", absent, "--admin-address", "")
    assert done.returncode == 2
    assert f"cannot listen on {place_of(absent)}: this machine does not have that address" in done.stderr
    assert "`ogw config set listen-freebind yes`" in done.stderr


def test_what_the_sentence_says_can_be_pasted(tmp_path, absent):
    ini = tmp_path / "ogw.ini"
    ini.write_text(f"[ogw]\nlisten-address = {absent}\n")
    named = ("--config", str(ini))
    told = [ogw("check", *named).stderr, ogw("doctor", *named, "--timeout", "1").stdout]
    ini.write_text("[ogw]\n")
    told.append(ogw("config", "set", *named, "listen-address", absent).stderr)
    pasted = [re.search("`ogw (config set [^`]*)`", " ".join(text.split()))[1] for text in told]
    assert set(pasted) == {f"config set --config {ini} listen-freebind yes"}
    assert ogw(*pasted[0].split()).returncode == 0
    assert ogw("config", "set", *named, "listen-address", absent).returncode == 0
    assert ogw("check", *named).returncode == 0
    done = ogw("config", "set", *named, "listen-freebind", "no")
    assert done.returncode != 0 and "does not have that address" in done.stderr


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("2001:db8::1:8080", "[2001:db8::1]:8080"), ("::1:8443", "[::1]:8443"), ("2001:db8::1:fe", ""),
     ("1:2:3:4:5:6:7:8080", "")],
)  # fmt: skip
def test_a_port_behind_a_bare_ipv6_address_is_told(typed, meant):
    done = ogw("check", "--listen-address", typed)
    assert done.returncode == 2 and "does not have that address" in done.stderr
    assert f"did you mean {meant}?" in done.stderr if meant else "did you mean" not in done.stderr


def test_no_other_address_may_be_absent(absent):
    """Of metrics and health: who asks there would get no answer, and nobody moves them."""
    for name in ("admin-address", "health-address"):
        done = ogw("check", "--listen-freebind", "yes", "--listen-address", absent, f"--{name}", absent)
        assert done.returncode == 2 and "does not have that address" in done.stderr + done.stdout
        assert "listen-freebind yes" not in done.stderr + done.stdout


def test_where_every_address_of_a_family_is_meant_it_does_nothing_and_says_so():
    done = ogw("check", "--listen-freebind", "yes")
    assert done.returncode == 0 and "listen-freebind does nothing" in done.stdout + done.stderr


def test_another_gateway_that_is_there_already_is_still_noticed(absent):
    with freebind(absent):
        done = ogw("run", "--listen-address", absent, "--listen-freebind", "yes", "--admin-address", "")
        assert done.returncode == 2 and "port 8080 is in use" in done.stderr


def test_a_successor_with_more_workers_and_another_absent_address_listens_there(upstream, tmp_path, absent):
    ini = tmp_path / "ogw.ini"
    write = "[ogw]\nworkers = {}\nlisten-address = {}\nlisten-freebind = yes\n".format
    ini.write_text(write(1, absent))
    with Upgraded(*ALLOW, "--config", str(ini), workers=None) as gateway:
        assert asked(gateway, "/reload", "POST")["mistakes"] == []
        another = absent_address()
        ini.write_text(write(2, f"{absent}, {another}"))
        with gateway.tunnel(upstream.target):
            gateway.upgrade()
            listens = sorted([f"{gateway.address}:8080", place_of(absent), place_of(another)])
            assert sorted(gateway.events(101)[-1]["listen"]) == listens
            until(lambda: len(asked(gateway, "/status")["listen_absent"]) == 2)
            os.kill(gateway.workers[0], signal.SIGKILL)  # its replacement has its sockets
            gateway.wait_for(event=405)
            gateway.tunnel(upstream.target).close()


@pytest.mark.long
@pytest.mark.parametrize("nonlocal_bind", ["0", "1"])
@pytest.mark.parametrize("family", MOVED)
def test_once_the_machine_has_the_address_clients_come_and_it_is_told(tmp_path, family, nonlocal_bind):
    """Also where any address can be bound, as machines of keepalived are often set up."""
    address = MOVED[family]
    where, length = place_of(address), 128 if ":" in address else 32
    with Namespace(tmp_path, "nameserver 127.0.0.1\n") as namespace:

        def inside(*words):
            return subprocess.run(
                [*namespace.command, *words], check=True, stdout=subprocess.PIPE, text=True, timeout=60
            ).stdout

        version = "ipv6" if ":" in address else "ipv4"
        inside("sh", "-c", f"echo {nonlocal_bind} > /proc/sys/net/{version}/ip_nonlocal_bind")
        flags = ("--listen-address", address, "--listen-freebind", "yes")
        with Gateway(*ALLOW, *flags, listen="", command=namespace.command) as gateway:
            gateway.wait_for(
                message=f"{where}: this machine does not have that address now; clients come once it has it"
            )
            assert asked(gateway, "/status")["listen_absent"] == [where]
            for turn in range(2):
                inside("ip", "address", "add", f"{address}/{length}", "dev", "lo")
                assert asked(gateway, "/status")["listen_absent"] == []
                assert inside(sys.executable, "-c", CLIENT, address).startswith("HTTP/1.1 403 ")
                came = f"{where}: this machine has that address now"
                until(lambda turn=turn, came=came: _count(gateway, came) == turn + 1)
                assert metrics(gateway)["ogw_listen_addresses_absent"] == 0
                inside("ip", "address", "del", f"{address}/{length}", "dev", "lo")
                until(lambda turn=turn: _count(gateway, "clients come once") == turn + 2)
                assert asked(gateway, "/status")["listen_absent"] == [where]


@pytest.mark.long
def test_an_address_that_goes_away_although_it_must_not_needs_attention(tmp_path):
    address = MOVED["IPv4"]
    with Namespace(tmp_path, "nameserver 127.0.0.1\n") as namespace:

        def ip(verb):
            command = [*namespace.command, "ip", "address", verb, f"{address}/32", "dev", "lo"]
            subprocess.run(command, check=True, timeout=60)

        ip("add")
        with Gateway(*ALLOW, "--listen-address", address, listen="", command=namespace.command) as gateway:
            ip("del")
            line = gateway.wait_for(
                message=f"{address}:8080: this machine does not have that address now; no client reaches it"
            )
            assert line["level"] == "warning"
            (sentence,) = asked(gateway, "/status")["attention"]
            assert sentence.startswith(f"This machine does not have the address of {address}:8080 any more")
            assert ask(gateway, "/readyz")[0] == 200  # it could serve: whoever moves addresses must not wait for that


def _count(gateway, text):
    return len([line for line in list(gateway.lines) if text in line["message"]])
