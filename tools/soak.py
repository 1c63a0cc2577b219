"""Shake a gateway for as long as told, and print what was done and seen: tools/soak.py [SECONDS]

Tunnels whose every byte is checked, beside resets, abandoned answers, slow heads, readers that stop, reloads (every
second one broken) and, in the first third, killed workers. It ends with code 1 where a byte was wrong, a gateway's own
error was logged, or descriptors or memory did not come back to where they were after the first third.
"""

import contextlib
import os
import pathlib
import random
import signal
import sys
import tempfile
import threading
import time
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tests"))

from harness.gateway import Gateway
from harness.load import Load
from harness.upstreams import Server, echo, reset

MOST_GROWTH = 8 << 20  # bytes of memory that all workers together may have gained
MOST_DESCRIPTORS = 8


def write(path: pathlib.Path, turn: int) -> None:
    hosts = "*" if turn % 2 else f"127.0.0.0/8\n    192.0.2.{turn % 250}"
    fresh = path.with_suffix(".new")
    fresh.write_text(f"[ogw]\nallowed-host = {hosts}\nallowed-target-network = 127.0.0.0/8\n")
    fresh.rename(path)


class Rabble:
    """Clients that behave badly, one after another."""

    def __init__(self, gateway: Any, target: str) -> None:
        self._gateway, self._target = gateway, target
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.count = 0

    def __enter__(self) -> "Rabble":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        chance = random.Random(1)
        held: list[Any] = []
        while not self._stop.is_set():
            with contextlib.suppress(OSError, AssertionError):
                sock = self._gateway.connect()
                held.append(sock)
                sock.sendall(chance.choice([b"", b"C", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", bytes(50)]))
                if chance.random() < 0.5:
                    sock.sendall(f"CONNECT {self._target} HTTP/1.1\r\n\r\n".encode() + bytes(200_000))
                if len(held) > 100:
                    gone = held.pop(chance.randrange(len(held)))
                    reset(gone) if chance.random() < 0.5 else gone.close()
                self.count += 1
        for sock in held:
            sock.close()


def settle(gateway: Any) -> tuple[int, int]:
    """Descriptors and memory of the workers, once no tunnel is open any more."""
    until = time.monotonic() + 20
    lowest = gateway.descriptors()
    while time.monotonic() < until:
        lowest = min(lowest, gateway.descriptors())
        time.sleep(0.5)
    return lowest, gateway.memory()


def main() -> int:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    began = time.monotonic()
    kills = reloads = 0
    done = broken = rabble = 0
    marks = []
    with tempfile.TemporaryDirectory() as folder, Server(echo) as upstream:
        ini = pathlib.Path(folder) / "ogw.ini"
        write(ini, 0)
        with Gateway("--config", str(ini), "--head-timeout", "2s", workers=2) as gateway:
            for phase, share in (("shaken, with killed workers", 1 / 3), ("shaken", 2 / 3)):
                until = time.monotonic() + seconds * share
                with Load(gateway, upstream.target) as load, Load(gateway, upstream.target, rude=True) as rude:
                    with Rabble(gateway, upstream.target) as bad:
                        while time.monotonic() < until:
                            reloads += 1
                            write(ini, reloads)
                            gateway.process.send_signal(signal.SIGHUP)
                            if phase != "shaken" and reloads % 4 == 0:
                                kills += 1
                                with contextlib.suppress(ProcessLookupError, IndexError):
                                    os.kill(random.choice(gateway.workers), signal.SIGKILL)
                            time.sleep(0.5)
                    done += load.done + rude.done
                    broken += len(load.broken) + len(rude.broken)
                    rabble += bad.count
                marks.append((phase, time.monotonic() - began, *settle(gateway)))
            errors = len(gateway.events(400))
            deaths = len(gateway.events(405))
            told = len(gateway.events(109)) + len(gateway.events(401))
            code = gateway.stop()
    print(f"{'phase':32} {'seconds':>8} {'descriptors':>12} {'memory, MiB':>12}")
    for phase, at, descriptors, memory in marks:
        print(f"{phase:32} {at:8.0f} {descriptors:12} {memory / (1 << 20):12.1f}")
    print(f"tunnels checked: {done}; ended by what was done to them: {broken}; bad clients: {rabble}")
    print(f"reloads: {reloads}, told: {told}; workers killed: {kills}, replaced: {deaths}; own errors: {errors}")
    print(f"exit code of the gateway: {code}")
    grown = marks[1][3] - marks[0][3]
    ok = not errors and not code and grown < MOST_GROWTH and marks[1][2] - marks[0][2] <= MOST_DESCRIPTORS
    print("nothing leaked, nothing was mixed up" if ok else "NOT as it should be")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
