"""The log that the settings ask for: the supervisor's, and the last line of a child that ends by an error."""

import sys
import traceback
from collections.abc import Callable
from typing import Any

from ogw.policy.decision import Reason
from ogw.report.events import Event
from ogw.report.log import Log
from ogw.report.sinks import open_sink
from ogw.report.standard import say
from ogw.report.writers import Direct
from ogw.settings.settings import Config
from ogw.wire.place import place


def open_log(config: Config, writer: Callable[[Any], Any]) -> Log:
    """Raises OSError.

    writer  what writes to a sink: report/writers.py
    """
    on_terminal = sys.stdout.isatty() and not config.log_file and not config.syslog
    text = config.log_format == "text" or (config.log_format == "auto" and on_terminal)
    return Log(writer(open_sink(config.log_file, config.syslog)), text, config.log_level)


def place_of_log(config: Config) -> str:
    """Where its lines go, in words."""
    if isinstance(config.syslog, tuple):
        return place(*config.syslog)
    return config.log_file or config.syslog or "standard output"


def tell_of_failure(config: Config, name: str, error: BaseException) -> None:
    """A child of this name ends by this error. Its own log may be what failed, so the line goes to a fresh one."""
    message = f"{name}: {type(error).__name__}: {error}; it ends"
    trace = "".join(traceback.format_exception(error))
    try:
        log = open_log(config, Direct)
        log.event(Event.ERROR, message, Reason.INTERNAL_ERROR.token, traceback=trace)
        told = not log.untold
    except OSError:
        told = False
    if not told:
        say(f"ogw: OGW-400 {message}", sys.stderr)
