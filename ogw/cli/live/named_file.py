"""An INI file that was named, as that of the gateway that is meant: its run-dir, and who says that he reads it."""

import os
from io import StringIO
from typing import Optional
from urllib.parse import unquote_to_bytes

from ogw.cli.exits import Wrong
from ogw.cli.live.sockets import Meant, NoGateway
from ogw.language.messages import gettext as _
from ogw.machine.files import shown
from ogw.settings.ini.parser import IniParser
from ogw.settings.ini.source import VARIABLE, Unreadable, asked_file, ini_text
from ogw.settings.named import flags
from ogw.settings.settings import Config
from ogw.settings.usual import DEFAULT_FILE


class ReadsAnother(NoGateway):
    """There is one, but the file that was named is not that of it."""


def gateway_of_file(config: Optional[str], folder: str = "") -> Meant:
    """The gateway that is meant by --config, or by OGW_CONFIG where that is None. Raises Wrong where it is no path.

    folder  its run-dir, where OGW_RUN_DIR has that
    """
    try:
        path = asked_file(config, os.environ, DEFAULT_FILE)
    except Unreadable as unreadable:
        raise Wrong(str(unreadable)) from None
    if folder:
        return Meant(folder, path)
    try:
        text = ini_text(path, VARIABLE if config is None else "--config") or ""
    except Unreadable as unreadable:
        return Meant("", path, _not_known(str(unreadable)))
    parser = IniParser()
    parser.parse(StringIO(text))
    if folder := parser.values.get("run-dir", [(0, "")])[0][1]:
        return Meant(folder, path)
    mistakes = [f"{path}:{line}: {mistake}" for line, mistake in parser.mistakes]
    return Meant("", path, _not_known(mistakes[0]) if mistakes else "")


def _is_not_there(path: str) -> bool:
    """Known, and not only hidden from this user."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False


def gateway_of_config(config: Config) -> Meant:
    """The gateway with this configuration: one that reads another file is meant where --run-dir names it, or no file
    was named."""
    is_named = config.file != DEFAULT_FILE and config.origins["run-dir"][-1].source != "--run-dir"
    return Meant(config.run_dir, config.file if is_named else "")


def _not_known(mistake: str) -> str:
    told = _(
        "{mistake}\nSo it is not known which gateway is meant: correct that, or name its run-dir: "
        "--run-dir FOLDER, or OGW_RUN_DIR"
    )
    return told.format(mistake=mistake)


def require_meant(meant: Meant, place: str, told: Optional[str]) -> None:
    """Raises ReadsAnother, or Wrong where the file that was named is to blame.

    place  where it answers
    told   which file it reads, as its answer has it; None where it does not say
    """
    if not meant.file:
        return
    reads = None if told is None else os.fsdecode(unquote_to_bytes(told))
    if reads is not None and os.path.realpath(reads) == os.path.realpath(meant.file):
        return
    if reads == DEFAULT_FILE and meant.folder and _is_not_there(reads):
        return  # it reads none, and the file that was named says where it is
    if meant.mistake:
        raise Wrong(meant.mistake)
    if reads is not None:
        message = _(
            "{path} names no run-dir, and the gateway at {place} reads {other}: it is not asked; if you mean that one, "
            "add {flag}; for another, name its run-dir: --run-dir FOLDER, or OGW_RUN_DIR"
        )
        if meant.folder:
            message = _(
                "the gateway at {place} reads {other} and not {path}: it is not asked; if you mean that one, add {flag}"
            )
        flag = flags(None, os.path.dirname(place)).strip()
        raise ReadsAnother(message.format(path=meant.file, place=place, other=shown(reads), flag=flag))
