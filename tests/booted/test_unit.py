"""The unit under the systemd of Debian 12 and of Debian 13: what it promises, and what it keeps from the gateway."""

import base64
import contextlib
import re
import signal
import ssl
from datetime import datetime

import pytest
from harness.certificates import with_common_names, write
from harness.gateway import read_exactly, read_head
from harness.service import INI, json_of
from harness.upstreams import Server, echo, server_context
from harness.waiting import until

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]
TARGET = "127.0.0.1:443"
WRONG = "nonsense"
SAYS = "/etc/ogw/ogw.ini:5: neither `key = value` nor a comment"


def test_systemd_has_nothing_to_say_about_the_unit(machine):
    """252 ends with 0 whatever it finds."""
    done = machine.run("systemd-analyze", "verify", "ogw.service")
    assert (done.stdout, done.stderr) == ("", "")


def test_it_starts_and_the_journal_knows_how_bad_a_line_is(service):
    service.begin()
    assert service.passes(TARGET)
    assert not service.passes("192.0.2.1:443")
    assert service.lines(event=101)[-1]["PRIORITY"] == 6
    assert until(lambda: service.lines(event=105))[-1]["PRIORITY"] == 4
    assert service.state("NRestarts") == "0"


def test_a_session_passes_that_every_rule_looks_at_although_it_is_hardened(service, authority, tmp_path):
    """Certificates are read by a library of foreign code, which might want memory that is written and run."""
    said = service.machine.run("systemd-analyze", "security", "--no-pager", "ogw.service").stdout
    assert float(re.search(r"Overall exposure level for ogw.service: ([0-9.]+)", said)[1]) <= 1.5
    more = {"allowed_client_certificate": "CN=till-7", "log_file": "/var/log/ogw/ogw.log"}
    service.begin(**more, tls_rules="enforce", allowed_host="localhost no-server-name")
    context = server_context(authority, "localhost")
    context.verify_mode = ssl.CERT_REQUIRED
    client = ssl.create_default_context()
    authority.configure_trust(client)
    for name, passes in (("till-7", True), ("till-8", False)):
        own = write(tmp_path / name, with_common_names(name))
        context.load_verify_locations(own)
        client.load_cert_chain(own)
        for one in (context, client):
            one.maximum_version = ssl.TLSVersion.TLSv1_2  # later ones hide the certificate
        assert _greets(service, context, client) == passes
    service.machine.until("""grep -q '"event": 107.*"subject": "CN=till-7"' /var/log/ogw/ogw.log""")
    assert service.machine.run("stat", "-c", "%a", "/var/log/ogw/ogw.log").stdout == "640\n"


def _greets(service, context, client):
    """Whether a client's session comes to the server through a tunnel."""

    def serve(connection):
        with context.wrap_socket(connection, server_side=True) as tls:
            tls.sendall(tls.recv(5))

    with service.machine.network(), Server(serve, host="127.0.0.9"):
        service.machine.sh("grep -q '127.0.0.9 localhost' /etc/hosts || echo 127.0.0.9 localhost > /etc/hosts")
        sock, head = service.ask("localhost:443")
        assert head.startswith(b"HTTP/1.1 200 "), head
        try:
            with client.wrap_socket(sock, server_hostname="localhost") as tls:
                tls.sendall(b"hello")
                return tls.recv(5) == b"hello"
        except OSError:
            return False


def test_all_else_that_it_does_is_left_to_it(service, copy):
    """A list is read, metrics are asked for, commands ask over the socket, lines go to a syslog."""
    copy.write("/etc/ogw/hosts", "127.0.0.1\n")
    service.begin(allowed_host="", allowed_host_source="/etc/ogw/hosts", syslog="/dev/log")
    until(lambda: service.passes(TARGET))
    run = service.machine.run
    assert "ogw_max_descriptors" in run("curl", "-sSf", "http://127.0.0.1:9180/metrics").stdout
    assert "is serving" in run("ogw", "status").stdout
    run("ogw", "ready")
    run("ogw", "doctor", check=False)
    told = until(
        lambda: [json_of(entry) for entry in service.machine.journal("_TRANSPORT=syslog", "SYSLOG_IDENTIFIER=ogw")]
    )
    assert told[0]["event"] == 101
    assert not [line for line in told if line["level"] == "error"]


