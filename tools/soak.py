"""Shake a gateway for as long as told, and print what was done and seen: tools/soak.py [SECONDS]

Tunnels whose every byte is checked, short ones and lasting ones, beside all that peers and operators do: junk, resets
at every stage, abandoned answers, readers that stop, slow heads, slow hellos, names that nobody answers for, TLS
sessions, reloads (every second one broken), a log that nobody reads for a while, descriptors that run out, and, in the
first phase only, killed workers. After each phase all leave, and what the workers then hold is measured: the first
phase is a warm-up, the others are alike. In the end the gateway is drained, and another one's supervisor is killed,
both in the middle of tunnels. It ends with code 1 where anything is not as it should be, and says what.
"""

import contextlib
import os
import pathlib
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tests"))

import trustme
from harness import rabble
from harness.dns import SILENT, Dns
from harness.gateway import Gateway
from harness.load import Load
from harness.tls import TlsServer, serving
from harness.upstreams import Server, echo

PHASES = ("warm-up", "shaken", "shaken", "shaken")
TURN = 0.5  # seconds between two things that the operator does
LASTING = 2  # tunnels that are kept open while all of that goes on
SETTLE_SECONDS = 30.0  # linger, limits and time-outs of what was left behind are shorter by far
# What all workers together may hold more at the end of the last phase than at the end of the first one that counts.
MOST_MEMORY = 4 << 20
MOST_OBJECTS = 2_000
MOST_DESCRIPTORS = 4
FLAGS = ("--tls-rules", "report", "--head-timeout", "2s", "--handshake-timeout", "2s", "--dns-timeout", "1s")
# Their lines are counted, and not kept.
MANY = (103, 104, 105, 106, 107, 108, 402, 403)


class Scene(NamedTuple):
    """What the gateway stands between."""

    echo: str  # targets
    flood: str
    tls: str
    hanging: str
    dns: Any
    ini: pathlib.Path

    def write(self, turn: int, level: str = "info") -> None:
        """A configuration like the last one, but for a rule that nobody needs; every second one is broken."""
        hosts = "*" if turn % 2 else f"*.soak.example\n    192.0.2.{turn % 250}"
        fresh = self.ini.with_suffix(".new")
        fresh.write_text(f"[ogw]\nallowed-host = {hosts}\nallowed-target-network = 127.0.0.0/8\nlog-level = {level}\n")
        fresh.rename(self.ini)

    def gateway(self, *flags: str) -> Any:
        self.write(0)
        words = ("--config", str(self.ini), *self.dns.flags, *FLAGS, *flags)
        return Gateway(*words, workers=2, tls_rules=None, forgets=MANY)


class Held(NamedTuple):
    """What the workers hold when nobody is there."""

    descriptors: int
    greenlets: int  # that have something to do
    tunnels: int
    objects: int
    memory: int


class Phase:
    """What was done to the gateway, and what was seen, from one settling to the next."""

    def __init__(self, name: str, before: "Counter[int]") -> None:
        self.name = name
        self.done: Counter[str] = Counter()
        self.cut: list[str] = []
        self.refused = 0
        self.held = Held(0, 0, 0, 0, 0)
        self.seconds = 0.0
        self._before = before.copy()
        self.events: Counter[int] = Counter()

    def end(self, counts: "Counter[int]", held: Held) -> None:
        self.events, self.held = counts - self._before, held


def flooding(connection: Any) -> None:
    connection.recv(1)
    while True:
        connection.sendall(bytes(1 << 16))


@contextlib.contextmanager
def scene() -> Iterator[Scene]:
    context: Any = serving(trustme.CA(), "tls.soak.example")
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(echo) as talks,
        Server(flooding) as flood,
        TlsServer(context) as tls,
    ):
        names = {
            "echo.soak.example": [talks.host],
            "flood.soak.example": [flood.host],
            "tls.soak.example": [tls.host],
            "hanging.soak.example": SILENT,
        }
        dns: Any = Dns(names, ttl=1)
        with dns:
            targets = [f"{name}:443" for name in names]
            yield Scene(targets[0], targets[1], targets[2], targets[3], dns, pathlib.Path(folder) / "ogw.ini")


