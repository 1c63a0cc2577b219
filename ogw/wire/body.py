"""Where the body of an answer ends that nobody wants to read, so that its connection can be used again."""

import re
from typing import Optional

from ogw.wire.connect import Fields

LONGEST_LINE = 1024  # of a chunk's size, or of a trailer

_LENGTH = re.compile(rb"[0-9]{1,12}\Z")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\Z")
_CLOSE = re.compile(rb"(?:\A|,)[ \t]*close[ \t]*(?:,|\Z)", re.IGNORECASE)


class Body:
    """Goes over it, piece by piece (RFC 9112, section 6.3).

    has_end  it is told where it ends, and the connection goes on behind it
    """

    def __init__(self, headers: Fields) -> None:
        lengths = {value for name, value in headers if name == b"content-length"}
        codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
        closes = any(_CLOSE.search(value) for name, value in headers if name in (b"connection", b"proxy-connection"))
        self._is_chunked = codings == [b"chunked"] and not lengths
        length = lengths.pop() if len(lengths) == 1 and not codings else b""
        self._left = int(length) if _LENGTH.match(length) else 0  # of a body with a length, or of a chunk with its end
        self._in_trailers = False
        self._line = b""
        self.has_end = not closes and (self._is_chunked or bool(_LENGTH.match(length)))

    @property
    def least(self) -> int:
        """How many bytes are still to come, at least."""
        return self._left

    def feed(self, data: bytes) -> Optional[bytes]:
        """What came next; what stands behind the end, once that is there. Raises ValueError for what is no body."""
        while True:
            if self._left:
                passed = min(self._left, len(data))
                self._left -= passed
                data = data[passed:]
                if self._left:
                    return None
            if not self._is_chunked:
                return data
            line, newline, data = (self._line + data).partition(b"\r\n")
            if len(line if newline else line.removesuffix(b"\r")) > LONGEST_LINE:
                raise ValueError("a line that is too long")
            if not newline:
                self._line = line
                return None
            self._line = b""
            if self._in_trailers:
                if not line:
                    return data
                continue
            size = _SIZE.match(line)
            if size is None:
                raise ValueError("not the size of a chunk")
            if int(size[1], 16):
                self._left = int(size[1], 16) + 2
            else:
                self._in_trailers = True
