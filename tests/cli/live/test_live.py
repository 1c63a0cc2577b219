"""`ogw status`, `tunnels`, `tunnel kill`, `reload` and `drain`, on a real gateway with real tunnels."""

import json
import os
import shlex
import signal
import subprocess
import time

import pytest
from harness.commands import OGW, ROOT, clean, ogw
from harness.gateway import Gateway, read_all
from harness.terminal import Terminal
from harness.upstreams import Server, echo
from harness.waiting import until

LOOPBACK = ("--allowed-target-network", "127.0.0.0/8")


@pytest.fixture
def gateway(upstream):
    with Gateway("--allowed-host", upstream.host, *LOOPBACK, workers=2) as running:
        yield running


def asked(gateway, *words, **more):
    return ogw(*words, "--run-dir", gateway.run_dir, **more)


# status


def test_status_says_on_one_screen_how_the_gateway_fares(gateway, upstream):
    sock = gateway.tunnel(upstream.target)
    sock.sendall(b"x" * 300_000)
    for _ in range(2):
        gateway.ask("www.example.org:443")[0].close()
    for _ in range(2):
        gateway.wait_for(event=105)
    done = until(lambda: (done := asked(gateway, "status")) and "2 times" in done.stdout and done)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].endswith("is serving")
    facts = {line[:12].strip(): line[12:].strip() for line in lines[1:8]}
    assert facts["listens on"] == f"{gateway.address}:8080"
    assert facts["admin"] == "only this socket"
    assert facts["tunnels"].startswith("1 of ") and facts["tunnels"].endswith(", from 1 client")
    assert facts["requests"] == "1 allowed, 2 refused, 0 rejected by the TLS rules, 0 errors"
    assert facts["copied"].startswith("293 KiB up, ")
    assert facts["policy"].startswith(gateway.lines[0]["policy"])
    assert {line.split()[1] for line in lines if line[:2] in ("0 ", "1 ")} == {str(pid) for pid in gateway.workers}
    assert ["host-not-allowed", "2"] in [line.split() for line in lines]
    assert f"    to allow it: ogw allowed-host add www.example.org --run-dir {gateway.run_dir} --reload" in lines
    assert "\x1b" not in done.stdout and not any(line.endswith(" ") for line in lines)
    sock.close()


def test_a_command_to_be_copied_is_one_that_a_shell_takes_as_it_stands(gateway):
    for target in ("[2001:db8::1]:443", "www.example.org:8443"):
        gateway.ask(target)[0].close()
        gateway.wait_for(event=105, target=target)
    commands = until(lambda: [one["command"] for one in _refusals(gateway)] if len(_refusals(gateway)) == 2 else 0)
    named = ["--run-dir", gateway.run_dir, "--reload"]
    assert sorted(map(shlex.split, commands)) == [
        ["ogw", "allowed-host", "add", "2001:db8::1 to=2001:db8::1", *named],
        ["ogw", "allowed-host", "add", "www.example.org:8443", *named],
    ]
    assert any("'2001:db8::1 to=2001:db8::1'" in command for command in commands)


def _refusals(gateway):
    return json.loads(asked(gateway, "status", "--json").stdout)["refusals"]


def test_status_as_json_is_what_the_gateway_answers(gateway):
    done = asked(gateway, "status", "--json")
    state = json.loads(done.stdout)
    assert done.returncode == 0 and state["state"] == "serving"
    assert {"version", "uptime", "counters", "workers", "reasons", "refusals", "top_hosts"} <= state.keys()
    assert [worker["pid"] for worker in state["workers"]] == gateway.workers


def test_status_names_relay_proxies_that_rest(upstream):
    with Gateway("--allowed-host", "www.example.com", "--relay-proxy", f"http://{upstream.host}:1") as gateway:
        assert "fine" in asked(gateway, "status").stdout
        gateway.ask("www.example.com:443")[0].close()
        gateway.wait_for(event=403)
        done = until(lambda: (done := asked(gateway, "status")) and "rests after a failure" in done.stdout and done)
        assert f"http://{upstream.host}:1" in done.stdout and "relay-unreachable" in done.stdout


def test_status_is_1_while_the_gateway_drains(gateway, upstream):
    sock = gateway.tunnel(upstream.target)
    gateway.process.send_signal(signal.SIGTERM)
    gateway.wait_for(event=110)
    done = asked(gateway, "status")
    assert done.returncode == 1 and "is draining" in done.stdout.splitlines()[0]
    sock.close()
    assert gateway.stop() == 0


