"""Status, page, metrics and doctor say the same of what is wrong, until it is mended."""

import json
import os
import re
import signal
import socket
import time

import pytest
from harness.admin import ask, asked, metrics
from harness.commands import ogw
from harness.gateway import ALLOW, Gateway, address, read_all
from harness.relays import PORT, playing
from harness.sinks import Mute
from harness.upstreams import Server
from harness.waiting import until

from ogw.report.metrics import RELAY_SINCE, RELAY_STATE, RELAYS, RelayState
from ogw.report.table import Table
from ogw.service.admin.exposition import Exposition
from ogw.service.admin.overview import STALE_SECONDS

TOP = ("top", "--count", "1")
WRONG = "[ogw]\nallowed-host = *\nidle-timeout = soon\n"


@pytest.fixture
def ini(tmp_path):
    file = tmp_path / "gw.ini"
    file.write_text("[ogw]\nallowed-host = www.example.com\n")
    return file


def reload_of(gateway, file, text):
    file.write_text(text)
    return ask(gateway, "/reload", "POST")[0]


def page_of(gateway):
    return " ".join(ask(gateway, "/")[2].decode().partition("<main>")[2].partition("</main>")[0].split())


def screen_of(gateway, *words):
    return " ".join(ogw(*(words or ("status",)), "--run-dir", gateway.run_dir).stdout.split())


def findings_of(gateway, *flags):
    """What the doctor finds of the gateway that runs."""
    done = ogw("doctor", "--json", "--timeout", "1", "--run-dir", gateway.run_dir, *flags)
    return [one for one in json.loads(done.stdout)["findings"] if one["area"] in ("gateway", "configuration")]


def warned_of(gateway, *flags):
    """And what of it is wrong."""
    return [one["what"] for one in findings_of(gateway, *flags) if one["state"] in ("warning", "problem")]


def test_what_awaits_a_restart_stands_everywhere_until_it_is_as_at_the_start(ini):
    with Gateway("--config", str(ini)) as gateway:
        before = ini.read_text()
        assert asked(gateway, "/status")["awaits_restart"] == []
        changed = f"{before}drain-timeout = 5m\nlog-format = text\nadmin-page = yes\n"
        assert reload_of(gateway, ini, changed) == 200
        names = "admin-page, log-format"
        for _turn in range(2):
            assert sorted(asked(gateway, "/status")["awaits_restart"]) == names.split(", ")
            (sentence,) = asked(gateway, "/status")["attention"]
            assert "after a restart" in sentence and all(name in sentence for name in names.split(", "))
            for words in (("status",), TOP):
                assert "in force after a restart: " in screen_of(gateway, *words)
            assert any(sentence in one for one in warned_of(gateway, "--config", str(ini)))
            assert reload_of(gateway, ini, WRONG) == 409  # which leaves it so
            assert reload_of(gateway, ini, changed) == 200
        assert reload_of(gateway, ini, before) == 200
        assert asked(gateway, "/status")["awaits_restart"] == [] and asked(gateway, "/status")["attention"] == []
        assert "after a restart" not in screen_of(gateway)


def test_a_refused_reload_stands_everywhere_until_the_next_good_one(ini):
    with Gateway("--config", str(ini)) as gateway:
        assert asked(gateway, "/status")["reload_refused"] is None
        assert metrics(gateway)["ogw_reload_refused_time_seconds"] == 0
        assert reload_of(gateway, ini, WRONG) == 409
        refused = asked(gateway, "/status")["reload_refused"]
        assert refused["count"] == len(refused["mistakes"]) == 2 and 0 <= refused["age"] < 60
        assert abs(metrics(gateway)["ogw_reload_refused_time_seconds"] - time.time()) < 60
        (sentence,) = asked(gateway, "/status")["attention"]
        for place in (f"{ini}:2: ", f"{ini}:3: "):
            assert place in sentence and place in str(refused["mistakes"])
            assert place in page_of(gateway)
            assert all(place in screen_of(gateway, *words) for words in (("status",), TOP))
        assert refused["time"] in sentence
        assert all(refused["time"][:19] in screen_of(gateway, *words) for words in (("status",), TOP))
        for mistake in refused["mistakes"]:
            assert mistake in [one["what"] for one in findings_of(gateway, "--config", str(ini))]
        ini.write_text("[ogw]\nallowed-host = www.example.com\n")  # mended, but not taken yet
        assert any(sentence in one for one in warned_of(gateway, "--config", str(ini)))
        assert asked(gateway, "/reload", "POST")["mistakes"] == []
        assert asked(gateway, "/status")["reload_refused"] is None and asked(gateway, "/status")["attention"] == []
        assert metrics(gateway)["ogw_reload_refused_time_seconds"] == 0
        assert "refused at" not in page_of(gateway)
        for words in (("status",), TOP):
            assert "was refused" not in screen_of(gateway, *words)
        assert not any("refused" in one for one in warned_of(gateway, "--config", str(ini)))


