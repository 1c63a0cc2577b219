"""How often tunnels look whether another one, of any worker, has found out what credentials are worth."""

from ogw.tunnel.mailbox import Mailbox

SHORTEST_PAUSE, LONGEST_PAUSE = 0.01, 0.25  # seconds between two looks of one tunnel
MOST_LOOKS = 2000  # a second, by all of them, before the longest pause is reached


class Looks:
    """Of one worker: the more of its tunnels wait, the rarer each looks.

    (10 ms each were a third of a core for 800 tunnels.)
    """

    def __init__(self) -> None:
        self._waiting = 0

    def pause(self, mailbox: Mailbox) -> None:
        """Until the next look; raises ClientGone."""
        self._waiting += 1
        try:
            mailbox.pause(min(max(SHORTEST_PAUSE, self._waiting / MOST_LOOKS), LONGEST_PAUSE))
        finally:
            self._waiting -= 1
