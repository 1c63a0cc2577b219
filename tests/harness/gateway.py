"""A real gateway process on a loopback address of its own, and what its log says."""

import collections
import contextlib
import itertools
import json
import os
import pathlib
import queue
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from harness.forks import Popen
from harness.lines import assert_valid
from harness.waiting import PATIENCE, until

from ogw.wire.place import place

# Servers of tests are on loopback, where no name of the world leads unasked.
ALLOW = ("--allowed-host", "127.0.0.0/8", "--allowed-target-network", "127.0.0.0/8")
ROOT = pathlib.Path(__file__).parent.parent.parent
CENSUS = re.compile(
    r"(?P<greenlets>\d+) greenlets \((?P<idle>\d+) idle\), (?P<tunnels>\d+) tunnels, (?P<pipes>\d+) pipes, "
    r"(?P<objects>\d+) objects"
)
_numbers = itertools.count(1)
_run = os.getpid() % 60000


def address():
    """A loopback address that no other test of this run uses: ports are never fought over."""
    number = next(_numbers)
    return (
        f"127.{100 + _run // 250 % 100}.{_run % 250}.{number}"
        if number < 250
        else f"127.{10 + number // 250 % 80}.{_run % 250}.{number % 250 + 1}"
    )


def absent_address(family="IPv4"):
    """One that no machine has (RFC 2544, RFC 3849), and that no other test of this machine uses."""
    number = next(_numbers) % 250
    return f"2001:db8::{_run:x}:{number:x}" if family == "IPv6" else f"198.{18 + _run // 250 % 2}.{_run % 250}.{number}"


