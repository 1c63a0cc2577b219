"""A gateway that hands over to successors: the harness follows the process that serves."""

import contextlib
import os
import pathlib
import signal
import socket
import threading

from harness.gateway import Gateway, read_exactly
from harness.waiting import until

# What a successor does otherwise than who started it, as code before the gateway begins; both are the same program.
PROGRAM = """
import os, sys
SUCCESSOR = "_OGW_PREDECESSOR" in os.environ
{code}
from ogw.cli.main import main
sys.exit(main(['run', *sys.argv[1:]]))
"""


def program(code):
    """The command of a gateway with this code in front; SUCCESSOR says in whom it runs."""
    import sys

    return [sys.executable, "-c", PROGRAM.format(code=code)]


def exchange(sock, data=b"x"):
    """Through a tunnel to an echo."""
    sock.sendall(data)
    assert read_exactly(sock, len(data)) == data


def talk(gateway, target):
    """A tunnel to an echo, opened, used and closed."""
    with gateway.tunnel(target) as sock:
        exchange(sock, b"some bytes")


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Upgraded(Gateway):
    """One whose `pid` is that of the process that serves, also after upgrades.

    pids  of all that served, the first one first
    """

    def __init__(self, *flags, **more):
        super().__init__(*flags, **more)
        self.pids = [self.process.pid]

    @property
    def pid(self):
        return self.pids[-1]

    def send(self, number):
        """A signal to the one that serves."""
        os.kill(self.pid, number)

    def successor(self):
        """The process id of the one that the log tells of first, once it is started."""

        def told():
            return [line["message"] for line in self.events(100) if line["message"].startswith("an upgrade begins")]

        return int(until(told)[0].split()[4])

    def follow(self):
        """Until one more successor serves: what is said of it in the log."""
        count = len(self.pids)
        until(lambda: len(self.events(113)) >= count, what=lambda: self.lines[-10:])
        line = self.events(113)[count - 1]
        self.pids.append(int(line["message"].split()[1]))
        until(lambda: len(self.events(101)) >= count + 1, what=lambda: self.lines[-10:])
        return line

    def upgrade(self):
        """By a signal."""
        self.send(signal.SIGUSR2)
        return self.follow()

    def failed(self, count=1):
        """The last line of an upgrade that failed, once there are so many."""
        until(lambda: len(self.events(406)) >= count, what=lambda: self.lines[-10:])
        return self.events(406)[count - 1]["message"]

    def wait_for_end_of(self, pid):
        """Of a predecessor; and until its successor knows."""
        until(lambda: not is_alive(pid), what=lambda: self.lines[-10:])
        self.wait_for(event=100, message=f"the predecessor (process {pid}) has ended")

    def stop(self, number=signal.SIGTERM, seconds=30):
        """The exit code of the first process; who serves is told to end, and all have."""
        # Also one that a test which failed has not followed.
        self.pids += [int(line["message"].split()[1]) for line in self.events(113)[len(self.pids) - 1 :]]
        if len(self.pids) > 1:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
            until(lambda: not is_alive(self.pid), what=lambda: self.lines[-10:])
        return super().stop(number, seconds)


@contextlib.contextmanager
def systemd(folder):
    """The socket that systemd would listen on: (its path for NOTIFY_SOCKET, a list that grows by each line)."""
    path = pathlib.Path(folder) / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        said = []

        def hear():  # at once: what finds no room in its queue is lost
            while (message := sock.recv(65536)) != b"over":
                said.extend(message.decode().split("\n"))

        thread = threading.Thread(target=hear, daemon=True)
        thread.start()
        try:
            yield str(path), said
        finally:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
                own.sendto(b"over", str(path))
            thread.join(10)
