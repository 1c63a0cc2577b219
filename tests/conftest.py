"""What all tests share: long ones are left out unless asked for, and nothing outlives its test."""

import os
import signal

import pytest
import trustme
from harness.containers import Podman
from harness.images import image
from harness.upstreams import Server, echo
from hypothesis import HealthCheck, settings
from translating.compiling import compile_stale

settings.register_profile("ogw", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", parent=settings.get_profile("ogw"), max_examples=400)
# For tests/packages/test_libraries.py.
settings.register_profile("few", parent=settings.get_profile("ogw"), max_examples=10)
compile_stale()  # as a package does when it is built, and tools/run
LONG = bool(os.environ.get("OGW_TEST_LONG"))
settings.load_profile("long" if LONG else "ogw")


# Whoever starts the tests in the background may have Ctrl-C ignored, and what the tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """With `-n auto`: tests wait for processes more than they compute."""
    return (3 if LONG else 4) * len(os.sched_getaffinity(0))


def pytest_collection_modifyitems(config, items):
    if LONG:
        return
    left_out = {item for item in items if item.get_closest_marker("long")}
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


def pytest_sessionfinish(session, exitstatus):
    """What was asked for may have none of the tests that run alone, or only such."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and session.config.option.markexpr:
        session.exitstatus = pytest.ExitCode.OK


@pytest.fixture(scope="session")
def authority():
    """A certificate authority of this run."""
    return trustme.CA()


@pytest.fixture(scope="session")
def authority_file(authority, tmp_path_factory):
    """Its certificate, as clients want it."""
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(scope="module")
def upstream():
    """A server on loopback that says everything back."""
    with Server(echo) as server:
        yield server


@pytest.fixture(scope="module")
def podman():
    """With a store of its own, which tools/package uses, too."""
    with Podman() as podman, pytest.MonkeyPatch.context() as patch:
        for name, value in podman.environment.items():
            patch.setenv(name, value)
        yield podman


@pytest.fixture(scope="module")
def built(podman, tmp_path_factory):
    """The image of these sources, which that podman has: its name, and the archive of it."""
    return image(tmp_path_factory, podman)
