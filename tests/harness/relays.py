"""Real proxies to go out through: squid, tinyproxy, and haproxy that terminates TLS in front of one of them."""

import contextlib
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
NCSA = "/usr/lib/squid/basic_ncsa_auth"


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
    """Knows the names that it is given, and nothing else; with `users` it wants Basic credentials."""

    def __init__(self, names, users=(), **more):
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
            if not os.path.exists(NCSA):
                without("squid's basic_ncsa_auth is not installed here")
            self._write_users(users)
            lines += [
                f"auth_param basic program {NCSA} {self.folder}/users",
                "auth_param basic realm ogw",
                "auth_param basic credentialsttl 1 second",
                "auth_param basic utf8 off",
                "acl known proxy_auth REQUIRED",
                "http_access allow known",
                "http_access deny all",
            ]
        else:
            lines.append("http_access allow all")
        (self.folder / "squid.conf").write_text("\n".join(lines) + "\n")

    def _write_users(self, users):
        hashed = []
        for user, password in dict(users).items():
            command = [peer("openssl"), "passwd", "-apr1", "-stdin"]
            done = subprocess.run(command, input=f"{password}\n".encode(), capture_output=True, check=True, timeout=20)
            hashed.append(f"{user}:".encode() + done.stdout)
        path = self.folder / "users"
        path.write_bytes(b"".join(hashed))
        path.chmod(0o644)

    def set_users(self, users):
        """basic_ncsa_auth reads its file again when it changes."""
        self._write_users(users)

    def command(self):
        return [peer("squid"), "-N", "-f", str(self.folder / "squid.conf")]


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
