"""Out through the relay proxy that is named for a target, through a general one, or straight; which of several."""

import contextlib
import signal
import time
from itertools import pairwise

import pytest
from harness.admin import ask, asked, metrics
from harness.gateway import Gateway, address, read_all, read_exactly
from harness.relays import PORT, Squid, playing
from harness.tls import TlsServer, client, serving
from harness.upstreams import Server, echo
from harness.waiting import PATIENCE, until

from ogw.tunnel.turns import TRIAL_SECONDS

OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"
GARBAGE = b"garbage\r\n\r\n"
FIRST, SECOND = "a.first.example", "b.second.example"
pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")

ALLOW = ("--allowed-host", "*.first.example", "--allowed-host", "*.second.example", "--dial-timeout", "2s")


class Relay(Server):
    """Says what `said` has at the moment, and notes who asked and when; what follows a 200 is an echo."""

    def __init__(self, said=OPEN):
        super().__init__(self._play, port=PORT)
        self.said, self.heads, self.times = said, [], []

    def _play(self, connection):
        self.times.append(time.monotonic())
        said = self.said
        playing(said, *([echo] if said is OPEN else []), heads=self.heads)(connection)

    @property
    def url(self):
        return f"http://{self.host}:{PORT}"

    @property
    def targets(self):
        return [head.split()[1].decode() for head in self.heads]


def through(*entries, flags=(), **more):
    words = [word for entry in entries for word in ("--relay-proxy", entry)]
    return Gateway(*ALLOW, *words, *flags, **more)


def opens(gateway, host):
    with gateway.tunnel(f"{host}:443") as sock:
        sock.sendall(b"x")
        assert read_exactly(sock, 1) == b"x"


def refused(gateway, target):
    sock, head = gateway.ask(target)
    read_all(sock)
    sock.close()
    assert head.startswith(b"HTTP/1.1 50"), head
    return head.decode()


def relays_of(gateway):
    return asked(gateway, "/status")["relay_proxies"]


def reload(gateway):
    gateway.process.send_signal(signal.SIGHUP)
    gateway.wait_for(event=109)


def answers_again(gateway, relay):
    return gateway.wait_for(event=100, message=f"relay proxy {relay.url} answers again", seconds=60)


# Which relay proxy for which target.


def test_two_squids_for_different_targets(authority):
    with TlsServer(serving(authority, FIRST, SECOND)) as server:
        with Squid({FIRST: server.host}) as one, Squid({SECOND: server.host}) as other:
            entries = f"http://{one.place} for=*.first.example, http://{other.place} for=.second.example:443"
            with through(tls_rules=None, flags=("--relay-proxy", entries)) as gateway:
                for name, squid in ((FIRST, one), (SECOND, other)):
                    with gateway.tunnel(f"{name}:443") as sock, client().wrap_socket(sock, server_hostname=name) as tls:
                        tls.sendall(b"hello")
                        assert read_exactly(tls, 5) == b"hello"
                    gateway.wait_for(event=108, upstream=squid.place)


def test_those_that_name_the_target_come_first_whatever_the_order_and_then_the_general_ones():
    with Relay() as general, Relay() as named, through(general.url, f"{named.url} for=*.first.example") as gateway:
        opens(gateway, FIRST)
        opens(gateway, SECOND)
        assert (named.targets, general.targets) == ([f"{FIRST}:443"], [f"{SECOND}:443"])
        named.said = GARBAGE
        opens(gateway, FIRST)
        assert general.targets == [f"{SECOND}:443", f"{FIRST}:443"]


def test_one_that_is_down_is_no_reason_to_go_straight():
    with Server(echo) as target, Relay(GARBAGE) as relay:
        flags = ("--allowed-host", "127.0.0.0/8", "--allowed-target-network", "127.0.0.0/8")
        with through(f"{relay.url} for={target.host}", flags=flags) as gateway:
            for _turn in range(3):
                assert ": relay-malformed\r\n" in refused(gateway, target.target)
            relay.said = OPEN
            opens(gateway, target.host)
            assert gateway.wait_for(event=108)["upstream"] == f"{relay.host}:{PORT}"
        with Server(echo) as other, through(f"{relay.url} for={target.host}", flags=flags) as gateway:
            asked_before = len(relay.heads)
            opens(gateway, other.host)
            assert gateway.wait_for(event=108)["upstream"] == other.target
            assert len(relay.heads) == asked_before


