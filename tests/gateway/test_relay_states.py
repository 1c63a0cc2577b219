"""How a relay proxy fares, as the gateway acts on it and tells it: never tried, up, refuses us, resting."""

import subprocess
import threading

import pytest
from harness.admin import ask, asked, metrics
from harness.commands import OGW, ROOT, clean
from harness.gateway import Gateway, address, read_all, read_exactly
from harness.relays import PORT, playing
from harness.upstreams import Server, echo
from harness.waiting import until

from ogw.tunnel.relay import MOST_DOUBTS

OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"
SICK = b"HTTP/1.1 503 secret words\r\n\r\n"
WHO = b"HTTP/1.1 407 secret words\r\nProxy-Authenticate: Basic\r\n\r\n"
NAMES = [f"t{number}.bench.example:443" for number in range(4 * MOST_DOUBTS)]


class Relay(Server):
    """Says what `said` has at the moment, and counts; what follows a 200 is an echo."""

    def __init__(self, said):
        super().__init__(self._play, port=PORT)
        self.said, self.asked = said, []

    def _play(self, connection):
        said = self.said
        playing(said, *([echo] if said is OPEN else []), heads=self.asked)(connection)

    @property
    def url(self):
        return f"http://{self.host}:{PORT}"


def through(*relays, flags=()):
    words = [word for relay in relays for word in ("--relay-proxy", relay.url)]
    return Gateway("--allowed-host", "*.bench.example", "--dial-timeout", "2s", *words, *flags)


def opens(gateway, target):
    with gateway.tunnel(target) as sock:
        sock.sendall(b"x")
        assert read_exactly(sock, 1) == b"x"


def refused(gateway, target):
    sock, head = gateway.ask(target)
    read_all(sock)
    sock.close()
    assert head.startswith(b"HTTP/1.1 50"), head


def states(gateway):
    return asked(gateway, "/status")["relay_proxies"]


def is_told(gateway, state, number=0):
    """Wait until /status says so: what the workers know is asked for once a second."""
    return until(lambda: (one := states(gateway)[number])["state"] == state and one)


def status_screen(gateway):
    words = [*OGW, "status", "--run-dir", gateway.run_dir]
    return subprocess.run(words, cwd=ROOT, env=clean(), capture_output=True, text=True, timeout=60).stdout


@pytest.mark.parametrize("targets", [NAMES[:MOST_DOUBTS], NAMES[:1] * MOST_DOUBTS], ids=["many targets", "one target"])
def test_a_relay_that_answers_5xx_to_everything_rests_and_comes_back(targets):
    with Relay(SICK) as first, Relay(OPEN) as second, through(first, second) as gateway:
        for target in targets:
            opens(gateway, target)
        line = gateway.wait_for(event=403, reason="relay-refused")
        assert line["message"].startswith(f"relay proxy {first.url}: it answers 503 (Service Unavailable), whatever ")
        assert line["message"].endswith("; it rests until a trial in the background finds that it answers")
        assert len(first.asked) >= MOST_DOUBTS
        one = is_told(gateway, "resting")
        assert (one["up"], one["why"]) == (False, "it answers 503 (Service Unavailable)")
        assert is_told(gateway, "up", 1)["opened"] == MOST_DOUBTS
        first.said = OPEN
        gateway.wait_for(event=100, message=f"relay proxy {first.url} answers again", seconds=60)
        assert is_told(gateway, "up")["why"] == ""
        opens(gateway, targets[0])
        assert until(lambda: states(gateway)[0]["opened"] == 1)
        assert len(gateway.events(403)) == 1
        assert "secret words" not in str(gateway.lines)


def test_one_that_answers_a_trial_with_5xx_rests_on_and_no_line_says_so_again():
    with Relay(SICK) as first, Relay(OPEN) as second, through(first, second) as gateway:
        for target in NAMES[:MOST_DOUBTS]:
            opens(gateway, target)
        gateway.wait_for(event=403)
        until(lambda: len(first.asked) > MOST_DOUBTS)
        for _turn in range(MOST_DOUBTS):
            opens(gateway, NAMES[0])
        assert is_told(gateway, "up", 1)["opened"] == 2 * MOST_DOUBTS
        assert is_told(gateway, "resting")
        assert gateway.stop() == 0
        assert len(gateway.events(403)) == 1
        assert not [line for line in gateway.events(100) if "answers again" in line["message"]]


