"""The stages of a tunnel, each of which a test can stop at, and the servers that let it."""

import contextlib
import fcntl
import socket
import struct
import threading

from harness.admin import asked, metrics
from harness.certificates import with_common_names
from harness.gateway import read_all, read_exactly, read_head
from harness.hellos import certificates, hello, message, records, server_hello
from harness.upstreams import Server, reset
from harness.waiting import until

CERTIFICATE_REQUEST, SERVER_HELLO_DONE = 13, 14
ANSWER = records(server_hello(0x0303))
ASKING = ANSWER + records(message(CERTIFICATE_REQUEST, b"\x01\x01\0\0\0\0") + message(SERVER_HELLO_DONE, b""))
CERTIFICATE = records(certificates(with_common_names("agent-1")))
SECONDS = 20.0
OPEN = "open"


class Clogged(Server):
    """Its queue is full: who connects waits, until it is told to accept."""

    def __init__(self, serve):
        super().__init__(serve, backlog=0)
        self._accepts = False
        self._fillers = []

    def __enter__(self):
        with contextlib.suppress(TimeoutError):
            while True:
                self._fillers.append(socket.socket())
                self._fillers[-1].settimeout(0.2)
                self._fillers[-1].connect((self.host, self.port))
        return self

    def accept(self):
        for filler in self._fillers:
            filler.close()
        if not self._accepts:
            self._accepts = True
            super().__enter__()

    def __exit__(self, *exception):
        self.accept()
        super().__exit__(*exception)


class Stages:
    """A gateway and what its tunnels lead to. Each stage is a generator: it yields once a tunnel has come so far, goes
    on after the reload, and yields how the tunnel ended.
    """

    def __init__(self, gateway, dns, servers):
        self.gateway, self.dns, self.servers = gateway, dns, servers
        self.names = []
        self._socks = []

    def connect(self):
        sock = self.gateway.connect()
        self._socks.append(sock)
        self.names.append("{}:{}".format(*sock.getsockname()))
        return sock, self.names[-1]

    def ask(self, stage, rest=b""):
        sock, name = self.connect()
        sock.sendall(head(stage) + rest)
        return sock, name

    def state(self, name):
        return next((one["state"] for one in asked(self.gateway, "/tunnels")["tunnels"] if one["client"] == name), "")

    def ended(self, name):
        return self.gateway.closed(client=name)["reason"]

    def go_on(self, sock, name, rest, answer=ANSWER, last=b"ping"):
        """Say the rest of the handshake, and a word behind it: "open", or how it ended."""
        try:
            sock.sendall(rest)
            if read_exactly(sock, len(answer)) == answer:
                sock.sendall(last)
                if read_exactly(sock, len(last)) == last:
                    sock.close()
                    assert self.ended(name) == "client-closed"
                    return OPEN
        except ConnectionError:
            pass
        sock.close()
        return self.ended(name)

    def answered(self, sock, name, stage):
        """What the answer says is the end of it, or it goes on."""
        status = read_head(sock).partition(b"\r\n")[0]
        if status.startswith(b"HTTP/1.1 200 "):
            return self.go_on(sock, name, hello(f"{stage}.bench.example".encode()))
        sock.close()
        return status.rpartition(b": ")[2].decode()

    def opened(self, stage):
        sock, name = self.ask(stage)
        assert read_head(sock).startswith(b"HTTP/1.1 200 ")
        return sock, name

    def silent(self):
        sock, name = self.connect()
        yield
        sock.sendall(head("silent"))
        yield self.answered(sock, name, "silent")

    def half_head(self):
        sock, name = self.connect()
        sock.sendall(head("half-head")[:20])
        yield
        sock.sendall(head("half-head")[20:])
        yield self.answered(sock, name, "half-head")

    def resolving(self):
        sock, name = self.ask("resolving")
        until(lambda: any(asked[0] == "resolving.bench.example" for asked in self.dns.asked))
        yield
        self.dns.held.append(True)
        yield self.answered(sock, name, "resolving")

    def dialing(self):
        sock, name = self.ask("dialing")
        until(lambda: self.state(name) == "dialing")
        yield
        self.servers["dialing"].accept()
        yield self.answered(sock, name, "dialing")

    def before_hello(self):
        sock, name = self.opened("before-hello")
        yield
        yield self.go_on(sock, name, hello(b"before-hello.bench.example"))

    def half_hello(self):
        sock, name = self.opened("half-hello")
        sock.sendall(hello(b"half-hello.bench.example")[:50])
        yield
        yield self.go_on(sock, name, hello(b"half-hello.bench.example")[50:])

    def server_hello(self):
        sock, name = self.opened("server-hello")
        sock.sendall(hello(b"server-hello.bench.example"))
        until(self.servers["server-hello"].heard.is_set)
        yield
        self.servers["server-hello"].go.set()
        yield self.go_on(sock, name, b"")

    def certificate(self):
        sock, name = self.opened("certificate")
        sock.sendall(hello(b"certificate.bench.example"))
        assert read_exactly(sock, len(ASKING)) == ASKING
        yield
        yield self.go_on(sock, name, b"", b"", CERTIFICATE)

    def certificate_seen(self):
        sock, name = self.opened("certificate-seen")
        sock.sendall(hello(b"certificate-seen.bench.example"))
        assert read_exactly(sock, len(ASKING)) == ASKING
        sock.sendall(CERTIFICATE)
        assert read_exactly(sock, len(CERTIFICATE)) == CERTIFICATE
        yield
        yield self.go_on(sock, name, b"", b"")

    def open(self):
        sock, name = self.opened("open")
        sock.sendall(hello(b"open.bench.example"))
        assert read_exactly(sock, len(ANSWER)) == ANSWER
        yield
        yield self.go_on(sock, name, b"", b"")

    def half_closed(self):
        sock, name = self.opened("half-closed")
        sock.sendall(hello(b"half-closed.bench.example"))
        assert read_exactly(sock, len(ANSWER)) == ANSWER
        sock.shutdown(socket.SHUT_WR)
        until(self.servers["half-closed"].heard.is_set)
        yield
        self.servers["half-closed"].go.set()
        with contextlib.suppress(ConnectionError):
            if read_all(sock) == b"late":
                assert self.ended(name) == "client-closed"
                yield OPEN
        yield self.ended(name)

    def lingering(self):
        sock, _name = self.connect()
        sock.sendall(b"CONNECT refused.test:443 HTTP/1.1\r\n\r\n")
        status = read_head(sock).partition(b"\r\n")[0]
        yield
        sock.close()
        yield status.rpartition(b": ")[2].decode()

    def reset(self):
        sock, name = self.opened("reset")
        sock.sendall(hello(b"reset.bench.example"))
        assert read_exactly(sock, len(ANSWER)) == ANSWER
        sock.sendall(b"x" * 1_000_000)
        # TIOCOUTQ: the gateway has it all, and can send its upstream no more than a part.
        until(lambda: not struct.unpack("i", fcntl.ioctl(sock, 0x5411, b"\0\0\0\0"))[0])
        reset(sock)
        until(lambda: self.state(name) == "closing")
        yield
        self.servers["reset"].go.set()
        assert self.gateway.closed(client=name)["bytes_up"] > 100_000
        yield self.ended(name)

    def relay(self, stage):
        sock, name = self.ask(stage)
        until(lambda: self.state(name) == "dialing")
        if stage != "relay-connect":
            until(self.servers["relay"].heard.is_set)
        yield
        self.servers["relay"].go.set()
        if stage == "relay-connect":
            self.servers["relay"].accept()
        yield self.answered(sock, name, stage)

    def run(self, stages, reload):
        """{stage: how it ended}."""
        running = {name: stage() for name, stage in stages.items()}
        for stage in running.values():
            next(stage)
        reload()
        outcomes = {name: next(stage) for name, stage in reversed(running.items())}
        for sock in self._socks:
            sock.close()
        return outcomes

    def closing_lines(self):
        return [one for one in list(self.gateway.lines) if one.get("event") == 108 or "status" in one]

    def assert_accounts_add_up(self):
        """Each tunnel has one line that closes it, and none is counted any more."""
        until(lambda: metrics(self.gateway)["ogw_tunnels_active"] == 0)
        assert metrics(self.gateway)["ogw_clients_connected"] == 0
        until(lambda: len(self.closing_lines()) >= len(self.names))
        assert sorted(one["client"] for one in self.closing_lines()) == sorted(self.names)
        assert not self.gateway.events(400)


