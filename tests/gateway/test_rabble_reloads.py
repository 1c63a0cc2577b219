"""Clients and servers that do anything at any stage, while the configuration changes and tunnels are killed."""

import collections
import random
import sys
import threading
import time

import pytest
from harness.admin import ask, asked, metrics
from harness.gateway import Gateway, read_head
from harness.hellos import extension, hello
from harness.stages import ANSWER, ASKING, CERTIFICATE
from harness.upstreams import Server, reset

SOON = (
    "import sys; from ogw.tunnel import grounds; grounds.ENDS_SPREAD = 0.5; "
    "from ogw.cli.main import main; sys.exit(main(['run', *sys.argv[1:]]))"
)
LINES = (
    ("reload-rechecks-tunnels = yes", "reload-rechecks-tunnels = no"),
    ("127.0.0.0/8 no-server-name", "127.0.0.0/8 no-server-name until={soon}", "127.0.0.0/8", "192.0.2.1"),
    ("allowed-target-network = 127.0.0.0/8",) * 4 + ("log-interval = 300ms",),
    ("tls-rules = enforce", "tls-rules = report", "tls-min-version = 1.3"),
    ("allowed-client-certificate = agent-1", "allowed-client-certificate = agent-2", "denied-host ="),
    ("allowed-client = 127.0.0.0/8",) * 4 + ("allowed-client = 192.0.2.0/24",),
)


def configure(path):
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))
    chosen = [random.choice(lines).format(soon=soon) for lines in LINES]
    chosen[1] = f"allowed-host = {chosen[1]}"
    path.write_text("\n".join(["[ogw]", *chosen]) + "\n")


def serve(connection):
    what = random.random()
    if what < 0.3:
        time.sleep(what)
    if not connection.recv(1 << 16):
        return
    connection.sendall(ANSWER[:10] if what > 0.9 else random.choice([ANSWER, ASKING]))
    while what < 0.8 and (data := connection.recv(1 << 16)):
        connection.sendall(data)
        what = random.random()
    reset(connection)


def come(gateway, target, came, answered):
    """One client's story, cut or slowed down anywhere. Who resets before the gateway accepts leaves no line."""

    def at_times():
        what = random.random()
        if what < 0.1:
            raise ConnectionError
        if what < 0.3:
            time.sleep(what)

    sock = gateway.connect()
    sock.settimeout(5)
    name = "{}:{}".format(*sock.getsockname())
    came[name] += 1
    said = hello(None, extension(21, bytes(random.choice([10, 30_000]))))
    try:
        sock.sendall(b"CONNECT ")
        at_times()
        sock.sendall(f"{target} HTTP/1.1\r\n\r\n".encode())
        at_times()
        head = read_head(sock)
        answered[name] += bool(head)
        if b" 200 " in head:
            for piece in (said[:20], said[20:], CERTIFICATE, b"x" * 1000, b"y"):
                sock.sendall(piece)
                at_times()
            while sock.recv(1 << 16):
                at_times()
    except OSError:
        pass
    reset(sock) if random.random() < 0.5 else sock.close()


@pytest.mark.parametrize("seconds", [2, pytest.param(60, marks=pytest.mark.long)])
def test_accounts_add_up_whatever_happens_while_the_configuration_changes(seconds, tmp_path):
    ini = tmp_path / "ogw.ini"
    configure(ini)
    came, answered, over = collections.Counter(), collections.Counter(), threading.Event()
    flags = ("--config", str(ini), "--log-interval", "400ms")
    with (
        Server(serve) as server,
        Gateway(*flags, workers=2, program=[sys.executable, "-c", SOON], tls_rules=None) as gateway,
    ):

        def clients():
            while not over.is_set():
                come(gateway, server.target, came, answered)

        threads = [threading.Thread(target=clients, daemon=True) for _turn in range(20)]
        for thread in threads:
            thread.start()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            configure(ini)
            assert ask(gateway, "/reload", "POST")[0] == 200
            for one in asked(gateway, "/tunnels")["tunnels"][:1]:
                ask(gateway, f"/kill?tunnel={one['tunnel']}", "POST")
        over.set()
        for thread in threads:
            thread.join(30)
        until = time.monotonic() + 30
        lines = collections.Counter()
        while metrics(gateway)["ogw_tunnels_active"] or answered - lines:
            assert time.monotonic() < until, answered - lines
            time.sleep(0.1)
            told = [line for line in list(gateway.lines) if line.get("event") == 108 or "status" in line]
            lines = collections.Counter(line["client"] for line in told)
        assert not lines - came
        assert metrics(gateway)["ogw_clients_connected"] == 0
        assert not gateway.events(400) and not gateway.events(405)