def test_the_last_refusal_is_told_and_outlives_the_admin_process(ini):
    with Gateway("--config", str(ini)) as gateway:
        reload_of(gateway, ini, WRONG)
        reload_of(gateway, ini, "[ogw]\n" + "".join(f"nonsense-{number} = x\n" for number in range(400)))
        gateway.wait_for(event=401)
        for _turn in range(2):
            refused = asked(gateway, "/status")["reload_refused"]
            assert refused["count"] > len(refused["mistakes"]) == 20
            assert "nonsense-0" in refused["mistakes"][0] and "allowed-host" not in str(refused)
            check = f"`ogw check --config {ini} --run-dir {gateway.run_dir}`"
            assert f"more mistakes; {check} tells them all" in screen_of(gateway)
            assert f"and {refused['count'] - 2:,} more mistakes; {check} tells them all" in screen_of(gateway, *TOP)
            assert f"and {refused['count'] - 5:,} mistakes more" in page_of(gateway)
            before = gateway.admin
            os.kill(before, 9)
            until(lambda before=before: gateway.admin not in (0, before))
            until(lambda: _answers(gateway))


def _answers(gateway):
    try:
        return ask(gateway, "/healthz")[0] == 200
    except OSError:
        return False


def test_what_a_mistake_quotes_is_text_on_the_page(ini):
    with Gateway("--config", str(ini)) as gateway:
        reload_of(gateway, ini, "[ogw]\nallowed-host = <b>x</b>\n")
        assert "&lt;b&gt;" in page_of(gateway) and "<b>x" not in ask(gateway, "/")[2].decode()


def test_the_doctor_tells_of_a_silent_worker_once(ini):
    with Gateway("--config", str(ini), workers=2) as gateway:
        os.kill(gateway.workers[0], signal.SIGSTOP)
        try:
            found = [one for one in findings_of(gateway, "--config", str(ini)) if "did not answer" in one["what"]]
        finally:
            os.kill(gateway.workers[0], signal.SIGCONT)
        assert [one["state"] for one in found] == ["problem"]


def test_the_machine_is_named(ini):
    with Gateway("--config", str(ini)) as gateway:
        name = socket.gethostname()
        assert asked(gateway, "/status")["machine"] == name
        assert f"on {name} is serving" in screen_of(gateway)
        assert f"on {name} Serving" in screen_of(gateway, *TOP)
        assert name in ask(gateway, "/")[2].decode().partition("<main>")[0].partition("<body>")[2]


# How a relay proxy fares: what it is asked for, and what it says; and how each place says that.

OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"
WHO = b"HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic\r\n\r\n"
FARES = {
    "never tried": (OPEN, 0, "never tried", "never tried, may be fine", ("untested", "never tried")),
    "up": (OPEN, 1, ">up<", "fine, opened a tunnel", ("ok", "up")),
    "refuses us": (
        WHO,
        1,
        ">refuses us<",
        "refuses the gateway: it answers 407",
        ("warning", "opens no tunnel for this"),
    ),
    "resting": (b"garbage\r\n\r\n", 1, ">down, rests<", "rests after a failure: ", ("warning", "rests: it failed")),
}


