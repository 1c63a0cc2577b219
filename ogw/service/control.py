"""Orders and answers between the supervisor and a worker: JSON messages behind their length, on a socket pair.

Its end of file means that the other side is dead.
"""

import base64
import json
import pickle
import socket
import struct
from collections.abc import Iterator
from typing import Any

from ogw.settings.settings import Config

LARGEST = 256 << 20
SEND_SECONDS = 5.0  # a worker that takes nothing for so long is hung
_LENGTH = struct.Struct("!I")

Message = dict[str, Any]


class Channel:
    """One end. Messages are sent at once and whole; what is received may come in pieces."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._data = b""

    def fileno(self) -> int:
        return self.sock.fileno()

    def send(self, message: Message) -> None:
        """Raises OSError where the other side is dead or hung. It waits for SEND_SECONDS at the most."""
        text = json.dumps(message).encode()
        self.sock.settimeout(SEND_SECONDS)
        self.sock.sendall(_LENGTH.pack(len(text)) + text)

    def receive(self) -> Iterator[Message]:
        """What is there; call it when the socket is readable. Raises EOFError at the end, OSError or ValueError."""
        self.sock.settimeout(SEND_SECONDS)
        data = self.sock.recv(1 << 20)
        if not data:
            raise EOFError
        self._data += data
        while len(self._data) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._data)
            if length > LARGEST:
                raise ValueError("a message over the limit")
            end = _LENGTH.size + length
            if len(self._data) < end:
                return
            text, self._data = self._data[_LENGTH.size : end], self._data[end:]
            yield json.loads(text)

    def close(self) -> None:
        self.sock.close()


def pair() -> tuple[Channel, Channel]:
    """The supervisor's end and the worker's."""
    ours, theirs = socket.socketpair()
    return Channel(ours), Channel(theirs)


def packed(config: Config) -> str:
    """A configuration as a message carries it: read and checked once, and the same for every worker."""
    return base64.b64encode(pickle.dumps(config)).decode("ascii")


def unpacked(text: str) -> Config:
    config: Config = pickle.loads(base64.b64decode(text))
    return config
