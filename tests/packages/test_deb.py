"""The native package: what it has, and its life on a Debian of its own, from the first hour to the last file."""

import contextlib
import gzip
import pathlib
import re
import shutil
import subprocess
import types

import pytest
from harness.booted import Booted
from harness.clones import become, clone, package
from harness.commands import ROOT, clean
from harness.load import Load
from harness.pages import rows
from harness.peers import peer, without
from harness.roots import RELEASES, Copy, run
from harness.service import Service
from harness.upstreams import Server, echo, server_context
from harness.waiting import PATIENCE

from ogw.cli.commands import COMMANDS
from ogw.settings.settings import SETTINGS

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]
NEXT = "99.0"
HERE = pathlib.Path(__file__).parent
HELD, A_SECOND = 50, 100  # of a client: tunnels that stay open, and new ones a second
# What a machine writes by itself, and what dpkg remembers.
OF_THE_MACHINE = "|".join([
    "/(proc|sys|dev|run|tmp|root|var/(cache|tmp|log/(journal|apt)|lib/(dpkg|apt|systemd)))(/.*)?",
    "/var/log/(dpkg.log|[bw]tmp.*|lastlog)|/etc/(passwd|group|shadow|gshadow|subuid|subgid)-|/etc/.pwd.lock",
    ".*/__pycache__(/.*)?",
])  # fmt: skip