@pytest.mark.parametrize("state", FARES)
def test_how_a_relay_proxy_fares(state):
    said, times, on_page, on_screen, by_doctor = FARES[state]
    with Server(playing(said), port=PORT) as relay:
        place = f"http://{relay.host}:{PORT}"
        with Gateway("--allowed-host", "*.bench.example", "--relay-proxy", place, workers=2) as gateway:
            for _turn in range(times):
                sock, _head = gateway.ask("a.bench.example:443")
                sock.close()
            until(lambda: asked(gateway, "/status")["relay_proxies"][0]["state"] == state)
            assert on_page in page_of(gateway) and on_screen in screen_of(gateway)
            counted = metrics(gateway)
            assert counted['ogw_relay_proxy_state{proxy="1"}'] == list(FARES).index(state)
            assert counted['ogw_relay_proxy_up{proxy="1"}'] == (state in ("up", "never tried"))
            found = findings_of(gateway)
            assert [one["state"] for one in found if place in one["what"] and by_doctor[1] in one["what"]] == [
                by_doctor[0]
            ]
            needs = [sentence for sentence in asked(gateway, "/status")["attention"] if place in sentence]
            assert len(needs) == (state in ("refuses us", "resting"))


def test_what_a_worker_saw_of_a_relay_proxy_long_ago_is_of_the_past_in_the_metrics_too():
    table = Table(2)
    table.gateway.cells[RELAYS] = 1
    now = int(time.monotonic())
    for row, state, ago in zip(
        table.rows, (RelayState.RESTING, RelayState.UP), (int(STALE_SECONDS) + 9, 1), strict=True
    ):
        row.cells[RELAY_STATE], row.cells[RELAY_SINCE] = state, now - ago
    assert _relay_up(table) == 1
    table.rows[0].cells[RELAY_SINCE] = now - 2
    assert _relay_up(table) == 0


def _relay_up(table):
    (family,) = [one for one in Exposition(table).collect() if one.name == "ogw_relay_proxy_up"]
    return family.samples[0].value


def test_a_log_on_a_full_disk(tmp_path):
    """Counts grow as long as it is asked, so what is told is held against what was counted before and after."""
    with Mute("--log-file", "/dev/full", workers=2) as gateway:
        gateway.ask("nobody.example:443")[0].close()
        before = until(lambda: asked(gateway, "/status")["counters"]["log_lines_lost"])
        texts = (screen_of(gateway), page_of(gateway), " ".join(warned_of(gateway)))
        assert all("cannot be written: No space left on device" in text for text in texts), texts
        assert metrics(gateway)["ogw_log_failing"] == 1
        told = [lost_in(text) for text in texts]
        told += [lost_in(" ".join(asked(gateway, "/status")["attention"])), metrics(gateway)[LOST]]
        assert all(before <= one for one in told), told
        assert max(told) <= asked(gateway, "/status")["counters"]["log_lines_lost"] <= metrics(gateway)[LOST]


LOST = "ogw_log_lines_lost_total"


def lost_in(text):
    """The number of lost lines that it tells of."""
    return int(re.search(r"(?:Log lines .{0,40}since the start: |log )([\d,]+)(?=\b| of)", text)[1].replace(",", ""))


def test_errors_and_what_the_tls_rules_rejected(upstream):
    with Gateway(*ALLOW, tls_rules=None) as gateway:
        with gateway.tunnel(upstream.target) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            read_all(sock)
        for _turn in range(2):
            gateway.ask(f"{address()}:443")[0].close()
        counters = until(lambda: (counters := asked(gateway, "/status")["counters"])["errors"] == 2 and counters)
        assert counters["tls_rejections"] == 1
        page, counted = page_of(gateway), metrics(gateway)
        assert ">of them 1 rejected by the TLS rules<" in page and ">Errors: 2<" in page
        assert "1 rejected by the TLS rules, 2 errors" in screen_of(gateway)
        assert counted["ogw_errors_total"] == 2
        assert sum(value for name, value in counted.items() if name.startswith("ogw_tls_rejections_total")) == 1