def test_a_worker_that_hangs_is_said_to_be_missing(gateway, upstream):
    sock = gateway.tunnel(upstream.target)
    try:
        os.kill(gateway.workers[0], signal.SIGSTOP)
        assert "1 worker did not answer in time" in asked(gateway, "status").stdout
        done = asked(gateway, "tunnels")
        assert done.returncode == 0 and "ogw: 1 worker did not answer in time" in done.stderr
        done = asked(gateway, "tunnel", "kill", "abc-1")
        assert done.returncode == 1 and "ogw: abc-1: 1 worker did not answer in time" in done.stderr
    finally:
        os.kill(gateway.workers[0], signal.SIGCONT)
    sock.close()


@pytest.mark.parametrize(("columns", "term"), [(80, "xterm-256color"), (160, "xterm-256color"), (80, "dumb")])
def test_status_fits_a_terminal(gateway, upstream, columns, term):
    gateway.ask("a" * 60 + "." + "b" * 60 + ".example.org:443")[0].close()
    gateway.wait_for(event=105)
    command = [*OGW, "status", "--run-dir", gateway.run_dir]
    with Terminal(command, columns=columns, lines=50, TERM=term) as terminal:
        assert terminal.end() == 0
        shown = terminal.wait_for("is serving", "host-not-allowed")
    assert (b"\x1b[" in terminal.raw) == (term != "dumb")
    host = "a" * 60 + "." + "b" * 60 + ".example.org"
    advice = f"ogw allowed-host add {host} --run-dir {gateway.run_dir} --reload"
    assert advice.encode() in terminal.raw  # in one piece, to be copied
    assert not any("Traceback" in line for line in shown)


def test_status_says_that_there_are_more_refusals_than_it_lists(gateway):
    for number in range(21):
        gateway.ask(f"host{number}.example.org:443")[0].close()
    until(lambda: len(_refusals(gateway)) == 20)
    told = asked(gateway, "status").stdout
    assert f"no more than the latest 20 are listed; `ogw suggest --run-dir {gateway.run_dir}` and the page" in told


# tunnels


@pytest.mark.parametrize("columns", [60, 80, 100, 140])
def test_tunnels_has_the_upstream_on_every_terminal(gateway, upstream, columns):
    sock = gateway.tunnel(upstream.target)
    command = [*OGW, "tunnels", "--run-dir", gateway.run_dir]
    with Terminal(command, columns=columns, lines=50) as terminal:
        assert terminal.end() == 0
        assert " ".join(terminal.wait_for("upstream")).count(upstream.target) == 2
    sock.close()


def test_a_target_that_no_tunnel_can_have_is_refused(gateway):
    for word in ("[", "a b", "*.example.com", ":443", "a.example:https"):
        done = asked(gateway, "tunnels", "--target", word)
        assert done.returncode == 2 and "is no HOST or HOST:PORT" in done.stderr


def test_tunnels_lists_them_and_picks_some(gateway, upstream):
    with Server(echo, port=8443, host=upstream.host) as second:
        socks = [gateway.tunnel(upstream.target) for _ in range(3)]
        done = asked(gateway, "tunnels")
        assert done.returncode == 0
        head, *rows = done.stdout.splitlines()
        assert head.split() == ["tunnel", "client", "target", "upstream", "state", "open", "for", "up", "down"]
        names = {"{}:{}".format(*sock.getsockname()) for sock in socks}
        assert {row.split()[1] for row in rows} == names
        assert {row.split()[2] for row in rows} == {upstream.target}
        assert len(rows) == 3 and second
    some = asked(gateway, "tunnels", "--most", "2").stdout.splitlines()
    assert len(some) == 4 and some[-1].startswith("2 of 3 tunnels; ")
    for words, number in (
        (("--client", "127.0.0.1"), 3),
        (("--client", "127.0.0.2"), 0),
        (("--target", upstream.host), 3),
        (("--target", upstream.target), 3),
        (("--target", f"{upstream.host}:8443"), 0),
    ):
        answer = json.loads(asked(gateway, "tunnels", "--json", *words).stdout)
        assert (len(answer["tunnels"]), answer["total"], answer["workers_missing"]) == (number, number, 0), words
    assert asked(gateway, "tunnels", "--client", "::1").stdout == "no tunnel is open, or none that was asked for\n"
    for sock in socks:
        sock.close()


