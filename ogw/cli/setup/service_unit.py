"""The service that systemd runs: its unit, and whether it could run the program where that is."""

import os
import shutil
import stat
import sys
from collections.abc import Sequence
from importlib import resources

from ogw.language.messages import gettext as _

UNIT = "/etc/systemd/system/ogw.service"
PACKAGED, PACKAGED_PROGRAM = "/usr/lib/systemd/system/ogw.service", "/usr/bin/ogw"  # of the distribution's package
LOW_PORTS_FILE = f"{UNIT}.d/low-ports.conf"
NAME = "ogw.service"
IN_IMAGE = ("usr/bin/ogw", "usr/local/bin/ogw", "opt/ogw/bin/ogw")
# What ProtectHome and PrivateTmp of the unit hide from it.
HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")
LOW_PORTS = "#AmbientCapabilities="


def unit_text(program: Sequence[str], port: int) -> str:
    """The unit for this program; for a port below 1024 it may bind that."""
    text = resources.files("ogw.cli.setup").joinpath(NAME).read_text(encoding="utf-8")
    # Behind the line on copying it: whoever reads the installed one must not adapt what is right.
    text = "# Written by `ogw setup`.\n" + text[text.index("\n[Unit]") :]
    text = text.replace("=/usr/bin/ogw ", f"={' '.join(map(quoted, program))} ")
    return text.replace(LOW_PORTS, LOW_PORTS[1:]) if port < 1024 else text


def is_packaged(program: Sequence[str], root: str) -> bool:
    """Whether the distribution's package has a unit for this program, which is then left to it."""
    return list(program) == [PACKAGED_PROGRAM] and os.path.exists(root + PACKAGED)


def beside_packaged(port: int) -> str:
    """What stands beside that unit for this port; "" for nothing."""
    return f"# For ports below 1024.\n[Service]\n{LOW_PORTS[1:]}CAP_NET_BIND_SERVICE\n" if port < 1024 else ""


def quoted(word: str) -> str:
    """As systemd reads it: `%` begins a specifier, `$` a variable."""
    word = word.replace("%", "%%").replace("$", "$$")
    if any(character in word for character in " \t\"'\\;"):
        word = '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return word


def find_program(root: str) -> list[str]:
    """The words that run ogw: this one, or that in an image; [] where there is none in it."""
    if root:
        return [f"/{path}" for path in IN_IMAGE if os.path.exists(os.path.join(root, path))][:1]
    beside = os.path.join(os.path.dirname(sys.executable), "ogw")
    found = shutil.which("ogw")
    if os.path.exists(beside):
        # By a name that leads there, if there is one: a bundle's lasts from one version to the next.
        called = [path for path in (sys.argv[0], found) if path and os.path.exists(path)]
        return [os.path.abspath(path) for path in called if os.path.samefile(path, beside)][:1] or [beside]
    return [os.path.abspath(found)] if found else [sys.executable, "-m", "ogw"]


def unreachable(program: Sequence[str], root: str) -> str:
    """Why a service could not run it; "" where it could."""
    if not program:
        return _("there is no ogw in {root}, such as /usr/bin/ogw").format(root=root)
    paths = [program[0]]
    if not root:
        paths += [os.path.realpath(program[0]), *_interpreter(program[0])]
        if program == find_program(""):
            # What it is made of, too: an installation that is edited in place lies elsewhere.
            paths += [os.path.realpath(sys.executable), str(resources.files("ogw"))]
    for path in paths:
        for folder in HIDDEN:
            if path == folder or path.startswith(folder + "/"):
                return _("{path} is under {folder}, which a service does not see (ProtectHome, PrivateTmp)").format(
                    path=path, folder=folder
                )
        closed = "" if root else _closed(path)
        if closed:
            return closed
    return ""


def _interpreter(path: str) -> list[str]:
    """What a script names in its first line."""
    try:
        with open(path, "rb") as file:
            first = file.readline(4096)
    except OSError:
        return []
    words = first[2:].decode(errors="replace").split() if first.startswith(b"#!") else []
    return [words[0], os.path.realpath(words[0])] if words else []


def _closed(path: str) -> str:
    """Why a user who owns nothing could not reach it."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return f"{path}: {error.strerror}"
    if not mode & stat.S_IROTH or not mode & stat.S_IXOTH:
        return _("{path} can only be run by its owner or group (mode {mode:04o})").format(
            path=path, mode=stat.S_IMODE(mode)
        )
    folder = os.path.dirname(path)
    while folder != "/":
        mode = stat.S_IMODE(os.stat(folder).st_mode)
        if not mode & stat.S_IXOTH:
            return _("{path} is in {folder}, which only its owner or group can enter (mode {mode:04o})").format(
                path=path, folder=folder, mode=mode
            )
        folder = os.path.dirname(folder)
    return ""


def what_to_do() -> str:
    """Behind why it could not."""
    return _(
        "install ogw where every user can run it: by its package, by a bundle's ./install as root, or in /opt/ogw "
        "(python3 -m venv /opt/ogw, then /opt/ogw/bin/pip install . in the folder of its sources, then "
        "/opt/ogw/bin/ogw setup); name such a program with --program; or go without a service (--service no)"
    )
