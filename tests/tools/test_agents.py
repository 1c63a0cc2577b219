"""tools/agents: what an administrator types, and sees."""

import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest
from harness.commands import ROOT, clean
from harness.gateway import Gateway, address, free_port
from harness.terminal import Terminal
from harness.tls import TlsServer, serving
from harness.upstreams import Server, echo
from harness.waiting import PATIENCE, until

AGENTS = [sys.executable, str(ROOT / "tools" / "agents.py")]
FEW = ("20", "--period", "1s", "--size", "2000", "--processes", "1", "--workers", "1", "--p99", "60s")


def agents(*words, before=()):
    """Its end: `returncode`, `stdout`, `stderr`."""
    return subprocess.run(
        [*before, *AGENTS, *words], cwd=ROOT, env=clean(), capture_output=True, text=True, timeout=100 * PATIENCE
    )


def test_it_needs_nothing_but_how_many():
    done = agents(*FEW, "--seconds", "3s")
    assert done.returncode == 0, done.stdout
    for line in (
        r"gateway: of this clone, 1 worker, with TLS rules and log",
        r"TLS server: agents\.ogw\.example:8443, of this tool",
        r"agents +20",
        r"tunnels +[0-9]{2} in 3 s",
        r"errors +none",
        r"set-up +p50 [0-9.]+ ms, p95 [0-9,.]+ ms, p99 [0-9,.]+ ms",
        r"the gateway +[0-9.]+ cores .*MiB",
        r"first limit +\w",
        r"20 agents are carried here\.",
    ):
        assert re.search(f"^{line}", done.stdout, re.MULTILINE), (line, done.stdout)


def test_on_a_terminal_it_tells_how_it_goes_on_a_line_that_changes():
    with Terminal([*AGENTS, *FEW, "--seconds", "3s"], columns=160, lines=40) as terminal:
        code = terminal.process.wait(60 * PATIENCE)
        assert code == 0
        told = re.findall(rb"\r\x1b\[K20 agents, [0-9] of 3 s: [0-9]+ uploads/s[^\r\n]*", terminal.raw)
        assert len(told) >= 2, bytes(terminal.raw)


def test_elsewhere_it_tells_a_line_now_and_then():
    done = agents(*FEW, "--seconds", "6s")
    assert re.fullmatch(r"(20 agents, [0-9] of 6 s: [0-9]+ uploads/s, .* 0 errors, cores: .*\n)+", done.stderr), done


def test_ctrl_c_ends_it_with_the_table_so_far_and_leaves_nobody_behind():
    with subprocess.Popen(
        [*AGENTS, *FEW, "--seconds", "1h"],
        cwd=ROOT, env=clean(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0,
    ) as process:  # fmt: skip
        assert " uploads/s" in process.stderr.readline()  # the first of its progress
        below = descendants(process.pid)
        assert len(below) >= 4  # a gateway, agents, their server, what reads the log
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60 * PATIENCE)
    assert process.returncode == 130 and "Traceback" not in err, err
    assert re.search(r"^tunnels +[0-9]+ in ", out, re.MULTILINE), out
    until(lambda: not any(pathlib.Path(f"/proc/{pid}").exists() for pid in below))


def descendants(pid):
    children = [int(one) for one in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [below for child in children for below in descendants(child)]


def test_a_gateway_that_refuses_names_the_command_that_lets_the_load_pass():
    with Gateway(tls_rules=None) as gateway:
        done = agents(*FEW, "--gateway", f"{gateway.address}:8080")
    assert done.returncode == 1 and "Traceback" not in done.stderr, done
    assert "403 Forbidden: host-not-allowed" in done.stderr
    assert re.search(
        r"^    ogw allowed-host add 127\S+:8443 --to 127\S+ --no-server-name --until 2h", done.stderr, re.M
    )


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["--allowed-host", "127.0.0.0/8:8443 to=127.0.0.0/8"],
            r"handshake was rejected: [A-Z0-9_]+\. .*\n +ogw allowed-host add .* --no-server-name",
        ),
        (
            ["--allowed-host", "127.0.0.0/8:8443 no-server-name"],
            r"address-not-allowed\. .*\n +ogw allowed-host add .* --to 127",
        ),
        (["--allowed-client", "192.0.2.1"], r"client-not-allowed\. .*: ogw allowed-client add 127\.0\.0\.0/8 --reload"),
    ],
)
def test_what_else_a_gateway_refuses_for(flags, said):
    with Gateway(*flags, tls_rules=None) as gateway:
        done = agents(*FEW, "--gateway", f"{gateway.address}:8080")
    assert done.returncode == 1 and re.search(said, done.stderr), done


