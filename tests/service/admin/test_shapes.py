"""Real answers have exactly the keys and types of report/status.py and service/admin/shapes.py, all the way down."""

import json
import os
import signal
import time
import types
from typing import Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from harness.admin import ask, asked
from harness.gateway import Gateway, address, read_exactly

from ogw.policy.rules import time_text
from ogw.report.status import Status
from ogw.service.admin.shapes import (
    Changed,
    Configuration,
    FoundTunnel,
    Killed,
    Reloaded,
    Remembered,
    RolledBack,
    Sources,
    Tunnels,
)

LEFT_OUT = ("client_subject",)  # wherever there is none
LOOPBACK = ("--allowed-target-network", "127.0.0.0/8")


def strays(value, shape, path="", optional=()):
    """Where a value is not of its shape: a sentence for each place.

    optional  keys that an answer need not have; all others are there in an answer of this version
    """
    if is_typeddict(shape):
        if type(value) is not dict:
            return [f"{path} is {value!r}"]
        hints = get_type_hints(shape)
        odd = value.keys() ^ hints.keys() - {name for name in (*optional, *LEFT_OUT) if name not in value}
        inside = [strays(value[name], hints[name], f"{path}.{name}") for name in hints.keys() & value.keys()]
        return [f"{path}: {name}" for name in sorted(odd)] + [stray for one in inside for stray in one]
    kind, of = get_origin(shape), get_args(shape)
    if kind is list:
        return [stray for one in value for stray in strays(one, of[0], f"{path}[]")] if type(value) is list else [path]
    if kind is dict:
        of_names = [stray for name in value for stray in strays(name, of[0], f"{path} name")]
        return of_names + [stray for one in value.values() for stray in strays(one, of[1], f"{path}{{}}")]
    if kind is Literal:
        return [] if value in of else [f"{path} is {value!r}"]
    if kind in (Union, types.UnionType):
        return [] if any(not strays(value, one, path) for one in of) else [f"{path} is {value!r}"]
    return [] if type(value) is shape else [f"{path} is {value!r}, no {shape.__name__}"]


def test_the_judge_sees_what_is_missing_too_many_and_of_another_type():
    right = {"mode": "enforce", "until": None}
    for wrong in ({"mode": "enforce"}, {**right, "more": 1}, {**right, "mode": "x"}, {**right, "until": 1}, []):
        assert strays({"a": [wrong]}["a"][0], get_type_hints(Status)["policy_mode"])
    assert strays(right, get_type_hints(Status)["policy_mode"]) == []
    assert strays({"settings": {"a": [{"value": "b", "source": 1}]}, "warnings": []}, Configuration)
    assert strays({"tunnels": [{}], "total": 1.0, "workers_missing": 0}, Tunnels)


def test_of_a_fresh_gateway_with_a_relay_proxy_that_nobody_tried():
    place = address()
    with Gateway("--relay-proxy", "http://127.0.0.1:1", "--admin-address", place, "--health-address", place) as gateway:
        status = asked(gateway, "/status")
        assert strays(status, Status) == [] and status["admin"] == f"{place}:9180" and status["health"]
        assert status["relay_proxies"][0]["age"] is None
        assert strays(asked(gateway, "/tunnels"), Tunnels) == []
        assert strays(asked(gateway, "/refusals"), Remembered) == []


def test_under_tunnels_with_refusals_and_while_the_policy_only_reports(upstream):
    allow = ("--allowed-host", upstream.host, *LOOPBACK)
    with Gateway(*allow, workers=2) as gateway, gateway.tunnel(upstream.target) as sock:
        sock.sendall(b"x" * 1000)
        read_exactly(sock, 1000)
        for target in ("www.example.org:443", "[2001:db8::1]:443"):
            gateway.ask(target)[0].close()
            gateway.wait_for(event=105, target=target)
        status = asked(gateway, "/status")
        assert strays(status, Status) == []
        assert all(status[name] for name in ("workers", "reasons", "top_clients", "top_hosts", "refusals"))
        tunnels, refusals = asked(gateway, "/tunnels"), asked(gateway, "/refusals")
        assert strays(tunnels, Tunnels) == strays(refusals, Remembered) == []
        assert len(tunnels["tunnels"]) == 1 and len(refusals["refusals"]) == 2
        assert strays(asked(gateway, "/config"), Configuration) == []
        refused = gateway.wait_for(event=105)["tunnel"]
        open_one, refused_one = (
            asked(gateway, f"/tunnel?id={one}") for one in (tunnels["tunnels"][0]["tunnel"], refused)
        )
        assert strays(open_one, FoundTunnel) == strays(refused_one, FoundTunnel) == []
        assert open_one["open"] and not open_one["refusals"] and refused_one["refusals"] and not refused_one["open"]
        killed = asked(gateway, f"/kill?tunnel={tunnels['tunnels'][0]['tunnel']}", "POST")
        assert strays(killed, Killed) == [] and killed["killed"]
    with Gateway("--policy-mode", "report", "--report-until", time_text(round(time.time() + 3600))) as gateway:
        status = asked(gateway, "/status")
        assert strays(status, Status) == [] and status["policy_mode"]["mode"] == "report" and status["attention"]