def test_a_tunnel_that_is_killed_is_closed_and_its_line_says_so(gateway, upstream):
    socks = [gateway.tunnel(upstream.target) for _ in range(3)]
    ids = {one["client"]: one["tunnel"] for one in json.loads(asked(gateway, "tunnels", "--json").stdout)["tunnels"]}
    victims = [ids["{}:{}".format(*sock.getsockname())] for sock in socks[:2]]
    done = asked(gateway, "tunnel", "kill", *victims)
    assert (done.returncode, done.stdout, done.stderr) == (0, "".join(f"killed {id}\n" for id in victims), "")
    for sock, victim in zip(socks, victims, strict=False):
        try:
            assert read_all(sock) == b""
        except ConnectionResetError:
            pass
        assert gateway.closed(tunnel=victim)["reason"] == "killed"
        sock.close()
    socks[2].sendall(b"still here")
    assert socks[2].recv(100) == b"still here"
    again = asked(gateway, "tunnel", "kill", victims[0], ids["{}:{}".format(*socks[2].getsockname())])
    listed = f"`ogw tunnels --run-dir {gateway.run_dir}` lists them"
    assert (again.returncode, again.stderr) == (1, f"ogw: {victims[0]} is no open tunnel; {listed}\n")
    assert gateway.closed(tunnel=ids["{}:{}".format(*socks[2].getsockname())])["reason"] == "killed"
    socks[2].close()


def test_odd_ids_are_no_tunnels(gateway):
    done = asked(gateway, "tunnel", "kill", "a&b=c d/\x1b[31m\u00e9")
    assert done.returncode == 1 and "\x1b" not in done.stderr


@pytest.mark.parametrize("stdout", ["pipe", "full"])
def test_output_that_nobody_takes_ends_without_a_traceback(gateway, upstream, stdout):
    sock = gateway.tunnel(upstream.target)
    read, write = os.pipe()
    os.close(read)
    if stdout == "full":
        os.close(write)
        write = os.open("/dev/full", os.O_WRONLY)
    for words in (("tunnels",), ("status",), ("tunnels", "--json"), ("top", "--count", "3"), ("events",)):
        named = () if words == ("events",) else ("--run-dir", gateway.run_dir)
        done = ogw(*words, *named, stdout=write)
        assert done.returncode == (0 if stdout == "pipe" else 74), words
        assert "Traceback" not in done.stderr and (stdout == "pipe") == (done.stderr == ""), words
    os.close(write)
    sock.close()


# reload, drain


def test_reload_says_what_changed_or_every_mistake(tmp_path):
    file = tmp_path / "ogw.ini"
    file.write_text("[ogw]\nallowed-host = www.example.com\n")
    with Gateway("--config", str(file)) as gateway:
        done = asked(gateway, "reload", "--json")
        assert done.returncode == 0 and json.loads(done.stdout)["changed"] == []
        done = asked(gateway, "reload")
        assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith(
            "reloaded, nothing changed; policy "
        )
        file.write_text("[ogw]\nallowed-host = www.example.org\nadmin-page = yes\n")
        done = asked(gateway, "reload")
        policy = gateway.wait_for(event=109, changed=["allowed-host", "admin-page"])["policy"]
        assert (done.returncode, done.stdout) == (0, f"reloaded, changed: allowed-host, admin-page; policy {policy}\n")
        assert done.stderr == "ogw: admin-page changed; that needs a restart of the gateway\n"
        done = asked(gateway, "reload")
        assert done.stdout.startswith("reloaded, nothing changed; ") and "admin-page changed; that" in done.stderr
        file.write_text("[ogw]\nallowed-host = www.example.org\n")
        done = asked(gateway, "reload")
        assert done.stdout.startswith("reloaded, changed: admin-page; ") and done.stderr == "", "as at the start"
        file.write_text("[ogw]\nallowed-host = *\nhead-timeout = x\n")
        done = asked(gateway, "reload")
        assert (done.returncode, done.stdout) == (1, "")
        *mistakes, last = done.stderr.splitlines()
        assert [line.partition(": ")[0] for line in mistakes] == ["ogw", "ogw"]
        assert f"{file}:2: " in mistakes[0] and f"{file}:3: " in mistakes[1]
        assert last == "ogw: nothing was reloaded, the running configuration stays"
        done = asked(gateway, "reload", "--json")
        told = json.loads(done.stdout)
        assert (done.returncode, len(told["mistakes"]), done.stderr) == (1, 2, "")
        file.write_text("[ogw]\nallowed-host = www.example.org\n")