def debian(tree, output):
    return pathlib.Path(package(tree, "deb", "--output", output).stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A clone of these sources, on a machine that can build the package."""
    lacks = run([peer("dpkg-checkbuilddeps"), str(ROOT / "conf/debian/control")], check=False).stderr
    if lacks:
        without(f"{lacks.strip()}; tools/test --long installs it when it runs as root on Debian")
    return clone(tmp_path_factory.mktemp("tree") / "ogw")


@pytest.fixture(scope="module")
def this(tree, tmp_path_factory):
    """The package of these sources."""
    return debian(tree, tmp_path_factory.mktemp("this"))


@pytest.fixture(scope="module")
def following(tree, this, tmp_path_factory):
    """That of the next version."""
    later = shutil.copytree(tree, tmp_path_factory.mktemp("next") / "ogw", symlinks=True)
    become(later, NEXT)
    return debian(later, later.parent)


@pytest.fixture(params=RELEASES)
def copy(request, this, following):
    """A clean root in which both lie in /root."""
    with Copy(request.param) as copy:
        shutil.copy(this, copy.folder / "root" / "this.deb")
        shutil.copy(following, copy.folder / "root" / "next.deb")
        yield copy


# What it has.


def test_the_same_commit_gives_the_same_bytes_wherever_it_lies(tree, this, tmp_path):
    elsewhere = shutil.copytree(tree, tmp_path / "of a longer name" / "ogw", symlinks=True)
    assert debian(elsewhere, tmp_path).read_bytes() == this.read_bytes()


def test_lintian_finds_no_mistake(this):
    done = run([peer("lintian"), "--allow-root", "--fail-on", "error,warning", str(this)], check=False)
    assert done.returncode == 0, done.stdout


def test_it_has_every_file_and_no_conffile(this, tmp_path):
    run([peer("dpkg-deb"), "-x", str(this), str(tmp_path)])
    kept = [path for path in ROOT.glob("ogw/**/*") if path.is_file() and path.suffix not in (".pyc", ".po")]
    ours = {path.relative_to(ROOT) for path in kept}
    there = tmp_path / "usr/lib/python3/dist-packages"
    assert {path.relative_to(there) for path in there.glob("ogw/**/*") if path.is_file()} == ours
    assert "conffiles" not in run([peer("dpkg-deb"), "--info", str(this)]).stdout
    doc = tmp_path / "usr/share/doc/ogw"
    linked = {name: doc / "conf" / name for name in ("ogw.ini", "ogw.service")}
    packaging = {"bundle", "container", "debian", "helm", "lock", *linked}
    assert {path.name for path in (ROOT / "conf").iterdir()} - packaging == {
        path.name for path in (doc / "conf").iterdir()
    } - {*linked}
    for name, link in linked.items():
        target = tmp_path / (doc / "conf" / link.readlink()).resolve().relative_to(tmp_path)
        assert target.read_bytes() == (ROOT / "conf" / name).read_bytes()
    newest = gzip.decompress((doc / "changelog.gz").read_bytes()).decode().splitlines()[0]
    assert re.fullmatch(r"ogw \(\S+\) unstable; urgency=medium", newest)
    shells = ("bash-completion/completions/ogw", "zsh/vendor-completions/_ogw", "fish/vendor_completions.d/ogw.fish")
    for path in shells:
        assert "allowed-host" in (tmp_path / "usr/share" / path).read_text()


def test_what_goes_with_it_is_what_the_page_says(this, tmp_path):
    run([peer("dpkg-deb"), "-x", str(this), str(tmp_path)])
    ours = [names for names, _what, gone, _purged in rows("install.md", "The Debian package") if gone == "goes"]
    told = re.findall(r"`/([^`]+)`", "".join(ours))
    assert len(told) == 6 and all((tmp_path / name).exists() for name in told)
    there = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if not path.is_dir()]
    others = "|".join([*map(re.escape, told), "usr/share/(bash-completion|zsh|fish|lintian)", r"usr/lib/.+\.dist-info"])
    assert [path for path in there if not re.match(rf"({others})(/|$)", path)] == []


def test_every_command_has_a_man_page_that_groff_takes_and_every_setting_an_entry(this, tmp_path):
    run([peer("dpkg-deb"), "-x", str(this), str(tmp_path)])
    folder = tmp_path / "usr/share/man"
    wanted = {"ogw.1.gz", *(f"ogw-{command.words.replace(' ', '-')}.1.gz" for command in COMMANDS)}
    assert {path.name for path in (folder / "man1").iterdir()} == wanted
    shown = {path.name: _shown(path) for path in folder.rglob("*.gz")}
    for command in COMMANDS:
        assert f"ogw {command.words}" in shown["ogw.1.gz"]
        assert "EXIT STATUS" in shown[f"ogw-{command.words.replace(' ', '-')}.1.gz"] or command.takes
    for setting in SETTINGS.values():
        assert re.search(rf"^ +{re.escape(f'{setting.name} = {setting.placeholder}')}$", shown["ogw.ini.5.gz"], re.M)


def _shown(page):
    """As a terminal of 200 columns shows it."""
    done = subprocess.run(
        [peer("man"), "--warnings", "--local-file", page],
        env=clean(MANWIDTH="200", LC_ALL="C"), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), page
    return done.stdout


def test_it_starts_for_every_setting_that_allows_anything():
    script = (ROOT / "conf/debian/postinst").read_text()
    asked = re.search(r"for name in (.+); do", script)[1].split()
    assert {*asked} == {name for name, setting in SETTINGS.items() if setting.allows}


# Its life.


def test_a_newcomers_first_hour(copy, authority):
    shutil.copy(HERE / "first_hour.sh", copy.folder / "root")
    authority.cert_pem.write_to_path(str(copy.folder / "root" / "authority.pem"))
    with (copy.folder / "etc/hosts").open("a") as hosts:
        hosts.write("127.0.0.1 www.example.com www.example.org\n")
    context = server_context(authority, "www.example.com", "www.example.org")

    def serve(connection):
        with context.wrap_socket(connection, server_side=True) as session:
            session.recv(1 << 16)
            session.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")

    with Booted(copy.folder) as machine, machine.network(), Server(serve, host="127.0.0.1"):
        before = _files(machine)
        done = machine.run(
            "sh", "-c", f"cd /root && exec sh ./first_hour.sh ./this.deb ./next.deb {NEXT}", check=False,
            timeout=300 * PATIENCE,
        )  # fmt: skip
        assert done.returncode == 0, (done.stdout, done.stderr, machine.run("journalctl", "--unit=ogw").stdout)
        assert _files(machine) == before
        assert machine.sh("getent passwd ogw; getent group ogw", check=False).stdout == ""


def _files(machine):
    found = machine.run("find", "/", "-xdev", "-regextype", "posix-extended", "-regex", OF_THE_MACHINE, "-prune", "-o",
                        "-print", timeout=60 * PATIENCE)  # fmt: skip
    return set(found.stdout.splitlines())


def test_an_upgrade_refuses_no_client_and_loses_none(copy):
    """One that holds tunnels and opens new ones all the time."""
    with _installed(copy) as service, Server(echo, host="127.0.0.1"):
        with _client(HELD, A_SECOND) as load:
            load.wait_for(A_SECOND)
            before, doors = service.pid, _doors(service)
            done = service.machine.run("dpkg", "--install", "/root/next.deb", timeout=300 * PATIENCE)
            assert f"upgraded: ogw {NEXT} serves" in done.stderr and service.pid != before
            assert _doors(service) == doors, "they were to be handed over"
            load.wait_for(A_SECOND)
            load.wait_for_exchanges(HELD)
            assert load.broken == []


def _doors(service):
    """The listening sockets, by their inodes."""
    return {*re.findall(r" ino:(\d+) ", service.machine.sh("ss -ltneH sport = 8080").stdout)}


def _client(held, a_second):
    place = types.SimpleNamespace(address="127.0.0.1")
    return Load(place, "127.0.0.1:443", threads=held + 10, lasting=held, turns=1, pace=10 / a_second)


def test_a_gateway_that_cannot_hand_over_is_restarted(copy):
    """As one of a version before there was `ogw upgrade`."""
    with _installed(copy) as service, Server(echo, host="127.0.0.1"):
        service.machine.sh("rm /run/ogw/*.sock")
        before = service.pid
        done = service.machine.run("dpkg", "--install", "/root/next.deb", timeout=300 * PATIENCE)
        assert "the gateway that runs cannot hand over; it is restarted" in done.stderr
        assert service.pid != before and service.passes("127.0.0.1:443")


def test_a_gateway_whose_successor_fails_goes_on(copy):
    with _installed(copy) as service, Server(echo, host="127.0.0.1"):
        before = service.pid
        ini = copy.folder / "etc/ogw/ogw.ini"
        right = ini.read_text()
        ini.write_text(f"{right}nonsense\n")
        done = service.machine.run("dpkg", "--install", "/root/next.deb", timeout=300 * PATIENCE)
        assert "it is still the version before that runs" in done.stderr
        assert service.pid == before and service.passes("127.0.0.1:443")
        ini.write_text(right)
        service.machine.run("ogw", "upgrade", timeout=300 * PATIENCE)
        assert service.pid != before and service.passes("127.0.0.1:443")


@contextlib.contextmanager
def _installed(copy):
    """The service of the package on a machine that is booted, with any host of its loopback allowed."""
    with Booted(copy.folder) as machine, machine.network():
        service = Service(machine, copy)
        machine.run("dpkg", "--install", "/root/this.deb", timeout=300 * PATIENCE)
        assert service.state("ActiveState") == "inactive"
        service.write_ini()
        machine.run("systemctl", "start", "ogw")
        yield service


def test_what_ogw_setup_made_by_hand_is_replaced_and_that_is_said(copy):
    """A service on a port below 1024, of a program elsewhere, behind a firewall."""
    copy.write("/etc/nftables.conf", RULES)
    shutil.copytree(ROOT / "ogw", copy.folder / "opt/ogw/ogw", ignore=shutil.ignore_patterns("__pycache__"))
    copy.write("/opt/ogw/bin/ogw", START, 0o755)
    (copy.folder / "usr/local/bin/ogw").symlink_to("/opt/ogw/bin/ogw")
    with Booted(copy.folder) as machine, machine.network(), Server(echo, host="127.0.0.1"):
        service = Service(machine, copy)
        machine.run("systemctl", "enable", "--now", "nftables")
        rules = machine.run("nft", "list", "ruleset").stdout
        machine.run(
            *("ogw", "setup", "--yes", "--listen-port", "81", "--tls-rules", "off", "--program", "/opt/ogw/bin/ogw"),
            *("--allowed-host", "127.0.0.0/8", "--allowed-target-network", "127.0.0.0/8"),
        )
        assert service.passes("127.0.0.1:443", 81)
        ini = (copy.folder / "etc/ogw/ogw.ini").read_text()
        done = machine.run("dpkg", "--install", "/root/this.deb", timeout=300 * PATIENCE)
        assert "is replaced by that of this package, which runs /usr/bin/ogw instead of:" in done.stderr
        assert "/opt/ogw/bin/ogw run" in done.stderr and "/usr/local/bin/ogw comes before /usr/bin/ogw" in done.stderr
        assert (copy.folder / "etc/ogw/ogw.ini").read_text() == ini
        assert service.passes("127.0.0.1:443", 81)
        assert service.state("FragmentPath").endswith("/lib/systemd/system/ogw.service")
        assert machine.sh(f"tr '\\0' ' ' < /proc/{service.pid}/cmdline").stdout.endswith(
            "/usr/bin/ogw run --only-with-rules "
        )
        assert machine.run("nft", "list", "ruleset").stdout != rules
        machine.run("dpkg", "--purge", "ogw", timeout=300 * PATIENCE)
        left = machine.sh("ls -d /etc/systemd/system/ogw* /etc/systemd/system/*/ogw* /etc/ogw", check=False)
        assert left.stdout == ""
        assert machine.run("nft", "list", "ruleset").stdout == rules
        machine.run("systemctl", "reload", "nftables")
        assert machine.run("nft", "list", "ruleset").stdout == rules


RULES = """flush ruleset
table inet filter {
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        tcp dport 443 accept comment "of somebody else"
        tcp dport 81 ip saddr 192.0.2.1 accept
    }
}
"""
START = """#!/usr/bin/python3
import sys