def free_port(host):
    """Of those that the kernel gives no outgoing connection, as the tests beside this one make them all the time."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in random.sample(range(20000, 30000), 100):
        with contextlib.suppress(OSError), socket.create_server((host, port), family=family):
            return port
    raise AssertionError("no port is free")


def apart(folder):
    """Flags of a gateway that a test starts by hand: where no other gateway is and no other test looks."""
    return "--run-dir", str(folder), "--state-dir", str(folder), "--admin-address", ""


class Gateway:
    """`ogw run` with its log read line by line. Use as a context manager: it is stopped at the end.

    tls_rules  what most tests do not need: their servers speak plain bytes; None leaves the default
    workers    one, where a test does not ask for more; None leaves it to the configuration
    forgets    events that are counted in `counts` like all, but whose lines are not kept: there are millions
    leaves     names of settings that are left as they are, where a gateway of a test would have them otherwise
    stdout     where its standard output goes instead; then its lines are the test's to read
    """

    def __init__(
        self,
        *flags,
        listen=None,
        environment=None,
        command=(),
        program=None,
        tls_rules="off",
        workers=1,
        forgets=(),
        leaves=(),
        stdout=subprocess.PIPE,
    ):
        self.address = address() if listen is None else listen
        words = [] if listen == "" else ["--listen-address", self.address, "--listen-port", "8080"]
        words += ["--workers", str(workers)] if workers is not None else []
        self._folder = tempfile.TemporaryDirectory()
        self.run_dir = self._folder.name
        given = {flag.partition("=")[0] for flag in flags}
        defaults = {
            "run-dir": self.run_dir,
            "state-dir": self.run_dir,
            "admin-address": "",
            "log-every-refusal": "yes",
            "drain-delay": "0s",  # tests ask whether it is ready all the time, and wait for its end
        }
        for flag, value in ((f"--{name}", value) for name, value in defaults.items() if name not in leaves):
            if flag not in given:
                words += [flag, value]
        if tls_rules is not None:
            words += ["--tls-rules", tls_rules]
        self.lines = []
        self.counts = collections.Counter()
        self._forgets = forgets
        self.stderr = []
        self._new = queue.Queue()  # (place in `lines`, line)
        self._since = {}  # client's name -> how many lines there were before it connected
        self._reads = threading.Event()
        self._reads.set()
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("OGW_")}
        self.process = Popen(
            [*command, *(program or [sys.executable, "-m", "ogw", "run"]), *words, *flags],
            cwd=ROOT,
            env={**inherited, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        self._threads = [
            threading.Thread(target=self._read_log, daemon=True),
            threading.Thread(target=self._read_stderr, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self):
        started = self.wait_for(event=101)
        self.listen = [
            (host.strip("[]"), int(port)) for host, _, port in (a.rpartition(":") for a in started["listen"])
        ]
        return self

    def __exit__(self, *exception):
        self.stop()

    @property
    def pid(self):
        return self.process.pid

    @property
    def children(self):
        """The process ids of all that the supervisor started."""
        children = pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(child) for child in children]

    @property
    def workers(self):
        """The process ids of its workers."""
        return [child for child in self.children if not _title(child).startswith(("ogw: admin", "ogw: download"))]

    @property
    def admin(self):
        """The process id of the admin process, 0 while there is none."""
        return next((child for child in self.children if _title(child).startswith("ogw: admin")), 0)

    @property
    def url(self):
        return f"http://{self.address}:8080"

    def pause_reading(self):
        """Leave the log unread, as a reader that hangs does."""
        self._reads.clear()

    def go_on_reading(self):
        self._reads.set()

    def _read_log(self):
        for line in self.process.stdout or ():
            self._reads.wait()
            try:
                entry = json.loads(line)
            except ValueError:
                entry = {"unreadable": line}
            self.counts[entry.get("event")] += 1
            if entry.get("event") in self._forgets:
                continue
            self.lines.append(entry)
            self._new.put((len(self.lines) - 1, entry))
        self._new.put((0, None))

    def _read_stderr(self):
        self.stderr.extend(self.process.stderr)

    def wait_for(self, seconds=20, **fields):
        """The first log line, from the start on, that has these fields; each line is waited for, never slept for.

        Of a client, which `reach` has connected: the first since then. The kernel gives a port out again.
        """
        since = self._since.get(fields.get("client"), 0)
        for entry in self.lines[since:]:
            if _has(entry, fields):
                return entry
        until = time.monotonic() + seconds * PATIENCE
        while True:
            try:
                number, entry = self._new.get(timeout=max(0.001, until - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no line with {fields} in {self.lines[-20:]}, {self.stderr}") from None
            if entry is None:
                found = [line for line in self.lines[since:] if _has(line, fields)]
                if found:
                    return found[0]
                self._new.put((0, None))
                raise AssertionError(f"the gateway left without {fields}: {self.lines[-20:]}, {self.stderr}")
            if number >= since and _has(entry, fields):
                return entry

    def events(self, number):
        return [line for line in self.lines if line.get("event") == number]

    def closed(self, **fields):
        """The line of a tunnel that closed."""
        return self.wait_for(event=108, **fields)

    def connect(self):
        """A TCP connection to the gateway."""
        return self.reach(8080)

    def reach(self, port):
        """A TCP connection to one of its ports."""
        since = len(self.lines)
        sock = socket.create_connection((self.address, port), timeout=20 * PATIENCE)
        self._since[place(*sock.getsockname()[:2])] = since
        return sock

    def has_taken(self, port=8080):
        """Whether it has read all that its clients said."""
        local = f"{socket.inet_aton(self.address)[::-1].hex().upper()}:{port:04X}"
        table = map(str.split, pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:])
        return all(columns[4].endswith(":00000000") for columns in table if columns[1] == local)

    def ask(self, target, version="1.1", rest=b""):
        """A tunnel: (socket, answer's head and what came behind it)."""
        sock = self.connect()
        sock.sendall(f"CONNECT {target} HTTP/{version}\r\n\r\n".encode() + rest)
        return sock, read_head(sock)

    def tunnel(self, target, rest=b""):
        """An open tunnel's socket."""
        sock, head = self.ask(target, rest=rest)
        assert head.startswith(b"HTTP/1.1 200 "), head
        return sock

    def descriptors(self):
        """Open ones of all workers."""
        return sum(len(os.listdir(f"/proc/{worker}/fd")) for worker in self.workers)

    def memory(self):
        """Resident bytes that are the workers' own."""
        return sum(_private(worker) for worker in self.workers)

    def census(self):
        """What all workers hold, by kind: greenlets, idle ones of them, tunnels, pipes, objects. Needs level debug."""
        number = len(self.lines)
        self.process.send_signal(signal.SIGUSR1)

        def answers():
            said = [line.get("message", "") for line in list(self.lines[number:])]
            found = [match for message in said if (match := CENSUS.fullmatch(message))]
            return len(found) >= len(self.workers) and found

        told = until(answers, what=lambda: self.lines[number:])
        return {kind: sum(int(m[kind]) for m in told) for kind in CENSUS.groupindex}

    def stop(self, number=signal.SIGTERM, seconds=30):
        """Signal it, wait for its end, give its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the gateway did not stop: {self.lines[-10:]}, {self.stderr}") from None
        for thread in self._threads:
            thread.join(30 * PATIENCE)
        assert not any(thread.is_alive() for thread in self._threads), "a process that outlived it holds its output"
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process.stderr.close()
        self._folder.cleanup()
        assert not any("unreadable" in line for line in self.lines), self.lines
        assert not any("Traceback" in line for line in self.stderr), self.stderr
        assert_valid(self.lines)
        return code


def assert_no_gap(lines):
    """No line of any process was lost or torn: each numbers its own."""
    for process in {line["process"] for line in lines}:
        numbers = [line["sequence"] for line in lines if line["process"] == process]
        assert numbers == list(range(1, len(numbers) + 1))


def _private(pid):
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no Private_Dirty")


def _title(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def _has(entry, fields):
    return all(entry.get(name) == value for name, value in fields.items())


def read_head(sock):
    """What comes up to the blank line, or to the end."""
    head = b""
    while b"\r\n\r\n" not in head:
        piece = sock.recv(1)
        if not piece:
            break
        head += piece
    return head


def read_all(sock):
    """What comes up to the end."""
    pieces = []
    while piece := sock.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


def read_exactly(sock, size):
    got = bytearray()
    while len(got) < size:
        piece = sock.recv(min(1 << 16, size - len(got)))
        if not piece:
            break
        got += piece
    return bytes(got)
