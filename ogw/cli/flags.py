"""The flags of `ogw run` among the words of other commands, which take them, too: the same configuration is meant."""

from collections.abc import Sequence
from gettext import gettext as _

from ogw.settings.settings import SETTINGS

ALSO = _("All flags of `ogw run`, its variables and its INI file count.")


def split_flags(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words of a command itself, and the gateway's flags with their values."""
    own: list[str] = []
    flags: list[str] = []
    known = {"--config", *(setting.flag for setting in SETTINGS.values())}
    left = list(words)
    while left:
        word = left.pop(0)
        if word.partition("=")[0] not in known:
            own.append(word)
            continue
        flags.append(word)
        if "=" not in word and left:
            flags.append(left.pop(0))
    return own, flags
