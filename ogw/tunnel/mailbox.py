"""What the greenlet of a tunnel hears while it dials, the end of its client among it."""

import _socket
from collections import deque
from typing import Any, Optional

from gevent.hub import get_hub
from greenlet import getcurrent

from ogw.tunnel.loop import READ


class ClientGone(Exception):
    """The client reset its connection while we were dialing for it."""


class Mailbox:
    """What happens while the greenlet of a tunnel dials, in order; told from the hub, awaited by the greenlet."""

    def __init__(self) -> None:
        self._hub = get_hub()
        self.loop = self._hub.loop
        self._greenlet = getcurrent()
        self._mail: deque[Any] = deque()
        self._waits = False

    def tell(self, what: Any) -> None:
        self._mail.append(what)
        if self._waits:
            self._greenlet.switch()

    def tell_soon(self, what: Any) -> None:
        """For those who are not to be left by a switch to a greenlet: a look-up that tells many."""
        self._hub.loop.run_callback(self.tell, what)

    def wait(self) -> Any:
        """The next thing that happened; raises ClientGone when it was that."""
        while not self._mail:
            self._waits = True
            try:
                self._hub.switch()
            finally:
                self._waits = False
        what = self._mail.popleft()
        if what is ClientGone:
            raise ClientGone
        return what

    def pause(self, seconds: float) -> None:
        """Let so much time pass; raises ClientGone."""
        timer = self.loop.timer(seconds)
        timer.start(self.tell, timer)
        try:
            while self.wait() is not timer:
                pass
        finally:
            timer.stop()
            timer.close()


class ClientWatch:
    """Sees a client that resets while we dial. Early bytes and a half-close are no reason to stop: they stay unread.

    readable  the watcher; who dialed takes it over as it is, or closes it
    """

    __slots__ = ("_client", "_mailbox", "readable")

    def __init__(self, client: _socket.socket) -> None:
        self._client = client
        self._mailbox: Optional[Mailbox] = None
        self.readable: Any = get_hub().loop.io(client.fileno(), READ)

    def tell(self, mailbox: Mailbox) -> None:
        """From now on."""
        self._mailbox = mailbox
        self.readable.start(self._heard)

    def _heard(self) -> None:
        try:
            self._client.recv(1, _socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            self.readable.stop()  # before the tunnel is told, which closes it
            assert self._mailbox is not None
            self._mailbox.tell(ClientGone)
            return
        self.readable.stop()
