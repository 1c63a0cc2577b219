"""A running load of tunnels whose every byte is checked: what must not be felt while the gateway is shaken."""

import hashlib
import random
import socket
import threading
import time

from harness.gateway import read_exactly, read_head
from harness.upstreams import reset
from harness.waiting import until

PIECE = 8192
REST = 0.02  # seconds before the next attempt after a tunnel that was broken: perhaps nobody listens any more


class Load:
    """Threads that open tunnels to an echo, one after another, and compare what comes back. Use as a context manager.

    lasting    so many of the threads keep their tunnel open, and talk through it, until the load or the tunnel ends
    rude       reset some tunnels, and leave others in the middle of an answer
    pace       seconds that a thread rests after each tunnel, or after each exchange of a lasting one
    done       tunnels that were opened, used and closed
    exchanges  pieces that came back as they were sent
    took       seconds from begin to end of each tunnel that is done and did not last
    broken     (what happened, whether the tunnel was open by then) of the others
    cut        what happened to those that were open
    """

    def __init__(self, gateway, target, threads=6, turns=5, lasting=0, rude=False, pace=0.0):
        self._place = (gateway.address, 8080)
        self._target, self._turns, self._rude, self._pace = target, turns, rude, pace
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number, number < lasting), daemon=True)
            for number in range(threads)
        ]
        self._lock = threading.Lock()
        self.done = self.exchanges = 0
        self.took = []
        self.broken = []
        self.mixed = []

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads)
        assert not self.mixed, self.mixed

    @property
    def cut(self):
        return [what for what, is_open in self.broken if is_open]

    def wait_for(self, more):
        """Until so many more tunnels are done."""
        self._until(lambda enough=self.done + more: self.done >= enough)

    def wait_for_exchanges(self, more):
        """Until so many more pieces came back: for a load of lasting tunnels, which are done at its end."""
        self._until(lambda enough=self.exchanges + more: self.exchanges >= enough)

    def _until(self, reached):
        def is_reached():
            assert any(thread.is_alive() for thread in self._threads)
            return reached()

        until(is_reached, seconds=100, what=lambda: (self.done, self.exchanges, self.broken[-5:]))

    def _run(self, number, lasts):
        chance = random.Random(number)
        while not self._stop.is_set():
            began = time.monotonic()
            is_open = False
            try:
                with socket.create_connection(self._place, timeout=30) as sock:
                    sock.sendall(f"CONNECT {self._target} HTTP/1.1\r\n\r\n".encode())
                    head = read_head(sock)
                    if not head.startswith(b"HTTP/1.1 200 "):
                        raise ConnectionError(head[:80])
                    is_open = True
                    for _turn in range(chance.randrange(self._turns) if self._rude else self._turns):
                        self._exchange(sock, chance.randbytes(PIECE))
                    while lasts and not self._stop.wait(self._pace):
                        self._exchange(sock, chance.randbytes(PIECE))
                    if self._rude and chance.random() < 0.5:
                        sock.sendall(chance.randbytes(PIECE))
                        if chance.random() < 0.5:
                            reset(sock)
                    elif not self._rude:
                        self._end(sock)
            except OSError as error:
                with self._lock:
                    self.broken.append((repr(error), is_open))
                self._stop.wait(REST)
            else:
                with self._lock:
                    self.done += 1
                    if not lasts:
                        self.took.append(time.monotonic() - began)
            if self._pace:
                self._stop.wait(self._pace)

    def _exchange(self, sock, data):
        sock.sendall(data)
        back = read_exactly(sock, len(data))
        if len(back) < len(data):
            if not data.startswith(back):
                self.mixed.append("the beginning of an answer is of another tunnel")
            raise ConnectionResetError("closed in the middle")
        if hashlib.sha256(back).digest() != hashlib.sha256(data).digest():
            self.mixed.append("an answer of another tunnel")
        with self._lock:
            self.exchanges += 1

    def _end(self, sock):
        """The half-close goes to the echo, whose own comes back, and nothing before it."""
        sock.shutdown(socket.SHUT_WR)
        if sock.recv(1):
            self.mixed.append("bytes that nobody sent")
