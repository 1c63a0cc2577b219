"""The flags by which a command means this very gateway, and no other one on the machine."""

import os
import shlex
from collections.abc import Mapping
from typing import Optional

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
    return flags(config.file, folder if folder != USUAL else "")


def flags_without_gateway(config: Config) -> str:
    """The same where it is not known that one runs: a run-dir is named where the configuration names one."""
    return flags_of(config, os.path.abspath(config.run_dir) if config.run_dir else "")


def flags(file: Optional[str], folder: str = "") -> str:
    """Those that name an INI file and a run-dir, ready for a shell; each is left out where it is "" or None."""
    named = [("--config", file), ("--run-dir", folder)]
    return "".join(f" {flag} {shlex.quote(value)}" for flag, value in named if value)
