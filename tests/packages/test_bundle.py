"""Offline bundles: built twice to the same byte, installed without a network, replaced under a gateway that runs."""

import hashlib
import json
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import tarfile

import pytest
import yaml
from harness.ansible import PAGE, REACHED, Playbook, program, without_debian
from harness.booted import Booted
from harness.bundles import Machine, python
from harness.clones import become, clone, package
from harness.gateway import Gateway, read_exactly
from harness.pages import blocks, rows
from harness.peers import root
from harness.roots import RELEASES, Copy, run
from harness.service import Service
from harness.upstreams import Server, echo
from harness.waiting import PATIENCE, until

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
HERE = platform.machine()
ELSEWHERE = "aarch64" if HERE == "x86_64" else "x86_64"
THIS, NEXT = "98.0", "99.0"  # no other test installs these, and looks at the same processes
LINK = "/usr/local/bin/ogw"
UPSTREAM = """
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=www.example.com -keyout /run/key -out /run/certificate &&
exec openssl s_server -accept 127.0.4.4:443 -key /run/key -cert /run/certificate -www
"""


def bundle(tree, output, architecture=HERE, version=None):
    """Built in a clone, for a version of Python, which is that of this machine's own if none is given; the archive."""
    flags = ["--python", version or python(), "--architecture", architecture, "--output", output]
    return pathlib.Path(package(tree, "bundle", *flags).stdout.splitlines()[0])


def entry(archive, name):
    """The bytes of a file of a bundle."""
    with tarfile.open(archive) as packed:
        return packed.extractfile(f"{archive.name.removesuffix('.tar.gz')}/{name}").read()


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A clone of these sources."""
    return clone(tmp_path_factory.mktemp("tree") / "ogw", THIS)


@pytest.fixture(scope="module")
def built(tree, tmp_path_factory):
    """A bundle of it, for this machine."""
    return bundle(tree, tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def copied(tree, built, tmp_path_factory):
    """The clone again, elsewhere; the tools to build with are there already."""
    return shutil.copytree(tree, tmp_path_factory.mktemp("elsewhere") / "of a longer name" / "ogw", symlinks=True)


@pytest.fixture(scope="module")
def newer(copied, built, tmp_path_factory):
    """A bundle of the next version."""
    become(copied, NEXT)
    return bundle(copied, tmp_path_factory.mktemp("newer"))


@pytest.fixture
def machine(tmp_path):
    """One to install on; what this machine has of ogw it does not see."""
    root()
    with Machine(tmp_path) as made:
        yield made


@pytest.fixture
def installed(machine, built):
    """The machine, with the bundle's ogw on it."""
    done = machine.call(f"{machine.unpack(built)}/install")
    assert done.returncode == 0, done.stdout
    return machine


def refused(machine, folder, *words, **more):
    """What `install` says, after which the machine is as it was."""
    before = machine.state()
    done = machine.call(f"{folder}/install", *words, **more)
    assert done.returncode == (2 if words and words[0] == "--no-such" else 1), done.stdout
    assert done.stdout.startswith("install: ") and done.stdout.endswith("; nothing was changed\n"), done.stdout
    assert machine.state() == before
    return done.stdout


def test_the_same_commit_gives_the_same_bytes_wherever_it_lies(built, copied, tmp_path):
    again = bundle(copied, tmp_path / "dist")
    assert again.name == built.name and again.read_bytes() == built.read_bytes()
    for archive in (built, again):
        said = archive.with_name(f"{archive.name}.sha256").read_text()
        assert said == f"{hashlib.sha256(built.read_bytes()).hexdigest()}  {built.name}\n"


def test_the_bill_of_materials_names_every_wheel_by_version_licence_and_hash(built, tree):
    bill = json.loads(entry(built, "sbom.cdx.json"))
    assert bill["bomFormat"] == "CycloneDX" and bill["metadata"]["component"]["name"] == "ogw"
    parts = [bill["metadata"]["component"], *bill["components"]]
    assert all(part["licenses"] and part["version"] for part in parts)
    with tarfile.open(built) as packed:
        wheels = [member for member in packed if member.name.endswith(".whl")]
        hashes = {hashlib.sha256(packed.extractfile(member).read()).hexdigest() for member in wheels}
    assert len(wheels) > 10 and {part["hashes"][0]["content"] for part in parts} == hashes
    ours = {one["ref"]: one.get("dependsOn", []) for one in bill["dependencies"]}[parts[0]["bom-ref"]]
    assert any(name.startswith("gevent==") for name in ours)
    valid = "import sys; from cyclonedx.validation.json import JsonStrictValidator as V; from cyclonedx.schema import *"
    valid += "; print(V(SchemaVersion.V1_6).validate_str(sys.stdin.read()))"
    (toolbox,) = tree.glob("build/toolbox-*/bin/python")
    done = subprocess.run([toolbox, "-c", valid], input=json.dumps(bill), text=True, capture_output=True, timeout=60)
    assert done.stdout == "None\n", done