def test_one_dead_target_does_not_rest_a_relay_nor_two():
    with Relay(SICK) as first, Relay(SICK) as second, through(first, second) as gateway:
        for _turn in range(2 * MOST_DOUBTS):
            refused(gateway, NAMES[0])
        assert len(first.asked) == len(second.asked) == 2 * MOST_DOUBTS
        assert gateway.stop() == 0
        assert not gateway.events(403)


def test_dead_targets_between_living_ones_do_not_rest_a_relay():
    with Relay(OPEN) as relay, through(relay) as gateway:
        for number in range(MOST_DOUBTS - 1):
            relay.said = SICK
            refused(gateway, NAMES[2 * number])
            refused(gateway, NAMES[2 * number + 1])
            relay.said = OPEN
            opens(gateway, NAMES[-1])
        assert is_told(gateway, "up")["failed"] == 2 * (MOST_DOUBTS - 1)
        relay.said = SICK
        refused(gateway, NAMES[0])
        assert is_told(gateway, "up")
        assert gateway.stop() == 0
        assert not gateway.events(403)


def test_where_the_only_relay_rests_for_its_5xx_it_is_asked_all_the_same():
    with Relay(SICK) as relay, through(relay) as gateway:
        for target in NAMES:
            refused(gateway, target)
        assert len(relay.asked) >= len(NAMES)
        gateway.wait_for(event=403)
        assert "503" in is_told(gateway, "resting")["why"]
        relay.said = OPEN
        opens(gateway, NAMES[0])
        assert is_told(gateway, "up")


@pytest.mark.parametrize(
    ("said", "why"),
    [(WHO, "407 (Proxy Authentication Required)"), (b"HTTP/1.1 403 No\r\n\r\n", "403 (Forbidden)"), (SICK, "503")],
)
def test_a_relay_that_only_ever_refused_is_not_up(said, why):
    with Relay(said) as relay, through(relay) as gateway:
        for _turn in range(3):
            refused(gateway, NAMES[0])
        one = is_told(gateway, "refuses us")
        assert not one["up"] and why in one["why"] and (one["opened"], one["failed"]) == (0, 3)
        assert 0 <= one["age"] < 60
        page = ask(gateway, "/")[2].decode()
        assert "0 of 1 relay proxies up" in page and ">refuses us<" in page
        assert f"refuses the gateway: it answers {why[:3]}" in status_screen(gateway)
        assert any("opens no tunnel for this gateway" in told for told in asked(gateway, "/status")["attention"])
        assert metrics(gateway)['ogw_relay_proxy_up{proxy="1"}'] == 0
        relay.said = OPEN
        opens(gateway, NAMES[0])
        assert is_told(gateway, "up")["up"]
        assert metrics(gateway)['ogw_relay_proxy_up{proxy="1"}'] == 1


def test_credentials_that_stop_being_good_are_told_although_tunnels_were_opened():
    with Relay(OPEN) as relay, through(relay) as gateway:
        opens(gateway, NAMES[0])
        assert is_told(gateway, "up")
        relay.said = WHO
        refused(gateway, NAMES[0])
        assert is_told(gateway, "refuses us")["opened"] == 1


def test_a_target_that_a_relay_does_not_allow_leaves_it_up():
    with Relay(OPEN) as relay, through(relay) as gateway:
        opens(gateway, NAMES[0])
        relay.said = b"HTTP/1.1 403 No\r\n\r\n"
        for _turn in range(2 * MOST_DOUBTS):
            refused(gateway, NAMES[1])
        assert is_told(gateway, "up")["failed"] == 2 * MOST_DOUBTS
        for target in NAMES[: MOST_DOUBTS + 1]:
            refused(gateway, target)
        assert is_told(gateway, "refuses us")
        assert gateway.stop() == 0
        assert not gateway.events(403)


