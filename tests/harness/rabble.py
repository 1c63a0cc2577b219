"""Clients that behave badly, of one kind each, at a rate that is bounded: what a gateway is shaken with."""

import contextlib
import random
import socket
import ssl

from harness.aside import Aside
from harness.gateway import read_head
from harness.tls import client
from harness.upstreams import reset

JUNK = (b"", b"C", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", bytes(50), b"CONNECT no.example:443 HTTP/1.1\r\n\r\n")
# The begin of a ClientHello of 256 bytes, of which it sends the rest a byte at a time.
HELLO = b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03"


def connect(target, rest=b""):
    return f"CONNECT {target} HTTP/1.1\r\n\r\n".encode() + rest


class Rabble(Aside):
    """Connects, does one bad thing, holds the connection for a while, and lets it go.

    begin   what it does with each fresh connection: begin(socket, random.Random)
    most    so many are held, then the oldest is let go
    pace    seconds between two of them
    drip    what each that is held sends at every turn
    resets  so often it is let go with a reset
    count   how many there were
    """

    def __init__(self, gateway, begin, most, pace, drip=b"", resets=0.5):
        super().__init__()
        self._place = (gateway.address, 8080)
        self._begin, self._most, self._pace, self._drip, self._resets = begin, most, pace, drip, resets
        self.count = 0

    def run(self):
        chance = random.Random(1)
        held = []
        while not self.over.wait(self._pace):
            with contextlib.suppress(OSError):  # it may be refused, or cut: it deserves no better
                sock = socket.create_connection(self._place, timeout=10)
                held.append(sock)
                self._begin(sock, chance)
                self.count += 1
            for sock in held if self._drip else ():
                with contextlib.suppress(OSError):
                    sock.sendall(self._drip)
            while len(held) > self._most:
                self._let_go(held.pop(0), chance)
        for sock in held:
            self._let_go(sock, chance)

    def _let_go(self, sock, chance):
        reset(sock) if chance.random() < self._resets else sock.close()


def talking_junk(gateway):
    return Rabble(gateway, lambda sock, chance: sock.sendall(chance.choice(JUNK)), 50, 0.05)


def resetting(gateway, target):
    """At every stage, at once."""

    stages = [b"", b"CONNECT ", connect(target), connect(target, bytes(100_000))]
    return Rabble(gateway, lambda sock, chance: sock.sendall(chance.choice(stages)), 0, 0.02, resets=1.0)


def never_reading(gateway, flood):
    """`flood` sends without end. They are given up one after another, so that there are fresh ones always."""
    return Rabble(gateway, lambda sock, _: sock.sendall(connect(flood, b"x")), 20, 0.5)


def with_slow_heads(gateway):
    return Rabble(gateway, lambda sock, _: sock.sendall(b"CONNECT "), 60, 0.1, drip=b"x")


def with_slow_hellos(gateway, target):
    return Rabble(gateway, lambda sock, _: sock.sendall(connect(target, HELLO)), 60, 0.1, drip=b"\0")


def asking_for(gateway, target):
    """For a target that does not come to an answer; some leave before they were told so."""
    return Rabble(gateway, lambda sock, _: sock.sendall(connect(target)), 10, 0.2)


def speaking_tls(gateway, target):
    """Not bad at all: sessions that the TLS rules verify. They are left without a word in the end."""
    context = client()

    def begin(sock, _chance):
        sock.sendall(connect(target))
        if not read_head(sock).startswith(b"HTTP/1.1 200 "):
            raise OSError
        with (
            contextlib.suppress(ssl.SSLError),
            context.wrap_socket(sock.dup(), server_hostname=target.partition(":")[0]) as tls,
        ):
            tls.sendall(b"hello")
            tls.recv(5)

    return Rabble(gateway, begin, 5, 0.2)
