"""What the doctor finds on this machine itself: ports, limits, clock, files, and the gateway that runs here."""

import ctypes
import os
import pathlib
import stat
import time
from shlex import quote
from typing import Optional

from ogw import __version__
from ogw.cli.doctor.findings import Finding, ok, problem, untested, warning
from ogw.cli.live.gateway import Gateway
from ogw.cli.live.sockets import NoGateway
from ogw.language.conventions import count
from ogw.language.messages import gettext as _
from ogw.language.messages import gettext_noop as N_
from ogw.language.messages import ngettext
from ogw.policy.rules import time_text
from ogw.report.status import Status, state_of
from ogw.service.absence import absent_places
from ogw.service.admin.attention import attention
from ogw.service.limits import StartError, limits_of, workers_of
from ogw.service.listener import ListenError, listen
from ogw.settings import run_dir
from ogw.settings.checks import why_not_written
from ogw.settings.elsewhere.source import is_url
from ogw.settings.listening import NO_SUCH_FAMILY
from ogw.settings.named import flags
from ogw.settings.renewal import SOON, soon_over
from ogw.settings.settings import SETTINGS, Config
from ogw.tunnel.ports import RANGE_FILE
from ogw.wire.place import place
from ogw.wire.relay_proxy import HIDDEN

FEW_DESCRIPTORS = 4096
NEARLY_FULL = 0.8
NEARLY_NOTHING = 0.01  # of a disk
UNSYNCHRONIZED = 0x40  # STA_UNSYNC of sys/timex.h


def status_of(gateway: Gateway) -> tuple[Optional[Status], str]:
    """What the running gateway says of itself; or None, and why."""
    try:
        return gateway.status(), ""
    except NoGateway as error:
        return None, str(error)


def of_gateway(running: Optional[Status], why: str, policy: str) -> list[Finding]:
    """The gateway that runs here, if one does."""
    if running is None:
        return [untested("gateway", "", "; ".join(line.strip() for line in why.splitlines()).replace(":;", ":"))]
    message = _("ogw {version}, {state}, policy {policy}")
    found = [
        ok("gateway", "", message.format(version=running["version"], state=running["state"], policy=running["policy"]))
    ]
    if running["version"] != __version__:
        what = _("the gateway runs version {running}, this command is version {ours}").format(
            running=running["version"], ours=__version__
        )
        found.append(warning("gateway", "", what, _("restart the gateway after an upgrade")))
    if running["policy"] != policy:
        what = _("the policy of the gateway is not that of this configuration ({policy})").format(policy=policy)
        do = _("`ogw reload{flags}`; or give this command the flags that the gateway runs with")
        found.append(warning("gateway", "", what, do.format(flags=running.get("flags", ""))))
    if running["workers_missing"]:
        missing = running["workers_missing"]
        what = ngettext("{number} worker did not answer", "{number} workers did not answer", missing)
        do = _("look at the log of the gateway; if it happens again, restart the gateway")
        found.append(problem("gateway", "", what.format(number=missing), do))
    for relay in running["relay_proxies"]:  # of other states there is a sentence below
        if state_of(relay) == "up":
            found.append(ok("gateway", "", _("the relay proxy {proxy} is up").format(proxy=relay["proxy"])))
        elif state_of(relay) == "never tried":
            what = _("the relay proxy {proxy} was never tried").format(proxy=relay["proxy"])
            found.append(untested("gateway", "", what))
    do = _("`ogw status{flags}` and the log of the gateway say more").format(flags=running.get("flags", ""))
    # Made anew of what it says, and not taken from it: what was told above is left out, and this is our language.
    told_above: Status = {**running, "workers_missing": 0}
    return [*found, *(warning("gateway", "", sentence, do) for sentence in attention(told_above))]


