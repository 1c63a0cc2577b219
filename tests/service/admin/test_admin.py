"""The admin process: what it counts, who may ask what, and that its end, or a question, costs nobody a tunnel."""

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys

import pytest
from harness.admin import ask, asked, metrics
from harness.dns import Dns
from harness.gateway import ALLOW, ROOT, Gateway, address, read_exactly
from harness.load import PIECE, Load
from harness.peers import root
from harness.tls import TlsServer, client, serving
from harness.upstreams import Server, echo
from harness.waiting import until

TURNS = 5  # exchanges of a tunnel of the load


# Counting.


def test_the_metrics_are_what_a_load_did_tunnel_for_tunnel_and_byte_for_byte(upstream):
    with Gateway(*ALLOW, workers=2) as gateway:
        with Load(gateway, upstream.target, turns=TURNS) as load:
            load.wait_for(200)
        assert load.broken == []
        until(lambda: metrics(gateway)["ogw_tunnels_active"] == 0)
        counted = metrics(gateway)
        assert counted['ogw_requests_total{decision="allowed",reason="allowed"}'] == load.done
        assert counted['ogw_tunnels_closed_total{reason="client-closed"}'] == load.done
        assert counted["ogw_tunnel_seconds_count"] == counted["ogw_dial_seconds_count"] == load.done
        for direction in ("up", "down"):
            assert counted[f'ogw_bytes_total{{direction="{direction}"}}'] == load.done * TURNS * PIECE
        assert counted['ogw_events_total{event="108"}'] == load.done
        until(lambda: len(gateway.events(108)) == load.done)
        assert counted["ogw_clients_connected"] == 0


def test_bytes_of_a_tunnel_that_stays_open_are_counted_too(upstream):
    with Gateway(*ALLOW, "--idle-timeout", "1s") as gateway, gateway.tunnel(upstream.target) as sock:
        sock.sendall(b"x" * 1000)
        read_exactly(sock, 1000)
        until(lambda: metrics(gateway)['ogw_bytes_total{direction="up"}'] == 1000)
        assert metrics(gateway)["ogw_tunnels_active"] == metrics(gateway)["ogw_clients_connected"] == 1


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
def test_tls_sessions_are_counted_by_version(authority, version):
    name = "www.bench.example"
    with (
        TlsServer(serving(authority, name)) as server,
        Dns({name: [server.host]}) as dns,
        Gateway("--allowed-host", f"{name} to=127.0.0.0/8", *dns.flags, tls_rules=None) as gateway,
    ):
        with gateway.tunnel(f"{name}:443") as sock, client(version).wrap_socket(sock, server_hostname=name) as tls:
            tls.sendall(b"x")
            assert read_exactly(tls, 1) == b"x"
        counted = metrics(gateway)
        assert counted[f'ogw_tls_sessions_total{{version="{version}"}}'] == 1
        assert sum(_versions(counted).values()) == counted["ogw_handshake_seconds_count"] == 1
        assert counted["ogw_dns_seconds_count"] == 1


def _versions(counted):
    return {name: value for name, value in counted.items() if name.startswith("ogw_tls_sessions_total")}


def test_refusals_are_counted_each_whether_they_have_a_line_or_not(upstream):
    with Gateway("--log-every-refusal", "no") as gateway:
        for _turn in range(50):
            sock, head = gateway.ask(upstream.target)
            assert b"host-not-allowed" in head
            sock.close()
        until(lambda: metrics(gateway)["ogw_tunnels_active"] == 0)
        assert metrics(gateway)['ogw_requests_total{decision="refused",reason="host-not-allowed"}'] == 50
        assert metrics(gateway)['ogw_events_total{event="105"}'] == 50
        (shown,) = asked(gateway, "/status")["refusals"]
        assert (shown["target"], shown["reason"], shown["count"]) == (upstream.target, "host-not-allowed", 50)
        rule, named = f"{upstream.host} to={upstream.host}", f"--run-dir {gateway.run_dir}"
        assert shown["command"] == f"ogw allowed-host add '{rule}' {named} --reload"
    # At the end the count is told: nothing is lost.
    first, last = gateway.events(105)
    assert last["count"] == 49 and last["message"].startswith("49 more like this") and "count" not in first


def test_errors_and_rejections_are_the_originals_counters():
    with Server(echo) as upstream, Gateway(*ALLOW, tls_rules=None) as gateway:
        with gateway.tunnel(upstream.target) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while sock.recv(1000):
                pass
        nobody = address()
        sock, _head = gateway.ask(f"{nobody}:443")
        sock.close()
        counters = asked(gateway, "/status")["counters"]
        assert (counters["tls_rejections"], counters["errors"], counters["refused"]) == (1, 1, 1)
        assert metrics(gateway)['ogw_tls_rejections_total{enforced="true",reason="not-tls"}'] == 1
        assert metrics(gateway)["ogw_errors_total"] == 1


