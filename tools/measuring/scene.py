"""What agents are let loose on: a gateway, and a server behind it, of this machine or another."""

import contextlib
import os
import pathlib
import socket
import tempfile
import time
from collections.abc import Iterator
from ipaddress import ip_address
from typing import NamedTuple, Optional

from measuring.crew import Crew, serve
from measuring.fleet import Fleet, Work
from measuring.loop import Loop
from measuring.machine import listeners_at, processes
from measuring.origin import NAME, family, listener, make_certificate
from measuring.program import Failed, OwnGateway, loopback
from measuring.tally import Pids
from measuring.tunnel import Way
from measuring.verdict import GATEWAY, ORIGIN
from ogw.wire.connect import Target
from ogw.wire.place import place

ORIGIN_PORT = 8443
REACH_SECONDS = 5.0
PATIENCE = 30.0  # seconds of one upload


class Asked(NamedTuple):
    """What the administrator asked for; see the flags of tools/agents.py."""

    period: float
    size: int
    workers: int
    processes: int
    gateway: Optional[Target]
    target: Optional[Target]
    origin_port: int


class Scene(NamedTuple):
    """Where agents may begin.

    told  what it is, in a few lines
    kinds of processes whose cost is of interest, but for the agents'
    """

    work: Work
    kinds: dict[str, Pids]
    told: list[str]


@contextlib.contextmanager
def scene(asked: Asked) -> Iterator[Scene]:
    """The gateway and the server: those that were named, or of this clone. One upload went through them already.

    Raises Failed.
    """
    with contextlib.ExitStack() as stack:
        made = (_own if asked.gateway is None else _running)(asked, stack)
        _probe(made.work)
        yield made


def _own(asked: Asked, stack: contextlib.ExitStack) -> Scene:
    """A gateway of this clone."""
    target, origin, dns = asked.target, Crew(), None
    if target is None:
        host = loopback()
        dns = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        dns.bind((host, 0))
        origin = _origin(asked, host, stack, dns)
        target = Target(NAME, asked.origin_port)
    flags = ["--allowed-host", f"{target}{' no-server-name' * (target.address is not None)}"]
    flags += ["--allowed-target-network", "0.0.0.0/0", "--allowed-target-network", "::/0"]
    if dns is not None:
        flags += ["--dns-server", place(*dns.getsockname())]
    gateway = stack.enter_context(OwnGateway(flags, asked.workers))
    told = f"gateway: of this clone, {asked.workers} worker{'s' * (asked.workers > 1)}, with TLS rules and log"
    kinds: dict[str, Pids] = {GATEWAY: lambda: gateway.processes, ORIGIN: lambda: origin.pids}
    return Scene(_work(asked, gateway.place, target), kinds, [told, _told_load(asked, target)])


def _running(asked: Asked, stack: contextlib.ExitStack) -> Scene:
    """A gateway that runs already."""
    assert asked.gateway is not None
    there, here = _reach(asked.gateway)
    is_here = here == there[0] or ip_address(there[0]).is_loopback
    target, origin = asked.target, Crew()
    if target is None:
        # On loopback, an address that no other load uses.
        here = loopback() if there[0].startswith("127.") else here
        origin = _origin(asked, here, stack)
        target = Target(here, asked.origin_port, ip_address(here))
    told = f"gateway: {asked.gateway}, "
    pids = listeners_at(*there) if is_here else []
    told += f"{sum(len(processes(pid)) for pid in pids)} processes on this machine" if pids else "whose CPU is not seen"
    kinds: dict[str, Pids] = {
        GATEWAY: lambda: [one for pid in pids for one in processes(pid)],
        ORIGIN: lambda: origin.pids,
    }
    return Scene(_work(asked, there, target), kinds, [told, _told_load(asked, target)])


def _work(asked: Asked, gateway: tuple[str, int], target: Target) -> Work:
    name = None if target.address is not None else target.host
    own_place = gateway[0].startswith("127.")
    return Work(Way(gateway, str(target)), name, asked.period, asked.size, PATIENCE, own_place)


def _told_load(asked: Asked, target: Target) -> str:
    server = f"TLS server: {target}"
    return server if asked.target is not None else f"{server}, of this tool, in {asked.processes} processes"


def _origin(asked: Asked, host: str, stack: contextlib.ExitStack, dns: Optional[socket.socket] = None) -> Crew:
    """The tool's own server, in several processes at one port."""
    folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ogw-")))
    make_certificate(folder / "certificate.pem")
    crew = stack.enter_context(Crew())
    try:
        socket.create_server((host, asked.origin_port), family=family(host)).close()  # is another load there?
        doors = [listener((host, asked.origin_port)) for _turn in range(asked.processes)]
    except OSError as error:
        at = place(host, asked.origin_port)
        raise Failed(
            f"the load's server cannot listen at {at}: {os.strerror(error.errno or 0).lower()}; see --origin-port"
        ) from None
    for number, door in enumerate(doors):
        crew.start(serve, folder / "certificate.pem", {"uploads": door}, None if number else dns)
    for door in doors:
        door.close()  # what waits at a door that nobody serves is lost
    return crew


def _reach(gateway: Target) -> tuple[tuple[str, int], str]:
    """(where it is, the address of this machine that leads there)."""
    try:
        with socket.create_connection((gateway.host, gateway.port), REACH_SECONDS) as sock:
            there, here = sock.getpeername(), sock.getsockname()
    except OSError as error:
        why = "no answer" if isinstance(error, TimeoutError) else (error.strerror or str(error)).lower()
        raise Failed(
            f"the gateway is not reached at {gateway}: {why}. Is that its listen-address, and does it run "
            "(`ogw status` there)? Without --gateway, one of this clone is started."
        ) from None
    return (there[0], there[1]), here[0]


def _reach_from(gateway: tuple[str, int]) -> str:
    """The address of this machine that leads there."""
    with socket.socket(socket.AF_INET6 if ":" in gateway[0] else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(gateway)
        return str(sock.getsockname()[0])


def _probe(work: Work) -> None:
    """One upload, before thousands fail alike."""
    loop = Loop()
    fleet = Fleet(loop, work, 1, 0, 1)
    fleet.begin(time.monotonic())
    fleet.begin_all_due()
    while len(loop):
        loop.turn(0.5)
        loop.end_older(work.patience)
    for error in fleet.tell().errors:
        raise Failed(f"a first upload failed: {error}. {_remedy(error, work)}")


def _remedy(error: str, work: Work) -> str:
    target = work.way.target
    if "client-not-allowed" in error:
        network = "127.0.0.0/8" if work.own_place else _reach_from(work.way.gateway)
        return f"On the gateway's machine, let this one in: ogw allowed-client add {network} --reload"
    if "not-allowed" in error or "was rejected" in error:
        more = "" if work.name else f" --to {str(target).rpartition(':')[0].strip('[]')} --no-server-name"
        return (
            "On the gateway's machine, allow where the load goes:\n"
            f"    ogw allowed-host add {target}{more} --until 2h --note tools/agents --reload"
        )
    if "TLS handshake" in error:
        return f"Does {target} speak TLS 1.2 or 1.3?"
    if "answered 50" in error:
        return (
            f"The gateway must reach {target}: open the firewalls on the way, see --origin-port, or name a TLS "
            "server that it does reach with --target."
        )
    return "On the gateway's machine, `ogw status` shows what it refused last, and what to do."
