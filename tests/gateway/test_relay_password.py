"""The password for relay proxies changes while tunnels are made: each finds the right one, none tries one twice."""

import base64
import os
import signal
import threading

import pytest
from harness.gateway import Gateway, read_all, read_exactly, read_head
from harness.relays import PORT
from harness.upstreams import Server, echo
from harness.waiting import until

NAME = "www.bench.example"
TARGET = f"{NAME}:443"
USER = "till"
OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"
WHO = b"HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic\r\n\r\n"
TUNNELS = 8


def coded(password):
    return base64.b64encode(f"{USER}:{password}".encode())


class Relay(Server):
    """Takes one password. `meet`: those who come with another wait for each other before they are told."""

    def __init__(self, right, meet=None):
        super().__init__(self._play, port=PORT)
        self.right, self.meet, self.tried = right, meet, []

    def _play(self, connection):
        head = read_head(connection)
        sent = next(line for line in head.split(b"\r\n") if line.startswith(b"Proxy-Authorization"))[27:]
        password = base64.b64decode(sent).decode().partition(":")[2]
        self.tried.append(password)
        if password == self.right:
            connection.sendall(OPEN)
            echo(connection)
            return
        if self.meet is not None:
            self.meet(password)
        connection.sendall(WHO)


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "password"
    file.write_text("old")
    file.chmod(0o600)
    return file


def through(*relays, file, **more):
    words = [word for relay in relays for word in ("--relay-proxy", f"http://{relay.host}:{PORT}")]
    credentials = "--relay-proxy-username", USER, "--relay-proxy-password-file", str(file)
    return Gateway("--allowed-host", NAME, *words, *credentials, **more)