def head(stage):
    return f"CONNECT {stage}.bench.example:443 HTTP/1.1\r\n\r\n".encode()


def speaking(answer, wait=False, half_close=False, late=False):
    """A server that answers a ClientHello and says back what comes behind it.

    wait        for `go` before it answers
    half_close  say "late" once the client has closed and `go` is set
    late        read nothing more before `go` is set
    """
    heard, go = threading.Event(), threading.Event()

    def serve(connection):
        if not connection.recv(1 << 16):
            return
        if wait:
            heard.set()
            go.wait(SECONDS)
        connection.sendall(answer)
        if late:
            go.wait(SECONDS)
        while data := connection.recv(1 << 16):
            if not late:
                connection.sendall(data)
        if half_close:
            heard.set()
            go.wait(SECONDS)
            connection.sendall(b"late")

    serve.heard, serve.go = heard, go
    return serve


def relaying(serve, context=None, stage=""):
    """A relay proxy that opens everything, and is itself what it leads to; it waits for `go` at a stage."""
    heard, go = threading.Event(), threading.Event()

    def relay(connection):
        if stage == "relay-tls":
            heard.set()
            go.wait(SECONDS)
        with connection if context is None else context.wrap_socket(connection, server_side=True) as leg:
            if not read_head(leg):
                return
            if stage == "relay-answer":
                heard.set()
                go.wait(SECONDS)
            leg.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            serve(leg)

    relay.heard, relay.go = heard, go
    return relay


@contextlib.contextmanager
def started(kind, serve, **more):
    with kind(serve, **more) as server:
        server.heard, server.go = getattr(serve, "heard", None), getattr(serve, "go", None)
        try:
            yield server
        finally:
            if server.go is not None:
                server.go.set()
