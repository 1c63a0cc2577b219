"""The log that the settings ask for: the supervisor's, and the last line of a child that ends by an error."""

import os
import shlex
import sys
import traceback
from collections.abc import Callable
from typing import Any

from ogw.policy.decision import Reason
from ogw.report.events import Event
from ogw.report.log import Log
from ogw.report.severity import is_journal
from ogw.report.sinks import open_sink
from ogw.report.standard import say
from ogw.report.writers import Direct
from ogw.service.limits import OWN_CGROUP
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


def search_command(config: Config, word: str) -> str:
    """A line for a shell that finds a word in the log; "" where the log is not this machine's to search.

    word  an id, or another that needs no quotes
    """
    if config.log_file:
        return f"zgrep -h -w {word} {shlex.quote(os.path.abspath(config.log_file))}*"  # renamed and packed ones, too
    if not config.syslog and sys.stdout is not None and is_journal(sys.stdout.fileno()):
        return f"journalctl{_unit()} | grep -w {word}"
    return ""


def _unit() -> str:
    """The flag of journalctl that names the unit of this process; "" for none."""
    path = OWN_CGROUP.read_text().strip().rpartition(":")[2] if OWN_CGROUP.exists() else ""
    unit = os.path.basename(path)
    return f" -u {unit}" if unit.endswith(".service") and path.startswith("/system.slice/") else ""


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
