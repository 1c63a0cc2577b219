"""What this machine says of processes and of itself: CPU, memory, descriptors, who listens where."""

import contextlib
import os
import pathlib
import resource
import sys
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

TICKS = os.sysconf("SC_CLK_TCK")
CORES = len(os.sched_getaffinity(0))
LISTENS = "0A"  # a state in /proc/net/tcp
EVERYWHERE = (ip_address("0.0.0.0"), ip_address("::"))


def processes(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in pathlib.Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                found += processes(int(child))
    return found


def cpu_of(pids: Iterable[int]) -> dict[int, float]:
    """Seconds of CPU that each has used, with its children that have ended; one that is gone is left out."""
    used = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            used[pid] = sum(map(int, fields[11:15])) / TICKS
    return used


def memory_of(pids: Iterable[int]) -> int:
    """Bytes of them all, shared pages counted once."""
    found = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    found += int(line.split()[1]) * 1024
    return found


def title_of(pid: int) -> str:
    """What the process calls itself, in short: the words of its command line, or "" where it is gone."""
    with contextlib.suppress(OSError):
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return words.strip()
    return ""


def busy() -> float:
    """Seconds that the cores that this process may use were busy, with whatever, since the machine started."""
    ours = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    ticks = 0
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        name, *numbers = line.split()[:9]
        if name in ours:
            user, nice, system, _idle, _waits, *rest = map(int, numbers)
            ticks += user + nice + system + sum(rest)
    return ticks / TICKS


def raise_descriptors() -> int:
    """Allow this process and its children all the descriptors that it may have; how many."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def listeners_at(host: str, port: int) -> list[int]:
    """The topmost processes on this machine that listen at this address, as far as this user may see."""
    sockets = {f"socket:[{inode}]" for inode in _listening(ip_address(host), port)}
    found = {pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _has_one(pid, sockets)}
    return sorted(found - {below for pid in found for below in processes(pid)[1:]})


def _listening(host: IPv4Address | IPv6Address, port: int) -> Iterable[str]:
    """The inodes of sockets that what comes for it may go to."""
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in pathlib.Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
                fields = line.split()
                there, _, number = fields[1].partition(":")
                if fields[3] == LISTENS and int(number, 16) == port and _address(there) in (host, *EVERYWHERE):
                    yield fields[9]


def _address(text: str) -> IPv4Address | IPv6Address:
    """As the kernel writes it: words of 32 bits in the order of this machine."""
    words = (int(text[start : start + 8], 16).to_bytes(4, sys.byteorder) for start in range(0, len(text), 8))
    return ip_address(b"".join(words))


def _has_one(pid: int, sockets: set[str]) -> bool:
    with contextlib.suppress(OSError):
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{descriptor}") in sockets:
                    return True
    return False
