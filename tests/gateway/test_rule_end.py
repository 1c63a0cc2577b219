"""An open tunnel ends with what it rests on: its rule, a `to=`, a no-server-name, the time of policy-mode = report."""

import sys
import time
from datetime import datetime

import pytest
from harness.admin import ask
from harness.dns import Dns
from harness.gateway import Gateway, read_all, read_exactly
from harness.hellos import hello, records, server_hello
from harness.upstreams import Server, echo
from harness.waiting import PATIENCE, until

LOOPBACK = ("--allowed-target-network", "127.0.0.0/8")
AT_ONCE = (
    "import sys; from ogw.tunnel import grounds; grounds.ENDS_SPREAD = 0.0; "
    "from ogw.cli.main import main; sys.exit(main(['run', *sys.argv[1:]]))"
)
PROGRAM = [sys.executable, "-c", AT_ONCE]
# The sweep looks at tunnels four times in the shortest of its intervals.
OFTEN = ("--log-interval", "400ms")
ANSWER = records(server_hello(0x0303))


def at(seconds):
    """That long from now, as until= takes it, and as a number; a gateway is to be started meanwhile."""
    when = time.time() + seconds * PATIENCE
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(when)) + f".{int(when % 1 * 1e6):06d}Z", when


def running(*flags, tls_rules="off"):
    return Gateway(*OFTEN, *flags, program=PROGRAM, tls_rules=tls_rules)


def says_back(sock):
    sock.sendall(b"ping")
    return read_exactly(sock, 4) == b"ping"


def test_a_tunnel_ends_with_its_rule_and_others_do_not():
    when, end = at(3)
    with Server(echo) as ends, Server(echo) as stays:
        rules = f"{ends.host} until={when}, {stays.host} until=2999-01-01T00:00:00Z, {stays.host} until={when}"
        with running(*LOOPBACK, "--allowed-host", rules) as gateway:
            with gateway.tunnel(ends.target) as ended, gateway.tunnel(stays.target) as other:
                assert says_back(ended) and says_back(other)
                assert read_all(ended) == b"" and time.time() >= end
                line = gateway.closed(reason="rule-ended")
                assert line["target"] == ends.target and "ended at" in line["message"]
                assert says_back(other)


def test_a_tunnel_ends_with_the_to_that_its_address_needs():
    when, _end = at(3)
    with Server(echo) as server, Dns({"www.bench.example": [server.host]}) as dns:
        rules = f"www.bench.example, *.bench.example to=127.0.0.0/8 until={when}"
        with running(*dns.flags, "--allowed-host", rules) as gateway:
            with gateway.tunnel("www.bench.example:443") as sock:
                assert read_all(sock) == b""
                assert f"to={server.host} in its host rule" in gateway.closed(reason="rule-ended")["message"]


def speak(connection):
    if connection.recv(1 << 16):
        connection.sendall(ANSWER)
        echo(connection)


def opened(gateway, target, said):
    sock = gateway.tunnel(target)
    sock.sendall(said)
    assert read_exactly(sock, len(ANSWER)) == ANSWER
    return sock


def test_a_tunnel_ends_with_what_its_server_name_needs():
    when, _end = at(3)
    with Server(speak) as server, Dns({"www.bench.example": [server.host]}) as dns:
        rules = f"www.bench.example, www.bench.example no-server-name until={when}, other.bench.example until={when}"
        flags = (*dns.flags, *LOOPBACK, "--allowed-host", rules, "--server-name", "allowed-hosts")
        with running(*flags, tls_rules=None) as gateway:
            target = "www.bench.example:443"
            with (
                opened(gateway, target, hello(None)) as unnamed,
                opened(gateway, target, hello(b"other.bench.example")) as other,
                opened(gateway, target, hello(b"www.bench.example")) as stays,
            ):
                assert read_all(unnamed) == read_all(other) == b""
                names = ["{}:{}".format(*sock.getsockname()) for sock in (unnamed, other)]
                assert "no-server-name" in gateway.closed(client=names[0], reason="rule-ended")["message"]
                assert "other.bench.example" in gateway.closed(client=names[1], reason="rule-ended")["message"]
                assert says_back(stays)


