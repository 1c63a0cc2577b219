"""The gateways and proxies that are compared, each as one worker or thread with its usual log."""

import contextlib
import pathlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from measuring.origin import make_certificate
from measuring.program import PORT, OwnGateway, Program, loopback
from measuring.tunnel import Way
from measuring.works import Subject
from ogw import __version__
from ogw.wire.place import place

# By service of the origin: where it listens.
Places = dict[str, tuple[str, int]]
_SBIN = "/usr/sbin:/sbin"  # where Debian has some of them, and PATH of users has not
_VERSION = re.compile(r"\d+\.\d+[\w.]*")


class Known(NamedTuple):
    """What can be compared.

    program  its command; "" for ogw itself
    told     what it does, in few words
    start    a context manager: the Subject, for an origin
    """

    name: str
    program: str
    told: str
    start: Callable[[Places], contextlib.AbstractContextManager[Subject]]

    @property
    def path(self) -> str:
        """Of its program; "" where it is not installed."""
        return shutil.which(self.program) or shutil.which(self.program, path=_SBIN) or ""

    @property
    def version(self) -> str:
        if not self.program:
            return __version__
        said = subprocess.run([self.path, "-v"], capture_output=True, text=True, check=False)
        found = _VERSION.search(said.stdout + said.stderr)
        return found[0] if found else ""


@contextlib.contextmanager
def _ogw(origin: Places) -> Iterator[Subject]:
    flags = ["--allowed-target-network", "127.0.0.0/8"]
    for host, port in origin.values():
        flags += ["--allowed-host", f"{place(host, port)} no-server-name"]
    with OwnGateway(flags, workers=1) as gateway:
        yield _by_connect(gateway, origin)


@contextlib.contextmanager
def _ogw_tls(origin: Places) -> Iterator[Subject]:
    with tempfile.TemporaryDirectory(prefix="ogw-") as folder, contextlib.ExitStack() as stack:
        own = pathlib.Path(folder) / "own.pem"
        make_certificate(own)
        host = loopback()
        flags = ["--allowed-target-network", "127.0.0.0/8", "--listen-tls-certificate", str(own)]
        flags += ["--listen-address", f"tls://{place(host, PORT)}"]
        for there in origin.values():
            flags += ["--allowed-host", f"{place(*there)} no-server-name"]
        gateway = stack.enter_context(OwnGateway(flags, workers=1))
        ways = {name: Way((host, PORT), place(*there), tls=True) for name, there in origin.items()}
        yield Subject(ways, lambda: gateway.processes)


@contextlib.contextmanager
def _squid(origin: Places) -> Iterator[Subject]:
    with _configured("squid", _SQUID) as (folder, command, at):
        with Program([*command, "-N", "-f", str(folder / "conf")], at) as program:
            yield _by_connect(program, origin)


@contextlib.contextmanager
def _tinyproxy(origin: Places) -> Iterator[Subject]:
    with _configured("tinyproxy", _TINYPROXY) as (folder, command, at):
        with Program([*command, "-d", "-c", str(folder / "conf")], at) as program:
            yield _by_connect(program, origin)


@contextlib.contextmanager
def _haproxy(origin: Places, tls: bool = False) -> Iterator[Subject]:
    """A port of its own for each service: it is not asked where to."""
    host = loopback()
    ways = {service: Way((host, PORT + number), None, tls) for number, service in enumerate(origin)}
    how = " ssl crt {folder}/own.pem ssl-min-ver TLSv1.2 no-tls-tickets" if tls else ""
    sections = "".join(
        f"listen {service}\n  bind {place(*way.gateway)}{how}\n  server origin {place(*origin[service])}\n"
        for service, way in ways.items()
    )
    with _configured("haproxy", _HAPROXY + sections) as (folder, command, _at):
        with Program([*command, "-db", "-f", str(folder / "conf")], (host, PORT)) as program:
            yield Subject(ways, lambda: program.processes)


def _by_connect(program: Program, origin: Places) -> Subject:
    return Subject(
        {name: Way(program.place, place(*there)) for name, there in origin.items()}, lambda: program.processes
    )


@contextlib.contextmanager
def _configured(name: str, text: str) -> Iterator[tuple[pathlib.Path, list[str], tuple[str, int]]]:
    """(a folder with its file `conf`, the begin of its command, where it will listen)."""
    host = loopback()
    with tempfile.TemporaryDirectory(prefix="ogw-") as made:
        folder = pathlib.Path(made)
        folder.chmod(0o777)  # some leave root behind, and write their log as somebody else
        make_certificate(folder / "own.pem")
        (folder / "conf").write_text(text.format(host=host, port=PORT, folder=folder))
        yield folder, [next(one for one in KNOWN if one.program == name).path], (host, PORT)


_SQUID = """http_port {host}:{port}
acl all src all
acl SSL_ports port 1-65535
http_access allow all
cache deny all
access_log stdio:{folder}/access.log
cache_log /dev/null
pid_filename none
max_filedescriptors 20000
cache_mem 8 MB
logfile_rotate 0
pinger_enable off
shutdown_lifetime 0 seconds
"""
_TINYPROXY = """Port {port}
Listen {host}
MaxClients 20000
Timeout 600
LogLevel Connect
LogFile "{folder}/log"
"""
_HAPROXY = """global
  nbthread 1
  maxconn 9000
  log stdout format raw local0
defaults
  mode tcp
  log global
  option tcplog
  maxconn 9000
  timeout connect 10s
  timeout client 10m
  timeout server 10m
"""

KNOWN = (
    Known("ogw", "", "rules, TLS rules, two log lines a tunnel, metrics", _ogw),
    Known("squid", "squid", "a log line a tunnel", _squid),
    Known("tinyproxy", "tinyproxy", "log lines of each tunnel, a thread each", _tinyproxy),
    Known("haproxy (TCP)", "haproxy", "less: a log line a connection, to one server, whatever is asked", _haproxy),
)
# What clients speak TLS to.
KNOWN_TLS = (
    Known("ogw (tls://)", "", "TLS, rules, TLS rules, two log lines a tunnel, metrics", _ogw_tls),
    Known("haproxy (TLS)", "haproxy", "less: TLS, a log line a connection, to one server", partial(_haproxy, tls=True)),
)
