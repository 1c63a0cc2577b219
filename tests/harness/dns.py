"""A small DNS server (RFC 1035) that says what a test tells it to, and remembers what it was asked."""

import collections
import contextlib
import socket
import struct
import threading
from ipaddress import ip_address

from harness.gateway import address

A, SOA, AAAA = 1, 6, 28
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3
SILENT = object()
LAME = 16  # it knows nothing, and asks nobody else
TRUNCATED = 0x0200
MOST, MOST_EDNS = 512, 1232  # bytes of an answer over UDP


class Dns:
    """Answers by `names`: a dict from name to a list of addresses, to an error code, to SILENT, or to a function of the
    query's type and number that gives one of those. Use as a context manager.

    ttl       of addresses
    nothing   the TTL and the minimum of the SOA record that comes with an answer that has none; None: there is no SOA
    over_tcp  whether it answers there, too
    questions what is done with a question, which is bytes, before it goes into the answer
    edns      what becomes of a query with an OPT record: an error code, or SILENT; None: it is not looked at
    """

    def __init__(self, names, ttl=0, nothing=None, over_tcp=True, questions=bytes, edns=None):
        self.names = names
        self.asked = []
        self.queries = []
        self.streams = 0
        self._counts = collections.Counter()
        self.held = []
        self.ttl = ttl
        self.nothing = nothing
        self._over_tcp = over_tcp
        self._questions = questions
        self._edns = edns
        self._lock = threading.Lock()
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.host = address()
        self._sock.bind((self.host, 0))
        self.port = self._sock.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._door = socket.create_server((self.host, self.port)) if over_tcp else None
        self._stream_thread = threading.Thread(target=self._serve_streams, daemon=True)

    @property
    def flags(self):
        return "--dns-server", f"{self.host}:{self.port}"

    def __enter__(self):
        self._thread.start()
        if self._door is not None:
            self._stream_thread.start()
        return self

    def __exit__(self, *exception):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bell:
            bell.sendto(b"", (self.host, self.port))
        self._thread.join(10)
        self._sock.close()
        if self._door is not None:
            self._door.shutdown(socket.SHUT_RDWR)
            self._stream_thread.join(10)
            self._door.close()

    def _serve(self):
        while True:
            query, client = self._sock.recvfrom(4096)
            if not query:
                return
            answer = self._say(query)
            if answer is not SILENT:
                most = MOST if query[10:12] == b"\0\0" else MOST_EDNS
                self._sock.sendto(answer if len(answer) <= most else self._cut(answer), client)

    def _serve_streams(self):
        while True:
            try:
                stream, _client = self._door.accept()
            except OSError:
                return
            with stream, contextlib.suppress(OSError):
                stream.settimeout(10)
                size = int.from_bytes(stream.recv(2, socket.MSG_WAITALL))
                query = stream.recv(size, socket.MSG_WAITALL)
                if not query:
                    continue  # who asks had waited for long enough
                self.streams += 1
                answer = self._say(query)
                if answer is not SILENT:
                    stream.sendall(struct.pack("!H", len(answer)) + answer)

    def _say(self, query):
        name, kind, end = self._question(query)
        with self._lock:
            self.asked.append((name, kind))
            self.queries.append(query)
            self._counts[name, kind] += 1
            number = self._counts[name, kind]
        if self._edns is not None and query[10:12] != b"\0\0":
            return self._edns if self._edns is SILENT else self._answer(query, end, kind, self._edns)
        answer = self.names.get(name, NXDOMAIN)
        if callable(answer):
            answer = answer(kind, number)
        return SILENT if answer is SILENT else self._answer(query, end, kind, answer)

    @staticmethod
    def _cut(answer):
        """As many of its records as fit."""
        (flags, _questions, number) = struct.unpack("!HHH", answer[2:8])
        end = answer.index(b"\xc0\x0c")
        size = 12 + int.from_bytes(answer[end + 10 : end + 12])
        number = min(number, (MOST - end) // size)
        head = struct.pack("!HHHHH", flags | TRUNCATED, 1, number, 0, 0)
        return answer[:2] + head + answer[12 : end + number * size]

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
        body = b"".join(
            b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, self.ttl, len(one.packed)) + one.packed for one in records
        )
        ends = 0
        if not records and code in (NOERROR, NXDOMAIN) and self.nothing is not None:
            seconds, minimum = self.nothing
            ends = 1
            numbers = struct.pack("!IIIII", 1, 1, 1, 1, minimum)
            body += b"\0" + struct.pack("!HHIH", SOA, 1, seconds, 2 + len(numbers)) + b"\0\0" + numbers
        if answer == LAME:
            return query[:2] + struct.pack("!HHHHH", 0x8100, 1, 0, 0, 0) + self._questions(query[12:end])
        head = query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(records), ends, 0)
        return head + self._questions(query[12:end]) + body
