"""An error that nobody caught is event 400 with its traceback in a field, never a bare traceback."""

import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, Optional

from ogw.report.events import Event
from ogw.report.log import Log

REASON = "internal-error"
LONGEST_PLACE = 200  # characters that say where it was

Report = Callable[[type[BaseException], Optional[BaseException], Any, Any], None]


def report_uncaught_errors(log: Log) -> Report:
    """From now on, in this process; what it gives reports one: (its type, the error, its traceback, where)."""

    def report(kind: type[BaseException], error: Optional[BaseException], trace: Any, where: Any) -> None:
        try:
            lines = "".join(traceback.format_exception(kind, error, trace))
            place = f"{where}"[:LONGEST_PLACE]
            message = f"uncaught error in {place}: {kind.__name__}: {error}; please report it"
            log.event(Event.ERROR, message, REASON, traceback=lines)
        except Exception:
            pass  # the report of an error must not raise another

    def report_last(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        report(kind, error, trace, "the process")
        log.close()  # it ends, and its last words are to be heard

    sys.excepthook = report_last
    threading.excepthook = lambda args: report(args.exc_type, args.exc_value, args.exc_traceback, args.thread)
    sys.unraisablehook = lambda args: report(args.exc_type, args.exc_value, args.exc_traceback, args.object)
    return report
