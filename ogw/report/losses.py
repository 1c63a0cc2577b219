"""Why log lines were lost, as a number for a cell: an error's of the system, or one of those below."""

import errno
import os
from collections.abc import Iterable

SLOW, DIED = -1, -2


def cause_of(error: BaseException) -> int:
    """Of a sink's error."""
    number = error.errno if isinstance(error, OSError) else None
    return number if number and number > 0 else errno.EIO


def why(cause: int) -> str:
    """A cause in a few words; "" for 0."""
    if cause == SLOW:
        return "they were not taken as fast as they came"
    if cause == DIED:
        return "they were in a process that died"
    return os.strerror(cause) if cause else ""


def why_all(causes: Iterable[int]) -> str:
    """The causes in words, each once; "" for none."""
    return "; ".join(why(cause) for cause in sorted({*causes} - {0}, reverse=True))