def test_entries_of_another_stage_are_none_and_clients_of_others_go_another_way():
    with Relay() as canary, Relay() as near, Relay() as general:
        entries = (f"{canary.url} for=*.first.example stage=canary", f"{near.url} for=*.first.example from=10.0.0.0/8")
        with through(*entries, general.url) as gateway:
            opens(gateway, FIRST)
        assert (len(canary.heads), len(near.heads), len(general.heads)) == (0, 0, 1)
        with through(*entries, general.url, flags=("--stage", "canary")) as gateway:
            opens(gateway, FIRST)
        assert (len(canary.heads), len(near.heads), len(general.heads)) == (1, 0, 1)


# Trials in the background.


def test_a_trial_wakes_a_relay_without_any_traffic_and_asks_for_what_goes_through_it():
    with Relay(GARBAGE) as relay, Relay() as other:
        entries = (f"{relay.url} for=*.first.example", other.url)
        flags = ("--allowed-host", "plain.second.example, plain.first.example")
        with through(*entries, flags=flags) as gateway:
            opens(gateway, FIRST)
            gateway.wait_for(event=403, reason="relay-malformed")
            relay.said = OPEN
            answers_again(gateway, relay)
            assert relay.targets[-1] == "plain.first.example:443"
            assert set(relay.targets[1:]) == {"plain.first.example:443"}
            until(lambda: relays_of(gateway)[0]["state"] == "up")
            assert (relays_of(gateway)[0]["opened"], relays_of(gateway)[0]["failed"]) == (0, 1)
            assert gateway.stop() == 0
            assert [line["target"] for line in gateway.events(108)] == [f"{FIRST}:443"]  # a trial has no line
            assert len(gateway.events(403)) == 1


def test_no_client_waits_for_a_trial_that_hangs_and_a_reload_and_a_drain_end_it(tmp_path):
    ended = []

    def hang(connection):
        ended.append(False)
        place = len(ended) - 1
        with contextlib.suppress(OSError):
            read_all(connection)
        ended[place] = True

    with Relay(GARBAGE) as relay, Relay() as other:
        file = tmp_path / "ogw.ini"
        text = f"[ogw]\nrelay-proxy =\n    {relay.url}\n    {other.url}\ndial-timeout = 1h\n"
        file.write_text(text)
        with Gateway("--config", str(file), *ALLOW[:4]) as gateway:
            opens(gateway, FIRST)
            gateway.wait_for(event=403)
            relay.said = hang
            until(lambda: ended == [False])
            began = time.monotonic()
            for _turn in range(5):
                opens(gateway, FIRST)
            assert time.monotonic() - began < 10 * PATIENCE and len(other.heads) == 6
            file.write_text(f"{text}idle-timeout = 2h\n")
            reload(gateway)
            until(lambda: ended == [True])
            until(lambda: ended == [True, False])
            assert gateway.stop() == 0
            until(lambda: ended == [True, True])


def test_a_trial_sends_credentials_that_were_refused_no_second_time():
    with Relay(GARBAGE) as relay:
        entry = f"http://u:s3cret@{relay.host}:{PORT}"
        with through(entry) as gateway:
            refused(gateway, f"{FIRST}:443")
            gateway.wait_for(event=403)
            relay.said = b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
            answers_again(gateway, relay)
            for _turn in range(5):
                refused(gateway, f"{FIRST}:443")
            sent = [head for head in relay.heads[1:] if b"Proxy-Authorization" in head]
            assert len(sent) == 1
            until(lambda: relays_of(gateway)[0]["state"] == "refuses us")


