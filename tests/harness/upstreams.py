"""Servers that tests go to: each on a loopback address of its own, ended with its test."""

import hashlib
import socket
import ssl
import struct
import threading

from harness.gateway import address, read_exactly


class Server:
    """Calls `serve(connection)` in a thread for each connection. Use as a context manager."""

    def __init__(self, serve, port=443, host=None, backlog=4096):
        self.host = address() if host is None else host
        self.port = port
        self._serve = serve
        self.errors = []
        self._connections = set()
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, port), family=family, backlog=backlog)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @property
    def target(self):
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __enter__(self):
        self._threads[0].start()
        return self

    def __exit__(self, *exception):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in tuple(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(10)

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.add(connection)
            thread = threading.Thread(target=self._run, args=(connection,), daemon=True)
            thread.start()
            self._threads = [thread for thread in self._threads if thread.is_alive()] + [thread]

    def _run(self, connection):
        try:
            self._serve(connection)
        except OSError as error:
            self.errors.append(error)
        finally:
            self._connections.discard(connection)
            connection.close()


def echo(connection):
    """Says back what it hears, and closes when the client has."""
    while data := connection.recv(1 << 16):
        connection.sendall(data)


def reset(sock):
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def pattern(size, seed=b"ogw"):
    """Bytes that no other seed gives, in pieces of 1 MiB at most."""
    block = hashlib.shake_256(seed).digest(1 << 20)
    for start in range(0, size, 1 << 20):
        yield block[: min(1 << 20, size - start)]


def server_context(authority, *names):
    """A TLS server's context with a certificate of the test's own authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def https(context, sizes):
    """Serves HTTPS: GET /SIZE gives so many bytes; PUT gives the checksum of what came; `sizes` collects both."""

    def serve(connection):
        with context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=True) as tls:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = tls.recv(4096)
                if not piece:
                    return
                head += piece
            head, _, rest = head.partition(b"\r\n\r\n")
            method, path = head.split(b" ")[:2]
            lines = head.lower().split(b"\r\n")
            if method == b"PUT":
                left = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
                if b"expect: 100-continue" in lines:
                    tls.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                digest = hashlib.sha256(rest)
                left -= len(rest)
                while left > 0:
                    piece = tls.recv(min(left, 1 << 16))
                    if not piece:
                        return
                    digest.update(piece)
                    left -= len(piece)
                body = digest.hexdigest().encode()
                sizes.append(("PUT", len(rest)))
                tls.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            else:
                size = int(path.split(b"/")[1] or 0) if path.split(b"/")[1].isdigit() else 0
                sizes.append((method.decode(), size))
                tls.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size)
                if method != b"HEAD":
                    for piece in pattern(size):
                        tls.sendall(piece)
            try:
                tls.unwrap()
            except (OSError, ssl.SSLError):
                pass

    return serve


def swallow(connection):
    """Reads without an answer until the end."""
    while read_exactly(connection, 1 << 16):
        pass
