"""Values that a setting can have: the least and the greatest one, and a gateway that is given them in an INI file."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import time

from harness.admin import ask
from harness.gateway import ROOT, read_exactly, read_head

READ_TIMEOUTS = {"x86_64": {232: 3, 281: 3, 7: 2}}  # epoll_wait, epoll_pwait, poll: which argument is milliseconds
NAME = "bounds.example"


def ini(values):
    """The text of an INI file; a list's values are a list."""
    lines = ["[ogw]"]
    for name, value in values.items():
        lines += [f"{name} =", *(f"    {one}" for one in value)] if isinstance(value, list) else [f"{name} = {value}"]
    return "\n".join(lines) + "\n"


class Bounded:
    """`ogw run` with nothing but an INI file, whatever that does to its log. Use as a context manager.

    It says that it is ready, and that it stops, as systemd is told.
    """

    def __init__(self, folder, values, authority):
        self._folder = folder
        self._authority = authority
        self.place = "127.0.0.1", 0
        self.run_dir = values["run-dir"]
        self.place = _first(values["listen-address"]), int(values["listen-port"])
        self._ini = folder / "ogw.ini"
        self._ini.write_text(ini(values))
        self._told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._told.bind(str(folder / "notify"))
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("OGW_")}
        self._out = (folder / "out").open("wb")
        self._err = (folder / "err").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ogw", "run", "--config", str(self._ini)],
            cwd=ROOT,
            env={**inherited, "NOTIFY_SOCKET": str(folder / "notify")},
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            process_group=0,
        )

    def __enter__(self):
        try:
            self._wait_for("READY=1")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind, *exception):
        try:
            if kind is None:
                self._stop()
        finally:
            self._end()

    def _stop(self):
        """At once: the second signal says that nobody wants to wait for a drain."""
        self._forget()
        self.process.send_signal(signal.SIGTERM)
        self._wait_for("STOPPING=1")
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        assert code in (0, -signal.SIGTERM), (code, self.said)  # the second may come when it has left already
        assert not any(word in self.said for word in ("Traceback", "OGW-400", '"event": 400')), self.said

    def _end(self):
        self.process.kill()
        self.process.wait()
        for one in (self._told, self._out, self._err):
            one.close()

    @property
    def said(self):
        """Both of its outputs."""
        return "".join((self._folder / name).read_text(errors="replace") for name in ("out", "err"))

    def _forget(self):
        """What it said so far: its queue has room for ten datagrams, and one more is lost."""
        self._told.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._told.recv(4096)

    def _wait_for(self, word):
        until = time.monotonic() + 60
        self._told.settimeout(0.1)
        while True:
            try:
                if word in self._told.recv(4096).decode().split("\n"):
                    return
            except TimeoutError:
                assert self.process.poll() is None, f"it ended: {self.said}"
            assert time.monotonic() < until, f"no {word}: {self.said}"

    def reload(self, values):
        """All of it is taken."""
        self._ini.write_text(ini(values))
        status, _headers, body = ask(self, "/reload", "POST")
        assert (status, json.loads(body)["mistakes"]) == (200, []), body

    @property
    def children(self):
        """Process ids of its workers and its admin process."""
        return [
            int(one)
            for one in pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    @property
    def workers(self):
        return [pid for pid in self.children if b"worker" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()]

    def kill_a_worker(self):
        """And wait until there is another."""
        worker = self.workers[0]
        os.kill(worker, signal.SIGKILL)
        until = time.monotonic() + 60
        while worker in self.children:
            assert time.monotonic() < until and self.process.poll() is None, self.said
            time.sleep(0.01)

    def passes_a_tunnel(self):
        """TLS through a tunnel. The least times are too short for a busy machine: it is tried again, a while long."""
        until = time.monotonic() + 60
        while True:
            try:
                return self._tunnel()
            except (OSError, AssertionError) as error:
                assert self.process.poll() is None, f"it ended: {self.said}"
                assert time.monotonic() < until, f"no tunnel: {error!r}; {self.said}"
                time.sleep(0.02)

    def _tunnel(self):
        context = ssl.create_default_context()
        self._authority.configure_trust(context)
        context.set_ecdh_curve("prime256v1")  # alone: the ClientHello of OpenSSL 3.5 has keys of more than a KiB
        with socket.create_connection(self.place, timeout=20) as sock:
            sock.sendall(f"CONNECT {NAME}:443 HTTP/1.1\r\n\r\n".encode())
            head = read_head(sock)
            assert head.startswith(b"HTTP/1.1 200 "), head
            with context.wrap_socket(sock, server_hostname=NAME) as tls:
                tls.sendall(b"hello")
                assert read_exactly(tls, 5) == b"hello"

    def waits(self):
        """Milliseconds that its threads wait for in epoll and poll just now; -1 is for ever. None: not to be seen."""
        known = READ_TIMEOUTS.get(os.uname().machine)
        found = []
        for pid in [self.process.pid, *self.children]:
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                try:
                    words = (task / "syscall").read_text().split()
                except OSError:
                    return None
                if known is None:
                    return None
                if words[0].isdigit() and int(words[0]) in known:
                    number = int(words[1 + known[int(words[0])]], 16) & 0xFFFFFFFF
                    found.append(number - (1 << 32) if number >> 31 else number)
        return found


def _first(addresses):
    one = addresses[0] if isinstance(addresses, list) else addresses
    return one.split(",")[0].strip()


def tls_echo(context):
    """Says back what it hears inside TLS."""

    def serve(connection):
        with context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=True) as tls:
            while data := tls.recv(1 << 16):
                tls.sendall(data)

    return serve
