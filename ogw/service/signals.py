"""The signals that the gateway hears, kept from its first moment on: which came, not how often.

The kernel throws a signal away that process 1 of a container does not handle yet, so the handlers must stand before
anything that takes time is imported; this module imports little itself. Three hundred that say the same are one.
"""

import signal
import socket
from typing import Any, Optional

STOP = (signal.SIGINT, signal.SIGTERM)  # in this order: until then Ctrl-C is an exception of Python's own
HEARD = (*STOP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)  # the most urgent first
MOST_STOPS = 2  # the second means at once, and no further one means more


class Signals:
    """Those that came and were not handled yet."""

    def __init__(self) -> None:
        self._stops = 0
        self._others: set[int] = set()
        self._bell: Optional[tuple[socket.socket, socket.socket]] = None
        self._served = False

    def keep(self) -> None:
        """From now on. Whoever started us may have blocked or ignored them: that is inherited."""
        for number in (*HEARD, signal.SIGCHLD):
            signal.signal(number, self._note)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (*HEARD, signal.SIGCHLD))

    def listen(self) -> socket.socket:
        """What becomes readable when one comes, a child's end (SIGCHLD) among them. Raises OSError."""
        bell, wakeup = self._bell = socket.socketpair()
        self._served = True
        for sock in (bell, wakeup):
            sock.setblocking(False)
        # Only a wake-up: what came stands in the handler's note, for a full pipe takes no more.
        signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
        return bell

    def drain(self) -> None:
        """Somebody woke us."""
        assert self._bell is not None
        try:
            while self._bell[0].recv(4096):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        """None is heard any more: at our end, and in a child, before its body, since they reach the whole group.

        Python's own end would give them back to the kernel, which kills the process for the next one.
        """
        for number in HEARD:
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        for sock in self._bell or ():
            sock.close()
        self._bell = None

    @property
    def waiting(self) -> bool:
        """One came that was not taken."""
        return bool(self._stops or self._others)

    def take(self) -> int:
        """The most urgent that came, 0 for none. A stop counts each time, up to twice."""
        if self._stops:
            self._stops -= 1
            return signal.SIGTERM
        for number in HEARD:
            if number in self._others:
                self._others.discard(number)
                return number
        return 0

    def _note(self, number: int, _frame: Any) -> None:
        if number in STOP:
            if self._stops and not self._served:
                raise KeyboardInterrupt  # it does not serve yet, and whoever asks twice does not wait for that
            self._stops = min(self._stops + 1, MOST_STOPS)
        elif number != signal.SIGCHLD:
            self._others.add(number)


SIGNALS = Signals()  # a process has one set of them
