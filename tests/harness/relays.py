"""Real proxies to go out through: squid, tinyproxy, and haproxy that terminates TLS in front of one of them."""

import contextlib
import hashlib
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

from harness.gateway import address, read_head
from harness.peers import peer, without
from harness.waiting import until

PORT = 3128
HELPERS = "/usr/lib/squid"
REALM = "ogw"


class Proxy:
    """A program that listens on an address of its own. Use as a context manager; `stop` and `start` it in between."""

    def __init__(self, host=None):
        self.host = host or address()
        self._process = None
        # Some give up root's rights before they read their files.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ogw-relay-"))
        self.folder.chmod(0o755)

    @property
    def place(self):
        return f"{self.host}:{PORT}"

    def command(self):
        raise NotImplementedError

    def __enter__(self):
        self.start()
        return self

    def start(self):
        with (self.folder / "output").open("wb") as output:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.folder
            )
        until(self._listens, what=self._said)

    def _listens(self):
        assert self._process.poll() is None, self._said()
        with contextlib.suppress(OSError):
            socket.create_connection((self.host, PORT), timeout=5).close()
            return True

    def _said(self):
        return (self.folder / "output").read_text(errors="replace")

    def stop(self):
        self._process.kill()
        self._process.wait()

    def __exit__(self, *exception):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Squid(Proxy):
    """Knows the names that it is given, and nothing else; with `users` it wants credentials, by these schemes."""

    def __init__(self, names, users=(), schemes=("basic",), **more):
        super().__init__(**more)
        (self.folder / "hosts").write_text("".join(f"{host} {name}\n" for name, host in names.items()))
        lines = [
            f"http_port {self.place}",
            f"hosts_file {self.folder}/hosts",
            "dns_nameservers 127.0.0.1",
            "dns_timeout 1 second",
            "connect_timeout 2 seconds",
            "pid_filename none",
            "cache deny all",
            "access_log none",
            "cache_log /dev/null",
            "cache_mem 8 MB",
            "max_filedescriptors 4096",
            f"coredump_dir {self.folder}",
        ]
        if users:
            self.set_users(users)
            lines += [line for scheme in schemes for line in self._asking_for(scheme)]
            lines += ["acl known proxy_auth REQUIRED", "http_access allow known", "http_access deny all"]
        else:
            lines.append("http_access allow all")
        (self.folder / "squid.conf").write_text("\n".join(lines) + "\n")

    def _asking_for(self, scheme):
        """Whoever has another password by now is to be known soon."""
        helper, flags, more = {
            "basic": ("basic_ncsa_auth", "", ["credentialsttl 1 second", "utf8 off"]),
            "digest": ("digest_file_auth", "-c ", ["nonce_max_duration 2 seconds", "nonce_garbage_interval 1 second"]),
        }[scheme]
        if not os.path.exists(f"{HELPERS}/{helper}"):
            without(f"squid's {helper} is not installed here")
        lines = [f"program {HELPERS}/{helper} {flags}{self.folder}/{scheme}", f"realm {REALM}", *more]
        caches = ["authenticate_ttl 1 second", "authenticate_cache_garbage_interval 1 second"]
        return [f"auth_param {scheme} {line}" for line in lines] + caches

    def set_users(self, users):
        """The helpers read their files again when they change."""
        basic, digest = [], []
        for user, password in dict(users).items():
            command = [peer("openssl"), "passwd", "-apr1", "-stdin"]
            done = subprocess.run(command, input=f"{password}\n".encode(), capture_output=True, check=True, timeout=20)
            basic.append(f"{user}:".encode() + done.stdout)
            secret = hashlib.md5(f"{user}:{REALM}:{password}".encode()).hexdigest()
            digest.append(f"{user}:{REALM}:{secret}\n".encode())
        for name, lines in (("basic", basic), ("digest", digest)):
            path = self.folder / name
            new = self.folder / f"{name}.new"
            new.write_bytes(b"".join(lines))
            new.chmod(0o644)
            if path.exists():  # the helpers compare whole seconds, and both may be of the same one
                later = path.stat().st_mtime + 2
                os.utime(new, (later, later))
            new.replace(path)

    def command(self):
        return [peer("squid"), "-N", "-n", self._service, "-f", str(self.folder / "squid.conf")]

    @property
    def _service(self):
        """What its shared memory is called: that of another squid on the machine may be another user's."""
        return "ogw" + "".join(filter(str.isalnum, self.folder.name))

    def stop(self):
        super().stop()
        for path in pathlib.Path("/dev/shm").glob(f"{self._service}-*"):
            path.unlink(missing_ok=True)


class Tinyproxy(Proxy):
    def __init__(self, user, password, **more):
        super().__init__(**more)
        lines = [f"Port {PORT}", f"Listen {self.host}", "Timeout 30", "MaxClients 50", f"BasicAuth {user} {password}"]
        (self.folder / "tinyproxy.conf").write_text("\n".join(lines) + "\n")

    def command(self):
        return [peer("tinyproxy"), "-d", "-c", str(self.folder / "tinyproxy.conf")]


class Haproxy(Proxy):
    """Terminates TLS with the certificate and passes on to another proxy."""

    def __init__(self, behind, certificate, **more):
        super().__init__(**more)
        (self.folder / "haproxy.pem").write_bytes(certificate)
        (self.folder / "haproxy.cfg").write_text(
            "global\n  maxconn 500\ndefaults\n  mode tcp\n  timeout connect 5s\n"
            "  timeout client 60s\n  timeout server 60s\n"
            f"listen tls\n  bind {self.place} ssl crt {self.folder}/haproxy.pem\n  server behind {behind}\n"
        )

    def command(self):
        return [peer("haproxy"), "-db", "-f", str(self.folder / "haproxy.cfg")]


def playing(*said, heads=None):
    """A relay that reads the CONNECT and says each of these: bytes, or a function of the connection to call."""

    def serve(connection):
        head = read_head(connection)
        if heads is not None:
            heads.append(head)
        for each in said:
            if callable(each):
                each(connection)
            else:
                connection.sendall(each)

    return serve
