"""systemd's store of descriptors (FileDescriptorStoreMax=, sd_notify(3)): there the door outlives a crash.

While the gateway is away the kernel goes on to accept for its listening sockets, as systemd holds them; the next
supervisor is given them back and serves who waits. A stop takes them out: clients would wait for nobody, and a load
balancer would not look elsewhere.
"""

import os
import re
import socket
from collections.abc import Sequence

from ogw.service.listener import place_of
from ogw.service.notify import notify
from ogw.settings.settings import Config
from ogw.tunnel.attempt import keep_alive

NAME = "listen"  # of all that are kept
FIRST = 3  # of the descriptors that systemd gives (sd_listen_fds(3))
AT_ONCE = 200  # descriptors of one message; the kernel takes 253
_COUNT = re.compile(r"[0-9]{1,5}\Z")
_TCP = ((socket.AF_INET, socket.SOCK_STREAM), (socket.AF_INET6, socket.SOCK_STREAM))


def take(config: Config) -> tuple[list[socket.socket], list[str]]:
    """The listening sockets of this configuration that were kept, and what to tell of others, which were closed.

    To be called before anything else is opened, as numbers of descriptors come from outside.
    """
    sockets, told = [], []
    for descriptor, name in _given():
        try:
            sock = socket.socket(fileno=descriptor)
        except OSError as error:
            _close(descriptor)
            wrong = f"is no socket: {error.strerror}"
        else:
            wrong = why_not(sock, config)
            if not wrong:
                sock.set_inheritable(False)
                sock.setblocking(False)
                keep_alive(sock, config.tcp_keepalive)  # the one setting that it has of the configuration
                sockets.append(sock)
                continue
            sock.close()
        told.append(f"descriptor {descriptor} ({name}), which systemd kept, {wrong}; it was closed")
    return sockets, told


def why_not(sock: socket.socket, config: Config) -> str:
    """Why it is not one that a supervisor of this configuration made; "" where it is."""
    if (sock.family, sock.type) not in _TCP or sock.proto != socket.IPPROTO_TCP:
        return "is no TCP socket"
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "does not listen"
    if sock.getsockname()[:2] not in config.listen:
        return f"listens on {place_of(sock)}, which is no listen-address"
    alone = not sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
    if alone or (sock.family == socket.AF_INET6 and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)):
        return f"listens on {place_of(sock)} in another way than a worker's"
    return ""


def keep(sockets: Sequence[socket.socket]) -> None:
    """These and nothing else, whatever was kept before."""
    release()
    for first in range(0, len(sockets), AT_ONCE):
        some = [sock.fileno() for sock in sockets[first : first + AT_ONCE]]
        notify("FDSTORE=1", f"FDNAME={NAME}", descriptors=some)


def release() -> None:
    """Keep none any more."""
    for name in _names:
        notify("FDSTOREREMOVE=1", f"FDNAME={name}")


_names = {NAME}  # under which something was kept


def _given() -> list[tuple[int, str]]:
    """What this process was given: (descriptor, name). Its children are not to take it for theirs."""
    pid, count, names = (os.environ.pop(f"LISTEN_{name}", "") for name in ("PID", "FDS", "FDNAMES"))
    if pid != str(os.getpid()) or not _COUNT.match(count):
        return []
    named = names.split(":") if names else []
    _names.update(named)
    named += ["unnamed"] * int(count)
    return [(FIRST + number, named[number]) for number in range(int(count))]


def _close(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:
        pass  # there is none of that number
