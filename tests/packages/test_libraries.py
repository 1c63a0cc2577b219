"""All tests that are not long, on the libraries of Debian 12 and of Debian 13: the package runs on those."""

import os
import pathlib
import re

import pytest
from harness.commands import ROOT
from harness.peers import peer
from harness.roots import CLEAN, RELEASES, Copy, run
from harness.waiting import PATIENCE

# Eight minutes for each release, which a run of everything has not.
ASKED = pytest.mark.skipif(not os.environ.get("OGW_TEST_LIBRARIES"), reason="only with OGW_TEST_LIBRARIES=1")
pytestmark = [pytest.mark.long, pytest.mark.alone, pytest.mark.timeout(5400), ASKED]
# Those of tools/test without --long, and Python's own tools.
PEERS = (
    *("curl", "openssl", "wget", "git", "dnsmasq-base", "iproute2", "gnutls-bin", "nodejs", "squid", "haproxy"),
    *("tinyproxy-bin", "logrotate", "procps", "xz-utils", "bzip2", "python3-venv", "python3-pip"),
)
OURS = ("configargparse", "cryptography", "gevent", "prometheus_client", "pythonjsonlogger", "rich", "setproctitle",
        "shtab", "waitress")  # fmt: skip
AUTHORITIES = (
    "/etc/ssl/certs/ca-certificates.crt"  # this machine's: what stands before an index may have one of its own
)
TREE, PYTHON = "/src", "/opt/tests/bin/python"
# A root of its own, as tests make namespaces in it, and the folders of the kernel.
INSIDE = f"""
mount --bind "$0" "$0"; mkdir -p "$0{TREE}" "$0/.before"; mount --bind {ROOT} "$0{TREE}"
for folder in proc sys dev run; do mount --rbind /$folder "$0/$folder"; done
mount -t tmpfs none "$0/tmp"; cd "$0"; pivot_root . .before
exec chroot . sh -c 'umount --lazy /.before; cd {TREE}; exec "$@"' sh "$@"
"""
TESTS = ["-m", "pytest", "-n", "auto", "--dist", "loadfile", "--benchmark-disable", "--ignore", "tests/packages"]


@pytest.mark.parametrize("release", RELEASES)
def test_every_test_passes_on_debians_own_libraries(release):
    with Copy(release) as copy:
        _prepare(copy)
        for which in ("not alone", "alone"):
            done = _run(copy, PYTHON, *TESTS, "-m", which)
            end = "\n".join(done.stdout.splitlines()[-60:])
            assert done.returncode == 0, f"{end}\n{done.stderr}"
            assert re.search(r"^=+ .*\b[1-9][0-9]* passed", end, re.MULTILINE)


def _prepare(copy):
    """Real peers, and a virtual environment with what tests need, and nothing of what the package has from Debian."""
    _take(copy, "/etc/resolv.conf", "/etc/hosts")
    copy.run("apt-get", "update", "-qq", timeout=120 * PATIENCE)
    copy.run("apt-get", "install", "-qq", "--no-install-recommends", "--yes", *PEERS, timeout=400 * PATIENCE)
    _take(copy, AUTHORITIES)
    copy.run("python3", "-m", "venv", "--system-site-packages", "/opt/tests")
    wanted = re.search(r"^TEST = \[\n(.*?)^\]", (ROOT / "setup.py").read_text(), re.MULTILINE | re.DOTALL)[1]
    needed = re.findall(r'"(.+)"', wanted)
    copy.run(PYTHON, "-m", "pip", "install", "--quiet", *needed, timeout=400 * PATIENCE, env=_index())
    found = copy.run(PYTHON, "-c", f"for name in {OURS}: print(__import__(name).__file__)").stdout.split()
    assert all(path.startswith("/usr/lib/python3/dist-packages/") for path in found), found
    site = copy.run(PYTHON, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
    copy.write(f"{site}/ogw.pth", f"{TREE}\n")  # as an installation that is edited in place


def _take(copy, *paths):
    for path in paths:
        copy.write(path, pathlib.Path(path).read_text())


def _index():
    """Where pip is told to look on this machine."""
    told = {name: text for name, text in os.environ.items() if name.startswith("PIP_") and name != "PIP_FIND_LINKS"}
    return {**CLEAN, **told, "PIP_CERT": AUTHORITIES}


def _run(copy, *words):
    told = {name: os.environ[name] for name in ("CI", "OGW_TEST_PATIENCE") if name in os.environ}
    environment = {**CLEAN, **told, "PYTHONDEVMODE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    inside = [peer("unshare"), "--mount", "--propagation", "private", "sh", "-ec", INSIDE, str(copy.folder)]
    return run([*inside, *words], check=False, env=environment, timeout=2400)
