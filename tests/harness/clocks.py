"""Programs whose clock is wrong, by libfaketime."""

import pathlib

from harness.peers import without


def ahead(clock):
    """What to put in front of a command so that its clock is: "+10m"; nothing for "". It stays one process."""
    return ["env", _preload(), f"FAKETIME={clock}"] if clock else []


def set_by(file):
    """The same for a clock that is wrong by what the file says, "-3600"; the monotonic one goes on as it is."""
    return ["env", _preload(), "DONT_FAKE_MONOTONIC=1", "FAKETIME_NO_CACHE=1", f"FAKETIME_TIMESTAMP_FILE={file}"]


def _preload():
    libraries = list(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not libraries:
        without("libfaketime is not installed here; tools/test installs it when it runs as root on Debian")
    return f"LD_PRELOAD={libraries[0]}"
