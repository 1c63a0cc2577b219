"""Who types a command, as lines of the log say it."""

import os
import pwd


def who() -> str:
    """Such as "alice", or "alice (root)" behind sudo."""
    user = user_name(os.geteuid())
    before = os.environ.get("SUDO_USER", "")
    return f"{before} ({user})" if before and before != user else user


def user_name(number: int) -> str:
    """The name of a user; the number where there is none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
