"""All tests that libraries can fail, on those of Debian 12 and of Debian 13: the package runs on them."""

import os
import pathlib
import re

import pytest
from harness.clones import clone
from harness.commands import ROOT
from harness.peers import peer
from harness.roots import CLEAN, RELEASES, Copy, Layer, run
from harness.waiting import PATIENCE

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]
# What runs programs that are the same wherever, or reads files: no library of Debian's has a say in it.
ELSEWHERE = ("bench", "booted", "charts", "clients", "conf", "packages", "pairs", "provision", "tools",
             "test_docs.py", "test_house.py")  # fmt: skip
# Of the peers in tools/test, those that the others speak with; and Python's own tools.
PEERS = (
    *("curl", "openssl", "dnsmasq-base", "iproute2", "gnutls-bin", "nodejs", "squid", "haproxy", "tinyproxy-bin"),
    *("krb5-kdc", "krb5-admin-server", "krb5-user", "python3-gssapi", "microsocks", "faketime"),
    *("libnginx-mod-stream", "procps", "xz-utils", "bzip2", "python3-venv", "python3-pip"),
)
OURS = ("babel", "configargparse", "cryptography", "gevent", "prometheus_client", "pythonjsonlogger", "rich",
        "setproctitle", "shtab", "waitress")  # fmt: skip
# This machine's: what stands before an index may have one of its own.
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
TREE, PYTHON = "/src", "/opt/tests/bin/python"
# As tests make namespaces in it: a root of its own, and the folders of the kernel.
INSIDE = f"""
mount --bind "$0" "$0"; mkdir -p "$0/.before"
for folder in proc sys dev run; do mount --rbind /$folder "$0/$folder"; done
mount -t tmpfs none "$0/tmp"; cd "$0"; pivot_root . .before
exec chroot . sh -c 'umount --lazy /.before; cd {TREE}; exec "$@"' sh "$@"
"""
# Examples are made by hypothesis, for code that is the same on all libraries.
TESTS = (
    *("-m", "pytest", "-n", "auto", "--dist", "loadfile", "--benchmark-disable", "--hypothesis-profile", "few"),
    *("--durations", "15", "--durations-min", "3", "--timeout", str(300 * PATIENCE)),
    *(word for name in ELSEWHERE for word in ("--ignore", f"tests/{name}")),
)
TEST_NEEDS = re.findall(
    r'"(.+)"', re.search(r"^TEST = \[\n(.*?)^\]", (ROOT / "setup.py").read_text(), re.MULTILINE | re.DOTALL)[1]
)


@pytest.mark.parametrize("release", RELEASES)
def test_what_is_imported_is_debians_own(release):
    with Copy(release, LIBRARIES) as copy:
        found = copy.run(PYTHON, "-c", f"for name in {OURS}: print(__import__(name).__file__)").stdout.split()
    assert [path for path in found if not path.startswith("/usr/lib/python3/dist-packages/")] == []


@pytest.mark.alone
@pytest.mark.parametrize("release", RELEASES)
def test_every_test_passes_on_debians_own_libraries(release):
    with Copy(release, LIBRARIES) as copy:
        (copy.folder / TREE[1:]).mkdir()
        clone(copy.folder / TREE[1:])
        done = _run(copy, PYTHON, *TESTS)
        end = "\n".join(done.stdout.splitlines()[-100:])
        assert done.returncode == 0, f"{end}\n{done.stderr}"
        told = re.search(r"^\d{4,} passed.*", end, re.MULTILINE)
        assert told, end
        print(f"{release}: {told[0]}")


def _prepare(copy):
    """Real peers, and a virtual environment with what tests need, and nothing of what the package has from Debian."""
    _take(copy, "/etc/resolv.conf", "/etc/hosts")
    copy.run("apt-get", "update", "-qq", timeout=120 * PATIENCE)
    copy.run("apt-get", "install", "-qq", "--no-install-recommends", "--yes", *PEERS, timeout=400 * PATIENCE)
    install = "apt-get install -qq --no-install-recommends --yes dante-server"
    copy.run("sh", "-c", f"{install} || grep -q trixie /etc/os-release", timeout=100 * PATIENCE)  # which has it no more
    copy.run("apt-get", "clean")
    _take(copy, AUTHORITIES)
    copy.run("python3", "-m", "venv", "--system-site-packages", "/opt/tests")
    copy.run(PYTHON, "-m", "pip", "install", "--quiet", *TEST_NEEDS, timeout=400 * PATIENCE, env=_index())
    site = copy.run(PYTHON, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
    copy.write(f"{site}/ogw.pth", f"{TREE}\n")  # as an installation that is edited in place


LIBRARIES = Layer("libraries", " ".join([*PEERS, "dante-server", *TEST_NEEDS]), _prepare)


def _take(copy, *paths):
    for path in paths:
        copy.write(path, pathlib.Path(path).read_text())


def _index():
    """Where pip is told to look on this machine."""
    told = {name: text for name, text in os.environ.items() if name.startswith("PIP_") and name != "PIP_FIND_LINKS"}
    return {**CLEAN, **told, "PIP_CERT": AUTHORITIES}


def _run(copy, *words):
    told = {name: os.environ[name] for name in ("CI", "OGW_TEST_PATIENCE") if name in os.environ}
    inside = [peer("unshare"), "--mount", "--propagation", "private", "sh", "-ec", INSIDE, str(copy.folder)]
    return run([*inside, *words], check=False, env={**CLEAN, **told}, timeout=3000)