def test_with_relay_proxies_one_of_which_rests(upstream):
    relays = ("--relay-proxy", f"http://{upstream.host}:1", "--relay-proxy", f"http://{upstream.host}:2")
    with Gateway("--allowed-host", "www.example.com", *relays) as gateway:
        gateway.ask("www.example.com:443")[0].close()
        gateway.wait_for(event=403)
        status = asked(gateway, "/status")
        assert strays(status, Status) == [] and status["relay_proxies"][0]["why"] and status["attention"]


def test_with_a_worker_that_does_not_answer():
    with Gateway(workers=2) as gateway:
        os.kill(gateway.workers[0], signal.SIGSTOP)
        try:
            status = asked(gateway, "/status")
        finally:
            os.kill(gateway.workers[0], signal.SIGCONT)
        assert strays(status, Status) == [] and status["workers_missing"] == 1 and status["attention"]


def test_of_a_reload_that_is_taken_and_of_one_that_is_refused(tmp_path):
    file = tmp_path / "ogw.ini"
    file.write_text("[ogw]\nallowed-host = www.example.com\n")
    with Gateway("--config", str(file)) as gateway:
        file.write_text("[ogw]\nallowed-host = www.example.org\n")
        taken = asked(gateway, "/reload", "POST")
        assert strays(taken, Reloaded, optional={"running"}) == [] and taken["changed"] == ["allowed-host"]
        file.write_text("[ogw]\nallowed-host = *\n")
        status, _headers, body = ask(gateway, "/reload", "POST")
        assert status == 409 and strays(json.loads(body), Reloaded, optional={"running"}) == []


CHANGE = {"by": "alice", "old_policy": None, "new_policy": "01234567", "added": ["allowed-host a"], "removed": []}


def test_of_a_change_with_what_is_read_what_beats_it_and_how_the_reload_went(tmp_path):
    file, link = tmp_path / "ogw.ini", tmp_path / "link.ini"
    file.write_text("[ogw]\nallowed-host = www.example.com\n")
    link.symlink_to(file)
    with Gateway("--config", str(link), "--idle-timeout", "7m", "--denied-host", "x.example") as gateway:
        file.write_text("[ogw]\nallowed-host = www.example.org\n")
        told = asked(gateway, f"/changed?file={file}", "POST", json.dumps(CHANGE))
        assert strays(told, Changed) == []
        assert told["beaten"]["idle-timeout"] == "--idle-timeout" and "denied-host" not in told["beaten"]
        assert told["own"]["denied-host"] == [{"source": "--denied-host", "value": "x.example"}]
        assert "allowed-host" not in told["own"] and "idle-timeout" in told["own"]
        assert (told["reads"], told["reload"]) == (str(file), None)
        line = gateway.wait_for(event=100, message="the configuration was changed")
        assert (line["by"], line["file"], line["added"]) == ("alice", str(file), CHANGE["added"])
        told = asked(gateway, f"/changed?file={tmp_path}/other.ini&reload=1", "POST")
        assert strays(told["reload"], Reloaded, optional={"running"}) == []
        assert (told["reads"], told["reload"]["changed"]) == (str(link), ["allowed-host"])
        file.write_text("[ogw]\nallowed-host = *\n")
        assert asked(gateway, f"/changed?file={file}&reload=1", "POST")["reload"]["mistakes"]
    assert len([line for line in gateway.events(100) if line["message"] == "the configuration was changed"]) == 1


def test_what_is_no_change_is_refused_before_anything_is_done(tmp_path):
    with Gateway() as gateway:
        assert asked(gateway, f"/changed?file={tmp_path}/ogw.ini", "POST")["reads"] is None
        for query, body in (
            ("reload=1", json.dumps(CHANGE)),
            ("file=/x&reload=1", b"\xff"),
            ("file=/x&reload=1", b"[]"),
            ("file=/x&reload=1", b"[" * 10_000),
            ("file=/x&reload=1", json.dumps({**CHANGE, "added": [1]})),
            ("file=/x&reload=1", json.dumps({**CHANGE, "by": {}})),
            ("file=/x&reload=1", json.dumps({name: CHANGE[name] for name in ("by", "added", "removed")})),
        ):
            assert ask(gateway, f"/changed?{query}", "POST", body=body)[0] == 400
        assert ask(gateway, "/changed?file=/x&reload=1")[0] == 405
    assert gateway.events(109) == []


def test_with_lists_one_of_which_is_not_there(tmp_path):
    (tmp_path / "hosts.txt").write_text("www.example.com\n")
    url = f"https://{address()}:9/hosts.txt"
    lists = ("--allowed-host-source", url, "--allowed-host-source", str(tmp_path / "hosts.txt"))
    with Gateway(*lists) as gateway:
        gateway.wait_for(event=301)
        status, sources = asked(gateway, "/status"), asked(gateway, "/sources")
        assert strays(status, Status) == [] and strays(sources, Sources) == []
        assert [one["source"] for one in sources["sources"]] == [url, str(tmp_path / "hosts.txt")]
        assert [one["source"] for one in status["sources"]] == [url] and url in status["attention"][0]
        rolled_back = json.loads(ask(gateway, f"/roll-back?source={url}", "POST")[2])
        assert strays(rolled_back, RolledBack, optional={"running"}) == [] and rolled_back["why"]
