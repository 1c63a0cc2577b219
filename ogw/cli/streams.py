"""Standard input, output and error as a program may find them: closed from the start, or broken since.

What a program opens gets the lowest free number: a log file or a client's socket as number 2 would be written to by
whatever is printed there.
"""

import io
import os
import sys
from typing import Any, Optional

lost: Optional[OSError] = None  # why standard output takes no more; BrokenPipeError where its reader left

# Of what stands in for a closed one: reading finds the end, printing fails as before, errors go nowhere.
_MODES = {0: os.O_RDONLY, 1: os.O_RDONLY, 2: os.O_WRONLY}


def mend() -> None:
    """Take the places of those that are closed, and let nothing fail because nobody hears it: what was begun is done.

    Nor because of a character that the locale does not have. `lost` says whether something was not written.
    """
    for number, mode in _MODES.items():
        if not _is_open(number):
            fd = os.open(os.devnull, mode)
            if fd != number:
                os.dup2(fd, number)
                os.close(fd)
            os.set_inheritable(number, True)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, "r", closefd=False)))
    if sys.stdout is sys.__stdout__:  # a test's own is left alone
        sys.stdout = _remembering(sys.stdout)
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)  # a terminal of few characters must not end the command
    if sys.stderr is sys.__stderr__:
        encoding = sys.stderr.encoding if sys.stderr is not None else "utf-8"
        raw = io.BufferedWriter(_Forgiving(2, "w", closefd=False))
        sys.stderr = io.TextIOWrapper(raw, encoding, "backslashreplace", line_buffering=True)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _remembering(stream: Any) -> io.TextIOWrapper:
    """A standard output like this one, which may be None."""
    raw = io.FileIO(1, "w", closefd=False)
    if not isinstance(stream, io.TextIOWrapper):
        return _Remembering(io.BufferedWriter(raw))
    below = raw if stream.write_through else io.BufferedWriter(raw)
    by_lines, at_once = stream.line_buffering, stream.write_through
    return _Remembering(below, stream.encoding, line_buffering=by_lines, write_through=at_once)


class _Remembering(io.TextIOWrapper):
    """What cannot be written is lost, and so is all that comes behind it.

    The writing itself is Python's own: a signal that ends the command in the middle of it neither loses nor repeats.
    """

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            _lose(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            _lose(error)


def _lose(error: OSError) -> None:
    global lost
    lost = lost or error
    drop_output()


def drop_output() -> None:
    """What standard output still has in its buffer goes nowhere, and what follows it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


class _Forgiving(io.FileIO):
    """What cannot be written is lost."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)