def of_listeners(config: Config, running: Optional[Status]) -> list[Finding]:
    """Whether the ports are free, or ours."""
    found = []
    freebind = config.listen_freebind == "yes"
    for host, port in config.listen:
        taken = running is not None and place(host, port) in running["listen"]
        setting = config.port_setting(host, port)
        found.append(_listener(config, "listen", host, port, taken, config.listen_is_default, setting))
    found += [_absent(one, freebind) for one in absent_places(config) if freebind or running is not None]
    if config.admin_address is not None:
        host, port = config.admin_address
        taken = running is not None and running["admin"] == place(host, port)
        is_default = config.is_default("admin-address")
        found.append(_listener(config, "admin", host, port, taken, is_default, "admin-address"))
    if config.health_address is not None:
        host, port = config.health_address
        taken = running is not None and running.get("health") == place(host, port)
        found.append(_listener(config, "health", host, port, taken, False, "health-address"))
    return found


def of_certificates(config: Config) -> list[Finding]:
    """Until when they do, and revocation lists. What is wrong with their files is a mistake of the configuration."""
    found = []
    of_admin = config.admin_key_pair.expires if config.admin_key_pair is not None else 0.0
    for name, until in zip(SOON, (*config.listen_lasts, of_admin), strict=True):
        if not until:
            continue
        path, when = getattr(config, SETTINGS[name].attribute), time_text(until)
        do = _("replace the file with a new one; the gateway takes it by itself")
        if until <= time.time():
            found.append(
                problem("certificates", path, _("expired at {time} ({name})").format(time=when, name=name), do)
            )
        elif soon_over(name, until):
            what = _("to be renewed before {time} ({name})").format(time=when, name=name)
            found.append(warning("certificates", path, what, do))
        else:
            found.append(ok("certificates", path, _("valid until {time} ({name})").format(time=when, name=name)))
    return found


def _absent(where: str, freebind: bool) -> Finding:
    if freebind:
        what = _("this machine does not have this address now: no client reaches the gateway there before it has "
                 "(listen-freebind)")  # fmt: skip
        return ok("listen", where, what)
    what = _("this machine does not have this address now: no client reaches the gateway there")
    return problem("listen", where, what, _("`ip address` shows the addresses that this machine has"))


def _listener(config: Config, area: str, host: str, port: int, taken: bool, is_default: bool, setting: str) -> Finding:
    where, alone, named = place(host, port), area != "listen", flags(config.file)
    freebind = config.listen_freebind == "yes" and not alone
    if taken:
        return ok(area, where, _("the running gateway listens there"))
    try:
        listen(host, port, 0, probe=True, alone=alone, freebind=freebind, setting=setting, flags=named).close()
    except ListenError as error:
        what, _semicolon, do = str(error).partition("; ")
        cause = error.__cause__
        if is_default and isinstance(cause, OSError) and cause.errno in NO_SUCH_FAMILY:
            return ok(area, where, _("left out: the kernel has this address family disabled"))
        if is_default and area == "admin":
            return warning(area, where, what, _("set another admin-address; the gateway starts without metrics"))
        return problem(area, where, what, do)
    return ok(area, where, _("the port is free"))


def of_limits(config: Config, running: Optional[Status]) -> list[Finding]:
    """Open files, and the tunnels that they carry; local ports."""
    workers = workers_of(config)
    try:
        limits = limits_of(config, workers)
    except StartError as error:
        what, _semicolon, do = str(error).partition("; ")
        return [problem("limits", "", what, do)]
    descriptors, tunnels = limits.descriptors, limits.tunnels
    what = _("limits in this shell: open files of each worker: {descriptors}, workers: {workers}, tunnels: {tunnels}")
    if running is not None:
        descriptors, tunnels, workers = running["max_descriptors"], running["max_tunnels"], len(running["workers"])
        what = _("limits of the running gateway: open files of each worker: {descriptors}, workers: {workers}, "
                 "tunnels: {tunnels}")  # fmt: skip
    what = what.format(descriptors=count(descriptors), workers=workers, tunnels=count(tunnels))
    raise_it = _("raise the limit: LimitNOFILE= of the unit, ulimit -n, or --ulimit of the container")
    found = [warning("limits", "", what, raise_it) if descriptors < FEW_DESCRIPTORS else ok("limits", "", what)]
    if running is None and config.max_tunnels > tunnels:
        what = _("max-tunnels = {asked} is more than the limit of open files allows").format(
            asked=count(config.max_tunnels)
        )
        found.append(problem("limits", _origin(config, "max-tunnels"), what, raise_it))
    for worker in running["workers"] if running is not None else ():
        if worker["descriptors"] > NEARLY_FULL * descriptors:
            what = _("open files: {used}, at most {most}").format(
                used=count(worker["descriptors"]), most=count(descriptors)
            )
            found.append(problem("limits", _("worker {number}").format(number=worker["number"]), what, raise_it))
    wanted = config.max_tunnels or tunnels
    return [*found, *_local_ports(config, wanted)]


