"""Which gateway a command means. It imports little, as sockets.py does, where no INI file is named."""

import os
from typing import Optional

from ogw.cli.live.sockets import Meant
from ogw.settings.ini.glance import glance
from ogw.settings.usual import DEFAULT_FILE


def meant_by(config: Optional[str], folder: str) -> Meant:
    """The gateway that is meant by --config, --run-dir and the variables. Raises Wrong where a path is none."""
    if folder:
        return Meant(folder)
    folder = os.environ.get("OGW_RUN_DIR", "")
    if folder and config is None:
        return Meant(folder)
    if config is None and "OGW_CONFIG" not in os.environ:
        return Meant(glance(DEFAULT_FILE, "run-dir"))
    from ogw.cli.live.named_file import gateway_of_file

    return gateway_of_file(config, folder)
