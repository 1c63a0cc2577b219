"""The least and the greatest value of every setting: a gateway starts with it, takes it at a reload, and goes on.

The values come from the settings themselves. A new setting that says no bounds of its own must be given values here.
"""

import contextlib
import os
import socket
import threading
import time

import pytest
from harness.bounds import NAME, Bounded, tls_echo
from harness.dns import Dns
from harness.gateway import address
from harness.issued import Issued, another_authority
from harness.peers import without
from harness.pki import Authority, write
from harness.signing import Signer
from harness.upstreams import Server, server_context

from ogw.settings.kinds import Bounded as Bounds
from ogw.settings.listen_tls import NAMES
from ogw.settings.settings import SETTINGS

HOUR = 3_600_000  # milliseconds
MANY = 1000
RULES = [f"h{number}.example" for number in range(MANY)]
NETWORKS = [f"10.{number // 256}.{number % 256}.0/24" for number in range(MANY)]
IDS = [f"01234567-89ab-cdef-0123-{number:012x}" for number in range(MANY)]
LONGEST_NAME = "n" * 255  # of a file
REPORT = {"policy-mode": "report", "report-until": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 9000))}
CERTIFICATES = {"unseen-client-certificate": "allow"}
RELAY = {"relay-proxy": f"http://{address()}:1", "relay-proxy-bypass": NAME}
LIST = {"allowed-host-source": f"https://{address()}:1/list"}  # nobody is there

# What else must be set, so that the value is used.
BESIDE = {
    "proxy-protocol": {"proxy-protocol-from": NETWORKS[:1]},
    "policy-mode": REPORT,
    "source-refresh": LIST,
    "source-timeout": LIST,
    "source-max-size": LIST,
    "unseen-client-certificate": {"tls-min-version": "1.0"},
    "relay-proxy-auth": {**RELAY, "relay-proxy-username": "u", "relay-proxy-password": "p"},
}
ALONE = ("workers", "listen-port")  # not together with all others: too many processes, and a place of its own


def values_of(name, folder, base):
    """Sets of settings, each with a least or a greatest value of this one."""
    if name == "listen-client-certificate":  # which needs files
        return _listen_tls(folder, base)
    extremes = getattr(SETTINGS[name].read, "extremes", None)
    if extremes is not None:
        # Kerberos needs a library that few have; it has tests of its own.
        return [{**BESIDE.get(name, {}), name: text} for text in extremes if text != "negotiate"]
    return WITHOUT_BOUNDS[name](folder, base)


def one_and_many(name, many, **beside):
    return lambda folder, base: [{**beside, name: many[:1]}, {**beside, name: many}]


def paths(name, **beside):
    """A path that is not there yet, and the longest name that a file can have."""
    return lambda folder, base: [{**beside, name: folder / "new"}, {**beside, name: folder / LONGEST_NAME}]


def _folders(folder, base):
    (folder / LONGEST_NAME).mkdir(exist_ok=True)
    return [{"presets-folder": folder / LONGEST_NAME}]


def _report_until(folder, base):
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 7 * 86400 - 5))
    times = ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00Z", until]
    return [*({**REPORT, "report-until": text} for text in times), {"report-until": "9999-12-31T23:59:59Z"}]


def _password(folder, base):
    (folder / "password").write_text("p" * 4000)
    (folder / "password").chmod(0o600)
    return [{**RELAY, "relay-proxy-username": "u", "relay-proxy-password-file": folder / "password"}]


def _keytab(folder, base):
    """With many keys."""
    texts = b"".join(len(text).to_bytes(2, "big") + text for text in (b"OGW.EXAMPLE", b"gateway"))
    key = b"\0\0\0\1" + b"\0\0\0\0" + b"\1" + b"\0\22" + b"\0\40" + b"k" * 32
    entry = b"\0\1" + texts + key
    (folder / "keytab").write_bytes(b"\5\2" + (len(entry).to_bytes(4, "big") + entry) * 500)
    (folder / "keytab").chmod(0o600)
    return [{**RELAY, "relay-proxy-keytab": folder / "keytab"}]


def _admin_files(folder, base):
    """All three, since none does anything alone: the longest token, and as many as there may be."""
    issued = Issued(folder, another_authority(), "127.0.0.1")
    Issued.put(folder / "tokens", "".join(f"{number:02}{'t' * 510}\n" for number in range(16)).encode())
    pair = {"admin-tls-certificate": issued.certificate, "admin-tls-key": issued.key}
    return [{"admin-address": address(), **pair, "admin-token-file": folder / "tokens"}]


