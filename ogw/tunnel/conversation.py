"""Step 3 of the path, its other way: one connection to a relay proxy, until it has opened the tunnel, or has not."""

import math
import time
from typing import Any, Optional

from ogw.tunnel.encrypted import Leg
from ogw.tunnel.loop import READ, WRITE, Deadline, Expired
from ogw.tunnel.mailbox import Mailbox
from ogw.tunnel.not_opened import NotOpened, closed, silent
from ogw.tunnel.relay import Relay
from ogw.tunnel.upstream import Upstream

RECEIVE_SIZE = 16 * 1024


class Conversation:
    """What is said to a relay proxy and heard of it, in whatever language, within a limit for all of it.

    It owns the connection until that is the tunnel's upstream, or closed.

    plain    the connection as it was made
    leg      encrypts it; then the socket is its plain end
    until    when the limit is over, by the monotonic clock; `seconds`: how long that was, for the log
    address  "address:port" of the other end
    heard    it has said something since it was last spoken to
    """

    def __init__(
        self, relay: Relay, plain: Upstream, leg: Optional[Leg], mailbox: Mailbox, until: float, seconds: float
    ) -> None:
        self.relay = relay
        self.address = plain.address
        self.heard = False
        self._socket = plain.socket
        self._leg = leg
        self._mailbox = mailbox
        self._until = until
        self._seconds = seconds
        self._asked = time.monotonic()
        self._error: Optional[OSError] = None
        self._readable: Any = mailbox.loop.io(self._socket.fileno(), READ)

    @property
    def left(self) -> float:
        """Seconds."""
        return max(self._until - time.monotonic(), 0.0)

    def prolong(self, seconds: float) -> None:
        """Somebody else was waited for."""
        self._until += seconds

    def say(self, data: bytes) -> None:
        """All of it; where it is gone already, what is heard next tells so. Raises NotOpened or ClientGone."""
        self._asked, self.heard = time.monotonic(), False
        while data:
            try:
                data = data[self._socket.send(data) :]
            except BlockingIOError:
                self._wait_for_room()
            except OSError as error:
                self._error = error
                return

    def hear(self, until: float = math.inf) -> bytes:
        """What comes next; b"" at its end, of which `ended` tells more. Raises NotOpened or ClientGone.

        until  by the monotonic clock, where it is waited for less long than the limit says: b"" then, too
        """
        self._readable.start(self._mailbox.tell, self._readable)
        try:
            while True:
                if not self._wait_for(self._readable, until):
                    return b""
                try:
                    more = self._socket.recv(RECEIVE_SIZE)
                except BlockingIOError:
                    continue
                self.heard = self.heard or bool(more)
                return more
        except OSError as error:
            self._error = error
            return b""
        finally:
            self._readable.stop()

    def ended(self, hint: str = "") -> NotOpened:
        """It closed before its answer was whole. `hint`: what may be the cause, where it has not said anything."""
        if self.heard:
            return closed(self.relay, self._asked, "in the middle of its answer", self._error)
        return closed(self.relay, self._asked, "without an answer", self._error, hint)

    def opened(self, rest: bytes) -> Upstream:
        """It is the tunnel's from now on. `rest`: what came behind the answer."""
        self._readable.close()
        leg = self._leg
        return Upstream(self._socket, self.address, rest, None if leg is None else leg.end, leg=leg)

    def close(self) -> None:
        self._readable.close()
        self._socket.close()
        if self._leg is not None:
            self._leg.end()

    def _wait_for_room(self) -> None:
        writable = self._mailbox.loop.io(self._socket.fileno(), WRITE)
        writable.start(self._mailbox.tell, writable)
        try:
            self._wait_for(writable)
        finally:
            writable.stop()
            writable.close()

    def _wait_for(self, watcher: Any, until: float = math.inf) -> bool:
        """False where `until` came first."""
        try:
            with Deadline(min(self._until, until) - time.monotonic()):
                while self._mailbox.wait() is not watcher:
                    pass
        except Expired:
            if until < self._until:
                return False
            raise silent(self.relay, self._seconds, self._asked) from None
        return True
