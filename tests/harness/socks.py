"""Proxies that speak SOCKS 5: dante and microsocks, and one that says what a test wants."""

import os
import pathlib
import shutil
import subprocess

import pytest
from harness.gateway import read_exactly
from harness.peers import PATH, peer, root
from harness.relays import PORT, Proxy
from harness.upstreams import Server, echo

OPENED = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x01\xbb"
GRANTED = b"\x01\x00"
NO_LOGIN, LOGIN, NONE_OF_THEM = b"\x05\x00", b"\x05\x02", b"\x05\xff"


class _Apart(Proxy):
    """A program with a /etc/hosts of its own, and all its processes, which end with it. Needs root.

    names  host by name
    files  more that are its own: path -> text; written over in place, they are so at once
    """

    def __init__(self, names=(), files=(), **more):
        root()
        super().__init__(**more)
        self._unshare = peer("unshare")
        hosts = "".join(f"{host} {name}\n" for name, host in dict(names).items())
        self._files = {"/etc/hosts": hosts, **dict(files)}
        for path, text in self._files.items():
            self._own(path).write_text(text)

    def _own(self, path):
        return self.folder / os.path.basename(path)

    def program(self):
        """The words of its command line."""
        raise NotImplementedError

    def command(self):
        mounts = "".join(f"mount --bind {self._own(path)} {path} && " for path in self._files)
        apart = [
            self._unshare,
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            f'{mounts}{{ "$@" & wait; }}',
            "sh",
        ]
        return apart + self.program()


class Dante(_Apart):
    """With `users` it wants a user name: they are the system's, in an /etc/passwd of its own."""

    def __init__(self, names=(), users=None, method=None, rules=(), **more):
        nobody = "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"
        listed = "".join(f"{user}:x:{10000 + place}:65534::/:/bin/false\n" for place, user in enumerate(users or ()))
        files = {"/etc/passwd": nobody + listed, "/etc/shadow": _shadow(users or {})}
        super().__init__(names, files, **more)
        lines = [
            "logoutput: stdout",
            f"internal: {self.host} port = {PORT}",
            "external: lo",
            "clientmethod: none",
            f"socksmethod: {method or ('username' if users else 'none')}",
            "user.privileged: root",
            "user.unprivileged: nobody",
            "timeout.connect: 5",
            "client pass { from: 0/0 to: 0/0 }",
            *rules,
            "socks pass { from: 0/0 to: 0/0 }",
        ]
        (self.folder / "danted.conf").write_text("\n".join(lines) + "\n")

    def set_users(self, users):
        """Their passwords from now on; as long as those before, so that no half of it is ever read."""
        with self._own("/etc/shadow").open("r+b") as file:
            text = _shadow(users).encode()
            assert len(text) == os.fstat(file.fileno()).st_size
            os.pwrite(file.fileno(), text, 0)

    def program(self):
        if shutil.which("danted", path=PATH) is None and "trixie" in pathlib.Path("/etc/os-release").read_text():
            pytest.skip("Debian 13 has no dante-server")
        return [peer("danted"), "-f", str(self.folder / "danted.conf")]


class Microsocks(_Apart):
    """With `user`, whose name and password it is, it wants one."""

    def __init__(self, names=(), user=None, **more):
        super().__init__(names, **more)
        self._login = ["-u", user[0], "-P", user[1]] if user else []

    def program(self):
        return [peer("microsocks"), "-i", self.host, "-p", str(PORT), *self._login]


def _shadow(users):
    lines = []
    for user, password in users.items():
        # The same salt each time: what is longer or shorter could be read by halves.
        command = [peer("openssl"), "passwd", "-1", "-salt", "bench", "-stdin"]
        done = subprocess.run(command, input=f"{password}\n".encode(), capture_output=True, check=True, timeout=20)
        lines.append(f"{user}:{done.stdout.decode().strip()}:19000:0:99999:7:::\n")
    return "".join(lines)


class Speaking(Server):
    """A SOCKS 5 proxy that says these things, each when it was asked: bytes, or a function of the connection to call.

    method  in answer to what it was offered
    login   in answer to a user name, where the method asks for one
    reply   in answer to the request
    then    goes on with the connection
    asked   collects what it was told by each: the list of the methods, the login if any, the request
    """

    def __init__(self, method=NO_LOGIN, login=GRANTED, reply=OPENED, then=echo, **more):
        super().__init__(self._speak, port=PORT, **more)
        self.method, self.login, self.reply, self.then = method, login, reply, then
        self.asked = []

    @property
    def place(self):
        return f"{self.host}:{PORT}"

    def _speak(self, connection):
        told = []
        self.asked.append(told)
        head = _exactly(connection, 2)
        told.append(head + _exactly(connection, head[1]))
        _say(connection, self.method)
        if self.method == LOGIN:
            user = _exactly(connection, 2)
            user += _exactly(connection, user[1])
            password = _exactly(connection, 1)
            told.append(user + password + _exactly(connection, password[0]))
            _say(connection, self.login)
        head = _exactly(connection, 5)
        told.append(head + _exactly(connection, {1: 5, 4: 17}.get(head[3], head[4] + 2)))
        _say(connection, self.reply)
        self.then(connection)


def _exactly(connection, size):
    """The next bytes of a client that goes on; OSError where it does not."""
    data = read_exactly(connection, size)
    if len(data) < size:
        raise ConnectionAbortedError
    return data


def _say(connection, what):
    if callable(what):
        what(connection)
    else:
        connection.sendall(what)