@pytest.mark.long
def test_all_workers_together_try_a_relay_every_ten_seconds():
    trials = 3
    with Relay(GARBAGE) as relay, through(relay.url, workers=3) as gateway:
        failed = f'ogw_relay_proxy_failures_total{{reason="relay-malformed",url="{relay.url}"}}'
        for _turn in range(30):
            refused(gateway, f"{FIRST}:443")
        assert metrics(gateway)[failed] == 30
        for number in range(trials):
            until(lambda number=number: len(relay.times) > 30 + number)
        tried = relay.times[30 : 30 + trials]
        gaps = [later - earlier for earlier, later in pairwise(tried)]
        assert all(TRIAL_SECONDS - 0.5 < gap < TRIAL_SECONDS + 5 * PATIENCE for gap in gaps), gaps
        relay.said = OPEN
        for _worker in range(3):
            answers_again(gateway, relay)
        assert len(relay.times) == 30 + trials + 1  # the others take the word of the one that tried


# Which of several that are alike.


def test_least_tunnels_spreads_and_a_reload_keeps_the_counts(tmp_path):
    with Relay() as one, Relay() as other, Relay() as named, contextlib.ExitStack() as stack:
        file = tmp_path / "ogw.ini"
        file.write_text(
            f"[ogw]\nrelay-proxy =\n    {one.url}\n    {other.url}\n    {named.url} for=*.second.example\n"
            "relay-proxy-order = least-tunnels\n"
        )
        with Gateway("--config", str(file), *ALLOW) as gateway:
            for _turn in range(6):
                stack.enter_context(gateway.tunnel(f"{FIRST}:443"))
            stack.enter_context(gateway.tunnel(f"{SECOND}:443"))
            assert [len(relay.heads) for relay in (one, other, named)] == [3, 3, 1]
            counted = {relay.url: f'ogw_relay_proxy_tunnels{{url="{relay.url}"}}' for relay in (one, other, named)}
            told = metrics(gateway)
            assert [told[name] for name in counted.values()] == [3, 3, 1]
            until(lambda: [relay["tunnels"] for relay in relays_of(gateway)] == [3, 3, 1])
            assert relays_of(gateway)[2]["named_for"] == ["*.second.example"]
            assert "for *.second.example" in ask(gateway, "/")[2].decode()
            assert told[f'ogw_relay_proxy_connect_seconds_count{{url="{one.url}"}}'] == 3
            file.write_text(
                f"[ogw]\nrelay-proxy =\n    {named.url}\n    {other.url}\nrelay-proxy-order = least-tunnels\n"
            )
            reload(gateway)
            told = metrics(gateway)
            assert [told[name] for name in counted.values()] == [3, 3, 1]
            stack.enter_context(gateway.tunnel(f"{FIRST}:443"))
            assert [len(relay.heads) for relay in (one, other, named)] == [3, 3, 2]
            stack.close()
            until(lambda: [metrics(gateway)[name] for name in counted.values()] == [0, 0, 0])


def test_by_preference_the_first_has_all():
    with Relay() as one, Relay() as other, contextlib.ExitStack() as stack:
        with through(one.url, other.url) as gateway:
            for _turn in range(4):
                stack.enter_context(gateway.tunnel(f"{FIRST}:443"))
            assert (len(one.heads), len(other.heads)) == (4, 0)


def test_failures_are_counted_by_url_without_credentials_and_by_reason():
    gone = f"{address()}:{PORT}"
    with Relay(GARBAGE) as relay:
        flags = ("--relay-proxy", f"http://u:s3cret@{relay.host}:{PORT}, http://{gone}")
        with through(flags=flags) as gateway:
            refused(gateway, f"{FIRST}:443")
            told = metrics(gateway)
            assert told[f'ogw_relay_proxy_failures_total{{reason="relay-malformed",url="{relay.url}"}}'] == 1
            assert told[f'ogw_relay_proxy_failures_total{{reason="relay-unreachable",url="http://{gone}"}}'] == 1
            assert "s3cret" not in str(told)