class Operator:
    """Does something to the gateway at every turn."""

    def __init__(self, gateway: Any, scene: Scene, phase: Phase, kills: bool) -> None:
        self._gateway, self._scene, self._phase, self._kills = gateway, scene, phase, kills
        self._limits: dict[int, tuple[int, int]] = {}

    def work_until(self, end: float) -> None:
        turn = 0
        while time.monotonic() < end:
            turn += 1
            self._reload(turn)
            if turn % 16 == 4:
                self._gateway.pause_reading()
                self._phase.done["log left unread"] += 1
            elif turn % 16 == 8:
                self._gateway.go_on_reading()
            elif turn % 16 == 12:
                self._take_descriptors()
            elif turn % 16 == 14:
                self._give_descriptors()
            elif turn % 16 == 2 and self._kills:
                self._kill()
            time.sleep(TURN)
        self._gateway.go_on_reading()
        self._give_descriptors()

    def _reload(self, turn: int) -> None:
        self._scene.write(turn)
        self._gateway.process.send_signal(signal.SIGHUP)
        self._phase.done["reloads"] += 1

    def _kill(self) -> None:
        workers = self._gateway.workers
        if workers:
            os.kill(random.choice(workers), signal.SIGKILL)
            self._phase.done["workers killed"] += 1

    def _take_descriptors(self) -> None:
        """Every worker may have only a few more than it has."""
        for worker in self._gateway.workers:
            with contextlib.suppress(OSError):
                used = max(map(int, os.listdir(f"/proc/{worker}/fd")))
                soft, hard = resource.prlimit(worker, resource.RLIMIT_NOFILE)
                self._limits[worker] = soft, hard
                resource.prlimit(worker, resource.RLIMIT_NOFILE, (used + 3, hard))
        self._phase.done["descriptors taken"] += 1

    def _give_descriptors(self) -> None:
        while self._limits:
            worker, limits = self._limits.popitem()
            if worker in self._gateway.workers:
                resource.prlimit(worker, resource.RLIMIT_NOFILE, limits)


def shake(gateway: Any, scene: Scene, phase: Phase, end: float, kills: bool) -> None:
    with contextlib.ExitStack() as stack:
        load = stack.enter_context(Load(gateway, scene.echo, threads=6, lasting=LASTING, pace=0.02))
        rude = stack.enter_context(Load(gateway, scene.echo, threads=3, rude=True, pace=0.02))
        crowd = {
            "junk": rabble.talking_junk(gateway),
            "resets": rabble.resetting(gateway, scene.echo),
            "stopped readers": rabble.never_reading(gateway, scene.flood),
            "slow heads": rabble.with_slow_heads(gateway),
            "slow hellos": rabble.with_slow_hellos(gateway, scene.echo),
            "hanging names": rabble.asking_for(gateway, scene.hanging),
            "TLS sessions": rabble.speaking_tls(gateway, scene.tls),
        }
        for one in crowd.values():
            stack.enter_context(one)
        Operator(gateway, scene, phase, kills).work_until(end)
    phase.done["tunnels checked"] = load.done + rude.done
    phase.done["pieces checked"] = load.exchanges + rude.exchanges
    phase.done.update({kind: one.count for kind, one in crowd.items()})
    phase.cut = load.cut
    phase.refused = len(load.broken) - len(load.cut)


def settle(gateway: Any, scene: Scene, turn: int) -> Held:
    """Wait until no tunnel is open any more, and see what is held all the same."""
    scene.write(2 * turn, "debug")
    told = gateway.counts[109]
    gateway.process.send_signal(signal.SIGHUP)
    until = time.monotonic() + SETTLE_SECONDS
    while gateway.counts[109] == told:
        if time.monotonic() > until:
            raise AssertionError(f"no reload any more: {gateway.lines[-5:]}")
        time.sleep(0.1)
    while True:
        census = gateway.census()
        if not census["tunnels"] or time.monotonic() > until:
            break
        time.sleep(0.5)
    descriptors = gateway.descriptors() - 2 * census["pipes"]  # the pipes wait in a pool that is bounded
    busy = census["greenlets"] - census["idle"]  # as do idle greenlets
    return Held(descriptors, busy, census["tunnels"], census["objects"], gateway.memory())


def finish(gateway: Any, scene: Scene, number: int) -> tuple[int, int]:
    """Signal the supervisor in the middle of tunnels: its exit code, and how many tunnels were cut."""
    workers = gateway.workers
    with Load(gateway, scene.echo, threads=6, lasting=LASTING) as load:
        load.wait_for(50)
        gateway.process.send_signal(number)
        code = gateway.process.wait(60)
        until = time.monotonic() + 30
        while any(pathlib.Path(f"/proc/{worker}").exists() for worker in workers):
            if time.monotonic() > until:
                raise AssertionError("a worker stays behind")
            time.sleep(0.1)
    return code, len(load.cut)