def test_root_installs_it_without_a_network_sets_it_up_and_takes_it_away(machine, built):
    folder = machine.unpack(built)
    assert "lo:" in machine.sh("ip -o link") and machine.sh("ip -o link").count("\n") == 1
    assert machine.sh(f"{folder}/install") == f"ogw {THIS} is installed: {LINK}\nnext: {LINK} setup\n"
    assert machine.sh("ogw --version") == f"ogw {THIS}\n"
    assert machine.sh(f"{folder}/install") == f"ogw {THIS} is installed already: {LINK}\n"

    assert "systemd does not run here" in machine.sh("ogw setup --yes --allowed-host www.example.com")
    assert f"\nExecStart={LINK} run --only-with-rules\n" in machine.sh("cat /etc/systemd/system/ogw.service")
    done = machine.call("/opt/ogw/uninstall")
    assert done.returncode == 1 and "first: ogw setup --uninstall" in done.stdout, done.stdout
    machine.sh("ogw setup --uninstall --yes")
    assert machine.sh("/opt/ogw/uninstall") == "ogw is removed\n"
    assert machine.sh("ls -A /opt /usr/local/bin /etc/ogw").split() == [
        "/etc/ogw:",
        "ogw.ini",
        "/opt:",
        "/usr/local/bin:",
    ]


def hand_over(machine, newer):
    """Install the newer bundle on a booted machine, and let its version take over."""
    said = machine.run(f"/srv/{newer.name.removesuffix('.tar.gz')}/install").stdout
    assert said.endswith(f"to hand over without refusing a client: {LINK} upgrade\n"), said
    assert f" {NEXT}" not in machine.run("ogw", "status").stdout
    assert machine.run("ls", "/opt/ogw/versions").stdout.split() == [THIS, NEXT]
    machine.run("ogw", "upgrade")
    assert f" {NEXT}" in machine.run("ogw", "status").stdout
    leader = machine.unit("ogw", "MainPID")["MainPID"]
    assert f"/opt/ogw/versions/{NEXT}/" in machine.run("cat", f"/proc/{leader}/maps").stdout
    machine.run("curl", "-sSfk", "-x", "http://127.0.0.1:8080", "https://www.example.com/")


def test_what_it_leaves_where_is_as_the_page_says(installed):
    ours = [names for names, _what, gone in rows("install.md", "The bundle") if gone == "`/opt/ogw/uninstall`"]
    paths = [path.replace("VERSION", "*") for path in re.findall(r"`(/[^`]+)`", "".join(ours))]
    assert len(paths) == 3 and installed.sh(f"ls -d {' '.join(paths)}").count("\n") == 3
    installed.sh("/opt/ogw/uninstall")
    assert installed.sh(f"ls -d {' '.join(paths)} 2>/dev/null || true") == ""


@pytest.mark.parametrize("release", RELEASES)
def test_a_clean_debian_needs_no_more_than_its_python(tree, built, newer, tmp_path, release):
    with Copy(release) as copy:
        version = copy.run("python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").stdout.strip()
        assert not (copy.folder / f"usr/lib/python{version}/ensurepip").exists()
        made = built if version == python() else bundle(tree, tmp_path, version=version)
        for archive in (made, newer):
            run(["tar", "-xzf", str(archive), "-C", str(copy.folder / "srv")])
        (copy.folder / "etc" / "hosts").write_text("127.0.0.1 localhost\n127.0.4.4 www.example.com\n")
        with Booted(copy.folder) as machine:
            install = f"/srv/{made.name.removesuffix('.tar.gz')}/install"
            copy.write("/usr/bin/ogw", "that of a package", 0o755)
            assert "/usr/bin/ogw is there, from a package; remove that" in machine.sh(install, check=False).stderr
            done = machine.sh(f"rm /usr/bin/ogw && {install}")
            assert done.stdout.endswith(f" is installed: {LINK}\nnext: {LINK} setup\n") and done.stderr == "", done
            machine.run("ogw", "setup", "--yes", "--allowed-host", "www.example.com to=127.0.0.0/8")
            assert f"path={LINK} ;" in machine.unit("ogw", "ExecStart")["ExecStart"]
            machine.run("systemd-run", "--unit=upstream", "sh", "-c", UPSTREAM)
            machine.until("curl -sSfk -x http://127.0.0.1:8080 https://www.example.com/", "no client passes")
            if made == built:
                hand_over(machine, newer)
            assert machine.sh("/opt/ogw/uninstall", check=False).stderr.startswith("uninstall: a service runs it")
            machine.run("ogw", "setup", "--uninstall", "--purge", "--yes")
            assert machine.run("/opt/ogw/uninstall").stdout == "ogw is removed\n"


