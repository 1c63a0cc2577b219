"""Whether systemd is what runs this machine."""

import os


def systemd_runs() -> bool:
    """As sd_booted(3) finds it out."""
    return os.path.isdir("/run/systemd/system")
