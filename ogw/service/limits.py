"""What this machine and its limits allow: workers, open files, tunnels."""

import os
import pathlib
import resource

from ogw.settings.settings import Config

SPARE_DESCRIPTORS = 64  # listeners, log, DNS, and clients that are being refused
OWN_DESCRIPTORS, OF_A_CHILD = 24, 3  # of the supervisor, and for each worker besides its listening sockets
OF_TUNNEL, OF_LEG = 2, 2  # descriptors of a tunnel: its sockets; and the socket pair of each of its legs in TLS
MOST_PIPES = 200
MOST_WORKERS = 128
CGROUPS = pathlib.Path("/sys/fs/cgroup")
OWN_CGROUP = pathlib.Path("/proc/self/cgroup")
UNLIMITED = 1 << 20


class StartError(Exception):
    """The gateway cannot start; the sentence says why and what to do."""


class Limits:
    """How much may be open.

    descriptors  open files of a process
    of_refused   those of a client that was refused
    pipes        of a worker
    own_tunnels  tunnels of a worker
    tunnels      of the whole gateway
    """

    def __init__(self, descriptors: int, workers: int, of_tunnel: int = OF_TUNNEL, of_refused: int = 1) -> None:
        self.descriptors = descriptors
        self.of_refused = of_refused
        self.pipes = min(MOST_PIPES, descriptors // 16)
        self.own_tunnels = (descriptors - 2 * self.pipes - SPARE_DESCRIPTORS) // of_tunnel
        self.tunnels = self.own_tunnels * workers


def limits_of(config: Config, workers: int) -> Limits:
    """Raises StartError where there are too few for a single tunnel, or for the sockets of all workers."""
    descriptors = raise_descriptor_limit()
    legs = bool(config.listen_tls) + any(proxy.encrypted for proxy in config.ways.proxies)
    limits = Limits(descriptors, workers, OF_TUNNEL + OF_LEG * legs, 1 + OF_LEG * bool(config.listen_tls))
    if limits.own_tunnels < 1:
        raise StartError(
            f"{descriptors} open files are too few for a tunnel; raise the limit (ulimit -n, LimitNOFILE=)"
        )
    places = len(config.listen)
    needed = workers * (places + OF_A_CHILD) + OWN_DESCRIPTORS
    if needed > descriptors:
        raise StartError(
            f"workers = {workers}, each with a socket on {places} listen-address, need {needed} open files, and "
            f"{descriptors} are allowed; raise the limit (ulimit -n, LimitNOFILE=), or lower one of the two"
        )
    return limits


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard one; the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            return soft
    return hard if hard != resource.RLIM_INFINITY else UNLIMITED


def workers_of(config: Config) -> int:
    """How many workers: those that are set, or one for each core that this process may use."""
    return config.workers or min(MOST_WORKERS, cores())


def cores() -> int:
    """The cores that this process may use: its affinity, and what its control groups grant."""
    return max(1, min([len(os.sched_getaffinity(0)), *granted_cores(CGROUPS, OWN_CGROUP)]))


def granted_cores(root: pathlib.Path, own: pathlib.Path) -> list[int]:
    """What the groups of this process and each one above them grant, rounded up; those without a limit are left out.

    root  where the groups are mounted, those of version 1 in a folder for each controller
    own   the file that names the groups of this process: lines "0::/its/path" (v2) and "4:cpu,cpuacct:/its/path" (v1)
    """
    granted: list[int] = []
    for mount, path in _groups(root, own):
        group = mount / path.lstrip("/")
        while True:
            granted += _grant(group)
            if group == mount or mount not in group.parents:
                break
            group = group.parent
    return granted


def _groups(root: pathlib.Path, own: pathlib.Path) -> list[tuple[pathlib.Path, str]]:
    """(where a hierarchy that may grant cores is mounted, the group of this process in it)."""
    try:
        lines = [line.split(":", 2)[1:] for line in own.read_text().splitlines()]
    except OSError:
        lines = [["", "/"]]
    version_2 = [(root, path) for controllers, path in lines if not controllers]
    return version_2 + [(root / "cpu", path) for controllers, path in lines if "cpu" in controllers.split(",")]


def _grant(group: pathlib.Path) -> list[int]:
    """What one group grants, in whole cores; nothing where it has no limit."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = " ".join((group / name).read_text() for name in names).split()
            if int(quota) > 0:  # "max" is no number, and -1 no limit
                return [-(-int(quota) // int(period))]
        except (OSError, ValueError, ZeroDivisionError):
            pass  # a root has none, and a container may not see its own, or see it as the root
    return []