def test_a_playbook_installs_it_and_lets_the_next_one_take_over(built, newer, tmp_path):
    program()  # while there is a way to it
    named = yaml.safe_load(blocks(PAGE, "Without a repository")[0].split("\n\n")[1])
    settings = {"tls-rules": False, "allowed-host": ["127.0.0.0/8"], "allowed-target-network": ["127.0.0.0/8"]}
    with Copy({"3.11": "bookworm", "3.13": "trixie"}[python()], REACHED) as copy:
        without_debian(copy)
        with Booted(copy.folder) as machine, machine.network(), Server(echo, host="127.0.0.1"):
            service, playbook = Service(machine, copy), Playbook(tmp_path, machine, copy)
            (playbook.folder / "files").mkdir()
            for archive in (built, newer):
                shutil.copy(archive, playbook.folder / "files")

            def play(version, *flags):
                at = {**named, "ogw_bundle": named["ogw_bundle"].replace("0.1.0", version)}
                playbook.of_host("gw-2.example.com", **at, ogw_settings_of_host=settings)
                done = playbook.run("gw-2.example.com", *flags)
                assert not done.failed, done.said
                return done

            assert play(THIS, "--check").changed > 0 and machine.sh("ls -A /opt").stdout == ""
            assert play(THIS).changed > 0
            tunnel, _head = service.ask("127.0.0.1:443")
            with tunnel:
                assert play(NEXT).changed > 0 and f" {NEXT}" in machine.run("ogw", "status").stdout
                tunnel.sendall(b"still")
                assert read_exactly(tunnel, 5) == b"still"
            done = play(NEXT)
            assert done.changed == 0 and service.passes("127.0.0.1:443"), done.said


def test_what_is_installed_is_readable_for_every_user_whatever_root_hides(machine, built):
    folder = machine.unpack(built)
    machine.sh(f"umask 077; {folder}/install")
    assert machine.sh("ogw events", root=False).startswith("event")
    assert machine.sh("find /opt/ogw ! -type l ! -perm -o=r") == ""


def test_another_user_installs_it_under_the_home(machine, built):
    folder, home = machine.unpack(built), "/home/somebody"
    said = machine.sh(f"{folder}/install", root=False)
    assert f"{home}/.local/bin/ogw\n{home}/.local/bin is not on your PATH" in said, said
    assert machine.sh(f"{home}/.local/bin/ogw --version", root=False).startswith("ogw ")
    assert machine.sh("ls -A /opt /usr/local/bin").split() == ["/opt:", "/usr/local/bin:"]
    assert machine.sh(f"{home}/.local/share/ogw/uninstall", root=False) == "ogw is removed\n"
    assert machine.sh(f"find {home} ! -type d") == ""


def test_an_upgrade_leaves_a_gateway_that_runs_as_it_is_and_the_older_bundle_goes_back(installed, built, newer):
    folders = [installed.unpack(newer), installed.unpack(built)]
    old = installed.sh("readlink -f /opt/ogw/current").strip()
    allowed = ("--allowed-host", "127.0.4.4:8081", "--allowed-target-network", "127.0.0.0/8")
    with (
        installed.server("127.0.4.4", 8081),
        Gateway(*allowed, program=installed.command("ogw", "run")) as gateway,
    ):
        client = f"curl -sSf --retry 3 --proxytunnel -x {gateway.url} http://127.0.4.4:8081/"
        assert "Directory listing" in installed.sh(client)
        files = installed.sh(f"find {old} -type f -exec cksum {{}} + | sort")
        for folder, now in zip(folders, (NEXT, THIS), strict=True):
            assert installed.sh(f"{folder}/install").startswith("ogw ")
            assert installed.sh("ogw --version") == f"ogw {now}\n"
            assert installed.sh(f"find {old} -type f -exec cksum {{}} + | sort") == files
            assert "Directory listing" in installed.sh(client)
        assert gateway.stop() == 0
    installed.sh(f"{folders[0]}/install")
    assert installed.sh("ls /opt/ogw/versions") == f"{NEXT}\n"


def test_uninstall_leaves_what_runs_and_what_is_not_its_own(installed):
    installed.sh("touch /opt/ogw/mine")
    with Gateway(program=installed.command("ogw", "run")) as gateway:
        done = installed.call("/opt/ogw/uninstall")
        assert done.returncode == 1 and re.search(
            rf"a gateway runs from it \(process [0-9 ]*{gateway.pid}", done.stdout
        )
        assert installed.call("/opt/ogw/uninstall", root=False).stdout.endswith("be root; nothing was changed\n")
    assert installed.sh("/opt/ogw/uninstall").startswith("/opt/ogw stays: something else is in it\n")
    assert installed.sh("find /opt/ogw -type f") == "/opt/ogw/mine\n"