def table(phases: list[Phase]) -> str:
    rows = [["", *(phase.name for phase in phases)], ["seconds", *(f"{phase.seconds:.0f}" for phase in phases)]]
    for kind in dict.fromkeys(kind for phase in phases for kind in phase.done):
        rows.append([kind, *(str(phase.done[kind]) for phase in phases)])
    seen: dict[str, Callable[[Phase], int]] = {
        "open tunnels cut": lambda phase: len(phase.cut),
        "new tunnels refused": lambda phase: phase.refused,
        "tunnels closed (108)": lambda phase: phase.events[108],
        "sessions verified (107)": lambda phase: phase.events[107],
        "reloads told (109, 401)": lambda phase: phase.events[109] + phase.events[401],
        "limits told (302)": lambda phase: phase.events[302],
        "workers replaced (405)": lambda phase: phase.events[405],
        "own errors (400)": lambda phase: phase.events[400],
        "left: tunnels": lambda phase: phase.held.tunnels,
        "left: greenlets": lambda phase: phase.held.greenlets,
        "left: descriptors": lambda phase: phase.held.descriptors,
        "left: objects": lambda phase: phase.held.objects,
        "left: memory, KiB": lambda phase: phase.held.memory // 1024,
    }
    for what, of in seen.items():
        rows.append([what, *(str(of(phase)) for phase in phases)])
    return "\n".join(f"{row[0]:26}" + "".join(f"{cell:>12}" for cell in row[1:]) for row in rows)


def faults(phases: list[Phase]) -> Iterator[str]:
    """What is not as it should be."""
    for phase in phases:
        if phase.events[400]:
            yield f"{phase.name}: {phase.events[400]} errors of the gateway's own"
        if phase.held.tunnels:
            yield f"{phase.name}: {phase.held.tunnels} tunnels stayed open"
        for kind, count in phase.done.items():
            if not count:
                yield f"{phase.name}: no {kind}"
    for phase in phases[1:]:
        if phase.cut:
            yield f"{phase.name}: open tunnels were cut: {phase.cut[:5]}"
        if phase.events[405]:
            yield f"{phase.name}: workers died"
    if not phases[0].events[405]:
        yield "no worker died of its SIGKILL"
    first, last = phases[1].held, phases[-1].held
    if last.greenlets > first.greenlets:
        yield f"greenlets leaked: {first.greenlets}, then {last.greenlets}"
    if last.descriptors > first.descriptors + MOST_DESCRIPTORS:
        yield f"descriptors leaked: {first.descriptors}, then {last.descriptors}"
    if last.objects > first.objects + MOST_OBJECTS:
        yield f"objects leaked: {first.objects}, then {last.objects}"
    if last.memory > first.memory + MOST_MEMORY:
        yield f"memory leaked: {first.memory >> 10} KiB, then {last.memory >> 10} KiB"


def main() -> int:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    phases: list[Phase] = []
    wrong: list[str] = []
    with scene() as between:
        with between.gateway("--drain-timeout", "2s") as gateway:
            for turn, name in enumerate(PHASES):
                began = time.monotonic()
                phase = Phase(name, gateway.counts)
                phases.append(phase)
                shake(gateway, between, phase, began + seconds / len(PHASES), kills=turn == 0)
                phase.end(gateway.counts, settle(gateway, between, turn))
                phase.seconds = time.monotonic() - began
                print(f"{name}: {phase.seconds:.0f} s", file=sys.stderr, flush=True)
            for line in gateway.events(400)[:3]:
                print(line["message"], line.get("traceback", ""), sep="\n", file=sys.stderr)
            drained = finish(gateway, between, signal.SIGTERM)
        with between.gateway() as gateway:
            killed = finish(gateway, between, signal.SIGKILL)
    print(table(phases))
    print(f"SIGTERM: exit code {drained[0]}, {drained[1]} tunnels cut; {LASTING} did not end by themselves")
    print(f"SIGKILL of the supervisor: {killed[1]} tunnels cut; {LASTING} did not end by themselves")
    wrong += faults(phases)
    if drained != (0, LASTING):
        wrong.append("the drain cut others than those, or failed")
    if killed != (-signal.SIGKILL, LASTING):
        wrong.append("more than those were cut when the supervisor was killed")
    print("\n".join(f"NOT as it should be: {fault}" for fault in wrong) or "nothing was lost, mixed up or left behind")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
