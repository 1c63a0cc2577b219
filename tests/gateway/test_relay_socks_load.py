"""A thousand tunnels over real SOCKS proxies, fifty at once, whose password becomes another one in the middle."""

import contextlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness.gateway import Gateway, read_exactly
from harness.relays import PORT
from harness.socks import Dante, Microsocks
from harness.upstreams import Server, echo

NAME = "www.bench.example"
USER, OLD, NEW = "till", "s3cret", "an0ther"
TUNNELS, AT_ONCE = 1000, 50

pytestmark = [pytest.mark.long]


class Either(Server):
    """The same place for two proxies: microsocks has one password as long as it runs."""

    def __init__(self, relay):
        super().__init__(self._join, port=PORT)
        self.relay = relay

    def _join(self, connection):
        with socket.create_connection((self.relay.host, PORT)) as other:
            down = threading.Thread(target=_copy, args=(other, connection), daemon=True)
            down.start()
            _copy(connection, other)
            down.join()

    @property
    def place(self):
        return f"{self.host}:{PORT}"


def _copy(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def run(place, file, change):
    """How many tunnels were asked for by 50 clients, and what went wrong; `change` is called when half are through."""
    words = "--allowed-host", NAME, "--relay-proxy", f"socks5h://{place}", "--dial-timeout", "60s"
    login = "--relay-proxy-username", USER, "--relay-proxy-password-file", str(file)
    done, wrong, half = [], [], threading.Event()

    with Gateway(*words, *login, workers=2) as gateway:

        def ask(number):
            try:
                sock, head = gateway.ask(f"{NAME}:443", rest=b"%4d" % number)
                with sock:
                    assert head.startswith(b"HTTP/1.1 200 "), head
                    assert read_exactly(sock, 4) == b"%4d" % number
            except (AssertionError, OSError) as error:
                wrong.append(error)
            done.append(number)
            if len(done) >= TUNNELS // 2:
                half.set()

        with ThreadPoolExecutor(AT_ONCE) as clients:
            asking = [clients.submit(ask, number) for number in range(TUNNELS)]
            assert half.wait(300)
            change()
            for one in asking:
                one.result(300)
        assert not gateway.events(404) and not gateway.events(403)
    return len(done), wrong


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "password"
    file.write_text(OLD)
    return file


def renamed_into(file, text):
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(file)


def test_dante(file):
    with Server(echo, port=443) as upstream, Dante({NAME: upstream.host}, {USER: OLD}) as relay:

        def change():
            renamed_into(file, NEW)
            relay.set_users({USER: NEW})

        assert run(relay.place, file, change) == (TUNNELS, [])


def test_microsocks(file):
    with Server(echo, port=443) as upstream:
        names = {NAME: upstream.host}
        with Microsocks(names, (USER, OLD)) as old, Microsocks(names, (USER, NEW)) as new, Either(old) as relay:

            def change():
                renamed_into(file, NEW)
                relay.relay = new

            assert run(relay.place, file, change) == (TUNNELS, [])
