"""The last moments of a socket: what was said to a peer must reach it, even if it is still sending.

Closing a socket with unread bytes in it makes the kernel reset the connection, and what was on its way is lost.
"""

import _socket
import fcntl
import struct
import termios

from gevent.hub import get_hub
from greenlet import getcurrent

from ogw.tunnel.loop import READ, Deadline, Expired

RECEIVE_SIZE = 16 * 1024
LINGER_SECONDS, LINGER_BYTES = 2.0, 1 << 20  # after a refusal or an alert
DELIVER_SECONDS = 5.0  # what a peer has to take what the other one said before its reset


class Cut(BaseException):
    """Thrown into a greenlet that waits here: enough. It comes back as if the time were over."""


def half_close_and_drop(sock: _socket.socket) -> None:
    """End our sending side, and read and drop what still comes: for a bounded time, and a bounded amount.

    Raises OSError where nobody is there any more.
    """
    sock.shutdown(_socket.SHUT_WR)
    _drop(sock, LINGER_SECONDS, LINGER_BYTES)


def pass_reset_on(sock: _socket.socket) -> None:
    """Close it with a reset, as the other peer did; but where bytes of that one are still on their way, in order."""
    try:
        if unsent(sock) == 0:
            break_off(sock)
        else:
            sock.shutdown(_socket.SHUT_WR)
            _drop(sock, DELIVER_SECONDS, until_delivered=True)
    except OSError:
        pass  # it is gone already
    finally:
        sock.close()


def break_off(sock: _socket.socket) -> None:
    """Let its close be a reset. Raises OSError."""
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, struct.pack("ii", 1, 0))


def unsent(sock: _socket.socket) -> int:
    """Bytes that the peer has not acknowledged yet (tcp(7), SIOCOUTQ)."""
    return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0])


def _drop(sock: _socket.socket, seconds: float, most: float = float("inf"), until_delivered: bool = False) -> None:
    """Read and drop until the peer ends. It may come early with `until_delivered`: the peer has taken all of ours."""
    hub = get_hub()
    watcher = hub.loop.io(sock.fileno(), READ)
    watcher.start(getcurrent().switch)
    try:
        with Deadline(seconds):
            while most > 0:
                hub.switch()
                try:
                    size = len(sock.recv(RECEIVE_SIZE))
                except BlockingIOError:
                    continue
                if not size or (until_delivered and unsent(sock) == 0):
                    return
                most -= size
    except (Expired, Cut):
        pass
    finally:
        watcher.stop()
        watcher.close()