def test_one_that_was_never_tried_is_not_said_to_be_up():
    with Relay(OPEN) as first, Relay(OPEN) as second, through(first, second) as gateway:
        assert [one["state"] for one in states(gateway)] == ["never tried"] * 2
        assert states(gateway)[0]["age"] is None
        assert "0 of 2 relay proxies up, 2 never tried" in ask(gateway, "/")[2].decode()
        assert "never tried" in status_screen(gateway)
        assert metrics(gateway)['ogw_relay_proxy_up{proxy="1"}'] == 1  # nothing is known against it
        opens(gateway, NAMES[0])
        is_told(gateway, "up")
        assert states(gateway)[1]["state"] == "never tried"
        assert "1 of 2 relay proxies up, 1 never tried" in ask(gateway, "/")[2].decode()


def test_a_relay_that_is_gone_rests_and_says_why():
    place = address()
    with Gateway("--allowed-host", "*.bench.example", "--relay-proxy", f"http://{place}:{PORT}") as gateway:
        refused(gateway, NAMES[0])
        one = is_told(gateway, "resting")
        assert one["why"] == "it cannot be reached" and not one["up"]
        assert "rests after a failure: it cannot be reached" in status_screen(gateway)


def test_a_reload_forgets_nothing_that_is_known_of_the_same_relay(tmp_path):
    with Relay(WHO) as first, Relay(OPEN) as other:
        file = tmp_path / "ogw.ini"
        file.write_text(f"[ogw]\nrelay-proxy = {first.url}\n")
        with Gateway("--config", str(file), "--allowed-host", "*.bench.example") as gateway:
            refused(gateway, NAMES[0])
            is_told(gateway, "refuses us")
            file.write_text(f"[ogw]\nrelay-proxy =\n    {other.url}\n    {first.url}\n")
            gateway.process.send_signal(1)
            gateway.wait_for(event=109)
            until(lambda: [one["state"] for one in states(gateway)] == ["never tried", "refuses us"])
            told = metrics(gateway)
            assert told['ogw_relay_proxy_up{proxy="1"}'] == 1
            assert told['ogw_relay_proxy_up{proxy="2"}'] == 0


@pytest.mark.parametrize("after", ["another one", "none"])
def test_what_fails_over_a_relay_that_a_reload_took_out_is_not_counted_as_anothers(tmp_path, after):
    """A tunnel is dialing over it at that moment, and it says nothing."""
    silent = threading.Event()
    with Server(lambda connection: silent.wait(30), port=PORT) as old, Relay(OPEN) as new:
        file = tmp_path / "ogw.ini"
        text = "[ogw]\nallowed-host = *.bench.example\ndial-timeout = 3s\n"
        file.write_text(f"{text}relay-proxy = http://{old.host}:{PORT}\n")
        with Gateway("--config", str(file)) as gateway:
            waiting = gateway.connect()
            waiting.sendall(f"CONNECT {NAMES[0]} HTTP/1.1\r\n\r\n".encode())
            until(lambda: [one for one in asked(gateway, "/tunnels")["tunnels"] if one["state"] == "dialing"])
            file.write_text(text + (f"relay-proxy = {new.url}\n" if after == "another one" else ""))
            asked(gateway, "/reload", "POST")
            if after == "another one":
                opens(gateway, NAMES[1])
            assert b" 504 " in read_all(waiting).partition(b"\r\n")[0]
            waiting.close()
            silent.set()
            until(lambda: gateway.events(403))
            state = [name for name, told in metrics(gateway).items() if "relay_proxy_state" in name and told == 3]
            failed = metrics(gateway).get('ogw_relay_proxy_tries_total{proxy="1",result="failed"}', 0)
            assert not state and not failed
            if after == "another one":
                assert is_told(gateway, "up")["up"] and metrics(gateway)['ogw_relay_proxy_up{proxy="1"}'] == 1
            assert not [line for line in gateway.events(403) if "it rests" in line["message"]]
