"""The gateway authenticates itself to a relay proxy that says anything in its 407, over one connection or several."""

import base64
import json
import threading

import pytest
from harness.admin import asked, metrics
from harness.gateway import Gateway, read_all, read_exactly
from harness.relays import PORT
from harness.upstreams import Server, echo, server_context
from harness.waiting import until

from ogw.wire.challenges import challenges_of
from ogw.wire.digest import authorization, demand_of

NAME = "www.bench.example"
TARGET = f"{NAME}:443"
USER, PASSWORD = "till", "s3cret words"
BASIC = b"Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode())
OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"
DIGEST = 'Digest realm="r", nonce="{nonce}", qop="auth", algorithm=SHA-256'


def who(*challenges, fields=("Content-Length: 0",), body=b""):
    lines = ["HTTP/1.1 407 secret words", *(f"Proxy-Authenticate: {one}" for one in challenges), *fields, "", ""]
    return "\r\n".join(lines).encode() + body


class Relay(Server):
    """Says what `said` has for each request in its turn, on whatever connection it comes; then it opens them all.

    authority    of its certificate, where it speaks TLS
    heads        those that it got, each with the number of its connection
    connections  how many there were
    """

    def __init__(self, *said, closes=(), authority=None):
        super().__init__(self._play if authority is None else self._play_in_tls, port=PORT)
        self._context = None if authority is None else server_context(authority, self.host)
        self.said, self.closes, self.heads, self.connections = list(said), closes, [], 0

    def _play(self, connection):
        self.connections += 1
        number = self.connections
        while head := _head(connection):
            self.heads.append((number, head))
            said = self.said.pop(0) if self.said else OPEN
            connection.sendall(said)
            if said is OPEN:
                echo(connection)
                return
            if len(self.heads) in self.closes:
                return

    def _play_in_tls(self, connection):
        with self._context.wrap_socket(connection, server_side=True) as secure:
            self._play(secure)

    @property
    def url(self):
        return f"http{'' if self._context is None else 's'}://{self.host}:{PORT}"

    def sent(self, turn):
        """The credentials of a request; None without."""
        lines = self.heads[turn][1].split(b"\r\n")
        return next((line[21:] for line in lines if line.startswith(b"Proxy-Authorization: ")), None)


def _head(connection):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        more = connection.recv(1)
        if not more:
            return b""
        head += more
    return head


def through(relay, auth, flags=(), **more):
    words = "--relay-proxy", relay.url, "--relay-proxy-auth", auth, "--relay-proxy-username", USER
    environment = {"OGW_RELAY_PROXY_PASSWORD": PASSWORD}
    return Gateway("--allowed-host", NAME, *words, *flags, environment=environment, **more)


def opens(gateway):
    with gateway.tunnel(TARGET) as sock:
        sock.sendall(b"x")
        assert read_exactly(sock, 1) == b"x"


def refused(gateway):
    sock, head = gateway.ask(TARGET)
    read_all(sock)
    sock.close()
    return head.decode()


def judged(sent):
    """The parameters of a Digest that fits its own nonce; what does not is told as a failure."""
    (one,) = challenges_of([(b"proxy-authenticate", sent)])
    (asked_for,) = challenges_of([(b"proxy-authenticate", DIGEST.format(nonce=one.params["nonce"]).encode())])
    count, cnonce = int(one.params["nc"], 16), one.params["cnonce"]
    assert sent == authorization(demand_of(asked_for), USER, PASSWORD, TARGET, count, cnonce)
    return one.params


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (["Content-Length: 5"], b"hello"),
        (["Transfer-Encoding: chunked"], b"5\r\nhello\r\n0\r\n\r\n"),
        (["Content-Length: 60000"], b"x" * 60_000),
    ],
)
def test_the_body_of_a_407_is_passed_over_and_its_connection_used_again(fields, body):
    with Relay(who(DIGEST.format(nonce="n"), fields=fields, body=body)) as relay, through(relay, "digest") as gateway:
        opens(gateway)
        assert [number for number, _head in relay.heads] == [1, 1]
        assert relay.sent(0) is None and judged(relay.sent(1))["nc"] == "00000001"


