"""The lines of a head as they come, piece by piece."""

import re
from collections.abc import Iterator

LINE = re.compile(rb"[\t -~\x80-\xff]*+")


class Lines:
    """The lines of a head that comes in pieces: what was looked at is not looked at again.

    limit  so many bytes are looked at
    begin  of the line that is not complete, in all that came
    """

    __slots__ = ("begin", "data", "limit", "looked")

    def __init__(self, limit: int) -> None:
        self.data = bytearray()
        self.begin = 0
        self.looked = 0
        self.limit = limit

    def lines(self, more: bytes) -> Iterator[bytes]:
        """Each line that is complete now, without its CRLF. A forbidden byte raises where it stands."""
        data = self.data
        data += more
        end = min(len(data), self.limit)
        while True:
            stop = self.looked = self.end_of_line(end)
            mark = bytes(data[stop : min(stop + 2, end)])
            if mark in (b"", b"\r"):
                return
            line = bytes(data[self.begin : stop])
            if mark != b"\r\n":
                self.judge_end(line, mark[0], stop)
            self.begin = self.looked = stop + (2 if mark == b"\r\n" else 1)
            yield line

    def end_of_line(self, end: int) -> int:
        return LINE.match(self.data, self.looked, end).end()  # type: ignore[union-attr]  # it may match nothing

    def judge_end(self, line: bytes, byte: int, position: int) -> None:
        """The line ends otherwise than in CRLF: raises, unless that is tolerated of a line feed."""
        raise NotImplementedError

    @property
    def rest(self) -> bytes:
        return bytes(self.data[self.begin :])

    @property
    def is_full(self) -> bool:
        return len(self.data) >= self.limit


def forbidden(byte: int, position: int) -> str:
    """What is wrong with a byte that ends a line, and is no CRLF."""
    if byte == 0x0A:
        return f"a line feed without a carriage return at byte {position}"
    if byte == 0x0D:
        return f"a carriage return without a line feed at byte {position}"
    return f"a control character (0x{byte:02x}) at byte {position}"
