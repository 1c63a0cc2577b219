"""Programs that packages are built with, called; and the error where that cannot be."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Optional, Union


class NotBuilt(Exception):
    """What cannot be built, as a sentence for whoever asked for it."""


def called(
    command: Sequence[Union[str, Path]], folder: Optional[Path] = None, environment: Optional[Mapping[str, str]] = None
) -> str:
    """A program's standard output. Raise NotBuilt with what it said, where it is not there or fails."""
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, umask=0o022
        )
    except FileNotFoundError as error:
        raise NotBuilt(f"the program {command[0]} is needed, and not there: install it") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip() or "it did not say why"
        raise NotBuilt(f"`{' '.join(map(str, command))}` ended with {done.returncode}: {said}")
    return done.stdout
