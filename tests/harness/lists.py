"""A real https server that keeps a list of host rules, and may be told to misbehave."""

import contextlib
import hashlib
import http.client
import ssl

from harness.gateway import read_head
from harness.upstreams import Server, server_context


class ListServer(Server):
    """Use as a context manager.

    body     the list; its ETag follows from it
    answer   instead of it: (status, body), or a function of the TLS connection and the request's head
    signature  what stands beside it, at its path with .sig; None for nothing
    heads    of all requests, in order
    """

    def __init__(self, authority, body=b"a.example\n", name=None, etag=True, **more):
        super().__init__(self._serve, **more)
        self.body = body
        self.answer = None
        self.signature = None
        self.heads = []
        self.etag = etag
        self.name = name or self.host
        self._context = server_context(authority, self.name)

    @property
    def url(self):
        port = "" if self.port == 443 else f":{self.port}"
        return f"https://{self.name}{port}/hosts.txt"

    def put(self, body, signature=None):
        """Another list, and its signature."""
        self.body, self.signature = body, signature

    @property
    def asked_for_list(self):
        """The heads of requests for the list itself."""
        return [head for head in self.heads if not head.split()[1].partition("?")[0].endswith(".sig")]

    def _serve(self, connection):
        with contextlib.suppress(ssl.SSLError, OSError):
            with self._context.wrap_socket(connection, server_side=True) as tls:
                head = read_head(tls).decode("latin-1")
                if not head:
                    return
                self.heads.append(head)
                if head.split()[1].partition("?")[0].endswith(".sig"):
                    say(tls, *((404, b"") if self.signature is None else (200, self.signature)))
                    return
                if callable(self.answer):
                    self.answer(tls, head)
                    return
                if self.answer is not None:
                    say(tls, *self.answer)
                    return
                etag = f'"{hashlib.sha256(self.body).hexdigest()[:8]}"'
                validator = f"ETag: {etag}" if self.etag else "Last-Modified: Tue, 24 Nov 2026 10:00:00 GMT"
                asked = f"If-None-Match: {etag}" if self.etag else "If-Modified-Since: Tue, 24 Nov 2026 10:00:00 GMT"
                status, body = (304, b"") if asked in head else (200, self.body)
                say(tls, status, body, validator)


def say(tls, status, body=b"", *headers, length=True):
    """An answer."""
    phrase = http.client.responses.get(status, "?")
    lines = [f"HTTP/1.1 {status} {phrase}", "Connection: close", *headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    tls.sendall("\r\n".join([*lines, "", ""]).encode() + body)
    with contextlib.suppress(OSError, ssl.SSLError):
        tls.unwrap()