def _listen_tls(folder, base):
    """A place where clients speak TLS, and all that it may be given; its key in a file of its own or not."""
    pki = Authority()
    (folder / "ca.pem").write_bytes(pki.pem)
    (folder / "crl.pem").write_bytes(pki.crl())
    own = write(folder / "own.pem", pki.server("127.0.0.1"))
    tls = {"listen-address": [base["listen-address"], f"tls://{address()}:8443"], "listen-tls-certificate": own}
    clients = {"listen-client-certificate": "required", "listen-client-ca": folder / "ca.pem"}
    return [tls, {**tls, "listen-tls-key": own, **clients, "listen-client-crl": folder / "crl.pem"}]


def _run_dir(folder, base):
    return [{"run-dir": folder / "r"}, {"run-dir": folder / ("r" * max(1, 95 - len(str(folder))))}]


def _places(name):
    return lambda folder, base: [{name: ""}, {name: f"{address()}:65535"}, {name: address()}]


WITHOUT_BOUNDS = {
    "listen-address": lambda folder, base: [
        {"listen-address": [base["listen-address"]]},
        {"listen-address": [base["listen-address"], *(f"127.31.{os.getpid() % 250}.{n}" for n in range(1, 256))]},
    ],
    **dict.fromkeys(NAMES, _listen_tls),
    "stage": lambda folder, base: [{"stage": "a"}, {"stage": "a" * 32}],
    "allowed-host-source-key": one_and_many("allowed-host-source-key", [Signer().word for _number in range(16)]),
    "admin-name": one_and_many("admin-name", [f"h{number}.example" for number in range(256)]),
    "proxy-protocol-from": one_and_many("proxy-protocol-from", NETWORKS, **{"proxy-protocol": "required"}),
    "allowed-host": lambda folder, base: [{"allowed-host": f"{NAME}:443"}, {"allowed-host": [f"{NAME}:443", *RULES]}],
    "preset": one_and_many("preset", ["log-analytics-agent", "operations-manager"], workspace=IDS[0]),
    "workspace": one_and_many("workspace", IDS, preset="log-analytics-agent"),
    "region": one_and_many("region", ["eastus2", "westeurope"], preset="azure-automation", account=IDS[0]),
    "account": one_and_many("account", IDS, preset="azure-automation", region="westeurope"),
    "data-collection-endpoint": one_and_many(
        "data-collection-endpoint",
        [f"e{n}.westeurope-1" for n in range(MANY)],
        preset="azure-monitor-agent",
        workspace=IDS[0],
        region="westeurope",
    ),
    "presets-folder": _folders,
    "allowed-host-source": one_and_many("allowed-host-source", [f"https://{address()}:1/{n}" for n in range(20)]),
    "agent-config": paths("agent-config"),
    "state-dir": paths("state-dir"),
    "denied-host": one_and_many("denied-host", RULES),
    "allowed-client": one_and_many("allowed-client", ["127.0.0.0/8", *NETWORKS]),
    "allowed-target-network": one_and_many("allowed-target-network", ["127.0.0.0/8", *NETWORKS]),
    "report-until": _report_until,
    "dns-server": lambda folder, base: [
        {"dns-server": [base["dns-server"]]},
        {
            "dns-server": [
                base["dns-server"],
                *(f"{address()}:{base['dns-server'].partition(':')[2]}" for _number in range(31)),
            ]
        },
    ],
    "tls-min-version": lambda folder, base: [{"tls-min-version": "1.0"}, {"tls-min-version": "1.3"}],
    "allowed-client-certificate": one_and_many("allowed-client-certificate", RULES, **CERTIFICATES),
    "client-certificate-hosts": one_and_many(
        "client-certificate-hosts", [NAME, *RULES], **{"allowed-client-certificate": "x", **CERTIFICATES}
    ),
    "relay-proxy": lambda folder, base: [
        RELAY,
        {**RELAY, "relay-proxy": [f"http://h{n}.example:{n + 1}" for n in range(32)]},
    ],
    "relay-proxy-username": lambda folder, base: [{**RELAY, "relay-proxy-username": "u" * 4000}],
    "relay-proxy-password": lambda folder, base: [
        {**RELAY, "relay-proxy-username": "u", "relay-proxy-password": "p" * 4000}
    ],
    "relay-proxy-password-file": _password,
    "relay-proxy-keytab": _keytab,
    "relay-proxy-principal": lambda folder, base: [
        {**RELAY, "relay-proxy-principal": "p@R"},
        {**RELAY, "relay-proxy-principal": f"{'p' * 2000}@{'R' * 2000}"},
    ],
    "relay-proxy-ticket-cache": paths("relay-proxy-ticket-cache", **RELAY),
    "relay-proxy-ca-file": lambda folder, base: [{**RELAY, "relay-proxy-ca-file": base["relay-proxy-ca-file"]}],
    "relay-proxy-bypass": one_and_many("relay-proxy-bypass", [NAME, *RULES], **{"relay-proxy": RELAY["relay-proxy"]}),
    "admin-address": _places("admin-address"),
    **dict.fromkeys(("admin-tls-certificate", "admin-tls-key", "admin-token-file"), _admin_files),
    "health-address": _places("health-address"),
    "run-dir": _run_dir,
    "log-file": paths("log-file"),
    "syslog": lambda folder, base: [
        {"syslog": "127.0.0.1:1"},
        {"syslog": "127.0.0.1:65535"},
        {"syslog": folder / "log"},
    ],
}


