"""Standard input, output and error as a program may find them: closed from the start, or broken since.

What a program opens gets the lowest free number: a log file or a client's socket as number 2 would be written to by
whatever is printed there.
"""

import io
import os
import sys
from typing import Any

# Of what stands in for a closed one: reading finds the end, printing fails as before, errors go nowhere.
_MODES = {0: os.O_RDONLY, 1: os.O_RDONLY, 2: os.O_WRONLY}


def mend() -> None:
    """Take the places of those that are closed, and let nothing fail because nobody hears what went wrong.

    Nor because of a character that the locale does not have.
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
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)))
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)  # a terminal of few characters must not end the command
    if sys.stderr is sys.__stderr__:  # a test's own is left alone
        encoding = sys.stderr.encoding if sys.stderr is not None else "utf-8"
        raw = io.BufferedWriter(_Forgiving(2, "w", closefd=False))
        sys.stderr = io.TextIOWrapper(raw, encoding, "backslashreplace", line_buffering=True)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


class _Forgiving(io.FileIO):
    """What cannot be written is lost."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)
