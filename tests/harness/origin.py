"""The server that agents upload to, on a machine of a network: that of tools/agents, with real TLS."""

import contextlib
import os
import pathlib
import subprocess
import sys

from harness.agents import PATHS
from measuring.crew import serve
from measuring.origin import NAME, listener, make_certificate

UPLOADS, ECHO = 443, 8443
PLACE = (NAME, UPLOADS, ECHO)  # as Agents want it


@contextlib.contextmanager
def origin(machine):
    """It runs there meanwhile, and takes uploads and says things back: /etc/hosts gives its NAME."""
    certificate = machine.folder / "certificate.pem"
    make_certificate(certificate)
    process = subprocess.Popen(
        [*machine.first, sys.executable, "-m", "harness.origin", machine.address, str(certificate)],
        env={**os.environ, "PYTHONPATH": PATHS},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "ready\n"
        yield
    finally:
        process.terminate()
        process.communicate(timeout=20)


def main(host, certificate):
    doors = {"uploads": listener((host, UPLOADS)), "echo": listener((host, ECHO))}
    print("ready", flush=True)
    serve(os.getppid(), pathlib.Path(certificate), doors)


if __name__ == "__main__":
    main(*sys.argv[1:])
