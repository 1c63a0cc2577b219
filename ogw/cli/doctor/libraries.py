"""The libraries that ogw runs on: what those lack that are older than it asks for where it brings its own."""

import itertools
import re
from importlib import metadata

from ogw.cli.doctor.findings import Finding, ok, warning
from ogw.language.messages import gettext as _
from ogw.language.phrases import every

# As setup.py has it. Packages of a distribution take what that has.
LEAST = {
    "Babel": "2.10",
    "ConfigArgParse": "1.7",
    "cryptography": "41",
    "gevent": "24.2",
    "prometheus-client": "0.20",
    "python-json-logger": "3.3",
    "rich": "13",
    "setproctitle": "1.3",
    "shtab": "1.7",
    "waitress": "3",
}
OF_DISTRIBUTION = "/usr/lib/python3"  # of its packages; what pip installs lies elsewhere


def of_libraries() -> list[Finding]:
    """All of them, and those that are older than `LEAST`: a distribution's, which it looks after, and others."""
    versions = {name: _version(name) for name in LEAST}
    old = [name for name, version in versions.items() if _numbers(version) < _numbers(LEAST[name])]
    theirs = [name for name in old if _is_of_distribution(name)]
    found = [ok("libraries", "", ", ".join(f"{name} {version}" for name, version in versions.items()))]
    if theirs:
        names = every([f"{name} (< {LEAST[name]})" for name in theirs])
        what = _("older than the versions that ogw installs elsewhere: {names}; they are the distribution's packages, "
                 "which get corrections of mistakes, but nothing that is new")  # fmt: skip
        found.append(ok("libraries", "", what.format(names=names)))
    return [*found, *(_lacking(name, versions[name]) for name in old if name not in theirs)]


def _lacking(name: str, version: str) -> Finding:
    what = _("{version} is older than {least}: it lacks later corrections, and ogw is not tested with it")
    do = _("install what ogw asks for: pip install '{name}>={least}'")
    least = LEAST[name]
    return warning("libraries", name, what.format(version=version, least=least), do.format(name=name, least=least))


def _is_of_distribution(name: str) -> bool:
    return str(metadata.distribution(name).locate_file("")).startswith(OF_DISTRIBUTION)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "?"


def _numbers(version: str) -> list[int]:
    """Those that it begins with; of one that nobody knows, more than any."""
    found = itertools.takewhile(str.isdigit, re.split(r"[.+]", version))
    return [int(part) for part in found] or [1 << 30]
