"""Why log lines were lost, or go astray, as a number for a cell: an error's of the system, or one of those below."""

import errno
import os
from collections.abc import Iterable, Sequence

SLOW, DIED = -1, -2
ASTRAY = 1 << 16  # is added to the error because of which lines go on into a file that was renamed away


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
    if cause == errno.ENXIO:
        return "nobody reads the pipe"
    return os.strerror(cause) if cause else ""


def why_all(causes: Iterable[int]) -> str:
    """The causes in words, each once; "" for none."""
    return "; ".join(why(cause) for cause in sorted({*causes} - {0}, reverse=True))


def told_of_trouble(causes: Sequence[int]) -> str:
    """Why the log cannot be written as it should, and what becomes of its lines; "" where it can."""
    astray = {cause for cause in causes if cause >= ASTRAY}
    told = []
    if lost := why_all({*causes} - astray):
        told.append(f"{lost}; lines are lost until it can be")
    if astray:
        why = why_all(cause - ASTRAY for cause in astray)
        told.append(f"{why}; lines go on into the file that was renamed away until it can be")
    return "; ".join(told)