def test_a_python_that_does_not_fit_is_named_with_what_to_take(machine, built, tree, tmp_path):
    folder = machine.unpack(built)
    machine.sh(f"cp -r {folder} /srv/other; sed -i 's/^python=.*/python=3.99/' /srv/other/bundle")
    said = refused(machine, "/srv/other")
    assert f"this bundle is for Python 3.99 on {HERE}" in said
    assert f"it is Python {python()}; take the bundle for that (py{python()})" in said
    machine.sh(f"sed -i 's/^glibc=.*/glibc=9.9/; s/3.99/{python()}/' /srv/other/bundle")
    assert "glibc 9.9 or newer is needed, and here is glibc 2." in refused(machine, "/srv/other")
    assert "--python: there is no program /no/python" in refused(machine, folder, "--python", "/no/python")
    assert "/bin/false does not run" in refused(machine, folder, "--python=/bin/false")
    assert "what is --no-such?" in refused(machine, folder, "--no-such")
    foreign = machine.unpack(bundle(tree, tmp_path / "foreign", ELSEWHERE))
    assert f"on {ELSEWHERE}, and /usr/bin/python{python()} does not fit: it is for {HERE}" in refused(machine, foreign)


def test_a_python_without_venv_is_told(machine, built):
    folder, library = machine.unpack(built), f"/usr/lib/python{python()}"
    machine.sh(f"cp -r {library} /srv/library && rm -r /srv/library/venv && mount --bind /srv/library {library}")
    assert "it has no module venv; install all of Python" in refused(machine, folder)


def test_what_stands_in_the_way_is_told(machine, built):
    folder = machine.unpack(built)
    machine.sh(f"echo by hand > {LINK}")
    assert f"{LINK} is there, and it is not from a bundle; move it away first" in refused(machine, folder)
    machine.sh(f"rm {LINK}; mkdir /opt/ogw; touch /opt/ogw/pyvenv.cfg")
    assert "/opt/ogw is a virtual environment that was made by hand" in refused(machine, folder)
    machine.sh("rm -r /opt/ogw; mkdir -p /opt/ogw/versions; chmod 555 /home/somebody")
    assert "/home/somebody may not be written to" in refused(machine, folder, root=False)
    holder = machine.start("flock", "/opt/ogw/versions", "cat")
    until(lambda: machine.call("flock", "-n", "/opt/ogw/versions", "true").returncode)
    assert "another installation runs; let it end" in refused(machine, folder)
    holder.communicate("", timeout=10 * PATIENCE)
    assert machine.sh(f"{folder}/install").startswith("ogw ")


def test_a_wheel_that_was_changed_is_not_installed(installed, newer):
    folder = installed.unpack(newer)
    installed.sh(f"for wheel in {folder}/wheels/rich-*; do echo more >> $wheel; done")
    assert "DO NOT MATCH THE HASHES" in refused(installed, folder)


def test_a_full_disk_changes_nothing(installed, newer):
    folder = installed.unpack(newer)
    files = int(installed.sh("find /opt -printf x | wc -c"))
    # One that says how little room it has, and one that finds out: it has blocks, and too few inodes.
    for size, told in (("size=150m", "MiB free, and "), (f"nr_inodes={files * 3 // 2}", "No space left on device")):
        installed.sh(f"mkdir -p /srv/opt; mount -t tmpfs -o mode=755,{size} none /srv/opt; cp -a /opt/ogw /srv/opt")
        installed.sh("mount --bind /srv/opt /opt")
        assert told in refused(installed, folder)
        installed.sh("umount /opt; umount /srv/opt")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_installation_that_is_cut_off_leaves_nothing_that_counts(installed, newer, number):
    before, folder = installed.sh("ogw --version"), installed.unpack(newer)
    process = installed.start(f"{folder}/install")
    until(lambda: installed.call("sh", "-c", "ls /opt/ogw/versions/99*/lib/*/site-packages/*/").returncode == 0)
    process.send_signal(number)
    process.communicate(timeout=60 * PATIENCE)
    # What it called may live a little longer, and nobody else installs until then.
    until(lambda: installed.call("flock", "-n", "/opt/ogw/versions", "true").returncode == 0)
    assert installed.sh("ogw --version") == before
    assert installed.sh("ls /opt/ogw/versions | grep -c 99 || true").strip() == str(int(number == signal.SIGKILL))
    assert installed.sh(f"{folder}/install").startswith(f"ogw {NEXT} is installed")
    assert len(installed.sh("ls /opt/ogw/versions").split()) == 1, installed.users()