@pytest.mark.parametrize(
    ("fields", "body", "closes"),
    [
        ([], b"to the end", [1]),
        (["Content-Length: 5", "Connection: close"], b"hello", [1]),
        (["Content-Length: 5"], b"hello", [1]),  # it says nothing of that
        (["Content-Length: 5"], b"hel", [1]),
        (["Content-Length: 5"], b"hel", []),  # and the rest never comes
        (["Content-Length: 5"], b"", []),
        (["Transfer-Encoding: chunked"], b"5\r\nhello\r\n", []),
        (["Content-Length: 900000000000"], b"hello", []),
        (["Transfer-Encoding: chunked"], b"5\r\nhello\r\nnonsense\r\n", []),
        (["Content-Length: 5"], b"hello and what nobody asked for", []),
    ],
)
def test_a_connection_that_ends_with_its_407_is_followed_by_another(fields, body, closes):
    said = who(DIGEST.format(nonce="n"), fields=fields, body=body)
    with Relay(said, closes=closes) as relay, through(relay, "digest") as gateway:
        opens(gateway)
        assert [number for number, _head in relay.heads][:2] in ([1, 2], [1, 1]) and relay.heads[-1][0] == 2
        assert judged(relay.sent(-1))


def test_a_nonce_serves_one_tunnel_after_another_and_a_stale_one_is_replaced():
    said = [who(DIGEST.format(nonce="one")), OPEN, OPEN, who(DIGEST.format(nonce="two") + ", stale=TRUE")]
    with Relay(*said) as relay, through(relay, "digest") as gateway:
        for _turn in range(4):
            opens(gateway)
        sent = [judged(relay.sent(turn)) for turn in range(1, 6)]
        assert [(one["nonce"], one["nc"][-1]) for one in sent] == [
            ("one", "1"), ("one", "2"), ("one", "3"), ("two", "1"), ("two", "2"),
        ]  # fmt: skip
        assert len({one["cnonce"] for one in sent}) == 2
        assert not gateway.events(404)
        assert metrics(gateway)['ogw_relay_auth_total{result="accepted",scheme="digest"}'] == 4
        (relay_proxy,) = until(lambda: asked(gateway, "/status")["relay_proxies"])
        assert relay_proxy["scheme"] == "digest"


