"""Out through a proxy that speaks SOCKS 5: dante, microsocks, and peers that play every bad one."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness.admin import asked, metrics
from harness.dns import Dns
from harness.gateway import Gateway, address, free_port, read_all, read_exactly
from harness.relays import Squid
from harness.socks import GRANTED, LOGIN, NO_LOGIN, NONE_OF_THEM, OPENED, Dante, Microsocks, Speaking
from harness.upstreams import Server, echo, reset
from harness.waiting import until

NAME = "www.bench.example"
TARGET = f"{NAME}:443"
USER, PASSWORD = "till", "s3cret"
LOOPBACK = "--allowed-target-network", "127.0.0.0/8, ::1/128"
REPLIES = {
    1: ("relay-socks-general-failure", 502, "destination_unavailable"),
    2: ("relay-socks-not-allowed", 502, "destination_unavailable"),
    3: ("relay-socks-network-unreachable", 502, "destination_ip_unroutable"),
    4: ("relay-socks-host-unreachable", 502, "destination_unavailable"),
    5: ("relay-socks-connection-refused", 502, "connection_refused"),
    6: ("relay-socks-ttl-expired", 504, "connection_timeout"),
    7: ("relay-socks-command-not-supported", 502, "destination_unavailable"),
    8: ("relay-socks-address-not-supported", 502, "destination_unavailable"),
    9: ("relay-socks-unknown-reply", 502, "destination_unavailable"),
    255: ("relay-socks-unknown-reply", 502, "destination_unavailable"),
}


def through(*urls, flags=(), rules=(NAME,), **more):
    listed = [word for url in urls for word in ("--relay-proxy", url)]
    allowed = [word for rule in rules for word in ("--allowed-host", rule)]
    return Gateway(*allowed, "--dial-timeout", "2s", *listed, *flags, **more)


def remotely(relay, login=""):
    return f"socks5h://{login}{relay.place}"


def locally(relay, login=""):
    return f"socks5://{login}{relay.place}"


def opens(gateway, target=TARGET, rest=b"hello"):
    with gateway.tunnel(target, rest=rest) as sock:
        assert read_exactly(sock, len(rest)) == rest


def refused(gateway, target=TARGET):
    """The head of the answer, and what the log says."""
    sock, head = gateway.ask(target)
    read_all(sock)
    sock.close()
    assert b"relay-proxy =" not in head
    tunnel = head.decode().partition('tunnel="')[2].partition('"')[0]
    return head.decode(), gateway.wait_for(tunnel=tunnel)


def relay_of(gateway):
    return asked(gateway, "/status")["relay_proxies"][0]


@pytest.fixture
def upstream():
    with Server(echo, port=443) as server:
        yield server


# Real ones.


@pytest.mark.parametrize("kind", [Dante, Microsocks])
def test_it_resolves_the_name_and_opens(kind, upstream):
    with kind({NAME: upstream.host}) as relay, through(remotely(relay)) as gateway:
        opens(gateway)
        assert gateway.closed()["upstream"] == relay.place


@pytest.mark.parametrize("kind", [Dante, Microsocks])
def test_the_name_is_resolved_here_and_only_an_address_is_asked_for(kind, upstream):
    with kind() as relay, Dns({NAME: [upstream.host]}) as dns:
        with through(locally(relay), flags=(*dns.flags, *LOOPBACK)) as gateway:
            opens(gateway)
            assert gateway.closed()["upstream"] == relay.place


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
@pytest.mark.parametrize("kind", [Dante, Microsocks])
def test_targets_that_are_addresses(kind, scheme):
    with Server(echo) as four, Server(echo, host="::1", port=free_port("::1")) as six, kind() as relay:
        with through(f"{scheme}://{relay.place}", flags=LOOPBACK, rules=(four.host, six.target)) as gateway:
            opens(gateway, four.target)
            opens(gateway, six.target)


@pytest.mark.parametrize(("kind", "source"), [("dante", "the settings"), ("microsocks", "its URL")])
def test_it_lets_in_who_has_a_user_name(kind, source, upstream, tmp_path):
    names = {NAME: upstream.host}
    (tmp_path / "password").write_text(PASSWORD)
    flags = (
        ()
        if source == "its URL"
        else ("--relay-proxy-username", USER, "--relay-proxy-password-file", str(tmp_path / "password"))
    )
    login = f"{USER}:{PASSWORD}@" if source == "its URL" else ""
    with Dante(names, {USER: PASSWORD}) if kind == "dante" else Microsocks(names, (USER, PASSWORD)) as relay:
        with through(remotely(relay, login), flags=flags) as gateway:
            opens(gateway)
        with through(remotely(relay)) as gateway:
            head, line = refused(gateway)
            assert ": relay-socks-method\r\n" in head
            assert "it wants credentials: set relay-proxy-username and relay-proxy-password-file" in line["message"]
            assert relay_of(gateway)["state"] == "refuses us"
        with through(remotely(relay, f"{USER}:wr0ng@")) as gateway:
            head, line = refused(gateway)
            assert ": relay-socks-login\r\n" in head and line["event"] == 404
            assert "does not accept the user name or the password" in line["message"]
            assert relay_of(gateway)["state"] == "refuses us"
            assert "wr0ng" not in json.dumps(gateway.lines) + json.dumps(asked(gateway, "/status"))


@pytest.mark.parametrize("kind", [Dante, Microsocks])
def test_credentials_are_no_hindrance_where_none_are_wanted(kind, upstream):
    with kind({NAME: upstream.host}) as relay, through(remotely(relay, f"{USER}:{PASSWORD}@")) as gateway:
        opens(gateway)


@pytest.mark.parametrize(
    ("kind", "reason"), [(Dante, "relay-socks-host-unreachable"), (Microsocks, "relay-socks-general-failure")]
)
def test_a_name_that_it_does_not_know(kind, reason):
    with kind() as relay, through(remotely(relay)) as gateway:
        assert f": {reason}\r\n" in refused(gateway)[0]


@pytest.mark.parametrize("kind", [Dante, Microsocks])
def test_a_port_where_nobody_listens(kind):
    with kind({NAME: address()}) as relay, through(remotely(relay)) as gateway:
        for _turn in range(3):
            head, line = refused(gateway)
            assert ": relay-socks-connection-refused\r\n" in head and "error=connection_refused" in head
        assert "answers 5 (connection refused), when asked for www.bench.example:443" in line["message"]
        assert not gateway.events(403)  # it does not rest


def test_its_rules_refuse(upstream):
    rules = ("socks block { from: 0/0 to: 0/0 port = 443 }",)
    with Dante({NAME: upstream.host}, rules=rules) as relay, through(remotely(relay)) as gateway:
        head, line = refused(gateway)
        assert ": relay-socks-not-allowed\r\n" in head
        assert "allow the target there, or set relay-proxy-bypass for it" in line["message"]


# What is said to it.


def test_no_more_is_offered_than_is_there_and_a_target_is_said_as_it_is():
    with (
        Speaking() as relay,
        through(
            remotely(relay), rules=(NAME, "192.0.2.7"), flags=("--allowed-target-network", "192.0.2.0/24")
        ) as gateway,
    ):
        opens(gateway)
        opens(gateway, "192.0.2.7:443")
    assert relay.asked == [
        [b"\x05\x01\x00", b"\x05\x01\x00\x03\x11" + NAME.encode() + b"\x01\xbb"],
        [b"\x05\x01\x00", b"\x05\x01\x00\x01\xc0\x00\x02\x07\x01\xbb"],
    ]


@pytest.mark.parametrize("method", [NO_LOGIN, LOGIN])
def test_a_login_is_said_only_where_it_is_wanted(method):
    with Speaking(method) as relay, through(remotely(relay, f"{USER}:p%40%C3%BC@")) as gateway:
        opens(gateway)
    logins = [b"\x01\x04till\x04p@\xc3\xbc"] if method == LOGIN else []
    assert relay.asked[0][:-1] == [b"\x05\x02\x00\x02", *logins]


BEHIND = b"\x05\x00first bytes of the target"


def test_bytes_behind_the_reply_reach_the_client():
    with Speaking() as relay, through(remotely(relay)) as gateway:
        for cut in range(1, len(OPENED) + 1, 3):

            def reply(connection, cut=cut):
                connection.sendall(OPENED[:cut])
                time.sleep(0.01)  # so that it is two pieces; nothing depends on it
                connection.sendall(OPENED[cut:] + BEHIND)

            relay.reply = reply
            with gateway.tunnel(TARGET, rest=b"up") as sock:
                assert read_exactly(sock, len(BEHIND) + 2) == BEHIND + b"up"


def test_a_reply_with_the_longest_name_byte_by_byte():
    def reply(connection):
        for byte in b"\x05\x00\x00\x03\xff" + b"a" * 255 + b"\x01\xbb" + BEHIND:
            connection.sendall(bytes((byte,)))

    with Speaking(reply=reply) as relay, through(remotely(relay)) as gateway:
        with gateway.tunnel(TARGET) as sock:
            assert read_exactly(sock, len(BEHIND)) == BEHIND


# What it answers.


def test_each_reply_has_its_reason():
    with Speaking() as relay, through(remotely(relay)) as gateway:
        for code, (reason, status, error) in REPLIES.items():
            relay.reply = bytes((5, code)) + OPENED[2:]
            head, line = refused(gateway)
            assert head.startswith(f"HTTP/1.1 {status} ") and f": {reason}\r\n" in head and f"error={error};" in head
            assert (line["event"], line["reason"]) == (404, reason)
            assert f"relay proxy socks5h://{relay.place} answers {code} (" in line["message"]
        told = relay_of(gateway)
        assert told["state"] == "refuses us" and told["why"].startswith("it answers 255 (")


MALFORMED = [
    (dict(method=b"\x05\x01"), "relay-socks-malformed", "was not offered (1)"),
    (dict(method=NO_LOGIN + OPENED), "relay-socks-malformed", "says more than it was asked"),
    (dict(method=LOGIN, login=b"\x02\x00"), "relay-socks-malformed", "is of version 2, not 1"),
    (dict(method=LOGIN, login=GRANTED + OPENED), "relay-socks-malformed", "says more than it was asked"),
    (dict(reply=b"\x05\x00\x00\x05"), "relay-socks-malformed", "an unknown type (5)"),
    (dict(reply=b"\x04\x5a" + bytes(6)), "relay-socks-version", "in SOCKS 4"),
    (dict(method=b"\x00\x5b" + bytes(6)), "relay-socks-version", "in SOCKS 4"),
    (dict(method=b"\x04"), "relay-socks-version", "in SOCKS 4"),
    (dict(method=b"\x15\x03\x01"), "relay-socks-version", "it speaks TLS: try relay-proxy = https://"),
    (dict(method=b"SSH-2.0-x\r\n"), "relay-socks-version", "begins with the byte 0x53"),
    (
        dict(method=b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        "relay-socks-version",
        "it speaks HTTP: try relay-proxy = http://",
    ),
]


def test_one_that_does_not_speak_so_rests():
    with Speaking() as relay, through(remotely(relay, f"{USER}:{PASSWORD}@")) as gateway:
        for said, reason, words in MALFORMED:
            relay.method, relay.login, relay.reply = {
                "method": NO_LOGIN,
                "login": GRANTED,
                "reply": OPENED,
                **said,
            }.values()
            head, line = refused(gateway)
            assert head.startswith("HTTP/1.1 502 ") and f": {reason}\r\n" in head
            assert words in line["message"]
            assert relay_of(gateway)["state"] == "resting"


def until_closed(connection):
    read_all(connection)


def close(connection):
    reset(connection)


ENDS = [(b"\x05", close), (b"", close), (b"\x05", until_closed), (b"", until_closed)]


@pytest.mark.parametrize("stage", ["method", "login", "reply"])
def test_one_that_ends_in_the_middle(stage):
    with Speaking(LOGIN) as relay:
        with through(remotely(relay, f"{USER}:{PASSWORD}@"), flags=("--dial-timeout", "1s")) as gateway:
            for said, end in ENDS:

                def say(connection, said=said, end=end):
                    connection.sendall(said)
                    end(connection)

                setattr(relay, stage, say)
                head, _line = refused(gateway)
                assert f": {'relay-closed' if end is close else 'relay-timeout'}\r\n" in head
                # Once it answers, the target may be the matter: it takes several before it rests.
                assert relay_of(gateway)["state"] == ("refuses us" if stage == "reply" else "resting")


def test_one_that_waits_for_a_line_may_be_of_http():
    with Squid({}) as squid, through(f"socks5h://{squid.place}") as gateway:
        head, line = refused(gateway)
        assert ": relay-timeout\r\n" in head
        assert f"it may speak HTTP: try relay-proxy = http://{squid.place} instead" in line["message"]


@pytest.mark.parametrize("kind", [Dante, Microsocks])
def test_one_of_socks_that_is_asked_over_http(kind):
    with kind() as relay, through(f"http://{relay.place}") as gateway:
        assert "socks5h://" in refused(gateway)[1]["message"]


# Which one is asked, and which address.


def test_a_reply_about_the_target_is_tried_at_the_next_and_none_rests():
    with Speaking() as first, Speaking() as second, through(remotely(first), remotely(second)) as gateway:
        for code in (1, 3, 4, 5, 6, 7, 8, 99):
            first.reply = bytes((5, code))
            opens(gateway)
            first.reply = OPENED
            opens(gateway)
        assert not gateway.events(403) and not gateway.events(404)


@pytest.mark.parametrize(
    "said", [dict(reply=b"\x05\x02"), dict(method=NONE_OF_THEM), dict(method=LOGIN, login=b"\x01\x01")]
)
def test_its_rules_and_its_users_are_not_tried_again(said):
    with Speaking(**said) as first, Speaking() as second:
        with through(remotely(first, f"{USER}:{PASSWORD}@"), remotely(second)) as gateway:
            refused(gateway)
        assert second.asked == [] and len(first.asked) == 1


@pytest.mark.parametrize("reply", [b"\x05\x01", until_closed, close], ids=["a failure", "silence", "an end"])
def test_one_that_opens_nothing_whatever_it_is_asked_for_rests(reply):
    hosts = [f"h{number}.bench.example" for number in range(5)]
    with (
        Speaking(reply=reply) as relay,
        through(remotely(relay), flags=("--dial-timeout", "1s"), rules=hosts) as gateway,
    ):
        for host in hosts:
            refused(gateway, f"{host}:443")
        assert relay_of(gateway)["state"] == "resting"
        messages = [line["message"] for line in gateway.events(403)]
        assert any("whatever it is asked for; it rests until" in message for message in messages), messages


def test_the_addresses_of_a_name_are_tried_in_turn_and_no_more_than_four():
    addresses = [f"192.0.2.{number}" for number in range(1, 7)]
    codes = iter([4, 3, 8])

    def reply(connection):
        code = next(codes, 0)
        connection.sendall(bytes((5, code)) + OPENED[2:])

    with Speaking(reply=reply) as relay, Dns({NAME: addresses}) as dns:
        with through(locally(relay), flags=(*dns.flags, "--allowed-target-network", "192.0.2.0/24")) as gateway:
            opens(gateway)
            asked_for = [told[-1][4:8] for told in relay.asked]
            assert len(set(asked_for)) == len(asked_for) == 4
            codes = iter([4, 3, 8, 5, 0])
            head, line = refused(gateway)
            assert ": relay-socks-connection-refused\r\n" in head
            assert line["message"].count("when asked for 192.0.2.") == 4
            assert len(relay.asked) == 8


def test_an_address_that_does_not_answer_leaves_time_for_the_next():
    left = [until_closed]

    def reply(connection):
        if left:
            left.pop()(connection)
        else:
            connection.sendall(OPENED)

    with Speaking(reply=reply) as relay, Dns({NAME: ["192.0.2.1", "192.0.2.2"]}) as dns:
        with through(locally(relay), flags=(*dns.flags, "--allowed-target-network", "192.0.2.0/24")) as gateway:
            opens(gateway)


def test_the_guard_judges_each_address_before_it_is_asked_for():
    with Speaking() as relay, Dns({NAME: ["10.0.0.1", "192.0.2.9", "127.0.0.1"]}) as dns:
        flags = (*dns.flags, "--allowed-target-network", "192.0.2.0/24")
        with through(locally(relay), flags=flags) as gateway:
            opens(gateway)
        assert [told[-1][4:8] for told in relay.asked] == [b"\xc0\x00\x02\x09"]
        with through(locally(relay), flags=dns.flags) as gateway:
            head, _line = refused(gateway)
            assert head.startswith("HTTP/1.1 403 ") and ": address-not-allowed\r\n" in head
            assert len(relay.asked) == 1


def test_no_other_relay_proxy_opens_what_the_guard_refuses():
    with Speaking() as first, Speaking() as second, Dns({NAME: ["10.0.0.1"]}) as dns:
        with through(remotely(first), locally(second), flags=dns.flags) as gateway:
            assert ": address-not-allowed\r\n" in refused(gateway)[0]
        assert first.asked == second.asked == []


def test_a_name_that_nobody_knows_here_is_not_asked_for():
    with Speaking() as relay, Dns({}) as dns, through(locally(relay), flags=dns.flags) as gateway:
        head, _line = refused(gateway)
        assert head.startswith("HTTP/1.1 502 ") and ": dns-error\r\n" in head
        assert relay.asked == []


# Credentials.


def test_a_password_that_became_another_one_needs_nobody(tmp_path):
    file = tmp_path / "password"
    file.write_text("old")
    flags = "--relay-proxy-username", USER, "--relay-proxy-password-file", str(file)
    with Speaking(LOGIN) as relay:
        with through(remotely(relay), flags=flags) as gateway:
            opens(gateway)
            relay.login = b"\x01\x01"
            refused(gateway)
            assert len(relay.asked) == 2  # it is the same password: saying it again would lock an account
            file.write_text("new")
            relay.login = lambda connection: connection.sendall(
                GRANTED if b"new" in relay.asked[-1][1] else b"\x01\x01"
            )
            opens(gateway)
    assert [told[1][-3:] for told in relay.asked if len(told) > 1] == [b"old", b"old", b"new"]


def test_a_password_that_became_too_long_is_told(tmp_path):
    file = tmp_path / "password"
    file.write_text("old")
    flags = "--relay-proxy-username", USER, "--relay-proxy-password-file", str(file)
    with Speaking(LOGIN, login=b"\x01\x01") as relay, through(remotely(relay), flags=flags) as gateway:
        file.write_text("x" * 256)
        head, line = refused(gateway)
        assert ": relay-socks-login\r\n" in head and "more than 255 bytes" in line["message"]
        assert len(relay.asked) == 2 and len(relay.asked[1]) == 1


# In the background.


def test_a_trial_asks_for_addresses_where_names_are_resolved_here():
    with Speaking(reply=b"\x04") as relay, Dns({NAME: ["10.0.0.1", "192.0.2.9"]}) as dns:
        with through(locally(relay), flags=dns.flags, rules=(f"{NAME} to=192.0.2.0/24 from=127.0.0.0/8",)) as gateway:
            refused(gateway)
            relay.reply = OPENED
            gateway.wait_for(event=100, message=f"relay proxy {locally(relay)} answers again")
            opens(gateway)
        assert {told[-1][3:8] for told in relay.asked} == {b"\x01\xc0\x00\x02\x09"}


# Many at once.


def refusals_at_once(gateway, number):
    """The reasons that so many clients get that ask together."""

    def ask(_one):
        sock, head = gateway.ask(TARGET)
        sock.close()
        return head.decode().partition("reason=")[2].partition(";")[0]

    with ThreadPoolExecutor(number) as clients:
        return sorted(set(clients.map(ask, range(number))))


def test_a_wrong_password_is_said_once_over_all_workers():
    with Speaking(LOGIN, login=b"\x01\x01") as relay:
        flags = ("--dial-timeout", "40s")
        with through(remotely(relay, f"{USER}:{PASSWORD}@"), flags=flags, workers=2) as gateway:
            assert refusals_at_once(gateway, 20) == ["relay-auth-withheld", "relay-socks-login"]
            assert [told for told in relay.asked if len(told) > 1] == [[b"\x05\x02\x00\x02", b"\x01\x04till\x06s3cret"]]
            until(lambda: metrics(gateway)['ogw_relay_auth_total{result="refused",scheme="socks5"}'] == 1)
            assert "not sent again" in gateway.wait_for(reason="relay-auth-withheld")["message"]


def test_status_says_that_there_was_a_login_and_metrics_count_it():
    with Speaking(LOGIN) as relay, through(remotely(relay, f"{USER}:{PASSWORD}@")) as gateway:
        opens(gateway)
        until(lambda: relay_of(gateway)["scheme"] == "socks5")
        assert metrics(gateway)['ogw_relay_auth_total{result="accepted",scheme="socks5"}'] == 1
        relay.method = NO_LOGIN
        opens(gateway)
        until(lambda: relay_of(gateway)["scheme"] == "")  # answers are kept for a moment


def test_a_client_that_leaves_takes_its_conversation_with_it():
    ended = threading.Event()

    def reply(connection):
        read_all(connection)
        ended.set()

    with Speaking(reply=reply) as relay, through(remotely(relay), flags=("--dial-timeout", "60s")) as gateway:
        sock = gateway.connect()
        sock.sendall(f"CONNECT {TARGET} HTTP/1.1\r\n\r\n".encode())
        until(lambda: relay.asked and len(relay.asked[0]) == 2)
        reset(sock)
        assert gateway.closed()["reason"] == "client-gone"
        assert ended.wait(20)


def test_nothing_is_left_open_whatever_it_says():
    with Speaking() as relay, through(remotely(relay), flags=("--dial-timeout", "1s")) as gateway:
        opens(gateway)
        until(lambda: gateway.events(108))
        before = gateway.descriptors()
        for method, reply in [
            (b"\x05\xff", b""),
            (b"\x04", b""),
            (b"\x05", b""),
            (NO_LOGIN, b"\x05\x01"),
            (NO_LOGIN, b"\x05\x00\x00\x09"),
        ]:
            relay.method, relay.reply, relay.then = method, reply, lambda _connection: None
            for _turn in range(4):
                refused(gateway)
        until(lambda: gateway.descriptors() <= before)
