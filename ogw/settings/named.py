"""The flags by which a command means this very gateway, and no other one on the machine."""

import os
import shlex
from collections.abc import Mapping

from ogw.settings import run_dir
from ogw.settings.settings import Config

USUAL = "/run/ogw"  # where commands look by themselves, whoever types them


def folder_of(config: Config, environment: Mapping[str, str]) -> str:
    """The run-dir of a gateway with this configuration and these variables, as an absolute path."""
    return os.path.abspath(config.run_dir or run_dir.default_run_dirs(environment)[0])


def flags_of(config: Config, folder: str = "") -> str:
    """As in ` --config FILE --run-dir FOLDER`, each where it is not the usual one, ready for a shell.

    folder  the run-dir of the running gateway; "" where that is looked for
    """
    named = [("--config", config.file)] if config.file else []
    named += [("--run-dir", folder)] if folder and folder != USUAL else []
    return "".join(f" {flag} {shlex.quote(value)}" for flag, value in named)