# Lines.


def test_the_counters_and_each_long_tunnel_are_a_line_every_log_interval(upstream):
    with Gateway(*ALLOW, "--log-interval", "300ms") as gateway, gateway.tunnel(upstream.target) as sock:
        sock.sendall(b"x" * 10)
        read_exactly(sock, 10)
        line = gateway.wait_for(event=100, tunnels=1)
        assert (line["clients"], line["errors"], line["tls_rejections"]) == (1, 0, 0)
        line = gateway.wait_for(message="the tunnel is open")
        assert (line["target"], line["upstream"], line["bytes_up"]) == (upstream.target, upstream.target, 10)
        until(lambda: len([line for line in gateway.lines if line["message"] == "the tunnel is open"]) >= 3)


# Health and readiness.


def test_readiness_goes_off_before_the_door_closes_and_health_stays(upstream):
    with Gateway(*ALLOW, "--drain-delay", "30s", "--drain-timeout", "1s") as gateway:
        assert ask(gateway, "/readyz")[0] == ask(gateway, "/healthz")[0] == 200
        gateway.process.send_signal(signal.SIGTERM)
        gateway.wait_for(event=110)
        assert ask(gateway, "/readyz")[0::2] == (503, b"draining\n")
        assert ask(gateway, "/healthz")[0] == 200
        gateway.tunnel(upstream.target).close()  # it serves on
        assert metrics(gateway)["ogw_draining"] == 1
        gateway.process.send_signal(signal.SIGTERM)


def test_what_shows_names_and_what_changes_anything_is_not_had_over_tcp():
    place = address()
    with Gateway(*ALLOW, "--admin-address", place) as gateway:
        tcp = f"{place}:9180"
        assert gateway.wait_for(event=101)["admin"] == tcp
        for path in ("/metrics", "/healthz", "/readyz"):
            assert ask(gateway, path, tcp=tcp, headers={"Host": "any.example"})[0] == 200
        for path in ("/", "/status", "/tunnels", "/config"):
            status, _headers, body = ask(gateway, path, tcp=tcp)
            assert status == 404 and b"admin-page" in body
        for path in ("/reload", "/drain", "/kill?tunnel=x", "/changed?file=/x&reload=1"):
            assert ask(gateway, path, "POST", tcp=tcp)[0] == 404
        assert ask(gateway, "/metrics", "POST", tcp=tcp)[0] == 405
        assert ask(gateway, "/reload")[0] == 405
        assert ask(gateway, "/nothing")[0] == 404


def test_openmetrics_is_given_to_whoever_accepts_it():
    with Gateway() as gateway:
        kind = "application/openmetrics-text; version=1.0.0"
        _status, headers, body = ask(gateway, "/metrics", headers={"Accept": kind})
        assert headers["Content-Type"].startswith("application/openmetrics-text") and body.endswith(b"# EOF\n")
        _status, headers, body = ask(gateway, "/metrics")
        assert headers["Content-Type"].startswith("text/plain") and b"# EOF" not in body


@pytest.mark.parametrize("version", ["a.b.c", "1.a", "", "\xff", "1" * 5000, "-1"])
def test_whatever_a_scraper_accepts_it_gets_metrics(version):
    with Gateway() as gateway:
        kind = f"application/openmetrics-text; version={version}"
        status, _headers, body = ask(gateway, "/metrics", headers={"Accept": kind})
        assert status == 200 and b"ogw_" in body and not gateway.events(400)


