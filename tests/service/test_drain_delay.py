"""drain-delay = auto: whoever was told that the gateway is ready has the time to see that it is not any more."""

import re
import signal
import time
from datetime import datetime

import pytest
from harness.admin import ask, metrics
from harness.commands import ogw
from harness.gateway import ALLOW, Gateway, address
from harness.handover import Upgraded, systemd
from harness.waiting import PATIENCE, until

SERVES_ON = re.compile(r"; ([0-9.]+) s before, only readiness says no \(drain-delay\)\Z")


def gateway_of(*flags, kind=Gateway):
    """One with the default."""
    place = address()
    asked = ("--admin-address", place, "--health-address", place)
    return kind(*ALLOW, *asked, *flags, leaves=("drain-delay",), listen=place)


def delay(gateway):
    """Seconds that its drain begins with, once it drains."""
    found = SERVES_ON.search(gateway.wait_for(event=110, status=None)["message"])
    return float(found[1]) if found else 0.0


ASKERS = {
    "health-address": lambda gateway: ask(gateway, "/readyz", tcp=f"{gateway.address}:9181")[0],
    "admin-address": lambda gateway: ask(gateway, "/readyz", "HEAD", tcp=f"{gateway.address}:9180")[0],
    "ogw ready": lambda gateway: ogw("ready", "--run-dir", gateway.run_dir).returncode or 200,
}


@pytest.mark.parametrize("asker", ASKERS)
def test_where_somebody_asked_it_serves_on_until_he_has_seen_it(upstream, asker):
    with gateway_of() as gateway:
        assert ASKERS[asker](gateway) == 200
        gateway.process.send_signal(signal.SIGTERM)
        assert delay(gateway) == 5.0
        assert ask(gateway, "/readyz")[0] == 503
        gateway.tunnel(upstream.target).close()
        gateway.closed()
        assert gateway.stop() == 0  # the second signal waits for nobody


def test_it_comes_to_its_end_by_itself():
    with gateway_of() as gateway:
        assert ask(gateway, "/readyz")[0] == 200
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(60 * PATIENCE) == 0
        begins, ends = (datetime.fromisoformat(gateway.wait_for(event=number)["time"]) for number in (110, 102))
        assert (ends - begins).total_seconds() > 4.9


@pytest.mark.parametrize("path", [None, "/healthz", "/metrics", "/status"])
def test_where_nobody_asked_that_a_stop_takes_no_longer(path):
    with gateway_of() as gateway:
        if path is not None:
            assert ask(gateway, path)[0] == 200
        gateway.process.send_signal(signal.SIGTERM)
        assert delay(gateway) == 0.0


def test_who_was_told_that_it_is_not_ready_needs_no_time(tmp_path):
    """Taken out before the stop: what is left of the five seconds, and nothing where it was taken out for long."""
    with gateway_of() as gateway:
        assert ask(gateway, "/readyz")[0] == 200
        assert ask(gateway, "/take-out", "POST")[0] == 200
        until(lambda: ask(gateway, "/readyz")[0] == 503)
        until(lambda: metrics(gateway)["ogw_taken_out_time_seconds"] < time.time() - 2)
        gateway.process.send_signal(signal.SIGTERM)
        assert 0.0 <= delay(gateway) < 4.0
    with gateway_of() as gateway:
        assert ask(gateway, "/take-out", "POST")[0] == 200
        assert ask(gateway, "/readyz")[0] == 503
        gateway.process.send_signal(signal.SIGTERM)
        assert delay(gateway) == 0.0


def test_a_number_stays_what_it_is():
    with gateway_of("--drain-delay", "7s") as gateway:
        gateway.process.send_signal(signal.SIGTERM)
        assert delay(gateway) == 7.0
    with gateway_of("--drain-delay", "0s") as gateway:
        assert ask(gateway, "/readyz")[0] == 200
        gateway.process.send_signal(signal.SIGTERM)
        assert delay(gateway) == 0.0


def test_a_successor_knows_who_asked_its_predecessor(upstream):
    with gateway_of(kind=Upgraded) as gateway:
        assert ask(gateway, "/readyz")[0] == 200
        with gateway.tunnel(upstream.target):
            gateway.upgrade()
            gateway.send(signal.SIGTERM)
            assert delay(gateway) == 5.0
            gateway.send(signal.SIGTERM)


def test_systemd_gives_it_the_time(tmp_path):
    with systemd(tmp_path) as (path, heard):
        place = address()
        flags = ("--admin-address", place, "--drain-timeout", "100s")
        environment = {"NOTIFY_SOCKET": path}
        with Gateway(*ALLOW, *flags, leaves=("drain-delay",), environment=environment) as gateway:
            assert ask(gateway, "/readyz")[0] == 200
            gateway.process.send_signal(signal.SIGTERM)
            gateway.wait_for(event=110)
            until(lambda: "STOPPING=1" in heard)
            (asked,) = [int(line.partition("=")[2]) for line in heard if line.startswith("EXTEND_TIMEOUT_USEC=")]
            assert asked > 105e6
            gateway.process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("text", ["", "Auto", "5x", "-1s", "31d"])
def test_what_is_neither_auto_nor_a_duration_is_a_mistake(text):
    done = ogw("check", "--drain-delay", text)
    assert done.returncode == 2 and "--drain-delay" in done.stdout + done.stderr