def test_no_two_tunnels_use_a_nonce_at_the_same_time():
    """One that overtakes another would make its count one of the past."""
    together = threading.Barrier(4)

    class Slow(Relay):
        def _play(self, connection):
            while head := _head(connection):
                self.heads.append((0, head))
                if b"Proxy-Authorization" not in head:
                    connection.sendall(who(DIGEST.format(nonce=f"n{len(self.heads)}")))
                    continue
                if len([None for _number, one in self.heads if b"Proxy-Auth" in one]) > 1:
                    together.wait(30)
                connection.sendall(OPEN)
                echo(connection)
                return

    with Slow() as relay, through(relay, "digest") as gateway:
        opens(gateway)
        threads = [threading.Thread(target=opens, args=[gateway]) for _turn in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        used = [judged(relay.sent(turn)) for turn in range(len(relay.heads)) if relay.sent(turn)]
        assert len(used) == 5 and len({(one["nonce"], one["nc"]) for one in used}) == 5
        assert len({one["nonce"] for one in used}) == 4


def test_a_nonce_that_a_relay_forgot_is_no_wrong_password_but_a_wrong_password_is():
    said = [who(DIGEST.format(nonce="one")), OPEN, who(DIGEST.format(nonce="two"))]
    with Relay(*said) as relay, through(relay, "digest") as gateway:
        opens(gateway)
        opens(gateway)
        assert judged(relay.sent(3))["nonce"] == "two" and len(relay.heads) == 4
        relay.said += [who(DIGEST.format(nonce="three")), who(DIGEST.format(nonce="four"))]
        assert "received-status=407; reason=relay-refused" in refused(gateway)
        assert ": relay-auth-withheld\r\n" in refused(gateway)
        assert len(relay.heads) == 6
        said = metrics(gateway)
        assert said['ogw_relay_auth_total{result="refused",scheme="digest"}'] == 1
        assert said['ogw_relay_auth_total{result="withheld",scheme="digest"}'] == 1


def test_a_tunnel_that_waits_for_others_leaves_the_relay_all_its_time():
    class Slow(Relay):
        def _play(self, connection):
            while head := _head(connection):
                self.heads.append((0, head))
                if b"Proxy-Authorization" not in head:
                    connection.sendall(who(DIGEST.format(nonce=f"n{len(self.heads)}")))
                    continue
                threading.Event().wait(4)  # it takes its target so long
                connection.sendall(OPEN)
                echo(connection)
                return

    with Slow() as relay, through(relay, "auto", ["--dial-timeout", "6s"]) as gateway:
        threads = [threading.Thread(target=opens, args=[gateway]) for _turn in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not gateway.events(403) and not gateway.events(404)


def test_no_tunnel_waits_for_ever_for_another_that_tries_the_credentials():
    class Silent(Relay):
        def _play(self, connection):
            while head := _head(connection):
                self.heads.append((0, head))

    with Silent() as relay, through(relay, "basic", ["--dial-timeout", "1s"]) as gateway:
        heads = []
        threads = [threading.Thread(target=lambda: heads.append(refused(gateway))) for _turn in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(heads) == 6 and all("504 Gateway Timeout: relay-timeout\r\n" in head for head in heads)
        until(lambda: "tries the credentials" in str(gateway.events(403)))


def test_a_503_of_a_balancer_in_front_says_nothing_of_the_credentials():
    class Behind(Relay):
        def _play(self, connection):
            head = _head(connection)
            self.heads.append((0, head))
            if len(self.heads) == 1:
                connection.sendall(b"HTTP/1.1 503 No server\r\nContent-Length: 0\r\n\r\n")
                return
            if len(self.heads) == 7:
                all_there.set()
            all_there.wait(1)
            connection.sendall(who('Basic realm="r"'))

    all_there, heads = threading.Event(), []
    with Behind() as relay, through(relay, "basic") as gateway:
        assert "received-status=503" in refused(gateway)
        threads = [threading.Thread(target=lambda: heads.append(refused(gateway))) for _turn in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(("relay-auth-withheld" in head) for head in heads) == [False] + 5 * [True]
        assert len(relay.heads) == 2


def test_a_target_that_takes_long_does_not_keep_others_from_trying_the_credentials():
    class Slow(Relay):
        def _play(self, connection):
            head = _head(connection)
            self.heads.append((0, head))
            if len(self.heads) == 1:
                connection.recv(1)
            else:
                connection.sendall(OPEN)
                echo(connection)

    with Slow() as relay, through(relay, "basic", ["--dial-timeout", "8s"]) as gateway, gateway.connect() as first:
        first.sendall(f"CONNECT {TARGET} HTTP/1.1\r\n\r\n".encode())
        until(lambda: relay.heads)
        opens(gateway)
        opens(gateway)
        assert not gateway.events(403)


def test_a_nonce_of_this_very_conversation_is_not_too_old_so_the_password_is_refused_whatever_is_said_of_it():
    said = [who(DIGEST.format(nonce=f"n{number}") + ", stale=true") for number in range(9)]
    with Relay(*said) as relay, through(relay, "digest") as gateway:
        assert ": relay-refused\r\n" in refused(gateway)
        assert "does not accept the user name or the password" in gateway.wait_for(event=404)["message"]
        assert ": relay-auth-withheld\r\n" in refused(gateway)
        assert sum(relay.sent(turn) is not None for turn in range(len(relay.heads))) == 1


GOOD = DIGEST.format(nonce="n")
BAD = {
    "no scheme": ([], "relay-auth-no-scheme", "does not say what it wants"),
    "unreadable": (['"Digest"'], "relay-auth-no-scheme", "does not say what it wants"),
    "others": (["Negotiate", "NTLM"], "relay-auth-not-offered", "Digest is spoken with relay-proxy-auth = digest"),
    "huge realm": ([GOOD.replace('"r"', f'"{"r" * 60_000}"')], "relay-auth-malformed", "a realm of 60000 bytes"),
    "no nonce": (['Digest realm="r", qop="auth"'], "relay-auth-malformed", "gives no nonce"),
    "algorithm": ([GOOD.replace("SHA-256", "SHA3-256")], "relay-auth-algorithm", 'an algorithm "SHA3-256"'),
    "qop": ([GOOD.replace('"auth"', '"auth-int"')], "relay-auth-qop", 'a qop "auth-int"'),
}


@pytest.mark.parametrize("case", BAD)
def test_every_bad_challenge_has_its_reason(case):
    challenges, reason, words = BAD[case]
    with Relay(who(*challenges)) as relay, through(relay, "digest") as gateway:
        head = refused(gateway)
        assert f"502 Bad Gateway: {reason}\r\n" in head and "received-status=407" in head
        line = gateway.wait_for(event=404, reason=reason)
        assert words in line["message"] and relay.url in line["message"]
        assert "secret words" not in json.dumps(gateway.lines) and PASSWORD not in json.dumps(gateway.lines)
        assert len(relay.heads) == 1


def test_a_challenge_that_is_folded_is_answered():
    with Relay(who(GOOD.replace(", ", ",\r\n\t"))) as relay, through(relay, "digest") as gateway:
        opens(gateway)
        assert judged(relay.sent(1))


def test_of_several_digests_the_strongest_is_answered():
    weak, unknown = GOOD.replace("SHA-256", "MD5"), GOOD.replace("SHA-256", "SHA3")
    with Relay(who(weak, unknown, GOOD)) as relay, through(relay, "digest") as gateway:
        opens(gateway)
        assert judged(relay.sent(1))


# What cannot be answered stands beside what can be.
UNANSWERABLE = {
    "a stronger one with another qop": GOOD.replace('"auth"', '"auth-int"').replace("SHA-256", "SHA-512-256"),
    "one without a qop (RFC 2069)": GOOD.replace(', qop="auth"', ""),
    "one without a nonce": 'Digest realm="r", qop="auth", algorithm=SHA-256',
}


@pytest.mark.parametrize("case", UNANSWERABLE)
def test_of_several_digests_one_that_can_be_answered_is(case):
    with Relay(who(UNANSWERABLE[case], GOOD)) as relay, through(relay, "digest") as gateway:
        opens(gateway)
        assert judged(relay.sent(1))


# auto


def test_auto_takes_the_strongest_and_sends_nothing_unasked_before_it_has_worked():
    said = [who("Basic realm=x", "NTLM", GOOD), OPEN, OPEN]
    with Relay(*said) as relay, through(relay, "auto") as gateway:
        opens(gateway)
        opens(gateway)
        assert (
            relay.sent(0) is None and judged(relay.sent(1))["nc"][-1] == "1" and judged(relay.sent(2))["nc"][-1] == "2"
        )
        assert len(relay.heads) == 3


def test_auto_never_sends_a_password_in_clear():
    with Relay(who("Basic realm=x"), who("Basic realm=x")) as relay, through(relay, "auto") as gateway:
        assert ": relay-auth-not-offered\r\n" in refused(gateway)
        assert "Basic is sent only to https://" in gateway.wait_for(event=404)["message"]
        assert [relay.sent(turn) for turn in range(len(relay.heads))] == [None]


@pytest.mark.parametrize("case", UNANSWERABLE)
def test_auto_tells_what_is_wrong_with_a_digest_where_basic_would_be_sent_in_clear(case):
    with Relay(who(UNANSWERABLE[case], "Basic realm=x")) as relay, through(relay, "auto") as gateway:
        assert ": relay-auth-" in refused(gateway)
        assert "wants Digest" in gateway.wait_for(event=404)["message"]
        assert [relay.sent(turn) for turn in range(len(relay.heads))] == [None]


def test_auto_takes_basic_of_an_encrypted_one_whose_digest_cannot_be_answered(authority, authority_file):
    with Relay(who(*UNANSWERABLE.values(), "Basic realm=x"), authority=authority) as relay:
        with through(relay, "auto", ["--relay-proxy-ca-file", authority_file]) as gateway:
            opens(gateway)
            assert [relay.sent(turn) for turn in range(len(relay.heads))] == [None, BASIC]


def test_auto_sends_nothing_to_one_that_wants_nothing():
    with Relay() as relay, through(relay, "auto") as gateway:
        opens(gateway)
        assert relay.sent(0) is None


def test_basic_is_sent_unasked_as_it_always_was():
    with Relay() as relay, through(relay, "basic") as gateway:
        opens(gateway)
        assert relay.sent(0) == BASIC
