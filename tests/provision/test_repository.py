"""docs/fleet.md, done as it stands there: a repository that is signed, gateways of it, the next version, and back."""

import contextlib
import http.server
import re
import shutil
import subprocess
import types

import pytest
from harness.ansible import REACHED, Playbook, program, without_debian
from harness.booted import Booted
from harness.debs import NEXT, THIS, debs
from harness.gateway import read_exactly
from harness.pages import blocks
from harness.peers import peer
from harness.roots import CLEAN, RELEASES, Copy
from harness.service import Service
from harness.upstreams import Server, echo

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]
PAGE = "fleet.md"
HOST = "gw-2.example.com"  # of the page of the role; it follows ogw-stable
TARGET = "127.0.0.1:443"
NAMES = "127.0.0.1 localhost packages.example.com\n"
AS_ROOT = {"tls-rules": False, "allowed-host": ["127.0.0.0/8"], "allowed-target-network": ["127.0.0.0/8"]}


class Repository:
    """On this machine, in a home of its own; `does` what a block of the page says. Use as a context manager.

    public  the folder that a web server is to offer
    """

    def __init__(self, home, packages):
        self._home = home
        self.public = home / "packages" / "public"
        peer("reprepro")
        peer("gpg")
        make = blocks(PAGE, "The repository")
        self._sh(re.sub(r"^sudo .*\n", "", make[0]))  # tools/test has installed them
        for name in packages.glob("*.deb"):
            shutil.copy(name, home / "packages" / "debs")
        self.said = self._sh(make[1])

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._sh("gpgconf --kill all")

    def does(self, heading, number=0):
        self._sh(blocks(PAGE, heading)[number])

    def _sh(self, script):
        done = subprocess.run(
            ["sh", "-euc", script], env={**CLEAN, "HOME": str(self._home)}, cwd=self._home, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_args):
        pass


class Web(Server):
    """A web server on port 80 that offers a folder."""

    def __init__(self, folder):
        super().__init__(self._answer, port=80, host="127.0.0.1")
        self._folder = folder

    def _answer(self, connection):
        _Files(connection, ("127.0.0.1", 80), self, directory=str(self._folder))


@pytest.fixture
def repository(tmp_path, tmp_path_factory):
    program()  # while there is a way to it
    with Repository(tmp_path, debs(tmp_path_factory)) as made:
        assert made.said.count(f" {THIS}") == 2, made.said  # for two architectures
        yield made


@pytest.fixture(params=RELEASES)
def site(request, repository):
    """A machine that knows where the repository is, and has its key lying there."""
    with Copy(request.param, REACHED) as copy:
        without_debian(copy)
        copy.write("/etc/hosts", NAMES)
        copy.write("/root/ogw-packages.asc", (repository.public / "ogw-packages.asc").read_text())
        with Booted(copy.folder) as machine, machine.network(), Server(echo, host="127.0.0.1"), Web(repository.public):
            yield types.SimpleNamespace(machine=machine, copy=copy, service=Service(machine, copy))


def version(machine):
    return machine.run("dpkg-query", "--show", "--showformat=${Version}", "ogw").stdout


def test_the_page_step_by_step_and_what_was_tampered_with(repository, site):
    machine, service = site.machine, site.service
    machine.sh(f"cd /root && {blocks(PAGE, 'A gateway of it')[0]}")
    service.write_ini()
    machine.run("systemctl", "start", "ogw")
    tunnel, _head = service.ask(TARGET)
    with tunnel:
        repository.does("The next version")
        _update(machine)
        assert version(machine) == THIS, "it is at the canaries only"
        repository.does("The next version", 1)
        for file, told in _tampered(repository.public):
            with file:
                _update(machine, told)
                assert version(machine) == THIS
        pid = service.pid
        _update(machine)
        assert version(machine) == NEXT and service.pid != pid and service.passes(TARGET)
        tunnel.sendall(b"still")
        assert read_exactly(tunnel, 5) == b"still"
    repository.does("Going back")
    going = blocks(PAGE, "Going back")[1].splitlines()
    machine.sh("\n".join(line for line in going if line.startswith("sudo ")))
    assert version(machine) == THIS and service.passes(TARGET)


def _update(machine, told=""):
    """As the page says, which is refused where `told`."""
    machine.sh("rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin")  # what comes within a second is as old to apt
    done = machine.sh("apt update && apt install --yes ogw", check=False)
    assert (done.returncode != 0 and told in done.stdout + done.stderr) if told else done.returncode == 0, done


def _tampered(public):
    """On the way: (a context in which it is, what apt says)."""
    (package,) = public.glob(f"ogw/pool/main/o/ogw/ogw_{NEXT}_all.deb")
    lists = public / "ogw/dists/ogw-stable"
    yield _changed(package, lambda data: data[:-1] + bytes([data[-1] ^ 1])), "Hash Sum mismatch"
    yield (
        _changed(lists / "InRelease", lambda data: data.replace(b"Components: main", b"Components: mine")),
        "signature",
    )


@contextlib.contextmanager
def _changed(file, change):
    data = file.read_bytes()
    assert change(data) != data
    file.write_bytes(change(data))
    yield
    file.write_bytes(data)


@pytest.mark.parametrize("site", ["trixie"], indirect=True)
def test_the_role_follows_it(repository, site, tmp_path):
    playbook = Playbook(tmp_path, site.machine, site.copy)
    (playbook.folder / "files").mkdir()
    shutil.copy(repository.public / "ogw-packages.asc", playbook.folder / "files")
    playbook.of_host(HOST, ogw_settings_of_host=AS_ROOT)
    told = playbook.run(HOST, "--check", "--diff")
    assert not told.failed and "from http://packages.example.com/ogw, suite ogw-stable" in told.said, told.said
    for changes in (True, False):
        done = playbook.run(HOST)
        assert not done.failed and bool(done.changed) == changes, done.said
    assert version(site.machine) == THIS and site.service.passes(TARGET)
    repository.does("The next version")
    repository.does("The next version", 1)
    tunnel, _head = site.service.ask(TARGET)
    with tunnel:
        done = playbook.run(HOST)
        assert not done.failed and version(site.machine) == NEXT, done.said
        tunnel.sendall(b"still")
        assert read_exactly(tunnel, 5) == b"still"
