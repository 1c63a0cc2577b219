"""A running load of tunnels whose every byte is checked: what must not be felt while the gateway is shaken."""

import hashlib
import os
import random
import socket
import threading

from harness.gateway import read_exactly, read_head
from harness.upstreams import reset

PIECE = 8192


class Load:
    """Threads that open tunnels to an echo, one after another, and compare what comes back. Use as a context manager.

    rude    reset some tunnels, and leave others in the middle of an answer
    done    tunnels that were opened, used and closed
    broken  (what happened, whether the tunnel was open by then) of the others
    """

    def __init__(self, gateway, target, threads=6, turns=5, rude=False):
        self._gateway, self._target, self._turns, self._rude = gateway, target, turns, rude
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(threads)]
        self._lock = threading.Lock()
        self.done = 0
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

    def wait_for(self, more):
        """Until so many more tunnels are done."""
        until = self.done + more
        while self.done < until:
            assert any(thread.is_alive() for thread in self._threads)
            os.sched_yield()

    def _run(self, number):
        chance = random.Random(number)
        while not self._stop.is_set():
            is_open = False
            try:
                with socket.create_connection((self._gateway.address, 8080), timeout=30) as sock:
                    sock.sendall(f"CONNECT {self._target} HTTP/1.1\r\n\r\n".encode())
                    head = read_head(sock)
                    if not head.startswith(b"HTTP/1.1 200 "):
                        raise ConnectionError(head[:80])
                    is_open = True
                    for _turn in range(chance.randrange(self._turns) if self._rude else self._turns):
                        self._exchange(sock, chance.randbytes(PIECE))
                    if self._rude and chance.random() < 0.5:
                        sock.sendall(chance.randbytes(PIECE))
                        if chance.random() < 0.5:
                            reset(sock)
            except OSError as error:
                with self._lock:
                    self.broken.append((repr(error), is_open))
            else:
                with self._lock:
                    self.done += 1

    def _exchange(self, sock, data):
        sock.sendall(data)
        back = read_exactly(sock, len(data))
        if len(back) < len(data):
            if not data.startswith(back):
                self.mixed.append("the beginning of an answer is of another tunnel")
            raise ConnectionResetError("closed in the middle")
        if hashlib.sha256(back).digest() != hashlib.sha256(data).digest():
            self.mixed.append("an answer of another tunnel")
