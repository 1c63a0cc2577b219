"""The pipes that splice(2) goes through: what is read into one stays in the kernel until it is written out of it."""

import fcntl
import os
from typing import Optional

PIPE_SIZE = 256 * 1024  # Linux gives it to an unprivileged user for about 256 pipes


class Pipes:
    """The pipes that splice(2) goes through, shared by all tunnels; one is held only while bytes are in it.

    With `limit` 0, where splice(2) does not exist, or when the kernel gives no more, `take` says None and the tunnel
    copies with recv and send.
    """

    def __init__(self, limit: int = 200) -> None:
        self.limit = limit if hasattr(os, "splice") else 0
        self.open = 0
        self._free: list[tuple[int, int]] = []

    def take(self) -> Optional[tuple[int, int]]:
        """An empty pipe, (read end, write end), or None."""
        if self._free:
            return self._free.pop()
        if self.open >= self.limit:
            return None
        try:
            pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        self.open += 1
        try:
            fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        except OSError:
            pass  # over the user's allowance: the pipe works at its own size
        return pipe

    def give_back(self, pipe: tuple[int, int], held: int) -> None:
        """Return a pipe in which `held` bytes are left. Law 4: the next tunnel must never read them."""
        if held:
            self.open -= 1
            os.close(pipe[0])
            os.close(pipe[1])
        else:
            self._free.append(pipe)

    def close(self) -> None:
        """Close the pipes that wait in the pool."""
        while self._free:
            self.give_back(self._free.pop(), held=1)
