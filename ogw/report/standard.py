"""What is said on standard error, or output, besides the log: where the gateway cannot start or go on."""

import time
from contextlib import suppress
from typing import Optional, TextIO

from ogw.report.printable import cut, readable
from ogw.report.stream import Stream

MOST = 4096  # characters
WAIT_SECONDS = 1.0  # for a reader that is slow; one that hangs must not hang us


def say(text: str, stream: Optional[TextIO]) -> None:
    """One line of what is fit to be read. Never raises; where nobody takes it, or the stream is closed, it is lost."""
    line = cut(readable(text), MOST)
    if stream is None:
        return
    try:
        stream.flush()
        own = Stream(stream.fileno())
    except ValueError:  # no descriptor, or it is closed
        with suppress(ValueError):
            print(line, file=stream)
        return
    except OSError:
        return
    until = time.monotonic() + WAIT_SECONDS
    try:
        while not own.write([line]) and (left := until - time.monotonic()) > 0:
            own.wait(min(left, WAIT_SECONDS / 10))
    except OSError:
        pass
    finally:
        own.close()
