"""ogw as a service of a booted Debian: its configuration, its unit, and clients on its network."""

import json
import signal
import socket

from harness.gateway import read_head
from harness.waiting import PATIENCE, until

INI = "/etc/ogw/ogw.ini"
DROP_IN = "/etc/systemd/system/ogw.service.d/of-the-test.conf"
# Any host of its loopback, and bytes that are no TLS.
OPEN = {"allowed-host": "127.0.0.0/8", "allowed-target-network": "127.0.0.0/8", "tls-rules": "off"}


class Service:
    """The unit `ogw` of a machine (harness/booted.py) with the root `copy` (harness/roots.py)."""

    def __init__(self, machine, copy):
        self.machine = machine
        self._copy = copy

    def write_ini(self, more="", **settings):
        """All that `OPEN` says, and this; `more` is the text of further lines."""
        values = {**OPEN, **{name.replace("_", "-"): value for name, value in settings.items()}}
        lines = [f"{name} = {value}" for name, value in values.items()]
        self._copy.write(INI, "\n".join(["[ogw]", *lines, more, ""]))

    def begin(self, *directives, more="", **settings):
        """Start it anew with this configuration, and these lines for the section [Service] of its unit."""
        self.write_ini(more, **settings)
        self._copy.write(DROP_IN, "\n".join(["[Service]", *directives, ""]))
        self.machine.sh("systemctl daemon-reload; systemctl reset-failed ogw; systemctl restart ogw")
        assert self.state("ActiveState") == "active"

    def state(self, name):
        """One property of the unit."""
        return self.machine.unit("ogw", name)[name]

    def becomes(self, name, *texts):
        """Wait until a property is one of these, or, with a text that ends with "...", begins so."""
        last = []

        def does():
            last[:] = [self.state(name)]
            return any(last[0] == text or (text.endswith("...") and last[0].startswith(text[:-3])) for text in texts)

        until(does, what=lambda: f"{name} is {last[0]!r}; {self.said()}")
        return last[0]

    def said(self):
        """The last that it, and systemd of it, said."""
        return self.machine.run("journalctl", "--unit=ogw", "--lines=20").stdout

    @property
    def pid(self):
        """Of its supervisor, as it is numbered in there."""
        return int(self.state("MainPID"))

    @property
    def workers(self):
        """Of its workers."""
        found = self.machine.sh("grep -al '^ogw: worker' /proc/[0-9]*/cmdline", check=False).stdout.split()
        return [int(path.split("/")[2]) for path in found]

    def kill(self, number, pid):
        self.machine.sh(f"kill -{number:d} {pid}")

    def crash(self, number=signal.SIGKILL):
        """Signal its supervisor so that systemd starts another; returns once that is there, if not ready."""
        before = self.pid
        self.kill(number, before)
        until(lambda: self.pid not in (0, before), what=self.said)

    def lines(self, **fields):
        """Its log lines as the journal has them, with the journal's own PRIORITY."""
        said = [json_of(entry) | {"PRIORITY": int(entry["PRIORITY"])} for entry in self.machine.journal("-u", "ogw")]
        return [line for line in said if fields.items() <= line.items()]

    # Clients.

    def connect(self, port=8080):
        with self.machine.network():
            return socket.create_connection(("127.0.0.1", port), timeout=20 * PATIENCE)

    def ask(self, target, port=8080):
        """A tunnel: (socket, answer's head)."""
        sock = self.connect(port)
        sock.sendall(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
        return sock, read_head(sock)

    def passes(self, target, port=8080):
        """Whether a tunnel to a server that says everything back does."""
        sock, head = self.ask(target, port)
        with sock:
            if not head.startswith(b"HTTP/1.1 200 "):
                return False
            sock.sendall(b"hello")
            return sock.recv(5) == b"hello"


def json_of(entry):
    """What a line of the journal says, where it is one of our log; nothing where systemd or a command said it."""
    try:
        said = json.loads(entry["MESSAGE"])
    except (ValueError, TypeError):
        return {}
    return said if isinstance(said, dict) else {}
