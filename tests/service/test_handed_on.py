"""A reload that is asked for while a successor starts: it makes it, and whoever asked is told what came of that."""

import contextlib
import json
import signal

import pytest
from harness.admin import asked, asking
from harness.commands import ogw
from harness.handover import Upgraded, program
from harness.lists import ListServer
from harness.waiting import until

WAITS = "import time\nwhile SUCCESSOR and not os.path.exists({!r}): time.sleep(0.01)\n"
# It waits again before it reads the configuration once more, which takes longer than the predecessor's admin process
# leaves others time at its end, and than the predecessor, which has no tunnels, stays.
SLOW = """
import ogw.service.admin.server as v, ogw.service.ending as e, ogw.service.reload as r
v.LEAVE_SECONDS, e.LEAST_SECONDS = 0.3, 0.0
read = r.InForce.read
def slow(self, again):
    time.sleep(1)
    while SUCCESSOR and not os.path.exists({!r}): time.sleep(0.01)
    return read(self, again)
r.InForce.read = slow
"""
INI = "[ogw]\nallowed-host = 127.0.0.0/8\nallowed-target-network = 127.0.0.0/8\nidle-timeout = {}\n"


@pytest.mark.parametrize(
    ("value", "mistakes", "changed"), [("2h", 0, ["idle-timeout"]), ("soon", 1, [])], ids=["right", "wrong"]
)
def test_what_comes_of_it_is_what_the_successor_makes_of_it(tmp_path, value, mistakes, changed):
    ini, starts, reads = (tmp_path / name for name in ("ogw.ini", "starts", "reads"))
    ini.write_text(INI.format("1h"))
    slow = WAITS.format(str(starts)) + SLOW.format(str(reads))
    with Upgraded("--config", str(ini), program=program(slow)) as gateway:
        with asking(gateway, "/upgrade?now=0"):
            gateway.successor()
            with asking(gateway, "/reload") as answer:
                asked(gateway, "/config")  # an answer of the supervisor, which has heard the other question by then
                starts.touch()
                until(lambda: gateway.events(113), what=lambda: gateway.lines[-10:])
                ini.write_text(INI.format(value))
                reads.touch()
                status, _headers, body = answer()
        gateway.follow()
        told = json.loads(body)
        assert (status, len(told["mistakes"]), told["changed"]) == (409 if mistakes else 200, mistakes, changed), told
        assert told["policy"] == asked(gateway, "/status")["policy"]
        assert all("idle-timeout" in mistake for mistake in told["mistakes"])
        gateway.wait_for_end_of(gateway.pids[0])


@contextlib.contextmanager
def listed(authority, environment, folder, code):
    """A gateway with a list that can be rolled back, and the list's URL; its successors run this code first."""
    with ListServer(authority) as server:
        server.put(b"good.example.com\n")
        flags = ("--allowed-host-source", server.url, "--state-dir", str(folder))
        with Upgraded(*flags, environment=environment, program=program(code)) as gateway:
            gateway.wait_for(event=109)
            server.put(b"bad.example.com\n")
            gateway.send(signal.SIGHUP)
            gateway.wait_for(event=111, rules_removed=1)
            until(lambda: asked(gateway, "/sources")["sources"][0]["can_roll_back"])
            yield gateway, server.url


def test_a_list_that_is_rolled_back_meanwhile_is_in_force_and_whoever_asked_is_told_so(
    authority, authority_file, tmp_path
):
    starts, environment = tmp_path / "starts", {"SSL_CERT_FILE": authority_file}
    with listed(authority, environment, tmp_path, WAITS.format(str(starts))) as (gateway, url):
        with asking(gateway, "/upgrade?now=0"):
            gateway.successor()
            with asking(gateway, f"/roll-back?source={url}&by=me") as answer:
                gateway.wait_for(event=115)
                starts.touch()
                gateway.follow()
                status, _headers, body = answer()
        assert (status, json.loads(body)) == (200, {"why": "", "mistakes": []})
        assert asked(gateway, "/sources")["sources"][0]["rolled_back"]


def test_a_rollback_that_waits_for_longer_than_who_asked_is_not_said_to_be_refused(authority, authority_file, tmp_path):
    starts, environment = tmp_path / "starts", {"SSL_CERT_FILE": authority_file}
    short = "import ogw.service.admin.orders as o\no.RELOAD_SECONDS = 0.5\n" + WAITS.format(str(starts))
    with listed(authority, environment, tmp_path, short) as (gateway, url):
        with asking(gateway, "/upgrade?now=0"):
            gateway.successor()
            done = ogw("sources", "rollback", url, "--run-dir", gateway.run_dir)
            assert done.returncode == 1 and "the reload goes on after 0.5 s" in done.stderr, done
            assert "refused" not in done.stderr
            starts.touch()
            gateway.follow()
        until(lambda: asked(gateway, "/sources")["sources"][0]["rolled_back"])