def test_a_target_that_does_not_speak_tls(upstream):
    done = agents(*FEW, "--target", upstream.target)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done
    assert re.search(r"a first upload failed: the gateway|a first upload failed: the TLS handshake", done.stderr), done


def test_through_a_gateway_that_runs_and_lets_it_pass():
    with Gateway("--allowed-host", "127.0.0.0/8:8443 to=127.0.0.0/8 no-server-name", tls_rules=None) as gateway:
        done = agents(*FEW, "--seconds", "2s", "--gateway", f"{gateway.address}:8080")
        assert done.returncode == 0, done
        assert f"gateway: {gateway.address}:8080, 3 processes on this machine" in done.stdout
        assert gateway.counts[107] >= 20
        assert not gateway.events(106)
    clients = {line["client"].rpartition(":")[0] for line in gateway.events(108)}
    assert len(clients) == 20  # an address for each agent


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["0"], "'0': it must be from 1"),
        (["many"], "'many': it is not a whole number"),
        (["10", "--size", "none"], "'none': it is not a size, such as"),
        (["10", "--period", "0"], "must be from 0.1"),
        (["10", "--gateway", "10.1.0.5"], "'10.1.0.5': it is not HOST:PORT"),
        (["10", "--nonsense"], "--nonsense"),
    ],
)
def test_a_wrong_word_is_named(words, said):
    done = agents(*words)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr, done


def test_a_gateway_that_is_not_there_is_told():
    done = agents(*FEW, "--gateway", f"{address()}:8080")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert re.search(r"the gateway is not reached at 127\S+:8080: connection refused\. ", done.stderr), done.stderr


def test_more_agents_than_descriptors_are_told_what_to_raise():
    done = agents("1000", "--processes", "1", before=("sh", "-c", 'ulimit -n 200; exec "$@"', "sh"))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "may have 200: raise that limit (`ulimit -n 1064`, as root), or take --processes 8" in done.stderr


def test_finding_out_goes_down_where_not_even_the_first_are_carried():
    done = agents("20", "--find", *FEW[1:-1], "1ms", "--seconds", "1s")
    assert [int(one) for one in re.findall(r"^ +([0-9]+) +[0-9]+ ", done.stdout, re.MULTILINE)] == [20, 10], done
    assert done.stdout.endswith("\nThis machine carries 0 agents.\n")
    assert re.search(r"^With 10 agents, the first limit is \w", done.stdout, re.MULTILINE), done


def test_uploads_to_a_server_of_the_users_own(authority):
    with TlsServer(serving(authority, "127.0.0.1", version="1.3")) as server:
        done = agents(*FEW, "--seconds", "2s", "--target", server.target)
        assert done.returncode == 0 and f"TLS server: {server.target}\n" in done.stdout, done
        assert len(server.seen) >= 20


def test_through_a_gateway_that_listens_on_ipv6():
    place, port = f"[::1]:{free_port('::1')}", str(free_port("::1"))
    rule = f"[::1]:{port} to=::1 no-server-name"
    with Gateway("--listen-address", place, "--allowed-host", rule, listen="", tls_rules=None):
        done = agents(*FEW, "--seconds", "1s", "--gateway", place, "--origin-port", port)
    assert done.returncode == 0 and f"gateway: {place}, 3 processes" in done.stdout, done


def test_a_limit_of_the_gateway_is_named():
    rule = "127.0.0.0/8:8443 to=127.0.0.0/8 no-server-name"
    with Gateway("--allowed-host", rule, "--max-tunnels", "1", tls_rules=None) as gateway:
        words = ("200", "--period", "0.5s", "--seconds", "2s", "--processes", "1")
        done = agents(*words, "--gateway", f"{gateway.address}:8080")
    assert done.returncode == 1, done
    assert re.search(r"^errors +[0-9,]+: the gateway answered 503 .*too-many-tunnels$", done.stdout, re.MULTILINE), done
    assert re.search(r"^first limit +max-tunnels of the gateway", done.stdout, re.MULTILINE), done
    assert re.search(r"^200 agents are not carried here: [0-9,]+ errors?\.$", done.stdout, re.MULTILINE), done


def test_a_port_that_another_load_has_is_told():
    place, port = f"[::1]:{free_port('::1')}", free_port("::1")
    with Gateway("--listen-address", place, listen="", tls_rules=None), Server(echo, host="::1", port=port):
        done = agents(*FEW, "--gateway", place, "--origin-port", str(port))
    assert done.returncode == 1, done
    assert f"cannot listen at [::1]:{port}: address already in use; see --origin-port" in done.stderr
