"""The INI file as a gateway finds it: gone, unreadable or no file at all, at the start and at a reload."""

import os
import shutil
import signal
import subprocess
import sys

import pytest
from harness.commands import clean
from harness.gateway import ROOT, Gateway
from harness.peers import peer, root, without_privileges

FLAGS = ("--allowed-host", "127.0.0.0/8", "--allowed-target-network", "127.0.0.0/8")
# The gateway and its commands with another default file, so that a test needs neither root nor this machine's /etc.
ELSEWHERE = """
import sys
from ogw.settings import loader
loader.DEFAULT_FILE = sys.argv[1]
from ogw.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


def gone(path):
    path.unlink()


def link_to_nowhere(path):
    path.unlink()
    path.symlink_to("nowhere")


def link_to(target):
    def link(path):
        path.unlink()
        path.symlink_to(target)

    link.__name__ = f"link to {target}"
    return link


def forbidden(path):
    path.chmod(0)


def folder(path):
    path.unlink()
    path.mkdir()


def pipe_that_nobody_writes(path):
    path.unlink()
    os.mkfifo(path)


def not_utf_8(path):
    path.write_bytes(b"[ogw]\ndenied-host = \xff\n")


def emptied(path):
    path.write_bytes(b"")


def blank(path):
    path.write_bytes(b"\xef\xbb\xbf\n \r\n")


def too_large(path):
    with path.open("wb") as file:
        file.truncate((64 << 20) + 1)


WAYS = (
    gone, link_to_nowhere, link_to("/dev/zero"), link_to("/dev/null"), forbidden, folder, pipe_that_nobody_writes,
    not_utf_8, emptied, blank, too_large,
)  # fmt: skip
AT_START = tuple(way for way in WAYS if way not in (gone, emptied, blank) and way.__name__ != "link to /dev/null")


def pairs(ways):
    """What names the file, and what happens to it. All of them for the default file, whose being there is optional."""
    found = [("default", way) for way in ways]
    some = (forbidden, pipe_that_nobody_writes, gone)
    for by in ("--config", "OGW_CONFIG"):
        found += [pytest.param(by, way, marks=[] if way in some else pytest.mark.long) for way in ways]
    return found


def named(by, path):
    """A gateway, or a command, whose INI file is this: (program before its words, flags, environment)."""
    if by == "default":
        return [sys.executable, "-c", ELSEWHERE, str(path)], [], {}
    ogw = [sys.executable, "-m", "ogw"]
    return (ogw, ["--config", str(path)], {}) if by == "--config" else (ogw, [], {"OGW_CONFIG": str(path)})


def restore(path):
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    path.unlink(missing_ok=True)


def refused(gateway, upstream):
    sock, head = gateway.ask(upstream.target)
    sock.close()
    return head.startswith(b"HTTP/1.1 403 Forbidden: host-not-allowed\r\n")


def lost(gateway):
    """What is said of a reload that is refused."""
    gateway.process.send_signal(signal.SIGHUP)
    return gateway.wait_for(event=401)["message"]


@pytest.mark.parametrize(("by", "way"), pairs(WAYS), ids=lambda one: getattr(one, "__name__", one))
def test_a_file_in_force_that_cannot_be_read_is_event_401_and_nothing_changes(tmp_path, upstream, by, way):
    file = tmp_path / "ogw.ini"
    contents = f"[ogw]\ndenied-host = {upstream.host}\nallowed-client = 127.0.0.1\n"
    file.write_text(contents)
    program, flags, environment = named(by, file)
    command = without_privileges() if way is forbidden else []
    with Gateway(*FLAGS, *flags, program=[*program, "run"], environment=environment, command=command) as gateway:
        before = gateway.wait_for(event=101)["policy"]
        way(file)
        said = lost(gateway)
        assert str(file) in said and "nothing was reloaded" in said
        assert not gateway.events(109)
        assert refused(gateway, upstream)
        assert gateway.wait_for(event=105)["policy"] == before
        restore(file)
        file.write_text(contents + "head-timeout = 9s\n")
        gateway.process.send_signal(signal.SIGHUP)
        assert gateway.wait_for(event=109)["changed"] == ["head-timeout"]


@pytest.mark.parametrize(("by", "way"), pairs(AT_START), ids=lambda one: getattr(one, "__name__", one))
def test_a_file_that_is_there_and_cannot_be_read_is_a_mistake_at_the_start_and_for_every_command(tmp_path, by, way):
    file = tmp_path / "ogw.ini"
    file.write_text("[ogw]\n")
    way(file)
    program, flags, environment = named(by, file)
    command = without_privileges() if way is forbidden else []
    said = []
    for words in (["run"], ["check"], ["config", "show"], ["explain", "a.example"]):
        done = subprocess.run(
            [*command, *program, *words, *flags, *FLAGS],
            cwd=ROOT, env=clean(**environment), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 2, (words, done)
        said.append(done.stderr.splitlines()[0].rpartition(f"{file}")[2])
        assert "Traceback" not in done.stderr
    assert len(set(said)) == 1, said


def test_a_default_file_that_is_not_there_is_none_and_one_that_comes_is_taken_and_in_force_from_then_on(
    tmp_path, upstream
):
    file = tmp_path / "etc" / "ogw.ini"
    program, flags, environment = named("default", file)
    with Gateway(*FLAGS, *flags, program=[*program, "run"], environment=environment) as gateway:
        gateway.tunnel(upstream.target).close()
        file.parent.mkdir()
        file.write_text(f"[ogw]\ndenied-host = {upstream.host}\n")
        gateway.process.send_signal(signal.SIGHUP)
        assert gateway.wait_for(event=109)["changed"] == ["denied-host"]
        shutil.rmtree(file.parent)
        assert "No such file or directory; the file is in force" in lost(gateway)
        assert refused(gateway, upstream)


def test_a_file_with_nothing_but_its_section_ends_what_stood_there(tmp_path, upstream):
    file = tmp_path / "ogw.ini"
    file.write_text(f"[ogw]\ndenied-host = {upstream.host}\n")
    with Gateway(*FLAGS, "--config", str(file)) as gateway:
        file.write_text("[ogw]\n")
        gateway.process.send_signal(signal.SIGHUP)
        assert gateway.wait_for(event=109)["changed"] == ["denied-host"]
        gateway.tunnel(upstream.target).close()


def test_the_file_of_those_who_want_none():
    done = subprocess.run(
        [sys.executable, "-m", "ogw", "check", "--config", "/dev/null"], cwd=ROOT, env=clean(), capture_output=True
    )
    assert done.returncode == 0, done


def test_the_default_file_is_in_etc(tmp_path, upstream):
    root()
    shutil.copytree("/etc", tmp_path / "etc", symlinks=True, ignore_dangling_symlinks=True)
    (tmp_path / "etc" / "ogw").mkdir(exist_ok=True)
    file = tmp_path / "etc" / "ogw" / "ogw.ini"
    file.write_text(f"[ogw]\ndenied-host = {upstream.host}\n")
    script = f'mount --bind "{tmp_path}/etc" /etc && exec "$@"'
    with Gateway(*FLAGS, command=[peer("unshare"), "--mount", "sh", "-c", script, "sh"]) as gateway:
        file.rename(f"{file}.old")
        assert lost(gateway).startswith("/etc/ogw/ogw.ini: No such file or directory; the file is in force")
        assert refused(gateway, upstream)


@pytest.mark.parametrize(
    ("words", "environment", "says"),
    [
        (["--config", ""], {}, "--config: '': the path is empty; name an INI file, or leave it out"),
        (["--config="], {}, "--config: '': the path is empty"),
        (["--config", " \t"], {}, "--config: ' \\t': it has a control character"),
        (["--config", "  "], {}, "--config: '  ': the path is empty"),
        ([], {"OGW_CONFIG": ""}, "OGW_CONFIG: '': the path is empty"),
        (["--config", b"/tmp/\xff"], {}, "--config: '/tmp/\\udcff': it has bytes in it that are not UTF-8"),
    ],
)
def test_a_file_without_a_name_is_a_mistake_of_whatever_names_it(words, environment, says):
    for command in (["run"], ["check"], ["config", "show"], ["config", "get", "workers"], ["allowed-host", "list"]):
        done = subprocess.run(
            [sys.executable, "-m", "ogw", *command, *words],
            cwd=ROOT, env=clean(**environment), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 2 and says in done.stderr, (command, done)