def test_a_tunnel_that_only_passes_by_report_ends_with_it():
    when, _end = at(3)
    with Server(echo) as server:
        with running(*LOOPBACK, "--policy-mode", "report", "--report-until", when) as gateway:
            with gateway.tunnel(server.target) as sock:
                assert read_all(sock) == b""
                assert gateway.closed(reason="rule-ended")["target"] == server.target


def test_a_tunnel_whose_rule_ends_while_the_policy_only_reports_goes_on_until_that_ends():
    first, second = at(2), at(4)
    with Server(echo) as server:
        flags = ("--policy-mode", "report", "--report-until", second[0], "--allowed-host")
        with running(*LOOPBACK, *flags, f"{server.host} until={first[0]}") as gateway:
            with gateway.tunnel(server.target) as sock:
                assert read_all(sock) == b"" and time.time() >= second[1]
                assert gateway.closed()["reason"] == "rule-ended"
            # What the enforced policy would have done at the rule's own end is told, as at a request.
            assert gateway.wait_for(event=105)["enforced"] is False


def configured(path, recheck, *rules):
    listed = "".join(f"\n    {rule}" for rule in rules)
    path.write_text(f"[ogw]\nreload-rechecks-tunnels = {recheck}\nallowed-host ={listed}\n")


@pytest.mark.parametrize("recheck", ["yes", "no"])
def test_a_rule_that_was_given_more_time_lets_its_tunnels_live_and_one_that_was_taken_away_does_not(tmp_path, recheck):
    ini = tmp_path / "ogw.ini"
    when, end = at(4)
    with Server(echo) as longer, Server(echo) as gone, Server(echo) as mark:
        rules = [f"{server.host} until={when}" for server in (longer, gone, mark)]
        configured(ini, recheck, *rules)
        with running(*LOOPBACK, "--config", str(ini)) as gateway:
            with gateway.tunnel(longer.target) as lives, gateway.tunnel(gone.target) as ends:
                configured(ini, recheck, f"{longer.host} until={at(3600)[0]}", rules[2])
                assert ask(gateway, "/reload", "POST")[0] == 200
                with gateway.tunnel(mark.target) as marked:
                    assert read_all(ends) == b""
                    if recheck == "no":
                        assert time.time() >= end
                    reason = "not-allowed-after-reload" if recheck == "yes" else "rule-ended"
                    assert gateway.closed(target=gone.target)["reason"] == reason
                    assert read_all(marked) == b"" and time.time() >= end
                    assert says_back(lives)


def test_an_end_that_a_reload_brought_is_seen_where_open_tunnels_are_judged_again(tmp_path):
    ini = tmp_path / "ogw.ini"
    with Server(echo) as server:
        configured(ini, "yes", server.host)
        with running(*LOOPBACK, "--config", str(ini)) as gateway, gateway.tunnel(server.target) as sock:
            when, end = at(3)
            configured(ini, "yes", f"{server.host} until={when}")
            assert ask(gateway, "/reload", "POST")[0] == 200
            assert read_all(sock) == b"" and time.time() >= end
            assert gateway.closed()["reason"] == "rule-ended"


def test_the_ends_of_many_tunnels_are_spread():
    """Their clients all come again."""
    when, end = at(2)
    spread = [*PROGRAM[:2], AT_ONCE.replace("0.0", "4.0")]
    with Server(echo) as server:
        flags = (*OFTEN, *LOOPBACK, "--allowed-host", f"{server.host} until={when}")
        with Gateway(*flags, program=spread) as gateway:
            socks = [gateway.tunnel(server.target) for _turn in range(30)]
            for sock in socks:
                assert read_all(sock) == b""
                sock.close()
            assert time.time() >= end
            ended = sorted(datetime.fromisoformat(line["time"]) for line in wait_for_lines(gateway, len(socks)))
            assert (ended[-1] - ended[0]).total_seconds() > 1.0


def wait_for_lines(gateway, count):
    def lines():
        return [line for line in list(gateway.lines) if line.get("reason") == "rule-ended"]

    until(lambda: len(lines()) >= count)
    return lines()
