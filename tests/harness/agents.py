"""Agents on a machine of a network: each uploads something every period, from an address of its own.

What becomes of every upload is told, as a line of JSON; `Agents` starts this file as a program of that machine, with
the load that tools/agents is made of, and reads it.
"""

import contextlib
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from typing import NamedTuple, Optional

from harness.netns import ROOT
from harness.waiting import until
from measuring.loop import Loop
from measuring.session import Session
from measuring.tunnel import Refused, Way, connect, new_socket, open_tunnel

PERIOD, SIZE, LASTING = 6.0, 20_000, 20
PATIENCE = 30.0  # seconds of one upload
BEAT = 0.25  # seconds between two messages of a tunnel that lasts
SILENT = 20 * BEAT  # one that gets no answer for so long is dead
PATHS = os.pathsep.join(str(ROOT / folder) for folder in ("tests", "tools"))
MESSAGE = b"\x17\x03\x03\x00\x10" + bytes(16)


class Upload(NamedTuple):
    """Moments of time.monotonic(). `opened`: its CONNECT was answered with 200; `why` it broke, "" where it did not."""

    agent: int
    began: float
    opened: Optional[float]
    ended: float
    why: str


class Ended(NamedTuple):
    """A tunnel that was to last."""

    number: int
    moment: float
    why: str


def address_of(agent):
    """Of harness/lan.py's MORE."""
    return f"10.2.{agent // 250}.{agent % 250 + 1}"


class Agents:
    """So many of them on a machine, and LASTING tunnels to an echo. Use as a context manager.

    uploads  all that are over, in the order of their ends
    ended    tunnels that were to last
    """

    def __init__(self, machine, gateway, count, origin):
        self.uploads, self.ended, self._said = [], [], []
        self._process = subprocess.Popen(
            [*machine.first, sys.executable, "-m", "harness.agents", *map(str, (*gateway, count, *origin))],
            env={**os.environ, "PYTHONPATH": PATHS},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._read, self._read_errors)]
        for thread in self._threads:
            thread.start()

    def _read(self):
        for line in self._process.stdout:
            kind, *fields = json.loads(line)
            self.ended.append(Ended(*fields)) if kind == "ended" else self.uploads.append(Upload(*fields))

    def _read_errors(self):
        self._said.extend(self._process.stderr)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._process.terminate()
        self._process.wait(20)
        for thread in self._threads:
            thread.join(20)
        self._process.stdout.close()
        self._process.stderr.close()
        assert not self._said, self._said

    @property
    def broken(self):
        return [one for one in self.uploads if one.why]

    def wait_for(self, count):
        """Until so many uploads that begin from now on are done."""
        now = time.monotonic()

        def enough():
            assert self._process.poll() is None, self._said
            return sum(one.began >= now and not one.why for one in self.uploads) >= count

        until(enough, what=lambda: (len(self.uploads), self.broken[-5:], self._said))


# The program.


class Lasting:
    """A tunnel that is kept open and talks; another one takes its place when it ended."""

    def __init__(self, loop, number, way, name, context):
        self._loop, self._number, self._way, self._name, self._context = loop, number, way, name, context
        self._sock = None
        self._is_open = False
        self._heard = 0.0

    def turn(self, now):
        """Go on with it; called every BEAT."""
        if self._sock is None:
            self._sock = new_socket(self._way)
            self._loop.run(self._sock, self._open(self._sock))
        elif self._is_open:
            try:
                self._talk(now)
            except OSError as error:
                tell("ended", self._number, time.monotonic(), repr(error))
                self._close()

    def _open(self, sock):
        try:
            connect(sock, self._way, address_of(self._number))
            rest = yield from open_tunnel(sock, self._way)
            yield from Session(sock, self._context, self._name).handshake(rest)
            self._is_open, self._heard = True, time.monotonic()
        except (OSError, Refused):  # such as while no gateway is there: the next turn tries again
            self._close()

    def _talk(self, now):
        with contextlib.suppress(BlockingIOError):
            self._sock.send(MESSAGE)
        try:
            if not self._sock.recv(65536):
                raise ConnectionError("closed")
            self._heard = now
        except BlockingIOError:
            if now - self._heard > SILENT:
                raise TimeoutError("no answer any more") from None

    def _close(self):
        self._sock.close()
        self._sock, self._is_open = None, False


class Crowd:
    """The agents; the uploads of all are spread evenly over the period. One that is busy still leaves its turn out."""

    def __init__(self, loop, way, name, context, count):
        self._loop, self._way, self._name, self._context, self._count = loop, way, name, context, count
        head = f"POST /upload HTTP/1.1\r\nHost: {name}\r\nContent-Length: {SIZE}\r\nConnection: close\r\n\r\n"
        self._request = memoryview(head.encode() + os.urandom(SIZE))
        self._began, self._next = time.monotonic(), 0
        self._busy = set()

    def begin_all_due(self):
        """Seconds until the next one is."""
        while (left := self._began + self._next * PERIOD / self._count - time.monotonic()) <= 0:
            agent = self._next % self._count
            self._next += 1
            if agent not in self._busy:
                self._busy.add(agent)
                sock = new_socket(self._way)
                self._loop.run(sock, self._run(sock, agent))
        return left

    def _run(self, sock, agent):
        began, told = time.monotonic(), []
        try:
            with sock:
                yield from self._deliver(sock, agent, told)
            why = ""
        except (OSError, Refused) as error:
            why = str(error) if isinstance(error, Refused) else repr(error)
        self._busy.discard(agent)
        tell("upload", agent, began, told[0] if told else None, time.monotonic(), why)

    def _deliver(self, sock, agent, told):
        connect(sock, self._way, address_of(agent))
        rest = yield from open_tunnel(sock, self._way)
        told.append(time.monotonic())
        session = Session(sock, self._context, self._name)
        yield from session.handshake(rest)
        yield from session.send(self._request)
        if not (yield from session.receive(bytearray(16 * 1024))):
            raise ConnectionError("closed before an answer")


def tell(*fields):
    print(json.dumps(fields), flush=True)


def main(host, port, count, name, uploads, echo):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    gateway, loop = (host, int(port)), Loop()
    crowd = Crowd(loop, Way(gateway, f"{name}:{uploads}"), name, context, int(count))
    lasting = [Lasting(loop, int(count) + one, Way(gateway, f"{name}:{echo}"), name, context) for one in range(LASTING)]
    beat = time.monotonic()
    while True:
        loop.turn(min(crowd.begin_all_due(), BEAT))
        if (now := time.monotonic()) >= beat:
            beat += BEAT
            loop.end_older(PATIENCE)
            for one in lasting:
                one.turn(now)


if __name__ == "__main__":
    main(*sys.argv[1:])
