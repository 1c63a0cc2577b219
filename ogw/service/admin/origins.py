"""Where the running gateway has its settings from, for whoever changes a file and wonders whether that matters."""

import os
from collections.abc import Mapping, Sequence
from typing import Optional

from ogw.service.admin.shapes import GivenValue
from ogw.settings.setting import PREFIX
from ogw.settings.settings import SETTINGS
from ogw.settings.usual import DEFAULT_FILE

Settings = Mapping[str, Sequence[GivenValue]]  # by name, as /config shows them


def file_read(settings: Settings, named: str, own: str = "") -> Optional[str]:
    """The INI file that says any of it: the one that is named where it is that, else another; None for none.

    named  its real path: absolute, without symbolic links
    own    the path of the one that it reads, although that may say nothing; "" where that is not known
    """
    if own and os.path.realpath(own) == named:
        return named
    sources = [given["source"].rpartition(":") for values in settings.values() for given in values]
    files = {os.path.abspath(file) for file, _colon, line in sources if line.isdigit() and not file.startswith("--")}
    if named in map(os.path.realpath, files):
        return named
    return min(files, default=own if own not in ("", DEFAULT_FILE) else None)


def beaten_in(settings: Settings) -> dict[str, str]:
    """Settings of one value that a flag or a variable gave, which beats any file: which, by the setting's name."""
    first = {name: values[0]["source"] for name, values in settings.items() if values}
    return {name: source for name, source in first.items() if not SETTINGS[name].listed and _is_own(source)}


def own_of(settings: Settings) -> dict[str, list[GivenValue]]:
    """What flags and variables gave, by the setting's name: no change of a file takes that away."""
    own = {name: [given for given in values if _is_own(given["source"])] for name, values in settings.items()}
    return {name: values for name, values in own.items() if values}


def _is_own(source: str) -> bool:
    """It is a flag or a variable, and not a line of a file, whose name may begin like one."""
    return source.startswith(("--", PREFIX)) and not source.rpartition(":")[2].isdigit()
