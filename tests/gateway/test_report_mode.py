"""policy-mode = report in a real gateway: what passes, what does not, what is said, and how it ends."""

import contextlib
import re
import signal
import sys
import time

from harness.admin import ask, asked, metrics
from harness.commands import ogw
from harness.gateway import Gateway, address, read_all, read_exactly
from harness.waiting import until

from ogw.policy.rules import time_text

LOOPBACK = ("--allowed-target-network", "127.0.0.0/8")


def report(seconds=86430.0):
    return "--policy-mode", "report", "--report-until", time_text(round(time.time() + seconds, 3))


def head_of(gateway, target):
    sock, head = gateway.ask(target)
    sock.close()
    return head.split(b"\r\n")[0]


def test_what_no_rule_allows_passes_and_is_said_counted_and_summarised(upstream):
    with Gateway(*report(), *LOOPBACK, "--log-every-refusal", "no") as gateway:
        for _turn in range(3):
            sock = gateway.tunnel(upstream.target, rest=b"hello")
            assert read_exactly(sock, 5) == b"hello"
            sock.close()
        line = gateway.wait_for(event=105)
        assert (line["reason"], line["enforced"], line["target"]) == ("host-not-allowed", False, upstream.target)
        assert line["level"] == "warning" and f"allowed-host = {upstream.host} would allow it" in line["message"]
        gateway.closed(target=upstream.target)
        counted = metrics(gateway)
        assert counted['ogw_requests_total{decision="reported",reason="host-not-allowed"}'] == 3
        assert counted['ogw_requests_total{decision="refused",reason="host-not-allowed"}'] == 0
        assert counted['ogw_requests_total{decision="allowed",reason="allowed"}'] == 3
        state = asked(gateway, "/status")
        assert (state["counters"]["reported"], state["counters"]["refused"], state["reasons"]) == (3, 0, {})
        (told,) = state["attention"]
        assert told.startswith("policy-mode = report until 2") and "3 requests" in told
        page = ask(gateway, "/")[2].decode()
        assert told in page and "OGW-105, let pass, only reported" in page
        (one,) = state["refusals"]
        assert (one["enforced"], one["count"]) == (False, 3)
        assert gateway.stop() == 0
    assert [line.get("count") for line in gateway.events(105)] == [None, 2]
    assert [line["enforced"] for line in gateway.events(105)] == [False, False]


def test_what_is_denied_what_the_guard_refuses_and_other_clients_stay_refused(upstream):
    denied = ("--denied-host", "denied.example", "--allowed-client", "127.0.0.0/8")
    with Gateway(*report(), *denied) as gateway:
        assert head_of(gateway, "denied.example:443") == b"HTTP/1.1 403 Forbidden: host-not-allowed"
        assert "enforced" not in gateway.wait_for(event=105, target="denied.example:443")
        assert head_of(gateway, upstream.target) == b"HTTP/1.1 403 Forbidden: address-not-allowed"
        gateway.wait_for(reason="address-not-allowed")
        lines = [line for line in gateway.events(105) if line["target"] == upstream.target]
        assert [(line["reason"], line.get("enforced")) for line in lines] == [
            ("host-not-allowed", False),
            ("address-not-allowed", None),
        ]
    with Gateway(*report(), *LOOPBACK, "--allowed-client", "10.0.0.0/8") as gateway:
        assert head_of(gateway, upstream.target) == b"HTTP/1.1 403 Forbidden: client-not-allowed"


def test_the_tls_rules_stay(upstream):
    with Gateway(*report(), *LOOPBACK, tls_rules="enforce") as gateway:
        sock = gateway.tunnel(upstream.target, rest=b"GET / HTTP/1.1\r\n\r\n")
        assert read_all(sock) == b""  # the server would have echoed it
        sock.close()
        assert gateway.wait_for(event=106)["reason"] == "not-tls"
        assert gateway.closed()["reason"] == "not-tls"


def test_it_is_said_at_the_start_in_the_status_and_in_a_metric(upstream):
    with Gateway(*report(), *LOOPBACK) as gateway:
        line = gateway.wait_for(event=100, count=0)
        assert line["level"] == "warning" and line["message"].startswith("policy-mode = report until 2")
        mode = asked(gateway, "/status")["policy_mode"]
        assert mode["mode"] == "report" and mode["until"][:14] in line["message"]
        assert abs(metrics(gateway)["ogw_policy_report_until_seconds"] - time.time() - 86400) < 60
        shown = ogw("status", "--run-dir", gateway.run_dir).stdout.splitlines()
        assert shown[1].startswith("policy-mode = report until 2") and "see `ogw suggest --run-dir " in shown[1]
        assert "policy-mode = report until 2" in ogw("top", "--count", "1", "--run-dir", gateway.run_dir).stdout


