"""The door: listening sockets, and the accept that starts the path of a connection."""

import _socket
import errno
import socket
from collections.abc import Callable, Sequence
from typing import Any, Optional

from gevent.server import StreamServer

from ogw.language.messages import gettext as _
from ogw.settings import named
from ogw.settings.listening import NO_SUCH_FAMILY, advice, family_of, let_be_absent
from ogw.settings.settings import Config
from ogw.tunnel.attempt import keep_alive
from ogw.tunnel.descriptors import NO_DESCRIPTORS
from ogw.wire.place import place

BACKLOG = 4096  # the kernel cuts it to net.core.somaxconn
RECEIVE_SIZE = 16 * 1024
DEFER_ACCEPT = 1  # seconds that the kernel keeps a silent client to itself (tcp(7), TCP_DEFER_ACCEPT)
PAUSE = 0.1  # seconds without accepting after descriptors ran out

Take = Callable[[_socket.socket, Any, bytes], None]  # of a client: its socket, its address, the first bytes that came


class ListenError(Exception):
    """An address cannot be listened on; the sentence says why and what to do."""


def listen(
    host: str,
    port: int,
    keepalive: float,
    probe: bool = False,
    alone: bool = False,
    later: bool = False,
    freebind: bool = False,
    setting: str = "listen-port",
    flags: str = "",
) -> socket.socket:
    """A listening socket. What tunnels' client sockets need is set here, since accepted sockets inherit it.

    probe     bind only, and bind alone. The others share their place, and the kernel spreads clients over them
              (SO_REUSEPORT): without a probe a second gateway of the same user would silently share our clients.
    alone     share the place with nobody; it is none for clients
    later     bind only: whoever serves it opens the queue
    freebind  the machine need not have the address
    setting   the name of the one that says the port
    flags     by which commands mean the INI file

    Raises ListenError; its __cause__ is the OSError.
    """
    family = family_of(host)
    try:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise _cannot_listen(host, port, str(error.strerror)) from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, not (probe or alone))
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        keep_alive(sock, keepalive)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_ACCEPT)
        if freebind:
            let_be_absent(sock)
        sock.bind((host, port))
        if not (probe or later):  # whoever connected to one that is closed at once would be reset
            sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise _cannot_listen(host, port, advice(error, port, setting, flags)) from error
    return sock


def _cannot_listen(host: str, port: int, why: str) -> ListenError:
    return ListenError(_("cannot listen on {place}: {why}").format(place=place(host, port), why=why))


def place_of(sock: socket.socket) -> str:
    """Where it listens, host:port."""
    host, port = sock.getsockname()[:2]
    return place(host, port)


def listen_everywhere(
    config: Config, slots: int, given: Sequence[socket.socket] = (), later: bool = False
) -> list[list[socket.socket]]:
    """For each worker slot a socket on every listen address, or several. Raises ListenError.

    A family that the kernel has switched off is an error only where it was asked for.

    given  sockets that are here already: each that listens where one is wanted has a slot, even where there are more
           than slots, for clients wait in its queue; what is not in the result is not needed
    later  new ones take no clients before a worker opens them
    """
    sockets: list[list[socket.socket]] = [[] for _slot in range(slots)]
    fresh: list[socket.socket] = []
    missing: Optional[ListenError] = None
    freebind = config.listen_freebind == "yes"
    try:
        for host, port in config.listen:
            here = [sock for sock in given if sock.getsockname()[:2] == (host, port)]
            if not here:
                try:
                    setting, flags = config.port_setting(host, port), named.flags(config.file)
                    listen(host, port, 0, probe=True, freebind=freebind, setting=setting, flags=flags).close()
                except ListenError as error:
                    cause = error.__cause__
                    if not (config.listen_is_default and isinstance(cause, OSError) and cause.errno in NO_SUCH_FAMILY):
                        raise
                    missing = error
                    continue
            while len(here) < slots:
                here.append(listen(host, port, config.tcp_keepalive, later=later, freebind=freebind))
                fresh.append(here[-1])
            for number, sock in enumerate(here):
                sockets[number % slots].append(sock)
        if not sockets[0] and missing is not None:
            raise missing
    except ListenError:
        for sock in fresh:
            sock.close()
        raise
    return sockets


class Listener(StreamServer):  # type: ignore[misc]
    """Accepts raw sockets and receives at once: most clients have said their head by then, and probes have left."""

    def __init__(
        self,
        sock: socket.socket,
        take: Take,
        out_of_descriptors: Callable[[OSError], None],
    ) -> None:
        super().__init__(sock, handle=take, spawn=None)
        self._family = sock.family
        self._out_of_descriptors = out_of_descriptors

    def give_to(self, take: Take) -> None:
        """Whoever is accepted from now on."""
        self.set_handle(take)

    def open_queue(self) -> None:
        """The supervisor closed it where nobody served it for long; one that is open stays as it is."""
        self.socket.listen(BACKLOG)

    def do_read(self) -> Optional[tuple[_socket.socket, Any, bytes]]:
        """The next client that is not a mere probe, with its first bytes; None when the queue is empty."""
        while True:
            try:
                fd, address = self.socket._accept()
            except OSError as error:
                if error.errno in NO_DESCRIPTORS:
                    self._pause(error)
                elif error.errno == errno.EINVAL:
                    self.open_queue()  # somebody who shares it has closed it, and nothing but this would be heard of it
                # The rest are the queue's end, and clients that were gone before we came (accept(2)).
                return None
            client = _socket.socket(self._family, _socket.SOCK_STREAM, 0, fd)
            client.setblocking(False)
            try:
                first = client.recv(RECEIVE_SIZE)
            except BlockingIOError:
                return client, address, b""
            except OSError:
                client.close()
                continue
            if first:
                return client, address, first
            client.close()  # connected and closed: the probe of a load balancer

    def do_handle(self, *args: Any) -> None:
        self._handle(*args)

    def accept_what_is_queued(self) -> None:
        """Take the clients that the kernel has accepted already, before the door is closed. Call it in the hub."""
        while not self.closed:
            taken = self.do_read()
            if taken is None:
                return
            self.do_handle(*taken)

    def _pause(self, error: OSError) -> None:
        # The queue waits in the kernel and loses nothing; accepting at once again would spin.
        self.stop_accepting()
        self._timer = self.loop.timer(PAUSE)
        self._timer.start(self._start_accepting_if_started)
        self._out_of_descriptors(error)