def all_at_once(gateway, number):
    """The status lines that so many clients get that ask together."""
    answers = []

    def ask():
        with gateway.connect() as sock:
            sock.settimeout(30)
            sock.sendall(f"CONNECT {TARGET} HTTP/1.1\r\n\r\n".encode())
            head = read_head(sock)
            answers.append(head.partition(b"\r\n")[0])
            if b" 200 " in head:
                sock.sendall(b"x")
                assert read_exactly(sock, 1) == b"x"
            else:
                read_all(sock)

    threads = [threading.Thread(target=ask) for _turn in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers


@pytest.mark.parametrize("workers", [1, 2])
def test_tunnels_that_were_dialing_when_the_password_changed_all_open(file, workers):
    gathered = threading.Barrier(TUNNELS)

    def meet(password):
        assert password == "old"
        if gathered.wait(30) == 0:
            file.write_text("new\n")
        gathered.wait(30)

    with Relay("old", meet) as relay, through(relay, file=file, workers=workers) as gateway:
        assert b" 200 " in all_at_once(gateway, 1)[0]  # from then on it is known to be good, and sent by all at once
        relay.right = "new"
        assert all_at_once(gateway, TUNNELS) == [OPEN.partition(b"\r\n")[0]] * TUNNELS
        assert relay.tried.count("old") == 1 + TUNNELS and relay.tried.count("new") == TUNNELS
        assert not gateway.events(404)


def test_a_file_that_is_being_written_is_not_an_empty_password(file):
    def meet(_password):
        file.write_text("")  # as an editor that truncates it first

    with Relay("new", meet) as relay, through(relay, file=file) as gateway:
        assert b" 502 " in all_at_once(gateway, 1)[0]
        file.write_text("new")
        assert b" 200 " in all_at_once(gateway, 1)[0]
        assert relay.tried == ["old", "new"]


def test_half_a_password_is_followed_by_the_whole(file):
    def meet(password):
        file.write_text({"old": "ne", "ne": "new"}[password])

    with Relay("new", meet) as relay, through(relay, file=file) as gateway:
        assert b" 200 " in all_at_once(gateway, 1)[0]
        assert relay.tried == ["old", "ne", "new"]


def test_a_tunnel_tries_few_passwords_and_none_of_them_twice(file):
    """Who writes the file all the time does not lock the account."""
    count = iter(range(1000))

    with Relay("right", lambda _password: file.write_text(f"wrong {next(count)}")) as relay:
        with through(relay, file=file) as gateway:
            assert b" 502 " in all_at_once(gateway, 1)[0]
            assert relay.tried == ["old", "wrong 0", "wrong 1"]
            line = gateway.wait_for(event=404)
            assert "wrong 0" not in str(line)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_password_that_is_wrong_and_stays_is_tried_once_by_all_tunnels_until_a_reload(file, workers):
    """Domains lock accounts, and tunnels come all day."""
    with Relay("new") as relay, through(relay, file=file, workers=workers) as gateway:
        for turn in (1, 2):
            assert all(b" 502 " in answer for answer in all_at_once(gateway, TUNNELS))
            assert all(b" 502 " in answer for answer in all_at_once(gateway, TUNNELS))
            assert relay.tried == ["old"] * turn
            gateway.process.send_signal(1)
            until(lambda turn=turn: len(gateway.events(109)) == turn)
        assert "not sent again" in gateway.wait_for(event=404, reason="relay-auth-withheld")["message"]
        relay.right = "old"
        assert all(b" 200 " in answer for answer in all_at_once(gateway, TUNNELS))


def test_a_worker_that_dies_while_it_tries_a_password_leaves_that_to_the_next(file):
    waits, goes_on = threading.Event(), threading.Event()

    def serve(connection):
        read_head(connection)
        if waits.is_set():
            connection.sendall(OPEN)
            echo(connection)
        else:
            waits.set()
            goes_on.wait(60)

    with Server(serve, port=PORT) as relay, through(relay, file=file, workers=2) as gateway, gateway.connect() as sock:
        sock.sendall(f"CONNECT {TARGET} HTTP/1.1\r\n\r\n".encode())
        assert waits.wait(30)
        for pid in gateway.workers:
            os.kill(pid, signal.SIGKILL)
        assert all(b" 200 " in answer for answer in all_at_once(gateway, TUNNELS))
        goes_on.set()


def test_the_next_relay_gets_what_the_first_one_taught(file):
    """A relay proxy is not asked again where it refused, and the password that it took is the one of all."""

    def meet(_password):
        file.write_text("new")

    with Relay("new", meet) as first, Relay("new") as second, through(first, second, file=file) as gateway:
        assert b" 200 " in all_at_once(gateway, 1)[0]
        first.right = None
        first.meet = None
        assert b" 502 " in all_at_once(gateway, 1)[0]
        assert first.tried == ["old", "new", "new"] and second.tried == []


def test_credentials_of_its_own_url_are_not_those_of_the_file(file):
    with Relay("right") as relay:
        file.write_text("right")
        url = f"http://{USER}:own@{relay.host}:{PORT}"
        flags = "--relay-proxy-username", USER, "--relay-proxy-password-file", str(file)
        with Gateway("--allowed-host", NAME, *flags, environment={"OGW_RELAY_PROXY": url}) as gateway:
            assert b" 502 " in all_at_once(gateway, 1)[0]
            assert relay.tried == ["own"]


def test_tunnels_that_were_dialing_when_a_reload_changed_the_password_find_it(tmp_path):
    waits, goes_on = threading.Event(), threading.Event()

    def meet(_password):
        waits.set()
        assert goes_on.wait(30)

    ini = tmp_path / "ogw.ini"
    ini.write_text("[ogw]\nrelay-proxy-password = old\n")
    with Relay("new", meet) as relay:
        words = "--relay-proxy", f"http://{relay.host}:{PORT}", "--relay-proxy-username", USER, "--config", str(ini)
        with Gateway("--allowed-host", NAME, *words) as gateway:
            answers = []
            thread = threading.Thread(target=lambda: answers.extend(all_at_once(gateway, 1)))
            thread.start()
            assert waits.wait(30)
            ini.write_text("[ogw]\nrelay-proxy-password = new\n")
            gateway.process.send_signal(1)
            gateway.wait_for(event=109)
            goes_on.set()
            thread.join(60)
            assert b" 200 " in answers[0]
            assert relay.tried == ["old", "new"]


def test_a_reload_reads_the_file_and_tunnels_that_were_dialing_find_the_new_password_too(file):
    waits, goes_on = threading.Event(), threading.Event()

    def meet(_password):
        waits.set()
        assert goes_on.wait(30)

    with Relay("new", meet) as relay, through(relay, file=file) as gateway:
        answers = []
        thread = threading.Thread(target=lambda: answers.extend(all_at_once(gateway, 1)))
        thread.start()
        assert waits.wait(30)
        file.write_text("new")
        gateway.process.send_signal(1)
        gateway.wait_for(event=109)
        goes_on.set()
        thread.join(60)
        assert b" 200 " in answers[0] and b" 200 " in all_at_once(gateway, 1)[0]
        assert relay.tried == ["old", "new", "new"]
