"""Where it is set up: this machine, or the image of one."""

import os
import shlex
from dataclasses import dataclass
from typing import Optional

from ogw.cli.setup.firewall import Firewall
from ogw.cli.setup.service_unit import UNIT
from ogw.machine.files import text_in
from ogw.machine.systemd import systemd_runs
from ogw.settings import password_file as kept
from ogw.settings.ini.file import EditError
from ogw.settings.ini.source import read_ini
from ogw.settings.ini.text import IniText
from ogw.settings.settings import SETTINGS
from ogw.settings.usual import DEFAULT_FILE
from ogw.settings.value import meaning_or_none


@dataclass(frozen=True)
class Place:
    """Where it is set up.

    root      what every path is put behind; "" for this machine itself
    firewall  None where none filters, or it is not this machine
    """

    root: str
    systemd: bool
    firewall: Optional[Firewall]

    @property
    def ini(self) -> str:
        return self.root + DEFAULT_FILE

    @property
    def unit(self) -> str:
        return self.root + UNIT

    @property
    def password_file(self) -> str:
        return kept.beside(self.ini)

    def by_hand(self, *words: str) -> str:
        """A command line for who does it: in the image, where it is one."""
        return shlex.join([*(["chroot", self.root] if self.root else []), *words])

    def texts(self, name: str) -> list[str]:
        """What the INI file says of a setting. Raises EditError."""
        return [text for _line, text in _text_of(self.ini).texts(name)]

    @property
    def port(self) -> int:
        """The one of the INI file as it is; where that is none, the usual one."""
        setting = SETTINGS["listen-port"]
        port = meaning_or_none(setting, (self.texts(setting.name) or [setting.default])[0])
        return port if isinstance(port, int) else int(setting.default)


def place_of(root: str, firewall: Optional[Firewall]) -> Place:
    """The machine, or the image under `root`."""
    root = "" if root in ("", "/") else os.path.abspath(root)
    return Place(root, systemd_runs() and not root, None if root else firewall)


def _text_of(path: str) -> IniText:
    try:
        return IniText(text_in(read_ini(path), path))
    except FileNotFoundError:
        return IniText()
    except OSError as error:
        raise EditError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise EditError(str(error)) from None
