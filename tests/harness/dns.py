"""A small DNS server (RFC 1035) that says what a test tells it to, and remembers what it was asked."""

import collections
import socket
import struct
import threading
from ipaddress import ip_address

from harness.gateway import address

A, AAAA = 1, 28
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3
SILENT = object()


class Dns:
    """Answers by `names`: a dict from name to a list of addresses, to an error code, to SILENT, or to a function of the
    query's type and number that gives one of those. Use as a context manager.
    """

    def __init__(self, names, ttl=0):
        self.names = names
        self.asked = []
        self._counts = collections.Counter()
        self.held = []
        self._ttl = ttl
        self._lock = threading.Lock()
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.host = address()
        self._sock.bind((self.host, 0))
        self.port = self._sock.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def flags(self):
        return "--dns-server", f"{self.host}:{self.port}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bell:
            bell.sendto(b"", (self.host, self.port))
        self._thread.join(10)
        self._sock.close()

    def _serve(self):
        while True:
            query, client = self._sock.recvfrom(4096)
            if not query:
                return
            name, kind, end = self._question(query)
            with self._lock:
                self.asked.append((name, kind))
                self._counts[name, kind] += 1
                number = self._counts[name, kind]
            answer = self.names.get(name, NXDOMAIN)
            if callable(answer):
                answer = answer(kind, number)
            if answer is not SILENT:
                self._sock.sendto(self._answer(query, end, kind, answer), client)

    @staticmethod
    def _question(query):
        labels, position = [], 12
        while size := query[position]:
            labels.append(query[position + 1 : position + 1 + size].decode("ascii").lower())
            position += 1 + size
        (kind,) = struct.unpack("!H", query[position + 1 : position + 3])
        return ".".join(labels), kind, position + 5

    def _answer(self, query, end, kind, answer):
        code = answer if isinstance(answer, int) else NOERROR
        found = [] if isinstance(answer, int) else [ip_address(text) for text in answer]
        records = [one for one in found if (kind, one.version) in ((A, 4), (AAAA, 6))]
        head = query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(records), 0, 0)
        body = b"".join(
            b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, self._ttl, len(one.packed)) + one.packed for one in records
        )
        return head + query[12:end] + body