sys.path.insert(0, "/opt/ogw")

from ogw.cli.main import main

sys.exit(main())
"""


def test_an_administrators_own_unit_stays_and_that_is_said(copy):
    own = "[Service]\nUser=nobody\nExecStart=/usr/bin/ogw run --allowed-host www.example.com\n"
    copy.write("/etc/systemd/system/ogw.service", own)
    done = copy.run("dpkg", "--install", "/root/this.deb", timeout=300 * PATIENCE)
    assert "/etc/systemd/system/ogw.service stays, and is in force instead" in done.stderr
    copy.run("dpkg", "--purge", "ogw")
    assert (copy.folder / "etc/systemd/system/ogw.service").read_text() == own


def test_a_full_disk_is_told_and_leaves_the_running_gateway_as_it_was(copy, this):
    with _installed(copy) as service, Server(echo, host="127.0.0.1"):
        before = service.pid
        service.machine.run("mount", "-t", "tmpfs", "-o", "size=64k", "none", "/usr/share/doc/ogw")
        done = service.machine.run("dpkg", "--install", "/root/next.deb", check=False, timeout=300 * PATIENCE)
        assert done.returncode != 0 and "No space left on device" in done.stderr
        version = this.name.split("_")[1]
        assert _query(service.machine) == f"install ok installed {version}"
        assert service.pid == before and service.passes("127.0.0.1:443")
        service.machine.run("umount", "/usr/share/doc/ogw")
        service.machine.run("dpkg", "--install", "/root/next.deb", timeout=300 * PATIENCE)
        assert _query(service.machine) == f"install ok installed {NEXT}" and service.passes("127.0.0.1:443")


def _query(machine):
    return machine.run("dpkg-query", "--show", "--showformat=${Status} ${Version}", "ogw").stdout


def test_without_systemd_it_installs_and_goes(copy):
    """As in a chroot, or a container."""
    copy.run("dpkg", "--install", "/root/this.deb", timeout=300 * PATIENCE)
    assert copy.run("/usr/bin/ogw", "check").stdout.startswith("fine: 0 allowed hosts")
    copy.run("dpkg", "--remove", "ogw")
    assert (copy.folder / "etc/ogw/ogw.ini").exists()
    copy.run("dpkg", "--purge", "ogw")
    assert not (copy.folder / "etc/ogw").exists() and not (copy.folder / "run/ogw.installed").exists()