def test_the_journal_leaves_no_line_out(service, copy):
    copy.write(
        "/etc/systemd/journald.conf.d/of-the-test.conf", "[Journal]\nRateLimitIntervalSec=1h\nRateLimitBurst=1\n"
    )
    service.machine.run("systemctl", "restart", "systemd-journald")
    service.begin(workers=1, log_every_refusal="yes")
    before = len(service.lines(event=105))
    for _number in range(300):
        assert not service.passes("192.0.2.1:443")
    until(lambda: len(service.lines(event=105)) == before + 300)
    (copy.folder / "etc/systemd/journald.conf.d/of-the-test.conf").unlink()
    service.machine.run("systemctl", "restart", "systemd-journald")


def test_a_reload_takes_the_new_configuration_and_drops_no_tunnel(service):
    service.begin(allowed_host="127.0.0.2")
    before = service.pid
    assert not service.passes(TARGET)
    service.write_ini()
    service.machine.run("systemctl", "reload", "ogw")
    assert service.passes(TARGET)
    tunnel, _head = service.ask(TARGET)
    service.write_ini(allowed_host="127.0.0.2")
    service.machine.run("systemctl", "reload", "ogw")
    assert not service.passes(TARGET)
    with tunnel:
        tunnel.sendall(b"still")
        assert read_exactly(tunnel, 5) == b"still"
    assert service.pid == before


def test_a_reload_that_is_refused_fails_and_says_why_where_one_looks(service):
    service.begin()
    service.write_ini(more=WRONG)
    done = service.machine.run("systemctl", "reload", "ogw", check=False)
    assert done.returncode == 1 and 'See "systemctl status ogw.service"' in done.stderr
    assert SAYS in service.machine.run("systemctl", "status", "--lines=20", "--full", "ogw").stdout.split("CGroup")[1]
    assert service.state("StatusText").startswith(f"0 tunnels are open; the last reload was refused: {SAYS}")
    assert service.lines(event=401)[-1]["PRIORITY"] == 3
    assert service.state("ActiveState") == "active" and service.passes(TARGET)
    service.write_ini()
    service.machine.run("systemctl", "reload", "ogw")
    service.becomes("StatusText", "0 tunnels are open")


def test_its_status_tells_how_many_tunnels_are_open(service):
    service.begin()
    with contextlib.ExitStack() as tunnels:
        for _number in range(3):
            tunnels.enter_context(service.ask(TARGET)[0])
        service.becomes("StatusText", "3 tunnels are open")
    service.becomes("StatusText", "0 tunnels are open")


def test_a_wrong_configuration_is_not_tried_again_and_its_status_says_what_is_wrong(service):
    service.begin()
    service.write_ini(more=WRONG)
    assert service.machine.run("systemctl", "restart", "ogw", check=False).returncode == 1
    assert service.machine.unit("ogw", "ActiveState", "SubState", "NRestarts", "ExecMainStatus") == {
        "ActiveState": "failed", "SubState": "failed", "NRestarts": "0", "ExecMainStatus": "2"}  # fmt: skip
    assert service.state("StatusText").startswith(f"wrong configuration: {SAYS}")
    with pytest.raises(ConnectionRefusedError):
        service.connect()


def test_without_a_rule_it_ends_well_and_its_status_says_what_to_do(service):
    service.begin()
    service.machine.sh(f"echo '[ogw]' > {INI} && systemctl restart ogw")
    service.becomes("ActiveState", "inactive")
    assert service.machine.unit("ogw", "Result", "NRestarts") == {"Result": "success", "NRestarts": "0"}
    shown = service.machine.run("systemctl", "status", "--full", "ogw", check=False).stdout
    assert "no host is allowed yet, so the gateway does not serve; one of these two starts it" in shown
    with pytest.raises(ConnectionRefusedError):
        service.connect()


def test_one_that_crashes_is_started_again_however_often(service):
    service.begin("RestartSec=10ms")
    for _time in range(7):  # five times in ten seconds would be too many without a word in the unit
        service.crash()
    service.becomes("ActiveState", "active")
    assert service.passes(TARGET)
    assert int(service.state("NRestarts")) == 7


def test_a_supervisor_that_hangs_is_killed_by_the_watchdog_and_started_again(service):
    service.begin("WatchdogSec=4")
    pid, sign = service.pid, service.state("WatchdogTimestampMonotonic")
    until(lambda: service.state("WatchdogTimestampMonotonic") != sign)
    assert service.pid == pid
    service.crash(signal.SIGSTOP)
    service.becomes("ActiveState", "active")
    assert service.passes(TARGET)
    assert "Failed with result 'watchdog'" in service.machine.run("journalctl", "--unit=ogw").stdout


