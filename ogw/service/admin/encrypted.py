"""A connection to the admin process that speaks TLS: the session lies between the socket and waitress' channel.

The handshake takes its turn like every read and write, and its time is that of the first request: whoever is slow, or
says nothing, keeps nobody else waiting, and is closed as on a plain connection (server.py).
"""

import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import Any, Optional

from ogw.service.admin.guard import Guard
from ogw.service.admin.server import BAD_REQUEST, Connection

PLAIN = BAD_REQUEST + b"this port speaks TLS: ask it by https://\n"


def channel_of(guard: Guard) -> type[Connection]:
    """What the server makes of each connection to admin-address, of whatever certificate is in force just then."""
    return type("GuardedConnection", (Encrypted,), {"guard": guard}) if guard.encrypts else Connection


class Encrypted(Connection):
    guard: Guard

    def __init__(self, server: Any, sock: socket.socket, addr: Any, adj: Any, map: Any = None) -> None:
        # Threads that answer write, while the server's reads: OpenSSL takes one at a time of a session.
        self._session = threading.Lock()
        self._wants_write = False  # the handshake waits for room to write, before it reads on
        sock.setblocking(False)
        tls = self.guard.context().wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        super().__init__(server, tls, addr, adj, map)

    def readable(self) -> bool:
        return not self._wants_write and super().readable()

    def writable(self) -> bool:
        return self._wants_write or super().writable()

    def handle_read(self) -> None:
        try:
            data = self._decrypted()
        except ssl.SSLError as error:
            self._failed(error)
        except OSError:
            self.handle_close()
        else:
            if data is None:
                return
            if not data:
                self.handle_close()
                return
            self.last_activity = time.time()
            self.received(data)

    def handle_write(self) -> None:
        if self._wants_write:
            self._wants_write = False
            self.handle_read()
        else:
            super().handle_write()

    def send(self, data: bytes, do_close: bool = True) -> int:
        """How much of it went. Raises OSError."""
        try:
            with self._session:
                return int(self.socket.send(data))
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return 0

    def handle_close(self) -> None:
        if self.socket is not None:
            with suppress(OSError, ValueError), self._session:
                self.socket.unwrap()  # says that it ends here; the other side's farewell is not waited for
        super().handle_close()

    def _decrypted(self) -> Optional[bytes]:
        """What was said, b"" at its end; None where there is no whole record yet. Raises OSError."""
        try:
            with self._session:
                data: bytes = self.socket.recv(self.adj.recv_bytes)
                # What is left of a record lies here, and poll(2) knows nothing of it.
                while data and (more := self.socket.pending()):
                    data += self.socket.recv(more)
                return data
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLWantWriteError:
            self._wants_write = True
            return None

    def _failed(self, error: ssl.SSLError) -> None:
        """The session, most likely in its handshake."""
        if error.reason == "HTTP_REQUEST":
            with suppress(OSError):
                socket.socket.recv(self.socket, self.adj.recv_bytes)  # what is left unread would reset the answer
                socket.socket.send(self.socket, PLAIN)
        if not isinstance(error, ssl.SSLEOFError):  # a balancer's probe: it connects, and closes
            self.guard.refuse("tls", self.addr[0])
        self.handle_close()