def test_a_target_that_is_no_url_is_a_bad_request():
    with Gateway() as gateway, socket.socket(socket.AF_UNIX) as sock:
        sock.connect(f"{gateway.run_dir}/admin.sock")
        sock.sendall(b"GET http://[::1/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.makefile("rb").read().startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert asked(gateway, "/status")


# Questions.


def test_open_tunnels_are_listed_the_longest_first_and_one_can_be_ended(upstream):
    with Gateway(*ALLOW, workers=2) as gateway:
        socks = [gateway.tunnel(upstream.target) for _turn in range(5)]
        socks[0].sendall(b"x" * 77)
        read_exactly(socks[0], 77)
        listed = asked(gateway, "/tunnels")
        assert listed["total"] == 5 and listed["workers_missing"] == 0
        names = ["{}:{}".format(*sock.getsockname()) for sock in socks]
        assert sorted(tunnel["client"] for tunnel in listed["tunnels"]) == sorted(names)
        durations = [tunnel["duration"] for tunnel in listed["tunnels"]]
        assert durations == sorted(durations, reverse=True)
        (first,) = [tunnel for tunnel in listed["tunnels"] if tunnel["client"] == names[0]]
        assert (first["target"], first["state"], first["bytes_up"]) == (upstream.target, "open", 77)
        assert len(asked(gateway, "/tunnels?most=2")["tunnels"]) == 2
        assert asked(gateway, "/tunnels?client=192.0.2.1")["total"] == 0
        assert asked(gateway, f"/tunnels?target={upstream.host}")["total"] == 5
        assert asked(gateway, f"/kill?tunnel={first['tunnel']}", "POST")["killed"]
        assert socks[0].recv(1) == b""
        assert gateway.closed(reason="killed")["tunnel"] == first["tunnel"]
        assert ask(gateway, f"/kill?tunnel={first['tunnel']}", "POST")[0] == 404
        assert asked(gateway, "/tunnels")["total"] == 4
        for sock in socks:
            sock.close()


def test_open_tunnels_are_found_by_a_part_of_what_they_are_called():
    with (
        Server(echo, host=address()) as one,
        Server(echo, host=address()) as other,
        Gateway(*ALLOW, workers=2) as gateway,
        gateway.tunnel(one.target) as sock,
        gateway.tunnel(other.target) as second,
    ):
        until(lambda: asked(gateway, "/tunnels")["total"] == 2)
        (found,) = asked(gateway, f"/tunnels?text={other.target[3:]}")["tunnels"]
        client = "{}:{}".format(*second.getsockname())
        assert (found["client"], found["target"]) == (client, other.target)
        for text in (client, found["tunnel"], found["tunnel"].upper()):
            assert asked(gateway, f"/tunnels?text={text}")["tunnels"][0]["tunnel"] == found["tunnel"]
        assert asked(gateway, f"/tunnels?text={client}")["total"] == 1
        assert asked(gateway, f"/tunnels?text=127.&target={one.host}")["total"] == 1
        assert asked(gateway, "/tunnels?text=127.&most=1")["total"] == 2
        for text in ("nobody", "%00", "%ED%A0%80", "a" * 5000, "%3Cb%3E"):
            assert asked(gateway, f"/tunnels?text={text}") == {"tunnels": [], "total": 0, "workers_missing": 0}
        assert sock


def test_a_reload_can_be_asked_for_and_says_what_came_of_it(upstream, tmp_path):
    ini = tmp_path / "ogw.ini"
    ini.write_text("[ogw]\nallowed-host = 192.0.2.1\n")
    with Gateway("--config", str(ini)) as gateway:
        ini.write_text("[ogw]\nallowed-host = *\nidle-timeout = soon\n")
        status, _headers, body = ask(gateway, "/reload", "POST")
        assert status == 409 and len(json.loads(body)["mistakes"]) == 2
        ini.write_text("[ogw]\nallowed-host = 127.0.0.0/8\nallowed-target-network = 127.0.0.0/8\n")
        assert asked(gateway, "/reload", "POST")["changed"] == ["allowed-host", "allowed-target-network"]
        gateway.tunnel(upstream.target).close()
        counted = metrics(gateway)
        assert (counted['ogw_reloads_total{result="taken"}'], counted['ogw_reloads_total{result="refused"}']) == (1, 1)


def test_a_drain_can_be_asked_for(upstream):
    with Gateway(*ALLOW, "--drain-timeout", "20s") as gateway, gateway.tunnel(upstream.target) as sock:
        asked(gateway, "/drain", "POST")
        gateway.wait_for(event=110)
        sock.sendall(b"x")
        assert read_exactly(sock, 1) == b"x"
        sock.close()
        assert gateway.process.wait(20) == 0


def test_the_configuration_is_shown_with_its_sources_and_without_its_secrets():
    flags = ("--relay-proxy", "http://user:p%40ss@192.0.2.1:3128", "--allowed-host", "a.example")
    secrets = {"OGW_RELAY_PROXY_USERNAME": "somebody", "OGW_RELAY_PROXY_PASSWORD": "hush"}
    with Gateway(*flags, environment=secrets) as gateway:
        shown = asked(gateway, "/config")
        assert shown["settings"]["allowed-host"] == [{"value": "a.example", "source": "--allowed-host"}]
        assert shown["settings"]["head-timeout"] == [{"value": "10s", "source": "default"}]
        text = json.dumps(shown) + json.dumps(asked(gateway, "/status")) + ask(gateway, "/metrics")[2].decode()
        assert not any(secret in text for secret in ("p%40ss", "p@ss", "somebody", "hush"))


def test_a_worker_that_hangs_is_missing_in_the_answer_and_holds_nobody_up(upstream):
    with Gateway(*ALLOW, workers=2) as gateway:
        hung = gateway.workers[0]
        os.kill(hung, signal.SIGSTOP)
        try:
            assert asked(gateway, "/status")["workers_missing"] == 1
            assert metrics(gateway)["ogw_workers_ready"] == 2
        finally:
            os.kill(hung, signal.SIGCONT)


def test_who_takes_it_for_the_proxy_is_told_the_port_of_the_gateway():
    host = address()
    with Gateway(*ALLOW, "--admin-address", f"{host}:8081", "--health-address", f"{host}:8082") as gateway:
        for place in (f"{host}:8081", f"{host}:8082", None):
            for target in ("www.example.com:443", "[2001:db8::1]:443", "healthz"):
                status, headers, body = ask(gateway, target, "CONNECT", tcp=place)
                assert status == 405 and headers["Allow"] == "GET, HEAD"
                assert b"is no proxy" in body and f"{gateway.address}:8080".encode() in body


# Its end, and its door.


def test_the_admin_process_is_replaced_and_no_tunnel_feels_it(upstream):
    with Gateway(*ALLOW, workers=2) as gateway, Load(gateway, upstream.target) as load:
        load.wait_for(20)
        os.kill(gateway.admin, signal.SIGKILL)
        gateway.wait_for(event=405)
        until(lambda: ask(gateway, "/healthz")[0] == 200)
        load.wait_for(20)
        assert load.broken == []
        assert gateway.events(405)[0]["message"].startswith("admin (process ")
        assert metrics(gateway)["ogw_worker_deaths_total"] == 1


def test_the_admin_process_leaves_with_its_supervisor():
    with Gateway() as gateway:
        admin = gateway.admin
        os.kill(gateway.pid, signal.SIGKILL)
        gateway.process.wait(10)
        until(lambda: not os.path.exists(f"/proc/{admin}"))


def test_the_socket_is_for_its_user_and_gone_at_the_end():
    with Gateway() as gateway:
        path = f"{gateway.run_dir}/admin.sock"
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(20) == 0
        assert not os.path.exists(path)


def test_a_socket_that_was_left_behind_is_taken_over(tmp_path):
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "admin.sock"))
    left.close()
    with Gateway("--run-dir", str(tmp_path)) as gateway:
        gateway.run_dir = str(tmp_path)
        assert ask(gateway, "/healthz")[0] == 200


