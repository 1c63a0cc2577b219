"""A Kerberos realm of a test's own: a real KDC on loopback, its principals, and the files of those who use it."""

import contextlib
import importlib.util
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile

import pytest
from harness.clocks import ahead
from harness.gateway import address, free_port
from harness.peers import peer, without
from harness.waiting import until

REALM = "OGW.EXAMPLE"
FOLDER = "ogw-gssapi"
DEBIANS = pathlib.Path("/usr/lib/python3/dist-packages")


class Realm:
    """Use as a context manager; `stop` and `start` the KDC in between.

    more   lines for [libdefaults] of krb5.conf, which the gateway and the relay proxy use
    clock  by how much the KDC's is ahead, as faketime has it
    """

    def __init__(self, *more, clock=""):
        self._before = ahead(clock)
        self.host = address()
        self.port = free_port(self.host)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ogw-realm-"))
        self.folder.chmod(0o755)  # squid gives up root's rights before its helper reads what is here
        self._process = None
        settings = [f"default_realm = {REALM}", "dns_lookup_kdc = false", "dns_canonicalize_hostname = false",
                    "rdns = false", *more]  # fmt: skip
        defaults = "".join(f"  {line}\n" for line in settings)
        place = f"{self.host}:{self.port}"
        (self.folder / "krb5.conf").write_text(
            f"[libdefaults]\n{defaults}[realms]\n  {REALM} = {{\n    kdc = {place}\n  }}\n"
        )
        (self.folder / "kdc.conf").write_text(
            f"[kdcdefaults]\n  kdc_listen = {place}\n  kdc_tcp_listen = {place}\n"
            f"[realms]\n  {REALM} = {{\n    database_name = {self.folder}/principal\n"
            f"    key_stash_file = {self.folder}/stash\n    acl_file = {self.folder}/acl\n"
            "    max_life = 10h\n    default_principal_flags = +preauth\n  }\n"
            f"[logging]\n  kdc = FILE:{self.folder}/kdc.log\n"
        )

    @property
    def environment(self):
        """Of programs that use it."""
        return {"KRB5_CONFIG": f"{self.folder}/krb5.conf", "KRB5CCNAME": f"FILE:{self.folder}/nobody"}

    def _run(self, *words, **more):
        environment = {**os.environ, **self.environment, "KRB5_KDC_PROFILE": f"{self.folder}/kdc.conf"}
        return subprocess.run(words, env=environment, capture_output=True, check=True, timeout=60, text=True, **more)

    def admin(self, *queries):
        """What kadmin.local says to these."""
        return self._run(peer("kadmin.local"), "-r", REALM, input="\n".join(queries) + "\n").stdout

    def add(self, principal, keytab=None, more=""):
        """A principal with keys of chance, which are written to the keytab. Its path."""
        path = self.folder / (keytab or principal.replace("/", "-"))
        path.unlink(missing_ok=True)
        options = f"addprinc -randkey {more} {principal}"
        self.admin(options, f"ktadd -k {path} {principal}")
        path.chmod(0o644)  # of squid's helper, too
        return path

    def ticket(self, principal, keytab, *more):
        """A cache with a ticket for it, as kinit fetches one."""
        cache = self.folder / f"{principal}.cache"
        self._run(peer("kinit"), *more, "-c", f"FILE:{cache}", "-k", "-t", str(keytab), principal)
        return cache

    def asked(self, what):
        """How often the KDC was asked, as its log says: AS_REQ, or TGS_REQ."""
        log = self.folder / "kdc.log"
        return sum(what in line for line in log.read_text().splitlines()) if log.exists() else 0

    def __enter__(self):
        peer("krb5kdc")
        self._run(peer("kdb5_util"), "create", "-s", "-r", REALM, "-P", "master")
        self.start()
        return self

    def start(self):
        environment = {**os.environ, **self.environment, "KRB5_KDC_PROFILE": f"{self.folder}/kdc.conf"}
        with (self.folder / "output").open("wb") as output:
            self._process = subprocess.Popen(
                [*self._before, peer("krb5kdc"), "-n", "-r", REALM, "-P", f"{self.folder}/pid"],
                env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        until(self._listens, what=lambda: (self.folder / "output").read_text())

    def _listens(self):
        assert self._process.poll() is None, (self.folder / "output").read_text()
        with contextlib.suppress(OSError):
            socket.create_connection((self.host, self.port), timeout=5).close()
            return True

    def stop(self):
        self._process.kill()
        self._process.wait()

    @contextlib.contextmanager
    def silent(self):
        """Meanwhile the KDC takes what it is asked, and never answers."""
        self.stop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind((self.host, self.port))
            with socket.create_server((self.host, self.port)):
                yield
        self.start()

    def __exit__(self, *exception):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def gssapi_path():
    """PYTHONPATH for a gateway that has gssapi: pip's where it is there, else Debian's python3-gssapi alone.

    pip would compile it, for a minute; Debian's is built for Debian's Python, which may be that of the tests.
    """
    found = importlib.util.find_spec("gssapi")
    if found is not None and found.origin is not None:
        # By where it was found: it may be imported already, and sys.path be another since.
        place = pathlib.Path(found.origin).parent.parent
        return str(place) if place.name.endswith(FOLDER) else ""
    if not list(DEBIANS.glob(f"gssapi/raw/*.cpython-{sys.version_info[0]}{sys.version_info[1]}-*")):
        without("neither pip's gssapi nor Debian's python3-gssapi for this Python is installed here")
    folder = pathlib.Path(tempfile.gettempdir()) / f"{os.getuid()}-{FOLDER}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for name in ("gssapi", "decorator.py", "six.py"):
        with contextlib.suppress(FileExistsError):
            (folder / name).symlink_to(DEBIANS / name)
    return str(folder)


def with_gssapi(module):
    """This module of the gateway, which imports gssapi: without that, its tests are skipped, or fail in CI."""
    try:
        sys.path.append(gssapi_path())
    except pytest.skip.Exception as skipped:
        pytest.skip(skipped.msg, allow_module_level=True)
    return importlib.import_module(module)
