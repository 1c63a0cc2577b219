"""Real programs that tests need: found, or the test is skipped with the reason; in CI that is a failure."""

import os
import shutil

import pytest

PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/lib/podman"])


def peer(name):
    """The path of a program, for the test that calls it."""
    found = shutil.which(name, path=PATH)
    if found is None:
        without(f"{name} is not installed here; tools/test installs it when it runs as root on Debian")
    return found


def root():
    """For tests that make network namespaces or bind where only root may."""
    if os.geteuid() != 0:
        without("needs root")


def without_privileges():
    """What to put in front of a command, so that modes of files hold for it."""
    drop = ("--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")
    return [peer("setpriv"), *drop] if os.geteuid() == 0 else []


def without(reason):
    """Skip the test that calls it; in CI, where everything must be there, fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
