"""Commands as an administrator types them, with an environment that says nothing of a gateway."""

import os
import subprocess

from harness.forks import OGW, ROOT, run
from harness.waiting import PATIENCE

SILENT = ("OGW_", "XDG_RUNTIME_DIR", "RUNTIME_DIRECTORY", "COLUMNS", "LINES", "NO_COLOR", "COLORTERM", "FORCE_COLOR")


def clean(**environment):
    """This environment without what changes where a gateway is looked for, and how its answers look."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(SILENT)}
    return {**inherited, **environment}


def ogw(*words, stdout=subprocess.PIPE, **environment):
    """The command's end: `returncode`, `stdout`, `stderr`."""
    words = [*OGW, *map(str, words)]
    return run(
        words, 60 * PATIENCE, cwd=ROOT, env=clean(**environment), stdin=subprocess.DEVNULL, stdout=stdout, text=True
    )