def fails_to_start(*flags):
    done = subprocess.run(
        [sys.executable, "-m", "ogw", "run", "--listen-address", address(), *flags],
        cwd=ROOT, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 2, (done.stdout, done.stderr)
    return done.stderr


def test_an_admin_address_that_is_set_and_in_use_is_an_error():
    place = f"{address()}:9180"
    with socket.create_server((place.split(":")[0], 9180)), Gateway() as first:
        said = fails_to_start("--admin-address", place, "--run-dir", first.run_dir + "/other")
    assert f"OGW-401 admin-address: cannot listen on {place}: port 9180 is in use" in said
    assert "choose another port (admin-address)" in said


def test_an_admin_address_by_default_that_is_in_use_is_a_warning():
    script = "from ogw.settings.loader import load; from ogw.service.admin.sockets import open_sockets; "
    script += "import sys; print(open_sockets(load(sys.argv[1:], {})).warnings)"

    def is_told(run_dir):
        with contextlib.closing(socket.socket()) as taken:
            # By a gateway of another test, which is as good, but for that it may leave just now.
            with contextlib.suppress(OSError):
                taken.bind(("127.0.0.1", 9180))
                taken.listen()
            done = subprocess.run(
                [sys.executable, "-c", script, "--run-dir", run_dir],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=30,
            )
        return "choose another port (admin-address); going on without metrics" in done.stdout

    with Gateway() as gateway:
        until(lambda: is_told(gateway.run_dir + "/other"))


def test_a_run_dir_that_another_gateway_uses_or_that_cannot_be_made_is_an_error(tmp_path):
    with Gateway() as first:
        said = fails_to_start("--admin-address", "", "--run-dir", first.run_dir)
        assert f"OGW-401 run-dir: {first.run_dir}: another gateway uses it" in said
    said = fails_to_start("--admin-address", "", "--run-dir", str(tmp_path / "no" / "such"))
    assert "OGW-401 wrong configuration: run-dir: " in said and "there is no folder" in said
    said = fails_to_start("--admin-address", "", "--run-dir", str(tmp_path / ("x" * 120)))
    assert "too long" in said


def test_a_run_dir_of_somebody_else_is_refused(tmp_path):
    root()
    strange = tmp_path / "strange"
    strange.mkdir()
    os.chown(strange, 12345, 12345)
    said = fails_to_start("--admin-address", "", "--run-dir", str(strange))
    assert "is not a folder of this user" in said