def test_a_worker_that_hangs_is_replaced_and_the_service_goes_on(service):
    service.begin(hung_timeout="10s", workers=2)
    before, first = service.pid, service.workers[0]
    service.kill(signal.SIGSTOP, first)
    service.becomes("StatusText", "0 tunnels are open; 1 of 2 workers do not answer")
    assert until(lambda: service.lines(event=405))[-1]["PRIORITY"] == 3
    until(lambda: len(service.workers) == 2 and first not in service.workers)
    assert service.pid == before and service.passes(TARGET)


def test_tunnels_have_the_time_that_the_configuration_gives_them_although_the_unit_gives_less(service):
    service.begin("TimeoutStopSec=5", drain_timeout="60s")
    tunnel, _head = service.ask(TARGET)
    service.machine.run("systemctl", "stop", "--no-block", "ogw")
    service.becomes("StatusText", "draining: 1 tunnels are open")
    began = float(service.machine.run("cat", "/proc/uptime").stdout.split()[0])
    until(lambda: float(service.machine.run("cat", "/proc/uptime").stdout.split()[0]) > began + 8)
    with tunnel:
        tunnel.sendall(b"still")
        assert read_exactly(tunnel, 5) == b"still"
    service.becomes("ActiveState", "inactive")
    assert service.state("Result") == "success"


def test_one_of_a_pair_starts_without_the_address_and_is_taken_out_before_its_stop(service):
    """Hardened as it is, it may listen there; and who was told that it is ready has 5 s to see that it is not."""
    service.begin(listen_address="127.0.0.1, 198.51.100.7, 2001:db8::7", listen_freebind="yes")
    absent = "this machine does not have 198.51.100.7:8080, [2001:db8::7]:8080"
    service.becomes("StatusText", f"0 tunnels are open; {absent}")
    assert service.machine.run("ogw", "ready").stdout.startswith("ready; this machine does not have the address of ")
    service.machine.run("ogw", "ready", "--off")
    service.becomes("StatusText", f"taken out by ogw ready --off; 0 tunnels are open; {absent}")
    assert service.machine.run("ogw", "ready", check=False).returncode == 1
    assert service.lines(by="root")[-1]["event"] == 100 and service.passes(TARGET)
    service.machine.run("ogw", "ready", "--on")
    assert service.machine.run("ogw", "ready", "--quiet").stdout == ""
    service.machine.run("systemctl", "stop", "ogw")
    assert service.state("Result") == "success"
    begin, end = (datetime.fromisoformat(service.lines(event=number)[-1]["time"]) for number in (110, 102))
    assert (end - begin).total_seconds() > 4.9


def test_a_port_below_1024_takes_one_line(service, copy):
    service.write_ini(listen_port=443, listen_address="127.0.0.7")
    service.machine.sh("systemctl reset-failed ogw; systemctl stop ogw")
    service.machine.sh("rm -r /etc/systemd/system/ogw.service.d; systemctl daemon-reload")
    assert service.machine.run("systemctl", "start", "ogw", check=False).returncode == 1
    assert "port 443 needs root or CAP_NET_BIND_SERVICE" in service.state("StatusText")
    unit = (copy.folder / "usr/lib/systemd/system/ogw.service").read_text()
    [line] = re.findall(r"^#(AmbientCapabilities=.*)", unit, re.MULTILINE)
    service.begin(line, listen_port=443, listen_address="127.0.0.7")
    assert service.lines(event=101)[-1]["listen"] == ["127.0.0.7:443"]


def test_the_relay_proxys_password_is_a_credential_that_only_root_can_read(service, copy):
    heard = []

    def relay(connection):
        heard.append(read_head(connection))
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        echo(connection)

    copy.write("/etc/ogw/relay-proxy.password", "s3cret\n", 0o600)
    unit = (copy.folder / "usr/lib/systemd/system/ogw.service").read_text()
    lines = re.findall(r"^#((?:LoadCredential=relay-proxy.p|Environment=OGW_RELAY_PROXY_P).*)", unit, re.MULTILINE)
    assert len(lines) == 2
    with service.machine.network(), Server(relay, host="127.0.0.8", port=3128):
        service.begin(*lines, relay_proxy="http://127.0.0.8:3128", relay_proxy_username="gateway")
        assert service.passes(TARGET)
    assert b"Basic " + base64.b64encode(b"gateway:s3cret") in heard[0]
    assert "s3cret" not in service.machine.run("journalctl", "--unit=ogw").stdout
    (copy.folder / "etc/ogw/relay-proxy.password").unlink()