def test_drain_stops_the_gateway_and_a_second_one_cuts_nothing(gateway, upstream):
    sock = gateway.tunnel(upstream.target)
    done = asked(gateway, "drain")
    assert (done.returncode, done.stdout, done.stderr) == (0, "the gateway drains, with 1 tunnel open\n", "")
    gateway.wait_for(event=110)
    done = asked(gateway, "drain")
    assert done.returncode == 0 and done.stdout.startswith("the gateway drains already, with 1 tunnel open; ")
    assert f"`ogw drain --now --run-dir {gateway.run_dir}`" in done.stdout
    sock.sendall(b"still here")
    assert sock.recv(100) == b"still here"
    done = asked(gateway, "reload")
    assert done.returncode == 1 and "the gateway is draining" in done.stderr
    done = asked(gateway, "drain", "--now")
    assert (done.returncode, done.stdout) == (0, "the gateway ends now; it had 1 tunnel open\n")
    assert gateway.process.wait(15) == 0
    assert gateway.closed(target=upstream.target)["reason"] == "drained"
    sock.close()


def test_a_gateway_that_ends_before_it_is_told_to_end_at_once_did_as_it_was_told():
    for _turn in range(4):
        with Gateway("--allowed-host", "www.example.org") as gateway:
            done = asked(gateway, "drain", "--now")
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout == "the gateway ends now; it had 0 tunnels open\n"
            assert gateway.process.wait(15) == 0


def test_a_bare_ipv6_address_is_a_host():
    with Server(echo, host="::1") as upstream, Gateway(
        "--allowed-host", f"[::1]:{upstream.port}", "--allowed-target-network", "::1"
    ) as gateway:  # fmt: skip
        with gateway.tunnel(upstream.target):
            for typed in ("::1", "[::1]", upstream.target, "0:0::1"):
                done = asked(gateway, "tunnels", "--target", typed, "--json")
                assert json.loads(done.stdout)["total"] == 1, typed


def test_while_a_gateway_that_drains_still_serves_nobody_says_that_it_does_not(upstream):
    with Gateway("--allowed-host", upstream.host, *LOOPBACK, "--drain-delay", "10m") as gateway:
        assert json.loads(asked(gateway, "status", "--json").stdout)["serves_on"] == 0
        done = asked(gateway, "drain")
        assert done.returncode == 0
        assert "is draining: it takes new tunnels for 10 min 0 s more" in done.stdout.splitlines()[1], done.stdout
        done = asked(gateway, "status")
        assert done.returncode == 1 and "new tunnels for " in done.stdout.splitlines()[0]
        assert 0 < json.loads(asked(gateway, "status", "--json").stdout)["serves_on"] <= 600
        with gateway.tunnel(upstream.target):
            assert asked(gateway, "drain", "--now").stdout == "the gateway ends now; it had 1 tunnel open\n"
        assert gateway.process.wait(60) == 0


def test_a_gateway_that_drains_without_a_delay_takes_no_new_tunnels(gateway, upstream):
    with gateway.tunnel(upstream.target):
        assert asked(gateway, "drain").stdout.splitlines() == ["the gateway drains, with 1 tunnel open"]
        assert "it takes no new tunnels" in asked(gateway, "status").stdout.splitlines()[0]


def test_drain_now_ends_a_gateway_that_served(gateway, upstream):
    sock = gateway.tunnel(upstream.target)
    started = time.monotonic()
    assert asked(gateway, "drain", "--now").returncode == 0
    assert gateway.process.wait(15) == 0
    assert time.monotonic() - started < 15  # drain-timeout is 20 s
    sock.close()


# wrong words


@pytest.mark.parametrize(
    "words",
    [
        "status --jsn", "status x", "tunnels --client x", "tunnels --target a:b", "tunnels --target :443",
        "tunnels --most 0", "tunnels --most 1001", "tunnels --most x", "tunnel kill", "reload x", "drain --later",
    ],
)  # fmt: skip
def test_wrong_words_are_2_and_say_where_help_is(words):
    done = ogw(*words.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("ogw: ") and " --help` says more" in done.stderr


def test_ctrl_c_while_the_gateway_hangs_is_130(gateway):
    os.kill(gateway.admin, signal.SIGSTOP)
    try:
        command = [*OGW, "status", "--run-dir", gateway.run_dir]
        with subprocess.Popen(command, cwd=ROOT, env=clean(), stderr=subprocess.PIPE, text=True) as process:
            # It waits in poll or recv once the question is asked.
            until(lambda: _waits_for_an_answer(process.pid))
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130
            assert process.stderr.read() == ""
    finally:
        os.kill(gateway.admin, signal.SIGCONT)


def _waits_for_an_answer(pid):
    """Whether it has a socket and sleeps."""
    try:
        sockets = [fd for fd in os.listdir(f"/proc/{pid}/fd") if "socket:" in os.readlink(f"/proc/{pid}/fd/{fd}")]
        with open(f"/proc/{pid}/stat") as file:
            return sockets and file.read().split()[2] == "S"
    except OSError:
        return False