def test_it_ends_by_itself_without_a_reload_and_says_so(upstream):
    with contextlib.ExitStack() as stack:
        for seconds in (4.0, 16.0, 64.0):  # a busy machine may take longer to start and open a tunnel
            gateway = stack.enter_context(Gateway(*report(seconds), *LOOPBACK))
            sock, head = gateway.ask(upstream.target)
            if head.startswith(b"HTTP/1.1 200 "):
                break
            sock.close()
        line = until(lambda: [line for line in gateway.events(100) if "is over" in line["message"]])[0]
        assert (line["level"], line["count"]) == ("warning", 1)
        assert head_of(gateway, upstream.target) == b"HTTP/1.1 403 Forbidden: host-not-allowed"
        until(lambda: not metrics(gateway)["ogw_policy_report_until_seconds"])  # it counts whole seconds
        assert asked(gateway, "/status")["policy_mode"] == {"mode": "enforce", "until": None}
        sock.sendall(b"still open")
        assert read_exactly(sock, 10) == b"still open"
        sock.close()


OFTEN = """
import sys
from ogw.service import notices
notices.MODE_SECONDS = 0.2
from ogw.cli.main import main
sys.exit(main(["run", *sys.argv[1:]]))
"""


def test_it_is_said_again_and_again_and_at_a_reload(upstream):
    with Gateway(*report(), *LOOPBACK, program=[sys.executable, "-c", OFTEN]) as gateway:
        gateway.tunnel(upstream.target).close()
        until(lambda: sum(line.get("count") == 1 for line in gateway.events(100)) >= 3)
    with Gateway(*report(), *LOOPBACK) as gateway:
        gateway.wait_for(event=100, count=0)
        gateway.tunnel(upstream.target).close()
        gateway.process.send_signal(signal.SIGHUP)
        gateway.wait_for(event=109)
        told = gateway.wait_for(event=100, count=1)
        assert told["message"].startswith("policy-mode = report until ")


def test_a_reload_turns_it_off_and_ends_what_only_it_let_pass_where_that_is_asked_for(upstream, tmp_path):
    file = tmp_path / "ogw.ini"
    on = f"policy-mode = report\nreport-until = {report()[-1]}\n"
    file.write_text(f"[ogw]\nreload-rechecks-tunnels = yes\n{on}")
    with Gateway("--config", str(file), *LOOPBACK) as gateway:
        sock = gateway.tunnel(upstream.target)
        file.write_text("[ogw]\nreload-rechecks-tunnels = yes\n")
        gateway.process.send_signal(signal.SIGHUP)
        line = gateway.wait_for(event=109)
        assert line["changed"] == ["policy-mode", "report-until"] and line["old_policy"] != line["policy"]
        assert gateway.closed()["reason"] == "not-allowed-after-reload"
        until(lambda: [line for line in gateway.events(100) if "is over" in line["message"]])
        sock.close()
        assert head_of(gateway, upstream.target) == b"HTTP/1.1 403 Forbidden: host-not-allowed"


def test_an_end_that_has_passed_is_a_warning_and_the_policy_is_enforced(upstream):
    with Gateway("--policy-mode", "report", "--report-until", "2020-01-01T00:00:00Z", *LOOPBACK) as gateway:
        warning = gateway.wait_for(event=100)
        assert "ended at 2020-01-01T00:00:00Z (report-until): the policy is enforced" in warning["message"]
        assert head_of(gateway, upstream.target) == b"HTTP/1.1 403 Forbidden: host-not-allowed"


def test_the_socket_tells_all_refusals_that_are_remembered(upstream):
    with Gateway("--allowed-host", "a.example", "--allowed-client", "127.0.0.0/8", workers=2) as gateway:
        for number in range(30):
            head_of(gateway, f"host-{number}.example:443")
        head_of(gateway, "host-0.example:443")
        told = asked(gateway, "/refusals")
        assert told["complete"] and told["workers_missing"] == 0
        assert {one["target"] for one in told["refusals"]} == {f"host-{number}.example:443" for number in range(30)}
        assert told["refusals"][0]["target"] == "host-0.example:443"
        assert (told["refusals"][0]["count"], told["refusals"][0]["enforced"]) == (2, True)
        assert told["refusals"][0]["first"] < told["refusals"][0]["last"]


def test_explain_says_that_only_the_mode_lets_it_pass(tmp_path):
    file = tmp_path / "ogw.ini"
    until = report()[-1]
    file.write_text(f"[ogw]\npolicy-mode = report\nreport-until = {until}\ntls-rules = report\n")
    shown = ogw("explain", "8.8.8.8", "--config", file).stdout
    assert "the client would be refused, but passes, since policy-mode is report" in shown
    assert "8.8.8.8 is not in the allowed hosts" in shown
    assert ogw("explain", "8.8.8.8", "--config", file, "--at", "2999-01-01T00:00:00Z").returncode == 1


def test_refusals_are_told_on_the_socket_only(upstream):
    place = f"{address()}:9180"
    with Gateway("--admin-address", place, "--admin-page", "yes"):
        for path in ("/refusals", "/tunnel?id=3fa1c2-17"):
            status, _headers, body = ask(None, path, tcp=place)
            assert status == 404 and path.partition("?")[0] not in re.split(r"[\s,]+", body.decode())
