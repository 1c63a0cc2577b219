"""How messages travel between the supervisor and its children: JSON behind its length, on a socket pair.

Its end of file means that the other side is dead.
"""

import json
import select
import socket
import struct
import time
from collections.abc import Iterator

from ogw.service.messages import Fields

LARGEST = 256 << 20  # bytes of a message, and of what may wait behind which another is sent
FINISH_SECONDS = 5.0  # what the other side has to take what is still to be sent
PIECE = 1 << 20
_LENGTH = struct.Struct("!I")


class MessageTooLarge(Exception):
    """The message is over the limit; nothing of it was sent, and the channel is as it was."""


class Channel:
    """One end. It never blocks: what the other side does not take yet is kept, and `flush` sends more of it.

    Two sides that waited for each other to read would be dead for both.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setblocking(False)
        self._data = bytearray()
        self._out = bytearray()

    def fileno(self) -> int:
        return self.sock.fileno()

    @property
    def wants_write(self) -> bool:
        """Something is still to be sent: call `flush` when the socket is writable."""
        return bool(self._out)

    def send(self, message: Fields) -> None:
        """Raises MessageTooLarge, or OSError where the other side is dead, or so far behind that it must be hung."""
        text = json.dumps(message).encode()
        if len(text) > LARGEST:
            raise MessageTooLarge(f"a message of {len(text):,} bytes; the most is {LARGEST:,}")
        if len(self._out) > LARGEST:
            raise OSError("the other side takes nothing any more")
        self._out += _LENGTH.pack(len(text)) + text
        self.flush()

    def flush(self) -> None:
        """Send what is taken now. Raises OSError."""
        try:
            while self._out:
                del self._out[: self.sock.send(memoryview(self._out)[:PIECE].tobytes())]
        except BlockingIOError:
            pass

    def finish(self, seconds: float = FINISH_SECONDS) -> None:
        """Wait until all was taken, but only so long. Raises OSError.

        Not by a timeout of the socket: another thread may be receiving from it.
        """
        poll = select.poll()
        poll.register(self.sock, select.POLLOUT)
        until = time.monotonic() + seconds
        self.flush()
        while self._out:
            left = until - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise TimeoutError("the other side takes nothing any more")
            self.flush()

    def receive(self) -> Iterator[Fields]:
        """All that is there; call it when the socket is readable. Raises EOFError at the end, OSError or ValueError."""
        while True:
            try:
                data = self.sock.recv(PIECE)
            except BlockingIOError:
                return
            if not data:
                raise EOFError
            self._data += data
            yield from self._messages()

    def _messages(self) -> Iterator[Fields]:
        while len(self._data) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._data)
            if length > LARGEST:
                raise ValueError("a message over the limit")
            end = _LENGTH.size + length
            if len(self._data) < end:
                return
            text = bytes(self._data[_LENGTH.size : end])
            del self._data[:end]
            yield _read(text)

    def close(self) -> None:
        self.sock.close()


def _read(text: bytes) -> Fields:
    """Raises ValueError."""
    try:
        message = json.loads(text)
    except RecursionError:
        raise ValueError("not a message") from None
    if not isinstance(message, dict):
        raise ValueError("not a message")
    return message


def pair() -> tuple[Channel, Channel]:
    """The supervisor's end and the child's."""
    ours, theirs = socket.socketpair()
    return Channel(ours), Channel(theirs)