@pytest.fixture(scope="module")
def upstream(authority):
    with Server(tls_echo(server_context(authority, NAME))) as server, Dns({NAME: [server.host]}) as dns:
        yield server, dns


def _read_log(sock):
    with contextlib.suppress(OSError):
        while sock.recv(1 << 16):
            pass


@pytest.fixture
def base(upstream, tmp_path, authority_file):
    """The settings of a gateway that takes tunnels to the upstream by its name."""
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as system_log:
        system_log.bind(str(tmp_path / "log"))
        threading.Thread(target=_read_log, args=(system_log,), daemon=True).start()
        yield {
            "listen-address": address(),
            "listen-port": "8080",
            "workers": "1",
            "allowed-host": f"{NAME}:443",
            "allowed-target-network": "127.0.0.0/8",
            "dns-server": f"{upstream[1].host}:{upstream[1].port}",
            "run-dir": str(tmp_path / "run"),
            "state-dir": str(tmp_path / "state"),
            "admin-address": "",
            "relay-proxy-ca-file": authority_file,
        }
        system_log.shutdown(socket.SHUT_RDWR)


def test_every_setting_has_its_values_here(tmp_path, base):
    for name in SETTINGS:
        assert values_of(name, tmp_path, base), name
    assert not [name for name in WITHOUT_BOUNDS if hasattr(SETTINGS[name].read, "extremes")]


def all_at_once(which):
    """The least (0) or the greatest (1) of all that have bounds."""
    bounded = {name: one.read for name, one in SETTINGS.items() if isinstance(one.read, Bounds) and name not in ALONE}
    return {**LIST, **{name: read.extremes[which] for name, read in bounded.items()}}


@pytest.mark.parametrize("which", [0, 1])
def test_all_bounds_at_once_at_the_start_and_at_a_reload(base, tmp_path, authority, which):
    first, second = ({**base, **all_at_once(number)} for number in (which, 1 - which))
    with Bounded(tmp_path, first, authority) as gateway:
        gateway.passes_a_tunnel()
        for values in (base, second):
            gateway.reload(values)
            gateway.passes_a_tunnel()
            gateway.kill_a_worker()
            gateway.passes_a_tunnel()


def test_no_wait_is_longer_than_an_hour(base, tmp_path, authority):
    with Bounded(tmp_path, {**base, **all_at_once(1)}, authority) as gateway:
        gateway.passes_a_tunnel()
        until = time.monotonic() + 60
        seen = 0
        while seen < 100:
            assert time.monotonic() < until, seen
            time.sleep(0.01)
            try:
                waits = gateway.waits()
            except FileNotFoundError:
                continue  # a process ended while it was looked at
            if waits is None:
                without("the waits of a process cannot be seen here")
            seen += len(waits)
            assert max(waits, default=0) <= HOUR


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SETTINGS)
def test_the_bounds_of_each_setting(base, tmp_path, authority, name):
    if name == "listen-port" and os.geteuid() != 0:
        without("port 1 is root's")
    for number, values in enumerate(values_of(name, tmp_path, base)):
        folder = tmp_path / str(number)
        folder.mkdir()
        with Bounded(folder, {**base, **values}, authority) as gateway:
            gateway.passes_a_tunnel()
            gateway.reload({**base, "run-dir": gateway.run_dir})
            gateway.passes_a_tunnel()
            gateway.reload({**base, **values})
            gateway.kill_a_worker()
            gateway.passes_a_tunnel()