def _local_ports(config: Config, tunnels: int) -> list[Finding]:
    try:
        low, high = map(int, RANGE_FILE.read_text().split())
    except (OSError, ValueError):
        return [untested("limits", str(RANGE_FILE), _("the file cannot be read"))]
    ports = high - low + 1
    if config.ways.proxies and not config.is_default("max-tunnels") and ports < tunnels:
        what = _("local ports: {ports}; no more tunnels than that can lead to one address at a time, such as the "
                 "relay proxy's, but max-tunnels is {tunnels}")  # fmt: skip
        what = what.format(ports=count(ports), tunnels=count(tunnels))
        do = _("widen net.ipv4.ip_local_port_range (sysctl), for example to 1024 65535")
        return [warning("limits", "net.ipv4.ip_local_port_range", what, do)]
    what = _("local ports: {ports}; no more tunnels than that can lead to one address at a time")
    return [ok("limits", "net.ipv4.ip_local_port_range", what.format(ports=count(ports)))]


class _Timex(ctypes.Structure):
    """What adjtimex(2) fills; what stands behind the status is not looked at."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    ]


def of_clock() -> list[Finding]:
    """Whether something keeps the clock right, as the kernel knows it. Nothing is compared with other clocks here."""
    state = _Timex()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.adjtimex(ctypes.byref(state)) < 0:
        return [untested("clock", "", _("the kernel does not say whether the clock is synchronized"))]
    if state.status & UNSYNCHRONIZED:
        what = _("the kernel says that nothing keeps the clock synchronized")
        do = _("set up chrony or systemd-timesyncd, unless the host of this machine does it: rules with until=, "
               "certificates and the log depend on the clock")  # fmt: skip
        return [warning("clock", "", what, do)]
    what = _("the kernel says that the clock is synchronized, with an error of at most {milliseconds} ms")
    return [ok("clock", "", what.format(milliseconds=f"{state.maxerror / 1000:,.0f}"))]


def of_files(config: Config, file: Optional[str]) -> list[Finding]:
    """Who may read and change the files of the configuration; where the log and the socket go."""
    found: list[Finding] = []
    if file is not None:
        secret = any(
            given.source.startswith(f"{file}:") and HIDDEN in given.text
            for name, setting in SETTINGS.items()
            if setting.better
            for given in config.origins[name]
        )
        found += _permissions(file, secret)
    if config.relay_proxy_password_file:
        found += _permissions(config.relay_proxy_password_file, True)
    keys = [config.relay_proxy_keytab, config.admin_token_file]
    keys += [
        config.admin_tls_key or config.admin_tls_certificate,
        config.listen_tls_key or config.listen_tls_certificate,
    ]
    for path in dict.fromkeys(filter(None, keys)):  # a certificate without a key of its own has it in its file
        found += _permissions(path, True)
    if config.log_file:
        found.append(_log_file(config.log_file))
    found.append(_run_dir(config))
    if any(is_url(source) for source in config.allowed_host_source):
        found += _disk(config.state_dir)
    return found


def _log_file(path: str) -> Finding:
    why = why_not_written(path)
    if why:
        do = _("mend that, or name another file in log-file")
        if os.geteuid() != 0 and not os.path.isdir(path) and os.path.isdir(os.path.dirname(path) or "."):
            do = _("let the gateway's user write there; this user ({user}) cannot").format(user=os.geteuid())
        return problem("files", path, _("the log cannot be written: {why}").format(why=why), do)
    return next(iter(_disk(path)), ok("files", path, _("the log can be written")))


def _disk(path: str) -> list[Finding]:
    """What is wrong with the disk of a file, or of what is to be made there: it is full, or nearly so."""
    there = os.path.realpath(path)
    while not os.path.exists(there):
        there = os.path.dirname(there)
    if stat.S_ISCHR(os.stat(there).st_mode) or stat.S_ISFIFO(os.stat(there).st_mode):
        return []
    disk = os.statvfs(there)
    free = disk.f_bfree if os.geteuid() == 0 else disk.f_bavail  # the rest is kept for root
    files = disk.f_ffree if os.geteuid() == 0 else disk.f_favail
    do = _("make room on the disk; lines of a log for which there is no room are lost")
    if disk.f_blocks and not free:
        return [problem("files", path, _("the disk is full"), do)]
    if disk.f_files and not files and there != os.path.realpath(path):
        return [problem("files", path, _("the disk has no room for another file"), do)]
    if free < NEARLY_NOTHING * disk.f_blocks:
        what = _("the disk is nearly full: {size:.1f} MiB are left").format(size=free * disk.f_frsize / (1 << 20))
        return [warning("files", path, what, do)]
    return []


def _permissions(path: str, secret: bool) -> list[Finding]:
    try:
        status = os.stat(path)
    except OSError as error:
        return [untested("files", path, error.strerror or str(error))]
    if stat.S_ISCHR(status.st_mode):  # /dev/null, of those who want no file
        return [ok("files", path, _("this is a device, in which there is no setting"))]
    found = []
    if status.st_mode & stat.S_IWOTH:
        found.append(problem("files", path, _("every user of this machine can change it"), f"chmod o-w {quote(path)}"))
    if secret and status.st_mode & stat.S_IROTH:
        what = _("every user of this machine can read the secret in it")
        found.append(problem("files", path, what, f"chmod o-r {quote(path)}"))
    if status.st_uid not in (0, os.geteuid()):
        what = _("the file belongs to user {owner}, who can change it").format(owner=status.st_uid)
        found.append(warning("files", path, what, _("let the file belong to root, or to the gateway's user")))
    mode = f"{stat.S_IMODE(status.st_mode):04o}"
    return found or [ok("files", path, _("mode {mode}, owner {owner}").format(mode=mode, owner=status.st_uid))]


def _run_dir(config: Config) -> Finding:
    folder = config.run_dir or run_dir.default_run_dirs(os.environ)[0]
    try:
        status = os.lstat(folder)
    except FileNotFoundError:
        parent = pathlib.Path(folder).parent
        if os.access(parent, os.W_OK):
            return ok("files", folder, _("the folder is made when the gateway starts"))
        return warning(
            "files", folder, _("the folder run-dir does not exist, and this user cannot make it"), _(_NO_SOCKET)
        )
    except OSError as error:
        return warning("files", folder, error.strerror or str(error), _(_NO_SOCKET))
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (0, os.geteuid()):
        return warning("files", folder, _("run-dir is not a folder of this user"), _(_NO_SOCKET))
    if not os.access(folder, os.W_OK):
        return warning("files", folder, _("this user cannot make the socket there"), _(_NO_SOCKET))
    return ok("files", folder, _("the socket's folder is in order"))


_NO_SOCKET = N_(
    "set run-dir to a folder of the gateway's user; without it commands such as `ogw status` find no gateway"
)


def _origin(config: Config, name: str) -> str:
    return config.origins[name][-1].source
