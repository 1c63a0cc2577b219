"""The probes of many load balancers at once: connections that are closed as soon as they are there."""

import os
import socket
import struct
import subprocess
import sys
import time

from harness.agents import PATHS
from harness.netns import ROOT
from harness.upstreams import reset

RATE, SECONDS = 1000, 10
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_ADDRESSES = socket.inet_aton("10.2.0.1") + socket.inet_aton("10.1.0.5") + struct.pack("!HH", 40000, 8080)
# What each sends before it closes, by the name of its kind.
KINDS = {
    "plain": b"",
    "local": _SIGNATURE + b"\x20\x00\0\0",  # as HAProxy's checks: "for nobody"
    "header": _SIGNATURE + b"\x21\x11\0\x0c" + _ADDRESSES,
    "line": b"PROXY TCP4 10.2.0.1 10.1.0.5 40000 8080\r\n",
}


def storm(place, *kinds):
    """RATE of these a second, each in its turn, for SECONDS, from a process of its own: how late the latest was."""
    done = subprocess.run(
        [sys.executable, "-m", "harness.storm", *map(str, place), *kinds],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": PATHS},
        capture_output=True,
        text=True,
        timeout=10 * SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def main(host, port, *kinds):
    began, late = time.monotonic(), 0.0
    for number in range(RATE * SECONDS):
        wait = began + number / RATE - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        late = max(late, -wait)
        sock = socket.create_connection((host, int(port)), timeout=20)
        sock.sendall(KINDS[kinds[number // 2 % len(kinds)]])
        if number % 2:  # as HAProxy does
            reset(sock)
        else:
            sock.close()
    print(late)


if __name__ == "__main__":
    main(*sys.argv[1:])
