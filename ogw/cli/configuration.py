"""The configuration as commands load it: one that is wrong is told, mistake by mistake."""

import os
import sys
from collections.abc import Sequence
from gettext import gettext as _
from typing import Optional

from ogw.report.events import Event
from ogw.report.standard import say
from ogw.settings.loader import ConfigError, load
from ogw.settings.settings import Config


def load_or_tell(words: Sequence[str], log: bool = False) -> Optional[Config]:
    """The configuration of these flags, the environment and the file, or None after every mistake in it was told.

    log  standard output is the log of a gateway: the mistakes go there, too, unless a person reads it
    """
    try:
        return load(words, os.environ)
    except ConfigError as error:
        for mistake in error.mistakes:
            message = _("wrong configuration: {mistake}").format(mistake=mistake)
            say(f"ogw: OGW-{Event.WRONG_CONFIGURATION:d} {message}", sys.stderr)
            if log and not sys.stdout.isatty():
                from ogw.report.log import one_line

                say(one_line(Event.WRONG_CONFIGURATION, mistake), sys.stdout)
        return None
